"""Judging batch by batch, in event order, against the reference; and what noise and great distances must not bring."""

import csv
import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given

from tests.domain.engine import Life, differences, doubts_of, expected, folded, patient, punctual, some
from tests.domain.reference import UNIT, FixRow, TagsChange, Told, Version
from tests.domain.test_reference import SURE_M, rows, san_francisco
from tests.domain.worlds import STEP, Arrival, Batch, Timetable, arrive, box, is_close_call
from tracker.domain.shape import Shapes, polygon

SQUARE = polygon([[box(0, 0, 4, 4)]])
DEGREE_M = 111_319.49  # along the equator


@patient
@some(60)
@given(punctual())
def test_what_comes_in_event_order_is_told_at_once(arrival: Arrival) -> None:
    life = Life()
    life.live(arrival.steps)
    assert not life.late
    assert life.doubts == doubts_of(arrival.fixes)
    assert differences(life.told, expected(arrival)) == [] or is_close_call(arrival)


def told(fixes: Sequence[FixRow], *versions: Version, size: int = 0) -> list[Told]:
    """What is told at once of fixes that come in batches of a size, all in one without."""
    parts = [fixes[at : at + (size or len(fixes))] for at in range(0, len(fixes), size or len(fixes))]
    life, arrival = Life(), arrive([(versions, parts)])
    life.live(arrival.steps)
    assert differences(life.told, expected(arrival)) == []
    return life.told


def fence(shape: Any = SQUARE, **options: Any) -> Version:
    return Version(1, 1, 1, shape, **options)


def at(time_s: float, x: float = 1, y: float = 1, **fields: Any) -> FixRow:
    """A fix at a place in grid steps."""
    return FixRow(round(time_s * 1000), round(x * STEP), round(y * STEP), **fields)


@pytest.mark.parametrize("options", [{"cross": True}, {"confirm_fixes": 2}, {"dwell_after_s": 5.0}])
def test_a_batch_of_flagged_fixes_alone_troubles_no_geofence_with_options(options: dict[str, Any]) -> None:
    assert told([at(0, flags=2), at(10, flags=8)], fence(**options)) == []


@pytest.mark.parametrize("quality", ["trusted", "all"])
def test_a_cross_and_an_absence_are_told_once(quality: str) -> None:
    hours = Timetable(((0, 60_000),))
    crossing = told([at(0, -1), at(10, 5)], fence(cross=True, quality=quality))
    absent = told([at(0, -1), at(10, -2)], fence(schedule=hours, absence=True, quality=quality))
    assert [each.kind for each in crossing + absent] == ["cross", "absent"]


def test_a_geofence_that_is_off_duty_is_not_crossed() -> None:
    hours = Timetable(((100_000, 200_000),))
    assert told([at(0, -1), at(10, 5)], fence(cross=True, schedule=hours)) == []


@pytest.mark.parametrize(
    ("fixes", "crossed_s"),
    [
        ([at(0), at(70)], [60, None]),  # it ended at 60, wherever the asset went
        ([at(0), at(70, 9)], [60, None]),
        ([at(0), at(150)], [60, None]),  # the first end after the fix before
        ([at(70), at(110), at(125)], [120, 100]),
    ],
)
def test_an_hour_is_crossed_when_the_schedule_turns(fixes: list[FixRow], crossed_s: list[int | None]) -> None:
    hours = Timetable(((-50_000, 60_000), (100_000, 120_000)))
    for max_gap_s in (1.0, 300.0):
        enter, exit_ = told(fixes, fence(schedule=hours, max_gap_s=max_gap_s))[-2:]
        assert (enter.kind, exit_.kind, exit_.cause) == ("enter", "exit", "schedule")
        assert [each.crossed_ms for each in (exit_, enter)] == [None if s is None else 1000 * s for s in crossed_s]
        assert (enter.crossed_lon, exit_.crossed_lon) == (None, None), "an hour is no place"


