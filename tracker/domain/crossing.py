"""The crossing model for geofences with options: what each fix says, and what follows for an asset and a geofence.

Pure. `evidence` is vectorised over pairs of a fix and a geofence; `_Machine.step` is the rule of docs/geofences.md,
one fix after the other, for the pairs of which something is under way or may begin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, UNKNOWN_INT32, Columns, Floats, Ints, Mask
from tracker.domain.chord import between
from tracker.domain.geodesy import distances_m
from tracker.domain.geofence import Geofence, Rule
from tracker.domain.index import FenceIndex
from tracker.domain.presence import (
    ABSENT,
    CROSS,
    DWELL,
    ENTER,
    EXIT,
    NEVER,
    OUTSIDE,
    SPEEDING,
    Crossed,
    Entry,
    Newest,
    Sight,
)
from tracker.domain.runs import spread
from tracker.domain.schedule import Schedule

IN: Final = 1
OUT: Final = 0
UNSURE: Final = -1

SCHEDULE: Final = "schedule"

Matches = Callable[[int, Geofence], bool]  # whether an asset is one that the geofence judges


def matches_any(_asset: int, fence: Geofence) -> bool:
    """For fleets without tags: only geofences without a filter judge."""
    return fence.rule.assets is None


class Emission(NamedTuple):
    """A transition: the position of its fix in the rows, and what is told of it."""

    at: int
    fence: int
    kind: int
    initial: bool
    cause: str | None
    crossed: Crossed | None


@dataclass(frozen=True, slots=True)
class Steps:
    """m fixes that geofences of one quality see, sorted by asset and event order, each with the one before it in that
    quality (prev_time_ms is NEVER where there is none). Integers as in Columns.
    """

    asset: Ints
    time_ms: Ints
    lon: Ints
    lat: Ints
    alt: Ints
    speed: Ints
    accuracy: Ints
    first: Mask  # of its asset
    follows: Mask  # the one before it is the step before it
    seen_before: Ints  # the highest batch of all fixes before it in that quality
    prev_time_ms: Ints
    prev_lon: Ints
    prev_lat: Ints
    prev_alt: Ints
    prev_accuracy: Ints
    prev_batch: Ints

    def gap_ms(self, at: Ints) -> Ints:
        """From the fix before; endless where there is none."""
        known = self.prev_time_ms[at] != NEVER
        return np.where(known, self.time_ms[at] - np.where(known, self.prev_time_ms[at], 0), np.iinfo(np.int64).max)


def steps_of(columns: Columns, rows: Ints, newest: Newest, batch: Ints) -> Steps:
    """The rows of a batch as steps from fix to fix."""
    asset = columns.asset[rows].astype(np.int64)
    first = np.ones(len(rows), np.bool_)
    first[1:] = asset[1:] != asset[:-1]
    previous = np.concatenate([[-1], rows[:-1]])[: len(rows)]
    seen = newest.seen[asset]
    return steps_after(
        columns,
        rows,
        newest,
        batch,
        np.where(first, -1, previous),
        np.where(first, seen, np.maximum(seen, batch[rows])),
    )


def steps_after(columns: Columns, rows: Ints, newest: Newest, batch: Ints, previous: Ints, seen_before: Ints) -> Steps:
    """Rows as steps from the fixes before them.

    Args:
        previous: (m,) the row of the fix before each, -1 where that is its asset's newest.
        seen_before: (m,) as Steps has it.
    """
    asset = columns.asset[rows].astype(np.int64)
    first = np.ones(len(rows), np.bool_)
    first[1:] = asset[1:] != asset[:-1]
    follows = np.zeros(len(rows), np.bool_)
    follows[1:] = ~first[1:] & (previous[1:] == rows[:-1])
    fresh = previous < 0

    def before(values: NDArray[np.generic], known: NDArray[np.generic]) -> Ints:
        found = values[previous].astype(np.int64)
        found[fresh] = known[asset[fresh]]
        return found

    return Steps(
        asset,
        columns.time_ms[rows],
        columns.lon[rows],
        columns.lat[rows],
        columns.alt[rows],
        columns.speed[rows],
        columns.accuracy[rows],
        first,
        follows,
        seen_before,
        before(columns.time_ms, newest.time_ms),
        before(columns.lon, newest.lon),
        before(columns.lat, newest.lat),
        before(columns.alt, newest.alt),
        before(columns.accuracy, newest.accuracy),
        before(batch, newest.batch),
    )


def evidence(
    index: FenceIndex, fence: Ints, time_ms: Ints, lon: Ints, lat: Ints, alt: Ints, accuracy: Ints, held: Mask
) -> Ints:
    """What each fix says to its geofence: IN, OUT or UNSURE. (n,) parallel; held: whether the shape holds the fix."""
    says = np.where(held, IN, OUT)
    for fence_id in np.unique(fence).tolist():
        rule, mine = index.fences[fence_id].rule, np.flatnonzero(fence == fence_id)
        here = says[mine]
        known = accuracy[mine] != UNKNOWN_INT32
        asked = np.zeros(len(mine), np.bool_)
        if rule.edge == "certain":
            asked |= known
        if rule.exit_margin_m > 0:
            asked |= ~held[mine]
        if asked.any():
            at = mine[asked]
            away_m = index.edge_distances_m(fence[at], lon[at] / DEGREE, lat[at] / DEGREE)
            unsure = np.zeros(len(at), np.bool_)
            if rule.edge == "certain":
                unsure |= known[asked] & (away_m < accuracy[at] / 10)
            if rule.exit_margin_m > 0:
                unsure |= ~held[at] & (away_m <= rule.exit_margin_m)
            here[np.flatnonzero(asked)[unsure]] = UNSURE
        if rule.alt_min_m is not None or rule.alt_max_m is not None:
            here = np.where(_beyond(rule, alt[mine]), OUT, here)
            here = np.where(alt[mine] == UNKNOWN_INT32, UNSURE, here)
        if rule.schedule is not None and not rule.absence:
            here = np.where(rule.schedule.holds(time_ms[mine]), here, OUT)
        says[mine] = here
    return says


def _beyond(rule: Rule, alt: Ints) -> Mask:
    """Which altitudes lie outside of the band; what is not known is below it."""
    low, high, alt_m = rule.alt_min_m, rule.alt_max_m, alt / 10
    beyond = np.zeros(len(alt), np.bool_)
    if low is not None:
        beyond |= alt_m < low
    if high is not None:
        beyond |= alt_m > high
    return beyond


def _barred(index: FenceIndex, fence: Ints, time_ms: Ints, alt: Ints) -> Mask:
    """Which fixes say OUT wherever they are: by the hour or by their altitude."""
    barred = np.zeros(len(fence), np.bool_)
    for fence_id in np.unique(fence).tolist():
        rule, mine = index.fences[fence_id].rule, np.flatnonzero(fence == fence_id)
        if rule.schedule is not None and not rule.absence:
            barred[mine] |= ~rule.schedule.holds(time_ms[mine])
        barred[mine] |= _beyond(rule, alt[mine])
    return barred


def crossings(index: FenceIndex, steps: Steps, at: Ints, fence: Ints, held: Mask) -> list[Crossed | None]:
    """For pairs of a step and a geofence whose edge the step crossed: where and when, if the chord is believed.

    Args:
        held: whether the shape holds the step's fix; that before it was on the other side.
    """
    found: list[Crossed | None] = [None] * len(at)
    believed = (steps.gap_ms(at) <= index.max_gap_ms(fence)) & (steps.prev_batch[at] >= index.since_batch(fence))
    mine = np.flatnonzero(believed)
    ends = _chord(steps, at[mine])
    # One of the ends is inside and the other is not: the same place told twice crosses nothing.
    apart = index.hold(fence[mine], ends[0], ends[1]) != held[mine]
    mine, inward = mine[apart], held[mine[apart]]
    lon0, lat0, lon1, lat1 = (end[apart] for end in ends)
    # From outside inwards, whichever way it went: what lies between the outermost touch and the fix inside is one stay.
    fraction = index.touched_at(
        fence[mine],
        np.where(inward, lon0, lon1),
        np.where(inward, lat0, lat1),
        np.where(inward, lon1, lon0),
        np.where(inward, lat1, lat0),
    )
    fraction = np.where(inward, fraction, 1 - fraction)
    for i, crossed in zip(mine.tolist(), _crossed(steps, at[mine], fraction), strict=True):
        found[i] = crossed
    return found


def _chord(steps: Steps, at: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        steps.prev_lon[at] / DEGREE,
        steps.prev_lat[at] / DEGREE,
        steps.lon[at] / DEGREE,
        steps.lat[at] / DEGREE,
    )


def _crossed(steps: Steps, at: Ints, fraction: Floats) -> list[Crossed]:
    lon, lat = between(*_chord(steps, at), fraction)
    time_ms = np.rint(steps.prev_time_ms[at] + fraction * (steps.time_ms[at] - steps.prev_time_ms[at]))
    return [
        Crossed(int(t), int(x), int(y))
        for t, x, y in zip(time_ms, np.rint(lon * DEGREE), np.rint(lat * DEGREE), strict=True)
    ]


class _Said(NamedTuple):
    """What one fix brings to one geofence, ready for the rule."""

    at: int
    time_ms: int
    says: int
    first: bool  # of the asset since the geofence was made
    cause: str | None  # of a side that this fix would turn
    crossed: Crossed | None
    touched: Crossed | None
    speed_mps: float | None
    occurrence_ms: int


def _step(entry: Entry, fence: Geofence, said: _Said) -> tuple[Entry, list[Emission]]:
    """One fix, for one asset and one geofence."""
    out: list[Emission] = []

    def tell(kind: int, *, initial: bool = False, cause: str | None = None, crossed: Crossed | None = None) -> None:
        out.append(Emission(said.at, fence.id, kind, initial, cause, crossed))

    rule, untouched = fence.rule, not entry.inside and entry.run == 0
    entry = _turned(entry, rule.confirm_fixes, rule.confirm_s, said, tell)
    if rule.cross and untouched and not entry.inside and said.says == OUT and said.touched:
        tell(CROSS, crossed=said.touched)
    if rule.dwell_after_s is not None and entry.inside and not entry.dwelt and said.says == IN:
        full_ms = entry.enter_ms + round(rule.dwell_after_s * 1000)
        if said.time_ms >= full_ms:
            tell(DWELL, crossed=_dwelt_at(full_ms, said))
            entry = replace(entry, dwelt=True)
    if rule.speed_limit_mps is not None:
        entry = _hastened(entry, rule.speed_limit_mps, rule.over_for_s, said, tell)
    elif entry.haste_ms is not None:
        entry = replace(entry, haste_ms=None, hasted=False)
    if rule.absence:
        entry = _missed(entry, said, tell)
    return entry, out


Tell = Callable[..., None]


def _turned(entry: Entry, confirm_fixes: int, confirm_s: float, said: _Said, tell: Tell) -> Entry:
    """The side, after what the fix says."""
    if said.says == UNSURE:
        return entry
    if (said.says == IN) == entry.inside:
        return _without_run(entry) if entry.run else entry
    if entry.run == 0:
        entry = replace(
            entry,
            run_start_ms=said.time_ms,
            run_initial=said.first,
            run_cause=said.cause,
            run_crossed=said.crossed,
        )
    entry = replace(entry, run=entry.run + 1)
    if entry.run < confirm_fixes or said.time_ms - entry.run_start_ms < confirm_s * 1000:
        return entry
    kind = EXIT if entry.inside else ENTER
    tell(kind, initial=entry.run_initial and kind == ENTER, cause=entry.run_cause, crossed=entry.run_crossed)
    absent_ms = entry.absent_ms
    if kind == EXIT:
        return Entry(absent_ms=absent_ms)
    return Entry(inside=True, enter_ms=said.time_ms, absent_ms=absent_ms)


def _without_run(entry: Entry) -> Entry:
    return replace(entry, run=0, run_start_ms=0, run_initial=False, run_cause=None, run_crossed=None)


def _dwelt_at(full_ms: int, said: _Said) -> Crossed | None:
    return None if full_ms > said.time_ms else Crossed(full_ms, None, None)


def _hastened(entry: Entry, limit_mps: float, over_for_s: float, said: _Said, tell: Tell) -> Entry:
    if not entry.inside:
        return entry
    if said.speed_mps is None:
        return entry
    if said.speed_mps <= limit_mps:
        return replace(entry, haste_ms=None, hasted=False) if entry.haste_ms is not None else entry
    if entry.haste_ms is None:
        entry = replace(entry, haste_ms=said.time_ms)
    assert entry.haste_ms is not None
    if not entry.hasted and said.time_ms - entry.haste_ms >= over_for_s * 1000:
        tell(SPEEDING)
        entry = replace(entry, hasted=True)
    return entry


def _missed(entry: Entry, said: _Said, tell: Tell) -> Entry:
    if said.occurrence_ms == NEVER or said.says != OUT or entry.inside:
        return entry
    if entry.absent_ms is not None and entry.absent_ms >= said.occurrence_ms:
        return entry
    tell(ABSENT)
    return replace(entry, absent_ms=said.time_ms)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """p pairs of an asset and a geofence, each with its first relevant step and the end of its asset's steps."""

    asset: list[int]
    fence: list[int]
    start: Ints
    end: Ints


