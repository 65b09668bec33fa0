"""An outbox as the writer fills it, and a receiver that answers as it is told."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web

from tracker.hooks.dispatcher import Dispatcher
from tracker.hooks.signing import new_key
from tracker.store.database import Database
from tracker.wire.times import to_ms

LOOPBACK = (ip_network("127.0.0.0/8"),)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = to_ms(NOON)

    def __call__(self) -> int:
        return self.ms


class Outbox:
    """Hooks, events and deliveries, written as the server's writer writes them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.last_event = 0
        self.keys: dict[int, bytes] = {}

    async def hook(self, url: str) -> int:
        key = new_key()
        id_: int = await self.connection.fetchval(
            "INSERT INTO hook (url, types, secret) VALUES ($1, '{geofence.enter,geofence.exit}', $2) RETURNING id",
            url,
            key,
        )
        self.keys[id_] = key
        return id_

    async def events(self, assets: list[int]) -> list[int]:
        """One event for each entry, in this order, and a delivery of each for every enabled hook, in one transaction."""
        ids = list(range(self.last_event + 1, self.last_event + 1 + len(assets)))
        self.last_event += len(assets)
        async with self.connection.transaction():
            await self.connection.execute(
                """INSERT INTO event (id, type, asset, asset_name, geofence, geofence_name, fix_time, recorded_at, lon, lat)
                   SELECT id, 'geofence.enter', asset, 'cab ' || asset, 1, 'Kamppi', $3, $3, 249320000, 601690000
                   FROM unnest($1::bigint[], $2::int[]) AS e (id, asset)""",
                ids,
                assets,
                NOON + timedelta(seconds=self.last_event),
            )
            await self.connection.execute(
                """INSERT INTO delivery (hook, event, asset) SELECT h.id, e.id, e.asset FROM event e CROSS JOIN hook h
                   WHERE e.id >= $1 AND h.disabled_at IS NULL AND h.deleted_at IS NULL ORDER BY e.id, h.id""",
                ids[0],
            )
        return ids

    async def states(self) -> dict[str, int]:
        rows = await self.connection.fetch("SELECT state, count(*) AS n FROM delivery GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    async def until_states(self, **states: int) -> None:
        async with asyncio.timeout(30):
            while await self.states() != states:
                await asyncio.sleep(0.01)


class Receiver:
    """Keeps every request; `answer` decides, from the event, what it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.accepted: dict[int, list[int]] = defaultdict(list)  # asset -> events, each as it was first accepted
        self.answer: Callable[[dict[str, Any]], Awaitable[web.StreamResponse] | int] = lambda event: 204
        self.paths: list[str] = []
        self.open = 0
        self.most_open = 0

    async def until(self, claim: Callable[[], object], within_s: float = 30) -> None:
        """Waits for a condition; it is looked at again and again."""
        async with asyncio.timeout(within_s):
            while not claim():
                await asyncio.sleep(0.002)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, body))
        self.paths.append(request.path)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            message = json.loads(body)
            answer = self.answer(message)
            response = web.Response(status=answer) if isinstance(answer, int) else await answer
            if 200 <= response.status < 300 and message["type"] != "hook.test":
                event, asset = (
                    int(id_.split("_")[1]) for id_ in (message["data"]["id"], message["data"]["asset"]["id"])
                )
                if event not in self.accepted[asset]:
                    self.accepted[asset].append(event)
        finally:
            self.open -= 1
        return response


@pytest_asyncio.fixture
async def outbox(connection: asyncpg.Connection) -> Outbox:
    return Outbox(connection)


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Database]:
    """The server's own way to the database."""
    store = Database(database)
    await store.open()
    yield store
    await store.close()


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
