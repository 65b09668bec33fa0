"""Shapes: what is accepted, what is refused and where, and what is inside."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import scenes
from tests.domain.scenes import box, fence
from tracker.domain.batch import DEGREE
from tracker.domain.geodesy import WGS84
from tracker.domain.geofence import FenceIndex
from tracker.domain.shape import MAX_RADIUS_M, MAX_VERTICES, Shape, circle, holds, polygon
from tracker.errors import InvalidGeometry

NAN, INFINITY = float("nan"), float("inf")
SQUARE = box(0, 0, 40, 40)  # 0…4 degrees
HOLE = box(10, 10, 20, 20)


def inside(shape: Shape, lon: float, lat: float) -> bool:
    return bool(holds(shape, np.array([lon]), np.array([lat]))[0])


def with_position(position: Any, index: int = 2) -> list[Any]:
    ring: list[Any] = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]]
    ring[index] = position
    return ring


@pytest.mark.parametrize(
    ("rings", "place"),
    [
        ([], ""),
        ([[]], "[0]"),
        ([[[0, 0], [4, 0], [4, 4]]], "[0]"),
        ([[[0, 0], [4, 0], [0, 0]]], "[0]"),
        ([[[0, 0], [4, 0], [4, 4], [0, 4]]], "[0]"),
        ([[[0, 0], [4, 0], [4, 4], [0, 1e-9]]], "[0]"),
        ([SQUARE, [[1, 1], [2, 1], [2, 2], [1, 2]]], "[1]"),
        ([with_position([4.0, 90.1])], "[0][2]"),
        ([with_position([180.1, 4.0])], "[0][2]"),
        ([with_position([-180.00000001, 4.0])], "[0][2]"),
        ([with_position([4.0, NAN])], "[0][2]"),
        ([with_position([NAN, 4.0], 3)], "[0][3]"),
        ([with_position([INFINITY, 4.0], 1)], "[0][1]"),
        ([with_position([4.0, -INFINITY])], "[0][2]"),
        ([with_position([4.0])], "[0][2]"),
        ([with_position([])], "[0][2]"),
        ([with_position([4.0, 4.0, 1.0, 1.0, 1.0])], "[0][2]"),
        ([SQUARE, with_position([91.0, 91.0])], "[1][2]"),
    ],
)
def test_a_polygon_of_bad_rings_is_refused_with_their_place(rings: list[Any], place: str) -> None:
    with pytest.raises(InvalidGeometry) as refused:
        polygon([rings])
    assert refused.value.field == f"geometry.coordinates{place}"
    assert refused.value.message.startswith(f"geometry.coordinates{place} ")


@pytest.mark.parametrize(
    ("rings", "fault"),
    [
        ([[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]], "self-intersection at [1, 1]"),  # a bow-tie
        ([[[0, 0], [4, 0], [4, 4], [2, 0], [0, 4], [0, 0]]], "self-intersection at [2, 0]"),  # touches its own edge
        ([[[0, 0], [2, 2], [4, 0], [4, 4], [2, 2], [0, 4], [0, 0]]], "self-intersection at [2, 2]"),  # its own corner
        ([[[0, 0], [2, 0], [2, 2], [2, 4], [2, 2], [0, 2], [0, 0]]], "self-intersection at [2, 2]"),  # a spike
        ([[[0, 0], [1, 1], [2, 2], [0, 0]]], "self-intersection at"),  # no area
        ([[[0, 0], [0, 0], [0, 0], [0, 0]]], "too few points"),
        ([SQUARE, box(50, 50, 60, 60)], "hole lies outside shell at [5, 5]"),
        ([SQUARE, box(30, 30, 60, 60)], "self-intersection at"),
        ([SQUARE, SQUARE], "self-intersection at"),
        ([SQUARE, HOLE, box(15, 15, 30, 30)], "self-intersection at"),
        ([SQUARE, box(10, 10, 40, 20)], "self-intersection at"),  # a hole along the edge
        ([SQUARE, [[0, 0], [4, 4], [1, 2], [0, 0]]], "interior is disconnected"),
    ],
)
def test_a_polygon_that_is_none_is_refused_with_the_point(rings: list[Any], fault: str) -> None:
    with pytest.raises(InvalidGeometry, match=r"geometry\.coordinates: ") as refused:
        polygon([rings])
    assert fault in refused.value.message


@pytest.mark.parametrize("second", [box(30, 30, 60, 60), box(40, 0, 60, 40), box(10, 10, 20, 20)])
def test_parts_of_a_multipolygon_neither_overlap_nor_share_an_edge(second: scenes.Ring) -> None:
    with pytest.raises(InvalidGeometry, match="at "):
        polygon([[SQUARE], [second]])


def test_a_multipolygon_names_the_part_with_the_fault() -> None:
    with pytest.raises(InvalidGeometry) as refused:
        polygon([[SQUARE], [box(50, 50, 60, 60)[:-1]]])
    assert refused.value.field == "geometry.coordinates[1][0]"


def test_no_parts_are_no_geometry() -> None:
    with pytest.raises(InvalidGeometry, match="empty"):
        polygon([])
    with pytest.raises(InvalidGeometry, match=r"coordinates\[1\] is empty"):
        polygon([[SQUARE], []])


def round_ring(vertices: int) -> scenes.Ring:
    turns = np.linspace(0, 2 * np.pi, vertices)
    ring = np.column_stack([np.cos(turns), np.sin(turns)]).tolist()
    return [*ring[:-1], ring[0]]


def test_ten_thousand_vertices_are_accepted_and_not_one_more() -> None:
    assert inside(polygon([[round_ring(MAX_VERTICES)]]), 0.0, 0.999_999)
    with pytest.raises(InvalidGeometry, match="10,001 positions; at most 10,000"):
        polygon([[round_ring(MAX_VERTICES + 1)]])
    with pytest.raises(InvalidGeometry, match="at most 10,000"):
        polygon([[round_ring(6_000)], [round_ring(6_000)]])


@pytest.mark.parametrize(
    "rings",
    [
        [SQUARE[::-1]],
        [SQUARE, HOLE],
        [SQUARE, HOLE[::-1]],
        [SQUARE, [[0, 0], [2, 1], [1, 2], [0, 0]]],  # a hole may touch the outside at one point
        [[[0, 0], [0, 0], [4, 0], [4, 4], [0, 0]]],  # a position said twice
        [[[0, 0, 5], [4, 0, 5], [4, 4, 5], [0, 0, 5]]],  # with heights
        [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
    ],
)
def test_these_polygons_are_accepted(rings: list[Any]) -> None:
    assert inside(polygon([rings]), 3.0, 0.5)


@pytest.mark.parametrize(
    ("lon", "lat", "within"),
    [
        (0.0, 0.0, True),  # a corner
        (4.0, 4.0, True),
        (4.0, 2.0, True),  # an edge
        (2.5, 0.0, True),
        (4.000_000_1, 2.0, False),
        (1.0, 1.0, True),  # the hole's corner
        (1.0, 1.5, True),  # the hole's edge
        (2.0, 1.2, True),
        (1.000_000_1, 1.5, False),
        (1.5, 1.5, False),  # in the hole
        (0.5, 0.5, True),
    ],
)
def test_the_edge_is_inside_and_so_is_the_edge_of_a_hole(lon: float, lat: float, within: bool) -> None:
    assert inside(polygon([[SQUARE, HOLE]]), lon, lat) is within


def test_edges_are_straight_in_degrees() -> None:
    strip = polygon([[[[0, 50], [90, 50], [90, 51], [0, 51], [0, 50]]]])
    assert inside(strip, 45.0, 50.0)  # the great circle between the corners is far north of here
    assert not inside(strip, 45.0, 51.000_000_1)


@pytest.mark.parametrize(
    ("position", "radius_m", "field"),
    [
        ([0.0, 0.0], None, "properties.radius_m"),
        ([0.0, 0.0], 0.0, "properties.radius_m"),
        ([0.0, 0.0], -1.0, "properties.radius_m"),
        ([0.0, 0.0], NAN, "properties.radius_m"),
        ([0.0, 0.0], INFINITY, "properties.radius_m"),
        ([0.0, 0.0], MAX_RADIUS_M * 1.001, "properties.radius_m"),
        ([181.0, 0.0], 10.0, "geometry.coordinates"),
        ([0.0, NAN], 10.0, "geometry.coordinates"),
        ([0.0], 10.0, "geometry.coordinates"),
        ([], 10.0, "geometry.coordinates"),
    ],
)
def test_a_circle_needs_a_place_and_a_radius(position: list[float], radius_m: float | None, field: str) -> None:
    with pytest.raises(InvalidGeometry) as refused:
        circle(position, radius_m)
    assert refused.value.field == field


def test_a_circle_includes_its_edge() -> None:
    shape = circle([24.0, 60.0], 1_000.0)
    for azimuth in range(0, 360, 15):
        for reach, within in ((999.999, True), (1000.001, False)):
            lon, lat, _ = WGS84.fwd(24.0, 60.0, azimuth, reach)
            assert inside(shape, lon, lat) is within
    exact = WGS84.inv(24.0, 60.0, 24.01, 60.0)[2]
    assert inside(circle([24.0, 60.0], exact), 24.01, 60.0)


@pytest.mark.parametrize(
    ("centre", "there"),
    [([180.0, 0.0], [-180.0, 0.0]), ([179.999, 60.0], [-179.999, 60.0]), ([10.0, 89.9999], [-170.0, 89.9999])],
)
def test_a_circle_reaches_over_the_antimeridian_and_the_pole(centre: list[float], there: list[float]) -> None:
    shape = circle(centre, 500.0)
    assert inside(shape, *there)
    index = FenceIndex([fence(1, shape)])
    assert index.query(np.array([there[0]]), np.array([there[1]]))[1].tolist() == [1]


@settings(max_examples=200, deadline=None)
@given(shape=scenes.shapes, at=st.lists(st.tuples(scenes.steps, scenes.steps), min_size=1, max_size=20))
def test_what_a_shape_holds_is_what_arithmetic_says(shape: Shape, at: list[tuple[int, int]]) -> None:
    lon, lat = (np.array(each) * scenes.STEP for each in zip(*at, strict=True))
    expected = [scenes.contains(shape, x, y) for x, y in zip(lon.tolist(), lat.tolist(), strict=True)]
    assert holds(shape, lon / DEGREE, lat / DEGREE).tolist() == expected