# At the very threshold ------------------------------------------------------------------------------------------------


FAST_FOR_10_S: dict[str, Any] = {"speed_limit_mps": 30.0, "over_for_s": 10.0}


@pytest.mark.parametrize(
    ("options", "fixes", "kinds"),
    [
        ({"confirm_fixes": 2}, [at(0, -1), at(10)], []),
        ({"confirm_fixes": 2}, [at(0, -1), at(10), at(20)], ["enter"]),
        ({"confirm_s": 20.0}, [at(0, -1), at(10), at(29.999)], []),
        ({"confirm_s": 20.0}, [at(0, -1), at(10), at(30)], ["enter"]),
        ({"dwell_after_s": 20.0}, [at(0), at(19.999)], ["enter"]),
        ({"dwell_after_s": 20.0}, [at(0), at(20)], ["enter", "dwell"]),
        ({"speed_limit_mps": 30.0}, [at(0, speed=3_000), at(10, 1.1, speed=3_000)], ["enter"]),
        ({"speed_limit_mps": 30.0}, [at(0, speed=3_001)], ["enter", "speeding"]),
        (FAST_FOR_10_S, [at(0, speed=3_001), at(9.999, 1.1, speed=3_001)], ["enter"]),
        (FAST_FOR_10_S, [at(0, speed=3_001), at(10, 1.1, speed=3_001)], ["enter", "speeding"]),
        ({"alt_min_m": 10.0}, [at(0, alt=100)], ["enter"]),
        ({"alt_min_m": 10.0}, [at(0, alt=99)], []),
        ({"alt_max_m": 10.0}, [at(0, alt=100)], ["enter"]),
        ({"alt_max_m": 10.0}, [at(0, alt=101)], []),
        ({"edge": "certain"}, [at(0, 0, accuracy=0)], ["enter"]),
        ({"edge": "certain"}, [at(0, 0, accuracy=1)], []),
        ({"schedule": Timetable(((0, 10_000),)), "absence": True}, [at(0, -1), at(5, -1), at(9, -1)], ["absent"]),
        ({"schedule": Timetable(((0, 10_000),))}, [at(0), at(9.999)], ["enter"]),
        ({"schedule": Timetable(((0, 10_000),))}, [at(0), at(10)], ["enter", "exit"]),
        ({"max_gap_s": 10.0}, [at(0, -1), at(10)], ["enter"]),
        ({"max_gap_s": 10.0}, [at(0, -1), at(10.001)], ["enter"]),
        ({"max_gap_s": 10.0, "cross": True}, [at(0, -1), at(10, 5)], ["cross"]),
        ({"max_gap_s": 10.0, "cross": True}, [at(0, -1), at(10.001, 5)], []),
        ({"cross": True, "exit_margin_m": 1_000.0}, [at(0, -2), at(10, 5)], []),
        ({"cross": True, "exit_margin_m": 1_000.0}, [at(0, -1), at(10, 6)], []),
        ({"cross": True, "exit_margin_m": 1_000.0}, [at(0, -2), at(10, 6)], ["cross"]),
    ],
)  # fmt: skip
def test_a_threshold_belongs_to_the_side_that_the_definition_names(
    options: dict[str, Any], fixes: list[FixRow], kinds: list[str]
) -> None:
    assert [each.kind for each in told(fixes, fence(**options))] == kinds


@pytest.mark.parametrize(("factor", "kinds"), [(1.0, ["enter"]), (1 - 1e-12, ["enter", "exit"])])
def test_the_exit_margin_ends_with_itself(factor: float, kinds: list[str]) -> None:
    outside = at(10, 5)
    away_m = Shapes([SQUARE]).edge_distances_m(np.zeros(1, np.int64), *np.array([outside.place]).T)
    life = Life()
    life.live(arrive([([fence(exit_margin_m=float(away_m[0]) * factor)], [[at(0), outside]])]).steps)
    assert [each.kind for each in life.told] == kinds


