"""A stretch of an asset's stored fixes that is judged again: what the engine was given, what it found, and what of that
is still to be told. No I/O: fixes and the places of changes are handed in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Mask
from tracker.domain.fix import OLDEST_MS
from tracker.domain.fold import Fold, FullKey, Turning, in_turn, key_of, keys_of
from tracker.domain.judge import equal_to_previous
from tracker.domain.presence import AssetState, Key
from tracker.domain.revision import Comparison, Standing
from tracker.store.fixes import Stored
from tracker.store.revision import Checkpoint, Late
from tracker.store.states import state_to_json

LAST_MS: Final = 253_402_300_799_999  # of the year 9999
MAX_FOUND: Final = 2_000  # facts, doubts and checkpoints: with more of them what was found so far is told


@dataclass(slots=True)
class Stretch:
    """begin: the last fix before it, whose changes up to batch `begin_changes` are in the state that the fold began
    from; batch: the last that was read; caught: what was stored after that and up to here was judged on top, if it is
    of `on_top_ms` or later; late: the marks that it is judged for.

    Edges lie between places, never between fixes that are equal in time and place: those count as one.
    """

    asset: int
    batch: int
    late: list[Late]
    fold: Fold
    begin: FullKey | None
    begin_changes: int
    waiting: list[Turning]
    placed: set[tuple[int, int]]  # changes whose places are stored: geofence, batch
    caught: int
    on_top_ms: int | None = None
    places: dict[tuple[int, int], FullKey] = field(default_factory=dict)  # of changes where that was found just now
    fixes: int = 0
    complete: bool = False
    done: list[Late] = field(default_factory=list)  # the marks that are settled when it is complete
    end: Checkpoint | None = None  # where it agreed; None: it reaches to the end of what is stored
    # Since what was told last:
    told: Key | None = None  # the place up to which all is told
    before: AssetState = field(default_factory=AssetState)  # there
    turned: set[tuple[int, int]] = field(default_factory=set)  # changes that took place: geofence, batch
    doubts: dict[Key, int] = field(default_factory=dict)  # those that differ from what is stored
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    # Of geofences of which something from before `told` is to be told with what follows:
    left: list[Standing] = field(default_factory=list)
    entered: dict[int, int | None] = field(default_factory=dict)  # when the visit under way there began

    def __post_init__(self) -> None:
        self.waiting = in_turn(self.waiting)
        self.before = self.fold.state
        self.told = None if self.begin is None else self.begin[:3]

    @property
    def at_end(self) -> bool:
        """Whether its state is the asset's present one."""
        return self.complete and self.end is None

    @property
    def from_ms(self) -> int:
        return OLDEST_MS if self.told is None else self.told[0]

    @property
    def until_ms(self) -> int:
        return LAST_MS if self.edge is None else self.edge[0]

    @property
    def edge(self) -> Key | None:
        """Where it ends, or has come to; None: beyond all that is stored."""
        if self.at_end:
            return None
        key = key_of(self.fold.state.every.newest if self.end is None else self.end.state.every.newest)
        return None if key is None else key[:3]

    @property
    def found(self) -> int:
        """How much waits to be told."""
        return len(self.fold.facts) + len(self.doubts) + len(self.checkpoints)

    def is_open_at(self, time_ms: int) -> bool:
        """Whether something late lies around an instant."""
        return any(each.span[0] <= time_ms <= each.span[1] for each in self.late)

    def judge(self, stored: Stored) -> None:
        """The next fixes."""
        last = keys_of(stored.columns.take(slice(-1, None)), stored.batch[-1:])[0]
        due = [each for each in self.waiting if each.key < last]
        self.waiting = self.waiting[len(due) :]
        doubt = self.fold.run(stored.columns, stored.batch, due)
        self.turned.update((each.geofence, each.batch) for each in due)
        self.fixes += len(stored)
        self._doubt(stored, doubt)

    def judge_on_top(self, stored: Stored, batch: int) -> None:
        """Fixes that one batch brought after all was read, as they were judged when they came: what is late decides
        nothing.
        """
        at_once = self._judged_at_once(stored)
        doubt = _by_place(stored, self.fold.live(stored.columns, batch))
        self._doubt(stored, np.where(at_once, doubt, stored.doubt))

    def turn_until(self, key: FullKey | None, batch: int) -> None:
        """The changes up to a batch that have their place right after the last fix."""

        def is_due(each: Turning) -> bool:
            place = each.key[:3]
            return key is None or place < key[:3] or (place == key[:3] and each.batch <= batch)

        due = [each for each in self.waiting if is_due(each)]
        self.waiting = [each for each in self.waiting if not is_due(each)]
        for each in due:
            self.fold.turn(each)
            self.turned.add((each.geofence, each.batch))

    def turn_now(self, batch: int, geofence: int) -> None:
        """A change right after what is judged so far."""
        key = key_of(self.fold.state.every.newest)
        if key is not None:
            self._know([Turning(key, batch, geofence)])
            self.fold.turn(Turning(key, batch, geofence))
            self.turned.add((geofence, batch))

    def place(self, changes: Iterable[Turning]) -> None:
        """Changes whose places were not known."""
        found = list(changes)
        self._know(found)
        self.waiting = in_turn([*self.waiting, *found])

    def is_placed(self, geofence: int, batch: int) -> bool:
        """Whether it is known where a change has its place."""
        return (geofence, batch) in self.placed or (geofence, batch) in self.places

    def _know(self, changes: Iterable[Turning]) -> None:
        self.places |= {
            (each.geofence, each.batch): each.key for each in changes if not self.is_placed(each.geofence, each.batch)
        }

    def keep(self) -> None:
        """A checkpoint after the last fix."""
        key = key_of(self.fold.state.every.newest)
        if key is not None:
            self.turn_until(key, self.batch)
            self.checkpoints = [each for each in self.checkpoints if each["time_ms"] != key[0]]
            kept = {"time_ms": key[0], "changes": self.batch, "state": state_to_json(self.fold.state)}
            self.checkpoints.append(kept)

    def is_told(self, compared: Comparison) -> None:
        """All that was found is durable but what is left to be told with what follows."""
        if not self.complete:
            last_ms = self.until_ms
            self.late = [replace(each, span=(each.span[0], max(each.span[1], last_ms))) for each in self.late]
        self.told, self.before = self.edge, self.fold.state
        self.left, self.entered = list(compared.left_old), dict(compared.left_entered)
        self.fold.facts = list(compared.left_new)
        self.turned, self.doubts, self.checkpoints = set(), {}, []

    def _doubt(self, stored: Stored, doubt: NDArray[np.int16]) -> None:
        """Remember which doubts of these fixes change; those that have flags of their own share a place with others."""
        columns = stored.columns
        for row in np.flatnonzero((doubt != stored.doubt) & (columns.flags == 0)).tolist():
            key = int(columns.time_ms[row]), int(columns.lon[row]), int(columns.lat[row])
            self.doubts[key] = int(doubt[row])

    def _judged_at_once(self, stored: Stored) -> Mask:
        """Which fixes are: those after the newest trusted one that have nothing against themselves."""
        newest, clean = self.fold.state.trusted.newest, stored.columns.flags == 0
        if newest is None:
            return np.asarray(clean, np.bool_)
        after = np.array([key[:3] > newest.key for key in keys_of(stored.columns, stored.batch)], np.bool_)
        return np.asarray(after & clean, np.bool_)


