"""What a browser sees of the fleet, and that none harms another."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from tests.integration.api import ADMIN, WITHIN_S, Api
from tests.integration.deaf import Deaf, deaf
from tests.integration.link import START_MS, Cab, cab, link
from tests.integration.served import Served
from tests.integration.viewer import Box, Viewer, viewing
from tracker.app import Server
from tracker.live import views
from tracker.settings import Settings
from tracker.wire import live as wire

BOX: Box = (10, 50, 11, 51)
IN, OUT = (10.5, 50.5), (12.5, 50.5)
WORLD: Box = (-180, -90, 180, 90)
DAY_MS = 86_400_000  # within which one may be anywhere


@asynccontextmanager
async def view_and_cab(api: Api, **options: Any) -> AsyncIterator[tuple[Viewer, Cab]]:
    """A viewer of BOX and one asset that has not been anywhere yet."""
    async with cab(api) as bus, viewing(api.http, api.url) as viewer:
        assert (await viewer.view(1, BOX, **options))["assets"] == []
        yield viewer, bus


# Views ---------------------------------------------------------------------------------------------------------------


async def test_a_view_begins_with_a_snapshot_and_goes_on_with_complete_entries(api: Api) -> None:
    async with cab(api, "bus") as bus, cab(api, "far") as far, viewing(api.http, api.url) as viewer:
        await bus.to(IN, speed_mps=3, course_deg=90, alt_m=12, accuracy_m=5, attributes={"doors": "open"})
        await far.to(OUT)
        snapshot = await viewer.view(1, BOX)
        [entry] = snapshot["assets"]
        assert entry == await api.position(bus.asset)
        assert entry["attributes"] == {"doors": "open"}
        assert (snapshot["remove"], snapshot["clusters"]) == ([], [])
        await bus.to((10.6, 50.6))
        update = await viewer.next("update", 1)
        assert update["assets"] == [await api.position(bus.asset)]
        assert update["assets"][0].keys() == entry.keys() - {"attributes"}


async def test_an_asset_that_leaves_is_removed_and_comes_back(api: Api) -> None:
    async with view_and_cab(api, max_hz=20) as (viewer, bus):
        await bus.to(IN)
        await viewer.shows(1, **{bus.asset: IN})
        await bus.to(OUT)
        update = await viewer.next("update", 1)
        assert (update["assets"], update["remove"]) == ([], [bus.asset])
        await bus.to(IN)
        await viewer.shows(1, **{bus.asset: IN})


@pytest.mark.parametrize("place", [(10, 50.5), (11, 50.5), (10.5, 50), (10.5, 51), (10, 50), (11, 51)])
async def test_the_edges_of_a_box_belong_to_it(api: Api, place: tuple[float, float]) -> None:
    async with view_and_cab(api) as (viewer, bus):
        await bus.to(place)
        await viewer.shows(1, **{bus.asset: place})
        assert viewer.places(1) == {(await viewer.view(2, BOX))["assets"][0]["id"]: place}


@pytest.mark.parametrize("bbox", [(179, -18, -179, -16), (179, -18, 181, -16), (-181, -18, -179, -16)])
async def test_a_box_may_cross_the_antimeridian(api: Api, bbox: Box) -> None:
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(viewing(api.http, api.url))
        await viewer.view(1, bbox)
        ships = [await stack.enter_async_context(cab(api, name)) for name in ("west", "on it", "east", "far")]
        places = [(-179.5, -17.0), (180.0, -17.0), (179.5, -17.0), (0.0, -17.0)]
        for ship, place in zip(ships, places, strict=True):
            await ship.to(place)
        await viewer.shows(1, **{ship.asset: place for ship, place in zip(ships[:3], places[:3], strict=True)})
        await viewer.view(2, bbox)
        assert viewer.held[2] == viewer.held[1]


async def test_a_moved_view_shows_its_new_place_on_the_same_socket(api: Api) -> None:
    async with view_and_cab(api, max_hz=20) as (viewer, bus), cab(api) as other:
        await bus.to(IN)
        await other.to((20.5, 50.5))
        await viewer.shows(1, **{bus.asset: IN})
        moved = await viewer.view(1, (20, 50, 21, 51), max_hz=20)
        assert [entry["id"] for entry in moved["assets"]] == [other.asset]
        await bus.to((10.6, 50.5))
        await other.to((20.6, 50.5))
        await viewer.shows(1, **{other.asset: (20.6, 50.5)})
        assert all(entry["id"] == other.asset for m in viewer.heard[-2:] for entry in m["assets"])


async def test_two_views_on_one_socket_are_independent_and_a_closed_one_is_silent(api: Api) -> None:
    async with view_and_cab(api, max_hz=20) as (viewer, bus):
        await viewer.view(2, WORLD, max_hz=20)
        await bus.to(OUT)
        await viewer.shows(2, **{bus.asset: OUT})
        assert viewer.places(1) == {}
        await viewer.send(type="close", id=2)
        await bus.to(IN)
        await viewer.shows(1, **{bus.asset: IN})
        await bus.to((10.7, 50.5))
        await viewer.shows(1, **{bus.asset: (10.7, 50.5)})
        assert viewer.places(2) == {bus.asset: OUT}


async def test_a_view_may_be_of_some_tags_only(api: Api) -> None:
    async with view_and_cab(api, filter={"tags": ["bus", "tram"]}, max_hz=20) as (viewer, bus):
        await bus.to(IN)
        await api.call("PATCH", f"/v1/assets/{bus.asset}", {"tags": ["bus", "red"]})
        await viewer.shows(1, **{bus.asset: IN})
        await api.call("PATCH", f"/v1/assets/{bus.asset}", {"tags": ["red"]})
        await viewer.shows(1)


async def test_a_renamed_asset_is_shown_anew_and_a_deleted_one_is_removed(api: Api) -> None:
    async with view_and_cab(api, max_hz=20) as (viewer, bus):
        await bus.to(IN)
        await viewer.shows(1, **{bus.asset: IN})
        await api.call("PATCH", f"/v1/assets/{bus.asset}", {"name": "number 7"})
        assert (await viewer.next("update", 1))["assets"][0]["name"] == "number 7"
        await viewer.send(type="follow", id=2, assets=[bus.asset])
        await viewer.next("snapshot", 2)
        await api.call("DELETE", f"/v1/assets/{bus.asset}?devices=true", expect=204)
        await viewer.shows(1)
        await viewer.shows(2)


async def test_what_is_doubtful_is_not_shown(api: Api) -> None:
    async with view_and_cab(api, max_hz=20) as (viewer, bus):
        await bus.to(IN)
        await bus.to((10.6, 50.5), accuracy_m=5000)
        await bus.send({"lon": 10.7, "lat": 50.5, "time": START_MS})
        await bus.to((10.8, 50.5))
        await viewer.shows(1, **{bus.asset: (10.8, 50.5)})
        shown = [entry["lon"] for message in viewer.heard for entry in message["assets"]]
        assert set(shown) <= {10.5, 10.8}


async def test_a_followed_asset_is_shown_wherever_it_goes(api: Api) -> None:
    async with cab(api) as bus, cab(api) as other, viewing(api.http, api.url) as viewer:
        await viewer.send(type="follow", id=7, assets=[bus.asset], max_hz=20)
        assert (await viewer.next("snapshot", 7))["assets"] == []
        for place in (IN, OUT, (-170.0, -80.0)):
            other.time_ms += DAY_MS
            bus.time_ms += DAY_MS
            await other.to(place)
            await bus.to(place)
            await viewer.shows(7, **{bus.asset: place})


async def test_after_a_reconnect_a_view_gets_a_snapshot(api: Api) -> None:
    async with cab(api) as bus:
        for place in (IN, (10.6, 50.6)):
            await bus.to(place)
            async with viewing(api.http, api.url) as viewer:
                [entry] = (await viewer.view(1, BOX))["assets"]
                assert (entry["lon"], entry["lat"]) == place


# Pace ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_hz", [1, 4])
async def test_updates_come_no_more_often_than_asked_for_and_the_last_state_always_does(
    api: Api, max_hz: float
) -> None:
    async with view_and_cab(api, max_hz=max_hz) as (viewer, bus):
        started, moves = time.monotonic(), 0
        while time.monotonic() - started < 2.5:
            moves += 1
            await bus.to((10 + moves % 1000 / 1000, 50.5))
        last = (10 + moves % 1000 / 1000, 50.5)
        await viewer.shows(1, **{bus.asset: last})
        took_s = time.monotonic() - started
        updates = sum(message["type"] == "update" for message in viewer.heard)
        assert 2 <= updates <= took_s * max_hz + 1
        assert moves > updates


async def fleet(api: Api, count: int) -> tuple[str, list[str], list[str]]:
    """A gateway's token, and the devices and assets that it speaks for."""
    gateway = await api.call("POST", "/v1/tokens", {"name": "gateway", "kind": "gateway"}, expect=201)
    wanted = [{"name": f"asset number {number}"} for number in range(count)]
    made = (await api.call("POST", "/v1/devices", wanted, expect=201))["devices"]
    return gateway["token"], [each["id"] for each in made], [each["asset"]["id"] for each in made]


