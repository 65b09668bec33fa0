"""The promise: what is acked is kept, once, and its events are exact, once, though the server is killed again."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from aiohttp import ClientSession

from tests.integration import town
from tests.integration.api import Api, until
from tests.integration.ledger import Convoy
from tests.integration.receiver import Receiver
from tests.integration.served import Served
from tests.integration.viewer import MapClient

CABS = 12
FIXES = 220
KILLS = 3
SEED = 20_250_615
BBOX = (24.9, 60.15, 24.94, 60.2)


async def kill_and_start(served: Served, http: ClientSession, convoy: Convoy, points: Sequence[int]) -> None:
    """When so many fixes are acked, whatever the server is doing then."""
    for point in points:
        while convoy.acked < point:
            await asyncio.sleep(0.001)
        served.kill()
        await served.start(http)


@pytest.mark.timeout(240)
async def test_nothing_acked_is_lost_and_nothing_comes_twice_when_the_server_is_killed_three_times(
    served: Served, http: ClientSession, receiver: Receiver
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    hook = {"url": receiver.url, "types": ["geofence.enter", "geofence.exit"]}
    receiver.secret = (await api.call("POST", "/v1/hooks", hook, expect=201))["secret"]
    receiver.refuse_at = frozenset({2, 20})
    convoy = Convoy(api, town.fences(SEED))
    await convoy.make(CABS, FIXES, random.Random(SEED))

    map_client = MapClient(served.url, BBOX)
    watching = asyncio.create_task(map_client.run(http), name="map-client")
    part = CABS * FIXES // (KILLS + 1)
    points = [part * kill + random.randint(part // 4, part) for kill in range(KILLS)]  # another moment at each run
    print("killed at", points, "fixes acked")
    await asyncio.gather(kill_and_start(served, http, convoy, points), convoy.drive(http))

    events = await convoy.check()

    async def all_delivered() -> bool:
        return len(receiver.events) >= len(events)

    await until(all_delivered, within_s=60)
    receiver.check(events)
    assert len(receiver.refused) > CABS

    west, south, east, north = BBOX
    inside = {
        asset: (lon, lat)
        for asset, (lon, lat) in convoy.last_places().items()
        if west <= lon <= east and south <= lat <= north
    }

    async def map_is_right() -> bool:
        return map_client.places == inside

    await until(map_is_right)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert 1 < len(inside) < CABS
    assert map_client.outside == []
    assert map_client.snapshots > KILLS
