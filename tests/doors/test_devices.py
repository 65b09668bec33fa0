import asyncio
import time

import asyncpg
import pytest

from tests.doors.conftest import ADMIN, Api
from tracker.access.roles import Role
from tracker.access.tokens import DeviceToken
from tracker.doors.identity import ACCESS
from tracker.doors.keys import FLEET
from tracker.errors import Unauthenticated


async def test_a_device_without_an_asset_gets_one_of_its_name(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "Bus 12"}, expect=201)
    assert made["token"].startswith("trk_")
    assert made["asset"] == {"id": "ast_1", "name": "Bus 12"}
    asset = await api.call("GET", f"/v1/assets/{made['asset']['id']}")
    assert asset["active_device"] == made["id"]
    assert asset["devices"] == [made["id"]]
    assert asset["position"] is None


async def test_what_is_made_is_in_memory_by_the_time_of_the_answer(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "Bus 12"}, expect=201)
    fleet = api.app[FLEET]
    assert fleet.devices[1].name == "Bus 12"
    assert fleet.assets[1].active_device == 1
    assert await api.app[ACCESS].device_token(made["token"]) == DeviceToken(1, 1)
    assert api.told.changed == [({1}, {1})]


async def test_many_devices_are_made_in_order_and_fast(api: Api) -> None:
    started = time.process_time()
    made = await api.call("POST", "/v1/devices", [{"name": f"load-{i}"} for i in range(500)], expect=201)
    took_s = time.process_time() - started
    assert [device["name"] for device in made["devices"]] == [f"load-{i}" for i in range(500)]
    assert [device["asset"]["name"] for device in made["devices"]] == [f"load-{i}" for i in range(500)]
    assert len({device["token"] for device in made["devices"]}) == 500
    assert len(api.app[FLEET].devices) == 500
    assert took_s < 2
    print(f"500 devices in {took_s * 1000:.0f} ms")


async def test_many_devices_are_made_all_or_none(api: Api) -> None:
    found = await api.problem("POST", "/v1/devices", [{"name": "a"}, {"name": "b", "asset": "ast_7"}], expect=422)
    assert found["field"] == "[1].asset"
    assert (await api.call("GET", "/v1/devices"))["devices"] == []
    assert (await api.call("GET", "/v1/assets"))["assets"] == []
    assert not api.app[FLEET].devices


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a", "asset": "dev_1"}, "asset"),
        ({"name": "a", "asset": "ast_99999999999"}, "asset"),
        ({"name": "a", "colour": "red"}, "colour"),
        ([{"name": "a"}, {"name": None}], "[1].name"),
        ([], None),
        ([{"name": "a"}] * 1001, None),
        ("a", None),
        (None, None),
    ],
)
async def test_a_bad_device_is_refused_by_the_name_of_its_field(api: Api, body: object, field: str | None) -> None:
    found = await api.problem("POST", "/v1/devices", body, expect=422 if body is not None else 400)
    assert found.get("field") == field


async def test_devices_may_share_an_asset_and_the_first_is_the_active_one(api: Api) -> None:
    asset = await api.call("POST", "/v1/assets", {"name": "Ferry"}, expect=201)
    assert asset["active_device"] is None
    made = await api.call("POST", "/v1/devices", [{"name": n, "asset": asset["id"]} for n in "ab"], expect=201)
    first, second = (device["id"] for device in made["devices"])
    assert (await api.call("GET", f"/v1/assets/{asset['id']}"))["active_device"] == first
    assert api.app[FLEET].assets[1].active_device == 1
    assert [d["active"] for d in (await api.call("GET", f"/v1/devices?asset={asset['id']}"))["devices"]] == [
        True,
        False,
    ]
    patched = await api.call("PATCH", f"/v1/assets/{asset['id']}", {"active_device": second})
    assert patched["active_device"] == second
    assert api.app[FLEET].assets[1].active_device == 2


