"""Recorded files into the real server: everything arrives, under its device, in the order of its file."""

import asyncio
import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.integration.api import ADMIN, Api
from tracker.errors import InvalidField, TrackerError
from tracker.replay import Progress, ReplayBar, replay

START_MS = 1_400_000_000_000
HEADER = "device,time_ms,lat,lon,speed_mps\n"


def table(path: Path, devices: int = 3, fixes: int = 50, step_ms: int = 1_000) -> Path:
    """Device after device, as recorders write them."""
    rows = [
        f"cab {device},{START_MS + number * step_ms},{60 + number / 1000},{24 + device / 10},5"
        for device in range(devices)
        for number in range(fixes)
    ]
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


async def asset_of(api: Api, device: str) -> str:
    devices = await api.pages("/v1/devices", "devices")
    [found] = [each for each in devices if each["name"] == device]
    return str(found["asset"]["id"])


async def test_everything_arrives_under_its_device(api: Api, tmp_path: Path) -> None:
    heard: list[Progress] = []
    done = await replay(table(tmp_path / "cabs.csv"), api.url, admin_token=ADMIN, on_progress=heard.append)

    assert (done.stage, done.fixes, done.sent, done.acked, done.rejected) == ("done", 150, 150, 150, 0)
    assert list(dict.fromkeys(progress.stage for progress in heard))[:2] == ["reading", "devices"]
    track = await api.track(await asset_of(api, "cab 1"))
    assert [(fix.time_ms, fix.lon, fix.lat) for fix in track] == [
        (START_MS + number * 1_000, 24.1, round(60 + number / 1000, 7)) for number in range(50)
    ]


async def test_devices_are_used_again_and_keep_their_tokens(api: Api, tmp_path: Path) -> None:
    cab = await api.new_device("cab 0")
    path = table(tmp_path / "cabs.csv")

    await replay(path, api.url, admin_token=ADMIN)
    await replay(path, api.url, admin_token=ADMIN, limit=7)

    assert sorted(device["name"] for device in await api.pages("/v1/devices", "devices")) == ["cab 0", "cab 1", "cab 2"]
    assert len(await api.track(cab.asset)) == 57
    answer = await api.send("POST", "/v1/ingest", token=cab.token, json={"lon": 1, "lat": 1})
    assert answer.status == 200


async def test_no_token_is_left_behind(api: Api, tmp_path: Path) -> None:
    await replay(table(tmp_path / "cabs.csv"), api.url, admin_token=ADMIN)

    assert await api.pages("/v1/tokens?kind=gateway", "tokens") == []


async def test_one_devices_token_is_enough_for_one_devices_file(api: Api, tmp_path: Path) -> None:
    device = await api.new_device("any name")
    done = await replay(table(tmp_path / "ride.csv", devices=1), api.url, device_token=device.token)

    assert done.acked == 50
    assert len(await api.track(device.asset)) == 50


