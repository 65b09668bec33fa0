import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.lanes import AIRPORTS, AIRWAYS, LANES, Airway, Lane
from tracker.fleet.mover import Mover
from tracker.fleet.plane import EARTH_RADIUS_M
from tracker.fleet.voyages import CRUISE_MPS, Course, Flight, Ship, angle, bearing_deg, to_lonlat, to_vector

lons, lats = st.floats(-180, 180), st.floats(-89.5, 89.5)


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    return angle(to_vector(*a), to_vector(*b)) * EARTH_RADIUS_M


def round_trip(mover: Mover, hours: float, step_s: float, cruise_mps: float) -> None:
    """Nothing leaps, leaves the earth or turns its back on its own motion."""
    before = mover.at(0.0)
    time_s = step_s
    while time_s < hours * 3600:
        now = mover.at(time_s)
        assert -180 <= now.lon <= 180
        assert -90 <= now.lat <= 90
        assert 0 <= now.course_deg < 360
        step_m = distance_m((before.lon, before.lat), (now.lon, now.lat))
        assert now.speed_mps <= cruise_mps + 1e-9
        assert step_m <= cruise_mps * step_s + 0.01
        before = now
        time_s += step_s


@settings(deadline=None)
@given(lons, lats)
def test_vectors_keep_their_place(lon: float, lat: float) -> None:
    assert distance_m(to_lonlat(to_vector(lon, lat)), (lon, lat)) < 0.01


@settings(deadline=None)
@given(st.lists(st.tuples(lons, lats), min_size=2, max_size=6), st.floats(0, 1))
def test_every_point_of_a_course_lies_between_its_way_points(points: list[tuple[float, float]], share: float) -> None:
    legs = [distance_m(a, b) for a, b in pairwise(points)]
    if not all(1_000 < leg < 19_000_000 for leg in legs):
        return  # a course has legs, and none to the antipodes
    course = Course(points)
    assert course.length_m == pytest.approx(sum(legs))
    place = course.at(share * course.length_m)
    nearest = min(
        distance_m(a, place) + distance_m(place, b) - leg for (a, b), leg in zip(pairwise(points), legs, strict=True)
    )
    assert nearest < 1.0


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
def test_a_ship_sails_there_and_back(lane: Lane) -> None:
    round_trip(Ship(lane, "1"), 30.0, 120.0, lane.speed_mps)


@pytest.mark.parametrize("airway", AIRWAYS, ids=lambda airway: airway.flight)
def test_a_flight_goes_there_and_back(airway: Airway) -> None:
    round_trip(Flight(airway, "1"), 36.0, 60.0, CRUISE_MPS)


@pytest.mark.parametrize("airway", AIRWAYS, ids=lambda airway: airway.flight)
def test_a_flight_climbs_cruises_descends_and_stays_on_its_great_circle(airway: Airway) -> None:
    flight = Flight(airway, "2")
    start, end = (airway.start.lon, airway.start.lat), (airway.end.lon, airway.end.lat)
    direct_m = distance_m(start, end)
    before = flight.at(0.0)
    highest_m = fastest_mps = 0.0
    for second in range(30, 33 * 3600, 30):
        now = flight.at(float(second))
        assert now.alt_m is not None
        assert before.alt_m is not None
        assert -6.6 * 30 <= now.alt_m - before.alt_m <= 9.1 * 30
        assert now.speed_mps > 60 or now.alt_m < 500  # no aircraft hangs in the air
        place = (now.lon, now.lat)
        assert distance_m(start, place) + distance_m(place, end) - direct_m < 5.0
        highest_m, fastest_mps = max(highest_m, now.alt_m), max(fastest_mps, now.speed_mps)
        before = now
    assert highest_m == airway.cruise_alt_m
    assert fastest_mps == pytest.approx(CRUISE_MPS)


def test_one_flight_and_two_ships_cross_the_antimeridian() -> None:
    crossing = [
        name
        for name, course in (
            *((lane.name, Course(lane.points)) for lane in LANES),
            *((a.flight, Course([(a.start.lon, a.start.lat), (a.end.lon, a.end.lat)])) for a in AIRWAYS),
        )
        if any(
            abs(course.at(course.length_m * i / 400)[0] - course.at(course.length_m * (i + 1) / 400)[0]) > 300
            for i in range(400)
        )
    ]
    assert {"Ferry Lomaiviti", "Container Pacific Tern", "KAMOME 6"} <= set(crossing)


def test_one_flight_goes_almost_over_the_pole() -> None:
    course = Course([(24.9633, 60.3172), (-149.9964, 61.1741)])
    assert max(course.at(course.length_m * i / 400)[1] for i in range(401)) > 85


# Coarse boxes of land that a wrong way point would most likely fall into: (west, south, east, north).
LAND = {
    "Gotland": (18.25, 57.15, 18.75, 57.75),
    "Bornholm": (14.80, 55.03, 15.05, 55.25),
    "Scania": (13.00, 55.60, 14.10, 56.00),
    "Lolland": (11.05, 54.70, 11.70, 54.85),
    "Gogland": (26.95, 60.02, 27.02, 60.08),
    "Moshchny": (27.79, 59.99, 27.86, 60.03),
    "Naissaar": (24.47, 59.53, 24.55, 59.60),
    "Kent": (0.60, 51.10, 1.30, 51.35),
    "Cornwall": (-5.40, 50.10, -4.80, 50.40),
    "Newfoundland": (-57.00, 47.80, -53.50, 50.00),
    "Malay peninsula": (101.60, 2.90, 103.00, 4.50),
    "Sumatra": (99.00, 0.00, 101.50, 1.80),
    "North Sumatra": (95.60, 4.50, 97.30, 5.10),
    "Singapore": (103.70, 1.32, 103.95, 1.44),
    "Sri Lanka": (80.10, 6.20, 81.50, 8.50),
    "Galle": (80.05, 6.15, 80.30, 6.60),
    "Vanua Levu": (178.60, -16.75, 179.20, -16.50),
    "Taveuni": (-180.00, -16.98, -179.90, -16.75),
    "Boso tip": (139.76, 34.91, 139.95, 35.00),
    "Boso": (139.90, 35.00, 140.30, 35.50),
    "Santa Cruz Island": (-119.90, 33.97, -119.60, 34.05),
}


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
def test_sea_lanes_keep_clear_of_land(lane: Lane) -> None:
    course = Course(lane.points)
    for i in range(3001):
        lon, lat = course.at(course.length_m * i / 3000)
        aground = [name for name, (w, s, e, n) in LAND.items() if w <= lon <= e and s <= lat <= n]
        assert not aground, (lane.name, lon, lat)


def test_airports_are_where_the_airways_end() -> None:
    ends = {airport for airway in AIRWAYS for airport in (airway.start, airway.end)}
    assert ends <= set(AIRPORTS)


def test_courses_point_the_way() -> None:
    assert bearing_deg((0.0, 0.0), (1.0, 0.0)) == pytest.approx(90.0)
    assert bearing_deg((179.9, 0.0), (-179.9, 0.0)) == pytest.approx(90.0)
    assert bearing_deg((10.0, 50.0), (10.0, 51.0)) == pytest.approx(0.0)
    assert math.isclose(bearing_deg((10.0, 51.0), (10.0, 50.0)), 180.0)
