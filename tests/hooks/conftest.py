"""The outbox, the receiver and the dispatcher between them."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web

from tests.hooks.outbox import Clock, Outbox
from tests.hooks.receiver import Receiver
from tracker.hooks.dispatcher import Dispatcher
from tracker.store.database import Database

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest_asyncio.fixture
async def outbox(connection: asyncpg.Connection) -> Outbox:
    return Outbox(connection)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest_asyncio.fixture
async def dispatcher(store: Database) -> AsyncIterator[Dispatcher]:
    """One that may send to loopback; not started."""
    dispatcher = Dispatcher(store, allow=LOOPBACK)
    yield dispatcher
    await dispatcher.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def clocked(store: Database, clock: Clock) -> AsyncIterator[Dispatcher]:
    """A dispatcher that lives by `clock`; not started."""
    dispatcher = Dispatcher(store, allow=LOOPBACK, clock=clock)
    yield dispatcher
    await dispatcher.stop()
