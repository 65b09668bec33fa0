"""Worlds full of trouble for geofences: few instants and few places, so that edges, equal fixes and ties are common.

A world is what was stored between which changes. It can arrive in any order, doubled and batched anyhow: `arrivals`
draws such a way, and `World.in_order` is the plain one. Positions are multiples of 1/128 degree, exact in binary too.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any, Final, TypeAlias

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.domain.areas import Chord, Place, plain_area, round_area
from tests.domain.reference import UNIT, FixRow, Quality, TagsChange, Version
from tracker.domain.batch import Ints, Mask
from tracker.domain.shape import Circle, Shape, circle, polygon

STEP: Final = UNIT // 128  # of the grid, about 870 m at the equator
REACH: Final = 5  # the grid goes from -REACH to REACH steps
SECOND: Final = 1_000
TAGS: Final = ("bus", "tram")
NEVER: Final = int(np.iinfo(np.int64).min)
Ring = list[list[float]]

# ----------------------------------------------------------------------------------------------------------------------
# Schedules
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timetable:
    """A schedule of given occurrences, which neither overlap nor touch: what the engine asks of one, in plain sight."""

    intervals: tuple[tuple[int, int], ...]

    def holds(self, time_ms: Ints) -> Mask:
        return np.array([any(a <= at < b for a, b in self.intervals) for at in time_ms.tolist()], dtype=np.bool_)

    def occurrence(self, time_ms: Ints) -> NDArray[np.int64]:
        """The start of the occurrence that contains each instant, NEVER where none does."""
        starts = [next((a for a, b in self.intervals if a <= at < b), NEVER) for at in time_ms.tolist()]
        return np.array(starts, dtype=np.int64)

    def boundary(self, before_ms: int, after_ms: int) -> int | None:
        """The first instant in (before, after] at which it began or ended to hold, None if it did not change."""
        return min((at for each in self.intervals for at in each if before_ms < at <= after_ms), default=None)


# ----------------------------------------------------------------------------------------------------------------------
# What was stored, and what was changed
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deleted:
    """A geofence that is no more from a batch on."""

    fence: int
    from_batch: int


# A Version makes a geofence, or changes it. from_batch is given when it happens.
Change: TypeAlias = Version | TagsChange | Deleted


@dataclass(frozen=True)
class Epoch:
    """Changes, and then the fixes that were stored before the next ones. Their batches are given when they arrive."""

    changes: tuple[Change, ...]
    fixes: tuple[FixRow, ...]


@dataclass(frozen=True)
class Batch:
    """The fixes of one commit, in the order in which they came."""

    number: int
    fixes: tuple[FixRow, ...]


@dataclass(frozen=True)
class Arrival:
    """One way in which a world came to be known. Every change has a batch number of its own, so that changes have an
    order; it applies to that batch, if there were one, and to all that follow.
    """

    steps: tuple[Batch | Change, ...]

    @property
    def batches(self) -> list[Batch]:
        return [step for step in self.steps if isinstance(step, Batch)]

    @property
    def changes(self) -> list[Change]:
        return [step for step in self.steps if not isinstance(step, Batch)]

    @property
    def fixes(self) -> list[FixRow]:
        return [fix for batch in self.batches for fix in batch.fixes]

    @property
    def tag_history(self) -> list[TagsChange]:
        return [change for change in self.changes if isinstance(change, TagsChange)]

    @property
    def deleted(self) -> dict[int, int]:
        return {change.fence: change.from_batch for change in self.changes if isinstance(change, Deleted)}

    @property
    def versions(self) -> list[Version]:
        """With their ends."""
        made = [change for change in self.changes if isinstance(change, Version)]
        return [replace(version, to_batch=self._end(version, made)) for version in made]

    def _end(self, version: Version, made: Sequence[Version]) -> int | None:
        later = [v.from_batch for v in made if v.fence == version.fence and v.version > version.version]
        return min(later, default=self.deleted.get(version.fence))


@dataclass(frozen=True)
class World:
    """What happened, and one drawn way in which it arrived."""

    epochs: tuple[Epoch, ...]
    arrived: Arrival

    @cached_property
    def in_order(self) -> Arrival:
        """The same with every fix once, each epoch one batch in event order."""
        return arrive([(e.changes, [sorted(e.fixes, key=lambda fix: fix.event_order)]) for e in self.epochs])

    @property
    def fixes_sorted(self) -> list[FixRow]:
        return sorted(self.in_order.fixes, key=lambda fix: fix.event_order)


def arrive(plan: Iterable[tuple[Sequence[Change], Sequence[Sequence[FixRow]]]]) -> Arrival:
    """Changes and the batches after them, again and again: numbers are given as they come."""
    steps: list[Batch | Change] = []
    for changes, batches in plan:
        for change in changes:
            steps.append(replace(change, from_batch=len(steps) + 1))
        for fixes in batches:
            number = len(steps) + 1
            steps.append(Batch(number, tuple(replace(fix, batch=number) for fix in fixes)))
    return Arrival(tuple(steps))


# ----------------------------------------------------------------------------------------------------------------------
# Shapes
# ----------------------------------------------------------------------------------------------------------------------

steps = st.integers(-REACH, REACH)


def box(west: float, south: float, east: float, north: float) -> Ring:
    """A closed ring around a box of grid steps."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return [[x / 128, y / 128] for x, y in corners]


