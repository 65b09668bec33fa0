"""Numbered streams under any schedule of sends, resends, takeovers and failures; then lanes and sources one by one."""

import asyncio
import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.pipeline.world import Socket, World, is_bad, numbered, numbered_in_binary
from tracker.domain.fleet import Device
from tracker.pipeline.stream import Lane, Lanes, Source
from tracker.wire.binary import MAGIC
from tracker.wire.frames import Message
from tracker.wire.packed import Block

NAMES = ["s1", "s2"]
Key = tuple[int, str]  # device, stream


class Streams(RuleBasedStateMachine):
    """The ledger holds each number of each stream at most once; answers never run ahead of it."""

    @initialize()
    def start(self) -> None:
        self.world = World()
        self.sockets: list[Socket] = []
        self.highest: dict[Key, int] = {}  # the highest number ever sent
        self.sent: dict[Key, set[int]] = {}
        self.bare = 0
        self.heard: dict[Socket, int] = {}

    def key(self, lane: Lane) -> Key:
        return lane.device.id, lane.name

    @rule(device=st.integers(1, 2), name=st.sampled_from([*NAMES, None]))
    def a_device_connects(self, device: int, name: str | None) -> None:
        self.sockets.append(Socket())
        self.world.open(self.sockets[-1], device, name)

    @rule(lanes=st.lists(st.tuples(st.integers(1, 2), st.sampled_from(NAMES)), min_size=1, max_size=3))
    def a_gateway_connects(self, lanes: list[Key]) -> None:
        self.sockets.append(Socket(gateway=True))
        for device, name in lanes:
            self.world.open(self.sockets[-1], device, name)

    def draw_lane(self, data: st.DataObject) -> tuple[Socket, Lane]:
        socket = data.draw(st.sampled_from(self.sockets), label="socket")
        return socket, data.draw(st.sampled_from(list(socket.source.lanes.values())), label="lane")

    @precondition(lambda self: self.sockets)
    @rule(data=st.data(), back=st.integers(-6, 4), count=st.integers(1, 6), binary=st.booleans())
    def numbered_fixes_arrive(self, data: st.DataObject, back: int, count: int, binary: bool) -> None:
        """Some are resends, some overlap, some leave a gap; a stream may go from one form to the other."""
        socket, lane = self.draw_lane(data)
        if lane.stream_id is None:
            return
        key = self.key(lane)
        seq = max(1, self.highest.get(key, 0) + 1 + back)
        self.highest[key] = max(self.highest.get(key, 0), seq + count - 1)
        self.sent.setdefault(key, set()).update(range(seq, seq + count))
        if binary:
            slot = socket.source.slot_of(lane)
            self.world.send(socket, numbered_in_binary(lane.stream_id, seq, count, slot))
            return
        head = {"stream": lane.name}
        if socket.source.gateway:
            head["device"] = f"dev_{lane.device.id}"
        self.world.send(socket, numbered(lane.stream_id, seq, count, **head))

    @precondition(lambda self: self.sockets)
    @rule(data=st.data())
    def a_bare_fix_arrives(self, data: st.DataObject) -> None:
        """By a client that keeps no numbers."""
        socket, lane = self.draw_lane(data)
        if lane.stream_id is None:
            self.bare += 1
            self.world.send(socket, json.dumps({"lon": 1.0, "lat": 2.0, "time": -self.bare}).encode())

    @precondition(lambda self: self.sockets)
    @rule(
        data=st.data(),
        frame=st.sampled_from(
            [
                b"",
                b"{}",
                MAGIC,
                numbered_in_binary(9, 1, 1, slot=9),
                b'{"type":"fixes","stream":"s9","seq":1,"fixes":[{"lon":1,"lat":2}]}',
            ]
        ),
    )
    def something_useless_arrives(self, data: st.DataObject, frame: bytes) -> None:
        self.world.send(data.draw(st.sampled_from(self.sockets)), frame)

    @rule(outcome=st.sampled_from(["committed", "committed", "committed", "unheard", "lost", "refused"]))
    def the_writer_goes_on(self, outcome: str) -> None:
        self.world.begin(outcome)

    @rule(outcome=st.sampled_from(["committed", "unheard", "lost"]))
    def the_writer_settles(self, outcome: str) -> None:
        self.world.settle(outcome)

    @precondition(lambda self: self.sockets)
    @rule(data=st.data())
    def a_socket_ends(self, data: st.DataObject) -> None:
        socket = data.draw(st.sampled_from(self.sockets))
        self.sockets.remove(socket)
        socket.source.release()

    @rule(share=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    def the_filer_files(self, share: float) -> None:
        newest = self.world.ledger[-1].number if self.world.ledger else 0
        self.world.file(int(newest * share))

    @invariant()
    def each_number_is_durable_once(self) -> None:
        stored: list[int] = []
        for batch in self.world.ledger:
            stored += batch.columns.time_ms.tolist()
        assert len(stored) == len(set(stored))
        refused = [(self.key(each.lane), each.seq) for batch in self.world.ledger for each in batch.rejected]
        assert len(refused) == len(set(refused))
        numbers = [batch.number for batch in self.world.ledger]
        assert numbers == sorted(set(numbers))

    @invariant()
    def an_ack_covers_only_what_is_durable(self) -> None:
        for socket in self.sockets:
            new = socket.told[self.heard.get(socket, 0) :]
            self.heard[socket] = len(socket.told)
            for message in new:
                if message["type"] == "ack":
                    device = int(message["device"][4:]) if socket.source.gateway else self.device_of(socket)
                    self.check_ack(device, message["stream"], message["seq"])

    def device_of(self, socket: Socket) -> int:
        assert socket.source.default is not None
        return socket.source.default.device.id

    def check_ack(self, device: int, name: str, seq: int) -> None:
        key = device, name
        assert seq <= self.settled_cursor(key)
        if name in NAMES:
            skipped = set(range(1, seq + 1)) - self.durable(key)
            assert len(skipped) == self.gaps(key, seq)

    def settled_cursor(self, key: Key) -> int:
        return self.world.stored_cursor(*key, up_to=2**62)

    def durable(self, key: Key) -> set[int]:
        """The numbers that were stored, or rejected for good."""
        first = self.world.stream_id(*key) * 1_000_000
        stored = {
            time_ms - first
            for batch in self.world.ledger
            for time_ms in batch.columns.time_ms.tolist()
            if first < time_ms < first + 1_000_000
        }
        refused = {each.seq for batch in self.world.ledger for each in batch.rejected if self.key(each.lane) == key}
        assert not stored & refused
        assert all(map(is_bad, refused)) or self.was_refused_whole(key)
        return stored | refused

    def was_refused_whole(self, key: Key) -> bool:
        return any(
            each.refusal.code == "refused_by_database"
            for batch in self.world.ledger
            for each in batch.rejected
            if self.key(each.lane) == key
        )

    def gaps(self, key: Key, up_to: int) -> int:
        return sum(
            skipped
            for batch in self.world.ledger
            for lane, (last, skipped) in batch.cursors.items()
            if self.key(lane) == key and last <= up_to
        )

    @invariant()
    def no_lane_in_use_is_forgotten(self) -> None:
        for socket in self.sockets:
            for lane in socket.source.lanes.values():
                assert self.world.lanes.get(*self.key(lane)) is lane
                assert lane.users

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.drain()
        self.each_number_is_durable_once()
        self.an_ack_covers_only_what_is_durable()
        for key, numbers in self.sent.items():
            cursor = self.settled_cursor(key)
            assert cursor == max(numbers), "everything that was sent is settled"
            assert self.gaps(key, cursor) == cursor - len(self.durable(key))
        assert (
            sum(time_ms < 0 for batch in self.world.ledger for time_ms in batch.columns.time_ms.tolist()) <= self.bare
        )
        for socket in self.sockets:
            assert socket.source.queued == 0
            socket.source.release()
        newest = self.world.ledger[-1].number if self.world.ledger else 0
        self.world.file(newest)
        assert len(self.world.lanes) == 0, "nobody uses them and all is filed"


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


# Sources --------------------------------------------------------------------------------------------------------------


def lane(device: int = 1, name: str = "s1", stream_id: int | None = 101) -> Lane:
    return Lane(Device(device, f"device {device}", 1), name, stream_id)


def source(*lanes: Lane, default: Lane | None = None) -> Source:
    made = Source(lambda messages: None)
    for each in lanes:
        made.open(each)
    made.default = default
    return made


def message(device: str | None = None, stream: str | None = None) -> Message:
    return Message(fixes=[], device=device, stream=stream)


def test_a_message_finds_its_stream() -> None:
    live, backlog, other = lane(), lane(name="s2"), lane(device=2)
    here = source(live, backlog, other, default=live)
    assert here.lane_of(message()) is live
    assert here.lane_of(message(stream="s1")) is live
    assert here.lane_of(message(stream="s2")) is backlog
    assert here.lane_of(message("dev_1")) is live
    assert here.lane_of(message("dev_1", "s2")) is backlog
    assert here.lane_of(message("dev_2")) is other
    assert here.lane_of(message("dev_2", "s1")) is other


@pytest.mark.parametrize(
    ("device", "stream"),
    [(None, "s3"), ("dev_1", "s3"), ("dev_2", "s2"), ("dev_3", None), ("dev_3", "s1"), ("s1", None)],
)
def test_a_stream_that_is_not_open_here_is_not_found(device: str | None, stream: str | None) -> None:
    live = lane()
    assert source(live, lane(name="s2"), lane(device=2), default=live).lane_of(message(device, stream)) is None


def test_a_binary_message_finds_its_stream_by_slot() -> None:
    live, backlog = lane(), lane(name="s2")
    here = source(live, backlog, live, default=live)
    assert [here.slot_of(each) for each in (live, backlog)] == [0, 1]
    assert [here.lane_of(Block(1, slot, 0, 1)) for slot in (0, 1, 2, 2**32 - 1)] == [live, backlog, None, None]


def test_a_gateway_must_name_its_device() -> None:
    here = source(lane(), lane(device=2))
    assert here.lane_of(message()) is None
    assert here.lane_of(message(stream="s1")) is None


def test_a_source_lets_its_streams_go_when_the_last_frame_is_answered() -> None:
    each = lane()
    here = source(each)
    each.source = here
    here.queued = 2
    here.release()
    assert (each.users, each.source) == ([here], here)
    here.settled(1)
    assert each.users == [here]
    here.settled(1)
    assert (each.users, here.lanes) == ([], {})
    assert each.source is None


def test_opening_a_stream_twice_uses_it_once() -> None:
    each = lane()
    here = source(each, each)
    assert each.users == [here]
    here.release()
    assert each.users == []


def test_a_source_that_was_taken_over_does_not_silence_its_successor() -> None:
    each = lane()
    old, new = source(each), source(each)
    each.source = new
    old.release()
    assert (each.source, each.users) == (new, [new])


async def test_quiet_waits_until_nothing_is_under_way() -> None:
    here = source(lane())
    await here.quiet()
    here.queued = 2
    waiting = [asyncio.ensure_future(here.quiet()) for _ in range(2)]
    await asyncio.sleep(0)
    here.settled(1)
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    here.settled(1)
    await asyncio.gather(*waiting)


async def test_whoever_gave_up_waiting_for_quiet_is_in_nobodys_way() -> None:
    here = source(lane())
    here.queued = 1
    waiting = asyncio.ensure_future(here.quiet())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    here.settled(1)
    assert here.queued == 0


# Lanes ----------------------------------------------------------------------------------------------------------------


def known(*each: Lane) -> Lanes:
    lanes = Lanes()
    for one in each:
        lanes.add(one)
    return lanes


@pytest.mark.parametrize(
    ("users", "last_batch", "prepared", "durable", "filed", "kept"),
    [
        (0, 5, 9, 9, 5, False),
        (0, 5, 9, 9, 4, True),  # its cursor is only in the journal
        (1, 5, 9, 9, 5, True),  # in use
        (0, 5, 10, 9, 5, True),  # something of it is under way
        (0, -1, 0, 0, 0, False),  # never used
    ],
)
def test_a_lane_is_forgotten_when_the_table_knows_it_and_nobody_needs_it(
    users: int, last_batch: int, prepared: int, durable: int, filed: int, kept: bool
) -> None:
    each = Lane(Device(1, "", 1), "s1", 101, prepared=prepared, durable=durable, last_batch=last_batch)
    each.users = [source() for _ in range(users)]
    lanes = known(each)
    lanes.forget_filed(filed)
    assert (lanes.get(1, "s1") is each) is kept
    assert len(lanes) == kept
    lanes.rewind({101: 50})
    assert (each.durable == 50) is kept, "a forgotten lane is not touched any more"


def test_rewinding_makes_the_database_the_truth() -> None:
    behind, ahead, named_by_server = lane(), lane(name="s2", stream_id=102), lane(name="server-1", stream_id=None)
    behind.prepared, behind.durable = 20, 10
    ahead.prepared, ahead.durable = 20, 10
    named_by_server.prepared, named_by_server.durable = 7, 4
    known(behind, ahead, named_by_server).rewind({102: 15})
    assert (behind.prepared, behind.durable) == (10, 10)
    assert (ahead.prepared, ahead.durable) == (15, 15), "it was committed, though nobody heard of it"
    assert (named_by_server.prepared, named_by_server.durable) == (4, 4)
