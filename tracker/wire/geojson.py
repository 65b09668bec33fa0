"""Geofences as GeoJSON features, in and out: their properties are here, their geometries in wire.geometry."""

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tracker.domain.geofence import Geofence, Quality, Rule
from tracker.domain.proximity import Around, Proximity
from tracker.domain.shape import Circle, Corridor
from tracker.errors import InvalidField
from tracker.wire import ids
from tracker.wire.geometry import Geometry, geometry_json
from tracker.wire.jsonb import fault
from tracker.wire.rules import NAMES, around_of, options_of, rule_of

MAX_NAME_LENGTH: Final = 200
MAX_TAGS: Final = 50
MAX_ATTRIBUTES_BYTES: Final = 16 * 1024

_KNOWN: Final = frozenset({"name", "tags", "quality", "radius_m", "buffer_m"}) | NAMES


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
    buffer_m: float | None = None


class Wishes(NamedTuple):
    """A geofence's properties: those known to us, the crossing model's and the options it was made from, the caller's
    own. around: of one that is around assets.
    """

    known: Properties
    rule: Rule
    options: dict[str, Any]
    own: dict[str, Any]
    around: Around | None


def properties_of(raw: dict[str, Any] | None) -> Wishes:
    """What the properties of a geofence ask for.

    Raises:
        InvalidField
    """
    given = raw or {}
    try:
        known = msgspec.convert(given, Properties)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("`$.")[2].rstrip("`") or "properties"
        raise InvalidField(
            f"properties.{where}: {str(error).partition(' - at')[0].replace('`', '')}", field=f"properties.{where}"
        ) from None
    _check_texts(known)
    options = options_of(given)
    own = {name: value for name, value in given.items() if name not in _KNOWN}
    encoded = msgspec.json.encode(own)
    if len(encoded) > MAX_ATTRIBUTES_BYTES:
        raise InvalidField(f"properties take more than {MAX_ATTRIBUTES_BYTES // 1024} KiB", field="properties")
    wrong = fault(own, encoded)
    if wrong is not None:
        raise InvalidField(f"properties {wrong}", field="properties")
    return Wishes(known, rule_of(options), options, own, around_of(options))


def _check_texts(known: Properties) -> None:
    if len(known.name) > MAX_NAME_LENGTH:
        raise InvalidField(f"properties.name has more than {MAX_NAME_LENGTH} characters", field="properties.name")
    if len(known.tags) > MAX_TAGS or any(not 0 < len(tag) <= 100 for tag in known.tags):
        raise InvalidField(f"properties.tags: at most {MAX_TAGS} tags of 1 to 100 characters", field="properties.tags")
    for name, texts in (("name", [known.name]), ("tags", known.tags)):
        if any("\x00" in text for text in texts):
            raise InvalidField(f"properties.{name} must not contain the character NUL", field=f"properties.{name}")


def feature_json(fence: Geofence | Proximity) -> dict[str, Any]:
    """A geofence as GeoJSON Feature; one around assets has no geometry."""
    properties: dict[str, Any] = {
        **fence.attributes,
        **fence.options,
        "name": fence.name,
        "tags": list(fence.tags),
        "quality": fence.quality,
        "version": fence.version,
    }
    if isinstance(fence.shape, Circle):
        properties["radius_m"] = fence.shape.radius_m
    if isinstance(fence.shape, Corridor):
        properties["buffer_m"] = fence.shape.buffer_m
    return {
        "type": "Feature",
        "id": ids.public_id(ids.GEOFENCE, fence.id),
        "geometry": None if isinstance(fence.shape, Around) else geometry_json(fence.shape),
        "properties": properties,
    }
