"""GeoJSON of geofences, in and out: typed rings come in, so that nothing untrusted reaches a native parser as text."""

from typing import Any, Final

import msgspec
import shapely
from msgspec import UNSET, Struct, UnsetType

from tracker.domain.geofence import Geofence, Quality
from tracker.domain.shape import Circle, Shape, circle, polygon
from tracker.errors import InvalidField, InvalidGeometry
from tracker.wire import ids
from tracker.wire.jsonb import fault

MAX_NAME_LENGTH: Final = 200
MAX_TAGS: Final = 50
MAX_ATTRIBUTES_BYTES: Final = 16 * 1024

# Options that other versions of a geofence have; taking them in silence would make a fence that does not do what it
# says.
NOT_YET: Final = frozenset(
    {
        "accuracy",
        "altitude_m",
        "assets",
        "buffer_m",
        "confirm_fixes",
        "confirm_s",
        "cross",
        "dwell_after_s",
        "edge",
        "exit_margin_m",
        "max_gap_s",
        "over_for_s",
        "schedule",
        "speed_limit_mps",
    }
)

Position = list[float]


class Polygon(Struct, tag="Polygon"):
    coordinates: list[list[Position]]


class MultiPolygon(Struct, tag="MultiPolygon"):
    coordinates: list[list[list[Position]]]


class Point(Struct, tag="Point"):
    coordinates: Position


Geometry = Polygon | MultiPolygon | Point


class Feature(Struct, tag="Feature"):
    """A geofence as it is asked for. Foreign members (bbox, crs, id) are not looked at, as RFC 7946 wants."""

    geometry: Geometry | None = None
    properties: dict[str, Any] | None = None


class FeatureCollection(Struct, tag="FeatureCollection"):
    features: list[Feature]


class FeaturePatch(Struct):
    """What shall change; `type` may be there, so that a Feature is a patch, too."""

    type: str | UnsetType = UNSET
    geometry: Geometry | UnsetType | None = UNSET
    properties: dict[str, Any] | UnsetType | None = UNSET


class Properties(Struct):
    """What a geofence's properties say to us."""

    name: str = ""
    tags: list[str] = []
    quality: Quality = "trusted"
    radius_m: float | None = None


def shape_of(geometry: Geometry | None, properties: Properties) -> Shape:
    """The checked shape.

    Raises:
        InvalidGeometry: with the place of the fault.
    """
    if geometry is None:
        raise InvalidGeometry("geometry is missing", field="geometry")
    if isinstance(geometry, Point):
        return circle(geometry.coordinates, properties.radius_m)
    if properties.radius_m is not None:
        raise InvalidField("properties.radius_m belongs to a Point", field="properties.radius_m")
    if isinstance(geometry, Polygon):
        return polygon([geometry.coordinates])
    parts = geometry.coordinates
    return polygon(parts, "geometry.coordinates[0]" if len(parts) == 1 else "geometry.coordinates")


def properties_of(raw: dict[str, Any] | None) -> tuple[Properties, dict[str, Any]]:
    """The known properties, and the caller's own.

    Raises:
        InvalidField
    """
    given = raw or {}
    for name in sorted(NOT_YET & given.keys()):
        raise InvalidField(
            f"properties.{name} is an option that this version does not have; leave it out", field=f"properties.{name}"
        )
    try:
        known = msgspec.convert(given, Properties)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("`$.")[2].rstrip("`") or "properties"
        raise InvalidField(
            f"properties.{where}: {str(error).partition(' - at')[0].replace('`', '')}", field=f"properties.{where}"
        ) from None
    _check_texts(known)
    own = {name: value for name, value in given.items() if name not in Properties.__struct_fields__}
    encoded = msgspec.json.encode(own)
    if len(encoded) > MAX_ATTRIBUTES_BYTES:
        raise InvalidField(f"properties take more than {MAX_ATTRIBUTES_BYTES // 1024} KiB", field="properties")
    wrong = fault(own, encoded)
    if wrong is not None:
        raise InvalidField(f"properties {wrong}", field="properties")
    return known, own


def _check_texts(known: Properties) -> None:
    if len(known.name) > MAX_NAME_LENGTH:
        raise InvalidField(f"properties.name has more than {MAX_NAME_LENGTH} characters", field="properties.name")
    if len(known.tags) > MAX_TAGS or any(not 0 < len(tag) <= 100 for tag in known.tags):
        raise InvalidField(f"properties.tags: at most {MAX_TAGS} tags of 1 to 100 characters", field="properties.tags")
    for name, texts in (("name", [known.name]), ("tags", known.tags)):
        if any("\x00" in text for text in texts):
            raise InvalidField(f"properties.{name} must not contain the character NUL", field=f"properties.{name}")


def geometry_json(shape: Shape) -> dict[str, Any]:
    """GeoJSON of a shape, its coordinates as they were given."""
    if isinstance(shape, Circle):
        return {"type": "Point", "coordinates": [shape.lon, shape.lat]}
    return dict(shapely.geometry.mapping(shape))


def feature_json(fence: Geofence) -> dict[str, Any]:
    """A geofence as GeoJSON Feature."""
    properties: dict[str, Any] = {
        **fence.attributes,
        "name": fence.name,
        "tags": list(fence.tags),
        "quality": fence.quality,
        "version": fence.version,
    }
    if isinstance(fence.shape, Circle):
        properties["radius_m"] = fence.shape.radius_m
    return {
        "type": "Feature",
        "id": ids.public_id(ids.GEOFENCE, fence.id),
        "geometry": geometry_json(fence.shape),
        "properties": properties,
    }
