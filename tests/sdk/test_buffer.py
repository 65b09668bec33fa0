"""Both buffers against one model, under every order of operations, with crashes for the one on disk."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tracker.sdk.buffer import Buffer, Lane, Limits, MemoryBuffer, Numbered
from tracker.sdk.disk import DiskBuffer

LIMITS = Limits(max_fixes=40, max_bytes=1_000_000)
ROOMY = Limits(max_fixes=10_000, max_bytes=10_000_000)

lanes = st.sampled_from(Lane)


class Bookkeeping(RuleBasedStateMachine):
    """The model is two plain lists per lane: what waits, and what has which number."""

    drain_lane = Lane.BACKLOG

    def __init__(self) -> None:
        super().__init__()
        self.buffer = self.make()
        self.waiting: list[bytes] = []
        self.numbered: dict[Lane, list[Numbered]] = {lane: [] for lane in Lane}
        self.ever: dict[tuple[str, int], bytes] = {}
        self.settled = dict.fromkeys(Lane, 0)
        self.recorded = 0
        self.dropped = 0

    def make(self) -> Buffer:
        return MemoryBuffer(LIMITS, self.drain_lane)

    def pending(self) -> int:
        return len(self.waiting) + sum(map(len, self.numbered.values()))

    def was_numbered(self, lane: Lane, fixes: list[Numbered]) -> None:
        for fix in fixes:
            assert self.ever.setdefault((self.buffer.stream(lane), fix.seq), fix.body) == fix.body

    @rule(count=st.integers(1, 12), direct=st.booleans())
    def record(self, count: int, direct: bool) -> None:
        bodies = [b"%d" % (self.recorded + i) for i in range(count)]
        self.recorded += count
        if direct and len(self.numbered[Lane.LIVE]) + count <= LIMITS.window:
            first = self.buffer.next_seq(Lane.LIVE)
            self.buffer.append(bodies, Lane.LIVE)
            self.numbered[Lane.LIVE] += [Numbered(first + i, body) for i, body in enumerate(bodies)]
        else:
            self.buffer.append(bodies, None)
            self.waiting += bodies
        while self.waiting and self.pending() > LIMITS.max_fixes:
            del self.waiting[0]
            self.dropped += 1

    @rule(lane=lanes, max_fixes=st.integers(1, 5), max_bytes=st.integers(1, 12))
    def take(self, lane: Lane, max_fixes: int, max_bytes: int) -> None:
        after = self.numbered[lane][-1].seq if self.numbered[lane] else 0
        first = self.buffer.next_seq(lane)
        run = self.buffer.take(lane, after, max_fixes, max_bytes)
        if lane is not self.drain_lane:
            assert run == []
        else:
            assert len(run) <= max_fixes
            assert len(run) <= 1 or sum(len(fix.body) for fix in run) <= max_bytes
            assert bool(run) == bool(self.waiting)
            assert [fix.body for fix in run] == self.waiting[: len(run)]
            assert [fix.seq for fix in run] == list(range(first, first + len(run)))
            del self.waiting[: len(run)]
            self.numbered[lane] += run
            self.was_numbered(lane, run)

    @rule(lane=lanes, data=st.data())
    def take_again_what_is_not_acked(self, lane: Lane, data: st.DataObject) -> None:
        known = self.numbered[lane]
        if known:
            start = data.draw(st.integers(0, len(known) - 1))
            run = self.buffer.take(lane, known[start].seq - 1, 5, 10_000)
            assert 1 <= len(run) <= 5
            assert run == known[start : start + len(run)]
            following = known[start + len(run) : start + len(run) + 1]
            assert len(run) == 5 or not following or following[0].seq != run[-1].seq + 1
            self.was_numbered(lane, run)

    @rule(lane=lanes, data=st.data())
    def ack(self, lane: Lane, data: st.DataObject) -> None:
        known = self.numbered[lane]
        seq = data.draw(st.integers(self.settled[lane], known[-1].seq if known else self.settled[lane]))
        left = [fix for fix in known if fix.seq > seq]
        assert self.buffer.settle(lane, seq) == len(known) - len(left)
        self.numbered[lane] = left
        self.settled[lane] = max(self.settled[lane], seq)

    @rule()
    def the_newest_goes_first(self) -> None:
        seq = self.buffer.next_seq(Lane.LIVE)
        self.buffer.promote_newest(Lane.LIVE)
        if self.waiting:
            fix = Numbered(seq, self.waiting.pop())
            self.numbered[Lane.LIVE].append(fix)
            self.was_numbered(Lane.LIVE, [fix])

    @rule(lane=lanes)
    def renew(self, lane: Lane) -> None:
        old = self.buffer.stream(lane)
        self.buffer.renew(lane)
        assert self.buffer.stream(lane) != old
        self.numbered[lane] = [Numbered(seq, fix.body) for seq, fix in enumerate(self.numbered[lane], 1)]
        self.settled[lane] = 0

    @rule(lane=lanes, data=st.data())
    def find(self, lane: Lane, data: st.DataObject) -> None:
        seqs = data.draw(st.sets(st.integers(1, 60)))
        assert sorted(self.buffer.find(lane, seqs)) == [fix for fix in self.numbered[lane] if fix.seq in seqs]

    @invariant()
    def the_counts_agree(self) -> None:
        assert self.buffer.pending == self.pending()
        assert self.buffer.waiting == len(self.waiting)
        assert self.buffer.numbered == {lane: len(fixes) for lane, fixes in self.numbered.items()}
        assert self.buffer.dropped == self.dropped
        everything = [*self.waiting, *(fix.body for fixes in self.numbered.values() for fix in fixes)]
        assert self.buffer.pending_bytes == sum(map(len, everything))
        for lane in Lane:
            assert self.buffer.next_seq(lane) > max(
                (fix.seq for fix in self.numbered[lane]), default=self.settled[lane]
            )

    def teardown(self) -> None:
        self.buffer.close()


class DiskBookkeeping(Bookkeeping):
    """The same, and at any moment the process may die."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tracker-buffer-"))
        self.lives = 0
        super().__init__()

    def make(self) -> Buffer:
        return DiskBuffer(self.directory / f"{self.lives}.db", LIMITS, self.drain_lane)

    @rule()
    def close_and_open_again(self) -> None:
        self.buffer.close()
        self.buffer = self.make()

    @precondition(lambda self: self.lives < 10)
    @rule()
    def die_and_open_again(self) -> None:
        """The files as they are now are all that a killed process leaves behind."""
        for suffix in (".db", ".db-wal"):
            left = self.directory / f"{self.lives}{suffix}"
            if left.exists():
                shutil.copy(left, self.directory / f"{self.lives + 1}{suffix}")
        self.buffer.close()
        self.lives += 1
        self.buffer = self.make()
        for lane in Lane:
            # Deletions that were not committed yet are repeated by what the server says first.
            for fix in self.buffer.take(lane, 0, 1, 1) if self.buffer.numbered[lane] else []:
                assert self.ever.get((self.buffer.stream(lane), fix.seq), fix.body) == fix.body
            self.buffer.settle(lane, self.settled[lane])

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.directory)


