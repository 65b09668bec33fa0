"""What judging an asset again changes: the events that stand against those that should, and the visits that follow.

Pure. Transitions are compared geofence by geofence, in the order of the asset's fixes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import NamedTuple

from tracker.domain.fold import Fact
from tracker.domain.presence import ENTER, EXIT, Crossed


class Standing(NamedTuple):
    """An event that stands. version: of the geofence, as it was told."""

    id: int
    kind: int
    fence: int
    version: int
    device: int | None
    time_ms: int
    lon: int
    lat: int
    initial: bool
    cause: str | None
    crossed: Crossed | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One event to be told: fact None retracts `old`, old None tells of `fact` late, both revise."""

    old: Standing | None
    fact: Fact | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The transitions of a stretch as they should stand: those with an `old` that is the same are told already."""

    fact: Fact
    old: Standing | None


def compare(old: Iterable[Standing], new: Iterable[Fact]) -> tuple[list[Difference], list[Outcome]]:
    """What is to be told, in the order of the fixes; and every transition that stands afterwards.

    Equal transitions are left alone. Of the others, those of one kind are paired in their order; what finds no partner
    is late, or retracted.
    """
    standing, found = defaultdict[tuple[int, int], list[Standing]](list), defaultdict[tuple[int, int], list[Fact]](list)
    for each in old:
        standing[each.fence, each.kind].append(each)
    for fact in new:
        found[fact.fence.id, fact.kind].append(fact)
    told: list[Difference] = []
    kept: list[Outcome] = []
    for key in standing.keys() | found.keys():
        same, changed = _matched(standing[key], found[key])
        kept += same
        told += changed
    told.sort(key=_place)
    return told, kept


def _matched(old: Sequence[Standing], new: Sequence[Fact]) -> tuple[list[Outcome], list[Difference]]:
    by_content = defaultdict[tuple[object, ...], list[Standing]](list)
    for each in old:
        by_content[_of_standing(each)].append(each)
    same: list[Outcome] = []
    left: list[Fact] = []
    for fact in new:
        equal = by_content[_of_fact(fact)]
        if equal:
            same.append(Outcome(fact, equal.pop(0)))
        else:
            left.append(fact)
    lost = sorted(
        chain.from_iterable(by_content.values()), key=lambda each: (each.time_ms, each.lon, each.lat, each.id)
    )
    return same, [Difference(*pair) for pair in zip_longest(lost, left)]


def _of_standing(each: Standing) -> tuple[object, ...]:
    return each.time_ms, each.lon, each.lat, each.initial, each.cause, each.crossed


def _of_fact(fact: Fact) -> tuple[object, ...]:
    return fact.time_ms, fact.lon, fact.lat, fact.initial, fact.cause, fact.crossed


def _place(each: Difference) -> tuple[int, ...]:
    of = each.fact if each.fact is not None else each.old
    assert of is not None
    fence = each.fact.fence.id if each.fact is not None else each.old.fence if each.old is not None else 0
    return of.time_ms, of.lon, of.lat, of.kind, fence


class Turn(NamedTuple):
    """An enter or exit that stands, with its event."""

    place: tuple[int, int, int]
    kind: int
    event: int
    replaces: int | None  # the event that it revises
    version: int
    initial: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """A stay; id None: a new one."""

    id: int | None
    geofence: int
    version: int
    enter_ms: int
    enter_event: int
    initial: bool
    exit_ms: int | None = None
    exit_event: int | None = None


def visits(
    geofence: int,
    before: Sequence[Visit],
    turns: Sequence[Turn],
    replaced: frozenset[int],
    entered_ms: int | None,
    *,
    at_end: bool,
) -> tuple[list[int], list[Visit]]:
    """The ids of the visits that give way, and those in their place, for an asset in one geofence.

    Args:
        before: those that overlap the stretch, as they stand.
        turns: enters and exits of the stretch as they should stand, in order.
        replaced: the events of the stretch that stood before.
        entered_ms: of the visit under way at its beginning, if there is one.
        at_end: whether nothing was judged after the stretch; else whoever is inside then leaves as it was told.
    """
    known_before = (v for v in reversed(before) if v.enter_event not in replaced and v.enter_ms == entered_ms)
    under_way = next(known_before, None)
    mine = [v for v in before if v.enter_event in replaced or v is under_way]
    spanning = None if at_end else next((v for v in mine if v.exit_event not in replaced), None)
    left = (None, None) if spanning is None else (spanning.exit_ms, spanning.exit_event)
    known = {v.enter_event: v.id for v in mine}
    out: list[Visit] = []
    current = under_way
    for turn in turns:
        if turn.kind == ENTER:
            number = known.get(turn.event, known.get(turn.replaces or 0))
            current = Visit(number, geofence, turn.version, turn.place[0], turn.event, turn.initial)
        elif turn.kind == EXIT and current is not None:
            out.append(replace(current, exit_ms=turn.place[0], exit_event=turn.event))
            current = None
    if current is not None:
        out.append(replace(current, exit_ms=left[0], exit_event=left[1]))
    return [v.id for v in mine if v.id is not None], out
