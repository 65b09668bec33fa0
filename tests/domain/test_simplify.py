import time
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracker.domain.simplify import METRES_PER_DEGREE, STRETCH, simplified

Floats = NDArray[np.float64]


def off_m(lon: Floats, lat: Floats, first: int, last: int) -> Floats:
    """How far the points between two others are from the line between these, in the metric of each point."""
    across = np.cos(np.radians(lat[first : last + 1]))
    ax, ay = (lon[first] - lon[first : last + 1]) * across, lat[first] - lat[first : last + 1]
    bx, by = (lon[last] - lon[first : last + 1]) * across, lat[last] - lat[first : last + 1]
    dx, dy = bx - ax, by - ay
    squared = dx**2 + dy**2
    share = np.clip(-(ax * dx + ay * dy) / np.where(squared > 0, squared, 1), 0, 1)
    return np.asarray(np.hypot(ax + share * dx, ay + share * dy) * METRES_PER_DEGREE)


steps = st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))


@settings(deadline=None)
@given(
    st.floats(-170, 170), st.floats(-80, 80), st.lists(steps, max_size=80), st.floats(0, 2000),
    st.sampled_from([1, 7, STRETCH]),
)  # fmt: skip
def test_every_point_left_out_is_within_the_tolerance_of_the_line(
    west: float, south: float, moves: list[tuple[float, float]], tolerance_m: float, repeat: int
) -> None:
    walk = np.cumsum(np.array([(west, south), *moves * repeat])[:20_000], axis=0)
    walk = np.round(walk, 7)  # as fixes are stored; of lengths whose squares are 0, GEOS makes NaN
    lon, lat = np.clip(walk[:, 0], -180, 180), np.clip(walk[:, 1], -90, 90)
    kept = simplified(lon, lat, tolerance_m).tolist()
    assert (kept[0], kept[-1]) == (0, len(lon) - 1)
    for first, last in pairwise(kept):
        assert off_m(lon, lat, first, last).max() <= tolerance_m * 1.001 + 0.01


def test_a_straight_line_needs_its_ends_only() -> None:
    lon = np.linspace(10, 12, STRETCH)
    assert simplified(lon, np.linspace(60, 61, STRETCH), 1.0).tolist() == [0, STRETCH - 1]


def test_no_line_is_no_trouble() -> None:
    for count in (0, 1, 2):
        assert simplified(np.zeros(count), np.zeros(count), 5.0).tolist() == list(range(count))
    standing = simplified(np.full(2000, 24.9), np.full(2000, 60.1), 5.0)
    assert (standing[0], standing[-1]) == (0, 1999)
    assert len(standing) <= 10


def test_no_tolerance_keeps_every_point() -> None:
    assert len(simplified(np.zeros(10), np.zeros(10), 0.0)) == 10


def test_the_tolerance_is_in_metres_at_any_latitude() -> None:
    for lat_deg in (0.0, 60.0, -85.0):
        aside = 10 / METRES_PER_DEGREE / np.cos(np.radians(lat_deg))
        lon, lat = np.array([0.0, aside, 0.0]), np.array([lat_deg, lat_deg + 0.01, lat_deg + 0.02])
        assert len(simplified(lon, lat, 9.9)) == 3
        assert len(simplified(lon, lat, 10.3)) == 2


def test_half_a_million_points_that_all_stay_take_a_moment() -> None:
    count = 500_000
    lon = np.linspace(0, 100, count)
    lat = (np.where(np.arange(count) % 2, 1, -1) * (1 + np.arange(count) % STRETCH)).astype(np.float64) * 1e-3
    started = time.process_time()
    assert len(simplified(lon, lat, 1.0)) == count
    took_s = time.process_time() - started
    print(f"500,000 points in {took_s:.2f} s")
    assert took_s < 10