def _by_place(stored: Stored, doubt: NDArray[np.int16]) -> NDArray[np.int16]:
    """What is doubted is a place: of equal fixes only the first is judged, and speaks for all."""
    if not len(stored):
        return doubt
    first = ~equal_to_previous(stored.columns, np.arange(len(stored)))
    starts = np.flatnonzero(first)
    return np.asarray(np.bitwise_or.reduceat(doubt, starts)[np.cumsum(first) - 1], np.int16)


def between(stored: Stored, after: Key | None, until: Key | None, batch: int) -> Stored:
    """The fixes after a place, up to and with another one, that were stored up to a batch."""
    stored = stored.take(stored.batch <= batch)
    keep = np.ones(len(stored), np.bool_)
    columns = stored.columns
    if after is not None:
        keep &= _sorts_after(columns.time_ms, columns.lon, columns.lat, after)
    if until is not None:
        keep &= ~_sorts_after(columns.time_ms, columns.lon, columns.lat, until)
    return stored.take(keep)


def _sorts_after(time_ms: Any, lon: Any, lat: Any, place: Key) -> Mask:
    t, x, y = place
    return np.asarray((time_ms > t) | ((time_ms == t) & ((lon > x) | ((lon == x) & (lat > y)))), np.bool_)


def parted(stored: Stored, size: int) -> tuple[Stored, Stored]:
    """About so many of the first, and the rest; equal ones stay together."""
    same = equal_to_previous(stored.columns, np.arange(len(stored)))[size:]
    end = size + int(np.argmin(same)) if not same.all() else len(stored)
    return stored.take(slice(0, end)), stored.take(slice(end, None))
