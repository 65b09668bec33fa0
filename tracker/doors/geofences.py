"""/v1/geofences: GeoJSON in and out. Every change goes through the writer, between two batches; lists come from its
index.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from aiohttp import web

from tracker.access.roles import Role, require
from tracker.domain.geofence import Geofence
from tracker.domain.index import FenceIndex
from tracker.domain.proximity import Around, Proximity
from tracker.domain.shape import Circle, Corridor, Shape
from tracker.doors.keys import WRITER
from tracker.doors.live import bounds_of
from tracker.doors.paging import page_of, path_id, words_of
from tracker.doors.problems import body
from tracker.errors import InvalidField, NotFound, TrackerError
from tracker.pipeline.commit import Writer
from tracker.pipeline.fences import Draft, create, delete, delete_proximity, replace_fence, replace_proximity
from tracker.wire import ids
from tracker.wire.geojson import (
    Feature,
    FeatureCollection,
    FeaturePatch,
    Properties,
    Wishes,
    feature_json,
    properties_of,
)
from tracker.wire.geometry import (
    Areas,
    Geometry,
    LineString,
    Point,
    Polygon,
    asked_area_of,
    asked_shape_of,
    check_sizes,
    shape_of,
)

MAX_AT_ONCE: Final = 10_000

Reshape: TypeAlias = Callable[[Properties], tuple[Shape, list[str]]]


class Asked(NamedTuple):
    """A geofence to be made, and what was repaired of its geometry: None where that was not asked for."""

    draft: Draft
    repairs: list[str] | None


def _asked(feature: Feature, *, repair: bool) -> Asked:
    wishes = properties_of(feature.properties)
    if wishes.around is not None:
        return Asked(_draft_around(wishes, feature.geometry), [] if repair else None)
    shape, repairs = asked_shape_of(feature.geometry, wishes.known, repair=repair)
    return Asked(_draft_of(wishes, shape), repairs if repair else None)


def _draft_around(wishes: Wishes, geometry: Geometry | msgspec.UnsetType | None) -> Draft:
    assert wishes.around is not None
    if isinstance(geometry, Geometry):
        raise InvalidField("properties.near belongs to a Feature whose geometry is null", field="properties.near")
    for name in ("radius_m", "buffer_m"):
        if getattr(wishes.known, name) is not None:
            raise InvalidField(
                f"properties.{name} does not apply to a geofence around assets", field=f"properties.{name}"
            )
    return _draft_of(wishes, wishes.around)


def _draft_of(wishes: Wishes, shape: Shape | Around) -> Draft:
    known = wishes.known
    return Draft(known.name, shape, known.quality, tuple(known.tags), wishes.own, wishes.rule, wishes.options)


def _all_asked(features: list[Feature], *, repair: bool) -> list[Asked]:
    """All or none: the fault of one names its place in the list."""
    if not 0 < len(features) <= MAX_AT_ONCE:
        raise InvalidField(f"features: 1 to {MAX_AT_ONCE:,} at once", field="features")
    asked = []
    for i, feature in enumerate(features):
        try:
            asked.append(_asked(feature, repair=repair))
        except TrackerError as error:
            where = f"features[{i}]"
            raise type(error)(
                f"{where}: {error.message}", field=f"{where}.{error.field}" if error.field else where
            ) from None
    return asked


def _wants_repair(request: web.Request) -> bool:
    """Whether the query says `repair=true`."""
    text = request.query.get("repair", "false")
    if text not in ("true", "false"):
        raise InvalidField("repair must be true or false", field="repair")
    return text == "true"


def _told(fence: Geofence | Proximity, repairs: list[str] | None) -> dict[str, Any]:
    """The Feature, and beside its members what was repaired, if that was asked for."""
    return feature_json(fence) | ({} if repairs is None else {"repairs": repairs})


def _answer(content: object, status: int = 200, content_type: str = "application/geo+json") -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type=content_type)


@require(Role.DISPATCHER)
async def make(request: web.Request) -> web.StreamResponse:
    """A Feature, a FeatureCollection, or an array of Features."""
    asked = await body(request, Feature | FeatureCollection | list[Feature])  # type: ignore[arg-type]
    repair = _wants_repair(request)
    if isinstance(asked, Feature):
        wanted = [await asyncio.to_thread(_asked, asked, repair=repair)]  # geometry may be a second's work
    else:
        features = asked.features if isinstance(asked, FeatureCollection) else asked
        wanted = await asyncio.to_thread(_all_asked, features, repair=repair)
    made = await create(request.app[WRITER], [each.draft for each in wanted])
    told = [_told(fence, each.repairs) for fence, each in zip(made, wanted, strict=True)]
    if isinstance(asked, Feature):
        return _answer(told[0], 201)
    return _answer({"geofences": told}, 201, "application/json")


def _touching(index: FenceIndex, bbox: list[float]) -> set[int]:
    """The geofences of which a box meets one that may cross the antimeridian."""
    asked = bounds_of(bbox)
    west, south, east, north = (value / 1e7 for value in (asked.west, asked.south, asked.east, asked.north))
    return set(index.meeting([(west, south, east if west <= east else east + 360, north)])[0].tolist())


@require(Role.VIEWER)
async def list_all(request: web.Request) -> web.StreamResponse:
    """A FeatureCollection in the order of making, with `next` as every list has it."""
    page, words = page_of(request, ids.GEOFENCE, "bbox", "q"), words_of(request)
    bbox = _bbox(request.query["bbox"]) if "bbox" in request.query else None
    writer, after = request.app[WRITER], page.after
    fences = _all(writer)
    numbers = fences.keys() if bbox is None else fences.keys() & _touching(writer.index, bbox)
    chosen = [fences[number] for number in sorted(number for number in numbers if number > after)]
    if words is not None:
        chosen = await asyncio.to_thread(_named, chosen, words)
    more = len(chosen) > page.limit
    chosen = chosen[: page.limit]
    following = ids.public_id(ids.GEOFENCE, chosen[-1].id) if more else None
    return _answer(
        {"type": "FeatureCollection", "features": [feature_json(fence) for fence in chosen], "next": following}
    )


def _all(writer: Writer) -> dict[int, Geofence | Proximity]:
    return {**writer.index.fences, **writer.proximities.current}


def _named(fences: list[Geofence | Proximity], words: str) -> list[Geofence | Proximity]:
    """Those with these words in the name or a tag."""
    return [fence for fence in fences if any(words in text.lower() for text in (fence.name, *fence.tags))]


def _bbox(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidField("bbox must be four numbers: west,south,east,north", field="bbox") from None


def _fence(request: web.Request) -> Geofence | Proximity:
    number, writer = path_id(request, ids.GEOFENCE), request.app[WRITER]
    fence = writer.index.fences.get(number) or writer.proximities.current.get(number)
    if fence is None:
        raise NotFound(f"There is no geofence {request.match_info['id']}.")
    return fence


@require(Role.VIEWER)
async def get_one(request: web.Request) -> web.StreamResponse:
    return _answer(feature_json(_fence(request)))


@require(Role.DISPATCHER)
async def change(request: web.Request) -> web.StreamResponse:
    """Change what is given: the geometry as a whole, the properties one by one (null removes an own one)."""
    patch, repair = await body(request, FeaturePatch), _wants_repair(request)
    known = _fence(request)
    if isinstance(known, Proximity):
        return _answer(_told(await _change_around(request.app[WRITER], known.id, patch), [] if repair else None))
    number, reshape = known.id, await _reshaped(patch.geometry, repair=repair)
    repairs: list[str] = []

    def wanted(fence: Geofence) -> Draft:
        draft, repairs[:] = _patched(fence, patch, reshape)
        return draft

    changed = await replace_fence(request.app[WRITER], number, wanted)
    return _answer(_told(changed, repairs if repair else None))


async def _change_around(writer: Writer, number: int, patch: FeaturePatch) -> Proximity:
    def wanted(fence: Proximity) -> Draft:
        wishes = properties_of(_merged(fence, patch))
        if wishes.around is None:
            raise InvalidField(
                "a geofence around assets stays one: make a new one with a geometry", field="properties.near"
            )
        return _draft_around(wishes, patch.geometry)

    return await replace_proximity(writer, number, wanted)


def _merged(fence: Geofence | Proximity, patch: FeaturePatch, **more: Any) -> dict[str, Any]:
    """The properties in force with those of the patch; null removes one."""
    merged: dict[str, Any] = {
        **fence.attributes,
        **fence.options,
        "name": fence.name,
        "tags": list(fence.tags),
        "quality": fence.quality,
        **more,
        **(patch.properties if isinstance(patch.properties, dict) else {}),
    }
    return {name: value for name, value in merged.items() if value is not None and name != "version"}


async def _reshaped(geometry: Geometry | msgspec.UnsetType | None, *, repair: bool) -> Reshape | None:
    """How a new geometry becomes a shape. What has a size needs the properties in force; any other is made now and
    beside the loop, for it may be a second's work.
    """
    if isinstance(geometry, msgspec.UnsetType):
        return None
    if not isinstance(geometry, Areas):
        return partial(asked_shape_of, geometry, repair=repair)
    made = await asyncio.to_thread(asked_area_of, geometry, repair=repair)

    def sizeless(known: Properties) -> tuple[Shape, list[str]]:
        check_sizes(geometry, known)
        return made

    return sizeless


def _patched(fence: Geofence, patch: FeaturePatch, reshape: Reshape | None) -> tuple[Draft, list[str]]:
    """The geofence in force with the patch applied, and what was repaired."""
    wishes = properties_of(_merged(fence, patch, **_sizes_that_stay(fence.shape, patch.geometry)))
    if wishes.around is not None:
        raise InvalidField(
            "a geofence with a geometry keeps one: make a new one around assets", field="properties.near"
        )
    shape, repairs = reshape(wishes.known) if reshape else (_unchanged(fence.shape, wishes.known), [])
    return _draft_of(wishes, shape), repairs


def _sizes_that_stay(shape: Shape, geometry: Geometry | msgspec.UnsetType | None) -> dict[str, float]:
    """The size of the shape in force, unless the new geometry is of another kind."""
    if isinstance(shape, Circle) and isinstance(geometry, Point | msgspec.UnsetType):
        return {"radius_m": shape.radius_m}
    if isinstance(shape, Corridor) and isinstance(geometry, LineString | msgspec.UnsetType):
        return {"buffer_m": shape.buffer_m}
    return {}


def _unchanged(shape: Shape, known: Properties) -> Shape:
    """The shape that stays, with its size if that changed."""
    if isinstance(shape, Circle):
        return shape_of(Point([shape.lon, shape.lat]), known)
    if isinstance(shape, Corridor):
        return shape_of(LineString([list(position) for position in shape.path]), known)
    check_sizes(Polygon([]), known)
    return shape


@require(Role.DISPATCHER)
async def remove(request: web.Request) -> web.StreamResponse:
    """End it; its open visits close."""
    known = _fence(request)
    await (delete_proximity if isinstance(known, Proximity) else delete)(request.app[WRITER], known.id)
    return web.Response(status=204)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/geofences", list_all),
        web.post("/v1/geofences", make),
        web.get("/v1/geofences/{id}", get_one),
        web.patch("/v1/geofences/{id}", change),
        web.delete("/v1/geofences/{id}", remove),
    ]
