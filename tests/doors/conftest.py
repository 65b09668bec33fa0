"""The REST doors as an application of their own, on a real database; what the journey would bring is put in by hand."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest_asyncio
from aiohttp import ClientResponse, ClientSession, CookieJar, web
from aiohttp.test_utils import BaseTestServer, TestServer

from tracker.access.accounts import Accounts
from tracker.access.attempts import Attempts
from tracker.access.roles import Role
from tracker.access.tokens import Access
from tracker.domain.fleet import Fleet
from tracker.doors import accounts, assets, devices, events, history, pages, sign_in
from tracker.doors.idempotency import idempotency_middleware
from tracker.doors.identity import ACCESS, identity_middleware
from tracker.doors.keys import DATABASE, FLEET, HUB, REACHABILITY, WRITER
from tracker.doors.problems import problems_middleware
from tracker.live.feed import Feed
from tracker.live.hub import Hub
from tracker.live.latest import Latest
from tracker.live.reachability import Reachability
from tracker.pipeline.commit import Writer
from tracker.pipeline.intake import Intake
from tracker.pipeline.publish import Publisher
from tracker.pipeline.stream import Lanes
from tracker.store.database import Database
from tracker.store.fleet import FleetStore
from tracker.store.journal import Journal

ADMIN = "an-admin-token-for-tests-0123456789"


@dataclass(slots=True)
class Told:
    """What the doors told the journey."""

    commands: list[tuple[int, int, str, dict[str, Any]]] = field(default_factory=list)
    configs: list[int] = field(default_factory=list)
    changed: list[tuple[set[int], set[int]]] = field(default_factory=list)


@dataclass(slots=True)
class Api:
    """A server and one who calls it; `token` None calls with the session's cookie, if there is one."""

    app: web.Application
    server: BaseTestServer
    http: ClientSession
    told: Told
    token: str | None = ADMIN

    @property
    def origin(self) -> str:
        return f"http://{self.server.host}:{self.server.port}"

    async def send(self, method: str, path: str, *, token: str | None = "", **options: Any) -> ClientResponse:
        headers = dict(options.pop("headers", {}))
        token = self.token if token == "" else token
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = await self.http.request(
            method, self.origin + path, headers=headers, allow_redirects=False, **options
        )
        await response.read()
        return response

    async def call(self, method: str, path: str, json: Any = None, *, expect: int = 200, **options: Any) -> Any:
        """The JSON of the answer, which must have this status."""
        response = await self.send(method, path, json=json, **options)
        text = await response.text()
        assert response.status == expect, f"{method} {path}: {response.status} {text}"
        return await response.json(content_type=None) if text else None

    async def problem(self, method: str, path: str, json: Any = None, *, expect: int, **options: Any) -> dict[str, Any]:
        """The problem document of the answer, which must have this status."""
        response = await self.send(method, path, json=json, **options)
        assert response.status == expect, f"{method} {path}: {response.status} {await response.text()}"
        assert response.content_type == "application/problem+json"
        found: dict[str, Any] = await response.json(content_type=None)
        assert found.keys() >= {"type", "title", "status", "detail", "code"}
        assert found["status"] == expect
        return found

    async def pages(self, path: str, name: str, limit: int) -> list[Any]:
        """Every item of a list, page by page."""
        found: list[Any] = []
        after = ""
        while True:
            page = await self.call("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}{after}")
            assert len(page[name]) <= limit
            found += page[name]
            if page["next"] is None:
                return found
            assert len(page[name]) == limit
            after = f"&after={page['next']}"

    async def token_of(self, role: Role) -> str:
        return (await self.app[ACCESS].create_token(role.label, "api", role))[1]


async def writing(app: web.Application) -> AsyncIterator[None]:
    """Changes that geofences notice go through the writer."""
    await app[WRITER].start()
    yield
    await app[WRITER].stop()


def application(database: Database, told: Told, extra: list[web.RouteDef] | None = None) -> web.Application:
    fleet = Fleet()
    access = Access(database, admin_token=ADMIN)
    app = web.Application(middlewares=[problems_middleware, identity_middleware, idempotency_middleware])
    app[DATABASE], app[FLEET], app[ACCESS] = database, fleet, access
    app[HUB] = Hub(Latest(fleet), Feed())
    app[assets.LATEST] = app[HUB].latest
    app[REACHABILITY] = Reachability(fleet)

    def changed(asset_ids: Collection[int], device_ids: Collection[int]) -> None:
        app[REACHABILITY].fleet_changed(asset_ids, device_ids)
        told.changed.append((set(asset_ids), set(device_ids)))

    app[assets.FLEET_STORE] = FleetStore(
        database,
        fleet,
        tokens_ended=access.ended,
        changed=changed,
    )
    app[WRITER] = Writer(Journal(database.url), fleet, Intake(), Lanes(), Publisher(app[assets.LATEST], Feed()))
    app.cleanup_ctx.append(writing)
    app[accounts.ACCOUNTS] = Accounts(database, access)
    app[devices.COMMANDS] = lambda *command: told.commands.append(command)
    app[devices.CONFIGS] = told.configs.append
    app[sign_in.ATTEMPTS] = Attempts()
    app[events.FOLLOWERS] = followers = events.Followers()
    access.on_revoked(followers.revoked)
    access.on_session_ended(followers.session_ended)
    for door in (accounts, assets, devices, events, history, sign_in):
        app.add_routes(door.routes())
    pages.setup(app)
    app.add_routes(extra or [])
    return app


@pytest_asyncio.fixture
async def api(store: Database) -> AsyncIterator[Api]:
    """The doors, called by the administrator unless said otherwise."""
    told = Told()
    app = application(store, told)
    async with TestServer(app) as server, ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:
        yield Api(app, server, http, told)


async def add_events(connection: asyncpg.Connection, rows: list[dict[str, Any]]) -> None:
    """Events as the writer stores them; what a row leaves out is filled in."""
    for row in rows:
        full = {
            "type": "geofence.enter", "asset": 1, "asset_name": "Bus 1", "geofence": 1, "geofence_name": "Depot",
            "lon": 249_400_000, "lat": 601_700_000, "recorded_at": row["fix_time"], **row,
        }  # fmt: skip
        names = ", ".join(full)
        marks = ", ".join(f"${number}" for number in range(1, len(full) + 1))
        await connection.execute(f"INSERT INTO event ({names}) VALUES ({marks})", *full.values())
