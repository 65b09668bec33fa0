import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from tests.doors.conftest import Api, Told, application
from tests.doors.test_history import Fix, asset_of, filed, fix, journal
from tracker.access.roles import Role
from tracker.domain.fix import Flag
from tracker.doors import motion
from tracker.store import motion as reading
from tracker.store.database import Database

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)  # where `fix` begins to count
FROM_NOON = int(NOON.timestamp() * 1000)
M = 1 / 111_195  # a metre of latitude


@pytest_asyncio.fixture
async def api(store: Database) -> AsyncIterator[Api]:
    """The doors with those of motion."""
    told = Told()
    app = application(store, told, motion.routes())
    async with TestServer(app) as server, ClientSession() as http:
        yield Api(app, server, http, told)


def journey(legs: Sequence[tuple[float, float]], step_s: float = 10, since_s: float = 0) -> list[Fix]:
    """Of (metres north, seconds): a leg of no metres is a stay."""
    fixes, seconds, lat = [], since_s, 60.17
    for metres, lasts_s in legs:
        steps = round(lasts_s / step_s)
        for _ in range(steps):
            fixes.append(fix(seconds, lat=lat))
            seconds, lat = seconds + step_s, lat + metres * M / steps
    return fixes


HOME_AND_BACK = [(0, 1200), (5000, 500), (0, 1200), (-5000, 500), (0, 1200)]


def at(seconds: float) -> str:
    return str(FROM_NOON + round(seconds * 1000))


def seconds_of(text: str) -> float:
    return (datetime.fromisoformat(text) - NOON).total_seconds()


SPAN = f"from={at(0)}&to={at(86_400)}"


async def test_stops_and_trips_tell_a_journey(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, journey(HOME_AND_BACK)[::2])
    await journal(connection, 1, journey(HOME_AND_BACK)[1::2])
    stops = await api.call("GET", f"/v1/assets/{asset}/stops?{SPAN}")
    assert stops["next"] is None
    assert [(seconds_of(stop["from"]), stop["duration_s"]) for stop in stops["stops"]] == [
        pytest.approx(times, abs=11) for times in ((0, 1200), (1700, 1200), (3400, 1200))
    ]
    first, second, last = stops["stops"]
    assert (first["lon"], first["lat"]) == pytest.approx((24.94, 60.17), abs=1e-4)
    assert first["radius_m"] < 10
    assert first["silent_s"] == 0
    assert (first["to"], last["to"]) == (first["last_fix_time"], last["last_fix_time"])  # long ago: it has ended
    trips = await api.call("GET", f"/v1/assets/{asset}/trips?{SPAN}")
    assert [trip["distance_m"] for trip in trips["trips"]] == pytest.approx([5000, 5000], abs=60)
    assert trips["distance_m"] == pytest.approx(10_000, abs=120)
    there = trips["trips"][0]
    assert (there["from"], there["to"]) == (first["to"], second["from"])
    assert there["mean_speed_mps"] == pytest.approx(10, abs=0.3)
    assert there["max_speed_mps"] == pytest.approx(10, abs=0.3)
    assert there["to_lat"] - there["from_lat"] == pytest.approx(5000 * M, abs=60 * M)
    assert "geometry" not in there


async def test_any_order_of_arrival_tells_the_same(api: Api, connection: asyncpg.Connection) -> None:
    asset, other = await asset_of(api), await asset_of(api, "Bus 2")
    fixes = journey(HOME_AND_BACK)
    await filed(connection, 1, fixes)
    mixed = [*fixes, *fixes[::3]]
    random.Random(3).shuffle(mixed)
    for first in range(0, len(mixed), 97):
        await (journal if first % 2 else filed)(connection, 2, mixed[first : first + 97])
    for name in ("stops", "trips"):
        one = await api.call("GET", f"/v1/assets/{asset}/{name}?{SPAN}")
        assert one[name]
        assert await api.call("GET", f"/v1/assets/{other}/{name}?{SPAN}") == one


async def test_what_reaches_beyond_the_span_is_given_whole(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, journey([(5000, 500), (0, 90_000), (5000, 500), (0, 90_000), (5000, 500)]))
    whole = (await api.call("GET", f"/v1/assets/{asset}/stops?from={at(0)}&to={at(400_000)}"))["stops"]
    assert [stop["duration_s"] for stop in whole] == pytest.approx([90_000] * 2, abs=20)
    inside = (await api.call("GET", f"/v1/assets/{asset}/stops?from={at(60_000)}&to={at(60_001)}"))["stops"]
    assert inside == whole[:1]
    trips = await api.call("GET", f"/v1/assets/{asset}/trips?from={at(90_550)}&to={at(90_750)}")
    assert [trip["distance_m"] for trip in trips["trips"]] == pytest.approx([5000], abs=60)
    assert trips["distance_m"] == pytest.approx(2000, abs=20)


