"""What a batch makes of its frames: numbers, rejects, flags, integers, answers."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.world import NOW_MS, Socket, World, identity, numbered, numbered_in_binary
from tests.wire.test_frames import anything
from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32
from tracker.domain.fix import Flag
from tracker.domain.fleet import Asset, Device
from tracker.pipeline.prepare import Clock, Prepared
from tracker.wire.binary import MAGIC, binary_frame
from tracker.wire.device import Fix


def prepared(
    frame: bytes | str | dict[str, Any] | list[Any], world: World | None = None, *, name: str | None = "s1"
) -> Prepared:
    """One frame of device 1."""
    world = world or World()
    socket = Socket()
    world.open(socket, 1, name)
    if isinstance(frame, dict | list):
        frame = json.dumps(frame)
    world.send(socket, frame if isinstance(frame, bytes) else frame.encode())
    return world.prepared(world.intake.take())


def fix(**fields: Any) -> dict[str, Any]:
    return {"lon": 13.4, "lat": 52.5, "time": NOW_MS, **fields}


def test_a_fix_becomes_integers() -> None:
    found = prepared(
        fix(lon=-179.9999999, lat=89.99999996, alt_m=-11.96, speed_mps=0.006, course_deg=359.96, accuracy_m=4.44)
    ).columns
    assert (found.asset.tolist(), found.device.tolist(), found.time_ms.tolist()) == ([1], [1], [NOW_MS])
    assert (found.lon.tolist(), found.lat.tolist()) == ([-1_799_999_999], [900_000_000])
    assert (found.alt.tolist(), found.speed.tolist(), found.course.tolist()) == ([-120], [1], [0])
    assert (found.accuracy.tolist(), found.flags.tolist(), found.attributes) == ([44], [0], None)


def test_what_is_absent_is_not_known() -> None:
    found = prepared(fix(alt_m=None)).columns
    assert (found.alt.tolist(), found.speed.tolist(), found.accuracy.tolist()) == ([UNKNOWN_INT32],) * 3
    assert found.course.tolist() == [UNKNOWN_INT16]


@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90))
def test_coordinates_are_rounded_to_seven_places(lon: float, lat: float) -> None:
    found = prepared(fix(lon=lon, lat=lat)).columns
    assert abs(int(found.lon[0]) - lon * 1e7) <= 0.5001
    assert abs(int(found.lat[0]) - lat * 1e7) <= 0.5001


@given(st.integers(-1_800_000_000, 1_800_000_000), st.integers(-900_000_000, 900_000_000))
def test_seven_places_come_back_exactly(lon: int, lat: int) -> None:
    found = prepared(fix(lon=lon / 1e7, lat=lat / 1e7)).columns
    assert (int(found.lon[0]), int(found.lat[0])) == (lon, lat)


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({}, 0),
        ({"lon": 0, "lat": 0}, Flag.ZERO_ISLAND),
        ({"lon": -0.0, "lat": 0.0}, Flag.ZERO_ISLAND),
        ({"lon": 4e-8, "lat": -4e-8}, Flag.ZERO_ISLAND),  # rounded before it is judged
        ({"lon": 1e-7, "lat": 0}, 0),
        ({"lon": 0, "lat": 52.5}, 0),
        ({"accuracy_m": 1_000}, 0),
        ({"accuracy_m": 1_000.1}, Flag.POOR_ACCURACY),
        ({"accuracy_m": None}, 0),
        ({"time": NOW_MS + 60_000}, 0),
        ({"time": NOW_MS + 60_001}, Flag.CLOCK_AHEAD),
        ({"time": NOW_MS + 24 * 3_600_000}, Flag.CLOCK_AHEAD),
        ({"time": 0}, 0),  # age alone is never a fault
        ({"lon": 0, "lat": 0, "accuracy_m": 5e6, "time": NOW_MS + 70_000}, 7),
    ],
)
def test_a_suspicious_fix_is_kept_with_flags(fields: dict[str, Any], flags: int) -> None:
    found = prepared(fix(**fields))
    assert found.columns.flags.tolist() == [int(flags)]
    assert len(found.judgement.trusted.asset) == (0 if flags else 1)
    assert len(found.judgement.every.asset) == 1


def test_a_device_that_stands_by_moves_nothing() -> None:
    world = World()
    socket = Socket()
    world.open(socket, 3, "s1")  # asset 1 follows device 1
    world.send(socket, json.dumps(fix()).encode())
    found = world.prepared(world.intake.take())
    assert (found.columns.asset.tolist(), found.columns.device.tolist()) == ([1], [3])
    assert found.columns.flags.tolist() == [Flag.STANDBY]


def test_fixes_go_where_their_device_is_now() -> None:
    world = World()
    socket = Socket()
    world.open(socket, 1, "s1")
    world.fleet.put_asset(Asset(9, "new"))
    world.fleet.put_device(Device(1, "device 1", 9))
    world.send(socket, json.dumps(fix()).encode())
    assert world.prepared(world.intake.take()).columns.asset.tolist() == [9]


def test_attributes_stay_with_their_fix() -> None:
    found = prepared([fix(attributes={"n": 1}), fix(lat=400), fix(), fix(attributes={"n": 4}), fix(attributes=[])])
    assert found.columns.attributes == [b'{"n":1}', None, b'{"n":4}']
    assert [(each.seq, each.refusal.code) for each in found.rejected] == [
        (2, "latitude_out_of_range"),
        (5, "bad_attributes"),
    ]


def test_rejects_are_named_by_their_number_also_after_a_resend() -> None:
    world = World()
    prepared(numbered(101, 1, 5), world)
    again = prepared(numbered(101, 2, 11), world)  # 2…12; 3 and 10 are bad, 2…5 are known
    assert [each.seq for each in again.rejected] == [10]
    assert again.columns.time_ms.tolist() == [identity(101, seq) for seq in (6, 7, 8, 9, 11, 12)]
    assert [(last, gaps) for last, gaps in again.cursors.values()] == [(12, 0)]


def test_texts_and_binary_frames_of_a_batch_stay_in_order() -> None:
    world = World()
    socket = Socket(gateway=True)
    lanes = [world.open(socket, device, "s1") for device in (1, 2)]
    world.send(socket, numbered_in_binary(201, 1, 4, slot=1))
    world.send(socket, numbered(101, 1, 3, device="dev_1"))
    world.send(socket, numbered_in_binary(101, 2, 4))  # 2 and 3 are known by then, 3 is bad
    world.send(socket, MAGIC)
    text = {"device": "dev_2", "fixes": [fix(attributes={"n": 1}), {"lon": 1, "lat": 2}]}
    world.send(socket, json.dumps(text).encode())
    world.send(socket, binary_frame([Fix(1, 2), Fix(1, 2, 5)], slot=1))
    found = world.prepared(world.intake.take())
    times = [identity(201, seq) for seq in (1, 2, 4)] + [identity(101, seq) for seq in (1, 2, 4, 5)]
    assert found.columns.time_ms.tolist() == [*times, NOW_MS, NOW_MS, NOW_MS + 1, 5]
    assert found.columns.device.tolist() == [2] * 3 + [1] * 4 + [2] * 4
    assert found.columns.attributes == [None] * 7 + [b'{"n":1}', None, None, None]
    assert [(each.lane, each.seq) for each in found.rejected] == [(lanes[1], 3), (lanes[0], 3)]
    assert found.cursors == {lanes[0]: (5, 0), lanes[1]: (8, 0)}
    assert [each.code for each in found.errors[socket.source]] == ["malformed"]


def test_a_stream_that_is_not_open_is_an_error_in_binary_too() -> None:
    world = World()
    socket = Socket()
    world.open(socket, 1, "s1")
    world.send(socket, numbered_in_binary(101, 1, 1, slot=1))
    world.drain()
    assert [message["code"] for message in socket.told] == ["unknown_stream"]


def test_gaps_are_counted_and_cannot_be_filled() -> None:
    world = World()
    first = prepared(numbered(101, 11, 2), world)
    assert list(first.cursors.values()) == [(12, 10)]
    assert prepared(numbered(101, 1, 10), world).changes_nothing


def test_several_messages_of_a_batch_count_their_gaps_together() -> None:
    world = World()
    socket = Socket()
    world.open(socket, 1, "s1")
    for seq in (3, 4, 10, 1):
        world.send(socket, numbered(101, seq, 1))
    found = world.prepared(world.intake.take())
    assert list(found.cursors.values()) == [(10, 7)]


def test_a_batch_of_resends_changes_nothing_but_is_answered() -> None:
    world = World()
    socket = Socket()
    world.open(socket, 1, "s1")
    for _ in range(2):
        world.send(socket, numbered(101, 1, 2))
        world.begin()
        world.settle()
    assert [(message["type"], message["seq"]) for message in socket.told] == [("ack", 2), ("ack", 2)]
    assert len(world.ledger) == 1


def test_a_batch_of_rejects_alone_is_a_batch() -> None:
    found = prepared(fix(lat=400))
    assert (len(found.columns), found.changes_nothing, list(found.cursors.values())) == (0, False, [(1, 0)])


def test_answers_are_errors_then_rejects_then_one_ack_for_each_stream() -> None:
    world = World()
    socket = Socket(gateway=True)
    world.open(socket, 1, "s1")
    world.open(socket, 2, "s1")
    for device in (1, 2, 1):
        first = 1 + 4 * len(socket.told) if device == 1 else 1
        world.send(socket, numbered(device * 100 + 1, first, 4, device=f"dev_{device}", stream="s1"))
    world.send(socket, b"?")
    world.begin()
    world.settle()
    assert [(message["type"], message.get("device"), message.get("seq")) for message in socket.told] == [
        ("error", None, None),
        ("reject", "dev_1", 3),
        ("reject", "dev_2", 3),
        ("ack", "dev_1", 4),
        ("ack", "dev_2", 4),
    ]


def test_a_batch_that_the_database_refuses_rejects_every_fix() -> None:
    world = World()
    socket = Socket()
    world.open(socket, 1, "s1")
    world.send(socket, numbered(101, 1, 4))
    world.begin()
    world.settle("refused")
    world.drain()
    assert [(message["type"], message["seq"]) for message in socket.told] == [
        *(("reject", seq) for seq in (1, 2, 3, 4)),
        ("ack", 4),
    ]
    assert len(world.ledger[0].columns) == 0


def test_a_fix_without_time_is_taken_now_and_a_millisecond_after_the_one_before() -> None:
    world = World()
    for _ in range(2):
        found = prepared([{"lon": 1, "lat": 2}, {"lon": 1, "lat": 2, "time": 5}, {"lon": 1, "lat": 2}], world)
        start = NOW_MS + 2 * (found.number - 1)
        assert found.columns.time_ms.tolist() == [start, 5, start + 1]
    world.now_ms += 10_000
    assert prepared({"lon": 1, "lat": 2}, world).columns.time_ms.tolist() == [NOW_MS + 10_000]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(-5, 5)), max_size=30))
def test_stamps_of_a_device_grow(calls: list[tuple[int, int]]) -> None:
    clock, last, now_ms = Clock(), dict[int, int](), 1_000
    for device, step in calls:
        now_ms += step
        stamp = clock.stamp(device, now_ms)
        assert stamp >= now_ms
        assert stamp >= last.get(device, 0) + 1
        assert stamp == max(now_ms, last.get(device, 0) + 1)
        last[device] = stamp


@settings(max_examples=80, deadline=None)
@given(frames=st.lists(anything, min_size=1, max_size=4))
def test_nothing_that_a_device_sends_stops_the_journey(frames: list[bytes]) -> None:
    world = World()
    sockets = [Socket(), Socket(gateway=True)]
    world.open(sockets[0], 1, "s1")
    world.open(sockets[1], 2, None)
    for i, frame in enumerate(frames):
        world.send(sockets[i % 2], frame)
    world.drain()
    for socket in sockets:
        assert socket.source.queued == 0
        assert {message["type"] for message in socket.told} <= {"ack", "reject", "error"}


@pytest.mark.parametrize("device", ["dev_²", "dev_٣", "dev_" + "9" * 5_000, "dev_", "dev_0", "ast_1", "", "dev_\x00"])
@pytest.mark.parametrize("gateway", [False, True])
def test_a_message_in_the_name_of_nobody_is_an_error(device: str, gateway: bool) -> None:
    world = World()
    socket = Socket(gateway=gateway)
    world.open(socket, 1, "s1")
    world.send(
        socket, msgspec.json.encode({"type": "fixes", "device": device, "seq": 1, "fixes": [{"lon": 1, "lat": 2}]})
    )
    world.drain()
    assert [message["code"] for message in socket.told] == ["unknown_stream"]
    assert world.ledger == []
