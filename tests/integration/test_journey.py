"""The promise: what is acked is kept, once, and its events are exact, once, though the server is killed again."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from aiohttp import ClientSession

from tests.integration import town
from tests.integration.api import Api, Json, ms_of, until
from tests.integration.link import Device
from tests.integration.oracle import ENTER, EXIT, INITIAL, UNIT, Expected, Fence, Round, Step, events_of
from tests.integration.receiver import Receiver
from tests.integration.served import Served
from tests.integration.viewer import MapClient

CABS = 12
FIXES = 220
KILLS = 3
SEED = 20_250_615
BBOX = (24.9, 60.15, 24.94, 60.2)


async def make_fences(api: Api, fences: Sequence[Fence]) -> dict[str, str]:
    """All at once; the name of each by its id."""
    features = [
        {
            "type": "Feature",
            "geometry": fence.geometry(),
            "properties": {
                "name": fence.name,
                "quality": "trusted" if fence.trusted_only else "all",
                **({"radius_m": fence.radius_m} if isinstance(fence, Round) else {}),
            },
        }
        for fence in fences
    ]
    body = {"type": "FeatureCollection", "features": features}
    made = await api.call("POST", "/v1/geofences", body, expect=201)
    return {each["id"]: fence.name for each, fence in zip(made["geofences"], fences, strict=True)}


def found(event: Json, names: dict[str, str]) -> Expected:
    kind = EXIT if event["type"] == "geofence.exit" else INITIAL if event.get("initial") else ENTER
    return Expected(ms_of(event["fix_time"]), kind, names[event["geofence"]["id"]])


async def kill_and_start(served: Served, http: ClientSession, devices: Sequence[Device], points: Sequence[int]) -> None:
    """When so many fixes are acked, whatever the server is doing then."""
    for point in points:
        while sum(device.acked for device in devices) < point:
            await asyncio.sleep(0.001)
        served.kill()
        await served.start(http)


def check_tracks(walks: dict[str, Sequence[Step]], tracks: dict[str, list[Json]]) -> None:
    for asset, walk in walks.items():
        sent = [(step.time_ms, step.place[0] / UNIT, step.place[1] / UNIT) for step in walk]
        assert [(fix.time_ms, fix.lon, fix.lat) for fix in tracks[asset]] == sent
        assert [bool(fix.flags) for fix in tracks[asset]] == [step.doubted for step in walk]


def check_events(
    walks: dict[str, Sequence[Step]], fences: Sequence[Fence], events: list[Json], names: dict[str, str]
) -> None:
    assert len({event["id"] for event in events}) == len(events)
    by_asset = defaultdict(list)
    for event in events:
        by_asset[event["asset"]["id"]].append(found(event, names))
    for asset, walk in walks.items():
        expected = events_of(walk, fences)
        assert Counter(by_asset[asset]) == Counter(expected)
        in_feed = [(event.time_ms, event.kind == EXIT) for event in by_asset[asset]]
        for before, after in pairwise(in_feed):
            assert before[0] < after[0] or (before[0] == after[0] and before[1] >= after[1])


def check_hooks(receiver: Receiver, events: list[Json]) -> None:
    assert receiver.faults == []
    assert len(receiver.refused) > 0
    listed = defaultdict(list)
    for event in events:
        listed[event["asset"]["id"]].append(event["id"])
    assert receiver.order == listed
    assert sorted(receiver.events.values(), key=lambda event: event["id"]) == sorted(
        events, key=lambda event: event["id"]
    )


@pytest.mark.timeout(240)
async def test_nothing_acked_is_lost_and_nothing_comes_twice_when_the_server_is_killed_three_times(
    served: Served, http: ClientSession, receiver: Receiver
) -> None:
    fences = town.fences(SEED)
    random_ = random.Random(SEED)
    await served.start(http)
    api = Api(served.url, http)
    names = await make_fences(api, fences)
    hook = await api.call(
        "POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter", "geofence.exit"]}, expect=201
    )
    receiver.secret, receiver.refuse_at = hook["secret"], frozenset({2, 20})
    walks: dict[str, Sequence[Step]] = {}
    devices = []
    for number in range(CABS):
        made = await api.new_device(f"cab {number}")
        walks[made.asset] = town.walk(number, FIXES)
        fixes = [step.fix() for step in walks[made.asset]]
        devices.append(
            Device(served.url, made.token, fixes, f"lane-{number}", random_.randint(1, 6), random_.randint(1, 3))
        )

    map_client = MapClient(served.url, BBOX)
    watching = asyncio.create_task(map_client.run(http), name="map-client")
    part = CABS * FIXES // (KILLS + 1)
    points = [
        part * kill + random.randint(part // 4, part) for kill in range(KILLS)
    ]  # truly random: another moment each time
    print("killed at", points, "fixes acked")
    await asyncio.gather(kill_and_start(served, http, devices, points), *(device.run(http) for device in devices))

    assert [device.broken for device in devices if device.broken] == []
    assert [device.rejects for device in devices if device.rejects] == []
    check_tracks(walks, {asset: await api.track(asset) for asset in walks})
    events = await api.events()
    check_events(walks, fences, events, names)

    async def all_delivered() -> bool:
        return len(receiver.events) >= len(events)

    await until(all_delivered, within_s=60)
    check_hooks(receiver, events)

    last = {asset: town.newest_trusted(walk).place for asset, walk in walks.items()}
    places = {asset: (place[0] / UNIT, place[1] / UNIT) for asset, place in last.items()}
    inside = {
        asset: place
        for asset, place in places.items()
        if BBOX[0] <= place[0] <= BBOX[2] and BBOX[1] <= place[1] <= BBOX[3]
    }

    async def map_is_right() -> bool:
        return map_client.places == inside

    await until(map_is_right)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert len(inside) > 1
    assert map_client.outside == []
    assert map_client.snapshots > KILLS
