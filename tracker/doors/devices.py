"""`/v1/devices`: what sends, with its tokens, rejects and commands."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from tracker.access.credentials import hash_of, new_token
from tracker.access.roles import Role, require
from tracker.domain.reachability import LONGEST_S, SHORTEST_S, SILENT_AFTER_S, seconds
from tracker.doors.assets import FLEET_STORE, connection_form
from tracker.doors.fields import Body, Name, free_form, given
from tracker.doors.keys import DATABASE, REACHABILITY
from tracker.doors.paging import id_of, number_of, only, page_of, path_id
from tracker.doors.problems import answer, body
from tracker.errors import InvalidField
from tracker.pipeline.commit import now_ms
from tracker.store.fleet import DeviceDraft
from tracker.wire import ids
from tracker.wire.times import rfc3339

MAX_DEVICES_PER_CALL: Final = 1_000
REJECT: Final = "rej"

# Called right after a command is stored: (device, command, name, args).
COMMANDS: Final[web.AppKey[Callable[[int, int, str, dict[str, Any]], None]]] = web.AppKey("commands")
# Called right after a device's config was changed; it stands in the registry by then.
CONFIGS: Final[web.AppKey[Callable[[int], None]]] = web.AppKey("configs")

AssetId = Annotated[str, Meta(max_length=40)]


class NewDevice(Body):
    """Without an asset one is made, of the same name."""

    name: Name
    asset: AssetId | None = None


class DevicePatch(Body):
    """What is left out stays; config is replaced as a whole."""

    name: Name | UnsetType = UNSET
    asset: AssetId | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET


class NewCommand(Body):
    name: Name
    args: dict[str, Any] = msgspec.field(default_factory=dict)


NewDevices = Annotated[list[NewDevice], Meta(min_length=1, max_length=MAX_DEVICES_PER_CALL)]


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/devices", list_devices),
        web.post("/v1/devices", create_devices),
        web.get("/v1/devices/{id}", show_device),
        web.patch("/v1/devices/{id}", change_device),
        web.delete("/v1/devices/{id}", delete_device),
        web.post("/v1/devices/{id}/token", create_token),
        web.delete("/v1/devices/{id}/token", end_older_tokens),
        web.get("/v1/devices/{id}/rejects", list_rejects),
        web.get("/v1/devices/{id}/commands", list_commands),
        web.post("/v1/devices/{id}/commands", create_command),
    ]


@require(Role.VIEWER)
async def list_devices(request: web.Request) -> web.StreamResponse:
    page = page_of(request, ids.DEVICE, "asset")
    asset = id_of(request, ids.ASSET, "asset")
    shown, following = page.cut(await request.app[DATABASE].rows("list_devices", page.after, page.fetch, asset))
    connections = request.app[REACHABILITY].of_devices([row["id"] for row in shown], now_ms())
    forms = [{**_form(row), "connection": connection_form(each)} for row, each in zip(shown, connections, strict=True)]
    return answer({"devices": forms, "next": following})


@require(Role.VIEWER)
async def show_device(request: web.Request) -> web.StreamResponse:
    """One device with its newest 100 streams, as far as they are durable."""
    only(request)
    number = path_id(request, ids.DEVICE)
    form = _form(await request.app[FLEET_STORE].device(number))
    streams = await request.app[DATABASE].rows("streams_of_device", number)
    return answer({
        **form,
        "connection": _connection(request, number),
        "streams": [_stream_form(row) for row in streams],
        "stream_count": streams[0]["known"] if streams else 0,
    })  # fmt: skip


@require(Role.ADMIN)
async def create_devices(request: web.Request) -> web.StreamResponse:
    """One from an object, many from an array: in order, all or none."""
    wanted: NewDevice | list[NewDevice] = await body(request, NewDevice | NewDevices)  # type: ignore[arg-type]
    several = wanted if isinstance(wanted, list) else [wanted]
    tokens = [new_token() for _ in several]
    drafts = [
        DeviceDraft(
            each.name, None if each.asset is None else number_of(ids.ASSET, each.asset, "asset"), hash_of(token)
        )
        for each, token in zip(several, tokens, strict=True)
    ]
    rows = await request.app[FLEET_STORE].create_devices(drafts)
    made = [
        {
            "id": ids.public_id(ids.DEVICE, row["id"]),
            "name": draft.name,
            "token": token,
            "asset": {"id": ids.public_id(ids.ASSET, row["asset"]), "name": row["asset_name"]},
        }
        for row, draft, token in zip(rows, drafts, tokens, strict=True)
    ]
    return answer({"devices": made} if isinstance(wanted, list) else made[0], status=201)


@require(Role.ADMIN)
async def change_device(request: web.Request) -> web.StreamResponse:
    patch = await body(request, DevicePatch)
    if patch.config is not UNSET:
        free_form(patch.config, "config")
        _check_patience(patch.config)
    asset = None if patch.asset is UNSET else number_of(ids.ASSET, patch.asset, "asset")
    number = path_id(request, ids.DEVICE)
    row = await request.app[FLEET_STORE].change_device(number, given(patch.name), asset, given(patch.config))
    if patch.config is not UNSET and CONFIGS in request.app:
        request.app[CONFIGS](number)
    return answer({**_form(row), "connection": _connection(request, number)})


def _check_patience(config: dict[str, Any]) -> None:
    """How long a device may say nothing: the server holds it to that.

    Raises:
        InvalidField: that is no such number.
    """
    for name in ("silent_after_s", "offline_after_s"):
        if name in config and seconds(config[name]) is None:
            raise InvalidField(
                f"config.{name} must be a number of seconds from {SHORTEST_S:g} to {LONGEST_S:,.0f}.",
                field=f"config.{name}",
            )
    silent_s = config.get("silent_after_s", SILENT_AFTER_S)
    if config.get("offline_after_s", silent_s) < silent_s:
        raise InvalidField(
            f"config.offline_after_s must not be below silent_after_s, {silent_s:g}.", field="config.offline_after_s"
        )


def _connection(request: web.Request, device: int) -> dict[str, Any]:
    return connection_form(request.app[REACHABILITY].of_devices([device], now_ms())[0])


@require(Role.ADMIN)
async def delete_device(request: web.Request) -> web.StreamResponse:
    """Ends its tokens and sockets; what it sent stays."""
    await request.app[FLEET_STORE].delete_device(path_id(request, ids.DEVICE))
    return web.Response(status=204)


@require(Role.ADMIN)
async def create_token(request: web.Request) -> web.StreamResponse:
    """A second token, to change over to; `DELETE` of the same path then ends the first."""
    token = new_token()
    number = await request.app[FLEET_STORE].add_device_token(path_id(request, ids.DEVICE), hash_of(token))
    return answer({"id": ids.public_id(ids.TOKEN, number), "token": token}, status=201)


@require(Role.ADMIN)
async def end_older_tokens(request: web.Request) -> web.StreamResponse:
    """Leaves the newest token."""
    await request.app[FLEET_STORE].end_older_tokens(path_id(request, ids.DEVICE))
    return web.Response(status=204)


@require(Role.VIEWER)
async def list_rejects(request: web.Request) -> web.StreamResponse:
    """Fixes refused for good: the newest 1,000 are kept."""
    page = page_of(request, REJECT)
    number = path_id(request, ids.DEVICE)
    await request.app[FLEET_STORE].device(number)
    rows = await request.app[DATABASE].rows("list_rejects", page.after, page.fetch, number)
    return page.answer("rejects", rows, _reject_form)


@require(Role.VIEWER)
async def list_commands(request: web.Request) -> web.StreamResponse:
    page = page_of(request, ids.COMMAND)
    number = path_id(request, ids.DEVICE)
    await request.app[FLEET_STORE].device(number)
    rows = await request.app[DATABASE].rows("list_commands", page.after, page.fetch, number)
    return page.answer("commands", rows, _command_form)


@require(Role.DISPATCHER)
async def create_command(request: web.Request) -> web.StreamResponse:
    """Kept until the device answers, also while it is away."""
    wanted = await body(request, NewCommand)
    free_form(wanted.args, "args")
    device = path_id(request, ids.DEVICE)
    number = await request.app[FLEET_STORE].add_command(device, wanted.name, wanted.args)
    if COMMANDS in request.app:
        request.app[COMMANDS](device, number, wanted.name, wanted.args)
    return answer({"id": ids.public_id(ids.COMMAND, number), "state": "waiting"}, status=202)


def _form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.DEVICE, row["id"]),
        "name": row["name"],
        "asset": {"id": ids.public_id(ids.ASSET, row["asset"]), "name": row["asset_name"]},
        "active": row["active"],
        "config": row["config"],
        "status": row["status"],
        "status_at": _time(row["status_at"]),
        "created_at": rfc3339(row["created_at"]),
    }


def _stream_form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"stream": row["name"], "seq": row["seq"], "gaps": row["gaps"], "opened_at": rfc3339(row["opened_at"])}


def _reject_form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(REJECT, row["id"]),
        "stream": row["stream"],
        "seq": row["seq"],
        "code": row["code"],
        "message": row["message"],
        "rejected_at": rfc3339(row["rejected_at"]),
    }


def _command_form(row: Mapping[str, Any]) -> dict[str, Any]:
    answered = row["answered_at"] is not None
    state = ("succeeded" if row["ok"] else "failed") if answered else "waiting" if row["sent_at"] is None else "sent"
    return {
        "id": ids.public_id(ids.COMMAND, row["id"]),
        "name": row["name"],
        "args": row["args"],
        "state": state,
        "value": row["value"],
        "created_at": rfc3339(row["created_at"]),
        "sent_at": _time(row["sent_at"]),
        "answered_at": _time(row["answered_at"]),
    }


def _time(when: Any) -> str | None:
    return None if when is None else rfc3339(when)
