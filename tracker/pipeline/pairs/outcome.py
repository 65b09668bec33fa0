"""What judging pairs comes to: their turns against what was told of them, and their visits as they should stand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from tracker.domain.presence import ENTER
from tracker.domain.proximity import Change, Pairs, Told, Tracks, Turns, compare, meetings, turns
from tracker.pipeline.pairs.rule import Rule
from tracker.pipeline.pairs.span import Spans
from tracker.store.proximity import Pair, Stay


class Rewritten(NamedTuple):
    """The visits of a pair as they stood, its turns as they stand now, and the first batch that judged the two."""

    since_batch: int
    before: Sequence[Stay]
    turns: Sequence[Told]


@dataclass(slots=True)
class Outcome:
    """What one judging comes to: what is told of which pair, and the visits of each pair as they should stand."""

    rule: Rule
    changes: list[tuple[Pair, Change, bool]] = field(default_factory=list)  # with whether something late was its reason
    stays: dict[Pair, Rewritten] = field(default_factory=dict)


def judged(
    rule: Rule,
    tracks: Tracks,
    spans: Spans,
    stays: Mapping[tuple[Pair, int], Sequence[Stay]],
    from_ms: int,
    until_ms: int,
    newest_ms: Callable[[int], int],
) -> tuple[Outcome, bool]:
    """What is to be told of a span of time; and whether nothing after it can be other than what was told: the pairs end
    as they did, or have no fixes after it.
    """
    fence = rule.fence
    pairs = _concerned(rule, tracks, spans, stays)
    number = np.arange(len(pairs))
    asset, other = np.array(pairs, np.int64).reshape(-1, 2).T
    since = rule.since(asset, other)
    told = [list(stays.get((pair, first), ())) for pair, first in zip(pairs, since.tolist(), strict=True)]
    was_near = np.array([_is_near(each, from_ms) for each in told], np.bool_)
    asked = Pairs(asset, other, np.full(len(pairs), from_ms), was_near, since)
    found = turns(tracks, asked, fence.shape.within_m, fence.exit_margin_m)
    begin = np.searchsorted(found.pair, number)
    end = np.searchsorted(found.pair, number, side="right")
    outcome, agrees = Outcome(rule), True
    for i, pair in enumerate(pairs):
        new = _told(tracks, found, range(int(begin[i]), int(end[i])))
        every = [turn for stay in told[i] for turn in (stay.enter, stay.exit) if turn is not None]
        old = [turn for turn in every if from_ms <= turn.time_ms <= until_ms]
        after = [turn for turn in every if turn.time_ms > until_ms]
        near = new[-1].kind == ENTER if new else bool(was_near[i])
        agrees &= near == _is_near(told[i], until_ms + 1) or max(map(newest_ms, pair)) <= until_ms
        same, changes = compare(old, new)
        if changes:
            late = any(asset in spans and spans[asset].late for asset in pair)
            outcome.changes += [(pair, change, late) for change in changes]
            kept = {turn[:4]: turn for turn in same}
            turned = (
                [turn for turn in every if turn.time_ms < from_ms] + [kept.get(turn[:4], turn) for turn in new] + after
            )
            outcome.stays[pair] = Rewritten(int(since[i]), told[i], turned)
    return outcome, agrees


def _concerned(
    rule: Rule, tracks: Tracks, spans: Spans, stays: Mapping[tuple[Pair, int], Sequence[Stay]]
) -> list[Pair]:
    """The pairs that new fixes brought together, and those of which something was told."""
    number, first, last = np.array([(asset, *span[:2]) for asset, span in sorted(spans.items())], np.int64).T
    place = np.minimum(np.searchsorted(number, tracks.asset), len(number) - 1)
    mine = number[place] == tracks.asset
    new = np.flatnonzero(mine & (tracks.time_ms >= first[place]) & (tracks.time_ms <= last[place]))
    asset, other = meetings(tracks, new, rule.fence.shape.within_m)
    asset, other = np.concatenate([asset, other]), np.concatenate([other, asset])
    admitted = rule.since(asset, other) >= 0
    met = set(zip(asset[admitted].tolist(), other[admitted].tolist(), strict=True))
    stayed, since = [pair for pair, _ in stays], [first for _, first in stays]
    goes_on = rule.since(*np.array(stayed, np.int64).reshape(-1, 2).T) == since
    return sorted(met.union(compress(stayed, goes_on)))


def _is_near(stays: Iterable[Stay], at_ms: int) -> bool:
    """Right before an instant."""
    return any(s.enter.time_ms < at_ms and (s.exit is None or s.exit.time_ms >= at_ms) for s in stays)


def _told(tracks: Tracks, found: Turns, rows: range) -> list[Told]:
    told = []
    for i in rows:
        row, metres = int(found.row[i]), float(found.distance_m[i])
        lon, lat = (None, None) if row < 0 else (int(tracks.lon[row]), int(tracks.lat[row]))
        distance_m = None if np.isnan(metres) else metres
        told.append(Told(int(found.kind[i]), int(found.time_ms[i]), lon, lat, None, distance_m))
    return told


def visits_of(found: Outcome, numbered: Mapping[tuple[Pair, Told], int]) -> tuple[list[int], list[dict[str, Any]]]:
    """The visits that give way, and those that stand otherwise now. A visit whose enter was revised keeps its id."""
    gone: list[int] = []
    rows: list[dict[str, Any]] = []
    revised = {
        (pair, change.new): change.old.event
        for pair, change, _ in found.changes
        if change.old is not None and change.new is not None
    }
    for pair, (since, before, turned) in found.stays.items():
        known = {stay.enter.event: stay for stay in before}
        used = set()
        for enter, exit_ in zip(turned[::2], [*turned[1::2], None], strict=False):
            stay = known.get(enter.event if enter.event is not None else revised.get((pair, enter)))
            events = [None if each is None else each.event or numbered[pair, each] for each in (enter, exit_)]
            if stay is not None:
                used.add(stay.id)
            rows.append(
                {
                    "id": None if stay is None else stay.id,
                    "asset": pair[0],
                    "near": pair[1],
                    "geofence": found.rule.fence.id,
                    "version": found.rule.fence.version,
                    "since_batch": since,
                    "enter_ms": enter.time_ms,
                    "enter_event": events[0],
                    "exit_ms": None if exit_ is None else exit_.time_ms,
                    "exit_event": events[1],
                }
            )
        gone += [stay.id for stay in before if stay.id is not None and stay.id not in used]
    return gone, rows
