"""What a device has recorded and the server has not yet acked; here in memory, in `disk` on disk.

A fix first *waits*, without a number. When it is first sent it is *numbered*: bound to a lane and its next seq, for
ever. An ack deletes numbered fixes. Only waiting fixes can be dropped for want of room, oldest first, each counted,
and each leaves a gap in the numbers so that the server sees the loss, too. No clock, no event loop, no socket.
"""

import enum
import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tracker.sdk.fixes import MAX_BODY_BYTES


class Lane(enum.IntEnum):
    """The two streams of a device: what is fresh, and what an outage left behind."""

    LIVE = 0
    BACKLOG = 1


class Numbered(NamedTuple):
    """A fix under the number that names it for ever in its lane's stream."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be pending; over it the oldest waiting fixes are dropped."""

    max_fixes: int
    max_bytes: int

    @property
    def window(self) -> int:
        """Numbered fixes per lane: at most a quarter of the room, so that two lanes leave half to those that wait."""
        return min(2_000, self.max_fixes // 4, self.max_bytes // (4 * MAX_BODY_BYTES))


def new_stream(lane: Lane) -> str:
    """A name that no other buffer has."""
    return f"{secrets.token_hex(8)}-{lane.name.lower()}"


class Buffer(ABC):
    """The operations of both kinds, and the counts that are the same in both.

    `drain_lane` is the lane that takes what waits; the other lane gets only what is put on it directly.
    Another thread may read the counts in the middle of an operation: `pending` is right at every moment, because what
    only changes its place, from waiting to numbered, leaves it alone.
    """

    def __init__(self, limits: Limits, drain_lane: Lane) -> None:
        self.limits = limits
        self.drain_lane = drain_lane
        self.pending = 0
        self.numbered = {Lane.LIVE: 0, Lane.BACKLOG: 0}
        self.pending_bytes = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        return self.pending - self.numbered[Lane.LIVE] - self.numbered[Lane.BACKLOG]

    def unsettled(self, lane: Lane) -> int:
        """How many fixes this lane still has to bring home."""
        return self.numbered[lane] + (self.waiting if lane is self.drain_lane else 0)

    def has_room(self, fixes: int, size_bytes: int) -> bool:
        return (
            self.pending + fixes <= self.limits.max_fixes and self.pending_bytes + size_bytes <= self.limits.max_bytes
        )

    @abstractmethod
    def stream(self, lane: Lane) -> str: ...

    @abstractmethod
    def next_seq(self, lane: Lane) -> int: ...

    @abstractmethod
    def append(self, bodies: Sequence[bytes], lane: Lane | None) -> None:
        """Keep these fixes; with a lane they are numbered at once. All of them or none."""

    @abstractmethod
    def take(self, lane: Lane, after: int, max_fixes: int, max_bytes: int) -> list[Numbered]:
        """The next run of consecutive numbers above `after`, at most one frame; waiting fixes get their numbers now."""

    @abstractmethod
    def promote_newest(self, lane: Lane) -> None:
        """Number the newest waiting fix on this lane, ahead of the older ones."""

    @abstractmethod
    def settle(self, lane: Lane, seq: int) -> int:
        """Forget everything numbered up to seq in this lane; returns how many fixes that were."""

    @abstractmethod
    def find(self, lane: Lane, seqs: Iterable[int]) -> list[Numbered]:
        """Those of these fixes that are still here."""

    @abstractmethod
    def renew(self, lane: Lane) -> None:
        """Give the lane a new stream and its fixes new numbers: another copy of the buffer used the old ones."""

    @abstractmethod
    def close(self) -> None: ...


class MemoryBuffer(Buffer):
    """Lost with its process; cheap enough for thousands in one."""

    def __init__(self, limits: Limits, drain_lane: Lane) -> None:
        super().__init__(limits, drain_lane)
        self._waiting: deque[bytes] = deque()
        self._lanes: dict[Lane, deque[Numbered]] = {lane: deque() for lane in Lane}
        self._streams = {lane: new_stream(lane) for lane in Lane}
        self._next_seqs = dict.fromkeys(Lane, 1)

    def stream(self, lane: Lane) -> str:
        return self._streams[lane]

    def next_seq(self, lane: Lane) -> int:
        return self._next_seqs[lane]

    def append(self, bodies: Sequence[bytes], lane: Lane | None) -> None:
        self.pending += len(bodies)
        self.pending_bytes += sum(map(len, bodies))
        if lane is None:
            self._waiting.extend(bodies)
        else:
            for body in bodies:
                self._number(lane, body)
        while self._waiting and not self.has_room(0, 0):
            self.pending_bytes -= len(self._waiting.popleft())
            self.pending -= 1
            self.dropped += 1
            self._next_seqs[self.drain_lane] += 1

    def take(self, lane: Lane, after: int, max_fixes: int, max_bytes: int) -> list[Numbered]:
        run = first_run((fix for fix in self._lanes[lane] if fix.seq > after), max_fixes, max_bytes)
        if run or lane is not self.drain_lane:
            return run
        size_bytes = 0
        while self._waiting and len(run) < max_fixes and (not run or size_bytes + len(self._waiting[0]) <= max_bytes):
            size_bytes += len(self._waiting[0])
            run.append(self._number(lane, self._waiting.popleft()))
        return run

    def promote_newest(self, lane: Lane) -> None:
        if self._waiting:
            self._number(lane, self._waiting.pop())

    def settle(self, lane: Lane, seq: int) -> int:
        fixes, count = self._lanes[lane], 0
        while fixes and fixes[0].seq <= seq:
            self.pending_bytes -= len(fixes.popleft().body)
            count += 1
        self.numbered[lane] -= count
        self.pending -= count
        return count

    def find(self, lane: Lane, seqs: Iterable[int]) -> list[Numbered]:
        wanted = set(seqs)
        return [fix for fix in self._lanes[lane] if fix.seq in wanted]

    def renew(self, lane: Lane) -> None:
        fixes = self._lanes[lane]
        self._streams[lane] = new_stream(lane)
        self._lanes[lane] = deque(Numbered(seq, fix.body) for seq, fix in enumerate(fixes, 1))
        self._next_seqs[lane] = len(fixes) + 1

    def close(self) -> None:
        pass

    def _number(self, lane: Lane, body: bytes) -> Numbered:
        fix = Numbered(self._next_seqs[lane], body)
        self._lanes[lane].append(fix)
        self._next_seqs[lane] += 1
        self.numbered[lane] += 1
        return fix


def first_run(fixes: Iterable[Numbered], max_fixes: int, max_bytes: int) -> list[Numbered]:
    """The fixes from the first on whose numbers follow each other, as far as one frame reaches; always at least one."""
    run: list[Numbered] = []
    size_bytes = 0
    for fix in fixes:
        size_bytes += len(fix.body)
        if run and (fix.seq != run[-1].seq + 1 or size_bytes > max_bytes or len(run) == max_fixes):
            break
        run.append(fix)
    return run
