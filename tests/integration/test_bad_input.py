"""Bad input, to one server for all of it: each is answered, none harms what comes after."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError

from tests.integration.api import ADMIN, Api, Json
from tests.integration.link import START_MS, cab, link, welcomed
from tests.integration.viewer import Box, viewing
from tracker.app import Server
from tracker.settings import Settings
from tracker.store.private import PrivateCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOX: Box = (10, 50, 11, 51)
IN = (10.5, 50.5)
RING = [[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]
HERE = {"type": "Polygon", "coordinates": [RING]}
ELSEWHERE = [[20, 50], [21, 50], [21, 51], [20, 51], [20, 50]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    cluster: PrivateCluster, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One for the whole module, on a database of its own; at the end it must not have stumbled once."""
    connection = await asyncpg.connect(cluster.url("postgres"))
    await connection.execute(f"CREATE DATABASE bad_input TEMPLATE {migrated_template} STRATEGY file_copy")
    settings = Settings(
        "127.0.0.1", 0, tmp_path_factory.mktemp("data"), database=cluster.url("bad_input"), admin_token=ADMIN
    )
    async with Server(settings) as server:
        yield server
        assert server.writer.recoveries == 0  # what is bad is seen at the doors, and not by the database
    await connection.execute("DROP DATABASE bad_input WITH (FORCE)")
    await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(server: Server, http: ClientSession) -> Api:
    return Api(server.url, http)


def fix(number: int) -> Json:
    return {"lon": 24.9, "lat": 60.17, "time": START_MS + number * 1000}


def feature(geometry: Json, **properties: Any) -> Json:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


# From devices ---------------------------------------------------------------------------------------------------------

BAD_FIXES = {
    '{"lon": NaN, "lat": 2}': "not_finite",
    '{"lon": 1, "lat": Infinity}': "not_finite",
    '{"lon": 1, "lat": 2, "speed_mps": 1e999}': "not_finite",
    '{"lon": 1, "lat": 400}': "latitude_out_of_range",
    '{"lon": -180.0001, "lat": 4}': "longitude_out_of_range",
    '{"lon": 1e308, "lat": -1e308}': "latitude_out_of_range",
    '{"lon": 1, "lat": 2, "alt_m": -12001}': "altitude_out_of_range",
    '{"lon": 1, "lat": 2, "speed_mps": -5}': "speed_out_of_range",
    '{"lon": 1, "lat": 2, "course_deg": 4000}': "course_out_of_range",
    '{"lon": 1, "lat": 2, "accuracy_m": 1e8}': "accuracy_out_of_range",
    '{"lon": 1, "lat": 2, "time": "2080-01-01T00:00:00Z"}': "time_in_future",
    '{"lon": 1, "lat": 2, "time": -3000000000000}': "time_too_old",
    '{"lon": 1, "lat": 2, "time": "yesterday"}': "wrong_type",
    '{"lon": 1, "lat": 2, "time": "2025-01-01T00:00:00"}': "wrong_type",
    '{"lon": "13.4", "lat": 2}': "wrong_type",
    '{"lon": true, "lat": 2}': "wrong_type",
    '{"lat": 2}': "missing_field",
    '{"lon": 1, "lat": null}': "missing_field",
    "7": "wrong_type",
    '{"lon": 1, "lat": 2, "attributes": {"a": "x\\u0000y"}}': "bad_attributes",
    '{"lon": 1, "lat": 2, "attributes": {"\\u0000": 1}}': "bad_attributes",
    '{"lon": 1, "lat": 2, "attributes": {"a": "\\ud800"}}': "bad_attributes",
    '{"lon": 1, "lat": 2, "attributes": "text"}': "bad_attributes",
    '{"lon": 1, "lat": 2, "attributes": {"a": "' + "x" * 5000 + '"}}': "bad_attributes",
    '{"lon": 1, "lat": 2, "a\\u0000b": NaN}': "not_finite",
    '{"lon": 1, "lat": 2, "\\ud800": NaN}': "not_finite",
    '{"lon": ' + "1" * 400 + ', "lat": 2}': "not_finite",
}


