"""Small worlds for tests: geofences and fixes on one coarse grid, so that edges, corners and equal fixes are common."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import shapely
from hypothesis import strategies as st

from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32, Columns
from tracker.domain.geodesy import WGS84
from tracker.domain.geofence import Geofence, Quality
from tracker.domain.judge import judge as presence_judge
from tracker.domain.shape import Circle, Shape, circle, polygon
from tracker.errors import InvalidGeometry

STEP = 1_000_000  # of the grid: a tenth of a degree in the integers of positions
REACH = 8  # the grid goes from -REACH to REACH steps

judge = partial(presence_judge, max_speed_mps=1e12)  # on so coarse a grid everything would be a jump

Ring = list[list[float]]
steps = st.integers(-REACH, REACH)


@dataclass(frozen=True, order=True)
class Mark:
    """A fix as far as geofences care; sorted as event time has it."""

    time_ms: int
    lon: int
    lat: int
    asset: int = 1
    device: int = 1
    flags: int = 0

    @property
    def key(self) -> tuple[int, int, int]:
        return self.time_ms, self.lon, self.lat


def columns(marks: list[Mark]) -> Columns:
    """A batch of them, in this order."""
    n = len(marks)
    unknown = np.full(n, UNKNOWN_INT32, np.int32)
    return Columns(
        np.array([mark.asset for mark in marks], np.int32),
        np.array([mark.device for mark in marks], np.int32),
        np.array([mark.time_ms for mark in marks], np.int64),
        np.array([mark.lon for mark in marks], np.int32),
        np.array([mark.lat for mark in marks], np.int32),
        unknown,
        unknown,
        np.full(n, UNKNOWN_INT16, np.int16),
        unknown,
        np.array([mark.flags for mark in marks], np.int16),
        None,
    )


def marks(assets: int = 3, instants: int = 16, reach: int = REACH) -> st.SearchStrategy[Mark]:
    """Few instants, few places: many of them collide."""
    places = st.integers(-reach, reach).map(lambda step: step * STEP)
    return st.builds(
        Mark,
        time_ms=st.integers(-3, instants - 4),
        lon=places,
        lat=places,
        asset=st.integers(1, assets),
        device=st.integers(1, 2),
        flags=st.sampled_from([0, 0, 0, 2, 8]),
    )


def box(west: int, south: int, east: int, north: int) -> Ring:
    """A closed ring around a box of grid steps."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return [[x / 10, y / 10] for x, y in corners]


@st.composite
def rectangles(draw: st.DrawFn) -> Shape:
    """Sometimes with a hole, whose corners may touch the outside."""
    west, south = draw(st.integers(-REACH, REACH - 1)), draw(st.integers(-REACH, REACH - 1))
    east, north = draw(st.integers(west + 1, REACH)), draw(st.integers(south + 1, REACH))
    rings = [box(west, south, east, north)]
    if east - west >= 3 and north - south >= 3 and draw(st.booleans()):
        left, low = draw(st.integers(west + 1, east - 2)), draw(st.integers(south + 1, north - 2))
        rings.append(box(left, low, draw(st.integers(left + 1, east - 1)), draw(st.integers(low + 1, north - 1))))
    return polygon([rings])


@st.composite
def stars(draw: st.DrawFn) -> Shape:
    """Any ring of grid points that a geofence may have: slanted edges, hollows, either direction."""
    points = draw(st.lists(st.tuples(steps, steps), min_size=3, max_size=7, unique=True))
    x, y = np.mean(points, axis=0)
    around = sorted(points, key=lambda p: (math.atan2(p[1] - y, p[0] - x), math.hypot(p[1] - y, p[0] - x)))
    ring = [[px / 10, py / 10] for px, py in [*around, around[0]]]
    try:
        return polygon([[ring[::-1] if draw(st.booleans()) else ring]])
    except InvalidGeometry:
        return draw(rectangles())


@st.composite
def islands(draw: st.DrawFn) -> Shape:
    """A multipolygon; its parts may touch at a corner."""
    x, y = draw(st.integers(-REACH + 1, REACH - 1)), draw(st.integers(-REACH + 1, REACH - 1))
    south_west = box(draw(st.integers(-REACH, x - 1)), draw(st.integers(-REACH, y - 1)), x, y)
    north_east = box(x, y, draw(st.integers(x + 1, REACH)), draw(st.integers(y + 1, REACH)))
    return polygon([[south_west], [north_east]])


@st.composite
def circles(draw: st.DrawFn) -> Shape:
    """Their radius is sometimes exactly the distance to a grid point."""
    x, y = draw(steps) / 10, draw(steps) / 10
    to_x, to_y = draw(steps) / 10, draw(steps) / 10
    exact = float(WGS84.inv(x, y, to_x, to_y)[2])
    radius_m = exact if exact > 0 and draw(st.booleans()) else draw(st.floats(1.0, 100_000.0))
    return circle([x, y], radius_m)


shapes = st.one_of(rectangles(), stars(), islands(), circles())
qualities: st.SearchStrategy[Quality] = st.sampled_from(["trusted", "all"])


def fence(fence_id: int, shape: Shape, quality: Quality = "trusted", since_batch: int = 1) -> Geofence:
    return Geofence(fence_id, 1, f"fence {fence_id}", shape, quality, since_batch)


def contains(shape: Shape, lon: int, lat: int) -> bool:
    """Whether a position is in a shape or on its edge, without shapely: in rational numbers, edge by edge."""
    if isinstance(shape, Circle):
        distance_m = WGS84.inv(shape.lon, shape.lat, lon / DEGREE, lat / DEGREE)[2]
        return bool(distance_m <= shape.radius_m)
    x, y = Fraction(lon / DEGREE), Fraction(lat / DEGREE)
    parts = shape.geoms if isinstance(shape, shapely.MultiPolygon) else [shape]
    return any(_in_polygon(part, x, y) for part in parts)


def _in_polygon(part: shapely.Polygon, x: Fraction, y: Fraction) -> bool:
    outside, *holes = ([_exact(*at) for at in ring.coords] for ring in (part.exterior, *part.interiors))
    sides = [_side(ring, x, y) for ring in holes]
    return _side(outside, x, y) >= 0 and all(side <= 0 for side in sides)


def _exact(x: float, y: float) -> tuple[Fraction, Fraction]:
    return Fraction(x), Fraction(y)


def _side(ring: list[tuple[Fraction, Fraction]], x: Fraction, y: Fraction) -> int:
    """1 within the ring, 0 on it, -1 outside."""
    inside = False
    for (x1, y1), (x2, y2) in pairwise(ring):
        cross = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if cross == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return 0
        if (y1 > y) != (y2 > y) and (cross > 0) == (y2 > y1):
            inside = not inside
    return 1 if inside else -1
