"""A device against a real socket: what is recorded arrives once, whatever happens between."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tracker.errors import InvalidField
from tracker.sdk import (
    AccessRefused,
    BufferFailed,
    BufferInUse,
    Device,
    DeviceClosed,
    DeviceStopped,
    Fix,
    RejectedFix,
    StreamTakenOver,
)
from tracker.sdk.link import HEARTBEAT_S

Server = Any  # the class stands in conftest.py


@asynccontextmanager
async def open_device(server: Server, **options: Any) -> AsyncIterator[Device]:
    async with Device(server.url, **{"token": "secret", "random": lambda: 0.0, **options}) as device:
        yield device


async def until(device: Device, condition: Callable[[], bool]) -> None:
    """Return when this is so; looked at between the loop's steps."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture(params=["memory", "disk"])
def buffer(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "buffer.db" if request.param == "disk" else None


def lons(fixes: list[dict[str, Any]]) -> list[float]:
    return [fix["lon"] for fix in fixes]


async def test_what_is_recorded_arrives_in_order(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer, clock=lambda: 1_700_000_000.1234) as device:
        await device.record(lon=1, lat=60.17, speed_mps=4.2, attributes={"fuel": 3})
        await device.record_many([{"lon": 2, "lat": 0}, Fix(3, 0, time=5)])
        await device.drain()

        assert server.fixes() == [
            {"lon": 1, "lat": 60.17, "time": 1_700_000_000_123, "speed_mps": 4.2, "attributes": {"fuel": 3}},
            {"lon": 2, "lat": 0, "time": 1_700_000_000_123},
            {"lon": 3, "lat": 0, "time": 5},
        ]
        stats = device.stats()
        assert (stats.recorded, stats.pending, stats.acked, stats.rejected, stats.dropped) == (3, 0, 3, 0, 0)
        assert stats.connected
        assert stats.last_error is None


async def test_fixes_recorded_together_share_frames(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer) as device:
        await device.record_many({"lon": i / 100, "lat": 0} for i in range(1_200))
        await device.drain()

    assert sum(fixes for _, _, fixes in server.frames) == 1_200
    assert [fixes for _, _, fixes in server.frames] == [500, 500, 200]


async def test_small_fixes_gather_while_an_ack_is_awaited(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer) as device:
        server.holds_acks = True
        await device.record(lon=0, lat=0)
        await server.until(lambda: len(server.frames) == 1)
        for lon in range(1, 31):
            await device.record(lon=lon, lat=0)
        await server.release_acks()
        await device.drain()

    assert [fixes for _, _, fixes in server.frames] == [1, 30]


async def test_no_frame_exceeds_the_size_of_a_message(server: Server) -> None:
    async with open_device(server) as device:
        await device.record_many({"lon": 0, "lat": 0, "attributes": {"note": "x" * 4_000}} for _ in range(200))
        await device.drain()

    assert len(server.fixes()) == 200
    assert max(fixes for _, _, fixes in server.frames) <= 32


async def test_at_most_four_frames_are_in_flight(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer) as device:
        server.holds_acks = True
        await device.record_many({"lon": 0, "lat": 0} for _ in range(5_000))
        await server.until(lambda: len(server.frames) == 4)
        assert [fixes for _, _, fixes in server.frames] == [500] * 4
        await server.release_acks()
        await device.drain()

    assert len(server.fixes()) == 5_000


async def test_a_lost_connection_loses_nothing(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer) as device:
        for lon in range(100):
            await device.record(lon=lon, lat=0)
            if lon % 20 == 10:
                await server.until(lambda: bool(server.sockets))
                await server.cut(code=1001)
        await device.drain()
        assert device.stats().acked == 100

    assert lons(server.fixes()) == list(range(100))
    assert len(server.connections) > 3


async def test_what_was_stored_but_not_acked_is_not_sent_again(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer) as device:
        server.forgets_acks = True
        await device.record_many({"lon": lon, "lat": 0} for lon in range(10))
        await server.until(lambda: sum(fixes for _, _, fixes in server.frames) == 10)
        server.forgets_acks = False
        await server.cut()
        await device.drain()

    assert lons(server.fixes()) == list(range(10))
    assert sum(fixes for _, _, fixes in server.frames) == 10


async def test_a_frame_lost_on_its_way_is_sent_again_under_its_numbers(server: Server, buffer: Path | None) -> None:
    seen: list[list[float]] = []

    def lose_the_first(stream: str, message: dict[str, Any]) -> int | None:
        seen.append([message["seq"], *lons(message["fixes"])])
        return 1011 if len(seen) == 1 else None

    server.on_frame = lose_the_first
    async with open_device(server, buffer=buffer) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(3))
        await device.drain()

    assert seen == [[1, 0, 1, 2], [1, 0, 1, 2]]