def _pairs(
    sight: Sight, index: FenceIndex, steps: Steps, hits: tuple[Ints, Ints], touches: tuple[Ints, Ints], matches: Matches
) -> _Pairs:
    """Which pairs must be looked at, and from where on: where something is under way, or a fix lies inside, or a chord
    touches, or absence is to be noticed.
    """
    starts = np.flatnonzero(steps.first)
    end_of = dict(zip(steps.asset[starts].tolist(), [*starts[1:].tolist(), len(steps.asset)], strict=True))
    begin: dict[tuple[int, int], int] = {}
    for at, fence in (hits, touches):
        for position, fence_id, asset in zip(at.tolist(), fence.tolist(), steps.asset[at].tolist(), strict=True):
            pair = asset, fence_id
            if position < begin.get(pair, position + 1):
                begin[pair] = position
    absences = [fence.id for fence in index.fences.values() if fence.rule.absence]
    for start, asset in zip(starts.tolist(), steps.asset[starts].tolist(), strict=True):
        for fence_id in (*sight.entries.get(asset, ()), *absences):
            if fence_id in index.fences:
                begin[asset, fence_id] = start
    kept = [(pair, start) for pair, start in begin.items() if matches(pair[0], index.fences[pair[1]])]
    return _Pairs(
        [asset for (asset, _), _ in kept],
        [fence for (_, fence), _ in kept],
        np.array([start for _, start in kept], np.int64),
        np.array([end_of[asset] for (asset, _), _ in kept], np.int64),
    )