@st.composite
def rectangles(draw: st.DrawFn) -> Shape:
    """Mostly large; sometimes with a hole."""
    west, south = draw(st.integers(-REACH, REACH - 1)), draw(st.integers(-REACH, REACH - 1))
    east, north = draw(st.integers(west + 1, REACH)), draw(st.integers(south + 1, REACH))
    rings = [box(west, south, east, north)]
    if east - west >= 3 and north - south >= 3 and draw(st.booleans()):
        rings.append(box(west + 1, south + 1, draw(st.integers(west + 2, east - 1)), north - 1))
    return polygon([rings])


@st.composite
def stars(draw: st.DrawFn) -> Shape:
    """Any ring of grid points around their middle: slanted edges and hollows, which a chord may cross many times."""
    points = draw(st.lists(st.tuples(steps, steps), min_size=3, max_size=7, unique=True))
    x, y = sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
    around = sorted(points, key=lambda p: (math.atan2(p[1] - y, p[0] - x), math.hypot(p[1] - y, p[0] - x)))
    ring = [[px / 128, py / 128] for px, py in [*around, around[0]]]
    if not shapely.Polygon(ring).is_valid:
        return draw(rectangles())
    return polygon([[ring]])


@st.composite
def islands(draw: st.DrawFn) -> Shape:
    """Two parts that touch at a corner."""
    x, y = draw(st.integers(-REACH + 1, REACH - 1)), draw(st.integers(-REACH + 1, REACH - 1))
    south_west = box(draw(st.integers(-REACH, x - 1)), draw(st.integers(-REACH, y - 1)), x, y)
    north_east = box(x, y, draw(st.integers(x + 1, REACH)), draw(st.integers(y + 1, REACH)))
    return polygon([[south_west], [north_east]])


@st.composite
def circles(draw: st.DrawFn) -> Circle:
    return circle([draw(steps) / 128, draw(steps) / 128], draw(st.sampled_from([400.5, 1_000.5, 2_222.2, 3_333.3])))


shapes: st.SearchStrategy[Shape] = st.one_of(rectangles(), stars(), islands(), circles())

# ----------------------------------------------------------------------------------------------------------------------
# Geofences
# ----------------------------------------------------------------------------------------------------------------------

instants = st.integers(-2, 14).map(lambda tens: tens * 10 * SECOND)
qualities: st.SearchStrategy[Quality] = st.sampled_from(["trusted", "trusted", "all"])


SCHEDULES: Final = tuple(
    Timetable(tuple((begin * 1000, end * 1000) for begin, end in spans))
    for spans in ([(20, 60), (90, 120)], [(-100, 45)], [(10, 11), (40, 50), (60, 500)])
)


