"""What the dispatcher holds of the outbox: the lanes it works on, and whose turn it is. No I/O; the table is the queue.

A lane is one hook and one asset; its deliveries go out one after the other. It is here only while it can be worked on:
one in back-off is forgotten, and found again in the table when its time has come. Bounds: LANES_PER_HOOK lanes of PAGE
rows each, fewer when many lanes share ROWS. Hooks take turns, and so do the lanes of one hook.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tracker.hooks.schedule import Answer, Series
from tracker.wire.times import to_ms

IN_FLIGHT: Final = 64
IN_FLIGHT_PER_HOOK: Final = 16
LANES_PER_HOOK: Final = 64
ROWS: Final = 16_384
PAGE: Final = 64
MIN_PAGE: Final = 4
NEVER_MS: Final = 1 << 62

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery to be made: its series so far, and the row of its event."""

    id: int
    series: Series
    event: Row

    @classmethod
    def of(cls, row: Row) -> "Pending":
        first = row["first_attempt_at"]
        return cls(
            row["delivery"], Series(row["attempts"], row["refusals"], None if first is None else to_ms(first)), row
        )


@dataclass(slots=True, eq=False)
class Endpoint:
    """A hook, as far as sending to it goes."""

    id: int
    url: str
    key: bytes
    failing_since_ms: int | None
    live: bool = True  # enabled, and not deleted
    width: int = IN_FLIGHT_PER_HOOK  # how many attempts at once; less while no answers come
    in_flight: int = 0
    lanes: dict[int, "Lane"] = field(default_factory=dict)
    ready: deque["Lane"] = field(default_factory=deque)
    in_line: bool = False
    sweep: int | None = 0  # lanes of assets above this may wait in the table, unseen; None: all are known
    sweep_again: bool = False
    next_due_ms: int = 0  # when to look for retries and redeliveries

    @property
    def room(self) -> int:
        return LANES_PER_HOOK - len(self.lanes) if self.live else 0

    @property
    def crowded(self) -> bool:
        """Lanes that are not here wait for a turn."""
        return self.sweep is not None

    def overlook(self) -> None:
        """A lane that could be worked on is left in the table for now."""
        if self.sweep is None:
            self.sweep = 0
        else:
            self.sweep_again = True

    def swept(self) -> None:
        """The sweep came to its end; another begins if lanes were left behind it."""
        self.sweep = 0 if self.sweep_again else None
        self.sweep_again = False

    def heard(self, answer: Answer) -> None:
        """Silence and 429 halve the attempts made at once, so that a hook that hangs leaves the places to others."""
        if answer.status is None or answer.status == 429:
            self.width = max(1, self.width // 2)
        else:
            self.width = min(IN_FLIGHT_PER_HOOK, self.width + 1)


@dataclass(slots=True, eq=False)
class Lane:
    """What one hook is to get of one asset, oldest first. A redelivery is a lane of its own, its key minus its id."""

    endpoint: Endpoint
    key: int
    rows: deque[Pending] = field(default_factory=deque)
    last_event: int = 0  # the newest that was loaded
    more: bool = True  # the table may have later ones
    proven: bool = True  # False: its head failed before; nothing is loaded behind it until it is delivered
    loaded: bool = False
    running: bool = False
    in_line: bool = False
    closing: bool = False  # no more work; it stays until what it did is saved
    held: bool = False  # closing because its head failed: the table will say when it is due
    revisit: bool = False  # closing, but its next deliveries have come meanwhile
    unsaved: int = 0

    @property
    def wants_rows(self) -> bool:
        if not self.more or self.closing or not self.proven:
            return False
        return not self.loaded or (len(self.rows) <= PAGE // 4 and not self.endpoint.crowded)


class Lanes:
    """Every lane at hand. One task calls this at a time, and never awaits in between."""

    def __init__(self) -> None:
        self.endpoints: dict[int, Endpoint] = {}
        self.in_flight = 0
        self._turns: deque[Endpoint] = deque()  # those with ready lanes

    def __iter__(self) -> Iterator[Lane]:
        for endpoint in self.endpoints.values():
            yield from endpoint.lanes.values()

    def __len__(self) -> int:
        return sum(len(endpoint.lanes) for endpoint in self.endpoints.values())

    def keys(self) -> frozenset[tuple[int, int]]:
        """The lanes at hand, as hook and key."""
        return frozenset((lane.endpoint.id, lane.key) for lane in self)

    def update(self, rows: Iterable[Row]) -> None:
        """The hooks that are enabled now. The others' lanes close; an attempt under way may end."""
        rows_by_id = {row["id"]: row for row in rows}
        for endpoint in [e for e in self.endpoints.values() if e.id not in rows_by_id]:
            self.retire(endpoint)
        for id_, row in rows_by_id.items():
            known = self.endpoints.get(id_)
            since = row["failing_since"]
            if known is None:
                self.endpoints[id_] = Endpoint(id_, row["url"], row["secret"], None if since is None else to_ms(since))
                continue
            known.url, known.key = row["url"], row["secret"]
            if not known.live:
                known.live, known.failing_since_ms, known.next_due_ms = True, None if since is None else to_ms(since), 0
                known.overlook()

    def retire(self, endpoint: Endpoint) -> None:
        """Begin nothing more for this hook."""
        endpoint.live = False
        for lane in endpoint.ready:
            lane.in_line = False
        endpoint.ready.clear()
        for lane in list(endpoint.lanes.values()):
            self.close(lane)
        if not endpoint.lanes:
            self.endpoints.pop(endpoint.id, None)

    def open(self, endpoint: Endpoint, key: int) -> Lane | None:
        """A lane that is not here yet; None when there is no room, which the endpoint remembers."""
        if endpoint.room <= 0:
            endpoint.overlook()
            return None
        lane = endpoint.lanes[key] = Lane(endpoint, key)
        return lane

    def offer(self, endpoint: Endpoint, key: int) -> None:
        """There are deliveries of this lane in the table that its head does not hold."""
        lane = endpoint.lanes.get(key)
        if lane is None:
            self.open(endpoint, key)
        elif lane.closing:
            lane.revisit = not lane.held
        else:
            lane.more = True

    def wanting(self) -> list[Lane]:
        return [lane for lane in self if lane.wants_rows]

    def page_size(self) -> int:
        return max(MIN_PAGE, min(PAGE, ROWS // max(1, len(self))))

    def load(self, lane: Lane, rows: Sequence[Pending], *, more: bool) -> None:
        """The next rows of a lane; `more` if there may be later ones."""
        if lane.closing:
            return
        lane.loaded, lane.more = True, more
        lane.rows.extend(rows)
        if rows:
            lane.last_event = rows[-1].event["id"]
        self._settle(lane)

    def next_turn(self) -> Lane | None:
        """The lane whose first row is to be sent now; its hook goes to the end of the line."""
        if self.in_flight >= IN_FLIGHT:
            return None
        for _ in range(len(self._turns)):
            endpoint = self._turns.popleft()
            if not endpoint.ready:
                endpoint.in_line = False
                continue
            self._turns.append(endpoint)
            if endpoint.in_flight < endpoint.width:
                lane = endpoint.ready.popleft()
                lane.running, lane.in_line = True, False
                endpoint.in_flight += 1
                self.in_flight += 1
                return lane
        return None

    def done(self, lane: Lane, *, held: bool) -> None:
        """The attempt has ended. A held lane is over; else its next row follows. What came of it is not saved yet."""
        lane.running = False
        lane.endpoint.in_flight -= 1
        self.in_flight -= 1
        lane.unsaved += 1
        if lane.rows:  # it is empty when the hook was retired under way
            lane.rows.popleft()
        lane.proven = True
        if held:
            self.hold(lane)
        else:
            self._settle(lane)

    def saved(self, lane: Lane) -> None:
        """One result of this lane stands in the table."""
        lane.unsaved -= 1
        self._settle(lane)

    def hold(self, lane: Lane) -> None:
        """Its head waits in the table for its time."""
        lane.held = True
        self.close(lane)

    def close(self, lane: Lane) -> None:
        """No more of this lane for now."""
        lane.closing = True
        lane.rows.clear()
        self._settle(lane)

    def _settle(self, lane: Lane) -> None:
        """Where a lane goes that is not running: into the line, out, or nowhere while it waits for rows or saving."""
        endpoint = lane.endpoint
        if lane.running:
            return
        if lane.rows:
            self._line_up(lane)
            return
        if lane.more and lane.loaded and not lane.closing and endpoint.crowded:
            lane.closing = lane.revisit = True  # it had its page: the others' turn
        if lane.unsaved == 0 and (lane.closing or not lane.more):
            self._leave(lane)

    def _line_up(self, lane: Lane) -> None:
        endpoint = lane.endpoint
        if not lane.in_line:
            lane.in_line = True
            endpoint.ready.append(lane)
        if not endpoint.in_line:
            endpoint.in_line = True
            self._turns.append(endpoint)

    def _leave(self, lane: Lane) -> None:
        endpoint = lane.endpoint
        endpoint.lanes.pop(lane.key, None)
        if endpoint.live and lane.revisit:
            endpoint.overlook()
        if not endpoint.live and not endpoint.lanes:
            self.endpoints.pop(endpoint.id, None)
