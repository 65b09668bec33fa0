"""The shapes that a geofence may have: what is accepted, which points they hold, and which boxes cover them.

Untrusted geometry never reaches a native parser as text: typed rings come in, shapely builds from arrays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import shapely

from tracker.domain.batch import Floats, Mask
from tracker.domain.geodesy import Box, circle_boxes, distances_m
from tracker.errors import InvalidGeometry

MAX_VERTICES: Final = 10_000
MAX_RADIUS_M: Final = 1_000_000.0
Position = Sequence[float]
Rings = Sequence[Sequence[Position]]


@dataclass(frozen=True, slots=True)
class Circle:
    """Every point within radius_m of the centre by geodesic distance, the edge included."""

    lon: float
    lat: float
    radius_m: float


Shape: TypeAlias = "shapely.Polygon | shapely.MultiPolygon | Circle"


def _check_position(position: Position, where: str) -> None:
    if not 2 <= len(position) <= 4:
        raise InvalidGeometry(f"{where} must be [lon, lat]", field=where)
    lon, lat = position[0], position[1]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise InvalidGeometry(
            f"{where} is [{lon:.12g}, {lat:.12g}]: lon must be within ±180 and lat within ±90, in this order",
            field=where,
        )


def _check_ring(ring: Sequence[Position], where: str) -> None:
    if len(ring) < 4:
        raise InvalidGeometry(
            f"{where} has {len(ring)} positions; a ring needs at least 4, the last equal to the first", field=where
        )
    for i, position in enumerate(ring):
        _check_position(position, f"{where}[{i}]")
    if list(ring[0][:2]) != list(ring[-1][:2]):
        raise InvalidGeometry(f"{where} is not closed: its last position must equal its first", field=where)


def _polygon(rings: Rings, where: str) -> shapely.Polygon:
    if not rings:
        raise InvalidGeometry(f"{where} is empty", field=where)
    for i, ring in enumerate(rings):
        _check_ring(ring, f"{where}[{i}]")
    flat = [np.array([position[:2] for position in ring], dtype=np.float64) for ring in rings]
    return shapely.Polygon(flat[0], flat[1:])


def _checked(shape: shapely.Polygon | shapely.MultiPolygon) -> shapely.Polygon | shapely.MultiPolygon:
    if not shapely.is_valid(shape):
        reason = shapely.is_valid_reason(shape)  # "Self-intersection[13.4 52.5]"
        what, _, place = reason.partition("[")
        at = f" at [{', '.join(place.rstrip(']').split())}]" if place else ""
        raise InvalidGeometry(
            f"geometry.coordinates: {what.lower()}{at}; a ring must not cross or touch itself",
            field="geometry.coordinates",
        )
    shapely.prepare(shape)
    return shape


def _vertex_count(polygons: Sequence[Rings]) -> int:
    return sum(len(ring) for rings in polygons for ring in rings)


def polygon(polygons: Sequence[Rings], where: str = "geometry.coordinates") -> shapely.Polygon | shapely.MultiPolygon:
    """A valid polygon (of one part) or multipolygon from GeoJSON rings.

    Raises:
        InvalidGeometry: with the place of the first fault.
    """
    if not polygons:
        raise InvalidGeometry(f"{where} is empty", field=where)
    if _vertex_count(polygons) > MAX_VERTICES:
        raise InvalidGeometry(
            f"the geometry has {_vertex_count(polygons):,} positions; at most {MAX_VERTICES:,} are accepted",
            field=where,
        )
    if len(polygons) == 1:
        return _checked(_polygon(polygons[0], where))
    return _checked(shapely.MultiPolygon([_polygon(rings, f"{where}[{i}]") for i, rings in enumerate(polygons)]))


def circle(position: Position, radius_m: float | None) -> Circle:
    """A circle from a GeoJSON Point and its properties.radius_m."""
    _check_position(position, "geometry.coordinates")
    if radius_m is None:
        raise InvalidGeometry("a Point needs properties.radius_m, in metres", field="properties.radius_m")
    if not (math.isfinite(radius_m) and 0 < radius_m <= MAX_RADIUS_M):
        raise InvalidGeometry(
            f"properties.radius_m must be over 0 and at most {MAX_RADIUS_M:,.0f}", field="properties.radius_m"
        )
    return Circle(float(position[0]), float(position[1]), float(radius_m))


def boxes(shape: Shape) -> list[Box]:
    """Boxes that together cover the shape."""
    if isinstance(shape, Circle):
        return circle_boxes(shape.lon, shape.lat, shape.radius_m)
    return [tuple(shape.bounds)]


def holds(shape: Shape, lon: Floats, lat: Floats) -> Mask:
    """Which of the points lie in the shape, its edge included."""
    if isinstance(shape, Circle):
        return distances_m(lon, lat, np.full_like(lon, shape.lon), np.full_like(lat, shape.lat)) <= shape.radius_m
    return np.asarray(shapely.intersects_xy(shape, lon, lat), dtype=np.bool_)
