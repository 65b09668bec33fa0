"""An outbox as the server's writer fills it, and a clock that stands still until it is moved."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from tracker.hooks.signing import new_key
from tracker.wire.times import to_ms

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

_INSERT_EVENTS = """
    INSERT INTO event (id, type, asset, asset_name, geofence, geofence_name, fix_time, recorded_at, lon, lat)
    SELECT id, 'geofence.enter', asset, 'cab ' || asset, 1, 'Kamppi', $3, $3, 249320000, 601690000
    FROM unnest($1::bigint[], $2::int[]) AS e (id, asset)
"""
_INSERT_DELIVERIES = """
    INSERT INTO delivery (hook, event, asset) SELECT h.id, e.id, e.asset FROM event e CROSS JOIN hook h
    WHERE e.id >= $1 AND h.deleted_at IS NULL ORDER BY e.id, h.id
"""


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
        """One event for each entry, in this order, and its deliveries, in one transaction."""
        ids = list(range(self.last_event + 1, self.last_event + 1 + len(assets)))
        self.last_event += len(assets)
        recorded_at = NOON + timedelta(seconds=self.last_event)
        async with self.connection.transaction():
            await self.connection.execute(_INSERT_EVENTS, ids, assets, recorded_at)
            await self.connection.execute(_INSERT_DELIVERIES, ids[0])
        return ids

    async def states(self) -> dict[str, int]:
        rows = await self.connection.fetch("SELECT state, count(*) AS n FROM delivery GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    async def until_states(self, **states: int) -> None:
        async with asyncio.timeout(30):
            while await self.states() != states:
                await asyncio.sleep(0.01)
