"""`/v1/hooks` over real HTTP, the real dispatcher and database behind it; the caller is an admin unless said."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from tests.hooks.outbox import Outbox
from tests.hooks.receiver import Receiver
from tracker.access.roles import CALLER, ROLE_MARK, Caller, Kind, Role
from tracker.doors.hooks import HOOK_DISPATCHER, routes
from tracker.doors.keys import DATABASE
from tracker.doors.problems import problems_middleware
from tracker.hooks.dispatcher import Dispatcher
from tracker.pipeline.record import EVENT_TYPES
from tracker.store.database import Database


@web.middleware
async def as_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    role = Role.of(request.headers.get("X-Role", "admin"))
    request[CALLER] = Caller(Kind.API_TOKEN, role, "somebody")
    return await handler(request)


class Api:
    """Calls, with the status that each must have."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def __call__(
        self, method: str, path: str, body: Any = None, *, status: int = 200, role: str = "admin"
    ) -> Any:
        async with self.client.request(method, path, json=body, headers={"X-Role": role}) as response:
            text = await response.text()
            assert response.status == status, text
            return json.loads(text) if text else None


@pytest_asyncio.fixture
async def api(store: Database, dispatcher: Dispatcher) -> AsyncIterator[Api]:
    app = web.Application(middlewares=[problems_middleware, as_caller])
    app[DATABASE] = store
    app[HOOK_DISPATCHER] = dispatcher
    app.add_routes(routes())
    async with TestClient(TestServer(app)) as client:
        yield Api(client)


async def test_a_new_hook_shows_its_secret_once_and_sends_nothing(api: Api, receiver: Receiver) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    shown = await api("GET", f"/v1/hooks/{made['id']}")
    assert shown == {key: value for key, value in made.items() if key != "secret"}
    assert shown["enabled"] is True
    assert shown["assets"] is shown["geofences"] is None
    assert receiver.requests == []


