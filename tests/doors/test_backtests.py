import asyncio
import csv
import io
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar

from tests.doors.test_why import IN, OUT, go, square
from tests.integration import town
from tests.integration.api import ADMIN, Api, Json, until
from tests.integration.ledger import feature_of
from tests.integration.link import START_MS, Cab, cab, welcomed
from tests.integration.test_late import settled, standing
from tracker import backtest as client
from tracker.app import Server
from tracker.domain import backtest as domain
from tracker.doors import backtests
from tracker.errors import SetupError, TrackerError
from tracker.pipeline import backtest
from tracker.settings import Settings
from tracker.store import backtest as reading

SEED = 20_260_117
SPAN = {"from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
OPTIONS: list[Json] = [
    {},
    {"quality": "all"},
    {"confirm_fixes": 2, "confirm_s": 20, "exit_margin_m": 40},
    {"cross": True, "dwell_after_s": 120, "max_gap_s": 20},
    {"edge": "certain", "speed_limit_mps": 20, "over_for_s": 10},
    {"schedule": {"time_zone": "UTC", "weekly": [{"days": ["sun", "mon"], "from": "15:30", "to": "16:10"}]}},
    {
        "schedule": {"time_zone": "UTC", "weekly": [{"days": ["sun", "mon"], "from": "15:30", "to": "16:10"}]},
        "absence": True,
    },
]


@pytest_asyncio.fixture
async def server(database: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(Settings("127.0.0.1", 0, tmp_path, database, ADMIN)) as server:
        yield server


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as http:
        yield Api(server.url, http)


async def tried(api: Api, **asked: Any) -> Json:
    return await api.call("POST", "/v1/backtests", {**SPAN, **asked})


def content(events: list[Json]) -> list[tuple[Any, ...]]:
    """What an event says of what happened, and not of when it was told."""
    names = ("type", "fix_time", "lon", "lat", "initial", "cause", "crossed_at", "crossed_lon", "crossed_lat")
    return sorted((event["asset"]["id"], *(str(event.get(name)) for name in names)) for event in events)


async def test_a_backtest_tells_what_the_engine_told_live_late_and_corrected(
    server: Server, api: Api, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = [feature_of(fence) for fence in town.fences(SEED)]
    for i, feature in enumerate(features):
        feature["properties"] |= OPTIONS[i % len(OPTIONS)]
    made = await api.call("POST", "/v1/geofences", {"type": "FeatureCollection", "features": features}, expect=201)
    random_ = random.Random(SEED)
    for number in range(4):
        new = await api.new_device(f"cab {number}")
        sent = [step.fix() for step in town.walk(number, 150)]
        for fix in sent:
            fix["speed_mps"] = random_.choice([0, 15, 25])
        late = [sent.pop(random_.randrange(len(sent))) for _ in range(20)]
        sent += late
        async with welcomed(api.http, api.url, new.token, "S") as socket:
            taxi = Cab(socket, new, START_MS)
            for first in range(0, len(sent), 25):
                await taxi.send(*sent[first : first + 25])
                if first == 75:
                    await server.filer.file_due(at_fixes=0)
    await settled(api)
    before = (
        await connection.fetchval("SELECT count(*) FROM event"),
        await connection.fetchval("SELECT count(*) FROM visit"),
    )
    events = standing(await api.events())
    kinds = {event["type"] for event in events}
    assert len(kinds) >= 5, kinds
    for windows in (20_000, 10):  # all at once; and asset by asset, stretch by stretch
        monkeypatch.setattr(backtest, "WINDOW_FIXES", windows)
        monkeypatch.setattr(domain, "MAX_STRETCH", windows)
        for feature in made["geofences"]:
            expected = [event for event in events if event["geofence"]["id"] == feature["id"]]
            found = await tried(api, geofence_id=feature["id"])
            assert content(found["events"]) == content(expected), feature["properties"]
            assert found["visits"] == sum(event["type"] == "geofence.enter" for event in expected)
            assert (found["fixes"], found["assets"], found["assets_done"]) == (600, 4, 4)
            assert all(
                each["geofence"] == {"id": feature["id"], "name": feature["properties"]["name"]}
                for each in found["events"]
            )
    again = (
        await connection.fetchval("SELECT count(*) FROM event"),
        await connection.fetchval("SELECT count(*) FROM visit"),
    )
    assert again == before


async def test_a_geofence_that_is_not_made_is_tried_and_stays_unmade(api: Api) -> None:
    async with cab(api, "bus") as taxi, cab(api, "van") as van:
        await go(taxi, (0, OUT), (60, IN), (120, OUT))
        await go(van, (0, IN))
        feature = {"type": "Feature", "geometry": square(), "properties": {"name": "yard", "dwell_after_s": 30}}
        found = await tried(api, geofence=feature)
        by_asset = content(found["events"])
        assert [each[:2] for each in by_asset] == [
            (taxi.asset, "geofence.enter"), (taxi.asset, "geofence.exit"), (van.asset, "geofence.enter"),
        ]  # fmt: skip
        first = next(event for event in found["events"] if event["asset"]["id"] == van.asset)
        assert first["initial"] is True
        assert first["status"] == "backtest"
        assert first["geofence"] == {"name": "yard"}
        assert not {"id", "recorded_at"} & first.keys()
        assert found["visits"] == 2
        assert (await api.call("GET", "/v1/geofences"))["features"] == []
        assert await api.events() == []
        # Only some assets, only some time: the first fix of the span counts as the first.
        part = await tried(
            api, geofence=feature, assets=[taxi.asset], **{"from": START_MS + 30_000, "to": START_MS + 60_000}
        )
        assert [(event["type"], event.get("initial")) for event in part["events"]] == [("geofence.enter", True)]
        assert (part["fixes"], part["assets"], part["visits"]) == (1, 1, 1)


async def test_the_filter_of_a_geofence_asks_the_tags_of_today(api: Api) -> None:
    async with cab(api, "bus") as taxi, cab(api, "van") as van:
        await go(taxi, (0, IN))
        await go(van, (0, IN))
        await api.call("PATCH", f"/v1/assets/{van.asset}", {"tags": ["van"]})
        feature = {"type": "Feature", "geometry": square(), "properties": {"assets": {"tags": ["van"]}}}
        found = await tried(api, geofence=feature)
        assert [event["asset"]["id"] for event in found["events"]] == [van.asset]
        assert found["assets"] == 1


async def test_lines_tell_the_progress_and_end_with_done(api: Api) -> None:
    async with cab(api, "bus") as taxi:
        await go(taxi, (0, OUT), (60, IN), (120, OUT))
    body = {**SPAN, "geofence": {"type": "Feature", "geometry": square(), "properties": {}}}
    answer = await api.send("POST", "/v1/backtests", json=body, headers={"Accept": "application/x-ndjson"})
    assert answer.content_type == "application/x-ndjson"
    lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [next(iter(line)) for line in lines] == ["progress", "event", "event", "progress", "progress", "done"]
    assert lines[0]["progress"] == {
        "assets": 1, "assets_done": 0, "fixes": 0, "judged": 0, "events": 0, "visits": 0
    }  # fmt: skip
    assert (lines[-1]["done"]["events"], lines[-1]["done"]["fixes"], lines[-1]["done"]["assets_done"]) == (2, 3, 1)


async def test_csv_has_a_row_for_each_event(api: Api) -> None:
    async with cab(api, 'bus "1", north') as taxi:
        await go(taxi, (0, OUT), (60, IN), (120, OUT))
    body = {**SPAN, "geofence": {"type": "Feature", "geometry": square(), "properties": {"name": "yard"}}}
    answer = await api.send("POST", "/v1/backtests", json=body, headers={"Accept": "text/csv"})
    assert answer.content_type == "text/csv"
    rows = list(csv.DictReader((await answer.text()).splitlines()))
    assert [row["type"] for row in rows] == ["geofence.enter", "geofence.exit"]
    assert rows[0]["asset"] == 'bus "1", north'
    assert (float(rows[0]["lon"]), float(rows[0]["lat"])) == IN
    assert rows[0]["crossed_at"].startswith("2025-06-15T15:07:")
    none = {**body, "to": START_MS - 1, "from": 0}
    answer = await api.send("POST", "/v1/backtests", json=none, headers={"Accept": "text/csv"})
    assert len((await answer.text()).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"geofence": None}, 422, "geofence"),
        ({"geofence_id": "gf_1"}, 422, "geofence"),
        (
            {"geofence": {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}},
            422,
            "geofence.properties.radius_m",
        ),
        ({"from": "yesterday"}, 422, "from"),
        ({"from": 10, "to": 9}, 422, "from"),
        ({"assets": ["ast_99"]}, 422, "assets"),
        ({"assets": []}, 422, "assets"),
        ({"when": 1}, 422, "when"),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, change: Json, status: int, field: str) -> None:
    body = {**SPAN, "geofence": {"type": "Feature", "geometry": square(), "properties": {}}, **change}
    assert (await api.problem("POST", "/v1/backtests", body, expect=status))["field"] == field


async def test_an_unknown_geofence_and_an_unknown_form_are_refused(api: Api) -> None:
    await api.problem("POST", "/v1/backtests", {**SPAN, "geofence_id": "gf_77"}, expect=404)
    body = {**SPAN, "geofence": {"type": "Feature", "geometry": square(), "properties": {}}}
    await api.problem("POST", "/v1/backtests", body, expect=406, headers={"Accept": "image/png"})


class Held:
    """Backtests that wait before their first window until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.waiting = asyncio.Event(), 0
        real = reading.fixes

        async def held(*args: Any) -> Any:
            self.waiting += 1
            try:
                await self.go.wait()
            finally:
                self.waiting -= 1
            return await real(*args)

        monkeypatch.setattr(reading, "fixes", held)


async def test_more_than_two_at_once_are_told_to_come_again(
    server: Server, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cab(api) as taxi:
        await go(taxi, (0, IN))
    held = Held(monkeypatch)
    body = {**SPAN, "geofence": {"type": "Feature", "geometry": square(), "properties": {}}}
    running = [asyncio.create_task(api.call("POST", "/v1/backtests", body)) for _ in range(backtests.AT_ONCE)]

    async def all_wait() -> bool:
        return held.waiting == backtests.AT_ONCE

    await until(all_wait)
    answer = await api.send("POST", "/v1/backtests", json=body)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    held.go.set()
    for each in running:
        assert len((await each)["events"]) == 1
    assert len((await tried(api, geofence=body["geofence"]))["events"]) == 1


async def test_a_caller_who_leaves_ends_the_work(server: Server, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cab(api) as taxi:
        await go(taxi, (0, IN))
    held = Held(monkeypatch)
    body = {**SPAN, "geofence": {"type": "Feature", "geometry": square(), "properties": {}}}

    async def one_waits() -> bool:
        return held.waiting == 1

    async def none_waits() -> bool:
        return held.waiting == 0

    leaving = asyncio.create_task(api.call("POST", "/v1/backtests", body))
    await until(one_waits)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await until(none_waits)  # though nothing was ever sent, and the window never came

    async def can_run() -> bool:
        held.go.set()
        return (await api.send("POST", "/v1/backtests", json=body)).status == 200

    await until(can_run)


# From a terminal -----------------------------------------------------------------------------------------------------


async def test_the_command_line_gets_every_event_in_the_order_of_time(api: Api, tmp_path: Path) -> None:
    async with cab(api, "bus") as taxi, cab(api, "van") as van:
        await go(taxi, (0, OUT), (60, IN), (120, OUT))
        await go(van, (30, IN))
    feature = {"type": "Feature", "geometry": square(), "properties": {"name": "yard"}}
    file = tmp_path / "yard.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    shown: list[Json] = []
    found = await client.run(api.url, ADMIN, {**SPAN, **client.geofence_in(str(file))}, shown.append)
    assert [event["asset"]["name"] for event in found.events] == ["van", "bus", "bus"]
    assert shown[0]["assets_done"] == 0
    assert shown[-1]["assets_done"] == 2
    assert found.sentence.startswith("2 enter, 1 exit of 2 assets, from 4 fixes of 2 in ")
    out = io.StringIO()
    client.write_csv(found.events, out)
    body = {**SPAN, "geofence": feature}
    answer = await api.send("POST", "/v1/backtests", json=body, headers={"Accept": "text/csv"})
    assert sorted(out.getvalue().splitlines()) == sorted((await answer.text()).splitlines())


async def test_the_command_line_says_what_is_wrong_in_one_sentence(api: Api, tmp_path: Path) -> None:
    bad = tmp_path / "bad.geojson"
    bad.write_text('{"type":"Polygon"}')
    with pytest.raises(SetupError, match="must hold one GeoJSON Feature"):
        client.geofence_in(str(bad))
    with pytest.raises(SetupError, match="No such file or directory; name a GeoJSON file"):
        client.geofence_in(str(tmp_path / "none.geojson"))
    assert client.geofence_in("gf_7") == {"geofence_id": "gf_7"}
    with pytest.raises(TrackerError, match="There is no geofence gf_7"):
        await client.run(api.url, ADMIN, {**SPAN, "geofence_id": "gf_7"}, print)
    with pytest.raises(TrackerError, match="does not answer"):
        await client.run("http://127.0.0.1:9", ADMIN, {}, print)