def lived(*steps: Version | Batch) -> Life:
    """Batches with numbers of their own; a geofence is in force from the very batch that it names."""
    life = Life()
    life.live(steps)
    return life


def batch(number: int, *fixes: FixRow) -> Batch:
    return Batch(number, tuple(replace(fix, batch=number) for fix in fixes))


def test_what_was_stored_in_the_first_batch_of_a_geofence_was_seen_by_it() -> None:
    made = replace(fence(), from_batch=2)
    before = batch(1, at(0, -1))
    [enter] = lived(before, made, batch(2, at(10, -1)), batch(3, at(20))).told
    assert (enter.initial, enter.crossed_ms) == (False, 15_000)
    [first] = lived(before, made, batch(2, at(20))).told
    assert (first.initial, first.crossed_ms) == (True, None)


def test_a_repeat_of_the_newest_fix_is_late_only_for_a_geofence_made_since() -> None:
    rest = {"alt": 5, "speed": 6, "course": 7, "accuracy": 8}
    first, again = batch(1, at(0, -1, **rest)), batch(2, at(0, -1, **rest))
    assert lived(fence(), first, again).late == set()
    assert lived(first, replace(fence(), from_batch=2), again).late == {1}
    assert lived(fence(), first, batch(2, at(0, -1, **rest | {"accuracy": 9}))).late == set()
    assert lived(fence(), first, batch(2, at(0, -1, **rest | {"accuracy": 7}))).late == {1}
    assert lived(fence(), first, batch(2, at(0, -2))).late == {1}


def test_a_jump_decides_nothing() -> None:
    far = polygon([[box(100, 100, 104, 104)]])
    assert told([at(0, -1), at(10, 102, 102), at(20, -1)], fence(far)) == []
    assert [each.kind for each in told([at(0, -1), at(10, 102, 102)], fence(far, quality="all"))] == ["enter"]


@pytest.mark.parametrize(
    ("asset", "admitted"), [(1, True), (2, False)], ids=["one of its ids", "another without its tag"]
)
def test_an_asset_is_judged_by_id_or_by_tag(asset: int, admitted: bool) -> None:
    either = fence(ids=frozenset([1]), tags=frozenset(["bus"]))
    assert bool(told([at(0, asset=asset)], either)) is admitted
    tagged = TagsChange(asset, 1, frozenset(["bus"]))
    life = Life()
    life.live(arrive([([tagged, either], [[at(0, asset=asset)]])]).steps)
    assert [each.kind for each in life.told] == ["enter"]


@pytest.mark.parametrize("turned", [1, -1])
def test_what_lies_at_the_antimeridian_is_crossed_on_the_way_over_it(turned: int) -> None:
    """And nothing on the other side of the earth is."""
    small = [sorted([turned * 179.6, turned * 179.8]), [turned * -0.2, turned * 0.2]]
    over = [FixRow(0, turned * 1_794_000_000, 0), FixRow(60_000, turned * -1_799_000_000, 0)]
    life = Life()
    made = [Version(number, 1, 1, shapely.box(min(x), -1, max(x), 1), cross=True, quality="all")
            for number, x in enumerate(small, 1)]  # fmt: skip
    life.live(arrive([(made, [over])]).steps)
    assert [(each.kind, each.fence) for each in life.told] == [("cross", 1)]


# What must not be told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"exit_margin_m": 200.0}, {"confirm_fixes": 30}, {"confirm_s": 900.0}],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_day_parked_on_an_edge_enters_and_leaves_at_most_once(options: dict[str, Any], seed: int) -> None:
    """A receiver that errs by 30 m, each way, every half minute."""
    chance = random.Random(seed)
    unit = UNIT / DEGREE_M
    fixes = [
        FixRow(30_000 * i, round(chance.gauss(0, 30) * unit), round(chance.gauss(0, 30) * unit + 2 * STEP))
        for i in range(2_880)
    ]
    life = Life()
    life.live(arrive([([fence(**options)], [fixes[at : at + 97] for at in range(0, len(fixes), 97)])]).steps)
    kinds = [each.kind for each in life.told]
    assert kinds.count("enter") <= 1
    assert kinds.count("exit") <= 1
    plain = Life()
    plain.live(arrive([([fence()], [fixes])]).steps)
    assert len(plain.told) > 500, "without options the border flaps"


