import math
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely.affinity import translate

from tracker.domain.outline import Ring, few_pixels, outlines
from tracker.domain.ring import Polygonal
from tracker.domain.shape import Circle, Corridor, Shape, holds
from tracker.domain.stroke import MAX_GAP_MS, Trace, strokes
from tracker.domain.tile import BUFFER, CELLS, EXTENT, HALF_PIXEL, MAX_ZOOM, Tile
from tracker.errors import InvalidField


@st.composite
def tiles(draw: st.DrawFn, most: int = MAX_ZOOM) -> Tile:
    z = draw(st.integers(0, most))
    edge = st.sampled_from([0, 2**z - 1])
    return Tile(z, draw(st.one_of(edge, st.integers(0, 2**z - 1))), draw(st.one_of(edge, st.integers(0, 2**z - 1))))


def place(tile: Tile, lon: float, lat: float) -> tuple[float, float]:
    """By the formulas of the books, on the world as it is printed."""
    side = EXTENT * 2**tile.z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return (lon + 180) / 360 * side - tile.x * EXTENT, y * side - tile.y * EXTENT


def test_numbers_that_name_no_tile_are_refused_by_name() -> None:
    assert Tile.of("3", "7", "0") == Tile(3, 7, 0)
    for z, x, y, field in [("21", "0", "0", "z"), ("-1", "0", "0", "z"), ("3", "8", "0", "x"), ("3", "0", "1e0", "y")]:
        with pytest.raises(InvalidField) as refused:
            Tile.of(z, x, y)
        assert refused.value.field == field


@given(tiles(), st.floats(-180, 180), st.floats(-85, 85))
def test_places_are_where_the_books_put_them_round_the_world_or_not(tile: Tile, lon: float, lat: float) -> None:
    [x], [y] = tile.places(np.array([lon]), np.array([lat]))
    by_book = place(tile, lon, lat)
    world = EXTENT * 2**tile.z
    assert abs(x - EXTENT / 2) <= world / 2 * (1 + 1e-9)
    assert abs((x - by_book[0] + world / 2) % world - world / 2) < 1e-4
    assert abs(y - by_book[1]) < 1e-4
    west, south, east, north = tile.box()
    assert (west - 1e-9 <= lon <= east + 1e-9) == (-1e-3 <= by_book[0] <= EXTENT + 1e-3) or abs(by_book[0]) < 1
    assert south < north


@given(st.integers(-1_800_000_000, 1_800_000_000), st.integers(-849_999_999, 850_000_000), st.integers(0, MAX_ZOOM))
def test_a_place_is_in_one_cell_of_one_tile(lon: int, lat: int, z: int) -> None:
    zero = Tile(z, 0, 0)
    [column], [row] = zero.cells(np.array([lon]), np.array([lat]))
    assert 0 <= column < CELLS << z
    assert 0 <= row < CELLS << z
    tile = Tile(z, int(column) // CELLS, int(row) // CELLS)
    [own_column], [own_row] = tile.cells(np.array([lon]), np.array([lat]))
    assert (own_column, own_row) == (column % CELLS, row % CELLS)


# Tracks --------------------------------------------------------------------------------------------------------------


def trace(*fixes: tuple[int, float, float, float]) -> Trace:
    """(asset, seconds, lon, lat) each."""
    asset, seconds, lon, lat = (np.array(column) for column in zip(*fixes, strict=True))
    lon, lat = (np.rint(values * 1e7).astype(np.int64) for values in (lon, lat))
    return Trace(asset, (seconds * 1000).astype(np.int64), lon, lat, np.zeros(len(asset), np.bool_))


steps = st.tuples(st.floats(-40, 40), st.floats(-25, 25), st.sampled_from([1, 60, 900, 901]))


@settings(deadline=None, max_examples=60)
@given(tiles(6), st.floats(-180, 180), st.floats(-80, 80), st.lists(steps, min_size=1, max_size=25))
@example(Tile(2, 3, 3), 0.0, 0.0, [(0.0, -16.0, 1), (9.0, -25.0, 1), (40.0, -25.0, 1), (40.0, 1.0, 1)])  # passes by
def test_what_is_drawn_is_the_way_between_fixes_and_nothing_of_it_is_missing(
    tile: Tile, lon: float, lat: float, walk: list[tuple[float, float, int]]
) -> None:
    fixes, seconds = [(1, 0.0, lon, lat)], 0.0
    for east, north, later in walk:
        lon, lat = (lon + east + 180) % 360 - 180, max(-84.0, min(84.0, lat + north))
        seconds += later
        fixes.append((1, seconds, lon, lat))
    world = float(EXTENT << tile.z)
    square = shapely.box(1, 1, EXTENT - 1, EXTENT - 1)  # what runs along the seam is on one side of it
    ways = []
    for one, other in pairwise(fixes):
        if (other[1] - one[1]) * 1000 > MAX_GAP_MS:
            continue
        begin, end = place(tile, *one[2:]), place(tile, *other[2:])
        end = (end[0] - world * round((end[0] - begin[0]) / world), end[1])
        way = shapely.LineString([begin, end])
        ways += [translate(way, turn) for turn in (-2 * world, -world, 0, world, 2 * world)]
    true = shapely.union_all(ways) if ways else shapely.GeometryCollection()
    found = strokes(tile, trace(*fixes))
    drawn = shapely.union_all([shapely.LineString(part) for each in found if not each.still for part in each.parts])
    dots = shapely.union_all([shapely.Point(each.parts[0][0]) for each in found if each.still])
    off = 6.0  # half a pixel, and rounding
    seen = shapely.union(drawn, dots)
    assert shapely.difference(shapely.intersection(true, square), shapely.buffer(seen, off)).length < 1
    assert shapely.difference(drawn, shapely.buffer(true, off)).length < 1
    assert shapely.difference(
        drawn, shapely.box(-BUFFER - 1, -BUFFER - 1, EXTENT + BUFFER + 1, EXTENT + BUFFER + 1)
    ).is_empty


def test_a_long_track_becomes_as_many_points_as_can_be_seen() -> None:
    count = 200_000
    turn = np.linspace(0, 400 * math.pi, count)
    track = Trace(
        np.ones(count, np.int64), np.arange(count) * 1000, ((13.4 + np.cos(turn) / 10) * 1e7).astype(np.int64),
        ((52.1 + np.sin(turn) / 20) * 1e7).astype(np.int64), np.zeros(count, np.bool_),
    )  # fmt: skip
    [stroke] = strokes(Tile(8, 137, 84), track)
    assert (stroke.from_ms, stroke.to_ms) == (0, (count - 1) * 1000)
    assert sum(map(len, stroke.parts)) < 200 * 60
    [dot] = strokes(Tile(0, 0, 0), track)
    assert dot.still


def test_who_stays_and_who_is_seen_once_are_points() -> None:
    found = strokes(Tile(0, 0, 0), trace((1, 0, 10, 10), (1, 60, 10, 10.001), (1, 5000, 10, 10), (2, 0, 50, 10)))
    assert [(each.asset, each.from_ms, each.to_ms, each.still) for each in found] == [
        (1, 0, 5_000_000, True), (2, 0, 0, True),
    ]  # fmt: skip


# Geofences -----------------------------------------------------------------------------------------------------------


def drawn(tile: Tile, shape: Shape) -> shapely.Geometry:
    return filled_by(outlines(tile, shape))


def filled_by(rings: list[Ring]) -> shapely.Geometry:
    """What the rings fill, by their direction."""
    filled = shapely.GeometryCollection()
    for ring in rings:
        area = np.sum(ring[:, 0] * np.roll(ring[:, 1], -1) - np.roll(ring[:, 0], -1) * ring[:, 1])
        part = shapely.Polygon(ring)
        assert part.is_valid
        filled = shapely.union(filled, part) if area > 0 else shapely.difference(filled, part)
    return filled


def degrees(tile: Tile, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = EXTENT * 2**tile.z
    lon = (x + tile.x * EXTENT) / side * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (y + tile.y * EXTENT) / side))))
    return lon, lat


