"""Who is heard of, on real sockets: thresholds of a second or two, and states that are waited for."""

import asyncio
from typing import Any

from aiohttp import ClientSession

from tests.integration.api import Api, NewDevice, ms_of, until
from tests.integration.link import Link, link, welcomed
from tests.integration.receiver import Receiver
from tests.integration.served import Served
from tests.integration.viewer import viewing

Json = Any
QUICK = {"silent_after_s": 1, "offline_after_s": 2}
FIX = {"lon": 13.4, "lat": 52.5}
TYPES = "type=asset.online,asset.silent,asset.offline"


async def quick_device(api: Api, name: str = "cab", config: Json = QUICK) -> NewDevice:
    device = await api.new_device(name)
    await api.call("PATCH", f"/v1/devices/{device.id}", {"config": config})
    return device


async def connection(api: Api, asset: str) -> Json:
    return (await api.call("GET", f"/v1/assets/{asset}"))["connection"]


async def becomes(api: Api, asset: str, state: str) -> Json:
    """The connection once it is in this state."""
    seen: list[Json] = []

    async def there() -> bool:
        seen.append(await connection(api, asset))
        return bool(seen[-1]["state"] == state)

    await until(there)
    return seen[-1]


async def told(api: Api, *expected: tuple[str, str | None], asset: str | None = None) -> list[Json]:
    """The first events of reachability, once there are so many; they must be these types, with these causes."""
    query = TYPES if asset is None else f"{TYPES}&asset={asset}"

    async def there() -> bool:
        return len(await api.events(query)) >= len(expected)

    await until(there)
    events = (await api.events(query))[: len(expected)]
    assert [(each["type"].removeprefix("asset."), each.get("cause")) for each in events] == list(expected)
    return events


async def send_one(socket: Link) -> None:
    await socket.send(FIX)
    await socket.expect("ack")


def vanish(socket: Link) -> None:
    """As if the network were gone: no goodbye."""
    socket.ws._writer.transport.abort()


async def test_an_asset_is_never_heard_of_until_it_is(api: Api) -> None:
    device = await api.new_device()
    assert await connection(api, device.asset) == {
        "state": "never", "since": None, "reason": None, "last_heard_at": None, "deadline_at": None,
    }  # fmt: skip
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        greeted = await connection(api, device.asset)
        assert (greeted["state"], greeted["reason"]) == ("online", None)
        await send_one(socket)
        heard = await connection(api, device.asset)
        assert heard["since"] == greeted["since"]
        assert ms_of(heard["deadline_at"]) - ms_of(heard["last_heard_at"]) == 120_000
        assert heard == (await api.call("GET", f"/v1/devices/{device.id}"))["connection"]
        assert heard == (await api.call("GET", "/v1/devices"))["devices"][0]["connection"]
        assert heard == (await api.call("GET", "/v1/assets"))["assets"][0]["connection"]


async def test_an_open_socket_that_says_nothing_is_silent_and_never_offline(api: Api) -> None:
    device = await quick_device(api)
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        await send_one(socket)
        silent = await becomes(api, device.asset, "silent")
        assert (silent["reason"], silent["deadline_at"]) == ("no_messages", None)
        assert ms_of(silent["since"]) - ms_of(silent["last_heard_at"]) == 1_000
        assert (await api.metrics())["tracker_assets_silent"] == 1
        [event] = await told(api, ("silent", "no_messages"))
        assert event["fix_time"] == silent["last_heard_at"]
        assert (event["lon"], event["lat"], event["status"]) == (13.4, 52.5, "live")
        assert "geofence" not in event
        await send_one(socket)
        assert (await connection(api, device.asset))["state"] == "online"
        online = (await told(api, ("silent", "no_messages"), ("online", None)))[-1]
        assert online["fix_time"] > silent["last_heard_at"]


async def test_a_device_that_says_goodbye_is_closed(api: Api) -> None:
    device = await quick_device(api)
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        await send_one(socket)
        await socket.ws.close()
    assert (await connection(api, device.asset))["state"] == "online", "it may come back at once"
    silent = await becomes(api, device.asset, "silent")
    assert silent["reason"] == "closed"
    offline = await becomes(api, device.asset, "offline")
    assert (offline["reason"], offline["since"], offline["deadline_at"]) == ("closed", silent["deadline_at"], None)
    await told(api, ("silent", "closed"), ("offline", "closed"))


async def test_a_device_that_vanishes_is_lost(api: Api) -> None:
    device = await quick_device(api)
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        await send_one(socket)
        vanish(socket)
        assert (await becomes(api, device.asset, "offline"))["reason"] == "lost"


async def test_a_device_whose_token_ended_was_closed_by_the_server(api: Api) -> None:
    device = await quick_device(api)
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        await send_one(socket)
        await api.call("POST", f"/v1/devices/{device.id}/token", expect=201)
        await api.call("DELETE", f"/v1/devices/{device.id}/token", expect=204)
        assert await socket.closed() == 4401
    assert (await becomes(api, device.asset, "offline"))["reason"] == "closed_by_server"


async def test_a_socket_that_takes_over_is_no_interruption(api: Api) -> None:
    device = await quick_device(api)
    async with welcomed(api.http, api.url, device.token, "S") as older:
        await send_one(older)
        async with welcomed(api.http, api.url, device.token, "S") as newer:
            assert await older.closed() == 4009
            silent = await becomes(api, device.asset, "silent")
            assert (silent["reason"], silent["deadline_at"]) == ("no_messages", None)
            await send_one(newer)