async def test_a_gpx_file_is_replayed_like_a_table(api: Api, tmp_path: Path) -> None:
    points = "".join(
        f'<trkpt lat="60.{n:02}" lon="24"><time>2020-01-01T00:00:{n:02}Z</time></trkpt>' for n in range(20)
    )
    path = tmp_path / "Evening ride.gpx"
    path.write_text(f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>")

    await replay(path, api.url, admin_token=ADMIN)

    assert len(await api.track(await asset_of(api, "Evening ride"))) == 20


async def test_a_speed_paces_the_replay(api: Api, tmp_path: Path) -> None:
    path = table(tmp_path / "cabs.csv", devices=2, fixes=11, step_ms=60_000)  # ten minutes
    began = time.monotonic()

    done = await replay(path, api.url, admin_token=ADMIN, speed=600)

    assert time.monotonic() - began >= 1.0
    assert done.acked == 22


async def test_moved_to_now_it_happens_now(api: Api, tmp_path: Path) -> None:
    path = table(tmp_path / "cabs.csv", devices=1, fixes=11, step_ms=60_000)
    before_ms = time.time() * 1_000

    await replay(path, api.url, admin_token=ADMIN, speed=600, shift_to_now=True)

    track = await api.track(await asset_of(api, "cab 0"))
    assert before_ms - 1 <= track[0].time_ms
    assert [fix.time_ms - track[0].time_ms for fix in track] == [number * 100 for number in range(11)]
    assert all(not fix.flags for fix in track)


async def test_a_loop_goes_round_until_it_is_stopped(api: Api, tmp_path: Path) -> None:
    path = table(tmp_path / "cabs.csv", devices=1, fixes=3, step_ms=1_000)
    thrice = asyncio.Event()

    def hear(progress: Progress) -> None:
        if progress.rounds >= 3:
            thrice.set()

    running = asyncio.create_task(
        replay(path, api.url, admin_token=ADMIN, speed=100, shift_to_now=True, loop=True, on_progress=hear)
    )
    await asyncio.wait_for(thrice.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await api.pages("/v1/tokens?kind=gateway", "tokens") == []


async def test_rejects_are_counted_by_their_code(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text(HEADER + f"x,{START_MS},1,2,\nx,{4 * START_MS},1,2,\nx,{4 * START_MS},1,2,\n")

    done = await replay(path, api.url, admin_token=ADMIN)

    assert (done.acked, done.rejected, dict(done.reject_codes)) == (1, 2, {"time_in_future": 2})


async def test_more_devices_than_sockets_take_turns(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.replay.senders.socket_limit", lambda: 4)

    done = await replay(table(tmp_path / "cabs.csv", devices=30, fixes=20), api.url, admin_token=ADMIN)

    assert done.acked == 600
    assert len(await api.track(await asset_of(api, "cab 29"))) == 20


async def test_a_file_of_many_devices_needs_an_admin_token(api: Api, tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match="the file has 3 devices, a device's token speaks for one"):
        await replay(table(tmp_path / "cabs.csv"), api.url, device_token="any")


async def test_a_token_that_is_no_administrators_is_refused(api: Api, tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match="does not take this token for an administrator's"):
        await replay(table(tmp_path / "cabs.csv"), api.url, admin_token="wrong")


async def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match=r"the server at http://127\.0\.0\.1:9 cannot be reached"):
        await replay(table(tmp_path / "cabs.csv"), "http://127.0.0.1:9", admin_token=ADMIN)


async def test_mistakes_on_the_command_line_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    with pytest.raises(InvalidField, match="needs an admin token"):
        await replay(path, "http://127.0.0.1:9")
    with pytest.raises(InvalidField, match="speed must be a positive number"):
        await replay(path, "http://127.0.0.1:9", admin_token=ADMIN, speed=0)
    with pytest.raises(InvalidField, match="in a loop needs a speed"):
        await replay(path, "http://127.0.0.1:9", admin_token=ADMIN, loop=True)
    path.write_text(HEADER + "x,,1,2,3\n")
    with pytest.raises(InvalidField, match=r"none\.csv holds no fix with a time and a place \(1 skipped\)"):
        await replay(path, "http://127.0.0.1:9", admin_token=ADMIN)


async def test_the_bar_shows_what_happens(api: Api, tmp_path: Path) -> None:
    screen = io.StringIO()
    path = tmp_path / "late.csv"
    path.write_text(HEADER + f"x,{START_MS},1,2,\nx,{4 * START_MS},1,2,\nx,,1,2,\n")

    with ReplayBar(Console(file=screen, width=200)) as bar:
        await replay(path, api.url, admin_token=ADMIN, on_progress=bar.show)

    assert "1 acked" in screen.getvalue()
    assert "1 devices" in screen.getvalue()
    assert "1 skipped" in screen.getvalue()
    assert "1 rejected (time_in_future 1)" in screen.getvalue()
