"""The schema, moved forward by the numbered files of sql/migrations: each once, in order, in a transaction of its own.

What was applied is written down with its checksum. A file changed afterwards, or a database that knows more than
this program, is refused: neither can be put right by guessing.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from tracker.errors import StoreError
from tracker.resources import resource_dir
from tracker.store.sql import sql

# Held by whoever migrates; nothing else may take it. The letters of "tracker" read as one number.
MIGRATION_LOCK: Final = int.from_bytes(b"tracker")
FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def title(self) -> str:
        return f"{self.version:04}_{self.name}"


async def migrate(connection: asyncpg.Connection, directory: Path | None = None) -> list[str]:
    """Apply what is missing and say what it was; servers that start together take turns."""
    migrations = read_migrations(directory)
    await connection.execute(sql("lock_migrations"), MIGRATION_LOCK)
    try:
        await connection.execute(sql("create_schema_migration"))
        missing = _missing(migrations, await _applied(connection))
        for migration in missing:
            await _apply(connection, migration)
    finally:
        if not connection.is_closed():
            await connection.execute(sql("unlock_migrations"), MIGRATION_LOCK)
    return [migration.title for migration in missing]


async def pending(connection: asyncpg.Connection, directory: Path | None = None) -> list[str]:
    """What `migrate` would apply; changes nothing."""
    return [migration.title for migration in _missing(read_migrations(directory), await _applied(connection))]


def read_migrations(directory: Path | None = None) -> list[Migration]:
    """The files in order; a name of another form, or a number used twice, is refused."""
    found: dict[int, Migration] = {}
    for path in sorted((directory or resource_dir("sql") / "migrations").iterdir()):
        parts = FILE_NAME.fullmatch(path.name)
        if parts is None:
            raise StoreError(f"{path} is not named like 0001_some_name.sql.")
        version = int(parts[1])
        if version in found:
            raise StoreError(f"{path} has the number of {found[version].title}.sql.")
        found[version] = Migration(version, parts[2], path.read_text(encoding="utf-8"))
    return list(found.values())


async def _applied(connection: asyncpg.Connection) -> Mapping[int, asyncpg.Record]:
    if not await connection.fetchval(sql("schema_migration_exists")):
        return {}
    return {row["version"]: row for row in await connection.fetch(sql("applied_migrations"))}


def _missing(migrations: list[Migration], applied: Mapping[int, asyncpg.Record]) -> list[Migration]:
    known = {migration.version: migration for migration in migrations}
    for version, row in applied.items():
        if version not in known:
            raise StoreError(
                f"The database is newer than this program: it has the migration {version:04}_{row['name']}. "
                "Start the newer program, or restore a backup from before it."
            )
        if row["sha256"] != known[version].sha256:
            raise StoreError(
                f"The migration {known[version].title} was changed after it was applied to this database. "
                "Put the file back as it was, and make the change in a new file."
            )
    missing = [migration for migration in migrations if migration.version not in applied]
    if missing and applied and missing[0].version < max(applied):
        raise StoreError(
            f"The migration {missing[0].title} comes before {max(applied):04}, which this database already has. "
            "Give it the next free number."
        )
    return missing


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(sql("record_migration"), migration.version, migration.name, migration.sha256)
    except asyncpg.PostgresError as error:
        line = migration.text.count("\n", 0, int(error.position or 0)) + 1
        where = f"{migration.title}.sql, line {line}" if error.position else f"{migration.title}.sql"
        raise StoreError(f"The migration {where} failed and left nothing behind: {error}") from error
