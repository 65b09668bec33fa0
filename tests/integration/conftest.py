"""The whole server: in this process on a database of the test's own, or as a process that can be killed."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from tests.integration.api import ADMIN, Api
from tests.integration.receiver import Receiver
from tests.integration.served import Served
from tracker.app import Server
from tracker.settings import Settings


@pytest_asyncio.fixture
async def http() -> AsyncIterator[ClientSession]:
    """Keeps no cookies: whoever wants one sends it. As many sockets as a test opens."""
    async with ClientSession(cookie_jar=DummyCookieJar(), connector=TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Settings:
    return Settings(
        "127.0.0.1", 0, tmp_path, database=database, admin_token=ADMIN, hooks_allow=(ip_network("127.0.0.0/8"),)
    )


@pytest_asyncio.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    """The server in this process, listening."""
    async with Server(settings) as server:
        yield server


@pytest_asyncio.fixture
async def api(server: Server, http: ClientSession) -> Api:
    return Api(server.url, http)


@pytest.fixture
def private(data_dir: Path) -> Iterator[Served]:
    """A server process, not started, that makes and runs a PostGIS of its own."""
    served = Served(data_dir)
    yield served
    served.close()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver
