"""Geometries of GeoJSON, in and out: strictly, or repaired where that is asked for, with words for what was changed.

Typed positions come in, so that nothing untrusted reaches a native parser as text.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import shapely
from msgspec import Struct

from tracker.domain.repair import Notes, Part, repaired, wrapped
from tracker.domain.ring import Polygonal
from tracker.domain.shape import Circle, Corridor, Shape, circle, corridor, polygon
from tracker.errors import InvalidField, InvalidGeometry

Position: TypeAlias = list[float]
_COORDINATES: Final = "geometry.coordinates"


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
Made = TypeVar("Made")


class Sizes(Protocol):
    """What a geofence's properties say of its shape."""

    radius_m: float | None
    buffer_m: float | None


def shape_of(geometry: Geometry | None, sizes: Sizes) -> Shape:
    """The shape, its coordinates as they are.

    Raises:
        InvalidGeometry: with the place of the fault.
        InvalidField: for a size that belongs to another kind of geometry.
    """
    return _shape(_present(geometry), sizes, None)


def asked_shape_of(geometry: Geometry | None, sizes: Sizes, *, repair: bool) -> tuple[Shape, list[str]]:
    """The shape, and what was repaired where that is asked for; a refusal says whether asking would help.

    Raises:
        InvalidGeometry, InvalidField
    """
    return _with_remedy(partial(_shape, _present(geometry), sizes), repair=repair)


def asked_area_of(geometry: Areas, *, repair: bool) -> tuple[Polygonal, list[str]]:
    """The same for what has no size of its own, and may take a second where much is to be repaired.

    Raises:
        InvalidGeometry
    """
    return _with_remedy(partial(_area, geometry), repair=repair)


def _present(geometry: Geometry | None) -> Geometry:
    if geometry is None:
        raise InvalidGeometry("geometry is missing", field="geometry")
    return geometry


def check_sizes(geometry: Geometry, sizes: Sizes) -> None:
    """Whether a size belongs to another kind of geometry.

    Raises:
        InvalidField
    """
    if sizes.radius_m is not None and not isinstance(geometry, Point):
        raise InvalidField("properties.radius_m belongs to a Point", field="properties.radius_m")
    if sizes.buffer_m is not None and not isinstance(geometry, LineString):
        raise InvalidField("properties.buffer_m belongs to a LineString", field="properties.buffer_m")


def _with_remedy(shape: Callable[[Notes | None], Made], *, repair: bool) -> tuple[Made, list[str]]:
    notes = Notes()
    if repair:
        return shape(notes), notes.all()
    try:
        return shape(None), []
    except InvalidGeometry as error:
        if not _is_made(shape):
            raise
        raise InvalidGeometry(f"{error.message}; with ?repair=true it would be accepted", field=error.field) from None


def _is_made(shape: Callable[[Notes | None], object]) -> bool:
    try:
        shape(Notes())
    except InvalidGeometry:
        return False
    return True


def _shape(geometry: Geometry, sizes: Sizes, notes: Notes | None) -> Shape:
    """Strictly, or repaired where there are notes to take."""
    check_sizes(geometry, sizes)
    if isinstance(geometry, Point):
        at = geometry.coordinates
        return circle(at if notes is None else wrapped(at, _COORDINATES, notes), sizes.radius_m)
    if isinstance(geometry, LineString):
        path = geometry.coordinates
        if notes is not None:
            path = [wrapped(at, f"{_COORDINATES}[{i}]", notes) for i, at in enumerate(path)]
        return corridor(path, sizes.buffer_m)
    return _area(geometry, notes)


def _area(geometry: Areas, notes: Notes | None) -> Polygonal:
    if notes is not None:
        return _repaired(geometry, notes)
    if isinstance(geometry, Polygon):
        return polygon([geometry.coordinates])
    if isinstance(geometry, GeometryCollection):
        raise InvalidGeometry(
            "geometry is a GeometryCollection; a geofence is a Polygon, MultiPolygon, Point or LineString",
            field="geometry",
        )
    parts = geometry.coordinates
    return polygon(parts, f"{_COORDINATES}[0]" if len(parts) == 1 else _COORDINATES)


def _repaired(geometry: Areas, notes: Notes) -> Polygonal:
    parts = list(_parts(geometry, notes))
    if isinstance(geometry, GeometryCollection):
        notes.add(f"GeometryCollection flattened to its polygons, {len(parts)} in all")
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


def geometry_json(shape: Shape) -> dict[str, Any]:
    """GeoJSON of a shape, its coordinates as they were given."""
    if isinstance(shape, Circle):
        return {"type": "Point", "coordinates": [shape.lon, shape.lat]}
    if isinstance(shape, Corridor):
        return {"type": "LineString", "coordinates": [list(position) for position in shape.path]}
    return dict(shapely.geometry.mapping(shape))