@pytest.mark.parametrize("bad", BAD_FIXES, ids=lambda bad: bad[:60])
async def test_a_bad_fix_is_rejected_alone_before_the_ack_that_covers_it(
    api: Api, http: ClientSession, bad: str
) -> None:
    device = await api.new_device()
    good = json.dumps(fix(1))[:-1]
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.send(f'{{"type":"fixes","stream":"S","seq":1,"fixes":[{good}}},{bad},{json.dumps(fix(3))}]}}')
        reject = await socket.expect("reject")
        assert (reject["stream"], reject["seq"], reject["code"]) == ("S", 2, BAD_FIXES[bad])
        assert reject["message"]
        assert await socket.expect("ack") == {"type": "ack", "stream": "S", "seq": 3}
    assert [stored.time_ms for stored in await api.track(device.asset)] == [START_MS + 1000, START_MS + 3000]
    [listed] = (await api.call("GET", f"/v1/devices/{device.id}/rejects"))["rejects"]
    assert {name: listed[name] for name in ("stream", "seq", "code", "message")} == {
        name: reject[name] for name in ("stream", "seq", "code", "message")
    }


BAD_FRAMES = [
    "", "   ", "hello", "{", "null", "7", "[]", "{}", '"fixes"', '{"type":"fixes"}', '{"type":"fixes","fixes":[]}',
    '{"type":"fixes","fixes":{}}', '{"type":"fixes","seq":0,"fixes":[{"lon":1,"lat":2}]}',
    '{"type":"fixes","seq":1.5,"fixes":[{"lon":1,"lat":2}]}', '{"type":"fixes","seq":1e99,"fixes":[{"lon":1,"lat":2}]}',
    '{"type":"fixes","stream":"another","fixes":[{"lon":1,"lat":2}]}',
    '{"type":"fixes","device":"dev_999","fixes":[{"lon":1,"lat":2}]}',
    '{"type":"fixes","device":"dev_²","fixes":[{"lon":1,"lat":2}]}',
    '{"type":"fixes","device":"dev_' + "1" * 5000 + '","fixes":[{"lon":1,"lat":2}]}',
    '{"type":"fixes","fixes":[' + ",".join(['{"lon":1,"lat":2}'] * 1001) + "]}",
    '{"fixes":[1],"type":"\\ud800"}', '{"type":"banana"}', '{"type":7}', '{"type":"hello"}',
    '{"type":"hello","stream":""}',
    '{"type":"hello","stream":"a\\u0000b"}', '{"type":"hello","stream":"' + "x" * 200 + '"}',
    '{"type":"hello","device":"dev_999","stream":"S"}', '{"type":"result"}', '{"type":"result","id":"x","ok":true}',
    '{"type":"result","id":"cmd_1","ok":true,"value":"a\\u0000b"}', '{"type":"status","battery":7}',
    '{"type":"status","reason":"a\\u0000b"}', "[" * 100_000, '{"type":"fixes","fixes":' + "[" * 100_000,
    '{"type":"hello","stream":' + "[" * 100_000, '{"a":' * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=lambda frame: frame[:60])
async def test_a_frame_that_cannot_be_used_gets_an_error_and_the_socket_goes_on(
    api: Api, http: ClientSession, frame: str
) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.send(frame)
        error = await socket.expect("error")
        assert error["code"]
        assert error["message"]
        await socket.fixes(1, [fix(1), fix(2)])
        assert await socket.acked(1) == 2