async def test_fixes_wait_on_disk_for_a_server_that_comes_later(server: Server, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    async with Device(nowhere, token="secret", buffer=tmp_path / "b.db") as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(5))
        await until(device, lambda: device.stats().last_error is not None)
        assert not device.stats().connected
        assert device.stats().pending == 5

    async with open_device(server, buffer=tmp_path / "b.db") as device:
        assert device.stats().pending == 5
        await device.record(lon=5, lat=0)
        await device.drain()

    assert lons(server.fixes()) == list(range(6))


async def test_a_rejected_fix_is_reported_counted_and_gone(server: Server, buffer: Path | None) -> None:
    server.judge = lambda fix: "latitude_out_of_range" if fix["lon"] in (1, 3) else None
    rejected: list[RejectedFix] = []
    async with open_device(server, buffer=buffer, on_reject=rejected.append) as device:
        await device.record_many({"lon": lon, "lat": 0, "time": 7} for lon in range(5))
        await device.drain()
        stats = device.stats()

    assert lons(server.fixes()) == [0, 2, 4]
    assert [(reject.code, reject.fix) for reject in rejected] == [
        ("latitude_out_of_range", Fix(1, 0, time=7)),
        ("latitude_out_of_range", Fix(3, 0, time=7)),
    ]
    assert (stats.acked, stats.rejected, stats.pending) == (3, 2, 0)


async def test_a_rejected_fix_with_attributes_is_reported_whole(server: Server, buffer: Path | None) -> None:
    server.judge = lambda fix: "nonsense"
    rejected: list[RejectedFix] = []
    async with open_device(server, buffer=buffer, on_reject=rejected.append) as device:
        await device.record(lon=1, lat=0, attributes={"fuel": 3})
        await device.drain()

    assert bytes(rejected[0].fix.attributes) == b'{"fuel":3}'


async def test_a_reject_whose_ack_is_lost_is_still_reported_once(server: Server, buffer: Path | None) -> None:
    server.judge = lambda fix: "nonsense"
    rejected: list[RejectedFix] = []
    async with open_device(server, buffer=buffer, on_reject=rejected.append) as device:
        server.forgets_acks = True
        await device.record(lon=1, lat=0)
        await server.until(lambda: len(server.frames) == 1)
        server.forgets_acks = False
        await server.cut()
        await device.drain()

    assert len(rejected) == 1


async def test_a_callback_that_fails_stops_no_fix(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(rejected: RejectedFix) -> None:
        raise ValueError("the application's mistake")

    server.judge = lambda fix: "nonsense" if fix["lon"] == 0 else None
    async with open_device(server, on_reject=fail) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(3))
        await device.drain()

    assert lons(server.fixes()) == [1, 2]
    assert "the application's mistake" in caplog.text


@pytest.mark.parametrize("code", [1003, 1007, 1009])
async def test_a_fix_that_the_server_cannot_use_at_all_does_not_block_the_others(server: Server, code: int) -> None:
    poison = 77.0
    server.on_frame = lambda stream, message: code if poison in lons(message["fixes"]) else None
    rejected: list[RejectedFix] = []
    async with open_device(server, on_reject=rejected.append) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(150))
        await device.drain()
        assert device.stats().rejected == 1

    assert lons(server.fixes()) == [lon for lon in range(150) if lon != poison]
    assert [(reject.code, reject.fix.lon) for reject in rejected] == [("refused_by_server", poison)]
    assert max(fixes for _, _, fixes in server.frames[-3:]) > 1


