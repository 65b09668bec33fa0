"""How far the edges of shapes are, against places walked along them, and what is no edge."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.domain import globe, scenes
from tracker.domain.geodesy import WGS84
from tracker.domain.ring import Polygonal
from tracker.domain.shape import Circle, Corridor, Shape, Shapes, circle, corridor, polygon

ONE = np.zeros(1, dtype=np.int64)


def edge_m(shape: Shape, lon: float, lat: float) -> float:
    return float(Shapes([shape]).edge_distances_m(ONE, np.array([lon]), np.array([lat]))[0])


def walked_m(shape: Polygonal, lon: float, lat: float, count: int = 101) -> float:
    """To the nearest of many places on each edge, again and again around the nearest."""
    nearest = np.inf
    for ring in shapely.get_rings(shape):
        ends = shapely.get_coordinates(ring)
        for (x0, y0), (x1, y1) in pairwise(ends.tolist()):
            low, high = 0.0, 1.0
            for _ in range(6):
                share = np.linspace(low, high, count)
                x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                metres = WGS84.inv(np.full(count, lon), np.full(count, lat), x, y)[2]
                best = int(np.argmin(metres))
                nearest = min(nearest, float(metres[best]))
                low, high = share[max(0, best - 1)], share[min(count - 1, best + 1)]
    return nearest


@st.composite
def blobs(draw: st.DrawFn) -> Polygonal:
    """Around a place up to 85 degrees north or south: a hundred metres or a degree wide."""
    lon, lat = draw(st.floats(-170, 170)), draw(st.floats(-84, 84))
    size = 10 ** draw(st.floats(-3, 0))
    turns = sorted(draw(st.lists(st.integers(0, 71), min_size=3, max_size=8, unique=True)))
    ring = [[lon + size * np.cos(t * np.pi / 36), lat + size * np.sin(t * np.pi / 36)] for t in turns]
    return polygon([[[*ring, ring[0]]]])


@settings(max_examples=60, deadline=None)
@given(shape=blobs(), share=st.floats(0, 1), azimuth=globe.azimuths, reach=st.floats(-1, 4.3))
def test_the_edge_of_a_polygon_is_as_far_as_the_nearest_place_on_it(
    shape: Polygonal, share: float, azimuth: float, reach: float
) -> None:
    start = shapely.line_interpolate_point(shape.exterior, share, normalized=True)
    lon, lat = globe.at((start.x, start.y), azimuth, 10**reach)  # up to 20 km away
    # The last of the walk's places are some micrometres from one another.
    assert edge_m(shape, lon, lat) == pytest.approx(walked_m(shape, lon, lat), rel=1e-4, abs=1e-5)


def test_the_edge_is_found_in_a_hole_and_among_thousands() -> None:
    ring = scenes.box(0, 0, 40, 40)
    holed = polygon([[ring, scenes.box(10, 10, 20, 20)]])
    assert edge_m(holed, 1.5, 1.4) == pytest.approx(WGS84.inv(1.5, 1.4, 1.5, 1.0)[2], rel=1e-4)
    turns = np.linspace(0, 2 * np.pi, 9_999)
    round_ = np.column_stack([np.cos(turns), np.sin(turns)]).tolist()
    round_[-1] = round_[0]
    assert edge_m(polygon([[round_]]), 0.9, 0.0) == pytest.approx(WGS84.inv(0.9, 0.0, 1.0, 0.0)[2], rel=1e-3)


@pytest.mark.parametrize("lon", [180.0, -180.0, 179.99, -179.99])
def test_a_seam_at_the_antimeridian_is_no_edge(lon: float) -> None:
    fiji = polygon([[scenes.box(1780, -200, 1800, -160)], [scenes.box(-1800, -200, -1780, -160)]])
    side = 178.0 if lon > 0 else -178.0
    assert edge_m(fiji, lon, -18.0) == pytest.approx(WGS84.inv(lon, -18.0, side, -18.0)[2], rel=1e-3)


def test_only_what_lies_on_both_sides_is_a_seam() -> None:
    uneven = polygon([[scenes.box(1780, -200, 1800, -160)], [scenes.box(-1800, -180, -1780, -160)]])
    half = polygon([[scenes.box(1780, -200, 1800, -160)]])
    for lon in (180.0, -180.0):
        assert edge_m(uneven, lon, -17.0) == pytest.approx(WGS84.inv(180, -17, 180, -16)[2], rel=1e-3)
        assert edge_m(uneven, lon, -19.0) == 0.0
        assert edge_m(half, lon, -17.0) == 0.0
    assert edge_m(half, -179.9, -17.0) == pytest.approx(WGS84.inv(-179.9, -17, 180, -17)[2], rel=1e-4)


@pytest.mark.parametrize("side", [1, -1])
def test_the_way_to_an_edge_may_lead_over_the_antimeridian(side: int) -> None:
    west = 1780 if side > 0 else -1790
    beyond = polygon([[scenes.box(west, -200, west + 10, -160)]])
    expected_m = WGS84.inv(-179.9 * side, -18.0, 179.0 * side, -18.0)[2]
    assert edge_m(beyond, -179.9 * side, -18.0) == pytest.approx(expected_m, rel=1e-2)


def test_a_pole_is_no_edge_and_the_whole_earth_has_none() -> None:
    antarctica = polygon([[[[-180, -90], [180, -90], [180, -70], [0, -70], [-180, -70], [-180, -90]]]])
    assert edge_m(antarctica, 0.0, -90.0) == pytest.approx(WGS84.inv(0, -90, 0, -70)[2], rel=1e-3)
    assert edge_m(antarctica, 180.0, -80.0) == pytest.approx(WGS84.inv(0, -80, 0, -70)[2], rel=1e-3)
    earth = polygon([[[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]])
    assert edge_m(earth, 10.0, 50.0) == np.inf


def test_the_edge_of_a_circle_is_a_radius_from_the_centre() -> None:
    shape = circle([179.9, 60.0], 50_000.0)
    for reach in (0.0, 49_999.0, 50_001.0, 90_000.0):
        assert edge_m(shape, *globe.at((179.9, 60.0), 77.0, reach)) == pytest.approx(abs(reach - 50_000), abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), shape=st.one_of(globe.circles(), globe.corridors()))
def test_round_edges_are_as_far_as_the_distance_says(data: st.DataObject, shape: Circle | Corridor) -> None:
    lon, lat = data.draw(st.one_of(globe.places_near(shape), globe.places))
    reach_m = shape.radius_m if isinstance(shape, Circle) else shape.buffer_m
    metres = globe.metres_from(shape, lon, lat)
    assume(metres < 5e6)  # from the other side of the earth the end of a path may seem nearer than its middle
    assert edge_m(shape, lon, lat) == pytest.approx(abs(metres - reach_m), abs=1e-4 + metres * 1e-7)


def test_a_corridor_of_ten_thousand_positions_is_no_burden() -> None:
    path = [[i / 5_000 - 1, 50 + np.sin(i / 300) / 10] for i in range(10_000)]
    shape = Shapes([corridor(path, 30.0)])
    lon, lat = np.array(path[::100]).T
    which = np.zeros(len(lon), np.int64)
    assert shape.hold(which, lon, lat).all()
    assert shape.edge_distances_m(which, lon, lat) == pytest.approx(30.0, abs=1e-6)