async def test_spans_that_follow_each_other_add_up(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, journey(HOME_AND_BACK))
    cuts = [0, 1300, 1450, 2900, 3000, 6000]
    parts = [
        (await api.call("GET", f"/v1/assets/{asset}/trips?from={at(a)}&to={at(b)}"))["distance_m"]
        for a, b in pairwise(cuts)
    ]
    whole = (await api.call("GET", f"/v1/assets/{asset}/trips?from={at(0)}&to={at(6000)}"))["distance_m"]
    assert sum(parts) == pytest.approx(whole, abs=0.3)


@pytest.mark.parametrize("name", ["stops", "trips"])
async def test_pages_cut_nothing(api: Api, connection: asyncpg.Connection, name: str) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, journey([(0, 600), (1000, 100)] * 12, step_s=20))
    whole = await api.call("GET", f"/v1/assets/{asset}/{name}?{SPAN}")
    assert len(whole[name]) == 12
    for limit in (1, 5, 12):
        assert await api.pages(f"/v1/assets/{asset}/{name}?{SPAN}", name, limit) == whole[name]


@pytest.mark.parametrize("name", ["stops", "trips"])
async def test_a_page_ends_early_after_many_fixes_and_the_next_goes_on(
    api: Api, connection: asyncpg.Connection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, journey([(0, 600), (1000, 100)] * 60, step_s=10))
    whole = await api.call("GET", f"/v1/assets/{asset}/{name}?{SPAN}")
    assert len(whole[name]) == 60
    monkeypatch.setattr(reading, "FIXES_PER_PAGE", 100)
    monkeypatch.setattr(reading, "FIXES_AT_ONCE", 60)
    found: list[Any] = []
    pages, after, metres = 0, "", 0.0
    while True:
        page = await api.call("GET", f"/v1/assets/{asset}/{name}?{SPAN}{after}")
        found, pages, after = found + page[name], pages + 1, f"&after={page['next']}"
        metres += page.get("distance_m", 0)
        if page["next"] is None:
            break
    assert pages > 1
    assert found == whole[name]
    assert metres == pytest.approx(whole.get("distance_m", 0), abs=pages)


