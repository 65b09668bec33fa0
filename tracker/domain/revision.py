"""What judging an asset again changes: the events that stand against those that should, and the visits that follow.

Pure. Transitions are compared geofence by geofence, in the order of the asset's fixes.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Final, NamedTuple, TypeVar

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


_Told = TypeVar("_Told", Standing, Fact)
_Old = TypeVar("_Old")
_New = TypeVar("_New")


class Comparison(NamedTuple):
    """What is to be compared now, and what is left for later, in the order of the fixes. entered: of the geofences that
    the asset was inside of where it begins, since when; left_entered: where what is left begins.
    """

    old: Sequence[Standing]
    new: Sequence[Fact]
    entered: Mapping[int, int | None]
    left_old: Sequence[Standing]
    left_new: Sequence[Fact]
    left_entered: Mapping[int, int | None]


def settled(
    old: Sequence[Standing],
    new: Sequence[Fact],
    stays: Iterable["Visit"],
    entered: Mapping[int, int | None],
    *,
    complete: bool,
) -> Comparison:
    """As much as can be told of a stretch that was judged only so far: of each geofence up to where what stands and
    what should stand are last inside since the same fix, or both outside. Visits can be mended there, and only there.

    Args:
        stays: the visits that stand, of all geofences that something is told of.
        complete: all was judged, so that they agree at its end.
    """
    if complete:
        return Comparison(old, new, entered, (), (), {})
    standing = _by_fence([(each.fence, each.kind, each) for each in old])
    found = _by_fence([(each.fence.id, each.kind, each) for each in new])
    stayed = defaultdict[int, list[Visit]](list)
    for visit in stays:
        stayed[visit.geofence].append(visit)
    left_entered: dict[int, int | None] = {}
    left = set[int]()  # by identity
    for fence in standing.keys() | found.keys():
        turned, turns = standing[fence], found[fence]
        so_many, as_many, since_ms = _agreement(turned, turns, stayed[fence], entered.get(fence))
        if (so_many, as_many) != (len(turned), len(turns)):
            left_entered[fence] = since_ms
            left.update(map(id, (*turned[so_many:], *turns[as_many:])))
    return Comparison(
        [each for each in old if id(each) not in left],
        [each for each in new if id(each) not in left],
        entered,
        [each for each in old if id(each) in left],
        [each for each in new if id(each) in left],
        left_entered,
    )


def _by_fence(told: Sequence[tuple[int, int, _Told]]) -> defaultdict[int, list[_Told]]:
    """Of (geofence, kind, told): the enters and exits."""
    found = defaultdict[int, list[_Told]](list)
    for fence, kind, each in told:
        if kind in {ENTER, EXIT}:
            found[fence].append(each)
    return found


_Since = tuple[int, ...] | None  # the fix since which an asset is inside; None: it is outside
_NO_SIDE: Final[_Since] = ()


class _Stayed:
    """The side of one geofence by the visits that stand, at one place after the other.

    An exit may be told of a place before the one of its enter: where a geofence judged every fix and now only trusted
    ones, which may come after and lie before. Between the two there is no side, as they are to be mended together.
    """

    def __init__(self, old: Sequence[Standing], visits_: Sequence["Visit"], entered_ms: int | None) -> None:
        own = {each.id for each in old}
        self._visit_of = {event: v.enter_event for v in visits_ for event in (v.enter_event, v.exit_event)}
        under_way = _under_way([v for v in visits_ if v.enter_event not in own], entered_ms)
        self._open: dict[int | None, _Since] = {}  # visits of which one end is passed, by the event of their enter
        if entered_ms is not None:
            self._open[None if under_way is None else under_way.enter_event] = (entered_ms,)

    def pass_by(self, each: Standing) -> None:
        visit = self._visit_of.get(each.id, each.id)
        if self._open.pop(visit, None) is None:
            self._open[visit] = _of_turn(each) if each.kind == ENTER else _NO_SIDE

    @property
    def side(self) -> _Since:
        return next(iter(self._open.values()), None) if len(self._open) < 2 else _NO_SIDE


def _agreement(
    old: Sequence[Standing], new: Sequence[Fact], stays: Sequence["Visit"], entered_ms: int | None
) -> tuple[int, int, int | None]:
    """How many of the turns of one geofence lead to the last place at which both sides are the same, and since when the
    asset is inside there.
    """
    stayed = _Stayed(old, stays, entered_ms)
    stands: _Since = None if entered_ms is None else (entered_ms,)
    so_many, as_many, best = 0, 0, (0, 0, entered_ms)
    while so_many < len(old) or as_many < len(new):
        heads = [_of_turn(each) for each in old[so_many : so_many + 1]]
        here = min([*heads, *(_of_turn(each) for each in new[as_many : as_many + 1])])
        while so_many < len(old) and _of_turn(old[so_many]) == here:
            stayed.pass_by(old[so_many])
            so_many += 1
        stands, as_many = _turned_at(new, as_many, here, stands)
        if stayed.side == stands:
            best = so_many, as_many, None if stands is None else stands[0]
    return best


def _of_turn(each: Standing | Fact) -> tuple[int, ...]:
    return each.time_ms, each.lon, each.lat


def _turned_at(told: Sequence[Fact], start: int, here: tuple[int, ...], side: _Since) -> tuple[_Since, int]:
    """The side after all turns at a place, which come in no order."""
    end = start
    while end < len(told) and _of_turn(told[end]) == here:
        end += 1
    inside = (side is not None) != bool((end - start) % 2)
    entered = any(each.kind == ENTER for each in told[start:end])
    return (None if not inside else here if entered else side), end


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
        same, lost, left = matched(standing[key], found[key], _of_standing, _of_fact)
        kept += [Outcome(fact, each) for each, fact in same]
        lost.sort(key=lambda each: (each.time_ms, each.lon, each.lat, each.id))
        told += [Difference(*pair) for pair in zip_longest(lost, left)]
    told.sort(key=_place)
    return told, kept


def matched(
    old: Iterable[_Old], new: Iterable[_New], of_old: Callable[[_Old], object], of_new: Callable[[_New], object]
) -> tuple[list[tuple[_Old, _New]], list[_Old], list[_New]]:
    """Those that say the same in pairs, the old ones that no new one equals, and the new ones that no old one equals.
    Each is in one pair at most; of old ones that say the same the first finds a partner.
    """
    by_content = defaultdict[object, list[_Old]](list)
    for each in old:
        by_content[of_old(each)].append(each)
    same: list[tuple[_Old, _New]] = []
    left: list[_New] = []
    for other in new:
        equal = by_content[of_new(other)]
        if equal:
            same.append((equal.pop(0), other))
        else:
            left.append(other)
    return same, list(chain.from_iterable(by_content.values())), left


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
    under_way = _under_way([v for v in before if v.enter_event not in replaced], entered_ms)
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


def _under_way(before: Iterable[Visit], entered_ms: int | None) -> Visit | None:
    """Of several that began in one millisecond the last, which lasted longest."""
    known = [v for v in before if v.enter_ms == entered_ms]
    return max(known, key=lambda v: math.inf if v.exit_ms is None else v.exit_ms, default=None)
