"""The crossing model: which geofences each asset is inside of, as a function of its fixes in event order.

Pure: `judge` reads a Presence and a batch and says what changed; `Presence.apply` makes that current. Event order is
(fix_time, lon, lat). Two independent states are kept, one for geofences that judge trusted fixes, one for those that
judge every fix. A fix that does not sort after the newest one judged decides nothing here.

The rule, for an asset and a geofence:

    before      the fix is inside    the fix is outside
    never seen  ENTER, initial       -
    outside     ENTER                -
    inside      -                    EXIT

"never seen" needs no state of its own: an asset was seen if its newest judged fix came in a batch of the geofence's
lifetime.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Columns, Ints, Mask
from tracker.domain.geofence import FenceIndex

EXIT: Final = 0
ENTER: Final = 1
NEVER: Final = np.iinfo(np.int64).min

_NONE: Final = np.empty(0, np.int64)


class Newest:
    """The newest fix judged of each asset, by asset number: arrays that grow as assets are made."""

    def __init__(self) -> None:
        self.time_ms: NDArray[np.int64] = np.full(1, NEVER, np.int64)
        self.lon: NDArray[np.int32] = np.zeros(1, np.int32)
        self.lat: NDArray[np.int32] = np.zeros(1, np.int32)
        self.batch: NDArray[np.int64] = np.full(1, -1, np.int64)

    def reserve(self, largest: int) -> None:
        """Make room for asset numbers up to the largest."""
        have = len(self.time_ms)
        if largest < have:
            return
        more = max(largest + 1, have * 2) - have
        self.time_ms = np.concatenate([self.time_ms, np.full(more, NEVER, np.int64)])
        self.lon = np.concatenate([self.lon, np.zeros(more, np.int32)])
        self.lat = np.concatenate([self.lat, np.zeros(more, np.int32)])
        self.batch = np.concatenate([self.batch, np.full(more, -1, np.int64)])

    def precedes(self, asset: Ints, time_ms: Ints, lon: Ints, lat: Ints) -> Mask:
        """Which of the fixes sort after the newest of their asset."""
        t, x, y = self.time_ms[asset], self.lon[asset], self.lat[asset]
        return np.asarray((time_ms > t) | ((time_ms == t) & ((lon > x) | ((lon == x) & (lat > y)))))


@dataclass(slots=True)
class Sight:
    """What the geofences of one quality have seen: the newest fix of each asset, and the geofences it is inside of."""

    newest: Newest = field(default_factory=Newest)
    inside: dict[int, frozenset[int]] = field(default_factory=dict)


class Presence:
    """The state of the whole fleet: `trusted` for geofences that judge trusted fixes, `every` for those that judge
    all.
    """

    def __init__(self) -> None:
        self.trusted = Sight()
        self.every = Sight()

    def sight(self, judges_every_fix: bool) -> Sight:  # noqa: FBT001 - it is the question
        return self.every if judges_every_fix else self.trusted

    def reserve(self, largest_asset: int) -> None:
        self.trusted.newest.reserve(largest_asset)
        self.every.newest.reserve(largest_asset)

    def apply(self, judgement: "Judgement") -> None:
        """Make the outcome of a batch current."""
        for sight, seen in ((self.trusted, judgement.trusted), (self.every, judgement.every)):
            newest = sight.newest
            newest.time_ms[seen.asset], newest.lon[seen.asset] = seen.time_ms, seen.lon
            newest.lat[seen.asset], newest.batch[seen.asset] = seen.lat, judgement.batch
            for asset, fences in seen.inside.items():
                if fences:
                    sight.inside[asset] = fences
                else:
                    sight.inside.pop(asset, None)

    def assets_inside(self, fence_id: int) -> list[int]:
        """The assets that are inside a geofence now, ascending."""
        return sorted(
            asset
            for sight in (self.trusted, self.every)
            for asset, fences in sight.inside.items()
            if fence_id in fences
        )

    def leave(self, fence_id: int) -> None:
        """Forget a geofence, whoever was inside."""
        for sight in (self.trusted, self.every):
            for asset in [asset for asset, fences in sight.inside.items() if fence_id in fences]:
                self.set_inside(sight, asset, sight.inside[asset] - {fence_id})

    @staticmethod
    def set_inside(sight: Sight, asset: int, fences: frozenset[int]) -> None:
        if fences:
            sight.inside[asset] = fences
        else:
            sight.inside.pop(asset, None)


@dataclass(frozen=True, slots=True)
class Seen:
    """The outcome for one quality: the new newest fix of each asset that has one, and the changed memberships."""

    rows: Ints  # of the batch: the newest fix of each asset in `asset`
    asset: Ints
    time_ms: Ints
    lon: Ints
    lat: Ints
    inside: dict[int, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Transitions:
    """k transitions in feed order: row of the batch, geofence, EXIT or ENTER, and whether it is an asset's first
    sight.
    """

    row: Ints
    fence: Ints
    kind: Ints
    initial: Mask

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a batch changes."""

    batch: int
    transitions: Transitions
    trusted: Seen
    every: Seen


def _first_of_equals(asset: Ints, time_ms: Ints, lon: Ints, lat: Ints) -> Mask:
    """In sorted columns: False for a fix equal to its predecessor in asset, time and place."""
    first = np.ones(len(asset), np.bool_)
    if len(asset):
        first[1:] = (
            (asset[1:] != asset[:-1]) | (time_ms[1:] != time_ms[:-1]) | (lon[1:] != lon[:-1]) | (lat[1:] != lat[:-1])
        )
    return first


