import math
from itertools import pairwise

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.couriers import DWELL_S, LIMITS, SHIFT_S, Courier
from tracker.fleet.extract import Extract
from tracker.fleet.mover import Truth
from tracker.fleet.streets import Mode, Streets

NOON_S = 1_790_000_000.0
FASTEST_MPS = {Mode.BIKE: 7.5, Mode.CAR: 12.0, Mode.FOOT: 1.7}


@pytest.fixture(scope="session")
def centrelines(streets: Streets, extract: Extract) -> shapely.STRtree:
    return shapely.STRtree(
        [
            shapely.LineString([streets.plane.to_xy(*extract.nodes[node]) for node in run.nodes])
            for run in extract.streets
        ]
    )


def drive(courier: Courier, from_s: float, seconds: int, step_s: float = 1.0) -> list[Truth]:
    return [courier.at(from_s + i * step_s) for i in range(round(seconds / step_s))]


@pytest.mark.parametrize("mode", Mode)
def test_a_courier_is_always_on_a_street(mode: Mode, streets: Streets, centrelines: shapely.STRtree) -> None:
    truths = drive(Courier(streets, mode, "on streets"), NOON_S, 3600, 5.0)
    points = shapely.points([streets.plane.to_xy(truth.lon, truth.lat) for truth in truths])
    _, distances = centrelines.query_nearest(points, return_distance=True, all_matches=False)
    assert distances.max() < 0.1


@settings(max_examples=20, deadline=None)
@given(mode=st.sampled_from(Mode), seed=st.integers(0, 10_000), start=st.integers(0, 10_000_000))
def test_a_courier_moves_like_one(streets: Streets, mode: Mode, seed: int, start: int) -> None:
    courier, limits = Courier(streets, mode, str(seed)), LIMITS[mode]
    before: Truth | None = None
    for now in drive(courier, NOON_S + start, 1800):
        assert 0.0 <= now.speed_mps <= FASTEST_MPS[mode]
        if before:
            step_m = math.dist(streets.plane.to_xy(now.lon, now.lat), streets.plane.to_xy(before.lon, before.lat))
            assert step_m <= max(now.speed_mps, before.speed_mps) + limits.accelerate_mps2
            # Within one second a courier can brake to a stop and start again, but not faster than it can.
            assert -limits.brake_mps2 - 1e-6 <= now.speed_mps - before.speed_mps <= limits.accelerate_mps2 + 1e-6
        before = now


@settings(max_examples=10, deadline=None)
@given(mode=st.sampled_from(Mode), seed=st.integers(0, 10_000), times=st.lists(st.floats(0, 3 * SHIFT_S), max_size=8))
def test_where_a_courier_is_follows_from_seed_and_time_alone(
    streets: Streets, mode: Mode, seed: int, times: list[float]
) -> None:
    asked_in_any_order = Courier(streets, mode, str(seed))
    answers = {time_s: asked_in_any_order.at(NOON_S + time_s) for time_s in times}
    for time_s in sorted(times):
        assert Courier(streets, mode, str(seed)).at(NOON_S + time_s) == answers[time_s]


def test_other_seeds_are_other_lives(streets: Streets) -> None:
    lives = [Courier(streets, Mode.BIKE, str(seed)).at(NOON_S) for seed in range(20)]
    assert len({(truth.lon, truth.lat) for truth in lives}) == 20


@pytest.mark.parametrize("mode", Mode)
def test_one_shift_goes_over_into_the_next_without_a_leap(streets: Streets, mode: Mode) -> None:
    courier = Courier(streets, mode, "over")
    truths = drive(courier, NOON_S, round(2 * SHIFT_S), 2.0)
    for before, now in pairwise(truths):
        step_m = math.dist(streets.plane.to_xy(now.lon, now.lat), streets.plane.to_xy(before.lon, before.lat))
        assert step_m <= 2.0 * FASTEST_MPS[mode]


@pytest.mark.parametrize("mode", Mode)
def test_a_shift_is_riding_dwelling_and_waiting(streets: Streets, mode: Mode) -> None:
    truths = drive(Courier(streets, mode, "shift"), NOON_S, round(SHIFT_S), 2.0)
    tasks = {truth.attributes["task"] for truth in truths}
    assert tasks >= {"to pick-up", "picking up", "delivering", "handing over", "waiting"}
    standing = sum(truth.speed_mps == 0 for truth in truths) / len(truths)
    assert 0.2 < standing < 0.8
    assert all(truth.attributes["place"] for truth in truths)


def test_a_dwell_lasts_one_to_eight_minutes(streets: Streets) -> None:
    truths = drive(Courier(streets, Mode.BIKE, "dwell"), NOON_S, round(2 * SHIFT_S))
    runs: list[tuple[object, int]] = []
    for truth in truths:
        task = truth.attributes["task"]
        runs.append((task, runs.pop()[1] + 1) if runs and runs[-1][0] == task else (task, 1))
    dwells = [seconds for task, seconds in runs[1:-1] if task in ("picking up", "handing over")]
    assert len(dwells) > 10
    assert all(DWELL_S[0] - 1 <= seconds <= DWELL_S[1] + 1 for seconds in dwells)


def test_some_of_a_walkers_time_is_under_a_roof(streets: Streets) -> None:
    truths = drive(Courier(streets, Mode.FOOT, "roof"), NOON_S, round(2 * SHIFT_S), 5.0)
    assert 0.01 < sum(truth.covered for truth in truths) / len(truths) < 0.6
