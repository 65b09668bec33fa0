import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.doors.conftest import Api, add_events
from tracker.access.roles import Role
from tracker.doors import events
from tracker.doors.events import FOLLOWERS
from tracker.doors.identity import ACCESS
from tracker.doors.keys import HUB
from tracker.wire.events import event_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STREAM = {"Accept": "text/event-stream"}


async def happen(api: Api, connection: asyncpg.Connection, rows: list[dict[str, Any]]) -> None:
    """Events are committed, then told, as the writer does it."""
    await add_events(connection, rows)
    stored = await connection.fetch("SELECT * FROM event WHERE id = ANY ($1) ORDER BY id", [row["id"] for row in rows])
    api.app[HUB].feed.append([event_of(row) for row in stored])


def feed_of(count: int) -> list[dict[str, Any]]:
    """Three assets and two geofences take turns; every fifth event is late."""
    return [
        {
            "id": number, "type": "geofence.exit" if number % 2 else "geofence.enter", "asset": 1 + number % 3,
            "geofence": 1 + number % 2, "fix_time": NOON + timedelta(seconds=number if number % 5 else -number),
        }
        for number in range(1, count + 1)
    ]  # fmt: skip


class Reader:
    """Reads one stream of events."""

    def __init__(self, api: Api, path: str = "/v1/events", token: str | None = None, **headers: str) -> None:
        self._request = api.http.get(
            api.origin + path, headers={**STREAM, "Authorization": f"Bearer {token or api.token}", **headers}
        )
        self.comments = 0

    async def __aenter__(self) -> Self:
        self._response = await self._request
        assert (self._response.status, self._response.content_type) == (200, "text/event-stream")
        self._frames = self._read()
        self.place = (await anext(self._frames))["id"]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._response.close()

    async def _read(self) -> AsyncIterator[dict[str, str]]:
        frame: dict[str, str] = {}
        async for line in self._response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if not name and frame:
                yield frame
                frame = {}
            elif name:
                frame[name] = value
            else:
                self.comments += 1

    async def next(self) -> dict[str, str]:
        return await asyncio.wait_for(anext(self._frames), 30)

    async def ids(self, count: int) -> list[str]:
        return [(await self.next())["id"] for _ in range(count)]

    async def rest(self) -> list[dict[str, str]]:
        return await asyncio.wait_for(self._all(), 30)

    async def _all(self) -> list[dict[str, str]]:
        return [frame async for frame in self._frames]


async def test_an_event_reads_as_it_was_stored(api: Api, connection: asyncpg.Connection) -> None:
    await add_events(connection, [{"id": 1, "fix_time": NOON, "initial": True}])
    [event] = (await api.call("GET", "/v1/events"))["events"]
    assert event == {
        "id": "evt_1", "type": "geofence.enter", "status": "live", "asset": {"id": "ast_1", "name": "Bus 1"},
        "geofence": {"id": "gf_1", "name": "Depot"}, "fix_time": "2026-01-31T12:00:00.000Z",
        "recorded_at": "2026-01-31T12:00:00.000Z", "lon": 24.94, "lat": 60.17, "initial": True,
    }  # fmt: skip
    assert await api.call("GET", "/v1/events/evt_1") == event
    for missing in ("evt_2", "evt_999999999999999999", "ast_1", "evt_0"):
        await api.problem("GET", f"/v1/events/{missing}", expect=404)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 40),
    types=st.sampled_from(["", "geofence.enter", "geofence.exit", "geofence.enter,geofence.exit"]),
    asset=st.sampled_from([None, 1, 2, 9]),
    geofence=st.sampled_from([None, 1, 9]),
    since=st.one_of(st.none(), st.integers(-30, 30)),
    until=st.one_of(st.none(), st.integers(-30, 30)),
)
async def test_pages_together_are_what_the_filter_says(
    api: Api, connection: asyncpg.Connection, limit: int, types: str, asset: int | None, geofence: int | None,
    since: int | None, until: int | None,
) -> None:  # fmt: skip
    rows = feed_of(40)
    if not await connection.fetchval("SELECT count(*) FROM event"):
        await add_events(connection, rows)
    query = f"/v1/events?type={types}"
    query += f"&asset=ast_{asset}" if asset else ""
    query += f"&geofence=gf_{geofence}" if geofence else ""
    query += "" if since is None else f"&from={int((NOON + timedelta(seconds=since)).timestamp() * 1000)}"
    query += "" if until is None else f"&to={(NOON + timedelta(seconds=until)).isoformat().replace('+00:00', 'Z')}"
    found = [event["id"] for event in await api.pages(query, "events", limit)]
    assert found == [
        f"evt_{row['id']}"
        for row in rows
        if (not types or row["type"] in types.split(","))
        and asset in (None, row["asset"])
        and geofence in (None, row["geofence"])
        and (since is None or row["fix_time"] >= NOON + timedelta(seconds=since))
        and (until is None or row["fix_time"] <= NOON + timedelta(seconds=until))
    ]


async def test_a_list_goes_on_from_any_event(api: Api, connection: asyncpg.Connection) -> None:
    await add_events(connection, feed_of(5))
    page = await api.call("GET", "/v1/events?after=evt_3&limit=2")
    assert ([event["id"] for event in page["events"]], page["next"]) == (["evt_4", "evt_5"], None)
    assert await api.call("GET", "/v1/events?after=evt_5") == {"events": [], "next": None}


