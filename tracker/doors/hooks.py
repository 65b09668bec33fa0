"""`/v1/hooks`: endpoints that events are sent to, their deliveries, tests and redeliveries. All of it is for admins.

A secret leaves in the answer that made its hook, and never again.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from tracker.access.roles import Role, require
from tracker.doors.fields import Body, given
from tracker.doors.keys import DATABASE
from tracker.doors.paging import only, page_of, path_id
from tracker.doors.problems import answer, body
from tracker.errors import Conflict, InvalidField, NotFound
from tracker.hooks.dispatcher import Dispatcher
from tracker.hooks.signing import new_key, secret_of
from tracker.pipeline.record import EVENT_TYPES
from tracker.wire import ids
from tracker.wire.times import rfc3339

HOOK_DISPATCHER: Final = web.AppKey("hook_dispatcher", Dispatcher)

STATES: Final = ("pending", "delivered", "dead")
SWITCHED_OFF: Final = "switched off"
_NEWEST: Final = 2**63 - 1

Url = Annotated[str, Meta(min_length=1)]
Types = Annotated[list[str], Meta(min_length=1, max_length=100)]
Ids = Annotated[list[str], Meta(min_length=1, max_length=10_000)]


class NewHook(Body):
    """Without assets or geofences it gets the events of all."""

    url: Url
    types: Types
    assets: Ids | None = None
    geofences: Ids | None = None


class HookPatch(Body):
    """What is left out stays; null for assets or geofences means all again."""

    url: Url | UnsetType = UNSET
    types: Types | UnsetType = UNSET
    assets: Ids | UnsetType | None = UNSET
    geofences: Ids | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/hooks", list_hooks),
        web.post("/v1/hooks", create_hook),
        web.get("/v1/hooks/{id}", show_hook),
        web.patch("/v1/hooks/{id}", change_hook),
        web.delete("/v1/hooks/{id}", delete_hook),
        web.post("/v1/hooks/{id}/test", test_hook),
        web.get("/v1/hooks/{id}/deliveries", list_deliveries),
        web.post("/v1/hooks/{id}/deliveries/{delivery}/redeliver", redeliver),
    ]


@require(Role.ADMIN)
async def list_hooks(request: web.Request) -> web.StreamResponse:
    page = page_of(request, ids.HOOK)
    return page.answer("hooks", await request.app[DATABASE].rows("hooks_list", page.after, page.fetch), _form)


@require(Role.ADMIN)
async def show_hook(request: web.Request) -> web.StreamResponse:
    only(request)
    return answer(_form(await _hook(request)))


@require(Role.ADMIN)
async def create_hook(request: web.Request) -> web.StreamResponse:
    """Sends nothing yet; the secret is in this answer only."""
    wanted = await body(request, NewHook)
    url = request.app[HOOK_DISPATCHER].guard.check_url(wanted.url)
    types, assets, geofences = await _choice(request, wanted.types, wanted.assets, wanted.geofences)
    key = new_key()
    row = await request.app[DATABASE].row("hooks_insert", url, types, assets, geofences, key)
    request.app[HOOK_DISPATCHER].refresh()
    return answer({**_form(_found(row)), "secret": secret_of(key)}, status=201)


@require(Role.ADMIN)
async def change_hook(request: web.Request) -> web.StreamResponse:
    """What waits goes to the new URL. `enabled: true` begins anew with what waits; false holds it back."""
    patch = await body(request, HookPatch)
    if patch.url is not UNSET:
        request.app[HOOK_DISPATCHER].guard.check_url(patch.url)
    types, assets, geofences = await _choice(request, given(patch.types), given(patch.assets), given(patch.geofences))
    row = await request.app[DATABASE].row(
        "hooks_update",
        path_id(request, ids.HOOK),
        *(patch.url is not UNSET, given(patch.url)),
        *(patch.types is not UNSET, types),
        *(patch.assets is not UNSET, assets),
        *(patch.geofences is not UNSET, geofences),
        given(patch.enabled),
        SWITCHED_OFF,
    )
    request.app[HOOK_DISPATCHER].refresh()
    return answer(_form(_found(row)))


@require(Role.ADMIN)
async def delete_hook(request: web.Request) -> web.StreamResponse:
    """What it still had to send is not sent."""
    _found(await request.app[DATABASE].row("hooks_delete", path_id(request, ids.HOOK)))
    request.app[HOOK_DISPATCHER].refresh()
    return web.Response(status=204)


@require(Role.ADMIN)
async def test_hook(request: web.Request) -> web.StreamResponse:
    """Sends one signed `hook.test` now, and says what came of it."""
    result = await request.app[HOOK_DISPATCHER].test(path_id(request, ids.HOOK))
    return answer({"ok": result.ok, "status": result.status, "error": result.error})


@require(Role.ADMIN)
async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """The newest first; `after` goes back in time."""
    page = page_of(request, ids.DELIVERY, "state")
    state = request.query.get("state")
    if state is not None and state not in STATES:
        raise InvalidField(f"state must be one of {', '.join(STATES)}.", field="state")
    hook = await _hook(request)
    states = STATES if state is None else (state,)
    rows = await request.app[DATABASE].rows("hooks_deliveries", hook["id"], page.after or _NEWEST, page.fetch, states)
    return page.answer("deliveries", rows, _delivery_form)


@require(Role.ADMIN)
async def redeliver(request: web.Request) -> web.StreamResponse:
    """Sends a delivery again that was delivered or is dead, with the same webhook-id, outside its asset's order."""
    hook = await _hook(request)
    number = path_id(request, ids.DELIVERY, "delivery")
    database = request.app[DATABASE]
    row = await database.row("hooks_redeliver", hook["id"], number)
    if row is None:
        if await database.row("hooks_delivery", hook["id"], number) is None:
            raise NotFound("This hook has no such delivery.")
        raise Conflict("This delivery is still pending: it is sent without being asked for.")
    request.app[HOOK_DISPATCHER].refresh()
    return answer(_delivery_form(row), status=202)


