"""The flags that depend on neighbours, against the rule as docs/geofences.md states it, one fix after the other."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32, Columns
from tracker.domain.fix import MAX_SPEED_MPS, Flag
from tracker.domain.geodesy import WGS84
from tracker.domain.plausibility import Suspect, doubts

JUMP, STALE = int(Flag.JUMP), int(Flag.STALE_REPEAT)
ASSETS = 3
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, order=True)
class Point:
    """A fix as far as this rule cares, in event order."""

    time_ms: int
    lon: int
    lat: int
    accuracy: int = UNKNOWN_INT32
    speed: int = UNKNOWN_INT32
    asset: int = 1
    max_speed_mps: float = MAX_SPEED_MPS

    @property
    def place(self) -> tuple[int, int]:
        return self.lon, self.lat


def at(
    seconds: float, lon: float, lat: float, speed_mps: float | None = None, accuracy_m: float | None = None
) -> Point:
    return Point(
        round(seconds * 1000),
        round(lon * DEGREE),
        round(lat * DEGREE),
        UNKNOWN_INT32 if accuracy_m is None else round(accuracy_m * 10),
        UNKNOWN_INT32 if speed_mps is None else round(speed_mps * 100),
    )


def columns(points: list[Point]) -> Columns:
    def of(name: str, kind: type[np.int32 | np.int64]) -> NDArray[np.int32]:
        return np.array([getattr(point, name) for point in points], kind)

    unknown = np.full(len(points), UNKNOWN_INT32, np.int32)
    course = np.full(len(points), UNKNOWN_INT16, np.int16)
    asset = of("asset", np.int32)
    return Columns(
        asset, asset, of("time_ms", np.int64).astype(np.int64), of("lon", np.int32), of("lat", np.int32),
        unknown, of("speed", np.int32), course, of("accuracy", np.int32), np.zeros(len(points), np.int16), None,
    )  # fmt: skip


class Fleet:
    """The state, kept as the engine keeps it: what `doubts` says is applied after each batch."""

    def __init__(self, assets: int = ASSETS) -> None:
        self.time_ms: NDArray[np.int64] = np.full(assets + 1, NEVER, np.int64)
        self.lon: NDArray[np.int32] = np.zeros(assets + 1, np.int32)
        self.lat: NDArray[np.int32] = np.zeros(assets + 1, np.int32)
        self.accuracy: NDArray[np.int32] = np.zeros(assets + 1, np.int32)
        self.suspects: dict[int, Suspect] = {}

    def take(self, points: list[Point]) -> list[int]:
        """One batch; its rows stand in another order than they are given to the rule."""
        order = sorted(range(len(points)), key=lambda i: (points[i].asset, points[i]))
        rows = np.array(order, np.int64)
        limits = np.array([points[i].max_speed_mps for i in order])
        found, changed = doubts(columns(points), rows, self, self.suspects, limits)
        assert found.dtype == np.int16
        for asset, suspect in changed.items():
            assert suspect != self.suspects.get(asset), "only what changed is told"
            if suspect is None:
                del self.suspects[asset]
            else:
                self.suspects[asset] = suspect
        flags = [0] * len(points)
        for i, flag in zip(order, found.tolist(), strict=True):
            flags[i] = flag
            if not flag:
                point = points[i]
                self.time_ms[point.asset], self.accuracy[point.asset] = point.time_ms, point.accuracy
                self.lon[point.asset], self.lat[point.asset] = point.lon, point.lat
        return flags


def flags(*points: Point) -> list[int]:
    """Those of one asset's fixes, in one batch; it must make no difference if they come one by one."""
    found = Fleet().take(list(points))
    one_by_one = Fleet()
    assert [one_by_one.take([point])[0] for point in points] == found
    return found


@dataclass
class Rule:
    """The reference: one asset, one fix after the other."""

    newest: Point | None = None
    chain: list[Point] = field(default_factory=list)

    def take(self, point: Point) -> int:
        suspect = self.chain[-1] if self.chain else None
        known = [other.place for other in (self.newest, suspect) if other is not None]
        if point.speed > 100 and point.place in known:
            return STALE
        if self.newest is None or plausible(self.newest, point):
            self.newest, self.chain = point, []
            return 0
        if suspect is None or not plausible(suspect, point):
            self.chain = []
        self.chain.append(point)
        if len(self.chain) == 3:
            self.newest, self.chain = point, []
            return 0
        return JUMP


