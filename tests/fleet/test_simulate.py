import asyncio
import importlib.util
import time

import pytest

from tests.integration.api import ADMIN, WITHIN_S, Api
from tracker.errors import SetupError, TrackerError
from tracker.fleet.areas import areas
from tracker.fleet.simulate import Progress, World, simulate

COURIERS = 4
MEMBERS = COURIERS + 8 + 7 + 6


async def run(api: Api, **options: float) -> tuple[Progress, list[Progress]]:
    heard: list[Progress] = []
    done = await simulate(api.url, ADMIN, couriers=COURIERS, seed=3, on_progress=heard.append, **options)
    return done, heard


async def test_the_fleet_enrols_brings_its_past_and_streams(api: Api) -> None:
    began_ms = time.time() * 1000
    done, heard = await run(api, duration_s=3.0, backfill_s=120.0)

    assert done.members == MEMBERS
    assert done.acked == done.recorded > MEMBERS * 3
    assert (done.pending, done.stopped) == (0, ())
    stages = list(dict.fromkeys(progress.stage for progress in heard))
    assert stages == ["streets", "devices", "geofences", "history", "streaming", "done"]

    assets = await api.pages("/v1/assets", "assets")
    assert len(assets) == MEMBERS
    assert {tag for asset in assets for tag in asset["tags"]} == {
        "courier",
        "bike",
        "car",
        "foot",
        "tram",
        "ship",
        "flight",
    }
    positions = (await api.call("GET", "/v1/positions"))["features"]
    assert MEMBERS - 4 <= len(positions) <= MEMBERS  # some may be indoors, without a fix for minutes
    fences = await api.pages("/v1/geofences", "features")
    assert {fence["properties"]["name"] for fence in fences} == {area["properties"]["name"] for area in areas()}
    tracks = [await api.track(position["id"]) for position in positions]
    assert min(track[0].time_ms for track in tracks) < began_ms - 60_000
    assert max(track[-1].time_ms for track in tracks) > began_ms
    assert all(not fix.flags for track in tracks for fix in track)
    for device in await api.pages("/v1/devices", "devices"):
        assert not await api.pages(f"/v1/devices/{device['id']}/rejects", "rejects")


async def test_a_second_run_goes_on_with_the_same_devices_and_geofences(api: Api) -> None:
    await run(api, duration_s=0.5)
    devices = await api.pages("/v1/devices", "devices")
    fences = await api.pages("/v1/geofences", "features")
    done, _ = await run(api, duration_s=1.5, backfill_s=600.0)
    assert done.acked == done.recorded < 600  # no second past: one that is known needs none
    assert [device["id"] for device in await api.pages("/v1/devices", "devices")] == [
        device["id"] for device in devices
    ]
    assert await api.pages("/v1/geofences", "features") == fences


async def test_a_device_that_is_deleted_stops_and_the_others_go_on(api: Api) -> None:
    progress: list[Progress] = []
    fleet = asyncio.create_task(simulate(api.url, ADMIN, couriers=COURIERS, seed=3, on_progress=progress.append))
    async with asyncio.timeout(WITHIN_S):
        while not progress or progress[-1].acked < 20:
            await asyncio.sleep(0.02)
        gone = (await api.pages("/v1/devices", "devices"))[0]
        await api.call("DELETE", f"/v1/devices/{gone['id']}", expect=204)
        while not any(each.stopped for each in progress):
            await asyncio.sleep(0.02)
        acked = progress[-1].acked
        while progress[-1].acked < acked + 20:
            await asyncio.sleep(0.02)
    fleet.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fleet
    (told,) = [sentence for each in progress for sentence in each.stopped]
    assert told.startswith(f"{gone['name']}: ")


async def test_a_wrong_token_is_one_sentence(api: Api) -> None:
    with pytest.raises(TrackerError, match=r"does not accept this token as an administrator's\.$"):
        await simulate(api.url, "not-a-token-of-this-server", couriers=1)


async def test_a_server_that_is_away_is_one_sentence() -> None:
    with pytest.raises(TrackerError, match=r"^The server at http://127\.0\.0\.1:9 cannot be reached: "):
        await simulate("http://127.0.0.1:9", ADMIN, couriers=1)


async def test_missing_streets_are_a_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install 'tracker\[demo\]'"):
        await simulate("http://127.0.0.1:9", ADMIN, couriers=1)


def test_a_faster_world_begins_with_the_clock_and_runs_ahead_of_it() -> None:
    world = World(1000.0, 10.0)
    assert (world.time_s(1000.0), world.time_s(1006.0)) == (1000.0, 1060.0)
    assert world.clock_s(world.time_s(1234.5)) == 1234.5
    assert World(1000.0, 1.0).time_s(5000.0) == 5000.0