def judge_ruled(
    sight: Sight, index: FenceIndex, steps: Steps, hits: tuple[Ints, Ints], matches: Matches
) -> tuple[list[Emission], dict[int, dict[int, Entry]]]:
    """What the steps of one sight do to its geofences with options.

    Args:
        hits: (step, geofence) for each of those geofences that holds the step's fix, sorted.
        matches: whether a geofence judges an asset.

    Returns:
        What is told, and the entries of each asset of which one changed.
    """
    if not len(steps.asset):
        return [], {}
    chorded = np.flatnonzero(steps.prev_time_ms != NEVER)
    chord, touched_fence, fraction = index.touched(*_chord(steps, chorded))
    touches = chorded[chord], touched_fence
    pairs = _pairs(sight, index, steps, hits, touches, matches)
    if not pairs.asset:
        return [], {}
    count = pairs.end - pairs.start
    pair, at = spread(pairs.start, count)
    fence = np.array(pairs.fence, np.int64)[pair]
    said = _said(index, steps, at, fence, hits, (*touches, fraction))
    told: list[Emission] = []
    changed: dict[int, dict[int, Entry]] = {}
    edges = np.cumsum(count).tolist()
    for asset, fence_id, low, high in zip(pairs.asset, pairs.fence, [0, *edges[:-1]], edges, strict=True):
        before = entry = sight.entries.get(asset, {}).get(fence_id, OUTSIDE)
        judging = index.fences[fence_id]
        for each in said[low:high]:
            entry, out = _step(entry, judging, each)
            told += out
        if entry != before:
            mine = changed.setdefault(asset, dict(sight.entries.get(asset, {})))
            if entry == OUTSIDE:
                mine.pop(fence_id, None)
            else:
                mine[fence_id] = entry
    return told, changed