def plausible(before: Point, after: Point) -> bool:
    accuracies_m = [min(point.accuracy, 10_000) / 10 for point in (before, after) if point.accuracy != UNKNOWN_INT32]
    elapsed_s = abs(after.time_ms - before.time_ms) / 1000
    return way_m(before, after) <= after.max_speed_mps * (elapsed_s + 15) + sum(accuracies_m)


def way_m(a: Point, b: Point) -> float:
    """By the angle between two vectors, on the sphere of the rule."""
    u, v = vector(a), vector(b)
    return 6_335_439.0 * math.atan2(math.hypot(*np.cross(u, v).tolist()), float(np.dot(u, v)))


def vector(point: Point) -> NDArray[np.float64]:
    x, y = math.radians(point.lon / DEGREE), math.radians(point.lat / DEGREE)
    return np.array([math.cos(y) * math.cos(x), math.cos(y) * math.sin(x), math.sin(y)])


longitudes = st.sampled_from([-180.0, -179.9, -0.2, 0.0, 0.05, 0.1, 0.3, 1.0, 90.0, 179.95, 180.0])
latitudes = st.sampled_from([-90.0, -89.9, -60.0, -0.01, 0.0, 0.1, 0.2, 45.0, 60.0, 89.95, 90.0])
points = st.builds(
    Point,
    time_ms=st.integers(0, 60).map(lambda step: step * 7_001),
    lon=longitudes.map(lambda lon: round(lon * DEGREE)),
    lat=latitudes.map(lambda lat: round(lat * DEGREE)),
    accuracy=st.sampled_from([UNKNOWN_INT32, 0, 50, 9_990, 123_456]),
    speed=st.sampled_from([UNKNOWN_INT32, 0, 100, 101, 2_500]),
    asset=st.integers(1, ASSETS),
    max_speed_mps=st.sampled_from([350.3, 350.3, 61.7, 3.1, 29_999.0]),
)
batches = st.lists(points, max_size=40, unique_by=lambda point: (point.asset, point.time_ms, *point.place))


@given(batches, st.lists(st.integers(0, 40)))
def test_fixes_get_the_flags_of_the_rule_however_they_are_batched(fixes: list[Point], cuts: list[int]) -> None:
    rules = {asset: Rule() for asset in range(1, ASSETS + 1)}
    fixes = sorted(fixes)
    expected = [rules[fix.asset].take(fix) for fix in fixes]
    fleet, found, start = Fleet(), list[int](), 0
    for cut in [*sorted(cuts), len(fixes)]:
        found += fleet.take(fixes[start:cut])
        start = max(start, min(cut, len(fixes)))
    assert found == expected
    assert {asset: suspect.count for asset, suspect in fleet.suspects.items()} == {
        asset: len(rule.chain) for asset, rule in rules.items() if rule.chain
    }


@given(batches, st.integers(0, 40))
def test_no_flag_depends_on_a_later_fix(fixes: list[Point], first: int) -> None:
    fixes = sorted(fixes)
    assert Fleet().take(fixes)[:first] == Fleet().take(fixes[:first])


@given(points, points)
def test_the_way_decides_and_nothing_near_it(before: Point, after: Point) -> None:
    before, after = (replace(point, accuracy=0, speed=0, asset=1) for point in sorted([before, after]))
    needed_mps = way_m(before, after) / ((after.time_ms - before.time_ms) / 1000 + 15)
    assert flags(before, replace(after, max_speed_mps=needed_mps * 1.0001 + 0.01)) == [0, 0]
    if needed_mps > 1:
        assert flags(before, replace(after, max_speed_mps=needed_mps * 0.9999)) == [0, JUMP]


@given(points, points)
def test_what_is_flagged_is_too_fast_on_the_ellipsoid(before: Point, after: Point) -> None:
    before, after = sorted([before, after])
    (x, y), (to_x, to_y) = before.place, after.place
    exact_m = float(WGS84.inv(x / DEGREE, y / DEGREE, to_x / DEGREE, to_y / DEGREE)[2])
    assert 0.9889 * exact_m - 0.01 <= way_m(before, after) <= exact_m + 0.01