async def test_an_error_message_makes_the_device_resume(server: Server) -> None:
    async with open_device(server) as device:
        server.forgets_acks = True
        await device.record(lon=1, lat=0)
        await server.until(lambda: len(server.frames) == 1)
        server.forgets_acks = False
        await server.say({"type": "error", "code": "overloaded", "message": "come back later"})
        await device.drain()
        assert "overloaded: come back later" in (device.stats().last_error or "")

    assert lons(server.fixes()) == [1]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_ends_the_sending_but_not_the_recording(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.refuse_status = status
    stopped: list[DeviceStopped] = []
    async with open_device(server, buffer=tmp_path / "b.db", on_stop=stopped.append) as device:
        await device.record(lon=1, lat=0)
        with pytest.raises(AccessRefused, match=f"refused this token with HTTP status {status}"):
            await device.drain()
        await device.record(lon=2, lat=0)
        assert device.stats().pending == 2
        assert str(status) in (device.stats().last_error or "")
    assert len(stopped) == 1
    assert len(server.connections) == 1

    server.refuse_status = None
    async with open_device(server, buffer=tmp_path / "b.db") as device:
        await device.drain()
    assert lons(server.fixes()) == [1, 2]


@pytest.mark.parametrize("code", [4401, 4403, 4404])
async def test_a_device_whose_access_is_taken_away_stops(server: Server, code: int) -> None:
    async with open_device(server) as device:
        await server.until(lambda: bool(server.sockets))
        await device.record(lon=1, lat=0)
        await device.drain()
        await server.cut(code=code)
        await device.record(lon=2, lat=0)
        with pytest.raises(AccessRefused):
            await device.drain()

    assert len(server.connections) == 1


async def test_a_stream_taken_over_is_left_to_the_other(server: Server) -> None:
    async with open_device(server) as device:
        await server.until(lambda: bool(server.sockets))
        await server.cut(code=4009)
        await device.record(lon=1, lat=0)
        with pytest.raises(StreamTakenOver, match="is a copy of the buffer file in use elsewhere"):
            await device.drain()


async def test_a_restored_copy_of_a_buffer_goes_on_under_a_new_stream(server: Server, tmp_path: Path) -> None:
    """The server has numbers from after the copy was made; under them the copy's fixes would pass for duplicates."""
    path = tmp_path / "b.db"
    async with open_device(server, buffer=path) as device:
        await device.record(lon=1, lat=0)
        await device.drain()
    copy = path.read_bytes()
    async with open_device(server, buffer=path) as device:
        await device.record_many([{"lon": 2, "lat": 0}, {"lon": 3, "lat": 0}])
        await device.drain()

    path.write_bytes(copy)
    async with open_device(server, buffer=path) as device:
        await device.record(lon=4, lat=0)
        await device.drain()

    assert sorted(lons(server.fixes())) == [1, 2, 3, 4]
    assert len(server.stored) == 2


async def test_a_server_that_lost_its_data_is_reported(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with open_device(server) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(3))
        await device.drain()
        server.durable.clear()
        await server.cut()
        await device.record(lon=3, lat=0)
        await device.drain()

    assert "acked 3 of this stream but has only 0" in caplog.text


async def test_slow_down_is_heeded(server: Server) -> None:
    async with open_device(server) as device:
        await server.until(lambda: bool(server.sockets))
        loop = asyncio.get_running_loop()
        heard = loop.time()
        await server.say({"type": "slow_down", "retry_after_s": 0.2})
        await server.say({"type": "config", "config": {"heard": True}})
        await until(device, lambda: device._config != {})
        await device.record(lon=1, lat=0)
        await device.drain()

        assert loop.time() - heard >= 0.19


async def test_messages_of_a_later_protocol_are_ignored(server: Server) -> None:
    async with open_device(server) as device:
        await server.until(lambda: bool(server.sockets))
        await server.say({"type": "weather", "sun": True})
        await device.record(lon=1, lat=0)
        await device.drain()

    assert len(server.connections) == 1


async def test_the_config_is_handed_over_when_it_changes(server: Server) -> None:
    configs: list[dict[str, Any]] = []
    server.config = {"interval_s": 5}
    async with open_device(server, on_config=configs.append) as device:
        await until(device, lambda: len(configs) == 1)
        await server.cut()
        await server.until(lambda: len(server.connections) == 2)
        await device.record(lon=1, lat=0)
        await device.drain()
        await server.say({"type": "config", "config": {"interval_s": 60}})
        await until(device, lambda: len(configs) == 2)

    assert configs == [{"interval_s": 5}, {"interval_s": 60}]


async def test_the_latest_status_is_said_on_every_connection(server: Server) -> None:
    async with open_device(server) as device:
        device.status(battery=0.9)
        device.status(battery=0.8, reason="permission_denied")
        await server.until(lambda: len(server.statuses) == 1)
        await server.cut()
        await server.until(lambda: len(server.statuses) == 2)
        device.status(battery=0.7)
        await server.until(lambda: len(server.statuses) == 3)

    assert [status["battery"] for status in server.statuses] == [0.8, 0.8, 0.7]
    assert server.statuses[0]["reason"] == "permission_denied"


async def test_a_status_is_checked_where_it_is_made(server: Server) -> None:
    async with open_device(server) as device:
        with pytest.raises(InvalidField, match="battery must be from 0 to 1, not 80"):
            device.status(battery=80)
        with pytest.raises(InvalidField, match="reason may have 200 characters"):
            device.status(reason="x" * 201)


async def test_a_peer_that_no_longer_answers_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.sdk.device.HEARTBEAT_S", 0.1)
    server.ignores_pings = True
    async with open_device(server) as device:
        await server.until(lambda: len(server.connections) == 2)
        server.ignores_pings = False
        await device.record(lon=1, lat=0)
        await device.drain()

    assert lons(server.fixes()) == [1]


def test_a_dead_peer_is_noticed_within_half_a_minute() -> None:
    assert HEARTBEAT_S + HEARTBEAT_S / 2 <= 30  # the silence before a ping, and the wait for its pong


async def test_a_change_of_network_connects_anew_at_once(server: Server) -> None:
    async with open_device(server, random=lambda: 1.0) as device:
        await server.until(lambda: bool(server.sockets))
        device.network_changed()
        await server.until(lambda: len(server.connections) == 2)
        await device.record(lon=1, lat=0)
        await device.drain()

    assert server.connections[0] == server.connections[1]


async def test_a_change_of_network_ends_the_wait_for_the_next_attempt(server: Server) -> None:
    await server.stop()
    port = int(server.url.rsplit(":", 1)[1])
    async with open_device(server, random=lambda: 1_000.0) as device:  # minutes
        await until(device, lambda: device.stats().last_error is not None)
        await server.start(port)
        device.network_changed()
        await device.record(lon=1, lat=0)
        await device.drain()


async def test_newest_first_sends_fresh_fixes_beside_the_backlog(server: Server, buffer: Path | None) -> None:
    """While the backlog's acks are held back, what is recorded now arrives."""
    await server.stop()
    port = int(server.url.rsplit(":", 1)[1])
    async with open_device(server, buffer=buffer, newest_first=True) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(100))
        server.holds_acks = True
        await server.start(port)
        await server.until(lambda: len(server.sockets) == 2)
        await until(device, lambda: device.stats().connected)
        await server.until(lambda: len(server.fixes()) == 100)
        for lon in range(100, 103):
            await device.record(lon=lon, lat=0)
        await server.release_acks()
        await device.drain()

    live = [
        fix["lon"] for stream in server.stored if stream.endswith("-live") for fix in server.stored[stream].values()
    ]
    backlog = [
        fix["lon"] for stream in server.stored if stream.endswith("-backlog") for fix in server.stored[stream].values()
    ]
    assert sorted([*live, *backlog]) == list(range(103))
    assert backlog == list(range(len(backlog)))
    assert live == sorted(live)
    assert live[-3:] == [100, 101, 102]


