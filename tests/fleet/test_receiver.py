import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.mover import Truth
from tracker.fleet.plane import Plane
from tracker.fleet.receiver import Grade, Reading, Receiver
from tracker.fleet.roster import GRADES

PLANE = Plane(24.94, 60.17)
MOVING = Truth(24.94, 60.17, 5.0, 90.0)
STANDING = replace(MOVING, speed_mps=0.0)
CALM = Grade(2.0, 6.0, 45.0, 0.0, 3.0, 20.0)


def listen(grade: Grade, truth: Truth, looks: int, seed: str = "1", every_s: float = 3.0) -> list[Reading]:
    receiver = Receiver(grade, seed)
    readings = [receiver.read(i * every_s, truth) for i in range(looks)]
    return [reading for reading in readings if reading]


def error_m(reading: Reading) -> float:
    return math.hypot(*PLANE.to_xy(reading.lon, reading.lat))


@pytest.mark.parametrize("obstruction", [0.0, 0.5, 1.0])
def test_two_errors_in_three_lie_within_the_accuracy_that_is_claimed(obstruction: float) -> None:
    readings = [r for seed in range(40) for r in listen(CALM, replace(MOVING, obstruction=obstruction), 200, str(seed))]
    within = sum(error_m(reading) <= reading.accuracy_m for reading in readings) / len(readings)
    assert 0.6 < within < 0.76


def test_errors_are_larger_beside_walls() -> None:
    def mean_m(obstruction: float) -> float:
        readings = [r for s in range(30) for r in listen(CALM, replace(MOVING, obstruction=obstruction), 100, str(s))]
        return sum(map(error_m, readings)) / len(readings)

    assert mean_m(1.0) > 2 * mean_m(0.0)


def test_errors_wander_instead_of_leaping() -> None:
    readings = listen(CALM, MOVING, 500, every_s=1.0)
    steps = [math.dist((a.lon, a.lat), (b.lon, b.lat)) for a, b in pairwise(readings)]
    assert max(steps) * 111_195 < 4.0
    assert max(map(error_m, readings)) > 3.0


def test_without_reflections_nothing_is_far_off() -> None:
    assert all(error_m(reading) < 12 for reading in listen(CALM, MOVING, 3000))


def test_reflections_are_rare_short_and_half_suspected() -> None:
    readings = listen(replace(CALM, reflections_per_h=60.0), replace(MOVING, obstruction=1.0), 5000)
    jumps = [reading for reading in readings if reading.reflected]
    assert 0.01 < len(jumps) / len(readings) < 0.4
    assert all(error_m(jump) > 5 for jump in jumps)
    assert all(jump.accuracy_m > 12 for jump in jumps)


def test_nothing_is_heard_under_a_roof_and_it_listens_on() -> None:
    receiver = Receiver(CALM, "1")
    roof = replace(MOVING, covered=True)
    assert receiver.read(100.0, roof) is None
    assert receiver.next_s(roof) == 105.0
    assert receiver.read(105.0, MOVING) is not None


def test_a_receiver_that_stands_knows_no_course_and_looks_less_often() -> None:
    receiver = Receiver(CALM, "1")
    now_s, gaps_s = 0.0, []
    for _ in range(20):
        reading = receiver.read(now_s, STANDING)
        assert reading
        assert reading.course_deg is None
        assert reading.speed_mps == 0.0
        gaps_s.append(receiver.next_s(STANDING) - now_s)
        now_s = receiver.next_s(STANDING)
    assert gaps_s[0] == pytest.approx(3.0)  # a red light is not yet a stop
    assert min(gaps_s[-5:]) > 15


def test_a_receiver_that_stands_still_jitters() -> None:
    readings = listen(CALM, STANDING, 50, every_s=20.0)
    assert len({(reading.lon, reading.lat) for reading in readings}) == 50


def test_movement_wakes_it_up() -> None:
    receiver = Receiver(CALM, "1")
    receiver.read(0.0, STANDING)
    receiver.read(100.0, STANDING)
    receiver.read(120.0, MOVING)
    assert receiver.next_s(MOVING) == 123.0


@settings(deadline=None)
@given(st.text(max_size=8), st.sampled_from(sorted(GRADES)))
def test_the_same_seed_hears_the_same(seed: str, grade: str) -> None:
    truth = replace(MOVING, obstruction=0.8)
    assert listen(GRADES[grade], truth, 30, seed) == listen(GRADES[grade], truth, 30, seed)


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 300), st.floats(0, 359.99), st.text(max_size=4))
def test_every_reading_is_one_that_the_server_takes(
    lon: float, lat: float, speed: float, course: float, seed: str
) -> None:
    for reading in listen(GRADES["old phone"], Truth(lon, lat, speed, course, 9000.0, 1.0), 10, seed):
        assert -180 <= reading.lon <= 180
        assert -90 <= reading.lat <= 90
        assert reading.accuracy_m > 0
        assert reading.speed_mps >= 0
        assert reading.course_deg is None or 0 <= reading.course_deg <= 360
