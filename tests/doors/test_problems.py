import contextlib
import io
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from tests.doors.conftest import Api, Told, application
from tracker.access.roles import public
from tracker.doors.fields import Body, Name
from tracker.doors.problems import MAX_BODY_BYTES, decode
from tracker.errors import InvalidField, MalformedMessage, RefusedByDatabase, StoreUnavailable, TrackerError
from tracker.store.database import Database


class Thing(Body):
    name: Name
    many: list[int] = msgspec.field(default_factory=list)
    nested: dict[str, list[int]] = msgspec.field(default_factory=dict)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"name":1}', "name"),
        (b"{}", "name"),
        (b'{"name":"a","x":1}', "x"),
        (b'{"name":"a","many":[1,"b"]}', "many[1]"),
        (b'{"name":"a","many":[NaN]}', None),
        (b'{"name":"a","nested":{"k":[1,null]}}', "nested[...][1]"),
        (b'{"name":"\\u0000"}', "name"),
        (b"[]", None),
    ],
)
def test_what_is_wrong_with_a_body_is_said_with_its_place(raw: bytes, field: str | None) -> None:
    with pytest.raises((InvalidField, MalformedMessage)) as found:
        decode(raw, Thing)
    assert found.value.field == field
    assert "\n" not in found.value.message


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"name":"a"} x', b'{"name":"\xff"}', b'{"name":"\\ud800"}', b'{"name":NaN}',
     b'{"name":"a","many":[1e999]}', b'{"name":"a","many":[' + b"9" * 5000 + b"]}", b"[" * 100_000, b'{"a":' * 100_000],
)  # fmt: skip
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises((MalformedMessage, InvalidField)):
        decode(raw, Thing)


@given(st.binary(max_size=200))
def test_decoding_raises_nothing_else(raw: bytes) -> None:
    with contextlib.suppress(MalformedMessage, InvalidField):
        decode(raw, Thing)


async def test_a_body_of_4_mib_is_read_and_a_larger_one_refused(api: Api) -> None:
    whole = b'{"name":"' + b"x" * (MAX_BODY_BYTES - 11) + b'"}'
    assert len(whole) == MAX_BODY_BYTES
    response = await api.send("POST", "/v1/assets", data=io.BytesIO(whole))
    assert (response.status, (await response.json(content_type=None))["field"]) == (422, "name")
    found = await api.send("POST", "/v1/assets", data=io.BytesIO(whole + b" "))
    assert (found.status, (await found.json(content_type=None))["code"]) == (413, "too_large")


async def test_a_body_without_a_length_is_bounded_too(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 2**20

    response = await api.send("POST", "/v1/assets", data=chunks())
    assert response.status == 413


async def test_deep_json_is_malformed_and_harms_nothing(api: Api) -> None:
    deep = b'{"name":"a","attributes":{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}}"
    response = await api.send("POST", "/v1/assets", data=deep)
    assert (response.status, (await response.json(content_type=None))["code"]) == (400, "malformed")
    assert (await api.call("GET", "/v1/assets"))["assets"] == []


async def test_the_content_type_of_a_body_is_not_looked_at(api: Api) -> None:
    response = await api.send("POST", "/v1/assets", data=b'{"name":"a"}', headers={"Content-Type": "text/plain"})
    assert response.status == 201


async def test_what_is_not_there_and_what_is_not_taken_are_problems_too(api: Api) -> None:
    assert (await api.problem("GET", "/v1/nothing", expect=404))["code"] == "not_found"
    response = await api.send("PUT", "/v1/assets")
    assert (response.status, response.content_type) == (405, "application/problem+json")
    assert "POST" in response.headers["Allow"]


async def test_an_unknown_token_is_told_how_to_authenticate(api: Api) -> None:
    for token in ("trk_unknown", "x" * 5000, "ü", " "):
        response = await api.send("GET", "/v1/assets", token=token)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    for header in ("Basic dTpw", "Bearer", "bearer  "):
        response = await api.send("GET", "/v1/assets", token=None, headers={"Authorization": header})
        assert response.status == 401
    await api.problem("GET", "/v1/assets", expect=401, token=None)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("secret host 10.0.0.7"), 503, "unavailable"),
        (RefusedByDatabase("secret column"), 422, "refused"),
        (TrackerError("secret"), 500, "internal"),
        (ZeroDivisionError("secret"), 500, "internal"),
        (RecursionError("secret"), 400, "malformed"),
    ],
)
async def test_the_text_of_what_was_not_meant_for_callers_stays_here(
    store: Database, error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    @public
    async def fail(_: web.Request) -> web.StreamResponse:
        raise error

    app = application(store, Told(), [web.get("/v1/fail", fail)])
    async with TestServer(app) as server, ClientSession() as http, http.get(server.make_url("/v1/fail")) as response:
        found = await response.json(content_type=None)
        assert (response.status, found["code"]) == (status, code)
        assert "secret" not in await response.text()
        assert (response.headers.get("Retry-After") is not None) == (status == 503)
    if status != 400:
        incident = found["detail"].rstrip(".").split()[-1]
        assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)
        assert caplog.records[0].levelno == logging.ERROR


async def test_a_handler_that_does_not_say_who_may_call_it_is_for_nobody(store: Database) -> None:
    async def forgotten(_: web.Request) -> web.StreamResponse:
        return web.Response(text="everything")

    app = application(store, Told(), [web.get("/v1/forgotten", forgotten)])
    async with (
        TestServer(app) as server,
        ClientSession() as http,
        http.get(server.make_url("/v1/forgotten")) as response,
    ):
        assert response.status == 500
        assert "everything" not in await response.text()