async def test_a_device_says_why_it_sends_nothing_and_a_fix_shows_that_this_is_over(api: Api) -> None:
    device = await quick_device(api)
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        await socket.send(FIX)  # not waited for: what is said after it comes after it
        await socket.send({"type": "status", "battery": 0.5, "reason": "permission_denied"})

        async def denied() -> bool:
            return bool((await connection(api, device.asset))["reason"] == "permission_denied")

        await until(denied)
        assert (await connection(api, device.asset))["state"] == "online"
        await told(api, ("silent", "permission_denied"))
        await socket.expect("ack")
        await send_one(socket)
        assert (await connection(api, device.asset))["reason"] is None
        await told(api, ("silent", "permission_denied"), ("online", None))
        await socket.send({"type": "status", "reason": "battery_low"})
        await send_one(socket)
        vanish(socket)
        assert (await becomes(api, device.asset, "offline"))["reason"] == "battery_low"


async def test_who_posts_is_heard_of_without_a_socket(api: Api) -> None:
    device = await quick_device(api)
    headers = {"Authorization": f"Bearer {device.token}"}
    for _ in range(2):
        async with api.http.post(f"{api.url}/v1/ingest", json=FIX, headers=headers) as response:
            assert response.status == 200
        online = await connection(api, device.asset)
        assert (online["state"], online["reason"]) == ("online", None)
        offline = await becomes(api, device.asset, "offline")
        assert offline["reason"] == "no_messages"
        assert ms_of(offline["since"]) - ms_of(offline["last_heard_at"]) == 2_000


async def test_behind_a_gateway_a_device_is_heard_of_by_its_own_messages(api: Api) -> None:
    device, other = await quick_device(api, "one"), await quick_device(api, "other")
    gateway = (await api.call("POST", "/v1/tokens", {"name": "gate", "kind": "gateway"}, expect=201))["token"]
    async with link(api.http, api.url, gateway) as socket:
        for each in (device, other):
            await socket.send({"type": "hello", "device": each.id, "stream": "S"})
            await socket.expect("welcome")
        await becomes(api, other.asset, "offline")
        await socket.send({"type": "fixes", "device": device.id, "stream": "S", "fixes": [FIX]})
        await socket.acked(1)
        assert (await connection(api, device.asset))["state"] == "online"
        assert (await connection(api, other.asset))["state"] == "offline"


async def test_a_standby_device_does_not_keep_its_asset_online(api: Api) -> None:
    active = await quick_device(api)
    standby = await api.new_device("spare", active.asset)
    async with (
        welcomed(api.http, api.url, active.token, "S") as socket,
        welcomed(api.http, api.url, standby.token, "S") as spare,
    ):
        await send_one(socket)
        await told(api, ("silent", "no_messages"))
        await send_one(spare)
        assert (await connection(api, active.asset))["state"] == "silent"
        assert (await api.call("GET", f"/v1/devices/{standby.id}"))["connection"]["state"] == "online"
        changed = await api.call("PATCH", f"/v1/assets/{active.asset}", {"active_device": standby.id})
        assert changed["connection"]["state"] == "online"
        await told(api, ("silent", "no_messages"), ("online", None))


async def test_a_map_shows_who_is_heard_of_no_longer(api: Api) -> None:
    device = await quick_device(api)
    async with (
        welcomed(api.http, api.url, device.token, "S") as socket,
        viewing(api.http, api.url) as viewer,
    ):
        await send_one(socket)
        [entry] = (await viewer.view(1, (13, 52, 14, 53), max_hz=20))["assets"]
        assert "state" not in entry, "online costs no byte"
        silent = await viewer.next("update", 1)
        assert silent["assets"] == [{**entry, "state": "silent"}]
        async with viewing(api.http, api.url) as second:
            assert (await second.view(1, (13, 52, 14, 53)))["assets"] == silent["assets"]
        await send_one(socket)
        async with asyncio.timeout(30):
            while "state" in (await viewer.next("update", 1))["assets"][0]:
                pass


async def test_hooks_are_told_of_what_they_chose(api: Api, receiver: Receiver) -> None:
    device = await quick_device(api)
    hook = {"url": receiver.url, "types": ["asset.offline"], "assets": [device.asset]}
    receiver.secret = (await api.call("POST", "/v1/hooks", hook, expect=201))["secret"]
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        await send_one(socket)
    await told(api, ("silent", "closed"), ("offline", "closed"))
    [event] = [each for each in await api.events(TYPES) if each["type"] == "asset.offline"]
    async with asyncio.timeout(30):
        while not receiver.events:
            await asyncio.sleep(0.02)
    assert list(receiver.events.values()) == [event]
    assert not receiver.faults


async def test_a_killed_server_knows_again_who_was_offline_and_waits_for_the_others(
    served: Served, http: ClientSession
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    gone, there = await quick_device(api, "gone"), await quick_device(api, "there", {"silent_after_s": 2})
    async with welcomed(http, api.url, gone.token, "S") as socket:
        await send_one(socket)
    offline = await becomes(api, gone.asset, "offline")
    await told(api, ("silent", "closed"), ("offline", "closed"), asset=gone.asset)
    async with welcomed(http, api.url, there.token, "S") as socket:
        await send_one(socket)
        served.kill()
    await served.start(http)
    assert await connection(api, gone.asset) == offline
    silent = await becomes(api, there.asset, "silent")
    assert silent["reason"] == "server_restarted"
    assert ms_of(silent["since"]) - ms_of(silent["last_heard_at"]) > 2_000, "the time that it was away does not count"
    await told(api, ("silent", "server_restarted"), asset=there.asset)
    assert len(await api.events(f"{TYPES}&asset={gone.asset}")) == 2
