"""Distances and covering boxes, against points sampled on the ellipsoid itself."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracker.domain.geodesy import WGS84, Box, circle_boxes, distances_m, enclosing


def covered(boxes: list[Box], lon: float, lat: float) -> bool:
    return any(west <= lon <= east and south <= lat <= north for west, south, east, north in boxes)


@settings(max_examples=200, deadline=None)
@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90), radius_m=st.floats(0.001, 1_000_000))
@example(lon=180.0, lat=0.0, radius_m=1.0)
@example(lon=-180.0, lat=60.0, radius_m=1_000_000.0)
@example(lon=0.0, lat=90.0, radius_m=0.001)
@example(lon=12.0, lat=81.0, radius_m=1_000_000.0)
@example(lon=12.0, lat=89.9999, radius_m=11.0)
@example(lon=12.0, lat=-89.9999, radius_m=11.2)
def test_the_boxes_of_a_circle_cover_it(lon: float, lat: float, radius_m: float) -> None:
    boxes = circle_boxes(lon, lat, radius_m)
    azimuths = np.linspace(0, 360, 73)
    for share in (1.0, 0.999, 0.5, 0.0):
        reach = np.full_like(azimuths, radius_m * share)
        found = WGS84.fwd(np.full_like(azimuths, lon), np.full_like(azimuths, lat), azimuths, reach)
        for x, y in zip(found[0], found[1], strict=True):
            assert covered(boxes, x, y), (x, y, boxes)
            if abs(x) == 180:
                assert covered(boxes, -x, y), "the antimeridian has two names"


@settings(max_examples=100, deadline=None)
@given(lon=st.floats(-180, 180), lat=st.floats(-85, 85), radius_m=st.floats(100, 100_000))
def test_the_boxes_of_a_circle_are_not_much_larger_than_it(lon: float, lat: float, radius_m: float) -> None:
    boxes = circle_boxes(lon, lat, radius_m)
    assert all(-180 <= west <= east <= 180 and -90 <= south <= north <= 90 for west, south, east, north in boxes)
    height_m = WGS84.inv(lon, boxes[0][1], lon, boxes[0][3])[2]
    width_m = sum(WGS84.inv(west, lat, (west + east) / 2, lat)[2] * 2 for west, _, east, _ in boxes)
    assert height_m <= 2 * radius_m * 1.02
    assert width_m <= 2 * radius_m * 1.25  # parallels narrow towards the pole within the circle


@pytest.mark.parametrize(
    ("lon", "lat", "to_lon", "to_lat", "metres"),
    [
        (0.0, 0.0, 1.0, 0.0, 111_319.491),  # a degree of the equator: 6,378,137 m times pi / 180
        (0.0, 0.0, 0.0, 1.0, 110_574.389),
        (180.0, 10.0, -180.0, 10.0, 0.0),
        (0.0, 90.0, 77.0, 90.0, 0.0),
        (-179.5, 0.0, 179.5, 0.0, 111_319.491),
        (0.0, -90.0, 0.0, 90.0, 20_003_931.459),  # half of a meridian
    ],
)
def test_distances_are_geodesic(lon: float, lat: float, to_lon: float, to_lat: float, metres: float) -> None:
    pairs = [np.array([value]) for value in (lon, lat, to_lon, to_lat)]
    assert distances_m(*pairs)[0] == pytest.approx(metres, abs=0.001)


def test_no_points_have_no_distances() -> None:
    nothing = np.empty(0)
    assert len(distances_m(nothing, nothing, nothing, nothing)) == 0


def test_the_smallest_box_around_places_goes_over_the_antimeridian_where_that_is_shorter() -> None:
    lat = np.array([10.0, -5, 3])
    assert enclosing(np.array([20.0, -10, 5]), lat) == (-10, -5, 20, 10)
    assert enclosing(np.array([178.0, -179, 170]), lat) == (170, -5, -179, 10)
    assert enclosing(np.array([7.0]), lat[:1]) == (7, 10, 7, 10)
    assert enclosing(np.empty(0), np.empty(0)) is None
