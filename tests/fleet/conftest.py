"""The real streets, read once for all tests of the fleet, and the real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.integration.api import ADMIN, Api
from tracker.app import Server
from tracker.fleet.extract import Extract, extract_path, read_extract
from tracker.fleet.streets import Streets
from tracker.settings import Settings


@pytest.fixture(scope="session")
def extract() -> Extract:
    return read_extract(extract_path())


@pytest.fixture(scope="session")
def streets(extract: Extract) -> Streets:
    return Streets(extract)


@pytest_asyncio.fixture
async def server(database: str, tmp_path: Path) -> AsyncIterator[Server]:
    """The real server in this process, listening."""
    async with Server(Settings("127.0.0.1", 0, tmp_path, database=database, admin_token=ADMIN)) as server:
        yield server


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with ClientSession() as http:
        yield Api(server.url, http)
