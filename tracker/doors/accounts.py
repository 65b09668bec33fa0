"""`/v1/users` and `/v1/tokens`: who may use the API. Secrets are shown once, in the answer that makes them."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from tracker.access.accounts import Accounts
from tracker.access.roles import Role, require
from tracker.doors.fields import Body, Name, RoleName
from tracker.doors.identity import ACCESS
from tracker.doors.keys import DATABASE
from tracker.doors.paging import id_of, only, page_of, path_id
from tracker.doors.problems import answer, body
from tracker.errors import InvalidField
from tracker.wire import ids
from tracker.wire.times import rfc3339

ACCOUNTS: Final = web.AppKey("accounts", Accounts)
KINDS: Final = ("api", "gateway", "device")


class NewToken(Body):
    """An API token has a role; a gateway sends for any device and has none."""

    name: Name
    kind: Annotated[str, Meta(pattern="^(api|gateway)$")] = "api"
    role: RoleName | None = None


class NewUser(Body):
    name: Name
    role: RoleName


class UserPatch(Body):
    """What is left out stays."""

    name: Name | UnsetType = UNSET
    role: RoleName | UnsetType = UNSET


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/tokens", list_tokens),
        web.post("/v1/tokens", create_token),
        web.delete("/v1/tokens/{id}", revoke_token),
        web.get("/v1/users", list_users),
        web.post("/v1/users", create_user),
        web.get("/v1/users/{id}", show_user),
        web.patch("/v1/users/{id}", change_user),
        web.delete("/v1/users/{id}", delete_user),
        web.post("/v1/users/{id}/link", create_link),
    ]


@require(Role.ADMIN)
async def list_tokens(request: web.Request) -> web.StreamResponse:
    page = page_of(request, ids.TOKEN, "kind", "device")
    kind = request.query.get("kind") or None
    if kind is not None and kind not in KINDS:
        raise InvalidField(f"kind must be one of {', '.join(KINDS)}.", field="kind")
    device = id_of(request, ids.DEVICE, "device")
    return page.answer(
        "tokens", await request.app[DATABASE].rows("list_tokens", page.after, page.fetch, kind, device), _token_form
    )


@require(Role.ADMIN)
async def create_token(request: web.Request) -> web.StreamResponse:
    wanted = await body(request, NewToken)
    if (wanted.kind == "api") != (wanted.role is not None):
        raise InvalidField(
            "role is needed for a token of kind api: viewer, dispatcher or admin; a gateway has none.", field="role"
        )
    number, token = await request.app[ACCESS].create_token(
        wanted.name, wanted.kind, Role.of(wanted.role) if wanted.role else None
    )
    made = {
        "id": ids.public_id(ids.TOKEN, number),
        "name": wanted.name,
        "kind": wanted.kind,
        "role": wanted.role,
        "token": token,
    }
    return answer(made, status=201)


@require(Role.ADMIN)
async def revoke_token(request: web.Request) -> web.StreamResponse:
    """Of any kind; its sessions and sockets end with it."""
    await request.app[ACCESS].revoke(path_id(request, ids.TOKEN))
    return web.Response(status=204)


@require(Role.ADMIN)
async def list_users(request: web.Request) -> web.StreamResponse:
    page = page_of(request, ids.ACCOUNT)
    return page.answer("users", await request.app[ACCOUNTS].list(page.after, page.fetch), _user_form)


@require(Role.ADMIN)
async def show_user(request: web.Request) -> web.StreamResponse:
    only(request)
    return answer(_user_form(await request.app[ACCOUNTS].show(path_id(request, ids.ACCOUNT))))


@require(Role.ADMIN)
async def create_user(request: web.Request) -> web.StreamResponse:
    """The link signs the user in once, within a day; `POST …/link` makes another."""
    wanted = await body(request, NewUser)
    row, path = await request.app[ACCOUNTS].create(wanted.name, Role.of(wanted.role))
    return answer({**_user_form(row), "link": _absolute(request, path)}, status=201)


@require(Role.ADMIN)
async def change_user(request: web.Request) -> web.StreamResponse:
    patch = await body(request, UserPatch)
    name = None if patch.name is UNSET else patch.name
    role = None if patch.role is UNSET else Role.of(patch.role)
    return answer(_user_form(await request.app[ACCOUNTS].change(path_id(request, ids.ACCOUNT), name, role)))


@require(Role.ADMIN)
async def delete_user(request: web.Request) -> web.StreamResponse:
    await request.app[ACCOUNTS].delete(path_id(request, ids.ACCOUNT))
    return web.Response(status=204)


@require(Role.ADMIN)
async def create_link(request: web.Request) -> web.StreamResponse:
    path = await request.app[ACCOUNTS].link(path_id(request, ids.ACCOUNT))
    return answer({"link": _absolute(request, path)}, status=201)


def _absolute(request: web.Request, path: str) -> str:
    return f"{request.scheme}://{request.host}{path}"


def _token_form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.TOKEN, row["id"]),
        "name": row["name"],
        "kind": row["kind"],
        "role": row["role"],
        "device": None if row["device"] is None else ids.public_id(ids.DEVICE, row["device"]),
        "created_at": rfc3339(row["created_at"]),
    }


def _user_form(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.ACCOUNT, row["id"]),
        "name": row["name"],
        "role": row["role"],
        "created_at": rfc3339(row["created_at"]),
    }