def test_an_outlier_is_flagged_and_does_not_poison_what_follows() -> None:
    assert flags(at(0, 13, 52), at(60, 13.01, 52), at(120, 17, 52), at(180, 13.02, 52)) == [0, 0, JUMP, 0]


def test_an_asset_that_was_carried_elsewhere_is_believed_at_the_third_fix() -> None:
    there = [at(120 + 60 * i, 17 + i / 100, 52) for i in range(4)]
    assert flags(at(0, 13, 52), at(60, 13.01, 52), *there) == [0, 0, JUMP, JUMP, 0, 0]


def test_a_first_fix_that_lies_is_overruled_by_three() -> None:
    assert flags(at(0, 0.001, 0), *(at(60 * i, 13, 52 + i / 1000) for i in range(1, 5))) == [0, JUMP, JUMP, 0, 0]


def test_outliers_that_are_far_from_one_another_make_no_chain() -> None:
    assert flags(at(0, 13, 52), at(10, 20, 52), at(20, 30, 52), at(30, 40, 52), at(40, 13, 52)) == [0, *[JUMP] * 3, 0]


def test_after_hours_nothing_is_far() -> None:
    assert flags(at(0, 13, 52), at(16 * 3600, -167, -52)) == [0, 0]


def test_of_two_senders_in_turn_the_first_is_followed() -> None:
    turns = [at(30 * i, 13 if i % 2 == 0 else 17, 52) for i in range(8)]
    assert flags(*turns) == [0, JUMP] * 4


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (at(0, 179.99, -52), at(60, -179.99, -52)),
        (at(0, 180, -52), at(60, -180, -52)),
        (at(0, 10, 89.95), at(60, -170, 89.95)),
        (at(0, 10, 90), at(0, 100, 90)),
    ],
)
def test_the_way_is_the_short_one(before: Point, after: Point) -> None:
    assert flags(before, after) == [0, 0]


def test_a_place_may_be_older_than_its_fix() -> None:
    """An aeroplane at 240 m/s whose place is sent 10 s late, then in time."""
    assert flags(at(0, 8, 47), at(10, 8, 47 + 4_900 / 111_180)) == [0, 0]


def test_accuracy_speaks_for_a_fix_up_to_a_limit() -> None:
    start = at(0, 0, 0, accuracy_m=400)
    assert flags(start, at(1, 0.057, 0, accuracy_m=None)) == [0, JUMP]
    assert flags(start, at(1, 0.057, 0, accuracy_m=400)) == [0, 0]
    assert flags(start, at(1, 1, 0, accuracy_m=1e6)) == [0, JUMP]


def test_a_repeated_place_is_stale_only_if_the_fix_says_that_it_moves() -> None:
    assert flags(at(0, 13, 52, 12), at(1, 13, 52, 1.01), at(2, 13, 52, 1), at(3, 13, 52), at(4, 13, 52, 12)) == [
        0, STALE, 0, 0, STALE,
    ]  # fmt: skip


def test_a_stale_repeat_moves_no_time() -> None:
    """The receiver hung for ten minutes; where it is then is compared with when it was last known."""
    repeats = [at(60 * i, 13, 52, 20) for i in range(1, 10)]
    assert flags(at(0, 13, 52, 20), *repeats, at(600, 14.5, 52, 20)) == [0, *[STALE] * 9, 0]


def test_a_wrong_place_is_not_believed_for_being_repeated() -> None:
    wrong = [at(60 + i, 17, 52, 20) for i in range(6)]
    assert flags(at(0, 13, 52, 20), *wrong) == [0, JUMP, *[STALE] * 5]


def test_a_wrong_place_is_believed_if_the_asset_rests_there() -> None:
    assert flags(at(0, 13, 52, 20), *(at(60 + i, 17, 52, 1) for i in range(4))) == [0, JUMP, JUMP, 0, 0]


def test_an_empty_batch_changes_nothing() -> None:
    assert Fleet().take([]) == []


def test_one_threshold_may_serve_for_all() -> None:
    batch = columns([at(0, 13, 52), at(60, 13.2, 52)])
    assert doubts(batch, np.arange(2), Fleet(), {}, 60.0)[0].tolist() == [0, JUMP]
    assert doubts(batch, np.arange(2), Fleet(), {})[0].tolist() == [0, 0]
