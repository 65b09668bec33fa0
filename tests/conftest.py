"""What every test may use: a real PostGIS with the schema, a database of its own, a free port.

The cluster is the product's own, one for each test process, so every run of the tests also exercises it.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.databases import TEMPLATE, Databases
from tests.integration.served import Served, free_port
from tracker.store.database import Database
from tracker.store.private import PrivateCluster


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short path that the database's user may enter too, unlike pytest's own temporary directories."""
    yield from _open_directory()


@pytest.fixture(scope="session")
def _session_data_dir() -> Iterator[Path]:
    yield from _open_directory()


def _open_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tracker-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(_session_data_dir: Path) -> AsyncIterator[PrivateCluster]:
    """A running PostgreSQL; its database `tracker` has PostGIS and nothing else."""
    cluster = PrivateCluster(_session_data_dir, throwaway=True)
    await cluster.start()
    yield cluster
    await cluster.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def databases(cluster: PrivateCluster) -> Databases:
    """Those of this cluster, with the whole schema."""
    return await Databases.prepare(cluster)


@pytest.fixture(scope="session")
def migrated_template(databases: Databases) -> str:
    """The name of a database with the whole schema, to be cloned and not to be used."""
    return TEMPLATE


@pytest_asyncio.fixture
async def database(cluster: PrivateCluster, databases: Databases) -> AsyncIterator[str]:
    """The URL of a migrated database in which nothing is, and which no other test sees."""
    name = await databases.take()
    yield cluster.url(name)
    await databases.give_back(name)


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to this test's database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Database]:
    """The server's own way to this test's database, open."""
    store = Database(database)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def served(database: str, data_dir: Path) -> Iterator[Served]:
    """A server process, not started, on this test's database; it can be killed."""
    served = Served(data_dir, database)
    yield served
    served.close()


@pytest.fixture(name="free_port")
def _free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    return free_port()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real tracks, areas and references that TRACKER_TEST_DATA names."""
    folder = os.environ.get("TRACKER_TEST_DATA")
    if not folder:
        pytest.skip("TRACKER_TEST_DATA names no folder with real tracks")
    return Path(folder)