# Options that are drawn together. Schedules are shared between geofences and versions.
OPTIONS: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "certain": {"edge": st.just("certain")},
    "margin": {"exit_margin_m": st.sampled_from([300.0, 1_000.0])},
    "confirm": {"confirm_fixes": st.sampled_from([1, 2, 3]), "confirm_s": st.sampled_from([0.0, 10.0, 25.0])},
    "dwell": {"dwell_after_s": st.sampled_from([5.0, 10.0, 25.0])},
    "cross": {"cross": st.just(True)},
    "gap": {"max_gap_s": st.sampled_from([10.0, 20.0])},
    "altitude": {"alt_min_m": st.sampled_from([None, 0.0, 50.0]), "alt_max_m": st.sampled_from([None, 50.0, 200.0])},
    "schedule": {"schedule": st.sampled_from(SCHEDULES)},
    "absence": {"schedule": st.sampled_from(SCHEDULES), "absence": st.just(True)},
    "speed": {"speed_limit_mps": st.sampled_from([20.0, 100.0]), "over_for_s": st.sampled_from([0.0, 10.0])},
    "assets": {
        "tags": st.sampled_from([frozenset(["bus"]), frozenset(["bus"]), frozenset(TAGS), frozenset[str]()]),
        "ids": st.sampled_from([frozenset[int](), frozenset[int](), frozenset([1]), frozenset([2, 3])]),
    },
}


@st.composite
def versions(draw: st.DrawFn, fence: int = 1, number: int = 1) -> Version:
    """Any geofence, its batch still to be given. Few options each, as all of them together would hide everything."""
    options: dict[str, Any] = {}
    for _ in range(draw(st.sampled_from([0, 1, 2, 2, 3, 4]))):
        group = draw(st.sampled_from([*OPTIONS, "schedule", "assets", "assets", "dwell"]))
        options |= {name: draw(values) for name, values in OPTIONS[group].items()}
    return Version(fence, number, from_batch=0, shape=draw(shapes), quality=draw(qualities), **options)


# ----------------------------------------------------------------------------------------------------------------------
# Fixes
# ----------------------------------------------------------------------------------------------------------------------

places = steps.map(lambda step: step * STEP)


# What a fix may say beside time and place: most of it is unknown, and equal places differ in it. One draw for all.
RESTS: Final = tuple(
    {"alt": alt, "speed": speed, "course": course, "accuracy": accuracy, "flags": flags}
    for alt, speed, course, accuracy, flags in product(
        [None] * 6 + [0, 500, 2_500],
        [None] * 6 + [0, 3_000, 12_000],
        [None, None, 900],
        [None] * 6 + [50, 5_000, 13_000],
        [0] * 5 + [2, 8],
    )
)
rests: st.SearchStrategy[dict[str, Any]] = st.sampled_from(RESTS)
MOVES: Final = [(0, 0), (0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, 1), (-4, 1)]
walks = st.lists(st.tuples(st.sampled_from([10, 10, 0, 20]), st.sampled_from(MOVES), rests), max_size=8)


@st.composite
def stays(draw: st.DrawFn, assets: int = 3) -> list[FixRow]:
    """A few fixes of one asset at neighbouring instants and places: visits that last."""
    time_ms, lon, lat = draw(instants), draw(places), draw(places)
    asset = draw(st.integers(1, assets))
    found = [FixRow(time_ms, lon, lat, **draw(rests), asset=asset)]
    for later_s, (east, north), rest in draw(walks):
        time_ms, lon, lat = time_ms + later_s * SECOND, lon + east * STEP, lat + north * STEP
        found.append(FixRow(time_ms, lon, lat, **rest, asset=asset))
    return found


# ----------------------------------------------------------------------------------------------------------------------
# Worlds
# ----------------------------------------------------------------------------------------------------------------------


tags = st.sampled_from([frozenset(TAGS[:count]) for count in range(len(TAGS) + 1)])


