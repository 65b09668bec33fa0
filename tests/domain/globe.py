"""Shapes anywhere on the earth, over ±180 and at the poles above all, and slow, plain answers about them.

The answers share no code with what they test: polygons by crossing edges in rational numbers, everything round by
searching along geodesics.
"""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import shapely
from hypothesis import strategies as st

from tracker.domain.geodesy import WGS84
from tracker.domain.shape import Circle, Corridor, Shape, circle, corridor, polygon

Place = tuple[float, float]

lons = st.one_of(
    st.floats(-180, 180),
    st.sampled_from([-180.0, 180.0, 179.999, -179.999]),
    st.floats(179, 180),
    st.floats(-180, -179),
)
lats = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0]), st.floats(85, 90), st.floats(-90, -85))
places = st.tuples(lons, lats)
azimuths = st.floats(0, 360)


def at(place: Place, azimuth: float, metres: float) -> Place:
    """The place so far away in that direction."""
    lon, lat, _ = WGS84.fwd(*place, azimuth, metres)
    return float(lon), float(lat)


@st.composite
def circles(draw: st.DrawFn) -> Shape:
    return circle(draw(places), 10 ** draw(st.floats(0, 6)))


@st.composite
def corridors(draw: st.DrawFn) -> Shape:
    """A few legs of 30 m to 5,000 km, bending as they like."""
    path, scale_m = [draw(places)], 10 ** draw(st.floats(1.5, 6.7))
    for _ in range(draw(st.integers(1, 4))):
        path.append(at(path[-1], draw(azimuths), scale_m * draw(st.floats(0.2, 1))))
    return corridor(path, 10 ** draw(st.floats(0, 5)))


@st.composite
def boxes(draw: st.DrawFn) -> Shape:
    """West to east over ±180, cut there as RFC 7946 wants, or up to a pole."""
    south, north = draw(st.floats(-90, 89)), draw(st.floats(0.001, 90))
    north = min(90.0, south + north)
    west, width = draw(st.integers(-180, 179)), draw(st.integers(1, 359))
    east = west + width
    if east <= 180:
        return polygon([[_ring(west, south, east, north)]])
    return polygon([[_ring(west, south, 180, north)], [_ring(-180, south, east - 360, north)]])


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    """With a position at least each 90 degrees, so that no edge may go either way round."""
    lons = [west, *(lon for lon in (-90.0, 0.0, 90.0) if west < lon < east), east]
    return [*([lon, south] for lon in lons), *([lon, north] for lon in lons[::-1]), [west, south]]


@st.composite
def triangles(draw: st.DrawFn) -> Shape:
    """Slanted edges, some of which end on ±180."""
    west, south = draw(st.integers(-180, 170)), draw(st.integers(-90, 80))
    x, y = st.integers(0, 180 - west if west > 0 else 100), st.integers(0, 90 - south)
    corners = draw(st.lists(st.tuples(x, y), min_size=3, max_size=3, unique=True))
    ring = [[float(west + dx), float(south + dy)] for dx, dy in [*corners, corners[0]]]
    (ax, ay), (bx, by), (cx, cy) = corners
    if (bx - ax) * (cy - ay) == (by - ay) * (cx - ax):
        return draw(boxes())
    return polygon([[ring]])


polygons = st.one_of(boxes(), triangles())
shapes = st.one_of(circles(), corridors(), boxes(), triangles())


@st.composite
def places_near(draw: st.DrawFn, shape: Shape) -> Place:
    """On its edge, nearly so, within, or elsewhere."""
    if isinstance(shape, Circle):
        share = draw(st.sampled_from([0.0, 0.5, 0.999, 1.001, 2.0]))
        return at((shape.lon, shape.lat), draw(azimuths), shape.radius_m * share)
    if isinstance(shape, Corridor):
        leg = draw(st.integers(0, len(shape.path) - 2))
        azimuth, _, length_m = WGS84.inv(*shape.path[leg], *shape.path[leg + 1])
        on_path = at(shape.path[leg], azimuth, length_m * draw(st.floats(-0.01, 1.01)))
        return at(on_path, draw(azimuths), shape.buffer_m * draw(st.sampled_from([0.0, 0.5, 0.999, 1.001, 1.5])))
    if draw(st.booleans()):
        return draw(places)
    ends = shapely.get_coordinates(shape)
    chosen, share = draw(st.integers(0, len(ends) - 2)), draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    (x0, y0), (x1, y1) = ends[chosen : chosen + 2].tolist()
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


def names(lon: float, lat: float) -> list[Place]:
    """Every way to say a place, as far as it matters to a polygon: both sides of ±180; a pole by many longitudes."""
    if abs(lat) == 90:
        return [(float(each), lat) for each in range(-180, 181)]
    return [(lon, lat), (-lon, lat)] if abs(lon) == 180 else [(lon, lat)]


def metres_from(shape: Circle | Corridor, lon: float, lat: float) -> float:
    """From the centre or the path: by narrowing down on the nearest of many places on each leg."""
    if isinstance(shape, Circle):
        return float(WGS84.inv(shape.lon, shape.lat, lon, lat)[2])
    return min(_from_leg_m(a, b, lon, lat) for a, b in pairwise(shape.path))


def _from_leg_m(a: Place, b: Place, lon: float, lat: float, count: int = 101) -> float:
    azimuth, _, length_m = WGS84.inv(*a, *b)
    low, high, nearest = 0.0, float(length_m), np.inf
    for _ in range(8):
        along = np.linspace(low, high, count)
        x, y, _ = WGS84.fwd(np.full(count, a[0]), np.full(count, a[1]), np.full(count, azimuth), along)
        metres = WGS84.inv(np.full(count, lon), np.full(count, lat), x, y)[2]
        best = int(np.argmin(metres))
        nearest = min(nearest, float(metres[best]))
        low, high = along[max(0, best - 1)], along[min(count - 1, best + 1)]
    return nearest


def holds_exactly(shape: shapely.Polygon | shapely.MultiPolygon, lon: float, lat: float) -> bool:
    """In rational numbers, edge by edge, by every name that the place has."""
    parts = shape.geoms if isinstance(shape, shapely.MultiPolygon) else [shape]
    return any(_in_part(part, Fraction(x), Fraction(y)) for x, y in names(lon, lat) for part in parts)


def _in_part(part: shapely.Polygon, x: Fraction, y: Fraction) -> bool:
    outer, *holes = (_side(ring, x, y) for ring in (part.exterior, *part.interiors))
    return outer >= 0 and all(side <= 0 for side in holes)


def _side(ring: shapely.LinearRing, x: Fraction, y: Fraction) -> int:
    """1 within the ring, 0 on it, -1 outside."""
    inside = False
    for (x1, y1), (x2, y2) in pairwise((Fraction(a), Fraction(b)) for a, b in ring.coords):
        across = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if across == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return 0
        if (y1 > y) != (y2 > y) and (across > 0) == (y2 > y1):
            inside = not inside
    return 1 if inside else -1
