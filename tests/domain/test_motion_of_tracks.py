"""Stops and trips of real tracks, against what others found in them. Prints its scores (pytest -s)."""

import csv
import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32, Columns, Floats, Ints
from tracker.domain.geodesy import WGS84, distances_m
from tracker.domain.motion.rule import Rule
from tracker.domain.motion.state import motion
from tracker.domain.motion.stops import Stop
from tracker.domain.motion.survey import Survey
from tracker.domain.motion.trips import Span, Trip

EVER: Span = (-(2**61), 2**61)
CABS = 60  # of 246: enough for two digits
SEEN_MS = 900_000  # what lies in a longer silence, nobody saw


def columns_of(time_ms: Ints, lon: Floats, lat: Floats, speed_mps: Floats | None = None) -> Columns:
    count = len(time_ms)
    unknown = np.full(count, UNKNOWN_INT32, np.int32)
    speed = unknown if speed_mps is None else np.rint(speed_mps * 100).astype(np.int32)
    columns = Columns(
        np.ones(count, np.int32), np.ones(count, np.int32), time_ms.astype(np.int64),
        np.rint(lon * DEGREE).astype(np.int32), np.rint(lat * DEGREE).astype(np.int32),
        unknown, speed, np.full(count, UNKNOWN_INT16, np.int16), unknown, np.zeros(count, np.int16), None,
    )  # fmt: skip
    return columns.take(np.lexsort((columns.lat, columns.lon, columns.time_ms)))


def surveyed(columns: Columns, rule: Rule, now_ms: int = 2**61) -> tuple[list[Stop], list[Trip], Survey]:
    survey = Survey(rule, EVER)
    found = [survey.feed(columns, columns.flags == 0), survey.end(2**62, now_ms)]
    return [stop for each in found for stop in each.stops], [trip for each in found for trip in each.trips], survey


