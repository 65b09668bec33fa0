"""Geofences with options: which of them may have something to tell an asset's steps, and what each step brings to them.

What fixes say and where chords cross is vectorised over pairs; the rule itself (`transition`) runs one fix after the
other, for the pairs of which something is under way or may begin.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from tracker.domain.batch import DEGREE, UNKNOWN_INT32, Floats, Ints, Mask
from tracker.domain.crossing import crossings, passes
from tracker.domain.evidence import IN, OUT, evidence
from tracker.domain.geodesy import distances_m
from tracker.domain.geofence import Matches
from tracker.domain.index import FenceIndex
from tracker.domain.presence import NEVER, OUTSIDE, Crossed, Entry, Sight
from tracker.domain.runs import spread
from tracker.domain.schedule import Schedule
from tracker.domain.steps import Steps, among
from tracker.domain.transition import Emission, Said, stepped

SCHEDULE: Final = "schedule"  # the cause of what the hour turns


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
    chord, touched_fence, fraction = index.touched(*steps.chords(chorded))
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
            entry, out = stepped(entry, judging, each)
            told += out
        if entry != before:
            mine = changed.setdefault(asset, dict(sight.entries.get(asset, {})))
            if entry == OUTSIDE:
                mine.pop(fence_id, None)
            else:
                mine[fence_id] = entry
    return told, changed


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
    absences = sorted(index.absences)
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


def _said(
    index: FenceIndex, steps: Steps, at: Ints, fence: Ints, hits: tuple[Ints, Ints], touches: tuple[Ints, Ints, Floats]
) -> list[Said]:
    """For each pair of a step and a geofence what the rule wants to know."""
    held = among((at << 32) | fence, (hits[0] << 32) | hits[1])
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
    touched = passes(index, steps, at, fence, touches)
    first = steps.seen_before[at] < index.since_batch(fence)
    return [
        Said(*each)
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


def _before_held(index: FenceIndex, steps: Steps, at: Ints, fence: Ints, hits: tuple[Ints, Ints]) -> Mask:
    """Whether the shapes hold the fixes before."""
    held = among(((at - 1) << 32) | fence, (hits[0] << 32) | hits[1])
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
    speed[chord] = distances_m(*steps.chords(step[chord])) / (gap_ms[chord] / 1000)
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
