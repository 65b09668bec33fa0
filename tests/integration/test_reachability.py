"""Who is heard of, on real sockets: thresholds of a second or two, and states that are waited for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.integration.api import ADMIN, Api, NewDevice, ms_of, until
from tests.integration.link import Link, link, welcomed
from tests.integration.receiver import Receiver
from tests.integration.served import Served
from tests.integration.viewer import viewing
from tracker.app import Server
from tracker.settings import Settings

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
    """The events of reachability, once there are so many; they must be these types, with these causes."""
    query = TYPES if asset is None else f"{TYPES}&asset={asset}"

    async def there() -> bool:
        return len(await api.events(query)) >= len(expected)

    await until(there)
    events = await api.events(query)
    assert [(each["type"].removeprefix("asset."), each.get("cause")) for each in events] == list(expected)
    return events


async def send_one(socket: Link) -> None:
    await socket.send(FIX)
    await socket.expect("ack")


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
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(welcomed(api.http, api.url, device.token, "S"))
        await send_one(socket)
        transport = socket.ws.get_extra_info("socket")
        assert transport is not None
        socket.ws._response.connection.transport.abort()
        assert (await becomes(api, device.asset, "offline"))["reason"] == "lost"