async def test_flagged_and_doubted_fixes_say_nothing(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    fixes = journey([(0, 1200)])
    wild = [fix(s + 5, lat=61, flags=int(Flag.POOR_ACCURACY)) for s in range(0, 1200, 10)]
    await filed(connection, 1, fixes + wild)
    stops = (await api.call("GET", f"/v1/assets/{asset}/stops?{SPAN}"))["stops"]
    assert [stop["fixes"] for stop in stops] == [120]


async def test_the_definition_can_be_chosen(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, journey([(2000, 200), (0, 120), (2000, 200)]))
    assert (await api.call("GET", f"/v1/assets/{asset}/stops?{SPAN}"))["stops"] == []
    path = f"/v1/assets/{asset}/stops?{SPAN}&min_stop_s=100&stop_diameter_m=50"
    stops = (await api.call("GET", path))["stops"]
    assert [seconds_of(stop["from"]) for stop in stops] == pytest.approx([200], abs=11)
    for query, field in (
        ("min_stop_s=29", "min_stop_s"), ("stop_diameter_m=nan", "stop_diameter_m"), ("max_gap_s=x", "max_gap_s"),
        ("format=gpx", "format"), ("geometry=yes", "geometry"), ("limit=0", "limit"), ("after=x", "after"),
        ("max_gap=9", "max_gap"), (f"from={at(5)}&to={at(4)}", "from"),
    ):  # fmt: skip
        assert (await api.problem("GET", f"/v1/assets/{asset}/trips?{query}", expect=422))["field"] == field


async def test_lines_come_when_asked_for_and_geojson_has_them(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    east = [fix(s * 10, lon=(179.99 + s * 0.001 + 180) % 360 - 180, lat=-17) for s in range(60)]
    await filed(connection, 1, [*east, *(fix(600 + s * 10, lon=-179.95, lat=-17) for s in range(60))])
    (trip,) = (await api.call("GET", f"/v1/assets/{asset}/trips?{SPAN}&geometry=true"))["trips"]
    assert trip["geometry"]["type"] == "MultiLineString"
    west_part, east_part = trip["geometry"]["coordinates"]
    assert (west_part[-1], east_part[0]) == ([180, -17], [-180, -17])
    assert trip["distance_m"] == pytest.approx(0.06 * 106_490, rel=0.02)
    response = await api.send("GET", f"/v1/assets/{asset}/trips?{SPAN}&format=geojson")
    assert response.content_type == "application/geo+json"
    collection = await response.json(content_type=None)
    assert collection["features"][0]["geometry"] == trip["geometry"]
    assert collection["next"] is None
    assert collection["distance_m"] == trip["distance_m"]
    stops = await api.call("GET", f"/v1/assets/{asset}/stops?{SPAN}&format=geojson")
    assert stops["features"][0]["geometry"] == {"type": "Point", "coordinates": pytest.approx([-179.95, -17], abs=1e-3)}


async def test_now_tells_its_evidence(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    path = f"/v1/assets/{asset}/motion"
    assert await api.call("GET", path) == {"state": "unknown", "reason": "no_fixes", "since": None, "evidence": None}
    ago_s = (datetime.now(UTC) - NOON).total_seconds()
    await journal(connection, 1, journey([(3000, 300), (0, 1200)], since_s=ago_s - 1500))
    now = await api.call("GET", path)
    assert (now["state"], now["reason"]) == ("stopped", "rests")
    assert seconds_of(now["since"]) == pytest.approx(ago_s - 1200, abs=15)
    assert now["evidence"]["fixes"] == 31
    assert now["evidence"]["span_s"] == 300
    assert now["evidence"]["spread_m"] == 0
    (stop,) = (await api.call("GET", f"/v1/assets/{asset}/stops"))["stops"]
    assert stop["to"] is None
    assert stop["from"] == now["since"]
    assert (await api.call("GET", path + "?min_stop_s=3600"))["state"] == "moving"
    await journal(connection, 1, [fix(ago_s + s, lat=60.17 + (3000 + s * 5) * M) for s in range(0, 18, 2)])
    assert (await api.call("GET", path))["reason"] == "has_not_left"
    await journal(connection, 1, [fix(ago_s + s, lat=60.17 + (3000 + s * 5) * M) for s in range(18, 40, 2)])
    assert (await api.call("GET", path))["state"] == "moving"
    assert (await api.call("GET", f"/v1/assets/{asset}/trips"))["trips"][-1]["to"] is None


async def test_a_parked_asset_is_stopped_since_weeks_ago(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    ago_s = (datetime.now(UTC) - NOON).total_seconds()
    parked_s = 12 * 86_400
    await journal(connection, 1, journey([(3000, 300)], since_s=ago_s - parked_s - 300))
    await journal(connection, 1, [fix(ago_s - s, lat=60.17 + 3000 * M) for s in range(0, parked_s, 3600)])
    now = await api.call("GET", f"/v1/assets/{asset}/motion")
    assert now["state"] == "stopped"
    assert seconds_of(now["since"]) == pytest.approx(ago_s - parked_s + 3600, abs=3700)
    (stop,) = (await api.call("GET", f"/v1/assets/{asset}/stops"))["stops"]
    assert stop["from"] == now["since"]
    assert stop["silent_s"] > parked_s - 7300
    assert "whole" not in stop


async def test_what_began_before_the_reach_is_marked(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, [fix(s) for s in range(0, 80 * 86_400, 6 * 3600)])
    (stop,) = (await api.call("GET", f"/v1/assets/{asset}/stops?from={at(40 * 86_400)}&to={at(41 * 86_400)}"))["stops"]
    assert stop["whole"] is False
    assert 62 * 86_400 < stop["duration_s"] <= 63 * 86_400
    (stop,) = (await api.call("GET", f"/v1/assets/{asset}/stops?from={at(20 * 86_400)}&to={at(79 * 86_400)}"))["stops"]
    assert "whole" not in stop


async def test_who_may_not_see_assets_sees_no_stops(api: Api) -> None:
    asset = await asset_of(api)
    await api.problem("GET", f"/v1/assets/{asset}/stops", token=None, expect=401)
    assert await api.call("GET", f"/v1/assets/{asset}/stops", token=await api.token_of(Role.VIEWER)) == {
        "stops": [],
        "next": None,
    }
    await api.problem("GET", "/v1/assets/ast_999/trips", expect=404)
    await api.problem("GET", "/v1/assets/nothing/motion", expect=404)
