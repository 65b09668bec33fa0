"""The door for devices, from the socket to the table and back."""

import asyncio
import json
import os
import random
import signal
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from tests.integration.api import ADMIN, Api, Json, until
from tests.integration.deaf import deaf
from tests.integration.link import Link, link, welcomed
from tests.integration.served import Served
from tracker.app import Server
from tracker.wire.binary import binary_frame
from tracker.wire.device import Fix

START_MS = 1_750_000_000_000
FLOOD_FRAMES = 250
FRAME_BYTES = 240 * 1024


def fix(number: int, **more: Any) -> Json:
    """The n-th of a plain walk."""
    return {"lon": round(24.9 + number / 1000, 7), "lat": 60.17, "time": START_MS + number * 1000, **more}


def fixes(first: int, last: int) -> list[Json]:
    return [fix(number) for number in range(first, last + 1)]


def numbers(track: list[Any]) -> list[int]:
    """Which of the walk's fixes a track has."""
    return [(stored.time_ms - START_MS) // 1000 for stored in track]


# Streams and their numbers --------------------------------------------------------------------------------------------


async def test_the_least_client_is_acked_by_count(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    before_ms = time.time_ns() // 1_000_000
    async with welcomed(http, api.url, device.token) as socket:
        assert socket.welcome["seq"] == 0
        for count in (1, 2, 3):
            await socket.send({"lon": 13.4, "lat": 52.5})
            assert await socket.acked(count) == count
    track = await api.track(device.asset)
    assert [(stored.lon, stored.lat) for stored in track] == [(13.4, 52.5)] * 3
    assert before_ms <= track[0].time_ms < track[1].time_ms < track[2].time_ms <= time.time_ns() // 1_000_000 + 2


async def test_fixes_without_time_in_one_message_get_times_one_millisecond_apart(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token) as socket:
        await socket.send({"type": "fixes", "fixes": [{"lon": 1, "lat": 2}] * 3})
        await socket.acked(3)
    first, second, third = (stored.time_ms for stored in await api.track(device.asset))
    assert (second - first, third - second) == (1, 1)


async def test_a_welcome_says_who_the_device_is_and_where_its_stream_stands(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S1") as socket:
        assert socket.welcome == {
            "type": "welcome",
            "device": device.id,
            "asset": device.asset,
            "stream": "S1",
            "seq": 0,
            "config": {},
        }
        await socket.fixes(1, fixes(1, 5), stream="S1")
        ack = await socket.expect("ack")
        assert ack == {"type": "ack", "stream": "S1", "seq": 5}
    async with welcomed(http, api.url, device.token, "S1") as socket:
        assert socket.welcome["seq"] == 5
    async with welcomed(http, api.url, device.token, "S2") as socket:
        assert socket.welcome["seq"] == 0


async def test_resends_and_overlaps_are_acked_and_stored_once(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        for first, last in ((1, 5), (1, 5), (3, 8), (2, 2), (8, 9)):
            await socket.fixes(first, fixes(first, last))
        await socket.acked(9)
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, fixes(1, 12))
        assert await socket.acked(1) == 12
        await socket.fixes(4, fixes(4, 6))
        assert (await socket.expect("ack"))["seq"] == 12
    assert numbers(await api.track(device.asset)) == list(range(1, 13))


async def test_a_gap_is_accepted_and_counted_and_cannot_be_filled_later(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, fixes(1, 2))
        await socket.fixes(6, fixes(6, 7))
        assert await socket.acked(7) == 7
        await socket.fixes(3, fixes(3, 5))
        assert (await socket.expect("ack"))["seq"] == 7
    assert numbers(await api.track(device.asset)) == [1, 2, 6, 7]
    [stream] = (await api.call("GET", f"/v1/devices/{device.id}"))["streams"]
    assert (stream["stream"], stream["seq"], stream["gaps"]) == ("S", 7, 3)


async def test_two_streams_of_one_device_run_at_once(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with (
        welcomed(http, api.url, device.token, "live") as live,
        welcomed(http, api.url, device.token, "backlog") as backlog,
    ):
        await live.fixes(1, fixes(101, 102))
        await backlog.fixes(1, fixes(1, 3))
        await live.acked(2, "live")
        await backlog.acked(3, "backlog")
    assert numbers(await api.track(device.asset)) == [1, 2, 3, 101, 102]


async def test_one_socket_carries_further_streams_of_its_device_after_hello(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "live") as socket:
        await socket.send({"type": "hello", "stream": "backlog"})
        assert (await socket.expect("welcome"))["stream"] == "backlog"
        await socket.fixes(1, fixes(1, 2), stream="backlog")
        await socket.acked(2, "backlog")
        await socket.fixes(1, fixes(9, 9))  # without a name: the stream of the socket
        await socket.acked(1, "live")


async def test_a_newer_socket_takes_a_stream_over_and_the_older_closes_with_4009(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as older:
        await older.fixes(1, fixes(1, 3))
        await older.acked(3)
        async with welcomed(http, api.url, device.token, "S") as newer:
            assert newer.welcome["seq"] == 3
            assert await older.closed() == 4009
            await newer.fixes(4, fixes(4, 4))
            await newer.acked(4)


async def test_nothing_of_an_older_socket_is_stored_after_the_welcome_of_a_newer_one(
    api: Api, http: ClientSession
) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as older:
        for number in range(1, 2001):
            await older.fixes(number, [fix(number, speed_mps=1)])
        async with welcomed(http, api.url, device.token, "S") as newer:
            durable = newer.welcome["seq"]
            stored = numbers(await api.track(device.asset))
            assert stored == list(range(1, durable + 1))
            await newer.fixes(durable + 1, [fix(5000)])
            await newer.acked(durable + 1)
            assert await older.closed() == 4009
    assert numbers(await api.track(device.asset)) == [*range(1, durable + 1), 5000]


async def test_a_taken_over_stream_of_a_gateway_leaves_its_other_streams_to_the_next_socket(
    api: Api, http: ClientSession
) -> None:
    gateway = await api.call("POST", "/v1/tokens", {"name": "harbour", "kind": "gateway"}, expect=201)
    one, two = await api.new_device("one"), await api.new_device("two")
    async with link(http, api.url, gateway["token"]) as older:
        for device in (one, two):
            await older.send({"type": "hello", "device": device.id, "stream": "S"})
            await older.expect("welcome")
            await older.fixes(1, fixes(1, 2), device=device.id, stream="S")
            await older.acked(2)
        async with welcomed(http, api.url, one.token, "S") as newer:
            assert newer.welcome["seq"] == 2
            assert await older.closed() == 4009
    async with link(http, api.url, gateway["token"]) as again:
        await again.send({"type": "hello", "device": two.id, "stream": "S"})
        assert (await again.expect("welcome"))["seq"] == 2


class Model:
    """One stream as the contract has it: messages apply in order, each number counts once, or never."""

    def __init__(self) -> None:
        self.cursor = 0
        self.stored: list[int] = []
        self.rejected: list[int] = []
        self.gaps = 0
        self.pending: list[tuple[int, int]] = []  # first and last number of what was sent and not answered

    def apply(self) -> None:
        first, last = self.pending.pop(0)
        if last <= self.cursor:
            return
        self.gaps += max(0, first - self.cursor - 1)
        for number in range(max(first, self.cursor + 1), last + 1):
            (self.rejected if is_bad(number) else self.stored).append(number)
        self.cursor = last

    def settle(self, durable: int) -> None:
        """A welcome says how far it came; what of it was lost is to be sent again."""
        while self.cursor < durable:
            self.apply()
        assert self.cursor == durable
        self.pending.clear()


def is_bad(number: int) -> bool:
    return number % 17 == 0


def numbered(first: int, last: int) -> list[Json]:
    return [fix(number, **({"lat": 400} if is_bad(number) else {})) for number in range(first, last + 1)]


@pytest.mark.parametrize("seed", range(4))
async def test_any_mix_of_resends_overlaps_gaps_takeovers_and_posts_stores_each_number_once(
    api: Api, http: ClientSession, seed: int
) -> None:
    random_, model, device = random.Random(seed), Model(), await api.new_device()
    async with AsyncExitStack() as sockets:
        socket = await sockets.enter_async_context(welcomed(http, api.url, device.token, "S"))
        for _ in range(150):
            deed = random_.random()
            top = max([model.cursor, *(last for _, last in model.pending)])
            first = max(1, top + 1 + random_.choice([-9, -3, -1, 0, 0, 0, 0, 0, 2]))
            last = first + random_.randint(0, 6)
            if deed < 0.7:
                await socket.fixes(first, numbered(first, last))
                model.pending.append((first, last))
            elif deed < 0.8 and model.pending:
                await socket.acked(top)
                while model.pending:
                    model.apply()
            elif deed < 0.9:
                socket = await sockets.enter_async_context(welcomed(http, api.url, device.token, "S"))
                model.settle(socket.welcome["seq"])
            elif not model.pending:
                message = {"type": "fixes", "stream": "S", "seq": first, "fixes": numbered(first, last)}
                answer = await api.call("POST", "/v1/ingest", message, token=device.token)
                model.pending.append((first, last))
                model.apply()
                assert answer["acks"][0]["seq"] == model.cursor
        socket = await sockets.enter_async_context(welcomed(http, api.url, device.token, "S"))
        model.settle(socket.welcome["seq"])
    assert numbers(await api.track(device.asset)) == model.stored
    rejects = (await api.call("GET", f"/v1/devices/{device.id}/rejects?limit=1000"))["rejects"]
    assert [reject["seq"] for reject in rejects] == model.rejected
    [stream] = (await api.call("GET", f"/v1/devices/{device.id}"))["streams"]
    assert (stream["seq"], stream["gaps"]) == (model.cursor, model.gaps)


# Gateways and tokens --------------------------------------------------------------------------------------------------


async def test_a_gateway_speaks_for_many_devices_on_one_socket(api: Api, http: ClientSession) -> None:
    gateway = await api.call("POST", "/v1/tokens", {"name": "harbour", "kind": "gateway"}, expect=201)
    devices = [await api.new_device(f"ship {number}") for number in range(20)]
    async with link(http, api.url, gateway["token"]) as socket:
        for device in devices:
            await socket.send({"type": "hello", "device": device.id, "stream": f"of-{device.id}"})
            welcome = await socket.expect("welcome")
            assert (welcome["device"], welcome["asset"], welcome["seq"]) == (device.id, device.asset, 0)
        slots = [welcome.get("slot", 0) for welcome in socket.of_type("welcome")]
        for number, device in enumerate(devices):
            sent = [fix(number), {"lon": 200, "lat": 0}]
            if number % 2:
                await socket.send(binary_frame([Fix(**each) for each in sent], 1, slots[number]))
            else:
                await socket.fixes(1, sent, device=device.id, stream=f"of-{device.id}")
        open_ = {device.id for device in devices}
        while open_:
            message = await socket.receive()
            if message["type"] == "ack":
                assert message["seq"] == 2
                assert any(reject["device"] == message["device"] for reject in socket.of_type("reject"))
                open_.remove(message["device"])
    for number, device in enumerate(devices):
        assert numbers(await api.track(device.asset)) == [number]


@pytest.mark.parametrize("way", ["header", "query", "subprotocol"])
async def test_a_device_may_show_its_token_in_three_ways(api: Api, http: ClientSession, way: str) -> None:
    device = await api.new_device()
    ways: dict[str, dict[str, Any]] = {
        "header": {"token": device.token},
        "query": {"token": None, "query": f"?token={device.token}&stream=S"},
        "subprotocol": {"token": None, "protocols": [f"tracker.token.{device.token}"]},
    }
    async with welcomed(http, api.url, **ways[way]) as socket:
        assert socket.welcome["device"] == device.id
        if way == "subprotocol":
            assert socket.ws.protocol == f"tracker.token.{device.token}"
        await socket.send({"lon": 1, "lat": 2})
        await socket.acked(1)


@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), ("no-such-token", 401), ("", 401), (ADMIN, 403), ("Ünïcödé", 401)]
)
async def test_who_has_no_token_of_a_device_is_refused_before_the_upgrade(
    api: Api, http: ClientSession, token: str | None, status: int
) -> None:
    query = "?stream=S" if token is None else f"?stream=S&token={token}"
    with pytest.raises(WSServerHandshakeError) as refusal:
        async with link(http, api.url, None, query=query):
            pass
    assert refusal.value.status == status
    posted = await api.problem("POST", f"/v1/ingest{query}", {"lon": 1, "lat": 2}, expect=status, token=None)
    assert posted["code"] == ("forbidden" if status == 403 else "unauthenticated")


@pytest.mark.parametrize(
    "path",
    ["/v1/assets", "/v1/events", "/v1/positions", "/v1/devices", "/v1/geofences", "/v1/assets/ast_1/track", "/v1/live"],
)
async def test_a_devices_token_reads_nothing(api: Api, path: str) -> None:
    device = await api.new_device()
    assert (await api.problem("GET", path, token=device.token, expect=403))["code"] == "forbidden"


async def test_a_revoked_token_closes_its_socket_with_4401_and_opens_none(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    other = await api.new_device("another")
    [token] = (await api.call("GET", f"/v1/tokens?device={device.id}"))["tokens"]
    async with (
        welcomed(http, api.url, device.token) as socket,
        welcomed(http, api.url, other.token) as bystander,
    ):
        await api.call("DELETE", f"/v1/tokens/{token['id']}", expect=204)
        assert await socket.closed() == 4401
        await bystander.send({"lon": 1, "lat": 2})
        await bystander.acked(1)
    with pytest.raises(WSServerHandshakeError) as refusal:
        async with link(http, api.url, device.token):
            pass
    assert refusal.value.status == 401


async def test_a_deleted_device_is_cut_off(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token) as socket:
        await api.call("DELETE", f"/v1/devices/{device.id}", expect=204)
        assert await socket.closed() == 4401


# What is refused, and what is kept but not believed -------------------------------------------------------------------


async def test_a_message_of_bad_fixes_alone_is_acked_and_survives_a_resend(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, [{"lon": 1, "lat": 400}] * 3)
        await socket.acked(3)
        assert [reject["seq"] for reject in socket.of_type("reject")] == [1, 2, 3]
    async with welcomed(http, api.url, device.token, "S") as socket:
        assert socket.welcome["seq"] == 3
    assert len((await api.call("GET", f"/v1/devices/{device.id}/rejects"))["rejects"]) == 3


async def test_a_frame_of_a_megabyte_closes_its_socket_with_1009_and_no_other(api: Api, http: ClientSession) -> None:
    device, other = await api.new_device(), await api.new_device("another")
    async with (
        welcomed(http, api.url, other.token) as bystander,
        welcomed(http, api.url, device.token) as socket,
    ):
        await socket.send('{"lon":1,"lat":2}' + " " * 1024 * 1024)
        assert await socket.closed() == 1009
        await bystander.send({"lon": 1, "lat": 2})
        await bystander.acked(1)


async def test_a_binary_frame_closes_the_socket_with_a_code_and_no_other(api: Api, http: ClientSession) -> None:
    device, other = await api.new_device(), await api.new_device("another")
    async with (
        welcomed(http, api.url, other.token) as bystander,
        welcomed(http, api.url, device.token) as socket,
    ):
        await socket.send(b"\x00" * 100)
        assert await socket.closed() in (1003, 1007)
        await bystander.send({"lon": 1, "lat": 2})
        await bystander.acked(1)


async def test_a_faulty_binary_frame_is_answered_and_the_socket_stays(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.send(binary_frame([Fix(1, 2)], 1)[:-1])
        assert (await socket.expect("error"))["code"] == "malformed"
        await socket.send(binary_frame([Fix(1, 2), Fix(1, 91)], 1))
        assert [(await socket.receive())["type"] for _ in range(2)] == ["reject", "ack"]
    problem = await api.problem("POST", "/v1/ingest", data=binary_frame([]), token=device.token, expect=400)
    assert problem["code"] == "bad_count"


async def test_a_clock_that_is_ahead_is_flagged_and_never_the_newest(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    now_ms = time.time_ns() // 1_000_000
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, [{"lon": 1, "lat": 1, "time": now_ms + 3_600_000}, {"lon": 2, "lat": 2, "time": now_ms}])
        await socket.acked(2)
    assert [stored.flags for stored in await api.track(device.asset)] == [(), ("clock_ahead",)]
    assert (await api.position(device.asset))["lon"] == 2


@pytest.mark.parametrize(
    ("doubtful", "flag"),
    [({"lon": 0, "lat": 0}, "zero_island"), ({"lon": 5, "lat": 5, "accuracy_m": 1001}, "poor_accuracy")],
)
async def test_a_doubtful_fix_is_kept_with_its_flag_and_does_not_move_the_asset(
    api: Api, http: ClientSession, doubtful: Json, flag: str
) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, [fix(1), {**doubtful, "time": START_MS + 5000}])
        await socket.acked(2)
    assert [stored.flags for stored in await api.track(device.asset)] == [(), (flag,)]
    assert (await api.position(device.asset))["lon"] == fix(1)["lon"]


async def test_a_late_fix_is_kept_and_does_not_move_the_asset_back(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, [fix(5), fix(2)])
        await socket.fixes(3, [fix(4)])
        await socket.acked(3)
    assert numbers(await api.track(device.asset)) == [2, 4, 5]
    assert (await api.position(device.asset))["lon"] == fix(5)["lon"]


async def test_values_are_kept_as_exactly_as_the_contract_says(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    sent = {
        "lon": -179.99999994, "lat": 89.99999996, "time": START_MS + 0.9, "alt_m": -11_999.96, "speed_mps": 123.456,
        "course_deg": 360, "accuracy_m": 3.14, "attributes": {"fuel": 0.5, "ünï": ["x", None, True]},
    }  # fmt: skip
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, [sent])
        await socket.acked(1)
    position = await api.position(device.asset)
    assert {name: position[name] for name in sent if name != "time"} == {
        "lon": -179.9999999, "lat": 90.0, "alt_m": -12_000.0, "speed_mps": 123.46, "course_deg": 0.0, "accuracy_m": 3.1,
        "attributes": {"fuel": 0.5, "ünï": ["x", None, True]},
    }  # fmt: skip
    assert (await api.track(device.asset))[0].time_ms == START_MS


# Devices and assets ---------------------------------------------------------------------------------------------------


async def test_a_second_device_of_an_asset_stands_by_until_it_is_made_the_active_one(
    api: Api, http: ClientSession
) -> None:
    first = await api.new_device("first")
    second = await api.new_device("second", first.asset)
    async with (
        welcomed(http, api.url, first.token, "S") as active,
        welcomed(http, api.url, second.token, "S") as standby,
    ):
        await active.fixes(1, [fix(1)])
        await active.acked(1)
        await standby.fixes(1, [fix(2)])
        await standby.acked(1)
        assert (await api.position(first.asset))["device"] == first.id
        await api.call("PATCH", f"/v1/assets/{first.asset}", {"active_device": second.id})
        await standby.fixes(2, [fix(3)])
        await standby.acked(2)
        await active.fixes(2, [fix(4)])
        await active.acked(2)
    assert [stored.flags for stored in await api.track(first.asset)] == [(), ("standby",), (), ("standby",)]
    assert (await api.position(first.asset))["device"] == second.id


async def test_a_device_moved_to_another_asset_leaves_its_history_where_it_was(api: Api, http: ClientSession) -> None:
    device = await api.new_device("phone")
    other = await api.call("POST", "/v1/assets", {"name": "van"}, expect=201)
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, fixes(1, 2))
        await socket.acked(2)
        await api.call("PATCH", f"/v1/devices/{device.id}", {"asset": other["id"]})
        await socket.fixes(3, fixes(3, 4))
        await socket.acked(4)
    assert numbers(await api.track(device.asset)) == [1, 2]
    assert numbers(await api.track(other["id"])) == [3, 4]
    async with welcomed(http, api.url, device.token, "S") as socket:
        assert (socket.welcome["asset"], socket.welcome["seq"]) == (other["id"], 4)


async def answered(api: Api, device: str, command: str) -> Json:
    """A command as it is listed, once the device has answered."""
    found: list[Json] = []

    async def is_answered() -> bool:
        listed = (await api.call("GET", f"/v1/devices/{device}/commands"))["commands"]
        found[:] = [each for each in listed if each["id"] == command and each["state"] in ("succeeded", "failed")]
        return bool(found)

    await until(is_answered)
    return found[0]


async def test_a_command_reaches_a_connected_device_and_its_result_is_kept(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token) as socket:
        order = {"name": "locate", "args": {"every_s": 5}}
        made = await api.call("POST", f"/v1/devices/{device.id}/commands", order, expect=202)
        command = await socket.expect("command")
        assert command == {"type": "command", "id": made["id"], **order}
        await socket.send({"type": "result", "id": made["id"], "ok": True, "value": {"done": [1, 2]}})
        listed = await answered(api, device.id, made["id"])
        assert (listed["state"], listed["value"]) == ("succeeded", {"done": [1, 2]})


async def test_commands_wait_for_a_device_that_is_away_and_come_in_order(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    made = [
        (await api.call("POST", f"/v1/devices/{device.id}/commands", {"name": f"c{number}"}, expect=202))["id"]
        for number in range(3)
    ]
    async with welcomed(http, api.url, device.token) as socket:
        assert [(await socket.expect("command"))["id"] for _ in made] == made
        await socket.send({"type": "result", "id": made[0], "ok": False, "value": "no"})
        assert (await answered(api, device.id, made[0]))["state"] == "failed"
    async with welcomed(http, api.url, device.token) as socket:  # what was not answered comes again
        assert [(await socket.expect("command"))["id"] for _ in made[1:]] == made[1:]


async def test_a_device_cannot_answer_the_command_of_another(api: Api, http: ClientSession) -> None:
    device, other = await api.new_device(), await api.new_device("another")
    made = await api.call("POST", f"/v1/devices/{device.id}/commands", {"name": "locate"}, expect=202)
    async with welcomed(http, api.url, other.token) as socket:
        await socket.send({"type": "result", "id": made["id"], "ok": True})
        await socket.send({"lon": 1, "lat": 2})
        await socket.acked(1)
    [listed] = (await api.call("GET", f"/v1/devices/{device.id}/commands"))["commands"]
    assert listed["state"] == "waiting"


async def test_a_changed_config_is_pushed_and_stands_in_the_next_welcome(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token) as socket:
        await api.call("PATCH", f"/v1/devices/{device.id}", {"config": {"every_s": 5}})
        assert await socket.expect("config") == {"type": "config", "config": {"every_s": 5}}
    async with welcomed(http, api.url, device.token) as socket:
        assert socket.welcome["config"] == {"every_s": 5}


async def test_what_a_device_says_of_itself_is_kept(api: Api, http: ClientSession) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token) as socket:
        await socket.send({"type": "status", "battery": 0.8, "reason": "permission_denied"})

        async def known() -> bool:
            status = (await api.call("GET", f"/v1/devices/{device.id}"))["status"]
            return bool(status == {"battery": 0.8, "reason": "permission_denied"})

        await until(known)


# POST -----------------------------------------------------------------------------------------------------------------

POSTS = {
    "message": json.dumps({"type": "fixes", "fixes": fixes(1, 2)}),
    "array": json.dumps(fixes(1, 2)),
    "lines": "\n".join(map(json.dumps, fixes(1, 2))) + "\n",
    "binary": binary_frame([Fix(**each) for each in fixes(1, 2)]),
}


@pytest.mark.parametrize("form", POSTS)
async def test_a_post_takes_what_the_socket_takes_and_answers_when_it_is_durable(api: Api, form: str) -> None:
    device = await api.new_device()
    answer = await api.call("POST", "/v1/ingest", data=POSTS[form], token=device.token)
    [ack] = answer["acks"]
    assert (ack["device"], ack["seq"], answer["rejects"]) == (device.id, 2, [])
    assert numbers(await api.track(device.asset)) == [1, 2]


async def test_a_bare_fix_may_be_posted(api: Api) -> None:
    device = await api.new_device()
    answer = await api.call("POST", "/v1/ingest", {"lon": 13.4, "lat": 52.5}, token=device.token)
    assert answer["acks"][0]["seq"] == 1
    assert (await api.position(device.asset))["lon"] == 13.4


async def test_a_posted_stream_is_numbered_like_that_of_a_socket_and_does_not_end_it(
    api: Api, http: ClientSession
) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, fixes(1, 3))
        await socket.acked(3)
        message = {"type": "fixes", "stream": "S", "seq": 2, "fixes": [*fixes(2, 4), {"lon": 1, "lat": 400}]}
        answer = await api.call("POST", "/v1/ingest", message, token=device.token)
        assert answer["acks"] == [{"stream": "S", "seq": 5, "device": device.id}]
        assert [(reject["seq"], reject["code"]) for reject in answer["rejects"]] == [(5, "latitude_out_of_range")]
        await socket.fixes(6, fixes(6, 6))
        await socket.acked(6)
    assert numbers(await api.track(device.asset)) == [1, 2, 3, 4, 6]


async def test_a_gateway_posts_for_a_device_that_it_names(api: Api) -> None:
    gateway = await api.call("POST", "/v1/tokens", {"name": "harbour", "kind": "gateway"}, expect=201)
    device = await api.new_device()
    message = {"type": "fixes", "device": device.id, "stream": "S", "seq": 1, "fixes": fixes(1, 2)}
    answer = await api.call("POST", "/v1/ingest", message, token=gateway["token"])
    assert answer["acks"] == [{"device": device.id, "stream": "S", "seq": 2}]
    await api.problem("POST", "/v1/ingest", {"lon": 1, "lat": 2}, token=gateway["token"], expect=422)


async def test_a_get_without_upgrade_is_told_what_to_do(api: Api) -> None:
    device = await api.new_device()
    assert (await api.problem("GET", "/v1/ingest", token=device.token, expect=426))["code"] == "upgrade_required"


# Overload -------------------------------------------------------------------------------------------------------------


async def test_a_device_that_reads_no_answers_is_cut_off_and_harms_nobody(
    api: Api, http: ClientSession, server: Server
) -> None:
    device, other = await api.new_device(), await api.new_device("another")
    refused = [{"lon": 1, "lat": 400}] * 1000  # five bytes of answer for each that is sent
    async with (
        welcomed(http, api.url, other.token) as bystander,
        deaf(api.url, "/v1/ingest?stream=S", device.token) as socket,
    ):
        sent = 0

        async def is_cut_or_answered() -> bool:
            streams = (await api.call("GET", f"/v1/devices/{device.id}"))["streams"]
            return len(server.sockets) == 1 or [stream["seq"] for stream in streams] == [sent]

        with suppress(ConnectionError):
            while len(server.sockets) == 2:
                await socket.send({"type": "fixes", "stream": "S", "seq": sent + 1, "fixes": refused})
                sent += len(refused)
                await until(is_cut_or_answered)
        assert 1_000_000 < sent * 150 < 20_000_000
        await bystander.send({"lon": 1, "lat": 2})
        await bystander.acked(1)


async def writers_backend(connection: asyncpg.Connection) -> int:
    """The process of PostgreSQL that the writer's transactions run in."""
    number: int = await connection.fetchval(
        """SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
           WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.granted
             AND (l.classid::bigint << 32 | l.objid::bigint) = $1""",
        int.from_bytes(b"writer"),
    )
    return number


async def flood(socket: Link, frames: int, padding: str) -> None:
    """One fix a frame, each frame as large as the padding makes it."""
    for number in range(1, frames + 1):
        message = {"type": "fixes", "seq": number, "fixes": [fix(number)]}
        await socket.send(json.dumps(message) + padding)


@pytest.mark.timeout(240)
async def test_a_flood_faster_than_the_database_keeps_memory_bounded_and_loses_nothing(
    served: Served, http: ClientSession, connection: asyncpg.Connection
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    devices = [await api.new_device(f"cab {number}") for number in range(4)]
    backend = await writers_backend(connection)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(welcomed(http, api.url, each.token, "S")) for each in devices]
        os.kill(backend, signal.SIGSTOP)
        try:
            before = served.rss_bytes
            flooding = [asyncio.create_task(flood(socket, FLOOD_FRAMES, " " * FRAME_BYTES)) for socket in sockets]

            async def no_more_is_read() -> bool:
                return (await api.metrics())["tracker_intake_waiting_sockets"] == len(sockets)

            await until(no_more_is_read)
            grown = served.rss_bytes - before
        finally:
            os.kill(backend, signal.SIGCONT)
        for socket in sockets:
            await socket.acked(FLOOD_FRAMES)
        await asyncio.gather(*flooding)
        grown_at_most, sent_bytes = served.status("VmHWM") - before, 4 * FLOOD_FRAMES * FRAME_BYTES
    print(f"{sent_bytes / 1e6:.0f} MB sent; grown by {grown / 1e6:.0f} MB, at most {grown_at_most / 1e6:.0f} MB")
    assert grown < grown_at_most < sent_bytes / 2
    assert all(not task.done() or task.exception() is None for task in flooding)
    for device in devices:
        assert numbers(await api.track(device.asset)) == list(range(1, FLOOD_FRAMES + 1))