@pytest.mark.parametrize("start_m", range(0, 150, 10))
def test_a_small_geofence_is_not_missed_at_speed(start_m: int) -> None:
    """60 m wide, at 30 m/s, a fix each 5 s: told as a visit or as a cross, once."""
    degree = 1 / DEGREE_M
    small = shapely.box(0, -0.001, 60 * degree, 0.001)
    fixes = [FixRow(5_000 * i, round((start_m - 900 + 150 * i) * degree * UNIT), 0) for i in range(14)]
    for size in (0, 1, 3):
        kinds = [each.kind for each in told(fixes, fence(small, cross=True), size=size)]
        assert kinds in (["cross"], ["enter", "exit"])


def tracks(path: Path, every: int = 1) -> dict[str, list[FixRow]]:
    """Of each vessel or storm, in event order."""
    found: dict[str, dict[tuple[int, int, int], FixRow]] = defaultdict(dict)
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        for row in list(csv.DictReader(file))[::every]:
            fix = FixRow(int(row["time_ms"]), round(float(row["lon"]) * UNIT), round(float(row["lat"]) * UNIT))
            found[row["device"]][fix.key] = fix
    return {name: [fixes[key] for key in sorted(fixes)] for name, fixes in found.items()}


def seam(fixes: Sequence[FixRow]) -> list[FixRow]:
    """The first fixes after the antimeridian."""
    return [b for a, b in pairwise(fixes) if abs(a.lon - b.lon) > 180 * UNIT]


@pytest.mark.parametrize("name", ["vendee_globe_2020", "storms_nepac_1949_2013"])
def test_the_antimeridian_is_no_edge_for_those_who_cross_it(test_data: Path, name: str) -> None:
    """Nothing is told at it, of a band of 20 degrees around it, of the oceans that go on beyond, and of all that lies
    elsewhere: a tour of the world would cross that.
    """
    band = shapely.MultiPolygon([shapely.box(170, -80, 180, 80), shapely.box(-180, -80, -170, 80)])
    with gzip.open(test_data / "polygons" / "marine_areas_110m.geojson.gz", "rt", encoding="utf-8") as file:
        features = json.load(file)["features"]
    seas = [shapely.geometry.shape(f["geometry"]) for f in features if " PACIFIC" in f["properties"]["name"]]
    made = [Version(number, 1, 1, area, max_gap_s=86_400.0) for number, area in enumerate([band, *seas])]
    elsewhere = shapely.box(-100, -80, 100, 80)
    made.append(Version(len(made), 1, 1, elsewhere, max_gap_s=86_400.0, cross=True))
    strip = shapely.MultiPolygon([shapely.box(179.9, -80, 180, 80), shapely.box(-180, -80, -179.9, 80)])
    made.append(Version(len(made), 1, 1, strip, max_gap_s=86_400.0, cross=True))
    edge_of = {0: 1_700_000_000, len(made) - 1: 1_799_000_000}
    crossed = 0
    for fixes in tracks(test_data / "tracks" / f"{name}.csv.gz").values():
        at_seam = seam(fixes)
        if not at_seam:
            continue
        crossed += 1
        life = Life()
        life.live(arrive([(made, [fixes])]).steps)
        at_strip = [each for each in life.told if each.fence == len(made) - 1]
        others = [each for each in life.told if each.fence != len(made) - 1]
        assert not {fix.key for fix in at_seam} & {(e.time_ms, e.lon, e.lat) for e in others}
        assert at_strip, "the strip is passed or entered with the antimeridian"
        for each in life.told:
            if each.fence in edge_of and each.crossed_lon is not None:
                assert abs(abs(each.crossed_lon) - edge_of[each.fence]) <= 1
        within = [False, *(abs(fix.lon) >= 170 * UNIT for fix in fixes)]
        passes = ["enter" if after else "exit" for before, after in pairwise(within) if before != after]
        assert [each.kind for each in life.told if each.fence == 0] == passes
        assert "cross" not in [each.kind for each in others]
    assert crossed >= 10