@pytest.mark.parametrize(
    ("query", "field", "word"),
    [
        ("type=geofence.enter,geofence.lave", "type", "geofence.lave"),
        ("type=,", "type", "geofence.enter"),
        ("asset=gf_1", "asset", "ast_"),
        ("geofence=1", "geofence", "gf_"),
        ("from=yesterday", "from", "RFC 3339"),
        ("from=2026-01-31T12:00:00", "from", "zone"),
        ("to=NaN", "to", "RFC 3339"),
        ("to=99999999999999999999", "to", "RFC 3339"),
        ("after=evt_x", "after", "evt_"),
        ("limit=5000", "limit", "1000"),
        ("geofense=gf_1", "geofense", "not a parameter"),
    ],
)
async def test_a_bad_filter_is_refused_by_name(api: Api, query: str, field: str, word: str) -> None:
    for headers in ({}, STREAM):
        found = await api.problem("GET", f"/v1/events?{query}", expect=422, headers=headers)
        assert found["field"] == field
        assert word in found["detail"]


async def test_a_stream_goes_on_where_the_reader_was_without_a_gap(api: Api, connection: asyncpg.Connection) -> None:
    await happen(api, connection, feed_of(5))
    async with Reader(api, **{"Last-Event-ID": "evt_2"}) as reader:
        assert reader.place == "evt_2"
        assert await reader.ids(3) == ["evt_3", "evt_4", "evt_5"]
        await happen(api, connection, [{**row, "id": row["id"] + 5} for row in feed_of(3)])
        assert await reader.ids(3) == ["evt_6", "evt_7", "evt_8"]
    async with Reader(api, "/v1/events?after=evt_7") as reader:
        frame = await reader.next()
        assert (frame["id"], frame["event"]) == ("evt_8", "geofence.exit")
        assert msgspec.json.decode(frame["data"])["id"] == "evt_8"


async def test_a_new_stream_begins_now_and_knows_its_place_before_the_first_event(
    api: Api, connection: asyncpg.Connection
) -> None:
    async with Reader(api) as reader:
        assert reader.place == "evt_0"
    await happen(api, connection, feed_of(3))
    async with Reader(api) as reader:
        assert reader.place == "evt_3"
    async with Reader(api, **{"Last-Event-ID": "evt_0"}) as reader:
        assert await reader.ids(3) == ["evt_1", "evt_2", "evt_3"]


async def test_a_filtered_stream_passes_over_what_does_not_match(api: Api, connection: asyncpg.Connection) -> None:
    await happen(api, connection, feed_of(9))
    async with Reader(api, "/v1/events?asset=ast_1&after=evt_1") as reader:
        assert await reader.ids(3) == ["evt_3", "evt_6", "evt_9"]
        await happen(api, connection, [{**row, "id": row["id"] + 9} for row in feed_of(3)])
        assert await reader.ids(1) == ["evt_12"]


async def test_a_long_backlog_is_streamed_whole(api: Api, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO event (id, type, asset, asset_name, geofence, geofence_name, fix_time, recorded_at)"
        " SELECT n, 'geofence.enter', 1, 'a', 1, 'g', now(), now() FROM generate_series(1, 1700) AS n"
    )
    api.app[HUB].feed.append([event_of(await connection.fetchrow("SELECT * FROM event WHERE id = 1700"))])
    async with Reader(api, **{"Last-Event-ID": "evt_1"}) as reader:
        assert await reader.ids(1699) == [f"evt_{number}" for number in range(2, 1701)]


async def test_a_quiet_stream_shows_that_it_lives(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    async with Reader(api) as reader:
        waiting = asyncio.create_task(reader.next(), name="reader")
        # A comment is a line that begins with a colon: as name and value it has an empty name.
        async with asyncio.timeout(30):
            while reader.comments < 3:
                await asyncio.sleep(0)
        waiting.cancel()


async def test_a_stream_ends_with_the_token_that_opened_it(api: Api, connection: asyncpg.Connection) -> None:
    made = await api.call("POST", "/v1/tokens", {"name": "t", "role": "viewer"}, expect=201)
    async with Reader(api, token=made["token"]) as reader, Reader(api) as other:
        assert len(api.app[FOLLOWERS]) == 2
        await api.call("DELETE", f"/v1/tokens/{made['id']}", expect=204)
        assert await reader.rest() == []
        await happen(api, connection, feed_of(1))
        assert await other.ids(1) == ["evt_1"]


async def test_a_stream_ends_with_the_session_that_opened_it(api: Api) -> None:
    await api.send("GET", await api.app[ACCESS].sign_in_link(), token=None)
    request = api.http.get(api.origin + "/v1/events", headers=STREAM)
    async with request as response:
        assert response.status == 200
        await response.content.readuntil(b"\n\n")
        await api.send("POST", "/sign-out", token=None, headers={"Origin": api.origin})
        assert await asyncio.wait_for(response.content.read(), 30) == b""


async def test_streams_end_with_the_server_and_leave_nothing_behind(api: Api) -> None:
    async with Reader(api) as reader:
        api.app[FOLLOWERS].close()
        assert await reader.rest() == []
    async with asyncio.timeout(30):
        while len(api.app[FOLLOWERS]):
            await asyncio.sleep(0)


async def test_a_stream_needs_a_caller_as_the_list_does(api: Api) -> None:
    await api.problem("GET", "/v1/events", expect=401, token=None, headers=STREAM)
    assert (await api.token_of(Role.VIEWER)).startswith("trk_")
