"""The reference itself, case by case of docs/geofences.md: expected is what was worked out by hand, or by others."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings

from tests.domain import engine
from tests.domain.areas import Area, Chord, Polygons, Sampled, distance_m, plain_area
from tests.domain.reference import (
    KINDS,
    SAYS,
    UNIT,
    FixRow,
    TagsChange,
    Told,
    Version,
    Visit,
    events,
    line_of,
    same,
    visits,
)
from tests.domain.worlds import STEP, Arrival, Timetable, World, arrive, box, worlds
from tracker.domain.schedule import Schedule
from tracker.domain.shape import Circle, Corridor, Shapes, polygon

SQUARE: Final = polygon([[box(0, 0, 4, 4)]])
FAR: Final = polygon([[box(100, 100, 101, 101)]])
BUS: Final = frozenset(["bus"])
TRAM: Final = frozenset(["tram"])


def at(time_s: float, x: float = 1, y: float = 1, **fields: Any) -> FixRow:
    """A fix at a place in grid steps."""
    return FixRow(round(time_s * 1000), round(x * STEP), round(y * STEP), **fields)


def fence(shape: Any = SQUARE, number: int = 1, since: int = 1, **options: Any) -> Version:
    return Version(number, 1, since, shape, **options)


def changed(version: Version, from_batch: int, **options: Any) -> list[Version]:
    """A version and the next."""
    after = replace(version, version=version.version + 1, from_batch=from_batch, **options)
    return [replace(version, to_batch=from_batch), after]


def hours(*spans_s: tuple[int, int]) -> Timetable:
    return Timetable(tuple((begin * 1000, end * 1000) for begin, end in spans_s))


def story(
    fixes: Sequence[FixRow],
    *versions: Version,
    tags: Sequence[TagsChange] = (),
    deleted: Mapping[int, int] | None = None,
) -> list[str]:
    return [told_in_short(told) for told in events(fixes, versions, tags, deleted)]


def told_in_short(told: Told) -> str:
    """Such as "enter 10 initial" or "exit 30 crossed 25 at 4,1": seconds and grid steps."""
    words = [told.kind, f"{told.time_ms / 1000:g}"]
    words += ["initial"] if told.initial else []
    words += [told.cause] if told.cause else []
    words += ["crossed", f"{told.crossed_ms / 1000:g}"] if told.crossed_ms is not None else []
    if told.crossed_lon is not None and told.crossed_lat is not None:
        words += ["at", f"{told.crossed_lon / STEP:.4g},{told.crossed_lat / STEP:.4g}"]
    return " ".join(words)


def script(text: str) -> list[FixRow]:
    """Fixes from "0 out, 10 in, 20 unsure", for geofences that have a band of 0 to 100 m."""
    found = []
    for each in text.split(", "):
        time_s, word = each.split()
        x = -1 if word == "out" else 1
        found.append(at(float(time_s), x, alt=None if word == "unsure" else 500))
    return found


BAND: Final[dict[str, Any]] = {"alt_min_m": 0.0, "alt_max_m": 100.0, "max_gap_s": 0.0}


def rule(text: str, **options: Any) -> list[str]:
    """What a script brings about."""
    return story(script(text), fence(**{**BAND, **options}))


# The fixes that a geofence sees ---------------------------------------------------------------------------------------

FIRST: Final = at(0, 0, 0, alt=0, speed=0, course=0, accuracy=0, batch=5)


@pytest.mark.parametrize(
    "later",
    [
        replace(FIRST, time_ms=1, lon=-9, lat=-9, alt=None),
        replace(FIRST, lon=1, lat=-9, alt=None),
        replace(FIRST, lat=1, alt=None),
        replace(FIRST, alt=1, speed=None),
        replace(FIRST, speed=1, course=None),
        replace(FIRST, course=1, accuracy=None),
        replace(FIRST, accuracy=1, batch=1),
        replace(FIRST, batch=6),
    ],
)
def test_fixes_stand_by_time_lon_lat_altitude_speed_course_accuracy_and_batch(later: FixRow) -> None:
    assert FIRST.event_order < later.event_order


@pytest.mark.parametrize("name", ["alt", "speed", "course", "accuracy"])
def test_what_is_not_known_sorts_first(name: str) -> None:
    unknown: dict[str, Any] = {name: None}
    low: dict[str, Any] = {name: -(10**9)}
    assert replace(FIRST, **unknown).event_order < replace(FIRST, **low).event_order


def test_what_was_stored_before_the_geofence_is_never_seen_whatever_comes_late() -> None:
    fixes = [at(0, -1, batch=1), at(10, batch=2), at(20, batch=3), at(5, -1, batch=4)]
    assert story(fixes, fence(since=4)) == []
    assert story([*fixes, at(15, batch=5)], fence(since=4)) == ["enter 15"]
    assert story(fixes, fence(since=3)) == ["enter 20"]


def test_what_is_stored_after_the_end_of_a_geofence_alters_nothing() -> None:
    fixes = [at(0, batch=1), at(10, batch=2)]
    for late in (at(5, -1, batch=3), at(5, -1, batch=4), at(15, -1, batch=3)):
        assert story([*fixes, late], fence(), deleted={1: 3}) == ["enter 0 initial", "exit 10 fence_deleted"]


def test_flagged_fixes_are_seen_by_quality_all_only() -> None:
    fixes = [at(0, flags=2), at(5, -1, flags=8), at(10)]
    assert story(fixes, fence(quality="trusted", max_gap_s=0)) == ["enter 10 initial"]
    assert story(fixes, fence(quality="all", max_gap_s=0)) == ["enter 0 initial", "exit 5", "enter 10"]


def test_an_asset_is_seen_while_it_matches_by_tag_or_by_id() -> None:
    fixes = [at(0, batch=2), at(0, asset=2, batch=2), at(0, asset=3, batch=2)]
    tags = [TagsChange(2, 1, BUS), TagsChange(3, 1, TRAM)]
    found = events(fixes, [fence(tags=BUS, ids=frozenset([1]))], tags)
    assert [told.asset for told in found] == [1, 2]


def test_the_tags_that_count_are_those_when_the_fix_was_stored() -> None:
    fixes = [at(0, -1, batch=2), at(30, batch=2), at(20, -1, batch=5)]
    tags = [TagsChange(1, 1, BUS), TagsChange(1, 4, TRAM)]
    told = ["enter 30 crossed 15 at 0,1", "exit 30 asset_changed"]
    assert story(fixes[:2], fence(tags=BUS), tags=tags) == told
    # The fix at 20 s is the one before, but it is not seen: the run begins at 30 s all the same.
    assert story(fixes, fence(tags=BUS), tags=tags) == ["enter 30 crossed 25 at 0,1", "exit 30 asset_changed"]


def test_of_fixes_equal_in_time_and_place_the_first_is_seen() -> None:
    low, high, unknown = at(0, alt=500), at(0, alt=5_000), at(0)
    band = fence(alt_min_m=100, alt_max_m=1_000)
    assert story([high, low], band) == []
    assert story([high], band) == ["enter 0 initial"]
    assert story([high, unknown], band) == []
    assert story([replace(unknown, flags=2), high], band) == ["enter 0 initial"]


def test_of_equal_fixes_that_are_stored_twice_the_earlier_batch_is_seen() -> None:
    first, again = at(0, batch=1), at(0, batch=9)
    assert [told.version for told in events([again, first], changed(fence(), 5))] == [1]
    assert [told.version for told in events([again], changed(fence(), 5))] == [2]


def test_a_fix_is_judged_by_the_version_that_was_current_when_it_was_stored() -> None:
    versions = changed(fence(), 2, shape=FAR)
    assert story([at(10, -1, batch=1), at(20, -1, batch=1)], *versions) == []
    # Late, between two that the first version judged: the second one holds another place.
    assert story([at(10, -1, batch=1), at(20, -1, batch=1), at(15, 1, batch=2)], *versions) == []
    assert [
        (told.kind, told.version)
        for told in events([at(10, -1, batch=1), at(20, -1, batch=1), at(15, 100, 100, batch=2)], versions)
    ] == [("enter", 2), ("exit", 1)]


# What one fix says ----------------------------------------------------------------------------------------------------

WITHIN_500: Final = Sampled(lambda place: -500.0)
OUTSIDE_300: Final = Sampled(lambda place: 300.0)
ON_EDGE: Final = Sampled(lambda place: 0.0)
EVENING: Final = hours((100, 200))


@pytest.mark.parametrize(
    ("options", "area", "fix", "line"),
    [
        ({}, WITHIN_500, at(0), "inside"),
        ({}, ON_EDGE, at(0), "inside"),
        ({}, OUTSIDE_300, at(0), "outside"),
        # Schedule: its start is in it, its end is not. With absence it does not say when the geofence holds.
        ({"schedule": EVENING}, WITHIN_500, at(99.999), "off schedule"),
        ({"schedule": EVENING}, WITHIN_500, at(100), "inside"),
        ({"schedule": EVENING}, OUTSIDE_300, at(100), "outside"),
        ({"schedule": EVENING}, WITHIN_500, at(199.999), "inside"),
        ({"schedule": EVENING}, WITHIN_500, at(200), "off schedule"),
        ({"schedule": EVENING, "absence": True}, WITHIN_500, at(0), "inside"),
        ({"schedule": EVENING, "absence": True}, OUTSIDE_300, at(0), "outside"),
        ({"schedule": EVENING, "alt_min_m": 0.0}, WITHIN_500, at(0), "off schedule"),
        # Altitude: both ends are in the band, either may be missing.
        ({"alt_min_m": 10.0}, WITHIN_500, at(0), "altitude unknown"),
        ({"alt_max_m": 10.0}, OUTSIDE_300, at(0), "altitude unknown"),
        ({"alt_min_m": 10.0}, WITHIN_500, at(0, alt=99), "altitude outside"),
        ({"alt_min_m": 10.0}, WITHIN_500, at(0, alt=100), "inside"),
        ({"alt_min_m": 10.0}, WITHIN_500, at(0, alt=10**6), "inside"),
        ({"alt_max_m": 10.0}, WITHIN_500, at(0, alt=101), "altitude outside"),
        ({"alt_max_m": 10.0}, WITHIN_500, at(0, alt=100), "inside"),
        ({"alt_max_m": 10.0}, WITHIN_500, at(0, alt=-100), "inside"),
        ({"alt_min_m": 0.0, "alt_max_m": 0.0}, WITHIN_500, at(0, alt=0), "inside"),
        ({"alt_min_m": 0.0, "edge": "certain"}, ON_EDGE, at(0, alt=-1, accuracy=99), "altitude outside"),
        ({"alt_min_m": 0.0, "edge": "certain"}, ON_EDGE, at(0, accuracy=99), "altitude unknown"),
        # Accuracy: only if it is asked for, only if it is known, only if the edge is nearer.
        ({}, ON_EDGE, at(0, accuracy=99_999), "inside"),
        ({"edge": "certain"}, ON_EDGE, at(0), "inside"),
        ({"edge": "certain"}, ON_EDGE, at(0, accuracy=0), "inside"),
        ({"edge": "certain"}, ON_EDGE, at(0, accuracy=1), "uncertain"),
        ({"edge": "certain"}, WITHIN_500, at(0, accuracy=5_000), "inside"),
        ({"edge": "certain"}, WITHIN_500, at(0, accuracy=5_001), "uncertain"),
        ({"edge": "certain"}, OUTSIDE_300, at(0, accuracy=3_000), "outside"),
        ({"edge": "certain"}, OUTSIDE_300, at(0, accuracy=3_001), "uncertain"),
        # Margin: only outside, the farthest included.
        ({"exit_margin_m": 299.9}, OUTSIDE_300, at(0), "outside"),
        ({"exit_margin_m": 300.0}, OUTSIDE_300, at(0), "margin"),
        ({"exit_margin_m": 900.0}, WITHIN_500, at(0), "inside"),
        ({"exit_margin_m": 0.0}, OUTSIDE_300, at(0), "outside"),
        ({"exit_margin_m": 300.0, "edge": "certain"}, OUTSIDE_300, at(0, accuracy=3_001), "uncertain"),
    ],
)
def test_the_first_line_that_fits_counts(options: dict[str, Any], area: Area, fix: FixRow, line: str) -> None:
    assert line_of(fence(**options), area, fix) == line


@pytest.mark.parametrize(
    ("word", "lines"),
    [
        ("in", {"inside"}),
        ("out", {"off schedule", "altitude outside", "outside"}),
        ("unsure", {"altitude unknown", "uncertain", "margin"}),
    ],
)
def test_each_line_says_what_the_table_says(word: str, lines: set[str]) -> None:
    assert {line for line, says in SAYS.items() if says == word} == lines


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text", "told"),
    [
        ({}, "0 in", ["enter 0 initial"]),
        ({}, "0 out", []),
        ({}, "0 unsure", []),
        ({}, "0 out, 10 in, 20 out", ["enter 10", "exit 20"]),
        ({}, "0 in, 10 unsure, 20 in", ["enter 0 initial"]),
        ({}, "0 unsure, 10 in", ["enter 10"]),
        ({"confirm_fixes": 2}, "0 out, 10 in, 20 in", ["enter 20"]),
        ({"confirm_fixes": 2}, "0 out, 10 in, 20 out, 30 in", []),
        ({"confirm_fixes": 2}, "0 out, 10 in, 20 unsure", []),
        ({"confirm_fixes": 2}, "0 out, 10 in, 20 unsure, 30 in", ["enter 30"]),
        ({"confirm_fixes": 2}, "0 in, 10 in", ["enter 10 initial"]),
        ({"confirm_fixes": 2}, "0 in, 10 out, 20 in, 30 in", ["enter 30"]),
        ({"confirm_fixes": 2}, "0 in, 10 in, 20 out, 30 in, 40 out, 50 out", ["enter 10 initial", "exit 50"]),
        ({"confirm_s": 20.0}, "0 out, 10 in, 20 in, 30 in", ["enter 30"]),
        ({"confirm_s": 20.0}, "0 out, 10 in, 29.999 in", []),
        ({"confirm_s": 20.0}, "0 out, 10 in, 40 unsure", []),
        ({"confirm_s": 20.0}, "0 out, 10 in, 20 out, 30 in, 40 in", []),
        ({"confirm_s": 20.0, "confirm_fixes": 3}, "0 in, 20 in", []),
        ({"confirm_s": 20.0, "confirm_fixes": 3}, "0 in, 10 in, 15 in, 20 in", ["enter 20 initial"]),
        ({"confirm_s": 0.001}, "0 in", []),
    ],
)
def test_a_run_of_enough_fixes_that_spans_enough_time_turns_the_side(
    options: dict[str, Any], text: str, told: list[str]
) -> None:
    assert rule(text, **options) == told


def test_an_event_has_the_time_and_place_of_the_fix_that_turned_the_side() -> None:
    [enter, leave] = events([at(0, 1, 1), at(10, 2, 3), at(20, 9, 1), at(30, 9, 2)], [fence(confirm_fixes=2)])
    assert (enter.time_ms, enter.lon, enter.lat) == (10_000, 2 * STEP, 3 * STEP)
    assert (leave.time_ms, leave.lon, leave.lat) == (30_000, 9 * STEP, 2 * STEP)


def test_the_run_is_confirmed_by_the_version_that_judges_the_fix() -> None:
    versions = changed(fence(confirm_fixes=3), 2, confirm_fixes=2)
    late = [at(0, batch=1), at(20, -1, batch=1), at(10, batch=2)]
    told, *_ = events(late, versions)
    assert (told.kind, told.version, told.time_ms) == ("enter", 2, 10_000)


def test_visits_go_from_enter_to_exit() -> None:
    fixes = [at(0), at(10, 9), at(20), at(25, asset=2)]
    assert visits(fixes, [fence(), fence(number=2, shape=FAR)]) == [
        Visit(1, 1, 0, 10_000, initial=True),
        Visit(1, 1, 20_000, None, initial=False),
        Visit(2, 1, 25_000, None, initial=True),
    ]


# The first fix --------------------------------------------------------------------------------------------------------


def is_initial(fixes: Sequence[FixRow], *versions: Version, tags: Sequence[TagsChange] = ()) -> bool:
    """Of the only enter."""
    [told] = [told for told in events(fixes, versions, tags) if told.kind == "enter"]
    return told.initial


def test_initial_is_the_first_in_event_order_not_of_arrival() -> None:
    assert is_initial([at(10, batch=1)], fence())
    assert not is_initial([at(10, batch=1), at(0, -1, batch=2)], fence())


def test_initial_looks_at_what_was_stored_since_the_geofence_was_made() -> None:
    before, first = at(0, -1, batch=1), at(10, batch=2)
    assert is_initial([before, first], fence(since=2))
    assert not is_initial([before, first], fence(since=1))


def test_initial_looks_at_the_quality_that_the_geofence_judges() -> None:
    flagged, first = at(0, -1, flags=2), at(10)
    assert is_initial([flagged, first], fence(quality="trusted"))
    assert not is_initial([flagged, first], fence(quality="all"))


def test_initial_looks_at_all_fixes_of_the_asset_also_at_those_that_were_not_seen() -> None:
    tags = [TagsChange(1, 2, BUS)]
    assert not is_initial([at(0, -1, batch=1), at(10, batch=2)], fence(tags=BUS), tags=tags)


def test_initial_is_of_the_first_fix_of_the_run() -> None:
    assert is_initial([at(0), at(10)], fence(confirm_fixes=2))
    assert not is_initial([at(-10, -1), at(0), at(10)], fence(confirm_fixes=2))


def test_an_enter_by_a_change_is_not_initial() -> None:
    versions = changed(fence(shape=FAR), 2, shape=SQUARE)
    assert not is_initial([at(0, batch=1)], *versions)


# Where the edge was crossed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixes", "told"),
    [
        ([at(0, -1), at(10, 1)], ["enter 10 crossed 5 at 0,1"]),
        ([at(0, -1), at(10, 3)], ["enter 10 crossed 2.5 at 0,1"]),
        ([at(0, -1, -1), at(10, 1, 1)], ["enter 10 crossed 5 at 0,0"]),
        ([at(0, -1), at(10, 0)], ["enter 10 crossed 10 at 0,1"]),
        ([at(0, 1), at(10, 5)], ["enter 0 initial", "exit 10 crossed 7.5 at 4,1"]),
        ([at(0, 4), at(10, 5)], ["enter 0 initial", "exit 10 crossed 0 at 4,1"]),
        # Along the edge, and then away from it.
        ([at(0, 2, 4), at(10, 6, 4)], ["enter 0 initial", "exit 10 crossed 5 at 4,4"]),
        # At one instant at two places.
        ([at(0, -1), at(0, 1)], ["enter 0 crossed 0 at 0,1"]),
        ([at(0, -1), at(300, 1)], ["enter 300 crossed 150 at 0,1"]),
        ([at(0, -1), at(300.001, 1)], ["enter 300.001"]),
    ],
)
def test_a_side_turned_where_the_chord_crosses_the_edge(fixes: list[FixRow], told: list[str]) -> None:
    assert story(fixes, fence()) == told


def test_the_longest_gap_is_an_option() -> None:
    assert story([at(0, -1), at(20, 1)], fence(max_gap_s=20)) == ["enter 20 crossed 10 at 0,1"]
    assert story([at(0, -1), at(20, 1)], fence(max_gap_s=19)) == ["enter 20"]


def test_the_chord_ends_at_the_first_fix_of_the_run() -> None:
    fixes = [at(0, -1), at(10, 1), at(20, 2), at(30, 3)]
    assert story(fixes, fence(confirm_fixes=3)) == ["enter 30 crossed 5 at 0,1"]


def test_a_chord_begins_at_the_previous_fix_even_if_that_decided_nothing() -> None:
    fixes = [at(0, -1, alt=0), at(10, 2), at(20, 1, alt=0)]
    assert story(fixes, fence(alt_min_m=0)) == ["enter 20"]


def test_a_chord_begins_at_the_previous_fix_in_the_quality() -> None:
    fixes = [at(0, -1), at(10, 1, flags=2), at(20, 1)]
    assert story(fixes, fence()) == ["enter 20 crossed 10 at 0,1"]
    assert story(fixes, fence(quality="all")) == ["enter 10 crossed 5 at 0,1"]


def test_no_chord_begins_before_the_geofence_was_made() -> None:
    fixes = [at(0, -1, batch=1), at(10, 1, batch=2)]
    assert story(fixes, fence(since=2)) == ["enter 10 initial"]
    assert story([*fixes, at(5, -1, batch=3)], fence(since=2)) == ["enter 10 crossed 7.5 at 0,1"]
    # The previous one is not believed, though one before it would be.
    assert story([*fixes, at(-5, -1, batch=3)], fence(since=2)) == ["enter 10"]


def test_a_place_that_is_stored_again_since_the_geofence_was_made_counts_as_it_was_stored_first() -> None:
    fixes = [at(0, -1, batch=1), at(10, 1, batch=2)]
    for batch in (2, 3):
        assert story([*fixes, at(0, -1, batch=batch)], fence(since=2)) == ["enter 10"]


def test_a_turn_by_altitude_crosses_no_edge() -> None:
    fixes = [at(0, 1, alt=900), at(10, 2, alt=100), at(20, 3, alt=900)]
    assert story(fixes, fence(alt_max_m=50)) == ["enter 10", "exit 20"]


HORSESHOE: Final = shapely.Polygon(
    [(x / 128, y / 128) for x, y in [(0, 0), (9, 0), (9, 4), (6, 4), (6, 2), (3, 2), (3, 4), (0, 4)]]
)


@pytest.mark.parametrize(
    ("fixes", "told"),
    [
        ([at(0, -1, 3), at(10, 9, 3)], ["enter 10 crossed 1 at 0,3"]),
        ([at(0, 0, 3), at(10, 10, 3)], ["enter 0 initial", "exit 10 crossed 9 at 9,3"]),
        # Along the bottom of the hollow, which is edge.
        ([at(0, -1, 2), at(10, 9, 2)], ["enter 10 crossed 1 at 0,2"]),
        # Through the two tips' corners.
        ([at(0, 10, 4), at(10, 0, 4)], ["enter 10 crossed 1 at 9,4"]),
    ],
)
def test_of_several_crossings_that_counts_which_is_next_to_the_fix_outside(
    fixes: list[FixRow], told: list[str]
) -> None:
    assert story(fixes, fence(HORSESHOE)) == told


def test_the_first_fix_of_the_run_is_measured_by_its_own_version() -> None:
    versions = changed(fence(confirm_fixes=2), 2, shape=polygon([[box(1, 0, 4, 4)]]))
    fixes = [at(0, -1, batch=1), at(10, 3, batch=2), at(20, 3, batch=1), at(30, 3, batch=1)]
    [told, *_] = events(fixes, versions)
    assert (told.version, told_in_short(told)) == (1, "enter 20 crossed 5 at 1,1")


def test_a_chord_goes_the_short_way_around_the_earth() -> None:
    east = 180 * 128
    shape = shapely.MultiPolygon([shapely.box(180 - 2 / 128, 0, 180, 1), shapely.box(-180, 0, -180 + 2 / 128, 1)])
    fixes = [at(0, east - 4, 1), at(10, -east + 1, 1), at(20, -east + 3, 1), at(30, east - 3, 1)]
    assert story(fixes, fence(shape, cross=True)) == [
        f"enter 10 crossed 4 at {east - 2:.4g},1",
        f"exit 20 crossed 15 at {2 - east:.4g},1",
        f"cross 30 crossed 21.667 at {2 - east:.4g},1",
    ]


def test_a_place_beyond_the_antimeridian_is_told_on_its_own_side() -> None:
    east = 180 * 128
    shapes = [polygon([[box(1 - east, 0, 3 - east, 4)]]), polygon([[box(east - 3, 0, east - 1, 4)]])]
    fixes = [at(0, east - 2, 1), at(10, 2 - east, 1), at(20, east - 2, 1)]
    found = events(fixes, [fence(shape, number) for number, shape in enumerate(shapes)])
    assert [(told.kind, told.fence, told.crossed_ms, (told.crossed_lon or 0) / STEP) for told in found] == [
        ("enter", 1, None, 0),
        ("exit", 1, 2_500, east - 1),
        ("enter", 0, 7_500, 1 - east),
        ("exit", 0, 12_500, 1 - east),
        ("enter", 1, 17_500, east - 1),
    ]


def test_a_circle_is_crossed_at_its_radius() -> None:
    shape = Circle(0.0, 0.0, distance_m((0, 0), (2 / 128, 0)))
    [enter, leave] = events([at(0, -3, 0), at(10, 0, 0), at(40, 6, 0)], [fence(shape)])
    assert enter.crossed_ms == pytest.approx(3333, abs=1)
    assert enter.crossed_lon == pytest.approx(-2 * STEP, abs=1)
    assert leave.crossed_ms == pytest.approx(20_000, abs=1)


def test_a_corridor_is_crossed_at_its_buffer() -> None:
    shape = Corridor(((0.0, 0.0), (4 / 128, 0.0)), distance_m((0, 0), (0, 1 / 128)))
    [enter, leave] = events([at(0, 2, -3), at(10, 2, 0), at(20, 2, 2)], [fence(shape)])
    assert enter.crossed_ms == pytest.approx(6_667, abs=1)
    assert leave.crossed_ms == pytest.approx(15_000, abs=1)


# Schedules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spans", "fixes", "told"),
    [
        ([(15, 25)], [at(10), at(20), at(30)], ["enter 20 schedule crossed 15", "exit 30 schedule crossed 25"]),
        ([(20, 30)], [at(10), at(20), at(30)], ["enter 20 schedule crossed 20", "exit 30 schedule crossed 30"]),
        # It moved while the schedule held.
        ([(0, 99)], [at(10, -1), at(20), at(30, -1)], ["enter 20 crossed 15 at 0,1", "exit 30 crossed 25 at 0,1"]),
        # Both: the schedule is asked first.
        ([(15, 25)], [at(10, -1), at(20), at(30, -1)], ["enter 20 schedule crossed 15", "exit 30 schedule crossed 25"]),
        # A first fix was not turned by anything that is known.
        ([(15, 25)], [at(20)], ["enter 20 initial"]),
        # Next to the fix inside, when it began and ended several times between two fixes.
        (
            [(15, 20), (30, 50), (60, 70), (80, 90)],
            [at(10), at(40), at(100)],
            ["enter 40 schedule crossed 30", "exit 100 schedule crossed 50"],
        ),
        # No gap is too long for a schedule.
        ([(500, 999)], [at(0), at(600)], ["enter 600 schedule crossed 500"]),
    ],
)
def test_a_side_that_the_schedule_turned_was_crossed_when_it_began_or_ended(
    spans: list[tuple[int, int]], fixes: list[FixRow], told: list[str]
) -> None:
    assert story(fixes, fence(schedule=hours(*spans))) == told


def test_a_schedule_counts_from_the_first_fix_of_the_run() -> None:
    fixes = [at(10), at(20), at(30), at(40), at(50, -1)]
    told = ["enter 30 schedule crossed 15", "exit 50 schedule crossed 35"]
    assert story(fixes, fence(schedule=hours((15, 35)), confirm_fixes=2)) == told


def test_a_schedule_turned_nothing_before_the_geofence_was_made() -> None:
    fixes = [at(10, batch=1), at(20, batch=2)]
    assert story(fixes, fence(schedule=hours((15, 99)), since=2)) == ["enter 20 initial"]


# Dwell ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 in, 19.999 in", []),
        ("0 in, 20 in", ["dwell 20 crossed 20"]),
        ("0 in, 70 in, 80 in", ["dwell 70 crossed 20"]),
        ("0 in, 30 unsure, 40 in", ["dwell 40 crossed 20"]),
        ("0 in, 30 out", []),
        ("0 in, 10 out, 20 in, 30 in", []),
        ("0 in, 10 out, 20 in, 40 in", ["dwell 40 crossed 40"]),
        ("0 in, 25 in, 30 out, 40 in, 65 in", ["dwell 25 crossed 20", "dwell 65 crossed 60"]),
    ],
)
def test_dwell_is_told_once_in_a_visit_by_the_clock_of_the_fixes(text: str, told: list[str]) -> None:
    assert [each for each in rule(text, dwell_after_s=20.0) if each.startswith("dwell")] == told


def test_a_visit_dwells_on_through_an_exit_that_was_not_confirmed() -> None:
    told = rule("0 in, 1 in, 15 out, 30 in, 31 out, 32 out", dwell_after_s=20.0, confirm_fixes=2)
    assert told == ["enter 1 initial", "dwell 30 crossed 21", "exit 32"]


def test_dwell_goes_on_over_a_change_and_is_told_once() -> None:
    fixes = [at(0, batch=1), at(10, batch=1), at(20, batch=3), at(30, batch=3)]
    versions = changed(fence(dwell_after_s=60), 2, dwell_after_s=15)
    assert story(fixes, *versions) == ["enter 0 initial", "dwell 20 crossed 15"]
    versions = changed(fence(dwell_after_s=10), 2, dwell_after_s=15)
    assert story(fixes, *versions) == ["enter 0 initial", "dwell 10 crossed 10"]


# Cross ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixes", "told"),
    [
        ([at(0, -2), at(10, 8)], ["cross 10 crossed 2 at 0,1"]),
        ([at(0, -2, 4), at(10, 8, 4)], ["cross 10 crossed 2 at 0,4"]),
        ([at(0, -2, 2), at(10, 2, -2)], ["cross 10 crossed 5 at 0,0"]),
        ([at(0, -2, 1), at(10, 2, -2)], []),
        ([at(0, -2), at(10, -1)], []),
        ([at(0, -2), at(300, 8)], ["cross 300 crossed 60 at 0,1"]),
        ([at(0, -2), at(300.001, 8)], []),
        ([at(0, -2), at(0, 8)], ["cross 0 crossed 0 at 0,1"]),
        ([at(0, -2), at(10, 8), at(20, -2), at(30, -2)], ["cross 10 crossed 2 at 0,1", "cross 20 crossed 14 at 4,1"]),
        ([at(0, 8)], []),
        # A visit is no crossing, neither in nor out of it.
        ([at(0, -2), at(10, 1), at(20, 8)], ["enter 10 crossed 6.667 at 0,1", "exit 20 crossed 14.286 at 4,1"]),
    ],
)
def test_a_chord_that_touches_the_shape_between_two_fixes_outside_is_a_cross(
    fixes: list[FixRow], told: list[str]
) -> None:
    assert story(fixes, fence(cross=True)) == told
    assert [each for each in story(fixes, fence()) if each.startswith("cross")] == []


@pytest.mark.parametrize(
    ("options", "fixes"),
    [
        # While the side is inside: the exit is confirmed later, though both say out.
        ({"confirm_fixes": 2}, [at(0), at(1), at(10, -1), at(20, 5)]),
        # While a run is under way, which the fix ends.
        ({"confirm_fixes": 2, "alt_min_m": 0}, [at(0, -1, alt=0), at(10, alt=0), at(20, -1), at(30, 5, alt=0)]),
        # The previous one is unsure, or says in.
        ({"alt_min_m": 0}, [at(0, -1, alt=0), at(10, -1), at(20, 5, alt=0)]),
        ({"confirm_fixes": 2}, [at(0, -1), at(10), at(20, -1)]),
        ({"edge": "certain"}, [at(0, -1, accuracy=10**5), at(20, 5)]),
        ({"exit_margin_m": 10_000}, [at(0, -1), at(20, 5)]),
        # Out by height, or by the hour: nothing passes through what is not there.
        ({"alt_max_m": 50}, [at(0, -1, alt=9_000), at(20, 5, alt=9_000)]),
        ({"schedule": hours((100, 200))}, [at(0, -1), at(20, 5)]),
        ({"schedule": hours((100, 200))}, [at(0), at(20)]),
    ],
)
def test_no_cross_where_the_ends_of_the_chord_are_not_simply_outside(
    options: dict[str, Any], fixes: list[FixRow]
) -> None:
    assert [each for each in story(fixes, fence(cross=True, **options)) if each.startswith("cross")] == []


@pytest.mark.parametrize(
    ("options", "before", "then"),
    [
        # The second version saw the late fix inside: the side is inside when the next one says out.
        ({}, {}, {"shape": polygon([[box(-2, 0, -1, 4)]])}),
        # It is unsure about the late fix: the run of the first is still under way.
        ({"confirm_fixes": 2}, {"fixes": [at(-10, -1)]}, {"alt_min_m": 0.0}),
    ],
)
def test_a_fix_outside_that_another_version_judged_makes_no_cross_of_a_visit(
    options: dict[str, Any], before: dict[str, Any], then: dict[str, Any]
) -> None:
    fixes = [*before.get("fixes", []), at(0, 1), at(10, -1, batch=3), at(20, 8)]
    found = story(fixes, *changed(fence(cross=True, **options), 2, **then))
    assert [each for each in found if each.startswith("cross")] == []


def test_no_cross_from_before_the_geofence_was_made() -> None:
    fixes = [at(0, -2, batch=1), at(10, 8, batch=2)]
    assert story(fixes, fence(cross=True, since=2)) == []
    assert story(fixes, fence(cross=True, since=1)) == ["cross 10 crossed 2 at 0,1"]


def test_the_previous_fix_is_measured_by_the_rule_of_the_one_that_crosses() -> None:
    versions = changed(fence(cross=True), 2, shape=polygon([[box(1, 0, 4, 4)]]))
    fixes = [at(0, 0.5, batch=1), at(10, 8.5, batch=3)]
    assert story(fixes, *versions) == ["enter 0 initial", "exit 0 fence_changed", "cross 10 crossed 0.625 at 1,1"]


def test_a_cross_of_a_circle_begins_at_the_first_touch() -> None:
    shape = Circle(0.0, 0.0, distance_m((0, 0), (1 / 128, 0)))
    [told] = events([at(0, -3, 0), at(10, 7, 0)], [fence(shape, cross=True)])
    assert told.crossed_ms == pytest.approx(2_000, abs=1)
    assert events([at(0, -3, 1.1), at(10, 7, 1.1)], [fence(shape, cross=True)]) == []


# Speeding -------------------------------------------------------------------------------------------------------------

FAST: Final = 3_000
SLOW: Final = 2_000


@pytest.mark.parametrize(
    ("over_for_s", "speeds", "told_s"),
    [
        (0.0, "s s f f s", [20]),
        (0.0, "f", [0]),
        (0.0, "f f s f", [0, 30]),
        (0.0, "f ? f", [0]),
        (20.0, "f f f f", [20]),
        (20.0, "s f f", []),
        (20.0, "f f s f f f", [50]),
        (20.0, "f ? f", [20]),
        (20.0, "f f ?", []),
        (20.0, "f s f f", []),
        (10.0, "f o f f", [30]),
        (0.0, "f o f", [0, 20]),
        (0.0, "o f", [10]),
    ],
)
def test_speeding_is_told_once_in_a_haste_that_has_lasted(over_for_s: float, speeds: str, told_s: list[int]) -> None:
    """The fixes are fast, slow, outside and fast, or at a speed that nobody knows: one each ten seconds."""
    value = {"f": FAST, "o": FAST, "s": SLOW, "?": None}
    fixes = [at(10 * i, -1 if c == "o" else 1, speed=value[c]) for i, c in enumerate(speeds.split())]
    version = fence(speed_limit_mps=20.0, over_for_s=over_for_s, max_gap_s=5)
    assert [told.time_ms for told in events(fixes, [version]) if told.kind == "speeding"] == [s * 1000 for s in told_s]


def test_the_limit_itself_is_not_faster() -> None:
    assert [told.kind for told in events([at(0, speed=SLOW)], [fence(speed_limit_mps=20.0)])] == ["enter"]
    assert [told.kind for told in events([at(0, speed=SLOW + 1)], [fence(speed_limit_mps=20.0)])] == [
        "enter",
        "speeding",
    ]


def test_a_fix_that_says_nothing_of_its_speed_has_that_of_the_chord() -> None:
    fixes = [at(100, 1, speed=0), at(110, 2)]
    mps = distance_m((1 / 128, 1 / 128), (2 / 128, 1 / 128)) / 10
    for limit, kinds in ((mps - 0.01, ["enter", "speeding"]), (mps + 0.01, ["enter"])):
        assert [told.kind for told in events(fixes, [fence(speed_limit_mps=limit)])] == kinds


@pytest.mark.parametrize(
    ("options", "fixes"),
    [
        ({"max_gap_s": 9}, [at(0, 1, speed=0), at(10, 2)]),
        ({}, [at(0, 1, speed=0), at(0, 2)]),
        ({"since": 2}, [at(0, 1, batch=1), at(10, 2, batch=2)]),
        ({}, [at(0)]),
    ],
)
def test_without_a_chord_an_unknown_speed_changes_nothing(options: dict[str, Any], fixes: list[FixRow]) -> None:
    assert [told.kind for told in events(fixes, [fence(speed_limit_mps=1.0, **options)])] == ["enter"]


def test_a_haste_goes_on_while_the_side_is_inside_whatever_a_fix_says() -> None:
    fixes = [at(0, speed=FAST), at(1, speed=FAST), at(5, -1, speed=FAST), at(11, speed=FAST)]
    told = events(fixes, [fence(speed_limit_mps=20.0, over_for_s=10.0, confirm_fixes=2)])
    assert [(each.kind, each.time_ms) for each in told] == [("enter", 1_000), ("speeding", 11_000)]


def test_a_haste_goes_on_over_a_change_unless_that_turns_the_side() -> None:
    fixes = [at(0, speed=FAST, batch=1), at(10, speed=FAST, batch=5)]
    first = fence(speed_limit_mps=20.0)
    assert story(fixes, *changed(first, 2, exit_margin_m=1.0)) == ["enter 0 initial", "speeding 0"]
    one, two = changed(first, 2, shape=FAR)
    two, three = changed(two, 3, shape=SQUARE)
    told = ["enter 0 initial", "speeding 0", "exit 0 fence_changed", "enter 0 fence_changed", "speeding 10"]
    assert story(fixes, one, two, three) == told


def test_a_haste_ends_where_no_limit_is_set() -> None:
    fixes = [at(0, speed=FAST), at(5, speed=FAST, batch=3), at(10, speed=FAST)]
    assert story(fixes, *changed(fence(speed_limit_mps=20.0), 2, speed_limit_mps=None)) == [
        "enter 0 initial",
        "speeding 0",
        "speeding 10",
    ]


# Absence --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 out, 90 out", []),
        ("100 out, 110 out", ["absent 100"]),
        ("0 out, 150 out, 160 out, 190 out", ["absent 150"]),
        ("199.999 out", ["absent 199.999"]),
        ("200 out", []),
        ("150 unsure, 160 out", ["absent 160"]),
        ("150 in, 160 out", ["enter 150 initial", "exit 160", "absent 160"]),
        ("90 in, 150 in", ["enter 90 initial"]),
        ("150 out, 160 in, 170 out", ["absent 150", "enter 160", "exit 170"]),
        ("150 out, 350 out, 360 out", ["absent 150", "absent 350"]),
        ("0 in, 50 out", ["enter 0 initial", "exit 50"]),
    ],
)
def test_absence_is_told_once_in_each_occurrence(text: str, told: list[str]) -> None:
    assert rule(text, absence=True, schedule=hours((100, 200), (300, 400))) == told


def test_an_exit_that_is_not_confirmed_is_no_absence() -> None:
    told = rule("0 in, 1 in, 150 out, 160 in", absence=True, schedule=hours((100, 200)), confirm_fixes=2)
    assert told == ["enter 1 initial"]


@pytest.mark.parametrize("options", [{"absence": True}, {"schedule": hours((100, 200))}])
def test_absence_needs_both_of_its_options(options: dict[str, Any]) -> None:
    assert rule("150 out", **options) == []


def test_an_absence_is_not_told_again_when_the_geofence_changes_within_the_occurrence() -> None:
    versions = changed(fence(absence=True, schedule=hours((100, 200))), 2, schedule=hours((90, 210)))
    assert story([at(150, -1, batch=1), at(160, -1, batch=3)], *versions) == ["absent 150"]


# Order in the feed ----------------------------------------------------------------------------------------------------


def test_events_stand_by_time_asset_and_place() -> None:
    fixes = [at(10, 1, asset=2), at(0, asset=2), at(0, asset=1), at(10, 9, asset=1), at(10, 2, 1, asset=1)]
    found = events(fixes, [fence(FAR), fence(number=2)])
    assert [(told.time_ms, told.asset, told.lon, told.kind) for told in found] == [
        (0, 1, STEP, "enter"),
        (0, 2, STEP, "enter"),
        (10_000, 1, 9 * STEP, "exit"),
    ]


def test_at_one_fix_kinds_stand_in_their_order_and_geofences_by_number() -> None:
    night = hours((0, 1_000))
    left = polygon([[box(-9, -9, -1, 9)]])
    versions = [
        *(fence(left, number, schedule=night, absence=True) for number in (9, 8)),
        *(fence(number=number, dwell_after_s=0.0, speed_limit_mps=20.0) for number in (7, 6)),
        fence(polygon([[box(-0.75, 0, -0.25, 4)]]), 5, cross=True),
        fence(polygon([[box(-0.75, 0, -0.5, 4)]]), 4, cross=True),
    ]
    found = [told for told in events([at(0, -1), at(10, 1, speed=FAST)], versions) if told.time_ms]
    assert [(told.kind, told.fence) for told in found] == [
        *[("exit", 8), ("exit", 9), ("enter", 6), ("enter", 7), ("cross", 4), ("cross", 5)],
        *[("dwell", 6), ("dwell", 7), ("speeding", 6), ("speeding", 7), ("absent", 8), ("absent", 9)],
    ]
    assert list(dict.fromkeys(told.kind for told in found)) == list(KINDS)


def test_what_a_change_brings_about_stands_after_what_its_fix_did() -> None:
    versions = changed(fence(), 2, shape=FAR)
    other = fence(number=2)
    assert [(told.kind, told.fence, told.cause) for told in events([at(0, batch=1)], [*versions, other])] == [
        ("enter", 1, None),
        ("enter", 2, None),
        ("exit", 1, "fence_changed"),
    ]


# Changes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "fix", "told"),
    [
        ({}, {"shape": FAR}, at(0), ["enter 0 initial", "exit 0 fence_changed"]),
        ({"shape": FAR}, {"shape": SQUARE}, at(0), ["enter 0 fence_changed"]),
        ({}, {"shape": polygon([[box(0, 0, 9, 9)]])}, at(0), ["enter 0 initial"]),
        ({}, {"alt_max_m": 50}, at(0), ["enter 0 initial"]),
        ({}, {"alt_max_m": 50}, at(0, alt=501), ["enter 0 initial", "exit 0 fence_changed"]),
        ({"alt_max_m": 50}, {"alt_max_m": None}, at(0), ["enter 0 fence_changed"]),
        ({}, {"schedule": hours((5, 9))}, at(0), ["enter 0 initial", "exit 0 fence_changed"]),
        ({}, {"ids": frozenset([2])}, at(0), ["enter 0 initial", "exit 0 fence_changed"]),
        ({"ids": frozenset([2])}, {"ids": frozenset()}, at(0), ["enter 0 fence_changed"]),
        ({}, {"quality": "all"}, at(0, flags=2), ["enter 0 fence_changed"]),
        ({"confirm_fixes": 2}, {"confirm_fixes": 3}, at(0), ["enter 0 fence_changed"]),
    ],
)
def test_a_new_version_is_asked_about_the_previous_fix(
    before: dict[str, Any], after: dict[str, Any], fix: FixRow, told: list[str]
) -> None:
    assert story([fix], *changed(fence(**before), 2, **after)) == told


def test_a_change_has_its_place_after_the_newest_fix_that_was_stored_before_it() -> None:
    fixes = [at(0, batch=1), at(20, batch=1)]
    late, newer = at(10, -1, batch=3), at(30, batch=3)
    versions = changed(fence(), 2, shape=FAR)
    assert story(fixes, *versions) == ["enter 0 initial", "exit 20 fence_changed"]
    # The late fix stands before the change, and is judged by the new version all the same.
    assert story([*fixes, late, newer], *versions) == [
        "enter 0 initial",
        "exit 10",
        "enter 20 crossed 15 at 0,1",
        "exit 20 fence_changed",
    ]


def test_the_batch_of_a_change_is_the_first_that_the_new_version_judges() -> None:
    fixes = [at(0, batch=1), at(20, batch=2)]
    assert story(fixes, *changed(fence(), 2, shape=FAR)) == ["enter 0 initial", "exit 0 fence_changed"]
    assert story(fixes, *changed(fence(), 3, shape=FAR)) == ["enter 0 initial", "exit 20 fence_changed"]


def test_the_newest_fix_before_a_change_is_of_any_quality() -> None:
    versions = changed(fence(), 2, shape=FAR)
    fixes = [at(0, batch=1), at(20, -1, flags=2, batch=1), at(10, batch=3)]
    assert story(fixes, *versions) == ["enter 0 initial", "exit 10"]
    assert story(fixes[:2], *versions) == ["enter 0 initial", "exit 0 fence_changed"]


def test_the_previous_fix_at_a_change_may_have_come_late() -> None:
    versions = changed(fence(), 2, shape=FAR)
    fixes = [at(0, batch=1), at(20, flags=2, batch=1), at(10, 100, 100, batch=3)]
    assert story(fixes, *versions) == ["enter 0 initial"]


def test_a_change_asks_nothing_that_was_stored_before_the_geofence_was_made() -> None:
    versions = changed(fence(FAR, since=2), 3, shape=SQUARE)
    assert story([at(0, batch=1)], *versions) == []
    assert story([at(0, batch=1), at(-10, batch=2)], *versions) == []
    assert story([at(0, batch=2), at(-10, batch=1)], *versions) == ["enter 0 fence_changed"]


def test_a_change_does_not_ask_an_asset_without_fixes() -> None:
    assert story([at(0, batch=5)], *changed(fence(FAR), 2, shape=SQUARE)) == ["enter 0 initial"]


def test_a_change_ends_runs_and_keeps_the_time_of_the_enter() -> None:
    band = fence(confirm_fixes=2, alt_min_m=0)
    versions = changed(band, 2, alt_max_m=100)
    fixes = [at(0, -1, alt=0, batch=1), at(10, alt=0, batch=1), at(15, batch=1), at(20, alt=0, batch=3)]
    assert story(fixes, *versions) == []
    assert story(fixes, band) == ["enter 20 crossed 5 at 0,1"]
    longer = changed(fence(), 2, shape=polygon([[box(0, 0, 9, 9)]]))
    assert visits([at(0, batch=1), at(10, 20, batch=3)], longer) == [Visit(1, 1, 0, 10_000, initial=True)]


def test_several_changes_at_one_place_happen_in_their_order() -> None:
    first, second = changed(fence(), 2, shape=FAR)
    second, third = changed(second, 3, shape=SQUARE)
    assert [(told.kind, told.version) for told in events([at(0, batch=1)], [first, second, third])] == [
        ("enter", 1),
        ("exit", 2),
        ("enter", 3),
    ]


def test_where_the_quality_becomes_stricter_no_visit_ends_before_it_began() -> None:
    versions = changed(fence(quality="all"), 2, quality="trusted")
    fixes = [at(0, -1, batch=1), at(10, flags=2, batch=1), at(20, flags=2, batch=1)]
    assert visits(fixes, versions) == [Visit(1, 1, 10_000, 20_000, initial=False)]


@pytest.mark.parametrize(
    ("filters", "before", "after", "told"),
    [
        ({"tags": BUS}, BUS, TRAM, ["enter 0 initial", "exit 0 asset_changed"]),
        ({"tags": BUS}, TRAM, BUS, ["enter 0 asset_changed"]),
        ({"tags": BUS}, BUS, BUS | TRAM, ["enter 0 initial"]),
        ({"tags": BUS, "ids": frozenset([1])}, BUS, TRAM, ["enter 0 initial"]),
        ({}, BUS, TRAM, ["enter 0 initial"]),
    ],
)
def test_tags_that_turn_whether_the_asset_matches_are_a_change(
    filters: dict[str, Any], before: frozenset[str], after: frozenset[str], told: list[str]
) -> None:
    tags = [TagsChange(1, 1, before), TagsChange(1, 3, after)]
    assert story([at(0, batch=2)], fence(**filters), tags=tags) == told


def test_tags_that_turn_nothing_end_no_run() -> None:
    tags = [TagsChange(1, 1, BUS), TagsChange(1, 3, BUS | TRAM)]
    fixes = [at(0, -1, batch=2), at(10, batch=2), at(20, batch=4)]
    assert story(fixes, fence(tags=BUS, confirm_fixes=2), tags=tags) == ["enter 20 crossed 5 at 0,1"]


def test_tags_of_others_turn_nothing() -> None:
    tags = [TagsChange(1, 1, BUS), TagsChange(2, 3, BUS)]
    assert story([at(0, batch=2)], fence(tags=BUS), tags=tags) == ["enter 0 initial"]


def test_an_asset_that_matches_again_is_asked_where_it_is() -> None:
    tags = [TagsChange(1, 1, BUS), TagsChange(1, 3, TRAM), TagsChange(1, 5, BUS)]
    fixes = [at(0, batch=2), at(10, -1, batch=4), at(20, batch=4)]
    told = ["enter 0 initial", "exit 0 asset_changed", "enter 20 asset_changed"]
    assert story(fixes, fence(tags=BUS), tags=tags) == told


def test_deleting_a_geofence_closes_its_visits() -> None:
    fixes = [at(0, batch=1), at(10, batch=1), at(20, flags=2, batch=1), at(0, -1, asset=2, batch=1)]
    assert story(fixes, fence(), deleted={1: 2}) == ["enter 0 initial", "exit 10 fence_deleted"]
    assert visits(fixes, [fence()], deleted={1: 2}) == [Visit(1, 1, 0, 10_000, initial=True)]


def test_deleting_closes_a_visit_of_fixes_that_are_no_longer_trusted_enough() -> None:
    versions = changed(fence(quality="all"), 2, quality="trusted")
    fixes = [at(0, flags=2, batch=1)]
    assert story(fixes, *versions, deleted={1: 3}) == ["enter 0 initial", "exit 0 fence_deleted"]


# Arrival --------------------------------------------------------------------------------------------------------------


def told_of(arrival: Arrival) -> tuple[list[Told], list[Visit]]:
    given_ = arrival.fixes, arrival.versions, arrival.tag_history, arrival.deleted
    return events(*given_), visits(*given_)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_any_order_doubling_and_batching_ends_in_the_same_events_and_visits(world: World) -> None:
    assert told_of(world.arrived) == told_of(world.in_order)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_events_make_sense_whatever_happens(world: World) -> None:
    found, stays = told_of(world.in_order)
    places = {(fix.asset, *fix.key) for fix in world.fixes_sorted}
    assert all((told.asset, told.time_ms, told.lon, told.lat) in places for told in found)
    assert all(told.crossed_ms <= told.time_ms for told in found if told.crossed_ms is not None)
    assert all(visit.exit_ms is None or visit.enter_ms <= visit.exit_ms for visit in stays)
    for a, b in pairwise(stays):
        assert (a.asset, a.fence) != (b.asset, b.fence) or (a.exit_ms is not None and a.exit_ms <= b.enter_ms)
    gone = world.in_order.deleted
    assert all(visit.exit_ms is not None for visit in stays if visit.fence in gone)
    assert sum(told.initial for told in found) <= len({(told.asset, told.fence) for told in found})


def test_one_event_may_differ_a_little_in_its_crossing() -> None:
    told = Told("enter", 1, 1, 1, 0, 0, 0, crossed_ms=1000, crossed_lon=1_800_000_000, crossed_lat=5)
    assert same(told, replace(told, crossed_ms=1001, crossed_lon=-1_799_999_999, crossed_lat=6))
    assert not same(told, replace(told, crossed_ms=1002))
    assert not same(told, replace(told, crossed_ms=None))
    assert not same(told, replace(told, crossed_lat=50))
    assert not same(told, replace(told, initial=True))


MONDAY_MS: Final = 4 * 86_400_000
HOUR_MS: Final = 3_600_000


def test_a_timetable_answers_as_a_schedule_does() -> None:
    """Tests that put it in the place of one test what a user has."""
    weekly = [{"days": ["mon"], "from": "08:00", "to": "12:00"}, {"days": ["mon"], "from": "13:00", "to": "17:30"}]
    schedule = Schedule.parse({"time_zone": "UTC", "weekly": weekly})
    spans = ((8.0, 12.0), (13.0, 17.5))
    table = Timetable(tuple((MONDAY_MS + int(a * HOUR_MS), MONDAY_MS + int(b * HOUR_MS)) for a, b in spans))
    times = np.array([at + off for each in table.intervals for at in each for off in (-1, 0, 1)], dtype=np.int64)
    assert schedule.holds(times).tolist() == table.holds(times).tolist()
    assert schedule.occurrence(times).tolist() == table.occurrence(times).tolist()
    for before, after in product(times.tolist(), repeat=2):
        assert schedule.boundary(before, after) == table.boundary(before, after)


# Shapes ---------------------------------------------------------------------------------------------------------------


def test_edges_and_corners_belong_to_a_polygon_and_to_its_holes_rim() -> None:
    ring = Polygons(shapely.Polygon(box(0, 0, 4, 4), [box(1, 1, 3, 3)]))
    places = {(x, y): ring.holds((x / 128, y / 128)) for x in range(-1, 6) for y in range(-1, 6)}
    held = {place for place, holds in places.items() if holds}
    assert held == {(x, y) for x in range(5) for y in range(5)} - {(2, 2)}


def test_a_chord_has_the_stretches_of_a_polygon_that_it_runs_through_or_touches() -> None:
    ring = Polygons(shapely.Polygon(box(0, 0, 4, 4), [box(1, 1, 3, 3)]))

    def stretches(*ends: float) -> list[tuple[float, float]]:
        x1, y1, x2, y2 = (value / 128 for value in ends)
        return [(float(a), float(b)) for a, b in ring.stretches(Chord.between((x1, y1), (x2, y2)))]

    assert stretches(-2, 2, 8, 2) == [(0.2, 0.3), (0.5, 0.6)]
    assert stretches(-2, 4, 8, 4) == [(0.2, 0.6)]
    assert stretches(-1, 1, 1, -1) == [(0.5, 0.5)]
    assert stretches(2, 2, 2, 2) == []
    assert stretches(0, 2, 0, 2) == [(0.0, 1.0)]
    assert stretches(-2, 5, 8, 5) == []


def test_the_edge_of_a_polygon_is_as_far_as_its_nearest_point() -> None:
    square = Polygons(SQUARE)
    for place, nearest in [
        ((2, 1), (2, 0)),
        ((1, 1.05), (0, 1.05)),
        ((1.05, 1), (1.05, 0)),
        ((-3, 2), (0, 2)),
        ((6, 6), (4, 4)),
        ((4, 1), (4, 1)),
    ]:
        expected = distance_m((place[0] / 128, place[1] / 128), (nearest[0] / 128, nearest[1] / 128))
        assert square.edge_m((place[0] / 128, place[1] / 128)) == pytest.approx(expected, abs=0.01)


def test_slanted_chords_meet_slanted_edges_exactly() -> None:
    triangle = Polygons(shapely.Polygon([(0, 0), (8, 4), (0, 4), (0, 0)]))
    for ends, expected in [
        (((0, 8), (4, 0)), [(Fraction(1, 2), Fraction(4, 5))]),
        (((-2, -1), (10, 5)), [(Fraction(1, 6), Fraction(5, 6))]),
        (((6, 5), (10, 3)), [(Fraction(1, 2), Fraction(1, 2))]),
        (((1, 0), (9, 4)), []),
    ]:
        assert triangle.stretches(Chord.between(*ends)) == expected


def test_the_edge_is_as_far_as_the_nearest_of_many_points_on_it() -> None:
    corners = [(10.0, 60.0), (11.5, 60.2), (10.4, 61.0), (10.0, 60.0)]
    along = [(a, b, i / 2_000) for a, b in pairwise(corners) for i in range(2_001)]
    points = [(a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])) for a, b, part in along]
    triangle = Polygons(shapely.Polygon(corners))
    for place in [(10.6, 60.4), (9.0, 61.0), (12.0, 61.0), (11.0, 59.5)]:
        assert triangle.edge_m(place) == pytest.approx(min(distance_m(place, point) for point in points), abs=0.1)


@pytest.mark.parametrize("beside_m", [-200.0, -0.5, 0.5, 5.0])
def test_a_short_touch_of_a_circle_is_found_between_looks(beside_m: float) -> None:
    radius_m = 1_000.0
    lat = (radius_m + beside_m) / distance_m((0, 0), (0, 1))
    area = plain_area(Circle(0.0007, 0.0, radius_m))
    chord = Chord.between((-0.1, lat), (0.1, lat))
    assert isinstance(area, Sampled)
    assert (area.nearest_m(chord) < 0) == (beside_m < 0)
    assert abs(beside_m) > 5 or area.nearest_m(chord) == pytest.approx(beside_m, abs=0.05)
    assert len(area.stretches(chord)) == (beside_m < 0)


# The answers of others ------------------------------------------------------------------------------------------------


def degrees(time_s: float, lon: float, lat: float) -> FixRow:
    return FixRow(round(time_s * 1000), round(lon * UNIT), round(lat * UNIT))


def engine_says(shape: Any, fixes: Sequence[FixRow]) -> list[str]:
    places = np.array([fix.place for fix in fixes]).T
    held = Shapes([shape]).hold(np.zeros(len(fixes), np.int64), *places)
    return ["inside" if each else "outside" for each in held.tolist()]


def test_tile38_detects_the_same(test_data: Path) -> None:
    """What it calls inside and outside is told of every fix: here it is what the fix says, to the engine, too."""
    compared = 0
    for case in json.loads((test_data / "reference" / "tile38_fences.json").read_text()):
        [given_] = case["fences"]
        if given_["shape"] == "circle":
            shape: Any = Circle(given_["lon"], given_["lat"], given_["radius_m"])
        else:
            shape = shapely.box(given_["min_lon"], given_["min_lat"], given_["max_lon"], given_["max_lat"])
        version = fence(shape)
        hours = range(0, 3_600 * len(case["moves"]), 3_600)  # so that no move is a jump
        fixes = [degrees(at_s, move["lon"], move["lat"]) for at_s, move in zip(hours, case["moves"], strict=True)]
        told = events(fixes, [version])
        life = engine.Life()
        life.live(arrive([([version], [fixes])]).steps)
        assert life.told == told
        for fix, move, says in zip(fixes, case["moves"], engine_says(shape, fixes), strict=True):
            assert line_of(version, plain_area(shape), fix) == says
            found = [each.kind for each in told if each.time_ms == fix.time_ms and given_["detect"] is None] + [says]
            assert found == [kind for kind, _ in move["expect"]], case["name"]
            compared += 1
    assert compared == 4


def test_traccar_finds_the_same_inside(test_data: Path) -> None:
    for case in json.loads((test_data / "reference" / "traccar_geofence_cases.json").read_text()):
        shape = traccar_shape(case)
        area, inside = plain_area(shape), [inside for *_, inside in case["points"]]
        assert [area.holds((lon, lat)) for lat, lon, _ in case["points"]] == inside
        fixes = [degrees(0, lon, lat) for lat, lon, _ in case["points"]]
        assert engine_says(shape, fixes) == ["inside" if each else "outside" for each in inside]


def traccar_shape(case: dict[str, Any]) -> Any:
    """Its texts have lat before lon."""
    kind, _, rest = case["geofence"].partition(" (")
    numbers = rest.replace("(", "").replace(")", "").split(",")
    if kind == "CIRCLE":
        lat, lon = map(float, numbers[0].split())
        return Circle(lon, lat, float(numbers[1]))
    path = [(float(lon), float(lat)) for lat, lon in (pair.split() for pair in numbers)]
    return shapely.Polygon(path) if kind == "POLYGON" else Corridor(tuple(path), float(case["polyline_distance_m"]))


SURE_M: Final = 0.02  # nearer to an edge than this, rounding to 1e-7 degrees may put a fix on the other side


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cabs_enter_and_leave_the_tracts_of_san_francisco_as_ray_casting_says(test_data: Path) -> None:
    """The first fixes of three cabs. Whoever wrote the answers used neither this program nor GEOS."""
    answers = rows(test_data / "reference" / "sf_fence_events_10cabs.csv.gz")
    cabs = sorted({row["device"] for row in answers})[:3]
    track = [
        replace(
            degrees(int(row["time_ms"]) / 1000, float(row["lon"]), float(row["lat"])), asset=cabs.index(row["device"])
        )
        for row in rows(test_data / "tracks" / "sf_cabs_4days.csv.gz")
        if row["device"] in cabs
    ]
    fixes = [
        fix for asset in range(3) for fix in sorted((f for f in track if f.asset == asset), key=lambda f: f.key)[:200]
    ]
    last_ms = [max(fix.time_ms for fix in fixes if fix.asset == asset) for asset in range(3)]
    tracts = san_francisco(test_data)
    made = [fence(area, number, max_gap_s=0.0) for number, area in enumerate(tracts.values())]
    found = {
        (cabs[told.asset], told.time_ms, "initial" if told.initial else told.kind, list(tracts)[told.fence])
        for told in events(fixes, made)
    }
    wanted = {
        (row["device"], int(row["time_ms"]), row["event"], row["fence"]) for row in answers if row["device"] in cabs
    }
    wanted = {each for each in wanted if each[1] <= last_ms[cabs.index(each[0])]}
    close = {
        (row["device"], row["fence"])
        for row in rows(test_data / "reference" / "sf_fence_membership_10cabs.csv.gz")
        if float(row["boundary_m"]) < SURE_M
    }
    assert len(wanted) > 300
    assert {each for each in found ^ wanted if (each[0], each[3]) not in close} == set()


def san_francisco(test_data: Path) -> dict[str, Any]:
    with gzip.open(test_data / "polygons" / "sf_geofences.geojson.gz", "rt", encoding="utf-8") as file:
        features = json.load(file)["features"]
    layers = ("sf_tract_2010", "sf_find_neighborhood")
    return {
        each["id"]: shapely.geometry.shape(each["geometry"])
        for each in features
        if each["properties"]["layer"] in layers
    }