class OneLane(Bookkeeping):
    """Not newest first: the live lane takes what waits."""

    drain_lane = Lane.LIVE


TestMemoryBuffer = Bookkeeping.TestCase
TestMemoryBuffer.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMemoryBufferWithOneLane = OneLane.TestCase
TestMemoryBufferWithOneLane.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestDiskBuffer = DiskBookkeeping.TestCase
TestDiskBuffer.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


@pytest.fixture(params=["memory", "disk"])
def buffer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Buffer]:
    if request.param == "memory":
        made: Buffer = MemoryBuffer(ROOMY, Lane.LIVE)
    else:
        made = DiskBuffer(tmp_path / "buffer.db", ROOMY, Lane.LIVE)
    yield made
    made.close()


def test_a_drop_leaves_a_gap_in_the_numbers(tmp_path: Path) -> None:
    limits = Limits(max_fixes=16, max_bytes=1_000_000)
    for buffer in (MemoryBuffer(limits, Lane.LIVE), DiskBuffer(tmp_path / "buffer.db", limits, Lane.LIVE)):
        buffer.append([b"%d" % i for i in range(20)], None)

        run = buffer.take(Lane.LIVE, 0, 100, 10_000)

        assert buffer.dropped == 4
        assert run[0] == Numbered(5, b"4")
        assert run[-1] == Numbered(20, b"19")
        buffer.close()


def test_fixes_are_dropped_for_their_size_too(tmp_path: Path) -> None:
    limits = Limits(max_fixes=1_000, max_bytes=100)
    for buffer in (MemoryBuffer(limits, Lane.LIVE), DiskBuffer(tmp_path / "buffer.db", limits, Lane.LIVE)):
        buffer.append([b"x" * 40, b"y" * 40, b"z" * 40], None)

        assert (buffer.dropped, buffer.pending, buffer.pending_bytes) == (1, 2, 80)
        buffer.close()


def test_a_frame_holds_one_fix_however_large_it_is(buffer: Buffer) -> None:
    buffer.append([b"x" * 500, b"y"], None)

    assert buffer.take(Lane.LIVE, 0, 10, 100) == [Numbered(1, b"x" * 500)]
    assert buffer.take(Lane.LIVE, 1, 10, 100) == [Numbered(2, b"y")]


def test_a_run_ends_at_a_gap(buffer: Buffer) -> None:
    buffer.append([b"1", b"2", b"3", b"4"], Lane.BACKLOG)
    buffer.renew(Lane.LIVE)
    buffer.append([b"a"], Lane.LIVE)

    assert [fix.seq for fix in buffer.take(Lane.BACKLOG, 1, 10, 100)] == [2, 3, 4]
    assert [fix.body for fix in buffer.take(Lane.LIVE, 0, 10, 100)] == [b"a"]


def test_the_window_leaves_half_of_the_room_to_waiting_fixes() -> None:
    assert Limits(max_fixes=1_000_000, max_bytes=256 * 2**20).window == 2_000
    assert Limits(max_fixes=100, max_bytes=256 * 2**20).window == 25
    assert Limits(max_fixes=1_000_000, max_bytes=1_000_000).window == 54
