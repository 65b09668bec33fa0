"""History while it is moved from the journal into pieces, and from there into sealed days: complete at every look, and
enough to start again from.
"""

import asyncio
import random

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.integration import town
from tests.integration.api import Api, until
from tests.integration.ledger import Convoy, check_visits
from tests.integration.link import cab
from tests.integration.oracle import UNIT
from tracker.app import Server
from tracker.settings import Settings
from tracker.store import filer, sealer

CABS, FIXES = 6, 200


@pytest.fixture(autouse=True)
def _filed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is filed as soon as it is looked at, and it is looked at without end; and so is it sealed."""
    defaults = filer.Filer.file_due.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "at_fixes", 1)
    monkeypatch.setattr(filer, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(sealer, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(sealer, "REST", 0.0)
    monkeypatch.setattr(sealer, "OPEN_DAYS", 0)


async def look_on(convoy: Convoy, api: Api) -> int:
    """Reads tracks until the convoy has arrived: each must be the walk as far as it was acked, or a little further."""
    looks = 0
    while convoy.acked < CABS * FIXES:
        for device, (asset, walk) in zip(convoy.devices, convoy.walks.items(), strict=True):
            acked = device.acked
            track = await api.track(asset)
            assert len(track) >= acked
            assert [fix.time_ms for fix in track] == [step.time_ms for step in walk[: len(track)]]
            looks += 1
    return looks


async def test_a_track_is_whole_at_every_look_while_it_is_filed(
    api: Api, http: ClientSession, server: Server, connection: asyncpg.Connection
) -> None:
    convoy = Convoy(api, town.fences(21))
    await convoy.make(CABS, FIXES, random.Random(21))
    for device in convoy.devices:
        device.per_frame = device.window = 1  # so that there are many batches to file
    async with asyncio.TaskGroup() as group:
        group.create_task(convoy.drive(http), name="convoy")
        looking = group.create_task(look_on(convoy, api), name="look on")
    assert looking.result() > CABS
    await convoy.check()
    await check_visits(api, list(convoy.walks))

    async def all_filed() -> bool:
        return bool(await connection.fetchval("SELECT count(*) = 0 FROM journal"))

    await until(all_filed)
    await convoy.check()
    assert server.filer.stats.filed_fixes == CABS * FIXES

    async def all_sealed() -> bool:
        return bool(await connection.fetchval("SELECT sum(n) = $1 FROM sealed", CABS * FIXES))

    await until(all_sealed)
    await convoy.check()
    await check_visits(api, list(convoy.walks))
    assert await connection.fetchval("SELECT count(*) FROM piece") == 0
    assert await connection.fetchval("SELECT count(*) FROM sealed") <= CABS * (FIXES // 96 + 1), "no crumbs"


async def test_a_server_starts_again_from_what_is_filed_and_what_is_not(
    settings: Settings, http: ClientSession
) -> None:
    async with Server(settings) as first:
        api = Api(first.url, http)
        convoy = Convoy(api, town.fences(22))
        await convoy.make(CABS, FIXES, random.Random(22))
        driving = asyncio.create_task(convoy.drive(http), name="convoy")
        await _until_acked(convoy, CABS * FIXES // 4)
    for part in (2, 3):
        async with Server(settings) as server:
            _move_to(convoy, server, http)
            await _until_acked(convoy, CABS * FIXES * part // 4)
    async with Server(settings) as server:
        _move_to(convoy, server, http)
        await driving
        await convoy.check()
        await check_visits(convoy.api, list(convoy.walks))
        for asset, place in convoy.last_places().items():
            position = await convoy.api.position(asset)
            assert (position["lon"], position["lat"]) == place


def _move_to(convoy: Convoy, server: Server, http: ClientSession) -> None:
    """Everybody calls the new address from now on."""
    convoy.api = Api(server.url, http)
    for device in convoy.devices:
        device.url = server.url


async def _until_acked(convoy: Convoy, fixes: int) -> None:
    while convoy.acked < fixes:
        await asyncio.sleep(0.001)


async def test_positions_at_a_past_moment_are_those_of_the_walks(api: Api, http: ClientSession) -> None:
    convoy = Convoy(api, [])
    for number in range(CABS):
        async with cab(api, f"cab {number}") as bus:
            walk = town.walk(number, 100)
            await bus.send(*(step.fix() for step in walk))
            convoy.walks[bus.asset] = walk
    moments = sorted(random.Random(1).sample(range(town.START_MS, town.START_MS + 1_500_000), 20))
    for moment in [*moments, town.START_MS - 1, town.START_MS + 10**9]:
        expected = {}
        for asset, steps in convoy.walks.items():
            before = [step.place for step in steps if step.time_ms <= moment and not step.doubted]
            if before:
                expected[asset] = [before[-1][0] / UNIT, before[-1][1] / UNIT]
        found = (await api.call("GET", f"/v1/positions?at={moment}"))["features"]
        assert {feature["id"]: feature["geometry"]["coordinates"] for feature in found} == expected
