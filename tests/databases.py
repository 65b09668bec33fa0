"""Migrated databases for tests, used one after the other: making one costs ten times what emptying one does.

What a test leaves behind is compared with what a migration leaves: rows and tables too many go, rows that belong there
come back, sequences begin again. A database of which anything else was changed is dropped.
"""

from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from tracker.store.migrate import migrate
from tracker.store.private import PrivateCluster

TEMPLATE: Final = "migrated_template"
_MOST_GROWTH_BYTES: Final = 4 * 1024 * 1024

_TABLES: Final = """
    SELECT format('%I', relname), pg_relation_size(oid) > 0 AND relname <> 'spatial_ref_sys' AS touched FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"""
_SEQUENCES: Final = "SELECT format('%I', sequencename), start_value, last_value FROM pg_sequences ORDER BY 1"
_SET_SEQUENCE: Final = "SELECT setval($1::text::regclass, coalesce($3, $2::bigint), $3::bigint IS NOT NULL)"
_SIZE: Final = "SELECT pg_database_size(current_database())"
# Whatever statements other than those that write rows may change: columns, constraints, indexes, triggers, functions,
# settings. What extensions brought is left out.
_SCHEMA: Final = """
    WITH ours AS (
        SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname <> 'spatial_ref_sys'
    ), line (text) AS (
        SELECT format('%s %s %s %s %s', attrelid::regclass, attname, atttypid, attnotnull, attstorage)
        FROM pg_attribute WHERE attrelid IN (SELECT oid FROM ours) AND NOT attisdropped
        UNION ALL SELECT format('%s %s', adrelid::regclass, pg_get_expr(adbin, adrelid)) FROM pg_attrdef
        UNION ALL SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE conrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v' AND oid IN (SELECT oid FROM ours)
        UNION ALL SELECT format('%s %s', indrelid::regclass, pg_get_indexdef(indexrelid)) FROM pg_index
        WHERE indrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT format('%s %s %s', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger
        UNION ALL SELECT format('%s %s', oid::regprocedure, prosrc) FROM pg_proc
        WHERE oid >= 16384 AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
        UNION ALL SELECT format('%s %s', setrole, setconfig) FROM pg_db_role_setting
    )
    SELECT md5(string_agg(text, ' ' ORDER BY text COLLATE "C")) FROM line"""
_CUT_OTHERS: Final = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@dataclass(frozen=True, slots=True)
class _Migrated:
    """What a migration leaves: the schema, its tables, the rows in some of them, the sequences."""

    schema: str
    size_bytes: int
    tables: frozenset[str]
    rows: dict[str, list[asyncpg.Record]]
    sequences: list[asyncpg.Record]

    @classmethod
    async def read(cls, connection: asyncpg.Connection) -> Self:
        found = await connection.fetch(_TABLES)
        return cls(
            await connection.fetchval(_SCHEMA),
            await connection.fetchval(_SIZE),
            frozenset(table for table, _ in found),
            {table: await connection.fetch(f"SELECT * FROM {table}") for table, touched in found if touched},
            await connection.fetch(_SEQUENCES),
        )


class Databases:
    """Of one cluster. A test has its database for itself, and finds nothing of those before it."""

    def __init__(self, cluster: PrivateCluster, migrated: _Migrated) -> None:
        self._cluster = cluster
        self._migrated = migrated
        self._free: list[str] = []
        self._made = 0

    @classmethod
    async def prepare(cls, cluster: PrivateCluster) -> Self:
        """Makes the template, which is to be cloned and not to be used."""
        await _execute(cluster.url("postgres"), f"CREATE DATABASE {TEMPLATE} TEMPLATE tracker")
        connection = await asyncpg.connect(cluster.url(TEMPLATE))
        try:
            await migrate(connection)
            return cls(cluster, await _Migrated.read(connection))
        finally:
            await connection.close()

    async def take(self) -> str:
        """The name of a database as a migration leaves it."""
        if self._free:
            return self._free.pop()
        self._made += 1
        name = f"test_{self._made}"
        await _execute(self._cluster.url("postgres"), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        return name

    async def give_back(self, name: str) -> None:
        """Whoever is still connected is cut off."""
        connection = await asyncpg.connect(self._cluster.url(name))
        try:
            is_clean = await self._clean(connection)
        finally:
            await connection.close()
        if is_clean:
            self._free.append(name)
        else:
            await _execute(self._cluster.url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")

    async def _clean(self, connection: asyncpg.Connection) -> bool:
        """Whether it is now as a migration leaves it."""
        migrated = self._migrated
        await connection.execute(_CUT_OTHERS)
        found = await connection.fetch(_TABLES)
        if gone := [table for table, _ in found if table not in migrated.tables]:
            await connection.execute(f"DROP TABLE {', '.join(gone)}")
        used = {table for table, touched in found if touched} - migrated.rows.keys() - set(gone)
        if used:
            await connection.execute(f"TRUNCATE {', '.join(used)} CASCADE")
        for table, rows in migrated.rows.items():
            if await connection.fetch(f"SELECT * FROM {table}") != rows:
                await connection.execute(f"TRUNCATE {table} CASCADE")
                await connection.copy_records_to_table(table, records=rows)
        await connection.executemany(_SET_SEQUENCE, [tuple(each) for each in migrated.sequences])
        grown_bytes = await connection.fetchval(_SIZE) - migrated.size_bytes
        schema: str = await connection.fetchval(_SCHEMA)
        return grown_bytes < _MOST_GROWTH_BYTES and schema == migrated.schema


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