async def test_newest_first_begins_with_the_newest_fix_of_the_outage(server: Server, tmp_path: Path) -> None:
    async with Device("http://127.0.0.1:9", token="secret", buffer=tmp_path / "b.db", newest_first=True) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(100))

    server.on_frame = lambda stream, message: 1013 if stream.endswith("-backlog") and not live_done(server) else None
    async with open_device(server, buffer=tmp_path / "b.db", newest_first=True) as device:
        await device.drain()

    [live] = [server.stored[stream] for stream in server.stored if stream.endswith("-live")]
    assert [fix["lon"] for fix in live.values()] == [99]
    assert sorted(lons(server.fixes())) == list(range(100))


def live_done(server: Server) -> bool:
    return any(stream.endswith("-live") and server.stored[stream] for stream in list(server.stored))


async def test_the_backlog_socket_closes_when_it_is_no_longer_needed(server: Server) -> None:
    async with open_device(server, newest_first=True) as device:
        await device.record_many({"lon": lon, "lat": 0} for lon in range(10))
        await device.drain()
        await server.until(lambda: [name.endswith("-live") for name in server.sockets] == [True])


async def test_a_buffer_of_newest_first_is_emptied_without_it_too(server: Server, tmp_path: Path) -> None:
    async with open_device(server, buffer=tmp_path / "b.db", newest_first=True) as device:
        server.on_frame = lambda stream, message: 1013
        await device.record_many({"lon": lon, "lat": 0} for lon in range(10))
        await server.until(lambda: any(name.endswith("-backlog") for name, _, _ in server.frames))

    server.on_frame = lambda stream, message: None
    async with open_device(server, buffer=tmp_path / "b.db") as device:
        await device.drain()

    assert sorted(lons(server.fixes())) == list(range(10))