ROUNDS, FLEET, DEAF_VIEWERS = 40, 250, 12


async def move_all(api: Api, token: str, devices: list[str], watcher: Viewer, assets: list[str]) -> float:
    """Everything moves, round by round; returns the longest time from an ack to the viewer who reads."""
    slowest_s = 0.0
    async with link(api.http, api.url, token) as socket:
        for device in devices:
            await socket.send({"type": "hello", "device": device, "stream": "S"})
        for _ in devices:
            await socket.expect("welcome")
        for round_ in range(1, ROUNDS + 1):
            for number, device in enumerate(devices):
                fix = {"lon": number / 100, "lat": round_ / 10, "time": START_MS + round_ * 60_000}
                await socket.fixes(round_, [fix], device=device, stream="S")
            waiting = set(devices)
            while waiting:
                message = await socket.receive()
                if message["type"] == "ack" and message["seq"] == round_:
                    waiting.discard(message["device"])
            acked = time.monotonic()
            places = {asset: (number / 100, round_ / 10) for number, asset in enumerate(assets)}
            await watcher.shows(1, **places)
            slowest_s = max(slowest_s, time.monotonic() - acked)
    return slowest_s


async def reads_on(viewer: Deaf, asset: str, lat: float) -> None:
    """Until the newest place of this asset has come."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            message = await viewer.receive()
            if any(entry["id"] == asset and entry["lat"] == lat for entry in message.get("assets", ())):
                return


@pytest.mark.timeout(240)
async def test_viewers_who_stop_reading_delay_nobody_and_cost_no_memory_and_see_the_newest_when_they_read_again(
    served: Served, http: ClientSession
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    token, devices, assets = await fleet(api, FLEET)
    async with AsyncExitStack() as stack:
        sleepers = [await stack.enter_async_context(deaf(api.url, "/v1/live", ADMIN)) for _ in range(DEAF_VIEWERS)]
        for sleeper in sleepers:
            await sleeper.send({"type": "view", "id": 1, "bbox": WORLD, "max_hz": 20})
        watcher = await stack.enter_async_context(viewing(http, api.url))
        await watcher.view(1, WORLD, max_hz=20)
        before = served.rss_bytes
        slowest_s = await move_all(api, token, devices, watcher, assets)
        grown = served.status("VmHWM") - before
        unread = DEAF_VIEWERS * sum(len(json.dumps(message)) for message in watcher.heard)
        print(f"{unread / 1e6:.0f} MB not read; grown by {grown / 1e6:.1f} MB; slowest update {slowest_s:.2f} s")
        assert grown < unread / 2
        assert slowest_s < 5
        for sleeper in sleepers:
            await reads_on(sleeper, assets[-1], ROUNDS / 10)


# Events --------------------------------------------------------------------------------------------------------------


async def numbered(viewer: Viewer, count: int) -> list[int]:
    """The numbers of the next events."""
    got: list[int] = []
    async with asyncio.timeout(WITHIN_S):
        while len(got) < count:
            message = await viewer.receive()
            if message["type"] == "event":
                got.append(int(message["event"]["id"].removeprefix("evt_")))
    return got


async def fence(api: Api) -> None:
    ring = [[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]
    await api.new_fence({"type": "Polygon", "coordinates": [ring]})


async def test_a_follower_of_events_gets_those_that_the_list_has(api: Api) -> None:
    await fence(api)
    async with cab(api) as bus, viewing(api.http, api.url) as viewer:
        await bus.to(IN, OUT)
        await viewer.send(type="events", id=3)  # from now on
        await viewer.send(type="view", id=1, bbox=WORLD)
        await viewer.next("snapshot", 1)
        await bus.to(IN)
        message = await viewer.next("event", 3)
        assert message["event"] == (await api.events())[-1]


@pytest.mark.parametrize("tail", [20_000, 50])
async def test_events_after_an_id_come_without_a_gap_over_a_restart_and_the_end_of_memory(
    settings: Settings, http: ClientSession, tail: int
) -> None:
    async with Server(settings) as server:
        api = Api(server.url, http)
        await fence(api)
        async with cab(api) as bus:
            await bus.to(*[IN, OUT] * 300)
    async with Server(settings) as server:
        server.feed._tail = deque(maxlen=tail)
        api = Api(server.url, http)
        async with (
            viewing(http, api.url) as early,
            deaf(api.url, "/v1/live", ADMIN) as slow,
            cab(api, "other") as other,
        ):
            await early.send(type="events", id=1, after="evt_7")
            await slow.send({"type": "events", "id": 1, "after": "evt_7"})
            for _ in range(20):
                await other.to(*[IN, OUT] * 15)
            assert await numbered(early, 1193) == list(range(8, 1201))
            slow_got = [int((await slow.receive())["event"]["id"].removeprefix("evt_")) for _ in range(1193)]
            assert slow_got == list(range(8, 1201))
            async with viewing(http, api.url) as late:
                await late.send(type="events", id=1, after="evt_1150")
                assert await numbered(late, 50) == list(range(1151, 1201))
                await other.to(IN)
                assert await numbered(late, 1) == [1201]


# Frames and crowds ---------------------------------------------------------------------------------------------------


async def test_the_page_gets_binary_frames_and_asks_for_names(api: Api) -> None:
    async with cab(api, "bus") as bus, viewing(api.http, api.url, protocols=(wire.PROTOCOL,)) as viewer:
        await bus.to(IN, speed_mps=3, course_deg=90)
        await viewer.send(type="view", id=1, bbox=BOX, max_hz=20)
        snapshot = await viewer.frame()
        [record] = snapshot.assets
        assert (snapshot.kind, snapshot.view) == (wire.SNAPSHOT, 1)
        assert f"ast_{record['asset']}" == bus.asset
        assert (record["lon"], record["lat"], record["speed_dmps"], record["course"]) == (105000000, 505000000, 30, 60)
        await viewer.send(type="names", assets=[bus.asset, "ast_999"])
        names = await viewer.receive()
        assert names == {
            "type": "names",
            "assets": [{"id": bus.asset, "name": "bus", "tags": [], "revision": int(record["look"]) >> 2}],
        }
        await bus.to(OUT)
        update = await viewer.frame()
        assert (update.kind, len(update.assets), update.removed.tolist()) == (wire.UPDATE, 0, [record["asset"]])
        await viewer.send(type="follow", id=2, assets=[bus.asset])  # all that is known of it, as text
        assert (await viewer.next("snapshot", 2))["assets"] == [await api.position(bus.asset)]
        await viewer.send(type="view", id=-1, bbox=BOX)
        assert (await viewer.receive())["type"] == "error"


async def test_a_crowd_is_shown_as_clusters_that_count_everybody_until_it_scatters(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "DENSITY", 3)
    monkeypatch.setattr(views, "SPARSE", 2)
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(viewing(api.http, api.url))
        cabs = [await stack.enter_async_context(cab(api, f"bus {number}")) for number in range(4)]
        for number, bus in enumerate(cabs[:3]):
            await bus.to((10.1 + number / 10, 50.5))
        assert len((await viewer.view(1, BOX, zoom=6, max_hz=20))["assets"]) == 3
        await cabs[3].to((10.9, 50.5))
        crowd = await viewer.next("snapshot", 1)
        assert crowd["assets"] == []
        await viewer.counts(1, 4)
        await cabs[0].to(OUT)
        await viewer.counts(1, 3)
        await cabs[1].to(OUT)
        await viewer.shows(1, **{cabs[2].asset: (10.3, 50.5), cabs[3].asset: (10.9, 50.5)})
        assert viewer.clusters[1] == {}


async def test_a_view_that_refuses_clusters_is_refused_when_it_would_need_them(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "DENSITY", 0)
    monkeypatch.setattr(views, "MOST_ASSETS", 1)
    async with view_and_cab(api, clusters=False, max_hz=20) as (viewer, bus), cab(api) as other:
        await bus.to(IN)
        await viewer.shows(1, **{bus.asset: IN})
        await other.to((10.6, 50.6))
        error = await viewer.receive()
        assert (error["code"], error["id"]) == ("view_too_dense", 1)
        await viewer.send(type="view", id=1, bbox=BOX, clusters=False)
        assert (await viewer.receive())["code"] == "view_too_dense"


# Who may look --------------------------------------------------------------------------------------------------------


async def signed_in(api: Api) -> str:
    """The cookie of a session."""
    answer = await api.send("POST", "/sign-in", data={"token": ADMIN}, token=None)
    assert answer.status == 303
    return "; ".join(f"{name}={morsel.value}" for name, morsel in answer.cookies.items())


async def test_a_session_may_look_from_a_page_of_this_server(api: Api) -> None:
    cookie = await signed_in(api)
    async with viewing(api.http, api.url, token=None, headers={"Cookie": cookie, "Origin": api.url}) as viewer:
        await viewer.view(1, BOX)


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {}],
    ids=lambda headers: headers.get("Origin", "none"),
)
async def test_a_session_may_not_look_from_a_foreign_page(api: Api, headers: dict[str, str]) -> None:
    cookie = await signed_in(api)
    with pytest.raises(WSServerHandshakeError) as refusal:
        async with viewing(api.http, api.url, token=None, headers={"Cookie": cookie, **headers}):
            pass
    assert refusal.value.status == 403


async def test_a_script_with_a_token_may_look_whatever_its_origin(api: Api) -> None:
    async with viewing(api.http, api.url, headers={"Origin": "https://elsewhere.example"}) as viewer:
        await viewer.view(1, BOX)


async def test_who_is_not_known_sees_nothing(api: Api) -> None:
    device = await api.new_device()
    for token, status in ((None, 401), ("wrong", 401), (device.token, 403)):
        with pytest.raises(WSServerHandshakeError) as refusal:
            async with viewing(api.http, api.url, token=token):
                pass
        assert refusal.value.status == status


async def test_a_session_that_ends_closes_its_sockets_with_4401(api: Api) -> None:
    cookie, other = await signed_in(api), await signed_in(api)
    page = {"Cookie": cookie, "Origin": api.url}
    async with (
        viewing(api.http, api.url, token=None, headers=page) as viewer,
        viewing(api.http, api.url, token=None, headers={**page, "Cookie": other}) as bystander,
    ):
        await viewer.view(1, BOX)
        assert (await api.send("POST", "/sign-out", token=None, headers=page)).status == 303
        assert await viewer.closed() == 4401
        await bystander.view(1, BOX)


async def test_a_revoked_token_closes_its_sockets_with_4401(api: Api) -> None:
    made = await api.call("POST", "/v1/tokens", {"name": "script", "role": "viewer"}, expect=201)
    async with viewing(api.http, api.url, token=made["token"]) as viewer, viewing(api.http, api.url) as bystander:
        await viewer.view(1, BOX)
        await api.call("DELETE", f"/v1/tokens/{made['id']}", expect=204)
        assert await viewer.closed() == 4401
        await bystander.view(1, BOX)


# Bounds ---------------------------------------------------------------------------------------------------------------


async def test_a_socket_has_a_bounded_number_of_subscriptions(api: Api) -> None:
    async with viewing(api.http, api.url) as viewer:
        for number in range(16):
            await viewer.view(number, BOX)
        await viewer.send(type="view", id=16, bbox=BOX)
        assert (await viewer.receive())["type"] == "error"
        await viewer.send(type="close", id=3)
        await viewer.view(16, BOX)


async def test_a_message_over_16_kib_closes_the_socket_with_1009(api: Api) -> None:
    async with viewing(api.http, api.url) as viewer:
        await viewer.ws.send_str(" " * 17_000)
        assert await viewer.closed() == 1009
