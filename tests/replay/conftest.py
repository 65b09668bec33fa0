"""The real server, to replay into."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aiohttp import ClientSession

from tests.integration.api import ADMIN, Api
from tracker.app import Server
from tracker.settings import Settings


@pytest_asyncio.fixture
async def api(database: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = Settings("127.0.0.1", 0, tmp_path, database=database, admin_token=ADMIN)
    async with Server(settings) as server, ClientSession() as http:
        yield Api(server.url, http)