def cabs_of(test_data: Path, names: Sequence[str]) -> dict[int, list[FixRow]]:
    """Of each, by its place among the names, in event order."""
    found = tracks(test_data / "tracks" / "sf_cabs_4days.csv.gz")
    return {
        asset: [replace(fix, asset=asset) for fix in sorted(found[name], key=lambda fix: fix.event_order)]
        for asset, name in enumerate(names, 1)
    }


@pytest.mark.parametrize("order", ["sorted", "shuffled and doubled"])
def test_ten_cabs_over_the_tracts_of_san_francisco(test_data: Path, order: str) -> None:
    """All their fixes, against answers that neither this program nor GEOS had part in."""
    answers = rows(test_data / "reference" / "sf_fence_events_10cabs.csv.gz")
    names, areas = sorted({row["device"] for row in answers}), san_francisco(test_data)
    made = [Version(number, 1, 1, area) for number, area in enumerate(areas.values(), 1)]
    fixes = [fix for mine in cabs_of(test_data, names).values() for fix in mine]
    if order == "sorted":
        arriving = sorted(fixes, key=lambda fix: fix.event_order)
    else:
        arriving = random.Random(3).sample([*fixes, *fixes], 2 * len(fixes))
    arrival = arrive([(made, [arriving[at : at + 4_000] for at in range(0, len(arriving), 4_000)])])
    if order == "sorted":
        life = Life()
        life.live(arrival.steps)
        told_of, doubts = life.told, life.doubts
    else:
        told_of, doubts = folded(arrival, range(0, 2 * len(fixes), 4_000))
    fences = list(areas)
    found: Counter[tuple[str, int, str, str]] = Counter(
        (names[e.asset - 1], e.time_ms, "initial" if e.initial else e.kind, fences[e.fence - 1]) for e in told_of
    )
    wanted = Counter((row["device"], int(row["time_ms"]), row["event"], row["fence"]) for row in answers)
    jumped = {(names[asset - 1], key[0]) for asset, key in doubts}
    membership = rows(test_data / "reference" / "sf_fence_membership_10cabs.csv.gz")
    close = {(row["device"], row["fence"]) for row in membership if float(row["boundary_m"]) < SURE_M}
    wrong = [each for each in (found - wanted) + (wanted - found) if (each[0], each[3]) not in close]
    print(f"{order}: {len(fixes)} fixes, {wanted.total()} events wanted, {found.total()} told, {len(wrong)} wrong, "
          f"{len(jumped)} jumps, {len(close)} pairs too close to tell")  # fmt: skip
    assert wrong == []
    assert wanted.total() > 37_000


def test_batches_may_be_cut_anywhere() -> None:
    fixes = [at(10 * i, i % 7 - 1, 1, speed=3_000 * (i % 3)) for i in range(40)]
    version = fence(confirm_fixes=2, dwell_after_s=15.0, cross=True, speed_limit_mps=20.0, over_for_s=10.0)
    whole = told(fixes, version)
    assert whole
    for size in (1, 2, 3, 7):
        assert told(fixes, version, size=size) == whole


def test_life_is_what_it_says() -> None:
    """The driver itself: a batch of nothing but what is late changes nothing and says so."""
    life = Life()
    life.live(arrive([([fence()], [[at(10)], [at(0, 9)]])]).steps)
    assert (len(life.told), life.late) == (1, {1})
    assert isinstance(arrive([([], [[at(0)]])]).steps[0], Batch)
