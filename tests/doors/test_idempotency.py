import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.doors.conftest import ADMIN, Api
from tracker.access.roles import Role
from tracker.doors.identity import ACCESS
from tracker.doors.keys import FLEET


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


async def test_a_repeated_write_happens_once_and_gets_the_same_answer(api: Api) -> None:
    first = await api.send("POST", "/v1/devices", json={"name": "a"}, headers=key("k"))
    again = await api.send("POST", "/v1/devices", json={"name": "a"}, headers=key("k"))
    assert (first.status, again.status) == (201, 201)
    assert await again.read() == await first.read()
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")
    assert again.content_type == first.content_type
    assert len(api.app[FLEET].devices) == 1


async def test_racing_repeats_happen_once(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.send("POST", "/v1/devices", json={"name": "a"}, headers=key("race")) for _ in range(12))
    )
    assert {answer.status for answer in answers} <= {201, 409}
    made = [await answer.read() for answer in answers if answer.status == 201]
    assert made
    assert set(made) == {made[0]}
    assert len(api.app[FLEET].devices) == 1
    assert (await api.send("POST", "/v1/devices", json={"name": "a"}, headers=key("race"))).status == 201


async def test_another_request_under_the_same_key_is_refused(api: Api) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201, headers=key("k"))
    found = await api.problem("POST", "/v1/devices", {"name": "b"}, expect=422, headers=key("k"))
    assert found["field"] == "Idempotency-Key"
    await api.problem("POST", "/v1/assets", {"name": "a"}, expect=422, headers=key("k"))


async def test_keys_of_different_callers_do_not_meet(api: Api) -> None:
    other = await api.token_of(Role.ADMIN)
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201, headers=key("k"))
    await api.call("POST", "/v1/devices", {"name": "b"}, expect=201, headers=key("k"), token=other)
    assert len(api.app[FLEET].devices) == 2


async def test_a_write_that_failed_leaves_its_key_free(api: Api) -> None:
    await api.problem("POST", "/v1/devices", {"name": ""}, expect=422, headers=key("k"))
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201, headers=key("k"))
    await api.problem("DELETE", "/v1/devices/dev_9", expect=404, headers=key("k2"))
    await api.problem("DELETE", "/v1/devices/dev_9", expect=404, headers=key("k2"))


async def test_a_repeated_deletion_is_answered_as_the_first(api: Api) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201)
    for _ in range(2):
        response = await api.send("DELETE", "/v1/devices/dev_1", headers=key("gone"))
        assert (response.status, await response.read()) == (204, b"")


async def test_no_secret_stands_in_the_table_in_clear(api: Api, connection: asyncpg.Connection) -> None:
    made: dict[str, Any] = await api.call("POST", "/v1/devices", {"name": "a"}, expect=201, headers=key("k"))
    kept = await connection.fetchval("SELECT body FROM idempotency")
    assert made["token"].encode() not in kept
    assert b"trk_" not in kept
    assert b"dev_1" not in kept
    assert ADMIN.encode() not in b"".join(
        str(row).encode() for row in await connection.fetch("SELECT * FROM idempotency")
    )


@pytest.mark.parametrize("bad", ["", "x" * 256, "ü"])
async def test_a_key_must_be_printable_and_short(api: Api, bad: str) -> None:
    assert (await api.problem("POST", "/v1/devices", {"name": "a"}, expect=422, headers=key(bad)))[
        "field"
    ] == "Idempotency-Key"


async def test_a_request_cut_short_by_the_end_of_the_server_is_not_done_twice(
    api: Api, connection: asyncpg.Connection
) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201, headers=key("k"))
    await connection.execute("UPDATE idempotency SET status = NULL, body = NULL")
    assert (await api.problem("POST", "/v1/devices", {"name": "a"}, expect=409, headers=key("k")))["code"] == "conflict"


async def test_answers_are_forgotten_after_a_day(api: Api, connection: asyncpg.Connection) -> None:
    await api.call("POST", "/v1/devices", {"name": "a"}, expect=201, headers=key("old"))
    await connection.execute("UPDATE idempotency SET created_at = created_at - $1::interval", timedelta(hours=25))
    await api.call("POST", "/v1/devices", {"name": "b"}, expect=201, headers=key("new"))
    await api.app[ACCESS].prune()
    assert await connection.fetch("SELECT key FROM idempotency") == [("new",)]


async def test_a_key_on_a_read_changes_nothing(api: Api, connection: asyncpg.Connection) -> None:
    await api.call("GET", "/v1/devices", headers=key("k"))
    assert await connection.fetch("SELECT key FROM idempotency") == []