async def test_a_text_frame_that_is_no_utf8_gets_an_error_or_the_close_code_for_it(
    api: Api, http: ClientSession
) -> None:
    device = await api.new_device()
    async with welcomed(http, api.url, device.token) as socket:
        await socket.ws.send_frame(b'{"lon":1,"lat":2,"attributes":{"a":"\xff\xfe"}}', 1)  # type: ignore[arg-type]
        message = await socket.receive()
        assert message["type"] in ("error", "reject")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "hello", "stream": "S"},
        {"type": "hello", "device": "dev_999999", "stream": "S"},
        {"type": "hello", "device": "dev_²", "stream": "S"},
        {"type": "fixes", "fixes": [{"lon": 1, "lat": 2}]},
        {"type": "fixes", "device": "dev_1", "stream": "not opened", "fixes": [{"lon": 1, "lat": 2}]},
        {"type": "fixes", "device": "dev_²", "stream": "S", "fixes": [{"lon": 1, "lat": 2}]},
        {"type": "fixes", "device": "dev_" + "1" * 5000, "stream": "S", "fixes": [{"lon": 1, "lat": 2}]},
        {"type": "fixes", "device": "ast_1", "fixes": [{"lon": 1, "lat": 2}]},
        {"lon": 1, "lat": 2},
    ],
    ids=lambda message: json.dumps(message)[:60],
)
async def test_a_gateway_that_names_no_open_stream_gets_an_error_and_goes_on(
    api: Api, http: ClientSession, message: Json
) -> None:
    gateway = await api.call("POST", "/v1/tokens", {"name": "harbour", "kind": "gateway"}, expect=201)
    device = await api.new_device()
    async with link(http, api.url, gateway["token"]) as socket:
        await socket.send(message)
        assert (await socket.expect("error"))["message"]
        await socket.send({"type": "hello", "device": device.id, "stream": "S"})
        await socket.expect("welcome")
        await socket.fixes(1, [fix(1)], device=device.id, stream="S")
        await socket.acked(1)


@pytest.mark.parametrize("stream", ["", "a%00b", "%0A", "x" * 129])
async def test_a_stream_name_with_nothing_or_control_characters_in_it_is_refused(
    api: Api, http: ClientSession, stream: str
) -> None:
    device = await api.new_device()
    with pytest.raises(WSServerHandshakeError) as refusal:
        async with link(http, api.url, device.token, stream):
            pass
    assert refusal.value.status == 422


async def test_nul_in_a_devices_name_is_refused_with_the_field(api: Api) -> None:
    assert (await api.problem("POST", "/v1/devices", {"name": "a\x00b"}, expect=422))["field"] == "name"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "[" * 100_000, '{"type":"fixes","fixes":7}'], ids=lambda c: c[:20]
)
async def test_a_post_that_cannot_be_used_gets_a_problem_document(api: Api, content: str) -> None:
    device = await api.new_device()
    await api.problem("POST", "/v1/ingest", data=content, token=device.token, expect=400)


async def test_a_post_over_256_kib_gets_413(api: Api) -> None:
    device = await api.new_device()
    content = '{"lon":1,"lat":2}' + " " * 256 * 1024
    assert (await api.problem("POST", "/v1/ingest", data=content, token=device.token, expect=413))[
        "code"
    ] == "too_large"


# Geofences ------------------------------------------------------------------------------------------------------------

BAD_SHAPES: dict[str, tuple[Json, str]] = {
    "a bow-tie": (
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "geometry.coordinates",
    ),
    "a ring that touches itself": (
        {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [2, 0], [0, 4], [0, 0]]]}, "geometry.coordinates",
    ),
    "a ring that goes back over itself": (
        {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [2, 0], [4, 4], [0, 0]]]}, "geometry.coordinates",
    ),
    "an unclosed ring": (
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "geometry.coordinates[0]",
    ),
    "three positions": ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]}, "geometry.coordinates[0]"),
    "a ring without area": (
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}, "geometry.coordinates",
    ),
    "a hole outside": (
        {"type": "Polygon", "coordinates": [RING, ELSEWHERE]},
        "geometry.coordinates",
    ),
    "a second ring unclosed": (
        {"type": "Polygon", "coordinates": [RING, [[10, 50], [10.2, 50], [10.2, 50.2], [10, 50.2]]]},
        "geometry.coordinates[1]",
    ),
    "overlapping parts": (
        {"type": "MultiPolygon", "coordinates": [[RING], [[[10.5, 50], [12, 50], [12, 51], [10.5, 50]]]]},
        "geometry.coordinates",
    ),
    "a bad part": (
        {"type": "MultiPolygon", "coordinates": [[RING], [[[0, 0], [1, 0], [1, 1], [0, 1]]]]},
        "geometry.coordinates[1][0]",
    ),
    "no rings": ({"type": "Polygon", "coordinates": []}, "geometry.coordinates"),
    "no parts": ({"type": "MultiPolygon", "coordinates": []}, "geometry.coordinates"),
    "a latitude of 91": (
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 91], [0, 0]]]}, "geometry.coordinates[0][2]",
    ),
    "a longitude of 181": (
        {"type": "Polygon", "coordinates": [[[0, 0], [181, 0], [1, 1], [0, 0]]]}, "geometry.coordinates[0][1]",
    ),
    "a position of one number": (
        {"type": "Polygon", "coordinates": [[[0], [1, 0], [1, 1], [0]]]}, "geometry.coordinates[0][0]",
    ),
    "a point without radius": ({"type": "Point", "coordinates": [0, 0]}, "properties.radius_m"),
    "null": (None, "geometry"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SHAPES)