async def test_a_device_moves_to_another_asset_and_leaves_the_first_to_the_next(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", [{"name": "a"}, {"name": "b", "asset": None}], expect=201)
    await api.call("POST", "/v1/devices", {"name": "c", "asset": "ast_1"}, expect=201)
    moved = await api.call("PATCH", f"/v1/devices/{made['devices'][0]['id']}", {"asset": "ast_2"})
    assert moved["asset"] == {"id": "ast_2", "name": "b"}
    assert moved["active"] is False
    fleet = api.app[FLEET]
    assert fleet.devices[1].asset == 2
    assert fleet.assets[1].active_device == 3
    assert fleet.assets[2].active_device == 2
    assert (await api.problem("PATCH", "/v1/devices/dev_1", {"asset": "ast_9"}, expect=422))["field"] == "asset"
    assert (await api.problem("PATCH", "/v1/devices/dev_9", {"asset": "ast_1"}, expect=404))["code"] == "not_found"


async def test_a_new_config_is_told_after_it_stands_in_memory(api: Api) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    changed = await api.call("PATCH", "/v1/devices/dev_1", {"config": {"period_s": 5}})
    assert changed["config"] == {"period_s": 5}
    assert api.told.configs == [1]
    assert api.app[FLEET].devices[1].config == {"period_s": 5}
    assert (await api.problem("PATCH", "/v1/devices/dev_1", {"config": {"a": "x" * 17_000}}, expect=422))[
        "field"
    ] == "config"
    assert (await api.problem("PATCH", "/v1/devices/dev_1", {"config": {"a": ["\x00"]}}, expect=422))[
        "field"
    ] == "config.a[0]"


async def test_a_deleted_device_is_gone_from_list_memory_and_door_at_once(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    ended: list[int] = []
    access = api.app[ACCESS]
    access.on_revoked(ended.append)
    token = await access.device_token(made["token"])
    await api.call("DELETE", f"/v1/devices/{made['id']}", expect=204)
    assert ended == [token.token_id]
    assert not api.app[FLEET].devices
    assert api.app[FLEET].assets[1].active_device is None
    with pytest.raises(Unauthenticated):
        await access.device_token(made["token"])
    await api.problem("GET", f"/v1/devices/{made['id']}", expect=404)
    await api.problem("DELETE", f"/v1/devices/{made['id']}", expect=404)
    assert (await api.call("GET", "/v1/assets/ast_1"))["name"] == "a"


async def test_a_deletion_whose_answer_was_lost_is_made_good_by_the_next_try(
    api: Api, connection: asyncpg.Connection
) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    ended: list[int] = []
    api.app[ACCESS].on_revoked(ended.append)
    await connection.execute("UPDATE device SET deleted_at = now()")
    await connection.execute("UPDATE token SET revoked_at = now()")
    await api.problem("DELETE", f"/v1/devices/{made['id']}", expect=404)
    assert ended == [1]
    assert not api.app[FLEET].devices


async def test_a_device_has_two_tokens_at_most_and_ending_the_older_leaves_the_newer(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    answers = await asyncio.gather(*(api.send("POST", "/v1/devices/dev_1/token") for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]
    second = await next(answer for answer in answers if answer.status == 201).json()
    access = api.app[ACCESS]
    await access.device_token(made["token"])
    await access.device_token(second["token"])
    await api.call("DELETE", "/v1/devices/dev_1/token", expect=204)
    with pytest.raises(Unauthenticated):
        await access.device_token(made["token"])
    assert (await access.device_token(second["token"])).device_id == 1
    await api.call("DELETE", "/v1/devices/dev_1/token", expect=204)
    await access.device_token(second["token"])
    await api.problem("POST", "/v1/devices/dev_9/token", expect=404)
    await api.problem("DELETE", "/v1/devices/dev_9/token", expect=404)


async def test_streams_show_what_is_durable_also_before_it_is_filed(api: Api, connection: asyncpg.Connection) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    await connection.execute(
        "INSERT INTO stream (device, name, seq, gaps) VALUES (1, 'live', 40, 2), (1, 'backlog', 7, 0)"
    )
    await connection.execute(
        "INSERT INTO journal VALUES (1, 9, now(), 0, NULL, NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
        " '{}', NULL, '{1,1}', '{44,60}', '{1,1}', '{3,1}')"
    )
    shown = await api.call("GET", "/v1/devices/dev_1")
    assert {s["stream"]: (s["seq"], s["gaps"]) for s in shown["streams"]} == {"live": (60, 6), "backlog": (7, 0)}
    assert shown["stream_count"] == 2


async def test_rejects_are_listed_with_their_codes(api: Api, connection: asyncpg.Connection) -> None:
    await api.call("POST", "/v1/devices", [{"name": "a"}, {"name": "b"}], expect=201)
    await connection.execute(
        "INSERT INTO fix_reject (device, stream, seq, code, message, rejected_at)"
        " SELECT 1 + n % 2, 's', n, 'latitude_out_of_range', 'lat', now() FROM generate_series(1, 20) AS n"
    )
    found = await api.pages("/v1/devices/dev_2/rejects", "rejects", 3)
    assert [reject["seq"] for reject in found] == list(range(1, 20, 2))
    assert found[0]["code"] == "latitude_out_of_range"
    await api.problem("GET", "/v1/devices/dev_3/rejects", expect=404)


async def test_a_command_is_stored_and_then_handed_on(api: Api, connection: asyncpg.Connection) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    made = await api.call("POST", "/v1/devices/dev_1/commands", {"name": "report", "args": {"n": 1}}, expect=202)
    assert made == {"id": "cmd_1", "state": "waiting"}
    assert api.told.commands == [(1, 1, "report", {"n": 1})]
    await api.call("POST", "/v1/devices/dev_1/commands", {"name": "stop"}, expect=202)
    await connection.execute(
        "UPDATE command SET sent_at = now(), answered_at = now(), ok = true, value = '7' WHERE id = 1"
    )
    first, second = (await api.call("GET", "/v1/devices/dev_1/commands"))["commands"]
    assert (first["state"], first["value"]) == ("succeeded", 7)
    assert (second["state"], second["args"]) == ("waiting", {})
    await api.problem("POST", "/v1/devices/dev_2/commands", {"name": "x"}, expect=404)


async def test_commands_that_nobody_answers_do_not_pile_up(api: Api) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    for _ in range(100):
        await api.call("POST", "/v1/devices/dev_1/commands", {"name": "x"}, expect=202)
    assert (await api.problem("POST", "/v1/devices/dev_1/commands", {"name": "x"}, expect=409))["code"] == "conflict"


async def test_devices_made_at_the_same_time_all_arrive_in_memory(api: Api) -> None:
    async def one(number: int) -> None:
        made = await api.call("POST", "/v1/devices", {"name": f"d{number}"}, expect=201)
        await api.call("PATCH", f"/v1/devices/{made['id']}", {"name": f"e{number}"})
        if number % 3 == 0:
            await api.call("DELETE", f"/v1/devices/{made['id']}", expect=204)

    await asyncio.gather(*(one(number) for number in range(24)))
    listed = {device["id"]: device["name"] for device in await api.pages("/v1/devices", "devices", 5)}
    assert listed == {f"dev_{device.id}": device.name for device in api.app[FLEET].devices.values()}
    assert sorted(listed.values()) == sorted(f"e{number}" for number in range(24) if number % 3)


async def test_a_gateway_token_stands_for_no_device_and_reads_nothing(api: Api) -> None:
    made = await api.call("POST", "/v1/tokens", {"name": "mast", "kind": "gateway"}, expect=201)
    assert await api.app[ACCESS].device_token(made["token"]) == DeviceToken(1, None)
    assert (await api.problem("GET", "/v1/devices", token=made["token"], expect=403))["code"] == "forbidden"
    assert (await api.app[ACCESS].caller(await api.token_of(Role.VIEWER))).role is Role.VIEWER
    assert ADMIN not in str(await api.call("GET", "/v1/tokens"))