async def test_a_full_buffer_drops_the_oldest_and_says_how_many(server: Server, buffer: Path | None) -> None:
    server.refuse_status = 503
    async with open_device(server, buffer=buffer, max_fixes=100) as device:
        for lon in range(150):
            await device.record(lon=lon, lat=0)
        assert device.stats().dropped == 50
        server.refuse_status = None
        await device.drain()

    assert lons(server.fixes()) == list(range(50, 150))
    [stream] = server.stored
    assert min(server.stored[stream]) == 51, "the server sees a gap of fifty"


async def test_recording_can_wait_for_room_instead(server: Server, buffer: Path | None) -> None:
    async with open_device(server, buffer=buffer, max_fixes=100, when_full="wait") as device:
        await asyncio.gather(
            device.record_many({"lon": lon, "lat": 0} for lon in range(150)),
            device.record_many({"lon": lon, "lat": 0} for lon in range(150, 180)),
            *(device.record(lon=lon, lat=0) for lon in range(-100, 0)),
        )
        await device.drain()
        assert device.stats().dropped == 0

    assert sorted(lons(server.fixes())) == list(range(-100, 180))


async def test_waiting_for_room_ends_when_the_device_stops(server: Server) -> None:
    server.refuse_status = 401
    async with open_device(server, max_fixes=100, when_full="wait") as device:
        with pytest.raises(AccessRefused):
            await device.record_many({"lon": 0, "lat": 0} for _ in range(1_000))


async def test_many_recorders_share_disk_transactions(server: Server, tmp_path: Path) -> None:
    async with open_device(server, buffer=tmp_path / "b.db") as device:
        assert device._shelf is not None
        buffer = device._shelf.buffer
        appends: list[int] = []

        def count(bodies: list[bytes], lane: Any, append: Any = buffer.append) -> None:
            appends.append(len(bodies))
            append(bodies, lane)

        buffer.append = count  # type: ignore[method-assign,assignment]
        await asyncio.gather(*(device.record(lon=i / 10, lat=0) for i in range(200)))
        await device.drain()

    assert sum(appends) == 200
    assert len(appends) < 20
    assert len(server.fixes()) == 200


async def test_a_fix_that_is_not_valid_is_refused_with_all_that_came_with_it(server: Server) -> None:
    async with open_device(server) as device:
        with pytest.raises(InvalidField, match=r"lat must be a number from -90 to 90, not 400"):
            await device.record(lon=0, lat=400)
        with pytest.raises(InvalidField):
            await device.record_many([{"lon": 0, "lat": 0}, {"lon": float("nan"), "lat": 0}])
        assert device.stats().recorded == 0


