"""A test finds nothing of what the one before it did to its database."""

from typing import Final

import asyncpg
import pytest

from tests.databases import Databases
from tracker.store.private import PrivateCluster

LEFT_BEHIND: Final = {
    "rows and their numbers": "INSERT INTO asset (name) VALUES ('bus'), ('tram')",
    "a day of pieces": "SELECT make_piece_days(date '2026-01-01')",
    "a row that belonged there": "DELETE FROM filed",
    "a row that was changed": "UPDATE filed SET batch = 7",
}
CHANGED: Final = {
    "a constraint": "ALTER TABLE journal ADD CHECK (n < 5)",
    "a column": "ALTER TABLE asset ADD COLUMN colour text",
    "no default": "ALTER TABLE asset ALTER COLUMN thresholds DROP DEFAULT",
    "no table": "DROP TABLE sign_in_code",
    "a view": "CREATE OR REPLACE VIEW position AS SELECT * FROM position LIMIT 1",
    "an index": "CREATE INDEX ON asset (name)",
    "no trigger": "ALTER TABLE doubt DISABLE TRIGGER ALL",
    "a function": "CREATE OR REPLACE FUNCTION mark_doubt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
}


async def run(cluster: PrivateCluster, name: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(cluster.url(name))
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()


@pytest.mark.parametrize("statement", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
async def test_what_is_left_behind_goes(cluster: PrivateCluster, databases: Databases, statement: str) -> None:
    databases._free.clear()  # those that other tests have used may have grown almost too large already
    name = await databases.take()
    await run(cluster, name, statement)
    left_open = await asyncpg.connect(cluster.url(name))
    await databases.give_back(name)
    assert await databases.take() == name
    assert await run(cluster, name, "SELECT id FROM asset") == []
    assert [row[0] for row in await run(cluster, name, "SELECT batch FROM filed")] == [0]
    assert await run(cluster, name, "SELECT 1 FROM pg_class WHERE relname LIKE 'piece\\_%' AND relkind = 'r'") == []
    [made] = await run(cluster, name, "INSERT INTO asset (name) VALUES ('bus') RETURNING id")
    assert made["id"] == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await left_open.execute("SELECT 1")
    await left_open.close()
    await databases.give_back(name)


@pytest.mark.parametrize("statement", CHANGED.values(), ids=CHANGED)
async def test_a_database_that_was_changed_is_not_used_again(
    cluster: PrivateCluster, databases: Databases, statement: str
) -> None:
    name = await databases.take()
    await run(cluster, name, statement)
    await databases.give_back(name)
    other = await databases.take()
    assert other != name
    await databases.give_back(other)
