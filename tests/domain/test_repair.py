"""Repairs: what comes out holds what was meant, what was changed is said, and what is beyond repair is refused soon."""

import time
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.scenes import box
from tracker.domain.repair import MAX_CROSSINGS, Notes, Part, repaired, wrapped
from tracker.domain.ring import MAX_VERTICES, Polygonal
from tracker.domain.shape import holds, polygon
from tracker.errors import InvalidGeometry

SQUARE = box(0, 0, 40, 40)  # 0…4 degrees
BOW_TIE = [[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]


def mend(*parts: Any) -> tuple[Polygonal, list[str]]:
    notes = Notes()
    some = [Part(f"geometry.coordinates[{i}]", rings) for i, rings in enumerate(parts)]
    return repaired(some, notes), notes.all()


def inside(shape: Polygonal, *places: tuple[float, float]) -> list[bool]:
    lon, lat = np.array(places, dtype=np.float64).T
    return list(holds(shape, lon, lat).tolist())


def test_what_needs_no_repair_is_left_as_it_is() -> None:
    for rings in ([SQUARE], [SQUARE, box(10, 10, 20, 20)[::-1]]):
        shape, notes = mend(rings)
        assert notes == []
        assert shape == polygon([rings])


def test_a_ring_is_closed() -> None:
    shape, notes = mend([SQUARE[:-1]])
    assert notes == ["geometry.coordinates[0][0] closed: its last position [0, 4] was not its first"]
    assert shape == polygon([[SQUARE]])


def test_positions_said_twice_are_said_once() -> None:
    shape, notes = mend([[SQUARE[0], SQUARE[0], SQUARE[0], *SQUARE[1:]]])
    where = "geometry.coordinates[0][0]"
    assert notes == [f"{where}: positions that repeat the one before dropped, {where}[1] first of 2"]
    assert shape == polygon([[SQUARE]])


def test_heights_are_dropped() -> None:
    shape, notes = mend([[[*at, 100.0, 5.0] for at in SQUARE]])
    assert shape == polygon([[SQUARE]])
    assert "heights dropped" in notes[0]


def test_rings_are_turned() -> None:
    shape, notes = mend([SQUARE[::-1], box(10, 10, 20, 20)])
    assert notes == ["2 of 2 rings turned: outer ones go counterclockwise, holes clockwise"]
    assert shapely.is_ccw(shape.exterior)
    assert not shapely.is_ccw(shape.interiors[0])
    assert shape.equals(polygon([[SQUARE, box(10, 10, 20, 20)]]))


def test_a_bow_tie_becomes_two_triangles() -> None:
    shape, notes = mend([BOW_TIE])
    assert notes[-1] == "geometry.coordinates[0] mended: self-intersection at [2, 2]"
    assert inside(shape, (0.5, 2), (3.5, 2), (2, 3.5), (2, 0.5), (2, 2)) == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("parts", "held", "not_held", "said"),
    [
        ([[SQUARE], [box(30, 30, 60, 60)]], [(3.5, 3.5), (5, 5)], [(5, 1)], "united: self-intersection"),
        ([[SQUARE], [box(40, 0, 60, 40)]], [(4, 2), (5, 1)], [(7, 1)], "share an edge united"),
        ([[SQUARE], [box(10, 10, 20, 20)]], [(1.5, 1.5), (3, 3)], [(5, 5)], "united: nested shells"),
        ([[SQUARE], [SQUARE]], [(2, 2)], [(5, 5)], "united"),
        ([[SQUARE, SQUARE]], [(2, 2)], [(5, 5)], "mended: self-intersection"),
        ([[SQUARE, box(-5, 10, 20, 20)]], [(2, 2.5)], [(1, 1.5), (-0.3, 1.5)], "mended: self-intersection"),
        ([[SQUARE, box(50, 50, 60, 60)]], [(2, 2), (5.5, 5.5)], [(4.5, 4.5)], "hole lies outside shell at [5, 5]"),
        ([[box(10, 10, 20, 20), SQUARE]], [(0.5, 0.5)], [(1.5, 1.5)], "hole lies outside shell"),
        ([[SQUARE, box(10, 10, 30, 30), box(20, 20, 35, 35)]], [(0.5, 0.5)], [(1.5, 1.5), (3.2, 3.2)], "mended"),
        ([[SQUARE, box(10, 10, 30, 30), box(15, 15, 25, 25)]], [(0.5, 0.5), (2, 2)], [(1.2, 1.2)], "nested"),
        ([[SQUARE, box(50, 50, 90, 90), box(60, 60, 70, 70)]], [(2, 2), (5.5, 5.5)], [(6.5, 6.5)], "mended"),
        ([[SQUARE, box(30, 30, 60, 60)]], [(2, 2), (3.5, 3.5), (5, 5)], [(5, 2)], "mended: self-intersection"),
    ],
)
def test_parts_are_united_and_rings_nested_by_where_they_are(parts: Any, held: Any, not_held: Any, said: str) -> None:
    shape, notes = mend(*parts)
    assert all(inside(shape, *held))
    assert not any(inside(shape, *not_held))
    assert said in notes[-1]