async def test_a_disk_that_fails_is_told_to_the_recorder(server: Server, tmp_path: Path) -> None:
    async with open_device(server, buffer=tmp_path / "b.db") as device:
        assert device._shelf is not None
        await device._shelf.on_disk(device._shelf.buffer._db.execute, "PRAGMA max_page_count = 1")  # type: ignore[attr-defined]
        with pytest.raises(BufferFailed, match="full"):
            await device.record_many({"lon": 0, "lat": 0} for _ in range(1_000))
        await device._shelf.on_disk(device._shelf.buffer._db.execute, "PRAGMA max_page_count = 100000")  # type: ignore[attr-defined]
        await device.record(lon=1, lat=0)
        await device.drain()

    assert lons(server.fixes()) == [1]


async def test_a_buffer_serves_one_device(server: Server, tmp_path: Path) -> None:
    async with open_device(server, buffer=tmp_path / "b.db"):
        with pytest.raises(BufferInUse):
            await Device(server.url, token="secret", buffer=tmp_path / "b.db").open()


async def test_a_gateway_speaks_for_a_device(server: Server, buffer: Path | None) -> None:
    server.gateway_devices = {"dev_7"}
    async with open_device(server, buffer=buffer, gateway_for="dev_7") as device:
        device.status(battery=0.5)
        await device.record(lon=1, lat=0)
        await device.drain()
        await server.cut()
        await device.record(lon=2, lat=0)
        await device.drain()
        await server.until(lambda: bool(server.statuses))

    assert lons(server.fixes()) == [1, 2]
    assert server.statuses[0]["device"] == "dev_7"


async def test_hundreds_of_devices_share_one_session(server: Server) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        devices = [Device(server.url, token="secret", session=session) for _ in range(300)]
        await asyncio.gather(*(device.open() for device in devices))
        await asyncio.gather(*(device.record(lon=i / 10, lat=0) for i, device in enumerate(devices)))
        await asyncio.gather(*(device.drain() for device in devices))
        await asyncio.gather(*(device.close() for device in devices))
        assert not session.closed

    assert sorted(lons(server.fixes())) == [i / 10 for i in range(300)]


async def test_a_device_is_used_between_open_and_close(server: Server) -> None:
    device = Device(server.url, token="secret")
    with pytest.raises(DeviceClosed, match="use it inside `async with"):
        await device.record(lon=0, lat=0)
    await device.close()
    await device.open()
    with pytest.raises(DeviceClosed, match="opened once"):
        await device.open()
    await device.close()
    await device.close()
    with pytest.raises(DeviceClosed):
        device.stats()


async def test_closing_ends_a_drain(server: Server) -> None:
    server.refuse_status = 503
    device = Device(server.url, token="secret")
    await device.open()
    await device.record(lon=0, lat=0)
    drain = asyncio.create_task(device.drain(), name="drain")
    await server.until(lambda: bool(server.connections))

    await device.close()

    with pytest.raises(DeviceClosed):
        await drain


async def test_closing_with_fixes_in_memory_is_not_silent(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.refuse_status = 503
    async with open_device(server) as device:
        await device.record(lon=0, lat=0)

    assert "closed with 1 fixes in memory" in caplog.text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/ingest"),
        ("https://example.com/", "https://example.com/v1/ingest"),
        ("https://example.com/tracker", "https://example.com/tracker/v1/ingest"),
        ("wss://example.com/v1/ingest", "wss://example.com/v1/ingest"),
    ],
)
def test_the_ingest_door_is_found_from_the_servers_address(given: str, expected: str) -> None:
    assert str(Device(given, token="secret")._url) == expected


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://example.com", "", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidField, match="url must be like https://"):
        Device(url, token="secret")


def test_a_buffer_without_room_is_refused() -> None:
    with pytest.raises(InvalidField, match="room for 16 fixes"):
        Device("http://127.0.0.1", token="secret", max_fixes=3)


def test_a_token_that_cannot_stand_in_a_header_is_refused() -> None:
    for token in ("", "two\nlines"):
        with pytest.raises(InvalidField, match="token"):
            Device("http://127.0.0.1", token=token)


async def test_nothing_is_logged_for_each_fix(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tracker.sdk")
    async with open_device(server) as device:
        for lon in range(50):
            await device.record(lon=lon, lat=0)
        await device.drain()

    assert len([record for record in caplog.records if record.name == "tracker.sdk"]) < 3
    assert json.dumps(server.fixes())