def _said(
    index: FenceIndex, steps: Steps, at: Ints, fence: Ints, hits: tuple[Ints, Ints], touches: tuple[Ints, Ints, Floats]
) -> list[_Said]:
    """For each pair of a step and a geofence what the rule wants to know."""
    held = _among((at << 32) | fence, (hits[0] << 32) | hits[1])
    says = evidence(
        index, fence, steps.time_ms[at], steps.lon[at], steps.lat[at], steps.alt[at], steps.accuracy[at], held
    )
    known = np.flatnonzero(steps.prev_batch[at] >= index.since_batch(fence))
    before_held = np.zeros(len(at), np.bool_)
    before_held[known] = _before_held(index, steps, at[known], fence[known], hits)
    flips = known[before_held[known] != held[known]]
    crossed: list[Crossed | None] = [None] * len(at)
    for i, place in zip(flips.tolist(), crossings(index, steps, at[flips], fence[flips], held[flips]), strict=True):
        crossed[i] = place
    causes: list[str | None] = [None] * len(at)
    for i, instant in _schedule_turns(index, steps, at, fence, says):
        causes[i], crossed[i] = SCHEDULE, instant
    touched = _touched(index, steps, at, fence, touches)
    first = steps.seen_before[at] < index.since_batch(fence)
    return [
        _Said(*each)
        for each in zip(
            at.tolist(),
            steps.time_ms[at].tolist(),
            says.tolist(),
            first.tolist(),
            causes,
            crossed,
            touched,
            _speeds(index, steps, at, fence),
            _occurrences(index, steps, at, fence).tolist(),
            strict=True,
        )
    ]


