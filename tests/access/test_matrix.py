"""Who may call what: every route of the whole server, for every kind of caller. A route without a row here fails."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from aiohttp import ClientSession, web

from tracker.access.roles import Role
from tracker.app import Server
from tracker.settings import Settings

ADMIN_TOKEN = "the-preset-admin-token-of-this-test"
VIEWER, DISPATCHER, ADMIN = Role.VIEWER, Role.DISPATCHER, Role.ADMIN
PUBLIC = "everybody"
SENDERS = "devices and gateways"

MATRIX: dict[str, Role | str] = {
    "GET /": VIEWER,
    "GET /healthz": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /sign-in": PUBLIC,
    "POST /sign-in": PUBLIC,
    "GET /sign-in/{code}": PUBLIC,
    "POST /sign-out": PUBLIC,
    "GET /v1/assets": VIEWER,
    "POST /v1/assets": DISPATCHER,
    "GET /v1/assets/{id}": VIEWER,
    "PATCH /v1/assets/{id}": DISPATCHER,
    "DELETE /v1/assets/{id}": DISPATCHER,
    "GET /v1/assets/{id}/track": VIEWER,
    "GET /v1/assets/{id}/visits": VIEWER,
    "GET /v1/assets/{id}/stops": VIEWER,
    "GET /v1/assets/{id}/trips": VIEWER,
    "GET /v1/assets/{id}/motion": VIEWER,
    "POST /v1/assets/{id}/revisions": DISPATCHER,
    "POST /v1/backtests": DISPATCHER,
    "GET /v1/devices": VIEWER,
    "POST /v1/devices": ADMIN,
    "GET /v1/devices/{id}": VIEWER,
    "PATCH /v1/devices/{id}": ADMIN,
    "DELETE /v1/devices/{id}": ADMIN,
    "POST /v1/devices/{id}/token": ADMIN,
    "DELETE /v1/devices/{id}/token": ADMIN,
    "GET /v1/devices/{id}/rejects": VIEWER,
    "GET /v1/devices/{id}/commands": VIEWER,
    "POST /v1/devices/{id}/commands": DISPATCHER,
    "GET /v1/events": VIEWER,
    "GET /v1/events/{id}": VIEWER,
    "GET /v1/events/{id}/why": VIEWER,
    "GET /v1/geofences": VIEWER,
    "POST /v1/geofences": DISPATCHER,
    "GET /v1/geofences/{id}": VIEWER,
    "PATCH /v1/geofences/{id}": DISPATCHER,
    "DELETE /v1/geofences/{id}": DISPATCHER,
    "POST /v1/geofences/{id}/explain": VIEWER,
    "GET /v1/hooks": ADMIN,
    "POST /v1/hooks": ADMIN,
    "GET /v1/hooks/{id}": ADMIN,
    "PATCH /v1/hooks/{id}": ADMIN,
    "DELETE /v1/hooks/{id}": ADMIN,
    "POST /v1/hooks/{id}/test": ADMIN,
    "GET /v1/hooks/{id}/deliveries": ADMIN,
    "POST /v1/hooks/{id}/deliveries/{delivery}/redeliver": ADMIN,
    "GET /v1/ingest": SENDERS,
    "POST /v1/ingest": SENDERS,
    "GET /v1/live": VIEWER,
    "GET /v1/positions": VIEWER,
    "GET /v1/positions/extent": VIEWER,
    "GET /v1/tiles/{z}/{x}/{y}.mvt": VIEWER,
    "GET /v1/tokens": ADMIN,
    "POST /v1/tokens": ADMIN,
    "DELETE /v1/tokens/{id}": ADMIN,
    "GET /v1/users": ADMIN,
    "POST /v1/users": ADMIN,
    "GET /v1/users/{id}": ADMIN,
    "PATCH /v1/users/{id}": ADMIN,
    "DELETE /v1/users/{id}": ADMIN,
    "POST /v1/users/{id}/link": ADMIN,
}

_PLACE = (("{z}", "3"), ("{x}", "2"), ("{y}", "1"))


@dataclass(slots=True)
class House:
    """A whole server, and a credential of each kind."""

    server: Server
    http: ClientSession
    tokens: dict[str, str | None]

    def routes(self) -> list[str]:
        """Every route but the built files of the page and the HEAD of each GET."""
        return sorted(
            f"{route.method} {route.resource.canonical}"
            for route in self.server._application().router.routes()
            if route.resource is not None
            and not isinstance(route.resource, web.StaticResource)
            and route.method != "HEAD"
        )

    async def status(self, route: str, caller: str) -> int:
        """Of a request about nothing that is there, with a body that nobody wants."""
        method, path = route.split(" ")
        for name, value in (("{id}", "x_999"), ("{delivery}", "dlv_999"), ("{code}", "spent"), *_PLACE):
            path = path.replace(name, value)
        token = self.tokens[caller]
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = None if method == "GET" else b"{}"
        async with self.http.request(
            method, self.server.url + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            await response.read()
            return response.status


@pytest_asyncio.fixture
async def house(database: str, data_dir: Path) -> AsyncIterator[House]:
    settings = Settings("127.0.0.1", 0, data_dir, database, ADMIN_TOKEN)
    async with Server(settings) as server, ClientSession() as http:
        tokens: dict[str, str | None] = {"nobody": None, "preset": ADMIN_TOKEN, "stranger": "trk_" + "x" * 43}
        for role in Role:
            tokens[role.label] = (await server.access.create_token(role.label, "api", role))[1]
        tokens["gateway"] = (await server.access.create_token("mast", "gateway", None))[1]
        async with http.post(
            f"{server.url}/v1/devices", json={"name": "Bus"}, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
        ) as response:
            tokens["device"] = (await response.json())["token"]
        yield House(server, http, tokens)


def expected(needs: Role | str, caller: str) -> set[int] | None:
    """The statuses that refuse this caller; None when it is let in."""
    if needs == PUBLIC:
        return None
    if needs == SENDERS:
        return {"device": None, "gateway": None, "nobody": {401}, "stranger": {401}}.get(caller, {403})
    if caller in ("nobody", "stranger"):
        return {401}
    if caller in ("device", "gateway"):
        return {403}
    role = ADMIN if caller == "preset" else Role.of(caller)
    return None if isinstance(needs, Role) and role >= needs else {403}


async def test_every_route_lets_in_whom_the_matrix_says_and_nobody_else(house: House) -> None:
    routes = house.routes()
    assert routes == sorted(MATRIX), "a route has no row, or a row no route"
    wrong = []
    for route in routes:
        for caller in house.tokens:
            refusal = expected(MATRIX[route], caller)
            status = await house.status(route, caller)
            if status not in refusal if refusal else status in (401, 403) and not route.endswith("/sign-in"):
                wrong.append(f"{route} by {caller}: {status}")
    assert not wrong
