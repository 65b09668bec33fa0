"""Migrations: applied once, in order, and refused when files and database tell different stories."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from tracker.errors import StoreError
from tracker.store.migrate import MIGRATION_LOCK, migrate, pending


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Two files, in a directory of their own; databases of the tests here start empty."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_first.sql").write_text("CREATE TABLE first (id int);\nINSERT INTO first VALUES (1);\n")
    (directory / "0002_second.sql").write_text("ALTER TABLE first RENAME TO second;\n")
    return directory


async def tables(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relname IN ('first', 'second', 'third')")
    return {row["relname"] for row in rows}


async def test_files_are_applied_in_order_and_only_once(empty: asyncpg.Connection, migrations: Path) -> None:
    assert await pending(empty, migrations) == ["0001_first", "0002_second"]
    assert await migrate(empty, migrations) == ["0001_first", "0002_second"]
    assert await tables(empty) == {"second"}
    assert await migrate(empty, migrations) == []
    assert await pending(empty, migrations) == []


async def test_what_was_applied_is_written_down(empty: asyncpg.Connection, migrations: Path) -> None:
    await migrate(empty, migrations)
    rows = await empty.fetch(
        "SELECT *, now() - applied_at < '1 minute' AS recent FROM schema_migration ORDER BY version"
    )
    assert [(row["version"], row["name"], len(row["sha256"]), row["recent"]) for row in rows] == [
        (1, "first", 64, True),
        (2, "second", 64, True),
    ]


async def test_asking_what_is_pending_changes_nothing(empty: asyncpg.Connection, migrations: Path) -> None:
    await pending(empty, migrations)
    assert await empty.fetchval("SELECT to_regclass('schema_migration')") is None


async def test_a_failing_file_leaves_nothing_behind_and_names_its_line(
    empty: asyncpg.Connection, migrations: Path
) -> None:
    (migrations / "0003_third.sql").write_text("CREATE TABLE third (id int);\nSELECT oops;\n")
    with pytest.raises(StoreError, match=r'0003_third\.sql, line 2 .* column "oops" does not exist'):
        await migrate(empty, migrations)
    assert await tables(empty) == {"second"}
    assert await pending(empty, migrations) == ["0003_third"]
    (migrations / "0003_third.sql").write_text("CREATE TABLE third (id int);\n")
    assert await migrate(empty, migrations) == ["0003_third"]


async def test_a_file_changed_after_it_was_applied_is_refused(empty: asyncpg.Connection, migrations: Path) -> None:
    await migrate(empty, migrations)
    (migrations / "0001_first.sql").write_text("CREATE TABLE first (id bigint);\n")
    for attempt in (migrate, pending):
        with pytest.raises(StoreError, match="0001_first was changed after it was applied"):
            await attempt(empty, migrations)


async def test_a_database_newer_than_the_program_is_refused(empty: asyncpg.Connection, migrations: Path) -> None:
    await migrate(empty, migrations)
    (migrations / "0002_second.sql").unlink()
    with pytest.raises(StoreError, match=r"newer than this program: it has the migration 0002_second"):
        await migrate(empty, migrations)


async def test_a_new_file_cannot_slip_in_before_one_that_was_applied(
    empty: asyncpg.Connection, migrations: Path
) -> None:
    (migrations / "0002_second.sql").rename(migrations / "0003_second.sql")
    await migrate(empty, migrations)
    (migrations / "0002_third.sql").write_text("CREATE TABLE third (id int);\n")
    with pytest.raises(StoreError, match="0002_third comes before 0003"):
        await migrate(empty, migrations)


@pytest.mark.parametrize("name", ["3_third.sql", "0003-third.sql", "0003_Third.sql", "notes.txt"])
async def test_a_file_of_another_form_is_refused(empty: asyncpg.Connection, migrations: Path, name: str) -> None:
    (migrations / name).write_text("SELECT 1;\n")
    with pytest.raises(StoreError, match="is not named like 0001_some_name"):
        await migrate(empty, migrations)


async def test_two_files_of_one_number_are_refused(empty: asyncpg.Connection, migrations: Path) -> None:
    (migrations / "0002_third.sql").write_text("SELECT 1;\n")
    with pytest.raises(StoreError, match=r"0002_third.sql has the number of 0002_second.sql"):
        await migrate(empty, migrations)


async def test_servers_that_start_together_apply_each_file_once(
    empty: asyncpg.Connection, empty_database: str, migrations: Path
) -> None:
    others = [await asyncpg.connect(empty_database) for _ in range(3)]
    applied = await asyncio.gather(*(migrate(each, migrations) for each in [empty, *others]))
    assert sorted(applied) == [[], [], [], ["0001_first", "0002_second"]]
    for each in others:
        await each.close()


async def test_the_lock_is_given_back_also_after_a_failure(
    empty: asyncpg.Connection, empty_database: str, migrations: Path
) -> None:
    (migrations / "0003_third.sql").write_text("SELECT oops;\n")
    with pytest.raises(StoreError):
        await migrate(empty, migrations)
    other = await asyncpg.connect(empty_database)
    assert await other.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK)
    await other.close()


async def test_the_programs_own_migrations_are_all_applied(connection: asyncpg.Connection) -> None:
    assert await pending(connection) == []