def _among(codes: Ints, sorted_codes: Ints) -> Mask:
    if len(sorted_codes) == 0:
        return np.zeros(len(codes), np.bool_)
    place = np.minimum(np.searchsorted(sorted_codes, codes), len(sorted_codes) - 1)
    return np.asarray(sorted_codes[place] == codes)


def _before_held(index: FenceIndex, steps: Steps, at: Ints, fence: Ints, hits: tuple[Ints, Ints]) -> Mask:
    """Whether the shapes hold the fixes before."""
    held = _among(((at - 1) << 32) | fence, (hits[0] << 32) | hits[1])
    mine = np.flatnonzero(~steps.follows[at])
    held[mine] = index.hold(fence[mine], steps.prev_lon[at[mine]] / DEGREE, steps.prev_lat[at[mine]] / DEGREE)
    return held


def _schedule_turns(
    index: FenceIndex, steps: Steps, at: Ints, fence: Ints, says: Ints
) -> Iterator[tuple[int, Crossed | None]]:
    """The pairs whose side the schedule would turn, and when: an exit if it does not hold at the fix, an enter if it
    did not at the fix before. A fix after one that says OUT, too, begins no exit.
    """
    follows = np.zeros(len(at), np.bool_)
    follows[1:] = (fence[1:] == fence[:-1]) & (at[1:] == at[:-1] + 1) & ~steps.first[at[1:]] & (says[:-1] == OUT)
    for fence_id in np.unique(fence).tolist():
        schedule = index.fences[fence_id].rule.schedule
        if schedule is None or index.fences[fence_id].rule.absence:
            continue
        mine = np.flatnonzero(fence == fence_id)
        now, before = steps.time_ms[at[mine]], steps.prev_time_ms[at[mine]]
        known = steps.prev_batch[at[mine]] >= index.since_batch(fence[mine])
        holds, held = schedule.holds(now), np.ones(len(mine), np.bool_)
        held[known] = schedule.holds(before[known])
        for i, time_ms, before_ms, is_known in _rows(~holds & ~follows[mine], mine, now, before, known):
            yield i, _instant(_ended(schedule, before_ms, time_ms) if is_known else None)
        for i, time_ms, _, _ in _rows((says[mine] == IN) & ~held, mine, now, before, known):
            yield i, _instant(_begun(schedule, time_ms))


def _rows(where: Mask, *columns: Ints | Mask) -> Iterator[tuple[int, ...]]:
    return zip(*(column[where].tolist() for column in columns), strict=True)