@st.composite
def _changes(draw: st.DrawFn, alive: dict[int, int], made: int, assets: int) -> Change:
    """alive: the geofences that there are and their versions; made: how many there ever were."""
    kinds = ["tags", "tags"] + (["change", "change", "delete"] if alive else []) + (["make"] if made < 4 else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "make":
        return draw(versions(made + 1))
    if kind == "tags":
        return TagsChange(draw(st.integers(1, assets)), 0, draw(tags))
    fence = draw(st.sampled_from(sorted(alive)))
    return Deleted(fence, 0) if kind == "delete" else draw(versions(fence, alive[fence] + 1))


@st.composite
def epochs(draw: st.DrawFn, assets: int = 3) -> tuple[Epoch, ...]:
    """At first one to three geofences; then changes now and then."""
    alive = dict.fromkeys(range(1, draw(st.integers(1, 3)) + 1), 1)
    made = len(alive)
    changes: list[Change] = [TagsChange(asset, 0, draw(tags)) for asset in range(1, assets + 1)]
    changes += [draw(versions(fence)) for fence in alive]
    found = []
    for _ in range(draw(st.integers(1, 4))):
        stored = [fix for _ in range(draw(st.integers(0, 4))) for fix in draw(stays(assets))]
        found.append(Epoch(tuple(changes), tuple(stored)))
        changes = []
        for _ in range(draw(st.integers(1, 2))):
            change = draw(_changes(alive, made, assets))
            changes.append(change)
            if isinstance(change, Deleted):
                del alive[change.fence]
            elif isinstance(change, Version):
                alive[change.fence] = change.version
                made = max(made, change.fence)
    found.append(Epoch(tuple(changes), ()))
    return tuple(found)


@st.composite
def arrivals(draw: st.DrawFn, world: tuple[Epoch, ...]) -> Arrival:
    """Each epoch's fixes in any order, some of them doubled, in any batches."""
    plan = []
    for epoch in world:
        doubled = draw(st.lists(st.sampled_from(epoch.fixes), max_size=3)) if epoch.fixes else []
        came = draw(st.permutations([*epoch.fixes, *doubled]))
        cuts = sorted(draw(st.lists(st.integers(0, len(came)), max_size=4)))
        parts = [came[a:b] for a, b in pairwise([0, *cuts, len(came)]) if a < b]
        plan.append((epoch.changes, parts))
    return arrive(plan)


@st.composite
def worlds(draw: st.DrawFn, assets: int = 3) -> World:
    found = draw(epochs(assets))
    return World(found, draw(arrivals(found)))


# ----------------------------------------------------------------------------------------------------------------------
# What no tolerance can decide
# ----------------------------------------------------------------------------------------------------------------------


def is_close_call(arrival: Arrival) -> bool:
    """Whether something may be so close to an edge that no two ways of measuring need agree."""
    calls = (call_m for version in arrival.versions for call_m in _calls_m(version, arrival.fixes))
    return any(call_m < 1 for call_m in calls) or any(_grazes(v, arrival.fixes, 1.0) for v in arrival.versions)


def _calls_m(version: Version, fixes: Sequence[FixRow]) -> Iterator[float]:
    """How close the distances of fixes to the edge are to the distances that the version asks about."""
    area = plain_area(version.shape)
    for fix in fixes:
        limits = [fix.accuracy / 10] if version.edge == "certain" and fix.accuracy is not None else []
        limits += [version.exit_margin_m] if version.exit_margin_m > 0 else []
        limits += [0.0] if isinstance(version.shape, Circle) else []
        if limits:
            edge_m = area.edge_m(fix.place)
            yield from (abs(edge_m - limit) for limit in limits)


def _grazes(version: Version, fixes: Sequence[FixRow], tolerance_m: float) -> bool:
    """Whether a chord that passes a circle might as well touch it."""
    shape = version.shape
    if not version.cross or not isinstance(shape, Circle):
        return False
    area = round_area(shape)
    chords = {Chord.between(*ends) for asset in {fix.asset for fix in fixes} for ends in _neighbours(fixes, asset)}
    return any(abs(area.nearest_m(chord)) < tolerance_m for chord in chords)


def _neighbours(fixes: Sequence[FixRow], asset: int) -> Iterator[tuple[Place, Place]]:
    """The ends of every chord that there may be, in either quality."""
    for flags in ({0}, {fix.flags for fix in fixes}):
        mine = sorted(fix.key for fix in fixes if fix.asset == asset and fix.flags in flags)
        yield from (((a[1] / UNIT, a[2] / UNIT), (b[1] / UNIT, b[2] / UNIT)) for a, b in pairwise(mine))
