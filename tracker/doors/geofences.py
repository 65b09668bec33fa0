"""/v1/geofences: GeoJSON in and out. Every change goes through the writer, between two batches; lists come from its
index.
"""

from typing import Any, Final

import msgspec
from aiohttp import web

from tracker.access.roles import Role, require
from tracker.domain.geofence import Geofence
from tracker.domain.shape import Circle, boxes
from tracker.doors.keys import WRITER
from tracker.doors.live import bounds_of
from tracker.doors.paging import page_of, path_id
from tracker.doors.problems import body
from tracker.errors import InvalidField, NotFound, TrackerError
from tracker.pipeline.fences import Draft, create, delete, replace_fence
from tracker.wire import ids
from tracker.wire.geojson import (
    Feature,
    FeatureCollection,
    FeaturePatch,
    Point,
    Properties,
    feature_json,
    geometry_json,
    properties_of,
    shape_of,
)

MAX_AT_ONCE: Final = 10_000


def _draft(feature: Feature) -> Draft:
    known, own = properties_of(feature.properties)
    return Draft(known.name, shape_of(feature.geometry, known), known.quality, tuple(known.tags), own)


def _drafts(features: list[Feature]) -> list[Draft]:
    """All or none: the fault of one names its place in the list."""
    if not 0 < len(features) <= MAX_AT_ONCE:
        raise InvalidField(f"features: 1 to {MAX_AT_ONCE:,} at once", field="features")
    drafts = []
    for i, feature in enumerate(features):
        try:
            drafts.append(_draft(feature))
        except TrackerError as error:
            where = f"features[{i}]"
            raise type(error)(
                f"{where}: {error.message}", field=f"{where}.{error.field}" if error.field else where
            ) from None
    return drafts


def _answer(content: object, status: int = 200, content_type: str = "application/geo+json") -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type=content_type)


@require(Role.DISPATCHER)
async def make(request: web.Request) -> web.StreamResponse:
    """A Feature, a FeatureCollection, or an array of Features."""
    asked = await body(request, Feature | FeatureCollection | list[Feature])  # type: ignore[arg-type]
    writer = request.app[WRITER]
    if isinstance(asked, Feature):
        made = await create(writer, [_draft(asked)])
        return _answer(feature_json(made[0]), 201)
    made = await create(writer, _drafts(asked.features if isinstance(asked, FeatureCollection) else asked))
    return _answer({"geofences": [feature_json(fence) for fence in made]}, 201, "application/json")


def _touches(fence: Geofence, bbox: list[float]) -> bool:
    """Whether a fence's box meets a box that may cross the antimeridian."""
    asked = bounds_of(bbox)
    west, south, east, north = (value / 1e7 for value in (asked.west, asked.south, asked.east, asked.north))
    parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    return any(
        box[0] <= e and box[2] >= w and box[1] <= north and box[3] >= south
        for box in boxes(fence.shape)
        for w, e in parts
    )


@require(Role.VIEWER)
async def list_all(request: web.Request) -> web.StreamResponse:
    """A FeatureCollection in the order of making, with `next` as every list has it."""
    page = page_of(request, ids.GEOFENCE, "bbox")
    bbox = _bbox(request.query["bbox"]) if "bbox" in request.query else None
    fences = request.app[WRITER].index.fences
    after = page.after
    chosen = [fences[number] for number in sorted(number for number in fences if number > after)]
    if bbox is not None:
        chosen = [fence for fence in chosen if _touches(fence, bbox)]
    more = len(chosen) > page.limit
    chosen = chosen[: page.limit]
    following = ids.public_id(ids.GEOFENCE, chosen[-1].id) if more else None
    return _answer(
        {"type": "FeatureCollection", "features": [feature_json(fence) for fence in chosen], "next": following}
    )


def _bbox(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidField("bbox must be four numbers: west,south,east,north", field="bbox") from None


def _fence(request: web.Request) -> Geofence:
    number = path_id(request, ids.GEOFENCE)
    fence = request.app[WRITER].index.fences.get(number)
    if fence is None:
        raise NotFound(f"There is no geofence {request.match_info['id']}.")
    return fence


@require(Role.VIEWER)
async def get_one(request: web.Request) -> web.StreamResponse:
    return _answer(feature_json(_fence(request)))


@require(Role.DISPATCHER)
async def change(request: web.Request) -> web.StreamResponse:
    """Change what is given: the geometry as a whole, the properties one by one (null removes an own one)."""
    patch = await body(request, FeaturePatch)
    changed = await replace_fence(request.app[WRITER], _fence(request).id, lambda fence: _patched(fence, patch))
    return _answer(feature_json(changed))


def _patched(fence: Geofence, patch: FeaturePatch) -> Draft:
    """The geofence in force with the patch applied."""
    merged: dict[str, Any] = {
        **fence.attributes,
        "name": fence.name,
        "tags": list(fence.tags),
        "quality": fence.quality,
    }
    if isinstance(fence.shape, Circle):
        merged["radius_m"] = fence.shape.radius_m
    given = patch.properties if isinstance(patch.properties, dict) else {}
    if patch.geometry is not msgspec.UNSET and "radius_m" not in given and not isinstance(patch.geometry, Point):
        merged.pop("radius_m", None)
    merged.update(given)
    known, own = properties_of(
        {name: value for name, value in merged.items() if value is not None and name != "version"}
    )
    shape = _unchanged(fence, known) if patch.geometry is msgspec.UNSET else shape_of(patch.geometry, known)
    return Draft(known.name, shape, known.quality, tuple(known.tags), own)


def _unchanged(fence: Geofence, known: Properties) -> Any:
    """The shape that stays, with its radius if that changed."""
    if isinstance(fence.shape, Circle):
        return shape_of(msgspec.convert(geometry_json(fence.shape), Point), known)
    if known.radius_m is not None:
        raise InvalidField("properties.radius_m belongs to a Point", field="properties.radius_m")
    return fence.shape


@require(Role.DISPATCHER)
async def remove(request: web.Request) -> web.StreamResponse:
    """End it; its open visits close."""
    await delete(request.app[WRITER], _fence(request).id)
    return web.Response(status=204)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/geofences", list_all),
        web.post("/v1/geofences", make),
        web.get("/v1/geofences/{id}", get_one),
        web.patch("/v1/geofences/{id}", change),
        web.delete("/v1/geofences/{id}", remove),
    ]