def _instant(time_ms: int | None) -> Crossed | None:
    """An hour is no place."""
    return None if time_ms is None else Crossed(time_ms, None, None)


def _ended(schedule: Schedule, before_ms: int, time_ms: int) -> int | None:
    """When the schedule first ended between two instants."""
    if not schedule.holds(np.array([before_ms]))[0]:
        begun_ms = schedule.boundary(before_ms, time_ms)
        return None if begun_ms is None else schedule.boundary(begun_ms, time_ms)
    return schedule.boundary(before_ms, time_ms)


def _begun(schedule: Schedule, time_ms: int) -> int:
    """When the schedule began to hold that holds now; what always holds begins anew each year for absence alone."""
    begun_ms = int(schedule.occurrence(np.array([time_ms]))[0])
    while schedule.holds(np.array([begun_ms - 1]))[0]:
        begun_ms = int(schedule.occurrence(np.array([begun_ms - 1]))[0])
    return begun_ms


def _touched(
    index: FenceIndex, steps: Steps, at: Ints, fence: Ints, touches: tuple[Ints, Ints, Floats]
) -> list[Crossed | None]:
    """The first touch of the chord to each step, where it is believed, and both ends lie outside: neither hour nor
    altitude makes an asset pass through.
    """
    found: list[Crossed | None] = [None] * len(at)
    step, of, fraction = touches
    if len(step) == 0:
        return found
    code, asked = (step << 32) | of, (at << 32) | fence
    order = np.argsort(code)
    where = np.flatnonzero(_among(asked, code[order]))
    touch = order[np.searchsorted(code[order], asked[where])]
    step, of, fraction = step[touch], of[touch], fraction[touch]
    held = index.hold(of, steps.prev_lon[step] / DEGREE, steps.prev_lat[step] / DEGREE)
    says = evidence(
        index,
        of,
        steps.prev_time_ms[step],
        steps.prev_lon[step],
        steps.prev_lat[step],
        steps.prev_alt[step],
        steps.prev_accuracy[step],
        held,
    )
    believed = (
        (says == OUT) & (steps.gap_ms(step) <= index.max_gap_ms(of)) & (steps.prev_batch[step] >= index.since_batch(of))
    )
    believed &= ~_barred(index, of, steps.time_ms[step], steps.alt[step])
    believed &= ~_barred(index, of, steps.prev_time_ms[step], steps.prev_alt[step])
    places = _crossed(steps, step, fraction)
    for i, place, kept in zip(where.tolist(), places, believed.tolist(), strict=True):
        if kept:
            found[i] = place
    return found


def _speeds(index: FenceIndex, steps: Steps, at: Ints, fence: Ints) -> list[float | None]:
    """In m/s: as the fix says, else by the chord to it, else not known. Only where a geofence limits it."""
    found: list[float | None] = [None] * len(at)
    limited = [number for number in np.unique(fence).tolist() if index.fences[number].rule.speed_limit_mps is not None]
    if not limited:
        return found
    where = np.flatnonzero(np.isin(fence, limited))
    step = at[where]
    gap_ms, said = steps.gap_ms(step), steps.speed[step] != UNKNOWN_INT32
    chord = ~said & (gap_ms <= index.max_gap_ms(fence[where])) & (gap_ms > 0)
    chord &= steps.prev_batch[step] >= index.since_batch(fence[where])
    speed = np.where(said, steps.speed[step] / 100, np.nan)
    speed[chord] = distances_m(*_chord(steps, step[chord])) / (gap_ms[chord] / 1000)
    for i, value in zip(where.tolist(), speed.tolist(), strict=True):
        found[i] = None if value != value else value  # noqa: PLR0124 - NaN
    return found


def _occurrences(index: FenceIndex, steps: Steps, at: Ints, fence: Ints) -> Ints:
    """The start of the schedule's occurrence in which each fix lies, for geofences that notice absence."""
    found = np.full(len(at), NEVER, np.int64)
    for number in np.unique(fence).tolist():
        rule = index.fences[number].rule
        if rule.absence and rule.schedule is not None:
            mine = np.flatnonzero(fence == number)
            found[mine] = rule.schedule.occurrence(steps.time_ms[at[mine]])
    return found
