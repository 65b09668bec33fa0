"""The pool of connections that everything but the writer and the filer uses, and the one translation of driver errors.

SQL is called by its name in `sql/queries/`; no other room sees asyncpg.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg
import msgspec

from tracker.errors import RefusedByDatabase, StoreUnavailable
from tracker.store.sql import sql

Record: TypeAlias = Mapping[str, Any]  # asyncpg.Record, as far as anybody needs to know
Connection: TypeAlias = Any  # asyncpg.Connection: asyncpg comes without types

STATEMENT_TIMEOUT_S = 30
POOL_SIZE = 8

# A lock dies with its connection; over a network that went dark, PostgreSQL would hold it for two hours by default.
_NOTICED_DEAD = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}

# uvloop has no error of its own for a write to a connection that was lost a moment ago: a RuntimeError that ends so.
_CLOSED = "the handler is closed"

# Class 22 is bad data, 23 a broken constraint: the same data will be refused again.
_REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
# InternalClientError is what asyncpg raises when PostgreSQL dies in the middle of a statement; it has no common root
# with the others.
_AWAY = (
    asyncpg.PostgresConnectionError,  # 08
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a demoted primary
    asyncpg.TransactionRollbackError,  # 40
    asyncpg.InsufficientResourcesError,  # 53
    asyncpg.LockNotAvailableError,  # 55P03
    asyncpg.OperatorInterventionError,  # 57
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors become ours, the original chained."""
    try:
        yield
    except _REFUSED as error:
        raise RefusedByDatabase(f"the database refused the data: {error}") from error
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        raise StoreUnavailable(f"the connection to the database was lost: {error}") from error
    except _AWAY as error:
        raise StoreUnavailable(f"the database does not answer: {type(error).__name__}: {error}") from error


async def prepare_connection(connection: Connection) -> None:
    """JSON columns are Python values, in and out."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
        format="binary",
    )


async def connect(url: str) -> Connection:
    """One connection of one's own, for those that hold a lock by it."""
    with translated():
        connection = await asyncpg.connect(url, command_timeout=None, server_settings=_NOTICED_DEAD)
        await prepare_connection(connection)
        return connection


async def _leave_as_it_is(_connection: Connection) -> None:
    """No query here sets anything on its session, so a round trip to undo it would buy nothing."""


class Database:
    """Named queries over a small pool."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        with translated():
            self._pool = await asyncpg.create_pool(
                self.url,
                min_size=1,
                max_size=POOL_SIZE,
                command_timeout=STATEMENT_TIMEOUT_S,
                init=prepare_connection,
                reset=_leave_as_it_is,
                # A plan for any filter is a bad plan for a filter that is left out. Compiling a statement takes longer
                # than running it.
                server_settings={"plan_cache_mode": "force_custom_plan", "jit": "off"},
            )

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise StoreUnavailable("the database is not open")
        with translated():
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def rows(self, name: str, *args: Any) -> list[Record]:
        async with self.connection() as connection:
            rows: list[Record] = await connection.fetch(sql(name), *args)
            return rows

    async def row(self, name: str, *args: Any) -> Record | None:
        async with self.connection() as connection:
            row: Record | None = await connection.fetchrow(sql(name), *args)
            return row

    async def execute(self, name: str, *args: Any) -> str:
        async with self.connection() as connection:
            status: str = await connection.execute(sql(name), *args)
            return status