FIJI = shapely.MultiPolygon(
    [shapely.box(175, -20, 180, -15), shapely.box(-180, -20, -178, -15).difference(shapely.box(-179.9, -18, -179, -17))]
)
SHAPES: list[Shape] = [
    shapely.Polygon([(10, 40), (60, 70), (20, 60), (10, 40)]),
    FIJI,
    Circle(179.5, 60, 400_000),
    Circle(20, 84, 900_000),
    Circle(-0.2, 0.1, 500),
    Corridor(((170.0, 60.0), (-170.0, 65.0), (-150.0, 40.0)), 80_000),
    Corridor(((-0.1, 0.05), (0.1, 0.06)), 300),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_an_outline_holds_what_the_geofence_holds(shape: Shape) -> None:
    random = np.random.default_rng(7)
    seen = 0
    for tile in [
        *(Tile(z, x, y) for z in (0, 1, 2) for x in range(2**z) for y in range(2**z)),
        Tile(5, 31, 9), Tile(5, 0, 9), Tile(5, 31, 17), Tile(5, 0, 17), Tile(14, 8182, 8187), Tile(14, 8191, 8189),
    ]:  # fmt: skip
        area = drawn(tile, shape)
        x, y = random.uniform(0, EXTENT, (2, 400))
        lon, lat = degrees(tile, x, y)
        inside = holds(shape, lon, lat)
        points = shapely.points(x, y)
        near = shapely.dwithin(shapely.boundary(area), points, 8.0) if not area.is_empty else np.zeros(400, np.bool_)
        assert (shapely.covers(area, points) == inside)[~near].all(), (tile, shape)
        seen += int(inside.sum())
    assert seen > 20


def test_no_edge_is_drawn_where_a_geofence_was_cut_at_the_antimeridian() -> None:
    for tile in (Tile(5, 31, 17), Tile(5, 0, 17)):
        seam = float(EXTENT) if tile.x else 0.0
        line = shapely.intersection(shapely.boundary(drawn(tile, FIJI)), shapely.box(seam - 3, 100, seam + 3, 4000))
        assert line.length < 20


def test_many_small_shapes_outlined_at_once_are_the_same_to_half_a_pixel() -> None:
    tile = Tile(8, 145, 74)
    west, south, east, north = tile.box()
    lon, lat = np.linspace(west, east, 8)[1:-1], np.linspace(south, north, 8)[1:-1]
    boxes = [shapely.box(x, y, x + 0.08, y + 0.04) for x, y in zip(lon, lat, strict=True)]
    shapes: list[Polygonal | Circle] = [Circle(lon[0], lat[1], 1_500), boxes[0]]
    shapes += [boxes[1].difference(shapely.box(lon[1] + 0.02, lat[1] + 0.01, lon[1] + 0.06, lat[1] + 0.03))]
    shapes += [Circle(lon[2], lat[4], 400), shapely.MultiPolygon([boxes[3], boxes[4]])]
    shapes += [shapely.segmentize(shapely.Polygon(shapely.get_coordinates(boxes[5])[::-1]), 1e-5)]
    for shape, rings in zip(shapes, few_pixels(tile, shapes), strict=True):
        assert shapely.hausdorff_distance(filled_by(rings), drawn(tile, shape)) <= HALF_PIXEL
        assert len(rings[0]) < 1_000, "no place is told twice"
    assert few_pixels(tile, []) == []
