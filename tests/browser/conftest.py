"""A real Chromium in front of the whole server, with a fleet of one or a few that the test moves itself.

There is one Chromium for all tests of a process, and so one loop: modules here say `pytestmark = ONE_LOOP`.
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.screen import Screen
from tests.integration.api import ADMIN, WITHIN_S, Api
from tracker.app import Server
from tracker.settings import Settings

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing that looks for its maker, and WebGL without a graphics card.
ARGUMENTS: Final = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
)


expect.set_options(timeout=WITHIN_S * 1000)  # drawing without a graphics card is slow on a busy machine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    found = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no {CHROMIUMS[0]} on this machine")
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def server(database: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(Settings("127.0.0.1", 0, tmp_path, database=database, admin_token=ADMIN)) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def api(server: Server, http: ClientSession) -> Api:
    return Api(server.url, http)


@pytest_asyncio.fixture(loop_scope="session")
async def screen(browser: Browser, server: Server) -> AsyncIterator[Screen]:
    """A desktop window, not signed in."""
    async with Screen(browser, server.url) as screen:
        yield screen
