"""Judging: what a batch of stored fixes does to the fleet, as a function of the fixes in event order.

Pure: `judge` reads a Presence and a batch and says what changed; nothing is changed here. A fix that sorts before what
was judged already decides nothing here but that its asset is late. For geofences without options all assets are
compared at once, as sets of (fix, geofence) pairs; the others go to the crossing model.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Columns, Floats, Ints, Mask
from tracker.domain.crossing import crossings
from tracker.domain.fix import MAX_SPEED_MPS
from tracker.domain.geofence import Geofence, Matches, Quality, matches_any
from tracker.domain.index import FenceIndex
from tracker.domain.plausibility import Suspect, doubts
from tracker.domain.presence import (
    ENTER,
    EXIT,
    NOTHING_TURNED,
    RECORD,
    Doubted,
    Entry,
    Judgement,
    Newest,
    Presence,
    Seen,
    Sight,
    Span,
    Transitions,
)
from tracker.domain.ruled import judge_ruled
from tracker.domain.steps import Steps, among, steps_of
from tracker.domain.transition import Emission

_NONE: Final = np.empty(0, np.int64)
_MEASURED: Final = ("time_ms", "lon", "lat", "alt", "speed", "course", "accuracy")


class _Order(NamedTuple):
    """The rows of a batch by asset and event order, and whether any are equal in asset, time and place."""

    rows: Ints
    repeats: bool


def _in_order(columns: Columns) -> _Order:
    rows = np.lexsort((columns.lat, columns.lon, columns.time_ms, columns.asset))
    repeats = bool(equal_to_previous(columns, rows).any())
    if repeats:
        rest = (columns.accuracy, columns.course, columns.speed, columns.alt)
        rows = np.lexsort((*rest, columns.lat, columns.lon, columns.time_ms, columns.asset))
    return _Order(rows, repeats)


def in_order(columns: Columns) -> Ints:
    """The rows of a batch by asset and event order."""
    return _in_order(columns).rows


def equal_to_previous(columns: Columns, rows: Ints) -> Mask:
    """In sorted rows: whether a fix equals the one before in asset, time and place."""
    equal = np.zeros(len(rows), np.bool_)
    if len(rows):
        equal[1:] = True
        for column in (columns.asset, columns.time_ms, columns.lon, columns.lat):
            here = column[rows]
            equal[1:] &= here[1:] == here[:-1]
    return equal


def _of_assets(table: Mapping[int, Doubted], asset: Ints) -> tuple[Ints, Ints, Ints]:
    """Time, lon and lat of the doubted fix of each asset, all of which have one."""
    t, x, y, _ = np.array([table[number] for number in asset.tolist()], np.int64).T
    return t, x, y


def _passed(columns: Columns, rows: Ints, newest: Newest, doubted: Mapping[int, Doubted]) -> Mask:
    """Which rows sort after all that was judged of their asset."""
    asset, time_ms = columns.asset[rows], columns.time_ms[rows]
    lon, lat = columns.lon[rows], columns.lat[rows]
    after = newest.precedes(asset, time_ms, lon, lat)
    held_up = np.flatnonzero(np.isin(asset, list(doubted))) if doubted else _NONE
    if len(held_up):
        t, x, y = _of_assets(doubted, asset[held_up])
        time_ms, lon, lat = time_ms[held_up], lon[held_up], lat[held_up]
        after[held_up] &= (time_ms > t) | ((time_ms == t) & ((lon > x) | ((lon == x) & (lat > y))))
    return after


def _late(columns: Columns, behind: Ints, newest: Newest, newest_since: int) -> dict[int, Span]:
    """Of rows that are not after all that was judged: the assets to be judged again, each with the times of its first
    and last.

    Repeats of the newest fix are not late, unless a geofence was made since: that sees them as the first of their like.
    """
    if not len(behind):
        return {}
    asset = columns.asset[behind]
    before = np.zeros(len(behind), np.bool_)
    equal = np.ones(len(behind), np.bool_)
    repeated = equal
    for name in _MEASURED:
        here, there = getattr(columns, name)[behind], getattr(newest, name)[asset]
        before |= equal & (here < there)
        equal &= here == there
        if name == "lat":
            repeated = equal.copy()
    # What sorts after the newest trusted fix was held up by a doubted one.
    before |= newest.precedes(asset, columns.time_ms[behind], columns.lon[behind], columns.lat[behind])
    before |= repeated & (newest.seen[asset] < newest_since)
    asset, time_ms = asset[before], columns.time_ms[behind[before]]
    if not len(asset):
        return {}
    starts = np.flatnonzero(np.r_[True, asset[1:] != asset[:-1]])  # rows are sorted by asset
    first, last = np.minimum.reduceat(time_ms, starts), np.maximum.reduceat(time_ms, starts)
    return dict(zip(asset[starts].tolist(), zip(first.tolist(), last.tolist(), strict=True), strict=True))


def _together(one: dict[int, Span], other: dict[int, Span]) -> dict[int, Span]:
    both = {asset: (one[asset], other[asset]) for asset in one.keys() & other.keys()}
    return one | other | {asset: (min(a[0], b[0]), max(a[1], b[1])) for asset, (a, b) in both.items()}


class _Admitted(NamedTuple):
    """What one sight goes on with: the rows that move it on, the assets that are late, those of all rows."""

    rows: Ints
    late: dict[int, Span]
    present: Ints


def _admit(
    columns: Columns, order: _Order, newest: Newest, doubted: Mapping[int, Doubted], newest_since: int
) -> _Admitted:
    rows = order.rows
    if not len(rows):
        return _Admitted(_NONE, {}, _NONE)
    passed = _passed(columns, rows, newest, doubted)
    behind = _NONE if passed.all() else rows[~passed]
    if order.repeats:
        passed &= ~equal_to_previous(columns, rows)
    return _Admitted(
        rows[passed],
        _late(columns, behind, newest, newest_since),
        columns.asset[behind].astype(np.int64),
    )


def with_doubts(
    columns: Columns, rows: Ints, presence: Presence, max_speed_mps: Floats | float
) -> tuple[NDArray[np.int16], dict[int, Suspect | None], dict[int, Doubted | None]]:
    """The flags that neighbours bring about, (m,), and what changes in the suspects and the doubted.

    Args:
        rows: (m,) without flags of their own, after all that was judged, sorted, no two equal in asset, time and place.
    """
    limit = max_speed_mps[rows] if isinstance(max_speed_mps, np.ndarray) else max_speed_mps
    flags, suspects = doubts(columns, rows, presence.trusted.newest, presence.suspects, limit)
    remembered: dict[int, Doubted | None] = {}
    concerned = flags != 0
    if presence.doubted:
        concerned |= np.isin(columns.asset[rows], list(presence.doubted))
    if concerned.any():
        concerned |= np.isin(columns.asset[rows], columns.asset[rows[concerned]])
    for i in np.flatnonzero(concerned).tolist():
        row = rows[i]
        key = int(columns.time_ms[row]), int(columns.lon[row]), int(columns.lat[row]), int(flags[i])
        remembered[int(columns.asset[row])] = key if flags[i] else None
    remembered = {asset: key for asset, key in remembered.items() if key != presence.doubted.get(asset)}
    return flags, suspects, remembered


def _see_plain(
    steps: Steps, sight: Sight, index: FenceIndex, at: Ints, fence: Ints
) -> tuple[Ints, Ints, dict[int, dict[int, int]]]:
    """What the steps of one sight do to its geofences without options.

    Args:
        at, fence: the pairs (step, geofence that holds it), sorted.

    Returns:
        What is entered and left as codes (step << 32 | geofence), and the geofences that each asset with a change is
        inside of.
    """
    if not len(at) and not sight.inside:
        return _NONE, _NONE, {}
    starts = np.flatnonzero(steps.first)
    ends = np.concatenate([starts[1:], [len(steps.asset)]]) - 1 if len(starts) else _NONE
    is_last = np.zeros(len(steps.asset), np.bool_)
    is_last[ends] = True
    now = (at << 32) | fence
    carried = ((at + 1) << 32 | fence)[~is_last[at]]
    known = [
        (start << 32) | fence_id
        for start, number in zip(starts.tolist(), steps.asset[starts].tolist(), strict=True)
        for fence_id in sight.inside.get(number, ())
        if not index.partial or fence_id in index.fences
    ]
    before = np.sort(np.concatenate([carried, np.array(known, np.int64)]))
    entered, left = now[~among(now, before)], before[~among(before, now)]
    inside: dict[int, dict[int, int]] = {}
    codes = np.concatenate([entered, left])
    # By step, and at one step what is left before what is entered: the last word on a geofence stands.
    for i in np.lexsort((np.arange(len(codes)) < len(entered), codes >> 32)).tolist():
        step, fence_id = int(codes[i]) >> 32, int(codes[i]) & 0xFFFFFFFF
        asset = int(steps.asset[step])
        mine = inside.get(asset)
        if mine is None:
            mine = inside[asset] = dict(sight.inside.get(asset, {}))
        if i < len(entered):
            mine[fence_id] = int(steps.time_ms[step])
        else:
            del mine[fence_id]
    return entered, left, inside


def _plain_emissions(steps: Steps, index: FenceIndex, entered: Ints, left: Ints) -> list[Emission]:
    codes = np.concatenate([left, entered])
    if not len(codes):
        return []
    at, fence, enters = codes >> 32, codes & 0xFFFFFFFF, np.arange(len(codes)) >= len(left)
    initial = enters & (steps.seen_before[at] < index.since_batch(fence))
    return [
        Emission(step, number, ENTER if is_enter else EXIT, is_initial, None, place)
        for step, number, is_enter, is_initial, place in zip(
            at.tolist(),
            fence.tolist(),
            enters.tolist(),
            initial.tolist(),
            crossings(index, steps, at, fence, enters),
            strict=True,
        )
    ]


def see(
    columns: Columns,
    rows: Ints,
    steps: Steps,
    sight: Sight,
    index: FenceIndex,
    pairs: tuple[Ints, Ints],
    batch: Ints,
    matches: Matches,
) -> tuple[Seen, list[tuple[int, Emission]]]:
    """What one sight makes of its admitted rows: the outcome, and what is told, each with its row.

    Args:
        rows: (m,) sorted by asset and event order, no two equal in asset, time and place.
        steps: the same as steps.
        pairs: (position in rows, geofence of this sight that holds it), sorted.
        batch: (n,) where each row of the columns is stored.
    """
    at, fence = pairs
    ruled = index.ruled(fence)
    entered, left, inside = _see_plain(steps, sight, index, at[~ruled], fence[~ruled])
    told = _plain_emissions(steps, index, entered, left)
    entries: dict[int, dict[int, Entry]] = {}
    if index.has_ruled:
        more, entries = judge_ruled(sight, index, steps, (at[ruled], fence[ruled]), matches)
        told += more
    seen = _moved(columns, rows, steps.first, sight, batch, inside, entries)
    return seen, [(int(rows[each.at]), each) for each in told]


def _moved(
    columns: Columns,
    rows: Ints,
    first: Mask,
    sight: Sight,
    batch: Ints,
    inside: dict[int, dict[int, int]],
    entries: dict[int, dict[int, Entry]],
) -> Seen:
    """The newest fix of each asset, and what else became of one sight."""
    starts = np.flatnonzero(first)
    last = np.concatenate([starts[1:], [len(rows)]]) - 1 if len(starts) else _NONE
    newest = rows[last]
    asset = columns.asset[newest].astype(np.int64)
    records = np.empty(len(newest), RECORD)
    for name in _MEASURED:
        records[name] = getattr(columns, name)[newest]
    highest = np.maximum.reduceat(batch[rows], starts) if len(starts) else _NONE
    records["batch"] = batch[newest]
    records["seen"] = np.maximum(sight.newest.seen[asset], highest)
    return Seen(newest, asset, records, inside, entries)


def _only_moved(columns: Columns, rows: Ints, sight: Sight, batch: Ints) -> Seen:
    """The outcome for a sight whose geofences have nothing to do with the rows."""
    asset = columns.asset[rows]
    first = np.ones(len(rows), np.bool_)
    first[1:] = asset[1:] != asset[:-1]
    return _moved(columns, rows, first, sight, batch, {}, {})


def _as_moved(seen: Seen, sight: Sight) -> Seen:
    """The same fixes as another sight has them, for which that is all."""
    records = seen.newest.copy()
    records["seen"] = np.maximum(sight.newest.seen[seen.asset], records["batch"])
    return Seen(seen.rows, seen.asset, records, {}, {})


def _concerns(sight: Sight, columns: Columns, rows: Ints, at: Ints, *, has_ruled: bool) -> bool:
    """Whether a geofence of the sight may have anything to do with its rows: one holds a fix, an asset may leave one,
    or one has options.
    """
    if len(at) or has_ruled or sight.entries:
        return True
    return bool(sight.inside) and not sight.inside.keys().isdisjoint(columns.asset[rows].tolist())


def _by_sight(index: FenceIndex, columns: Columns, trusted: Ints, every: Ints) -> list[tuple[Ints, Ints]]:
    """One query for both sights, then each its own pairs (position in its rows, fence)."""
    rows = np.union1d(trusted, every) if index.has_every_fix else trusted
    point, fence = index.query(columns.lon[rows] / DEGREE, columns.lat[rows] / DEGREE)
    if not index.has_every_fix:
        return [(point, fence), (_NONE, _NONE)]
    pairs = []
    for mine, takes in ((trusted, False), (every, True)):
        position = np.full(len(columns), -1, np.int64)
        position[mine] = np.arange(len(mine))
        at = position[rows[point]]
        wanted = np.flatnonzero((at >= 0) & (index.judges_every_fix(fence) == takes))
        order = wanted[np.lexsort((fence[wanted], at[wanted]))]
        pairs.append((at[order], fence[order]))
    return pairs


def _of_quality(quality: Quality, matches: Matches) -> Matches:
    """Each sight has geofences of its own."""

    def admits(asset: int, fence: Geofence) -> bool:
        return fence.quality == quality and matches(asset, fence)

    return admits


def _in_feed_order(columns: Columns, told: list[tuple[int, Emission]]) -> Transitions:
    if not told:
        return NOTHING_TURNED
    row = np.array([row for row, _ in told], np.int64)
    fence = np.array([each.fence for _, each in told], np.int64)
    kind = np.array([each.kind for _, each in told], np.int64)
    order = np.lexsort((fence, kind, columns.lat[row], columns.lon[row], columns.asset[row], columns.time_ms[row]))
    places = order.tolist()
    return Transitions(
        row[order],
        fence[order],
        kind[order],
        np.array([told[i][1].initial for i in places], np.bool_),
        [told[i][1].cause for i in places],
        [told[i][1].crossed for i in places],
    )


def judge(
    presence: Presence,
    index: FenceIndex,
    columns: Columns,
    batch: int,
    *,
    matches: Matches = matches_any,
    max_speed_mps: Floats | float = MAX_SPEED_MPS,
) -> Judgement:
    """What a batch of stored fixes does to the fleet.

    Args:
        presence: every asset number in the batch must have been reserved.
        columns: their flags are those that each fix decides alone.
        batch: where they are stored.
        matches: which assets a geofence with a filter judges.
        max_speed_mps: beyond which an asset cannot have moved; one for all, or (n,).
    """
    stored_in = np.full(len(columns), batch, np.int64)
    order = _in_order(columns)
    clean = _Order(order.rows[columns.flags[order.rows] == 0], order.repeats)
    since = index.newest_since()
    trusted, late, behind = _admit(columns, clean, presence.trusted.newest, presence.doubted, since)
    every, late_of_every, behind_every = _admit(columns, order, presence.every.newest, {}, since)
    if index.has_seen_all:
        late = _together(late, late_of_every)
    doubt = np.zeros(len(columns), np.int16)
    flags, suspects, doubted = with_doubts(columns, trusted, presence, max_speed_mps)
    doubt[trusted] = flags
    trusted = trusted[flags == 0]
    outcomes: list[Seen] = []
    told = []
    for sight, rows, pairs in zip(
        presence.sights, (trusted, every), _by_sight(index, columns, trusted, every), strict=True
    ):
        has_ruled = index.has_ruled and (sight is presence.trusted or index.has_every_fix)
        if _concerns(sight, columns, rows, pairs[0], has_ruled=has_ruled):
            admits = _of_quality("all" if sight is presence.every else "trusted", matches)
            steps = steps_of(columns, rows, sight.newest, stored_in)
            seen, mine = see(columns, rows, steps, sight, index, pairs, stored_in, admits)
            told += mine
        elif outcomes and np.array_equal(rows, trusted):
            seen = _as_moved(outcomes[0], sight)
        else:
            seen = _only_moved(columns, rows, sight, stored_in)
        outcomes.append(seen)
    return Judgement(
        _in_feed_order(columns, told),
        outcomes[0],
        outcomes[1],
        doubt,
        suspects,
        doubted,
        late,
        (behind, behind_every),
        batch,
    )