async def test_a_bad_shape_is_refused_with_the_place_of_its_fault(api: Api, name: str) -> None:
    geometry, field = BAD_SHAPES[name]
    problem = await api.problem("POST", "/v1/geofences", feature(geometry), expect=422)
    assert (problem["code"], problem["field"]) == ("invalid_geometry", field)
    fence = await api.new_fence(HERE)
    await api.problem("PATCH", f"/v1/geofences/{fence}", {"geometry": geometry}, expect=422)
    assert (await api.call("GET", f"/v1/geofences/{fence}"))["geometry"] == HERE


@pytest.mark.parametrize("radius_m", [0, -1, 1_000_001])
async def test_a_radius_out_of_range_is_refused(api: Api, radius_m: float) -> None:
    circle = feature({"type": "Point", "coordinates": [0, 0]}, radius_m=radius_m)
    assert (await api.problem("POST", "/v1/geofences", circle, expect=422))["field"] == "properties.radius_m"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("edge", "soft"),
        ("exit_margin_m", -1),
        ("exit_margin_m", "5"),
        ("confirm_fixes", 0),
        ("confirm_fixes", 1.5),
        ("confirm_s", 1e9),
        ("dwell_after_s", -0.5),
        ("cross", "yes"),
        ("max_gap_s", -1),
        ("alt_min_m", 1e6),
        ("schedule", {"weekly": []}),
        ("absence", True),  # without a schedule
        ("speed_limit_mps", -1),
        ("over_for_s", 5),  # without a limit
        ("assets", {}),
        ("assets", {"ids": ["dev_1"]}),
        ("assets", {"tag": ["bus"]}),
        ("buffer_m", 1),  # of a polygon
    ],
)
async def test_an_option_that_is_not_what_it_may_be_is_refused_by_name(api: Api, option: str, value: Any) -> None:
    problem = await api.problem("POST", "/v1/geofences", feature(HERE, **{option: value}), expect=422)
    assert problem["field"].startswith(f"properties.{option}")
    assert option in problem["detail"]


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"quality": "some"}, "properties.quality"),
        ({"name": 7}, "properties.name"),
        ({"name": "x" * 201}, "properties.name"),
        ({"tags": "a"}, "properties.tags"),
        ({"tags": [""]}, "properties.tags"),
        ({"radius_m": 5}, "properties.radius_m"),
        ({"note": "x" * 20_000}, "properties"),
        ({"name": "a\x00b"}, "properties.name"),
        ({"tags": ["a\x00b"]}, "properties.tags[0]"),
        ({"note": {"deep": ["a\x00b"]}}, "properties.note.deep[0]"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_a_bad_property_is_refused_with_its_name(api: Api, properties: Json, field: str) -> None:
    assert (await api.problem("POST", "/v1/geofences", feature(HERE, **properties), expect=422))["field"] == field


NO_FENCES = {
    "": 400,
    "{": 400,
    '{"type":"Feature","geometry":null,"properties":{"a":' + "[" * 100_000: 400,
    '{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,NaN],[0,0]]]}}': 400,
    '{"type":"Feature","geometry":{"type":"Point","coordinates":[1e999,0]},"properties":{"radius_m":5}}': 422,
    '{"type":"Feature","geometry":{"type":"LineString","coordinates":[[0,0],[1,1]]},"properties":{"a":1}}': 422,
    '{"type":"Feature","geometry":' + "[" * 100_000: 422,
    '{"type":"Feature"}': 422,
    '{"type":"FeatureCollection","features":[]}': 422,
    "[]": 422,
    '{"type":"Pet"}': 422,
    "7": 422,
}


@pytest.mark.parametrize("content", NO_FENCES, ids=lambda content: content[:60])
async def test_a_body_that_is_no_fence_is_refused(api: Api, content: str) -> None:
    await api.problem("POST", "/v1/geofences", data=content, expect=NO_FENCES[content])


async def test_a_body_over_4_mib_gets_413(api: Api) -> None:
    content = io.BytesIO(b" " * (4 * 1024 * 1024 + 1))
    assert (await api.problem("POST", "/v1/geofences", data=content, expect=413))["code"] == "too_large"


async def test_a_fence_of_more_than_ten_thousand_vertices_is_refused(api: Api) -> None:
    ring = [[lon / 10_000, 0.0] for lon in range(10_000)] + [[1.0, 1.0], [0.0, 0.0]]
    problem = await api.problem(
        "POST", "/v1/geofences", feature({"type": "Polygon", "coordinates": [ring]}), expect=422
    )
    assert "10,000" in problem["detail"]


# From viewers ---------------------------------------------------------------------------------------------------------

BAD_MESSAGES: list[Json | str | bytes] = [
    "", "hello", "7", "[]", "{}", "[" * 10_000, b"\x00\x01", {"type": "banana", "id": 1}, {"type": "view"},
    {"type": "view", "id": 1}, {"type": "view", "id": 1, "bbox": [1, 2, 3]}, {"type": "view", "id": 1, "bbox": "world"},
    '{"type":"view","id":1,"bbox":[NaN,0,1,1]}', '{"type":"view","id":1,"bbox":[1e999,0,1,1]}',
    {"type": "view", "id": 1, "bbox": [0, -91, 1, 1]}, {"type": "view", "id": 1, "bbox": [0, 2, 1, 1]},
    {"type": "view", "id": 1, "bbox": BOX, "max_hz": 0}, {"type": "view", "id": 1, "bbox": BOX, "max_hz": 1e9},
    {"type": "view", "id": 1, "bbox": BOX, "filter": {"tag": "x"}}, {"type": "view", "id": "x", "bbox": BOX},
    {"type": "follow", "id": 1, "assets": ["dev_1"]},
    {"type": "follow", "id": 1, "assets": [f"ast_{number}" for number in range(1, 1100)]},
    {"type": "follow", "id": 1, "assets": ["ast_²"]}, {"type": "events", "id": 1, "after": "latest"},
    {"type": "events", "id": 1, "after": "evt_" + "9" * 19}, {"type": "close"},
]  # fmt: skip


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=lambda message: str(message)[:60])
async def test_a_bad_message_gets_an_error_and_the_socket_stays(api: Api, message: Json | str | bytes) -> None:
    async with cab(api) as bus, viewing(api.http, api.url) as viewer:
        await viewer.send(type="follow", id=7, assets=[bus.asset])
        await viewer.next("snapshot", 7)
        if isinstance(message, bytes):
            await viewer.ws.send_bytes(message)
        else:
            await viewer.ws.send_str(message if isinstance(message, str) else json.dumps(message))
        error = await viewer.receive()
        assert (error["type"], bool(error["code"]), bool(error["message"])) == ("error", True, True)
        await bus.to(IN)
        await viewer.shows(7, **{bus.asset: IN})


async def test_an_asset_that_there_is_not_can_be_followed_in_vain(api: Api) -> None:
    async with viewing(api.http, api.url) as viewer:
        for number in (999_999, 2**31, 10**17):
            await viewer.send(type="follow", id=1, assets=[f"ast_{number}"])
            assert (await viewer.next("snapshot", 1))["assets"] == []