def tracks(path: Path, *columns: str, most: int | None = None) -> Iterator[tuple[str, Any]]:
    """Each device and its rows of numbers: time_ms, lon, lat and what else is asked for."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if most is not None and row["device"] not in rows and len(rows) == most:
                break
            numbers = tuple(float(row[name]) for name in ("time_ms", "lon", "lat", *columns))
            rows.setdefault(row["device"], []).append(numbers)
    for device, each in rows.items():
        yield device, np.array(sorted(each))


# Time shared by two lists of spans -----------------------------------------------------------------------------------


def spans(found: list[Stop] | list[Trip]) -> list[Span]:
    return [(each.from_ms, each.to_ms) for each in found]


def lasting(each: list[Span]) -> int:
    return sum(end - start for start, end in each)


def shared(one: list[Span], other: list[Span]) -> list[Span]:
    """What two lists of spans have in common; neither overlaps itself."""
    found, i, j = [], 0, 0
    one, other = sorted(one), sorted(other)
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            found.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def seen(time_ms: Ints) -> list[Span]:
    return [(a, b) for a, b in pairwise(time_ms.tolist()) if b - a <= SEEN_MS]


@pytest.fixture(scope="module")
def printed() -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    print("\n" + "\n".join(lines))


def references(test_data: Path, name: str) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    with (test_data / "reference" / f"stops_{name}_sf.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["device"], []).append((int(row["start_ms"]), int(row["end_ms"])))
    return found


@pytest.mark.parametrize(("name", "precision", "recall"), [("movingpandas", 0.97, 0.95), ("trackintel", 0.6, 0.5)])
def test_stops_are_where_others_find_them(
    test_data: Path, printed: list[str], name: str, precision: float, recall: float
) -> None:
    cabs = dict(tracks(test_data / "tracks" / "sf_cabs_4days.csv.gz", most=20))
    for diameter_m in (50, 100, 200):
        ours_ms = theirs_ms = both_ms = ours = theirs = hit = 0
        for cab, reference in references(test_data, name).items():
            track = cabs[cab]
            columns = columns_of(track[:, 0], track[:, 1], track[:, 2])
            stops = spans(surveyed(columns, Rule(stop_diameter_m=diameter_m))[0])
            ours, theirs = ours + len(stops), theirs + len(reference)
            hit += sum(2 * lasting(shared([each], stops)) >= each[1] - each[0] for each in reference)
            in_sight = seen(columns.time_ms)
            stops, reference = shared(stops, in_sight), shared(reference, in_sight)  # noqa: PLW2901 - what was seen of it
            ours_ms, theirs_ms = ours_ms + lasting(stops), theirs_ms + lasting(reference)
            both_ms += lasting(shared(stops, reference))
        printed.append(
            f"{name:13} diameter {diameter_m:3} m: precision {both_ms / ours_ms:.3f}, recall {both_ms / theirs_ms:.3f}"
            f" of the time seen; {ours} stops, theirs {theirs}, of which {hit} are covered by half or more"
        )
        if diameter_m == Rule().stop_diameter_m:
            assert both_ms / ours_ms > precision
            assert both_ms / theirs_ms > recall


def test_passengers_are_driven_and_waiting_cabs_are_empty(test_data: Path, printed: list[str]) -> None:
    ridden_ms = driven_ms = stood_ms = vacant_ms = waited_ms = rides = whole = stops_found = 0
    for _, track in tracks(test_data / "tracks" / "sf_cabs_4days.csv.gz", "occupied", most=CABS):
        time_ms, occupied = track[:, 0].astype(np.int64), track[:, 3] == 1
        stops, trips, _ = surveyed(columns_of(time_ms, track[:, 1], track[:, 2]), Rule())
        stops_found += len(stops)
        in_sight = np.diff(time_ms) <= SEEN_MS
        steps = np.column_stack([time_ms[:-1], time_ms[1:]])
        riding = [(a, b) for a, b in steps[occupied[:-1] & occupied[1:] & in_sight].tolist()]
        vacant = [(a, b) for a, b in steps[~occupied[:-1] & ~occupied[1:] & in_sight].tolist()]
        ridden_ms, vacant_ms = ridden_ms + lasting(riding), vacant_ms + lasting(vacant)
        driven_ms += lasting(shared(riding, spans(trips)))
        stood_ms += lasting(shared(riding, spans(stops)))
        waited_ms += lasting(shared(vacant, spans(stops)))
        each_ride = [(a, b) for a, b in joined(riding) if b - a >= 120_000]
        rides += len(each_ride)
        whole += sum(lasting(shared([ride], spans(trips))) == ride[1] - ride[0] for ride in each_ride)
    printed.append(
        f"occupied flag of {CABS} cabs: {driven_ms / ridden_ms:.3f} of riding time is in trips (recall), stops are"
        f" vacant for {waited_ms / (waited_ms + stood_ms):.3f} of their time seen (precision; by chance"
        f" {vacant_ms / (vacant_ms + ridden_ms):.3f}); {whole / rides:.3f} of {rides} rides lie in one trip;"
        f" {stops_found} stops"
    )
    assert driven_ms / ridden_ms > 0.97
    assert waited_ms / (waited_ms + stood_ms) > 0.93
    assert whole / rides > 0.95


def joined(steps: list[Span]) -> list[Span]:
    """Steps that follow each other, as one span."""
    found: list[Span] = []
    for start, end in steps:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def test_boats_over_the_antimeridian_sail_as_far_as_their_line_is_long(test_data: Path, printed: list[str]) -> None:
    total_m = 0.0
    for _, track in tracks(test_data / "tracks" / "vendee_globe_2020.csv.gz"):
        columns = columns_of(track[:, 0], track[:, 1], track[:, 2])
        stops, trips, _ = surveyed(columns, Rule(max_gap_s=86_400, min_stop_s=3600))
        lon, lat = columns.lon / DEGREE, columns.lat / DEGREE
        steps_m = distances_m(lon[:-1], lat[:-1], lon[1:], lat[1:])
        counted = np.diff(columns.time_ms) <= 86_400_000
        distance_m = sum(trip.distance_m for trip in trips)
        total_m += distance_m
        # A boat in the port loses what its stop spans; nothing else is lost.
        assert distance_m == pytest.approx(steps_m[counted].sum(), rel=1e-3, abs=100 * len(stops) + 100)
    printed.append(f"33 boats around the world: {total_m / 1000:.0f} km")


# Traccar's own cases -------------------------------------------------------------------------------------------------


def when_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def east_of_greenwich(metres: list[float]) -> tuple[Floats, Floats]:
    lon, lat, _ = WGS84.fwd(np.zeros(len(metres)), np.zeros(len(metres)), np.full(len(metres), 90.0), metres)
    return np.asarray(lon), np.asarray(lat)


def test_traccar_says_the_same_of_motion_where_it_asks_the_fixes(test_data: Path, printed: list[str]) -> None:
    for case in json.loads((test_data / "reference" / "traccar_motion.json").read_text()):
        positions = [*case["positions"], case["current"]]
        time_ms = np.array([when_ms(each["time"]) for each in positions])
        columns = columns_of(time_ms, *east_of_greenwich([each["east_m"] for each in positions]))
        rule = Rule(min_stop_s=case["min_duration_s"], stop_diameter_m=case["min_distance_m"])
        now_ms = int(time_ms[-1])
        stops, _, survey = surveyed(columns, rule, now_ms)
        state = motion(stops[-1] if stops else None, survey.last_run, survey.recent, now_ms, rule)
        expected = "moving" if case["expect_moving"] else "stopped"
        if case["test"] == "NoStopBeforeDuration":
            expected = "unknown"  # it keeps what it remembers from before; to us two minutes within 100 m say nothing
        printed.append(f"traccar {case['test']}: {state.state} ({state.reason})")
        assert state.state == expected


def test_traccar_finds_the_same_trips_and_stops(test_data: Path) -> None:
    for case in json.loads((test_data / "reference" / "traccar_trips_stops.json").read_text()):
        positions = case["positions"]
        columns = columns_of(
            np.array([when_ms(each["time"]) for each in positions]),
            *east_of_greenwich([each["total_distance_m"] for each in positions]),
            np.array([each["speed_kn"] for each in positions]) * 1852 / 3600,
        )
        # Its first stop is shorter than its own minimalParkingDuration, as nothing lies before it; ours may not be.
        stops, trips, _ = surveyed(columns, Rule(min_stop_s=120, max_gap_s=case["config"]["minimalNoDataDuration_s"]))
        found = spans(stops) if case["kind"] == "stops" else spans(trips)
        assert found == [(when_ms(each["StartTime"]), when_ms(each["EndTime"])) for each in case["expected"]]
        if case["kind"] == "trips":
            assert trips[0].distance_m == pytest.approx(case["expected"][0]["Distance"], abs=0.01)
            assert trips[0].max_speed_mps == pytest.approx(case["expected"][0]["MaxSpeed"] * 1852 / 3600, abs=0.01)
            mean_mps = trips[0].distance_m / (trips[0].to_ms - trips[0].from_ms) * 1000
            assert mean_mps == pytest.approx(case["expected"][0]["AverageSpeed"] * 1852 / 3600, abs=0.01)


# Speed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate_hz", "count"), [(1 / 60, 200_000), (1, 500_000), (10, 500_000)])
def test_a_million_fixes_take_about_a_second(printed: list[str], rate_hz: float, count: int) -> None:
    """Half an hour of driving, half an hour of standing, for ever, with 2 m of noise on every fix."""
    random = np.random.default_rng(1)
    seconds = np.arange(count) / rate_hz
    step_m = np.where(seconds % 3600 < 1800, 10.0, 0.0) / rate_hz
    course = np.cumsum(step_m) / 2000  # in circles, so that metres stay metres
    east = np.cumsum(step_m * np.cos(course)) + random.normal(0, 2, count)
    north = np.cumsum(step_m * np.sin(course)) + random.normal(0, 2, count)
    columns = columns_of(np.rint(seconds * 1000), 13.4 + east / 67_700, 52.5 + north / 111_195)
    begun = time.perf_counter()
    survey = Survey(Rule(), EVER)
    trips = []
    for first in range(0, count, 100_000):
        piece = columns.take(slice(first, first + 100_000))
        trips += survey.feed(piece, piece.flags == 0).trips
    trips += survey.end(2**62, 2**61).trips
    lasted_s = time.perf_counter() - begun
    driven_m = sum(trip.distance_m for trip in trips)
    printed.append(
        f"{rate_hz:6.3f} Hz: {lasted_s / count * 1e6:.2f} s for a million fixes; {len(trips)} trips,"
        f" {driven_m / step_m.sum():.3f} of the true distance"
    )
    assert lasted_s < 20 * count / 1e6
    assert driven_m == pytest.approx(step_m.sum(), rel=0.04)
