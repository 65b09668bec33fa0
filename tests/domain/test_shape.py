"""Shapes: what is accepted, what is refused and where, and what is inside."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import globe, scenes
from tests.domain.scenes import box, fence
from tracker.domain.batch import DEGREE
from tracker.domain.geodesy import WGS84
from tracker.domain.index import FenceIndex
from tracker.domain.ring import MAX_VERTICES
from tracker.domain.shape import (
    MAX_BUFFER_M,
    MAX_RADIUS_M,
    Circle,
    Corridor,
    Shape,
    Shapes,
    all_boxes,
    boxes,
    buffer_m,
    circle,
    corridor,
    from_wkb,
    holds,
    polygon,
    radius_m,
    to_wkb,
)
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


@pytest.mark.parametrize(
    ("path", "buffer_m", "field", "said"),
    [
        ([], 10.0, "geometry.coordinates", "0 positions"),
        ([[0.0, 0.0]], 10.0, "geometry.coordinates", "at least 2"),
        ([[0.0, 0.0], [0.0, 0.0]], 10.0, "geometry.coordinates", "no length"),
        ([[0.0, 0.0], [181.0, 0.0]], 10.0, "geometry.coordinates[1]", "within ±180"),
        ([[0.0, 0.0], [1.0]], 10.0, "geometry.coordinates[1]", "[lon, lat]"),
        ([[0.0, 0.0], [1.0, NAN]], 10.0, "geometry.coordinates[1]", "within ±180"),
        ([[0.0, 0.0], [1.0, 0.0], [-179.0, 0.0]], 10.0, "geometry.coordinates[2]", "add one between"),
        ([[0.0, 0.0], [1.0, 1.0]], None, "properties.buffer_m", "needs properties.buffer_m"),
        ([[0.0, 0.0], [1.0, 1.0]], 0.0, "properties.buffer_m", "over 0"),
        ([[0.0, 0.0], [1.0, 1.0]], NAN, "properties.buffer_m", "over 0"),
        ([[0.0, 0.0], [1.0, 1.0]], MAX_BUFFER_M * 1.001, "properties.buffer_m", "at most 100,000"),
        ([[0.0, i / 1000] for i in range(MAX_VERTICES + 1)], 10.0, "geometry.coordinates", "10,001 positions"),
    ],
)
def test_a_corridor_needs_a_path_and_a_buffer(path: Any, buffer_m: float | None, field: str, said: str) -> None:
    with pytest.raises(InvalidGeometry) as refused:
        corridor(path, buffer_m)
    assert refused.value.field == field
    assert said in refused.value.message


def test_a_corridor_includes_its_edge_and_has_round_ends() -> None:
    shape = corridor([[24.0, 60.0], [24.0, 61.0]], 1_000.0)  # along a meridian
    for azimuth, start in ((90, 60.3), (270, 60.5), (180, 60.0), (225, 60.0), (0, 61.0), (45, 61.0)):
        for reach, within in ((999.999, True), (1000.001, False)):
            lon, lat, _ = WGS84.fwd(24.0, start, azimuth, reach)
            assert inside(shape, lon, lat) is within


def test_the_legs_of_a_corridor_are_geodesics() -> None:
    shape = corridor([[0.0, 50.0], [90.0, 50.0]], 10_000.0)
    assert inside(shape, 45.0, 59.3)  # where the great circle is
    assert not inside(shape, 45.0, 50.0)


@pytest.mark.parametrize(
    ("ring", "index"),
    [
        ([[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]], 1),
        ([[0, 0], [179, 0], [179, 10], [-10, 10], [0, 0]], 3),
        ([[-180, 0], [179.999, 0], [0, 10], [-180, 0]], 1),
        ([[-176, -18], [-173, -14], [180, -15], [-176, -18]], 2),
        ([[0, 0], [170, 90], [-170, 89], [0, 0]], 2),  # only one end of it is at the pole
    ],
)
def test_an_edge_that_may_go_either_way_round_is_refused_with_both_remedies(ring: Any, index: int) -> None:
    with pytest.raises(InvalidGeometry, match="cut at ±180, for the long way add a position in between") as refused:
        polygon([[ring]])
    assert refused.value.field == f"geometry.coordinates[0][{index}]"


@pytest.mark.parametrize(
    "ring",
    [
        [[-180, 40], [180, 40], [180, 50], [-180, 50], [-180, 40]],
        [[-180, -90], [180, -90], [180, -60], [0, -65], [-180, -60], [-180, -90]],
        [[-180, 90], [179.9, 90], [179.9, 80], [0, 81], [-180, 80], [-180, 90]],
        [[-100, 0], [80, 0], [80, 10], [-100, 10], [-100, 0]],
    ],
)
def test_an_edge_once_round_or_along_a_pole_or_of_half_a_turn_means_one_thing(ring: Any) -> None:
    assert polygon([[ring]]).is_valid


FIJI = [[box(1780, -200, 1800, -160)], [box(-1800, -200, -1780, -160)]]  # cut at ±180 as RFC 7946 wants
CHUKOTKA = [[box(1700, 600, 1800, 700)]]  # ends there


@pytest.mark.parametrize("lon", [180.0, -180.0])
@pytest.mark.parametrize(
    ("parts", "lat", "within"),
    [(FIJI, -18.0, True), (FIJI, -20.0, True), (FIJI, -20.1, False), (CHUKOTKA, 65.0, True), (CHUKOTKA, 71.0, False)],
)
def test_the_antimeridian_has_two_names_and_one_answer(parts: Any, lon: float, lat: float, within: bool) -> None:
    shape = polygon(parts)
    assert inside(shape, lon, lat) is within
    index = FenceIndex([fence(1, shape)])
    assert index.query(np.array([lon]), np.array([lat]))[1].tolist() == [1] * within


@pytest.mark.parametrize("lon", [-180.0, -77.7, 0.0, 45.0, 180.0])
def test_a_pole_has_many_names_and_one_answer(lon: float) -> None:
    wedge = polygon([[[[0, 80], [10, 80], [5, 90], [0, 80]]]])
    ring = polygon([[box(-1800, 800, 1800, 850)]])
    assert inside(wedge, lon, 90.0)
    assert not inside(wedge, lon, -90.0)
    assert not inside(ring, lon, 90.0)
    index = FenceIndex([fence(1, wedge), fence(2, ring)])
    assert index.query(np.array([lon]), np.array([90.0]))[1].tolist() == [1]


def plainly(shape: Shape, lon: float, lat: float) -> bool | None:
    """Whether the shape holds the place; None where its edge is nearer than floating point goes."""
    if isinstance(shape, Circle | Corridor):
        reach_m = shape.radius_m if isinstance(shape, Circle) else shape.buffer_m
        beyond_m = globe.metres_from(shape, lon, lat) - reach_m
        return None if abs(beyond_m) < 1e-5 + reach_m * 1e-9 else beyond_m < 0
    return globe.holds_exactly(shape, lon, lat)


@settings(max_examples=120, deadline=None)
@given(data=st.data(), shape=globe.shapes)
def test_what_a_shape_holds_is_what_a_slow_search_says_anywhere_on_earth(data: st.DataObject, shape: Shape) -> None:
    lon, lat = data.draw(globe.places_near(shape))
    expected = plainly(shape, lon, lat)
    if expected is not None:
        assert inside(shape, lon, lat) is expected
        assert all(inside(shape, *name) is expected for name in globe.names(lon, lat))


@settings(max_examples=120, deadline=None)
@given(data=st.data(), shape=globe.shapes)
def test_the_boxes_of_a_shape_cover_what_it_holds(data: st.DataObject, shape: Shape) -> None:
    lon, lat = data.draw(globe.places_near(shape))
    if inside(shape, lon, lat):
        for x, y in globe.names(lon, lat):
            assert any(w <= x <= e and s <= y <= n for w, s, e, n in boxes(shape))
    assert all(-180 <= w <= e <= 180 and -90 <= s <= n <= 90 for w, s, e, n in boxes(shape))


@settings(max_examples=50, deadline=None)
@given(some=st.lists(globe.shapes, max_size=6))
def test_many_shapes_have_the_boxes_that_each_has(some: list[Shape]) -> None:
    owner, corners = all_boxes(some)
    found = sorted((nth, *box) for nth, box in zip(owner.tolist(), corners.tolist(), strict=True))
    assert found == sorted((nth, *box) for nth, shape in enumerate(some) for box in boxes(shape))


def test_the_boxes_of_very_many_circles_take_no_time() -> None:
    circles = [Circle(i / 300 - 165, i / 1_000 - 50, 50.0 + i) for i in range(100_000)]
    began = time.process_time()
    owner, _ = all_boxes(circles)
    assert time.process_time() - began < 1
    assert len(owner) >= len(circles)


@pytest.mark.parametrize("parts", [FIJI, CHUKOTKA])
def test_what_is_cut_at_the_antimeridian_does_not_seem_to_go_round_the_world(parts: Any) -> None:
    assert sum(east - west for west, _, east, _ in boxes(polygon(parts))) <= 10


def test_a_long_corridor_has_few_boxes_and_little_in_them() -> None:
    path = [[float(i) / 10, 50 + float(i) / 100] for i in range(1_000)]
    covering = boxes(corridor(path, 50.0))
    assert len(covering) <= 128
    assert sum((e - w) * (n - s) for w, s, e, n in covering) < 100.0 * 10.0 / 30


@settings(max_examples=50, deadline=None)
@given(data=st.data(), some=st.lists(globe.shapes, min_size=1, max_size=6))
def test_shapes_in_columns_answer_as_each_of_them_does(data: st.DataObject, some: list[Shape]) -> None:
    which = np.array(data.draw(st.lists(st.integers(0, len(some) - 1), max_size=12)), dtype=np.int64)
    at = [data.draw(globe.places_near(some[i])) for i in which]
    lon, lat = np.array(at, dtype=np.float64).reshape(-1, 2).T
    columns = Shapes(some)
    each = [bool(holds(some[i], lon[k : k + 1], lat[k : k + 1])[0]) for k, i in enumerate(which)]
    assert columns.hold(which, lon, lat).tolist() == each
    alone = [
        Shapes([some[i]]).edge_distances_m(np.zeros(1, np.int64), lon[k : k + 1], lat[k : k + 1])[0]
        for k, i in enumerate(which)
    ]
    assert columns.edge_distances_m(which, lon, lat).tolist() == pytest.approx(alone, rel=1e-12)


def test_a_shape_that_stands_in_many_places_is_held_once() -> None:
    """As an index has it, whose boxes each name their shape."""
    path = corridor([[float(i) / 100, 50.0 + i % 2 / 100] for i in range(2_000)], 50.0)
    began = time.process_time()
    many = Shapes([path] * 128)
    once_s = time.process_time() - began
    assert many.hold(np.array([0, 127]), np.array([0.0, 0.0]), np.array([50.0, 51.0])).tolist() == [True, False]
    assert once_s < 1  # 128 times as much would be ten


@settings(max_examples=50, deadline=None)
@given(shape=st.one_of(globe.shapes, scenes.shapes))
def test_a_shape_is_stored_and_restored_as_it_was(shape: Shape) -> None:
    again = from_wkb(to_wkb(shape), radius_m(shape), buffer_m(shape))
    assert again == shape
    assert to_wkb(again) == to_wkb(shape)


@settings(max_examples=80, deadline=None)
@given(shape=scenes.shapes, at=st.lists(st.tuples(scenes.steps, scenes.steps), min_size=1, max_size=20))
def test_what_a_shape_holds_is_what_arithmetic_says(shape: Shape, at: list[tuple[int, int]]) -> None:
    lon, lat = (np.array(each) * scenes.STEP for each in zip(*at, strict=True))
    expected = [scenes.contains(shape, x, y) for x, y in zip(lon.tolist(), lat.tolist(), strict=True)]
    assert holds(shape, lon / DEGREE, lat / DEGREE).tolist() == expected
