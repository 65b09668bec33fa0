"""The shapes that a geofence may have: what is accepted, which points they hold, and which boxes cover them.

Untrusted geometry never reaches a native parser as text: typed rings come in, shapely builds from arrays.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.circles import Circles
from tracker.domain.geodesy import Box, circle_boxes, covers, distances_m
from tracker.domain.path import Corridors, Legs
from tracker.domain.polygons import Polygons
from tracker.domain.ring import Polygonal, Position, Ring, check_count, check_position, checked, fault
from tracker.errors import InvalidGeometry

MAX_RADIUS_M: Final = 1_000_000.0
MAX_BUFFER_M: Final = 100_000.0
MAX_LEG_M: Final = 15_000_000.0  # the way to the other side of the earth is no way in particular
Rings: TypeAlias = Sequence[Ring]


@dataclass(frozen=True, slots=True)
class Circle:
    """Every point within radius_m of the centre by geodesic distance, the edge included."""

    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True)
class Corridor:
    """Every point within buffer_m of the path by geodesic distance, the edge included; its legs are geodesics."""

    path: tuple[tuple[float, float], ...]
    buffer_m: float

    @cached_property
    def boxes(self) -> list[Box]:
        """Few boxes that together cover it."""
        return Legs([(self.path, self.buffer_m)]).boxes()


Shape: TypeAlias = shapely.Polygon | shapely.MultiPolygon | Circle | Corridor


def _polygon(rings: Rings, where: str) -> shapely.Polygon:
    if not rings:
        raise InvalidGeometry(f"{where} is empty", field=where)
    shell, *holes = [checked(ring, f"{where}[{i}]") for i, ring in enumerate(rings)]
    return shapely.Polygon(shell, holes)


def _checked(shape: Polygonal) -> Polygonal:
    wrong = fault(shape)
    if wrong is not None:
        raise InvalidGeometry(
            f"geometry.coordinates: {wrong}; a ring must not cross or touch itself", field="geometry.coordinates"
        )
    shapely.prepare(shape)
    return shape


def polygon(polygons: Sequence[Rings], where: str = "geometry.coordinates") -> Polygonal:
    """A valid polygon (of one part) or multipolygon from GeoJSON rings.

    Raises:
        InvalidGeometry: with the place of the first fault.
    """
    if not polygons:
        raise InvalidGeometry(f"{where} is empty", field=where)
    check_count(sum(len(ring) for rings in polygons for ring in rings), where)
    if len(polygons) == 1:
        return _checked(_polygon(polygons[0], where))
    return _checked(shapely.MultiPolygon([_polygon(rings, f"{where}[{i}]") for i, rings in enumerate(polygons)]))


def circle(position: Position, radius_m: float | None) -> Circle:
    """A circle from a GeoJSON Point and its properties.radius_m."""
    check_position(position, "geometry.coordinates")
    if radius_m is None:
        raise InvalidGeometry("a Point needs properties.radius_m, in metres", field="properties.radius_m")
    if not (math.isfinite(radius_m) and 0 < radius_m <= MAX_RADIUS_M):
        raise InvalidGeometry(
            f"properties.radius_m must be over 0 and at most {MAX_RADIUS_M:,.0f}", field="properties.radius_m"
        )
    return Circle(float(position[0]), float(position[1]), float(radius_m))


def corridor(path: Sequence[Position], buffer_m: float | None, where: str = "geometry.coordinates") -> Corridor:
    """A corridor from a GeoJSON LineString and its properties.buffer_m."""
    if len(path) < 2:
        raise InvalidGeometry(f"{where} has {len(path)} positions; a LineString needs at least 2", field=where)
    check_count(len(path), where)
    for i, position in enumerate(path):
        check_position(position, f"{where}[{i}]")
    if buffer_m is None:
        raise InvalidGeometry("a LineString needs properties.buffer_m, in metres", field="properties.buffer_m")
    if not (math.isfinite(buffer_m) and 0 < buffer_m <= MAX_BUFFER_M):
        raise InvalidGeometry(
            f"properties.buffer_m must be over 0 and at most {MAX_BUFFER_M:,.0f}", field="properties.buffer_m"
        )
    lon, lat = np.array([position[:2] for position in path], dtype=np.float64).T
    length_m = distances_m(lon[:-1], lat[:-1], lon[1:], lat[1:])
    if not length_m.any():
        raise InvalidGeometry(f"{where} has no length; a Point with radius_m is a circle", field=where)
    too_long = np.flatnonzero(length_m > MAX_LEG_M)
    if len(too_long):
        at = f"{where}[{too_long[0] + 1}]"
        raise InvalidGeometry(
            f"{at} is more than {MAX_LEG_M / 1000:,.0f} km from the position before; add one between", field=at
        )
    return Corridor(tuple(zip(lon.tolist(), lat.tolist(), strict=True)), float(buffer_m))


def radius_m(shape: Shape) -> float | None:
    """Of a circle."""
    return shape.radius_m if isinstance(shape, Circle) else None


def buffer_m(shape: Shape) -> float | None:
    """Of a corridor."""
    return shape.buffer_m if isinstance(shape, Corridor) else None


def to_wkb(shape: Shape) -> bytes:
    """The geometry as it is stored: a point for a circle, a line for a corridor."""
    if isinstance(shape, Circle):
        return bytes(shapely.to_wkb(shapely.Point(shape.lon, shape.lat)))
    return bytes(shapely.to_wkb(shapely.LineString(shape.path) if isinstance(shape, Corridor) else shape))


def from_wkb(geom: bytes, radius_m: float | None, buffer_m: float | None) -> Shape:
    """What to_wkb made, with the rest; it was checked before it was stored."""
    return all_from_wkb([(geom, radius_m, buffer_m)])[0]


def all_from_wkb(stored: Sequence[tuple[bytes, float | None, float | None]]) -> list[Shape]:
    """The same of many, which cost a quarter together."""
    geometries = np.asarray(shapely.from_wkb(np.array([geom for geom, _, _ in stored], object)), object)
    shapely.prepare(geometries[[radius_m is None and buffer_m is None for _, radius_m, buffer_m in stored]])
    return [
        Circle(each.x, each.y, radius_m)
        if radius_m is not None
        else Corridor(tuple(each.coords), buffer_m)
        if buffer_m is not None
        else each
        for each, (_, radius_m, buffer_m) in zip(geometries.tolist(), stored, strict=True)
    ]


def boxes(shape: Shape) -> list[Box]:
    """Boxes that together cover the shape, the other names of its places on ±180 and at the poles included."""
    if isinstance(shape, Circle):
        return circle_boxes(shape.lon, shape.lat, shape.radius_m)
    if isinstance(shape, Corridor):
        return shape.boxes
    return _polygon_boxes(shape)


def _polygon_boxes(shape: Polygonal) -> list[Box]:
    """One for each half of the world that it has a part in, so that what is cut at ±180 does not seem to go round."""
    parts = shapely.bounds(shapely.get_parts(shape))
    east = parts[:, 0] + parts[:, 2] >= 0
    sides = [parts[east], parts[~east]] if np.ptp(parts[:, ::2]) > 180 else [parts]
    found: list[Box] = [
        (*side[:, :2].min(axis=0).tolist(), *side[:, 2:].max(axis=0).tolist()) for side in sides if len(side)
    ]
    west, south, east_, north = shape.bounds
    names = [(-180.0, south, -180.0, north)] * (east_ == 180) + [(180.0, south, 180.0, north)] * (west == -180)
    poles = [(-180.0, -90.0, 180.0, -90.0)] * (south == -90) + [(-180.0, 90.0, 180.0, 90.0)] * (north == 90)
    return found + names + poles


def all_boxes(shapes: Sequence[Shape]) -> tuple[Ints, Floats]:
    """The boxes of many shapes: whose each is, and (n, 4) its west, south, east and north."""
    plain = np.array([each if isinstance(each, shapely.Geometry) else None for each in shapes], dtype=object)
    bounds = shapely.bounds(plain).reshape(-1, 4)
    west, south, east, north = bounds.T
    with np.errstate(invalid="ignore"):  # what is no polygon has NaN for bounds
        simple = (west > -180) & (east < 180) & (south > -90) & (north < 90) & (east - west <= 180)
    circle = np.array([isinstance(each, Circle) for each in shapes], np.bool_)
    round_, around = _circle_boxes(shapes, np.flatnonzero(circle))
    owner, corners = [np.flatnonzero(simple), round_], [bounds[simple], around]
    for nth in np.flatnonzero(~simple & ~circle).tolist():
        mine = np.array(boxes(shapes[nth]), np.float64)
        owner.append(np.full(len(mine), nth))
        corners.append(mine)
    return np.concatenate(owner), np.concatenate(corners)


def _circle_boxes(shapes: Sequence[Shape], which: Ints) -> tuple[Ints, Floats]:
    circles = [each for each in map(shapes.__getitem__, which.tolist()) if isinstance(each, Circle)]
    places = np.array([(each.lon, each.lat, each.radius_m) for each in circles], np.float64).reshape(-1, 3)
    own, corners = covers(*places.T)
    return which[own], corners


def holds(shape: Shape, lon: Floats, lat: Floats) -> Mask:
    """Which of the points lie in the shape, its edge included."""
    return Shapes([shape]).hold(np.zeros(len(lon), dtype=np.int64), lon, lat)


class Shapes:
    """Many shapes as columns, for questions about pairs of one of them and a point or a chord.

    Points are in degrees, within ±180 and ±90. A place on ±180 has two names and a pole has many: all get one answer.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        own = {id(each): each for each in shapes}  # what stands here more than once is held once
        polygons = [each for each in own.values() if not isinstance(each, Circle | Corridor)]
        circles = [each for each in own.values() if isinstance(each, Circle)]
        corridors = [each for each in own.values() if isinstance(each, Corridor)]
        self.kinds: tuple[Polygons, Circles, Corridors] = (
            Polygons(polygons),
            Circles([(each.lon, each.lat, each.radius_m) for each in circles]),
            Corridors([(each.path, each.buffer_m) for each in corridors]),
        )
        kinds = polygons, circles, corridors
        place = {id(each): (kind, nth) for kind, some in enumerate(kinds) for nth, each in enumerate(some)}
        self.kind: Ints
        self.nth: Ints
        self.kind, self.nth = np.array([place[id(each)] for each in shapes], dtype=np.int64).reshape(-1, 2).T

    @classmethod
    def _of(cls, kinds: "tuple[Polygons, Circles, Corridors]", kind: Ints, nth: Ints) -> "Shapes":
        made = cls.__new__(cls)
        made.kinds, made.kind, made.nth = kinds, kind, nth
        return made

    def joined(self, other: "Shapes") -> "Shapes":
        """These, then the others."""
        (polygons, circles, corridors), its = self.kinds, other.kinds
        kinds = polygons.joined(its[0]), circles.joined(its[1]), corridors.joined(its[2])
        before = np.array([len(polygons), len(circles), len(corridors)])
        kind = np.concatenate([self.kind, other.kind])
        return Shapes._of(kinds, kind, np.concatenate([self.nth, other.nth + before[other.kind]]))

    def take(self, which: Ints) -> "Shapes":
        """Those at some places, in their order."""
        kind, nth = self.kind[which], self.nth[which]
        used = [np.unique(nth[kind == number]) for number in range(3)]
        for number, places in enumerate(used):
            mine = kind == number
            nth[mine] = np.searchsorted(places, nth[mine])
        polygons, circles, corridors = self.kinds
        kinds = polygons.take(used[0]), circles.take(used[1]), corridors.take(used[2])
        return Shapes._of(kinds, kind, nth)

    def _split(self, which: Ints) -> Iterator[tuple[Polygons | Circles | Corridors, Ints, Ints]]:
        """The columns of each kind that is asked about, whose turn it is, and the place of each one's shape in them."""
        kind = self.kind[which]
        kinds: tuple[Polygons | Circles | Corridors, ...] = self.kinds
        for number, columns in enumerate(kinds):
            at = np.flatnonzero(kind == number)
            if len(at):
                yield columns, at, self.nth[which[at]]

    def hold(self, which: Ints, lon: Floats, lat: Floats) -> Mask:
        """Whether shapes[which[i]] holds the i-th point, its edge included."""
        inside = np.zeros(len(which), dtype=np.bool_)
        for columns, at, shape in self._split(which):
            inside[at] = columns.hold(shape, lon[at], lat[at])
        return inside

    def edge_distances_m(self, which: Ints, lon: Floats, lat: Floats) -> Floats:
        """How far the edge of shapes[which[i]] is from the i-th point, on either side of it. Exact for circles; for the
        others see Edges and Corridors. Infinite where a shape has no edge.
        """
        metres = np.empty(len(which))
        for columns, at, shape in self._split(which):
            metres[at] = columns.edge_distances_m(shape, lon[at], lat[at])
        return metres

    def touched_at(self, which: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
        """The fraction of the i-th chord at which it first touches shapes[which[i]], NaN where it never does."""
        first = np.empty(len(which))
        for columns, at, shape in self._split(which):
            first[at] = columns.touched_at(shape, lon0[at], lat0[at], lon1[at], lat1[at])
        return first
