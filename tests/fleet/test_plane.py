import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.plane import Plane, course_deg, offset, wrap_lon

PLANE = Plane(24.94, 60.17)


@settings(deadline=None)
@given(st.floats(-3000, 3000), st.floats(-3000, 3000))
def test_a_place_comes_back_from_the_plane_as_it_went(x: float, y: float) -> None:
    back = PLANE.to_xy(*PLANE.to_lonlat(x, y))
    assert back == pytest.approx((x, y), abs=1e-6)


def test_courses_are_clockwise_from_north() -> None:
    assert [course_deg(*step) for step in ((0, 1), (1, 0), (0, -1), (-1, 0))] == [0, 90, 180, 270]


def test_a_step_east_over_the_antimeridian_lands_in_the_west() -> None:
    lon, lat = offset(179.9999, 0.0, 100.0, 0.0)
    assert lon == pytest.approx(-179.9992, abs=1e-4)
    assert lat == 0.0


@settings(deadline=None)
@given(st.floats(-720, 720))
def test_longitudes_stay_within_their_range(lon: float) -> None:
    assert -180.0 <= wrap_lon(lon) <= 180.0


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(-500, 500), st.floats(-500, 500))
def test_no_step_leaves_the_earth(lon: float, lat: float, east_m: float, north_m: float) -> None:
    moved_lon, moved_lat = offset(lon, lat, east_m, north_m)
    assert -180.0 <= moved_lon <= 180.0
    assert -90.0 <= moved_lat <= 90.0
