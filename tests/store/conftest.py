"""Databases without the program's schema."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tracker.store.private import PrivateCluster


@pytest_asyncio.fixture
async def empty_database(cluster: PrivateCluster) -> AsyncIterator[str]:
    """The URL of a database in which nothing is."""
    admin = await asyncpg.connect(cluster.url("postgres"))
    await admin.execute("CREATE DATABASE empty TEMPLATE template0 STRATEGY file_copy")
    yield cluster.url("empty")
    await admin.execute("DROP DATABASE empty WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture
async def empty(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()