def _admitted(columns: Columns, order: Ints, sight: Sight) -> Ints:
    """The rows, out of those in `order` (sorted by asset and event order), that move this sight on."""
    asset, time_ms = columns.asset[order], columns.time_ms[order]
    lon, lat = columns.lon[order], columns.lat[order]
    return order[sight.newest.precedes(asset, time_ms, lon, lat) & _first_of_equals(asset, time_ms, lon, lat)]


def _see(columns: Columns, rows: Ints, sight: Sight, at: Ints, fence: Ints) -> tuple[Seen, Ints, Ints]:
    """What one sight makes of its admitted rows.

    Args:
        rows: (m,) sorted by asset, then event order.
        at, fence: the pairs (position in `rows`, geofence that holds it).

    Returns:
        The outcome, and what is entered and left as codes (position << 32 | fence).
    """
    asset = columns.asset[rows].astype(np.int64)
    starts = np.flatnonzero(np.r_[True, asset[1:] != asset[:-1]]) if len(asset) else _NONE
    ends = np.r_[starts[1:], len(asset)] - 1 if len(asset) else _NONE
    is_last = np.zeros(len(asset), np.bool_)
    is_last[ends] = True
    now = np.sort((at << 32) | fence)
    carried = ((at + 1) << 32 | fence)[~is_last[at]]
    known = [
        (start << 32) | fence_id
        for start, number in zip(starts.tolist(), asset[starts].tolist(), strict=True)
        for fence_id in sight.inside.get(number, ())
    ]
    before = np.sort(np.concatenate([carried, np.array(known, np.int64)]))
    entered = np.setdiff1d(now, before, assume_unique=True)
    left = np.setdiff1d(before, now, assume_unique=True)
    newest = rows[ends]
    seen = Seen(
        newest,
        asset[ends],
        columns.time_ms[newest],
        columns.lon[newest].astype(np.int64),
        columns.lat[newest].astype(np.int64),
        _memberships(asset, ends, now, np.concatenate([entered, left]) >> 32),
    )
    return seen, entered, left


def _memberships(asset: Ints, ends: Ints, now: Ints, changed_at: Ints) -> dict[int, frozenset[int]]:
    """For each asset with a change: the geofences that hold its last fix."""
    changed = np.unique(asset[changed_at])
    last = ends[np.searchsorted(asset[ends], changed)]
    low, high = np.searchsorted(now, last << 32), np.searchsorted(now, (last + 1) << 32)
    return {
        number: frozenset((now[a:b] & 0xFFFFFFFF).tolist())
        for number, a, b in zip(changed.tolist(), low.tolist(), high.tolist(), strict=True)
    }


def _by_sight(index: FenceIndex, columns: Columns, trusted: Ints, every: Ints) -> list[tuple[Ints, Ints]]:
    """One query for both sights, then each its own pairs (position in its rows, fence)."""
    rows = np.union1d(trusted, every) if index.has_every_fix else trusted
    point, fence = index.query(columns.lon[rows] / DEGREE, columns.lat[rows] / DEGREE)
    pairs = []
    for mine, takes in ((trusted, False), (every, True)):
        position = np.full(len(columns), -1, np.int64)
        position[mine] = np.arange(len(mine))
        at = position[rows[point]]
        wanted = (at >= 0) & (index.judges_every_fix(fence) == takes)
        pairs.append((at[wanted], fence[wanted]))
    return pairs


def judge(presence: Presence, index: FenceIndex, columns: Columns, batch: int) -> Judgement:
    """What a batch of stored fixes does to the fleet. Nothing is changed here.

    Every asset number in the batch must have been reserved.
    """
    order = np.lexsort((columns.lat, columns.lon, columns.time_ms, columns.asset))
    every = _admitted(columns, order, presence.every)
    trusted = _admitted(columns, order[columns.flags[order] == 0], presence.trusted)
    outcomes, parts = [], []
    sights = (presence.trusted, presence.every)
    for sight, rows, (at, fence) in zip(
        sights, (trusted, every), _by_sight(index, columns, trusted, every), strict=True
    ):
        seen, entered, left = _see(columns, rows, sight, at, fence)
        outcomes.append(seen)
        never_seen = np.zeros(len(columns), np.int64)
        never_seen[rows] = sight.newest.batch[columns.asset[rows]]
        first = np.zeros(len(columns), np.bool_)
        first[rows[_first_of_equals(columns.asset[rows], *([np.zeros(len(rows), np.int64)] * 3))]] = True
        for codes, kind in ((left, EXIT), (entered, ENTER)):
            row, of = rows[codes >> 32], codes & 0xFFFFFFFF
            initial = first[row] & (never_seen[row] < index.since_batch(of)) & (kind == ENTER)
            parts.append((row, of, np.full(len(row), kind, np.int64), initial))
    row, of, kinds, initial = (np.concatenate(column) for column in zip(*parts, strict=True))
    feed = np.lexsort((of, kinds, columns.lat[row], columns.lon[row], columns.asset[row], columns.time_ms[row]))
    return Judgement(batch, Transitions(row[feed], of[feed], kinds[feed], initial[feed]), outcomes[0], outcomes[1])