async def _hook(request: web.Request) -> Mapping[str, Any]:
    return _found(await request.app[DATABASE].row("hooks_get", path_id(request, ids.HOOK)))


def _found(row: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if row is None:
        raise NotFound("There is no such hook.")
    return row


async def _choice(
    request: web.Request, types: list[str] | None, assets: list[str] | None, geofences: list[str] | None
) -> tuple[list[str] | None, list[int] | None, list[int] | None]:
    """What a hook is to be sent, as it is stored: each thing once, and all of it known.

    Raises:
        InvalidField: a type that there is not, or an id of nothing.
    """
    for index, name in enumerate(types or ()):
        if name not in EVENT_TYPES:
            raise InvalidField(f"types[{index}]: must be one of {', '.join(EVENT_TYPES)}.", field=f"types[{index}]")
    return (
        None if types is None else list(dict.fromkeys(types)),
        await _known(request, ids.ASSET, "assets", assets),
        await _known(request, ids.GEOFENCE, "geofences", geofences),
    )


async def _known(request: web.Request, kind: str, field: str, texts: list[str] | None) -> list[int] | None:
    if texts is None:
        return None
    numbers = [ids.number_of(kind, text, f"{field}[{index}]") for index, text in enumerate(texts)]
    unknown = {row["id"] for row in await request.app[DATABASE].rows(f"hooks_unknown_{field}", numbers)}
    for index, number in enumerate(numbers):
        if number in unknown:
            raise InvalidField(f"{field}[{index}]: there is no {texts[index]}.", field=f"{field}[{index}]")
    return list(dict.fromkeys(numbers))


def _form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.HOOK, row["id"]),
        "url": row["url"],
        "types": row["types"],
        "assets": _ids(ids.ASSET, row["assets"]),
        "geofences": _ids(ids.GEOFENCE, row["geofences"]),
        "enabled": row["disabled_at"] is None,
        "disabled_at": _time(row["disabled_at"]),
        "disabled_reason": row["disabled_reason"],
        "failing_since": _time(row["failing_since"]),
        "created_at": rfc3339(row["created_at"]),
    }


def _delivery_form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.DELIVERY, row["id"]),
        "event": ids.public_id(ids.EVENT, row["event"]),
        "state": row["state"],
        "attempts": row["attempts"],
        "status": row["last_status"],
        "error": row["last_error"],
        "due_at": rfc3339(row["due_at"]) if row["state"] == "pending" else None,
        "last_attempt_at": _time(row["last_attempt_at"]),
        "delivered_at": _time(row["delivered_at"]),
    }


def _ids(kind: str, numbers: list[int] | None) -> list[str] | None:
    return None if numbers is None else [ids.public_id(kind, number) for number in numbers]


def _time(when: Any) -> str | None:
    return None if when is None else rfc3339(when)
