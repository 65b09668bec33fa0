"""`/v1/assets`: what is followed."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from tracker.access.roles import Role, require
from tracker.domain.fix import OLDEST_MS, RANGES
from tracker.domain.reachability import NAMES, Connection
from tracker.doors.fields import Body, Name, Tags, free_form, given
from tracker.doors.keys import DATABASE, FLEET, REACHABILITY, WRITER
from tracker.doors.paging import Page, number_of, only, page_of, path_id, words_of
from tracker.doors.problems import answer, body
from tracker.errors import InvalidField
from tracker.live.latest import Latest
from tracker.pipeline.assets import end, judge_again, retag
from tracker.pipeline.commit import now_ms
from tracker.store.fleet import FleetStore, asset_of
from tracker.wire import ids
from tracker.wire.times import parse_when, rfc3339

FLEET_STORE: Final = web.AppKey("fleet_store", FleetStore)
LATEST: Final = web.AppKey("latest", Latest)


class ThresholdFields(Body):
    """What is left out stays; null is the default."""

    max_speed_mps: Annotated[float, msgspec.Meta(ge=1, le=RANGES["speed_mps"][1])] | UnsetType | None = UNSET
    max_accuracy_m: Annotated[float, msgspec.Meta(ge=1, le=RANGES["accuracy_m"][1])] | UnsetType | None = UNSET


class NewAsset(Body):
    name: Name
    tags: Tags = msgspec.field(default_factory=list)
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    thresholds: ThresholdFields | None = None


class AssetPatch(Body):
    """What is left out stays; tags and attributes are replaced as a whole."""

    name: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    attributes: dict[str, Any] | UnsetType = UNSET
    active_device: Annotated[str, msgspec.Meta(max_length=40)] | UnsetType = UNSET
    thresholds: ThresholdFields | UnsetType | None = UNSET


class Revision(Body, rename={"since": "from"}):
    since: str | int


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/assets", list_assets),
        web.post("/v1/assets", create_asset),
        web.get("/v1/assets/{id}", show_asset),
        web.patch("/v1/assets/{id}", change_asset),
        web.delete("/v1/assets/{id}", delete_asset),
        web.post("/v1/assets/{id}/revisions", revise),
    ]


@require(Role.VIEWER)
async def list_assets(request: web.Request) -> web.StreamResponse:
    """All; with `q` those with these words in the name or a tag, with `state` those that are heard of so."""
    page, words = page_of(request, ids.ASSET, "state", "q"), words_of(request)
    at_ms = now_ms()
    numbers = _in_state(request, page, at_ms)
    if numbers is not None and words is None:
        numbers = numbers[: page.fetch]
    rows = await request.app[DATABASE].rows("list_assets", page.after, page.fetch, numbers, words)
    shown, following = page.cut(rows)
    connections = request.app[REACHABILITY].of_assets([row["id"] for row in shown], at_ms)
    forms = [{**_form(row), "connection": connection_form(each)} for row, each in zip(shown, connections, strict=True)]
    return answer({"assets": forms, "next": following})


def _in_state(request: web.Request, page: Page, at_ms: int) -> list[int] | None:
    """The assets from this page on that are in the state that is asked for; None: any state is good."""
    state = request.query.get("state")
    if state is None:
        return None
    if state not in NAMES:
        raise InvalidField(f"state must be one of {', '.join(NAMES)}.", field="state")
    found = request.app[REACHABILITY].assets_in(NAMES.index(state), at_ms)
    numbers: list[int] = found[found > page.after].tolist()
    return numbers


@require(Role.VIEWER)
async def show_asset(request: web.Request) -> web.StreamResponse:
    """One asset, with its position if it has one, and whether it is heard of."""
    only(request)
    number = path_id(request, ids.ASSET)
    form = _form(await request.app[FLEET_STORE].asset(number))
    latest = request.app[LATEST]
    return answer({
        **form,
        "connection": _connection(request, number),
        "position": latest.state(number) if latest.known(number) else None,
    })  # fmt: skip


@require(Role.DISPATCHER)
async def create_asset(request: web.Request) -> web.StreamResponse:
    wanted = await body(request, NewAsset)
    free_form(wanted.attributes, "attributes")
    row = await request.app[FLEET_STORE].create_asset(
        wanted.name, wanted.tags, wanted.attributes, _thresholds(wanted.thresholds)
    )
    return answer({**_form(row), "connection": _connection(request, row["id"])}, status=201)


@require(Role.DISPATCHER)
async def change_asset(request: web.Request) -> web.StreamResponse:
    patch = await body(request, AssetPatch)
    if patch.attributes is not UNSET:
        free_form(patch.attributes, "attributes")
    active_device = (
        None if patch.active_device is UNSET else number_of(ids.DEVICE, patch.active_device, "active_device")
    )
    number = path_id(request, ids.ASSET)
    wanted = (
        given(patch.name),
        given(patch.tags),
        given(patch.attributes),
        active_device,
        None if patch.thresholds is UNSET else _thresholds(patch.thresholds),
    )
    store, writer = request.app[FLEET_STORE], request.app[WRITER]
    tags, known = given(patch.tags), request.app[FLEET].assets.get(number)
    if tags is None or known is None or frozenset(tags) == known.tags:
        row = await store.change_asset(number, *wanted)
    else:
        row = await retag(
            writer,
            number,
            tags,
            lambda connection, within: store.change_asset(number, *wanted, connection=connection, within=within),
        )
    return answer({**_form(row), "connection": _connection(request, row["id"])})


@require(Role.DISPATCHER)
async def delete_asset(request: web.Request) -> web.StreamResponse:
    """An asset with devices goes only together with them, and only if that was said."""
    only(request, "devices")
    with_devices = request.query.get("devices") == "true"
    number, store = path_id(request, ids.ASSET), request.app[FLEET_STORE]
    await end(
        request.app[WRITER],
        number,
        lambda connection, within: store.delete_asset(
            number, with_devices=with_devices, connection=connection, within=within
        ),
    )
    return web.Response(status=204)


@require(Role.DISPATCHER)
async def revise(request: web.Request) -> web.StreamResponse:
    """Judge the asset again from an instant on, by its thresholds as they are now; what differs becomes events."""
    wanted = await body(request, Revision)
    number, from_ms = path_id(request, ids.ASSET), parse_when(wanted.since, "from")
    await request.app[FLEET_STORE].asset(number)
    await judge_again(request.app[WRITER], number, max(from_ms, OLDEST_MS))
    return answer({"asset": ids.public_id(ids.ASSET, number), "from": rfc3339(max(from_ms, OLDEST_MS))}, status=202)


def _thresholds(fields: ThresholdFields | None) -> dict[str, float | None]:
    """Those to set; None: to the default. Null for all of them is null for each."""
    if fields is None:
        return dict.fromkeys(ThresholdFields.__struct_fields__)
    return {name: value for name, value in msgspec.structs.asdict(fields).items() if value is not UNSET}


def _connection(request: web.Request, asset: int) -> dict[str, Any]:
    return connection_form(request.app[REACHABILITY].of_assets([asset], now_ms())[0])


def connection_form(connection: Connection) -> dict[str, Any]:
    return {
        "state": NAMES[connection.state],
        "since": _time(connection.since_ms),
        "reason": connection.reason,
        "last_heard_at": _time(connection.heard_ms),
        "deadline_at": _time(connection.deadline_ms),
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _form(row: Mapping[str, Any]) -> dict[str, Any]:
    active = row["active_device"]
    return {
        "id": ids.public_id(ids.ASSET, row["id"]),
        "name": row["name"],
        "tags": row["tags"],
        "attributes": row["attributes"],
        "thresholds": asdict(asset_of(row).thresholds),
        "active_device": None if active is None else ids.public_id(ids.DEVICE, active),
        "devices": [ids.public_id(ids.DEVICE, device) for device in row["devices"]],
        "created_at": rfc3339(row["created_at"]),
    }