async def test_what_is_made_is_delivered_with_the_secret_that_was_shown(
    api: Api, outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": list(EVENT_TYPES)}, status=201)
    await dispatcher.start()
    await outbox.events([1])
    dispatcher.wake()
    await outbox.until_states(delivered=1)
    headers, body = receiver.requests[0]
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    digest = hmac.digest(key, f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body, "sha256")
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


async def test_hooks_are_listed_in_pages_without_secrets(api: Api, receiver: Receiver) -> None:
    made = [
        await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.exit"]}, status=201) for _ in range(3)
    ]
    first = await api("GET", "/v1/hooks?limit=2")
    rest = await api("GET", f"/v1/hooks?limit=2&after={first['next']}")
    assert [hook["id"] for hook in first["hooks"] + rest["hooks"]] == [hook["id"] for hook in made]
    assert rest["next"] is None
    assert all("secret" not in hook for hook in first["hooks"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": 5}, "url"),
        ({"types": []}, "types"),
        ({"types": ["geofence.enter", "geofence.burn"]}, "types[1]"),
        ({"types": "geofence.enter"}, "types"),
        ({"assets": []}, "assets"),
        ({"assets": ["gf_1"]}, "assets[0]"),
        ({"assets": ["ast_1", "ast_999999999999999999"]}, "assets[0]"),
        ({"geofences": ["gf_12"]}, "geofences[0]"),
        ({"asset": ["ast_1"]}, "asset"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
async def test_a_field_that_makes_no_sense_is_named(api: Api, change: dict[str, Any], field: str) -> None:
    wanted = {"url": "https://example.com/hook", "types": ["geofence.enter"], **change}
    problem = await api("POST", "/v1/hooks", wanted, status=422)
    assert problem["field"] == field
    assert (await api("GET", "/v1/hooks"))["hooks"] == []


async def test_a_hook_can_be_for_some_assets_and_geofences_and_for_all_again(api: Api, outbox: Outbox) -> None:
    await outbox.connection.execute(
        "INSERT INTO asset (name) VALUES ('a'), ('b'); INSERT INTO geofence (name) VALUES ('c')"
    )
    wanted = {
        "url": "https://example.com/",
        "types": ["geofence.enter"],
        "assets": ["ast_2", "ast_1", "ast_2"],
        "geofences": ["gf_1"],
    }
    made = await api("POST", "/v1/hooks", wanted, status=201)
    assert (made["assets"], made["geofences"]) == (["ast_2", "ast_1"], ["gf_1"])
    changed = await api("PATCH", f"/v1/hooks/{made['id']}", {"assets": None, "types": ["geofence.exit"]})
    assert (changed["assets"], changed["geofences"], changed["types"]) == (None, ["gf_1"], ["geofence.exit"])
    assert changed["url"] == made["url"]


async def test_a_hook_that_is_switched_off_keeps_what_waits_and_sends_it_when_it_is_on_again(
    api: Api, outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    await dispatcher.start()
    receiver.answer = lambda message: 503
    await outbox.events([1, 1])
    dispatcher.wake()
    await receiver.until(lambda: receiver.requests)
    off = await api("PATCH", f"/v1/hooks/{made['id']}", {"enabled": False})
    assert (off["enabled"], off["disabled_reason"]) == (False, "switched off")
    assert off["disabled_at"] is not None
    receiver.answer = lambda message: 204
    on = await api("PATCH", f"/v1/hooks/{made['id']}", {"enabled": True})
    assert (on["enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, None)
    await outbox.until_states(delivered=2)
    assert receiver.accepted[1] == [1, 2]


async def test_a_test_says_what_the_receiver_said(api: Api, receiver: Receiver) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    path = f"/v1/hooks/{made['id']}/test"
    assert await api("POST", path) == {"ok": True, "status": 204, "error": None}
    receiver.answer = lambda message: 418
    assert await api("POST", path) == {"ok": False, "status": 418, "error": "the receiver answered 418"}


async def test_a_name_that_leads_to_a_refused_address_is_refused_when_it_is_connected_to(
    api: Api, receiver: Receiver, store: Database
) -> None:
    made = await api("POST", "/v1/hooks", {"url": "http://localhost:1/", "types": ["geofence.enter"]}, status=201)
    strict = Dispatcher(store)
    result = await strict.test(int(made["id"].removeprefix("hook_")))
    await strict.stop()
    assert (result.ok, result.status, result.error) == (False, None, "address not allowed")


async def test_the_log_shows_the_newest_deliveries_first_and_each_state_alone(
    api: Api, outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    receiver.answer = lambda message: 503 if message["data"]["asset"]["id"] == "ast_2" else 204
    await outbox.events([1, 1, 2])
    await dispatcher.start()
    await outbox.until_states(delivered=2, pending=1)
    await receiver.until(lambda: dispatcher.stats().lanes == 0)
    path = f"/v1/hooks/{made['id']}/deliveries"
    first = await api("GET", f"{path}?limit=2")
    rest = await api("GET", f"{path}?limit=2&after={first['next']}")
    assert [delivery["event"] for delivery in first["deliveries"] + rest["deliveries"]] == ["evt_3", "evt_2", "evt_1"]
    assert rest["next"] is None
    waiting = first["deliveries"][0]
    assert (waiting["state"], waiting["attempts"], waiting["status"]) == ("pending", 1, 503)
    assert (waiting["error"], waiting["delivered_at"]) == ("the receiver answered 503", None)
    assert waiting["due_at"] > waiting["last_attempt_at"]
    done = rest["deliveries"][0]
    assert (done["state"], done["attempts"], done["status"], done["error"], done["due_at"]) == (
        "delivered",
        1,
        204,
        None,
        None,
    )
    assert done["delivered_at"] >= done["last_attempt_at"]
    assert len((await api("GET", f"{path}?state=pending"))["deliveries"]) == 1
    assert len((await api("GET", f"{path}?state=delivered"))["deliveries"]) == 2
    assert (await api("GET", f"{path}?state=dead"))["deliveries"] == []
    assert (await api("GET", f"{path}?state=lost", status=422))["field"] == "state"


async def test_a_delivery_is_sent_again_on_demand_but_not_while_it_is_pending(
    api: Api, outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    path = f"/v1/hooks/{made['id']}/deliveries"
    await outbox.events([1])
    assert (await api("POST", f"{path}/dlv_1/redeliver", status=409))["code"] == "conflict"
    await dispatcher.start()
    await outbox.until_states(delivered=1)
    again = await api("POST", f"{path}/dlv_1/redeliver", status=202)
    assert (again["id"], again["state"], again["attempts"]) == ("dlv_1", "pending", 0)
    await outbox.until_states(delivered=1)
    assert [headers["webhook-id"] for headers, _ in receiver.requests] == ["dlv_1", "dlv_1"]
    await api("POST", f"{path}/dlv_2/redeliver", status=404)
    await api("POST", f"{path}/dlv_999999999999999999/redeliver", status=404)
    await api("POST", f"{path}/evt_1/redeliver", status=404)


async def test_a_dead_letter_can_be_sent_again(
    api: Api, outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    await outbox.events([1])
    await outbox.connection.execute("UPDATE delivery SET state = 'dead', attempts = 5, refusals = 5")
    await dispatcher.start()
    dead = await api("GET", f"/v1/hooks/{made['id']}/deliveries?state=dead")
    await api("POST", f"/v1/hooks/{made['id']}/deliveries/{dead['deliveries'][0]['id']}/redeliver", status=202)
    await outbox.until_states(delivered=1)


async def test_a_deleted_hook_is_nowhere(api: Api, receiver: Receiver) -> None:
    made = await api("POST", "/v1/hooks", {"url": receiver.url, "types": ["geofence.enter"]}, status=201)
    path = f"/v1/hooks/{made['id']}"
    await api("DELETE", path, status=204)
    for method, rest, body in [
        ("GET", "", None),
        ("PATCH", "", {"enabled": True}),
        ("DELETE", "", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
        ("POST", "/deliveries/dlv_1/redeliver", None),
    ]:
        assert (await api(method, path + rest, body, status=404))["code"] == "not_found"
    assert (await api("GET", "/v1/hooks"))["hooks"] == []


@pytest.mark.parametrize("id_", ["hook_0", "hook_999999999999999999", "ast_1", "x"])
async def test_an_id_of_nothing_is_not_found(api: Api, id_: str) -> None:
    await api("GET", f"/v1/hooks/{id_}", status=404)
    await api("POST", f"/v1/hooks/{id_}/test", status=404)


@pytest.mark.parametrize("role", ["viewer", "dispatcher"])
async def test_hooks_are_for_admins(api: Api, role: str) -> None:
    await api("GET", "/v1/hooks", status=403, role=role)
    await api("POST", "/v1/hooks", {"url": "https://example.com", "types": ["geofence.enter"]}, status=403, role=role)


def test_every_route_says_who_may_use_it() -> None:
    assert {getattr(route.handler, ROLE_MARK) for route in routes()} == {Role.ADMIN}