def test_what_has_no_area_is_dropped() -> None:
    line, point = [[5, 5], [6, 6], [5, 5]], [[7, 7], [7, 7]]
    shape, notes = mend([SQUARE, point], [line, box(50, 50, 51, 51)], [[]])
    assert shape == polygon([[SQUARE]])
    dropped = [note for note in notes if "dropped" in note and "repeat" not in note]
    assert dropped == [
        "geometry.coordinates[0][1] has no area: dropped",
        "geometry.coordinates[1][0] has no area: dropped with its holes",
        "geometry.coordinates[2][0] has no area: dropped",
    ]


def test_slivers_that_mending_leaves_are_dropped() -> None:
    sliver = [[10, 10], [10.000_000_01, 10], [10, 10.000_000_01], [10, 10]]
    shape, notes = mend([SQUARE], [sliver])
    assert shape == polygon([[SQUARE]])
    assert notes == ["1 parts of less than a square centimetre dropped"]
    assert mend([sliver])[0].area > 0  # unless it is all there is


FIJI = [[177, -20], [-178, -20], [-178, -15], [177, -15], [177, -20]]


@pytest.mark.parametrize(
    "ring", [FIJI, FIJI[::-1], [[lon % 360, lat] for lon, lat in FIJI], [[lon % 360 - 360, lat] for lon, lat in FIJI]]
)
def test_what_goes_over_the_antimeridian_is_cut_there(ring: Any) -> None:
    shape, notes = mend([ring])
    assert "cut at the antimeridian, each edge taken the short way round" in notes[-1]
    assert sorted(part.bounds for part in shape.geoms) == [(-180, -20, -178, -15), (177, -20, 180, -15)]


def test_an_edge_is_cut_where_it_goes_over() -> None:
    shape, _ = mend([[[170, 0], [-170, 10], [-170, -10], [170, 0]]])
    assert inside(shape, (180, 5), (-180, 5), (180, -5), (180, 5.001), (-179.999, 5)) == [True, True, True, False, True]
    assert {180.0, -180.0} <= set(shapely.get_coordinates(shape)[:, 0].tolist())


def test_a_hole_over_the_antimeridian_is_a_hole() -> None:
    hole = [[179, -18], [-179, -18], [-179, -17], [179, -17], [179, -18]]
    shape, _ = mend([FIJI, hole])
    assert inside(shape, (180, -17.5), (-179.5, -17.5), (179.5, -17.5), (180, -18.5)) == [False, False, False, True]


def test_longitudes_of_another_turn_are_wrapped() -> None:
    shape, notes = mend([[[190, 0], [200, 0], [200, 10], [190, 10], [190, 0]]])
    assert notes == ["geometry.coordinates[0][0]: longitudes beyond ±180 wrapped"]
    assert shape.bounds == (-170, 0, -160, 10)


@pytest.mark.parametrize("lat", [70, -70])
@pytest.mark.parametrize("way", [1, -1])
def test_a_ring_round_a_pole_holds_it_whichever_way_it_is_wound(lat: int, way: int) -> None:
    ring = [[lon, lat] for lon in range(-150, 180, 60)][::way]
    shape, notes = mend([[*ring, ring[0]]])
    assert "goes round the " + ("north" if lat > 0 else "south") + " pole: taken to hold it" in "".join(notes)
    pole = 90 if lat > 0 else -90
    assert inside(shape, (0, pole), (180, lat * 1.1), (-180, lat * 1.1), (77, lat * 0.99)) == [True, True, True, False]


def test_a_band_over_a_pole_is_filled_between_its_sides() -> None:
    """As a satellite sees it: up one side of the earth, past the pole, down the other, and back on its other side."""
    ring = [[40, 0], [10, 85], [-165, 85], [-165, 0], [-155, 0], [-155, 85], [30, 85], [60, 0], [40, 0]]
    shape, _ = mend([ring])
    within = [(50, 5), (35, 42.5), (-160, 40), (0, 90), (100, 86), (-90, 86), (180, 89)]
    without = [(5, 40), (20, 42.5), (50, 42.5), (39, 70), (100, 40), (-90, 40), (100, 84), (-90, 84), (180, 40)]
    assert inside(shape, *within, *without) == [True] * len(within) + [False] * len(without)


def test_a_ring_twice_round_a_pole_is_refused() -> None:
    with pytest.raises(InvalidGeometry, match="goes round a pole 2 times") as refused:
        mend([[[lon % 360 - 180, 80 + lon / 1000] for lon in range(0, 720, 60)]])
    assert refused.value.field == "geometry.coordinates[0][0]"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "no area"),
        ([[]], "no area"),
        ([[[]]], "no area"),
        ([[[[0, 0]] * 5]], "no area"),
        ([[[[0, 0], [1, 1], [2, 2], [0, 0]]]], "no area"),
        ([[[[0, 0], [1, 1]]], [[[5, 5], [6, 6], [5, 5]]]], "no area"),
        ([[[[0, 0], [1, 91], [2, 2]]]], "[0][1] is [1, 91]: lat must be within ±90"),
        ([[[[0, 0], [541, 1], [2, 2]]]], "[0][1] is [541, 1]"),
        ([[[[0, 0], [float("nan"), 1], [2, 2]]]], "[0][1] is [nan, 1]"),
        ([[[[0, 0], [1, float("inf")], [2, 2]]]], "[0][1] is [1, inf]"),
        ([[[[0, 0], [1], [2, 2]]]], "[0][1] is [1]"),
        ([[[[0, 0], [], [2, 2]]]], "[0][1] is []"),
    ],
)
def test_what_is_beyond_repair_is_refused_with_the_reason(parts: Any, said: str) -> None:
    with pytest.raises(InvalidGeometry) as refused:
        mend(*parts)
    assert said in refused.value.message


