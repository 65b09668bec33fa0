"""Geometries of GeoJSON, in and out: strictly, or repaired where that is asked for, with words for what was changed.

Typed positions come in, so that nothing untrusted reaches a native parser as text.
"""

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import shapely
from msgspec import Struct

from tracker.domain.repair import Notes, Part, repaired, wrapped
from tracker.domain.ring import Polygonal
from tracker.domain.shape import Circle, Corridor, Shape, circle, corridor, polygon
from tracker.errors import InvalidField, InvalidGeometry

Position: TypeAlias = list[float]
_COORDINATES = "geometry.coordinates"


class Point(Struct, tag="Point"):
    coordinates: Position


class MultiPoint(Struct, tag="MultiPoint"):
    coordinates: list[Position]


class LineString(Struct, tag="LineString"):
    coordinates: list[Position]


class MultiLineString(Struct, tag="MultiLineString"):
    coordinates: list[list[Position]]


class Polygon(Struct, tag="Polygon"):
    coordinates: list[list[Position]]


class MultiPolygon(Struct, tag="MultiPolygon"):
    coordinates: list[list[list[Position]]]


class GeometryCollection(Struct, tag="GeometryCollection"):
    geometries: list[
        "Polygon | MultiPolygon | Point | LineString | MultiPoint | MultiLineString | GeometryCollection | None"
    ]


Geometry: TypeAlias = Polygon | MultiPolygon | Point | LineString | GeometryCollection
Areas: TypeAlias = Polygon | MultiPolygon | GeometryCollection


class Sizes(Protocol):
    """What a geofence's properties say of its shape."""

    radius_m: float | None
    buffer_m: float | None


def shape_of(geometry: Geometry | None, sizes: Sizes) -> Shape:
    """The checked shape.

    Raises:
        InvalidGeometry: with the place of the fault.
        InvalidField: for a size that belongs to another geometry.
    """
    if geometry is None:
        raise InvalidGeometry("geometry is missing", field="geometry")
    _check_sizes(geometry, sizes)
    if isinstance(geometry, Point):
        return circle(geometry.coordinates, sizes.radius_m)
    if isinstance(geometry, LineString):
        return corridor(geometry.coordinates, sizes.buffer_m)
    if isinstance(geometry, Polygon):
        return polygon([geometry.coordinates])
    if isinstance(geometry, GeometryCollection):
        raise InvalidGeometry(
            "geometry is a GeometryCollection; a geofence is a Polygon, MultiPolygon, Point or LineString",
            field="geometry",
        )
    parts = geometry.coordinates
    return polygon(parts, f"{_COORDINATES}[0]" if len(parts) == 1 else _COORDINATES)


def _check_sizes(geometry: Geometry, sizes: Sizes) -> None:
    if sizes.radius_m is not None and not isinstance(geometry, Point):
        raise InvalidField("properties.radius_m belongs to a Point", field="properties.radius_m")
    if sizes.buffer_m is not None and not isinstance(geometry, LineString):
        raise InvalidField("properties.buffer_m belongs to a LineString", field="properties.buffer_m")


def repaired_shape_of(geometry: Geometry | None, sizes: Sizes) -> tuple[Shape, list[str]]:
    """The shape after what repairs it needs, and words for them.

    Raises:
        InvalidGeometry: if it is beyond repair.
        InvalidField: for a size that belongs to another geometry.
    """
    if geometry is None:
        return shape_of(geometry, sizes), []
    _check_sizes(geometry, sizes)
    notes = Notes()
    if isinstance(geometry, Point):
        shape: Shape = circle(wrapped(geometry.coordinates, _COORDINATES, notes), sizes.radius_m)
    elif isinstance(geometry, LineString):
        path = [wrapped(at, f"{_COORDINATES}[{i}]", notes) for i, at in enumerate(geometry.coordinates)]
        shape = corridor(path, sizes.buffer_m)
    else:
        shape = _repaired(geometry, notes)
    return shape, notes.all()


def _repaired(geometry: Areas, notes: Notes) -> Polygonal:
    parts = list(_parts(geometry, notes))
    if isinstance(geometry, GeometryCollection):
        notes.add(f"GeometryCollection flattened to its {len(parts)} polygons")
    return repaired(parts, notes)


def _parts(geometry: Areas, notes: Notes) -> Iterator[Part]:
    """The polygons in it, however deep, in order."""
    todo: list[tuple[str, Any]] = [("geometry", geometry)]
    while todo:
        where, each = todo.pop()
        if isinstance(each, Polygon):
            yield Part(f"{where}.coordinates", each.coordinates)
        elif isinstance(each, MultiPolygon):
            yield from (Part(f"{where}.coordinates[{i}]", rings) for i, rings in enumerate(each.coordinates))
        elif isinstance(each, GeometryCollection):
            todo += [(f"{where}.geometries[{i}]", one) for i, one in enumerate(each.geometries)][::-1]
        else:
            notes.add(f"{where} dropped: it has no area")


def asked_shape_of(geometry: Geometry | None, sizes: Sizes, *, repair: bool) -> tuple[Shape, list[str]]:
    """The shape, repaired if that is asked for; a refusal says whether asking would help.

    Raises:
        InvalidGeometry, InvalidField
    """
    if repair:
        return repaired_shape_of(geometry, sizes)
    try:
        return shape_of(geometry, sizes), []
    except InvalidGeometry as error:
        if not _is_repairable(geometry, sizes):
            raise
        raise InvalidGeometry(f"{error.message}; with ?repair=true it would be accepted", field=error.field) from None


def _is_repairable(geometry: Geometry | None, sizes: Sizes) -> bool:
    try:
        repaired_shape_of(geometry, sizes)
    except InvalidGeometry:
        return False
    return True


def geometry_json(shape: Shape) -> dict[str, Any]:
    """GeoJSON of a shape, its coordinates as they were given."""
    if isinstance(shape, Circle):
        return {"type": "Point", "coordinates": [shape.lon, shape.lat]}
    if isinstance(shape, Corridor):
        return {"type": "LineString", "coordinates": [list(position) for position in shape.path]}
    return dict(shapely.geometry.mapping(shape))