def test_repair_makes_no_more_positions_than_a_geofence_may_have() -> None:
    with pytest.raises(InvalidGeometry, match=r"positions; at most 10,000"):
        mend([bow_ties(4_990)])
    with pytest.raises(InvalidGeometry, match="10,001 positions; at most 10,000"):
        mend([[[0.0, 0.0]] * (MAX_VERTICES + 1)])


def scribble(count: int) -> Any:
    return np.random.default_rng(1).uniform(0, 1, (count, 2)).tolist()


def star(count: int, reach: int) -> Any:
    turns = np.arange(count) * reach * 2 * np.pi / count
    return np.column_stack([np.cos(turns), np.sin(turns)]).tolist()


def bow_ties(count: int) -> Any:
    """A row of them, which is as many triangles that touch at their corners."""
    x = np.arange(count)
    zig, zag = np.column_stack([x, x % 2]), np.column_stack([x[::-1], 1 - x[::-1] % 2])
    return (np.vstack([zig, zag]) * 1e-3).tolist()


def comb(count: int) -> Any:
    """Long slanted teeth beside each other, so that every edge lies in the box of every other, and one that crosses."""
    teeth = np.repeat(np.arange(count // 2) * 1e-4, 2)
    ring = np.column_stack([teeth, np.zeros(len(teeth))])
    ring[1::2] += 5
    return [*ring.tolist(), [-1, 6], [3, 2.5]]


@pytest.mark.parametrize(
    "ring",
    [
        *(scribble(10_000), scribble(1_000), scribble(280)),
        *(star(9_999, 4_999), star(9_999, 500), star(9_999, 2)),
        *(comb(9_990), bow_ties(1_990), [[0, 0], [1, 1], [2, 0]] * 3_000),
    ],
)
def test_nothing_takes_long_or_much(ring: Any) -> None:
    began = time.process_time()
    try:
        mend([ring])
    except InvalidGeometry as refused:
        assert "too often" in refused.message or "at most 10,000" in refused.message or "no area" in refused.message  # noqa: PT017 - either will do
    assert time.process_time() - began < 20  # a second or two of work


def test_edges_that_cross_too_often_are_refused() -> None:
    assert MAX_CROSSINGS == 10_000
    with pytest.raises(InvalidGeometry, match="cross or near each other too often"):
        mend([scribble(400)])


def test_of_very_many_changes_the_number_is_told() -> None:
    _, notes = mend(*([box(i * 10, 0, i * 10 + 5, 5)[:-1]] for i in range(120)))
    assert len(notes) == 101
    assert notes[-1] == "and 20 more"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(st.lists(st.tuples(st.integers(-200, 200), st.integers(-90, 90)), max_size=8), max_size=3),
        max_size=3,
    )
)
def test_any_rings_are_repaired_or_refused_and_what_comes_out_is_accepted(parts: Any) -> None:
    try:
        shape, _ = mend(*parts)
    except InvalidGeometry:
        return
    assert shapely.is_valid(shape)
    rings = [
        [shapely.get_coordinates(ring).tolist() for ring in (p.exterior, *p.interiors)]
        for p in shapely.get_parts(shape)
    ]
    assert polygon(rings).equals(shape)


@settings(max_examples=100, deadline=None)
@given(
    ring=st.lists(st.tuples(st.integers(-8, 8), st.integers(-8, 8)), min_size=3, max_size=8),
    at=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
)
def test_a_ring_holds_what_it_winds_around_oddly(ring: Any, at: tuple[float, float]) -> None:
    """Odd winding is inside by any rule; even winding may be."""
    try:
        shape, _ = mend([ring])
    except InvalidGeometry:
        return
    x, y = at
    closed = np.array([*ring, ring[0]], dtype=np.float64)
    (x0, y0), (x1, y1) = closed[:-1].T, closed[1:].T
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    away = shapely.distance(shapely.LineString(closed), shapely.Point(x, y)) > 1e-6
    if crossings.sum() % 2 == 1 and away:
        assert inside(shape, at) == [True]


@pytest.mark.parametrize(
    ("position", "there"),
    [([190, 5], [-170, 5]), ([-190.5, 5, 7], [169.5, 5]), ([180, 5], [180, 5]), ([540, 0], [180, 0])],
)
def test_a_position_is_wrapped_and_it_is_said(position: Any, there: Any) -> None:
    notes = Notes()
    assert wrapped(position, "geometry.coordinates", notes) == there
    assert len(notes.all()) == (abs(position[0]) > 180)
