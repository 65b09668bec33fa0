import csv
import io
import itertools
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import asyncpg
import pytest
from aiohttp import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.doors.conftest import Api
from tracker.domain.fix import Flag
from tracker.doors import history as door
from tracker.doors.keys import HUB
from tracker.errors import StoreUnavailable
from tracker.store import history
from tracker.store.snapshot import latest_columns
from tracker.store.sql import sql
from tracker.wire import track_export

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
GPX = "{http://www.topografix.com/GPX/1/1}"
_batches = itertools.count(1)

Fix = dict[str, Any]
COLUMNS = ("time", "lon", "lat", "alt", "speed", "course", "accuracy", "flags", "attributes")


def fix(seconds: float, lon: float = 24.94, lat: float = 60.17, **more: Any) -> Fix:
    return {
        "time": NOON + timedelta(seconds=seconds), "lon": round(lon * 1e7), "lat": round(lat * 1e7), "alt": -(2**31),
        "speed": -(2**31), "course": -(2**15), "accuracy": -(2**31), "flags": 0, "attributes": None, **more,
    }  # fmt: skip


async def journal(connection: asyncpg.Connection, asset: int, fixes: Iterable[Fix], device: int = 1) -> None:
    """One batch, as it stands before it is filed."""
    rows = list(fixes)

    def column(name: str) -> list[Any]:
        return [row[name] for row in rows]

    await connection.execute(
        "INSERT INTO journal VALUES ($1, $2, now(), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
        " $16::text[]::jsonb[], '{}', '{}', '{}', '{}')",
        asset & 15, next(_batches), len(rows), min(column("time")), max(column("time")), [asset] * len(rows),
        [device] * len(rows), *map(column, COLUMNS),
    )  # fmt: skip


async def filed(connection: asyncpg.Connection, asset: int, fixes: Iterable[Fix], device: int = 1) -> None:
    """The same, after the filer: pieces of one UTC day each."""
    await journal(connection, asset, fixes, device)
    await connection.execute("SELECT make_piece_days((now() AT TIME ZONE 'UTC')::date)")
    await connection.execute(sql("file_bucket"), asset & 15, 2**60)


async def asset_of(api: Api, name: str = "Bus 1") -> str:
    made = await api.call("POST", "/v1/devices", {"name": name}, expect=201)
    return str(made["asset"]["id"])


async def track_csv(api: Api, asset: str, query: str = "") -> list[dict[str, str]]:
    response = await api.send("GET", f"/v1/assets/{asset}/track?format=csv{query}")
    text = await response.text()
    assert response.status == 200, text
    assert response.content_type == "text/csv"
    return list(csv.DictReader(io.StringIO(text)))


async def track_gpx(api: Api, asset: str, query: str) -> ET.Element:
    response = await api.send("GET", f"/v1/assets/{asset}/track{query}", headers={"Accept": "application/gpx+xml"})
    assert response.content_type == "application/gpx+xml"
    return ET.fromstring(await response.text())  # noqa: S314 - our own


def ms(seconds: float) -> int:
    return round((NOON + timedelta(seconds=seconds)).timestamp() * 1000)


SPAN = f"&from={ms(-86_400)}&to={ms(86_400)}"


async def test_a_track_is_every_fix_once_filed_or_not(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await asset_of(api, "Bus 2")
    await filed(connection, 1, [fix(s) for s in range(0, 7200, 10)])
    await journal(connection, 1, [fix(s) for s in range(5, 7200, 10)])
    await journal(connection, 2, [fix(1)])
    rows = await track_csv(api, asset, SPAN)
    assert [row["fix_time"] for row in rows] == [
        (NOON + timedelta(seconds=s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for s in range(0, 7200, 5)
    ]
    assert list(rows[0]) == [
        "fix_time",
        "lon",
        "lat",
        "alt_m",
        "speed_mps",
        "course_deg",
        "accuracy_m",
        "flags",
        "device",
        "attributes",
    ]


async def test_both_ends_of_a_track_belong_to_it(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, [fix(s) for s in range(10)])
    rows = await track_csv(api, asset, f"&from={ms(2)}&to={ms(5)}")
    assert [row["fix_time"][17:19] for row in rows] == ["02", "03", "04", "05"]
    rows = await track_csv(api, asset, f"&from={ms(2.001)}&to={ms(4.999)}")
    assert [row["fix_time"][17:19] for row in rows] == ["03", "04"]
    assert await track_csv(api, asset, f"&from={ms(5)}&to={ms(5)}")
    assert (await api.problem("GET", f"/v1/assets/{asset}/track?from={ms(5)}&to={ms(4)}", expect=422))[
        "field"
    ] == "from"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(window=st.integers(1, 40), at_once=st.integers(1, 60), since=st.integers(-5, 400), span=st.integers(0, 500))
async def test_windows_of_any_size_make_the_same_track(
    api: Api, connection: asyncpg.Connection, window: int, at_once: int, since: int, span: int
) -> None:
    if not await connection.fetchval("SELECT count(*) FROM device"):
        await asset_of(api)
        # Around midnight, with bursts of equal times, identical fixes, and a quiet stretch.
        times = [43_000 + s // 7 * (1 if s < 300 else 5) for s in range(700)]
        await filed(connection, 1, [fix(t, lon=24 + (i % 3) / 1000) for i, t in enumerate(times)])
        await journal(connection, 1, [fix(43_100, lon=25)] * 9 + [fix(43_190)])
    everything = await track_csv(api, "ast_1", f"&from={ms(43_000 + since)}&to={ms(43_000 + since + span)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "WINDOW_FIXES", window)
        patch.setattr(door, "FIXES_AT_ONCE", at_once)
        assert await track_csv(api, "ast_1", f"&from={ms(43_000 + since)}&to={ms(43_000 + since + span)}") == everything
    stored = await connection.fetchval(
        "SELECT count(*) FROM position WHERE fix_time BETWEEN $1 AND $2",
        NOON + timedelta(seconds=43_000 + since), NOON + timedelta(seconds=43_000 + since + span),
    )  # fmt: skip
    assert len(everything) == stored


async def test_flags_are_shown_and_left_out_by_quality(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    flags = int(Flag.POOR_ACCURACY | Flag.STANDBY)
    await filed(
        connection,
        1,
        [fix(0), fix(1, flags=flags, accuracy=25_000, attributes='{"sat": 3}'), fix(2, speed=420, course=905)],
    )
    rows = await track_csv(api, asset, SPAN)
    assert [row["flags"] for row in rows] == ["", "poor_accuracy standby", ""]
    assert (rows[1]["accuracy_m"], rows[1]["attributes"], rows[1]["device"]) == ("2500.0", '{"sat":3}', "dev_1")
    assert (rows[2]["speed_mps"], rows[2]["course_deg"], rows[2]["alt_m"]) == ("4.2", "90.5", "")
    assert len(await track_csv(api, asset, SPAN + "&quality=trusted")) == 2
    assert (await api.problem("GET", f"/v1/assets/{asset}/track?quality=best", expect=422))["field"] == "quality"


async def test_a_geojson_track_is_a_line_with_parallel_arrays(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, [fix(0, lon=24.1, speed=100), fix(1, lon=24.2, flags=2), fix(2, lon=24.3)])
    response = await api.send("GET", f"/v1/assets/{asset}/track?{SPAN}")
    assert response.content_type == "application/geo+json"
    found = await response.json(content_type=None)
    [feature] = found["features"]
    assert feature["geometry"] == {"type": "LineString", "coordinates": [[24.1, 60.17], [24.2, 60.17], [24.3, 60.17]]}
    assert feature["properties"] == {
        "asset": {"id": asset, "name": "Bus 1"},
        "times": ["2026-01-31T12:00:00.000Z", "2026-01-31T12:00:01.000Z", "2026-01-31T12:00:02.000Z"],
        "alt_m": [None] * 3, "speed_mps": [1.0, None, None], "course_deg": [None] * 3, "accuracy_m": [None] * 3,
        "flags": [[], ["poor_accuracy"], []], "devices": ["dev_1"] * 3,
    }  # fmt: skip


async def test_a_track_of_one_fix_or_none_is_valid_in_every_format(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    for count in (0, 1):
        if count:
            await filed(connection, 1, [fix(0)])
        found = await (await api.send("GET", f"/v1/assets/{asset}/track?{SPAN}")).json(content_type=None)
        assert [feature["geometry"]["type"] for feature in found["features"]] == ["Point"] * count
        assert len(await track_csv(api, asset, SPAN)) == count
        gpx = await track_gpx(api, asset, "?format=gpx" + SPAN)
        assert len(gpx.findall(f".//{GPX}trkpt")) == count


async def test_a_track_over_the_antimeridian_is_cut_there(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(
        connection,
        1,
        [fix(0, lon=179.8), fix(1, lon=179.9), fix(2, lon=-179.9), fix(3, lon=179.95), fix(4, lon=179.96)],
    )
    found = await (await api.send("GET", f"/v1/assets/{asset}/track?{SPAN}")).json(content_type=None)
    assert [feature["geometry"]["type"] for feature in found["features"]] == ["LineString", "Point", "LineString"]
    assert sum(len(feature["properties"]["times"]) for feature in found["features"]) == 5


async def test_a_tolerance_makes_a_geojson_track_shorter(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, [fix(s, lon=24 + s / 1e5, lat=60 + (0.001 if s == 50 else 0)) for s in range(100)])
    found = await (await api.send("GET", f"/v1/assets/{asset}/track?tolerance_m=10{SPAN}")).json(content_type=None)
    assert [t[17:19] for t in found["features"][0]["properties"]["times"]] == ["00", "49", "50", "51", "39"]
    for bad in ("-1", "NaN", "inf", "x", "1e9"):
        assert (await api.problem("GET", f"/v1/assets/{asset}/track?tolerance_m={bad}", expect=422))[
            "field"
        ] == "tolerance_m"
    await api.problem("GET", f"/v1/assets/{asset}/track?tolerance_m=5&format=csv", expect=422)


async def test_a_gpx_track_is_valid_and_escaped(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api, 'Käte & <Co> "1" \uffff')
    await filed(connection, 1, [fix(0, lon=180, lat=-90, alt=125, speed=420, course=0), fix(1)])
    gpx = await track_gpx(api, asset, "?" + SPAN)
    assert gpx.attrib == {"version": "1.1", "creator": "tracker"}
    assert gpx.findtext(f".//{GPX}name") == 'Käte & <Co> "1" '
    first, second = gpx.findall(f".//{GPX}trkpt")
    assert first.attrib == {"lat": "-90.0000000", "lon": "-180.0000000"}
    assert [child.tag.rpartition("}")[2] for child in first] == ["ele", "time", "extensions"]
    assert first.findtext(f"{GPX}ele") == "12.5"
    assert [child.tag.rpartition("}")[2] for child in second] == ["time"]


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "application/geo+json"),
        ("", "application/json", "application/geo+json"),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", "application/geo+json"),
        ("", "text/csv", "text/csv"),
        ("", "application/gpx+xml;q=0.5, text/csv;q=0.9", "text/csv"),
        ("", "text/csv;q=0, application/gpx+xml;q=0.1", "application/gpx+xml"),
        ("format=gpx", "text/csv", "application/gpx+xml"),
        ("format=", "text/csv", "text/csv"),
    ],
)
async def test_the_format_is_chosen_by_query_or_accept(api: Api, query: str, accept: str, media_type: str) -> None:
    asset = await asset_of(api)
    response = await api.send("GET", f"/v1/assets/{asset}/track?{query}", headers={"Accept": accept})
    assert (response.status, response.content_type) == (200, media_type)


async def test_a_format_that_is_not_there_is_answered_with_those_that_are(api: Api) -> None:
    asset = await asset_of(api)
    for query, accept in (("format=shp", "*/*"), ("format=xlsx", "*/*"), ("", "image/png"), ("", "text/csv;q=x")):
        found = await api.problem("GET", f"/v1/assets/{asset}/track?{query}", expect=406, headers={"Accept": accept})
        assert "geojson, csv, gpx, kml, parquet" in found["detail"]


async def test_a_track_without_times_is_of_the_last_day(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    now = (datetime.now(UTC) - NOON).total_seconds()
    await filed(connection, 1, [fix(now - 90_000), fix(now - 80_000), fix(now - 10), fix(now + 3600, flags=4)])
    assert len(await track_csv(api, asset)) == 3
    assert len(await track_csv(api, asset, f"&from={ms(now - 100_000)}")) == 4
    assert len(await track_csv(api, asset, f"&to={ms(now - 5000)}")) == 2
    assert len(await track_csv(api, asset, "&from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z")) == 4
    await track_csv(api, asset, "&to=0001-01-01T00:00:00Z")
    await track_csv(api, asset, "&from=9999-12-31T23:59:59Z")


async def test_a_track_too_long_for_geojson_is_refused_and_not_cut(
    api: Api, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, [fix(s) for s in range(30)])
    monkeypatch.setattr(track_export, "MAX_GEOJSON_FIXES", 29)
    found = await api.problem("GET", f"/v1/assets/{asset}/track?{SPAN}", expect=413)
    assert "csv" in found["detail"]
    assert len(await track_csv(api, asset, SPAN)) == 30


async def test_a_track_that_breaks_off_is_not_taken_for_the_whole(
    api: Api, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asset = await asset_of(api)
    await filed(connection, 1, [fix(s) for s in range(30)])
    monkeypatch.setattr(door, "FIXES_AT_ONCE", 10)
    whole = history.track

    async def broken(*args: Any, **options: Any) -> AsyncIterator[Any]:
        async for rows in whole(*args, **options):
            yield rows
            raise StoreUnavailable("the database went away")

    monkeypatch.setattr(history, "track", broken)
    with pytest.raises(ClientError):
        await api.send("GET", f"/v1/assets/{asset}/track?format=csv{SPAN}")
    assert "action=stream_cut" in caplog.text
    # Nothing of GeoJSON was sent yet, so the same fault is an ordinary error.
    assert (await api.problem("GET", f"/v1/assets/{asset}/track?{SPAN}", expect=503))["code"] == "unavailable"


async def test_a_track_of_nothing_is_not_found(api: Api) -> None:
    await api.problem("GET", "/v1/assets/ast_1/track", expect=404)
    await api.problem("GET", "/v1/assets/ast_1/visits", expect=404)


# Positions


async def placed(api: Api, connection: asyncpg.Connection, places: list[tuple[float, float]]) -> None:
    """Assets 1, 2, … stand at these places since noon, in history and in memory."""
    await api.call("POST", "/v1/devices", [{"name": f"d{i}"} for i in range(len(places))], expect=201)
    rows = []
    for number, (lon, lat) in enumerate(places, start=1):
        await filed(
            connection,
            number,
            [fix(-100, lon=0, lat=0), fix(0, lon=lon, lat=lat), fix(1, lon=5, lat=5, flags=2)],
            number,
        )
        rows.append({
            "asset": number, "device": number, "time_ms": ms(0), "lon": round(lon * 1e7), "lat": round(lat * 1e7),
            "alt": None, "speed": None, "course": None, "accuracy": None, "attributes": None,
        })  # fmt: skip
    assets, columns = latest_columns(rows)
    api.app[HUB].latest.put(assets, columns, assets - 1)


AT = f"at={ms(0)}"


async def test_positions_are_geojson_now_and_at_any_moment(api: Api, connection: asyncpg.Connection) -> None:
    await placed(api, connection, [(24.94, 60.17), (-70.5, -33.25)])
    assert await api.call("GET", "/v1/positions/extent") == {"bbox": [-70.5, -33.25, 24.94, 60.17], "assets": 2}
    now = await api.call("GET", "/v1/positions")
    then = await api.call("GET", f"/v1/positions?at={ms(500)}")
    assert now == then
    assert now["type"] == "FeatureCollection"
    feature = now["features"][0]
    assert feature["geometry"] == {"type": "Point", "coordinates": [24.94, 60.17]}
    assert feature["id"] == feature["properties"]["id"] == "ast_1"
    assert feature["properties"]["fix_time"] == "2026-01-31T12:00:00.000Z"
    before = await api.call("GET", f"/v1/positions?at={ms(-1)}")
    assert [feature["geometry"]["coordinates"] for feature in before["features"]] == [[0, 0], [0, 0]]
    assert (await api.call("GET", f"/v1/positions?at={ms(-101)}"))["features"] == []


@pytest.mark.parametrize(
    ("bbox", "inside"),
    [
        ("-180,-90,180,90", [1, 2, 3, 4]),
        ("24.94,60.17,24.94,60.17", [1]),
        ("24.9400001,60,25,61", []),
        ("24,60,24.9399999,61", []),
        ("179,-20,-179,-10", [2, 3]),
        ("180,-20,-180,-10", [2]),
        ("170,-20,190,-10", [2, 3]),
        ("-720,-90,720,90", [1, 2, 3, 4]),
        ("0,80,1,90", []),
    ],
)
async def test_a_box_holds_its_edges_and_may_cross_the_antimeridian(
    api: Api, connection: asyncpg.Connection, bbox: str, inside: list[int]
) -> None:
    await placed(api, connection, [(24.94, 60.17), (180.0, -15.0), (-179.5, -15.0), (0.0, -80.0)])
    for moment in ("", f"&{AT}"):
        found = await api.call("GET", f"/v1/positions?bbox={bbox}{moment}")
        assert [feature["id"] for feature in found["features"]] == [f"ast_{number}" for number in inside], moment


@pytest.mark.parametrize(
    "bbox",
    ["1,2,3", "1,2,3,4,5", "a,b,c,d", "NaN,0,1,1", "0,NaN,1,1", "inf,0,1,1", "0,0,1,Infinity", "0,-91,1,1",
     "0,0,1,90.1", "0,2,1,1", ",,,", "1;2;3;4"],
)  # fmt: skip
async def test_a_bad_box_is_a_bad_request(api: Api, bbox: str) -> None:
    for moment in ("", f"&{AT}"):
        found = await api.problem("GET", f"/v1/positions?bbox={bbox}{moment}", expect=400)
        assert found["field"] == "bbox"


@pytest.mark.parametrize("at", ["noon", "NaN", "2026-01-31", "2026-13-01T00:00:00Z", "99999999999999999", "1e3"])
async def test_a_bad_moment_is_refused(api: Api, at: str) -> None:
    assert (await api.problem("GET", f"/v1/positions?at={at}", expect=422))["field"] == "at"


async def test_a_deleted_asset_is_nowhere(api: Api, connection: asyncpg.Connection) -> None:
    await placed(api, connection, [(1, 1), (2, 2)])
    await api.call("DELETE", "/v1/assets/ast_1?devices=true", expect=204)
    for moment in ("", f"?{AT}"):
        found = await api.call("GET", f"/v1/positions{moment}")
        assert [feature["id"] for feature in found["features"]] == ["ast_2"]


async def test_a_large_fleet_is_not_cut(api: Api, connection: asyncpg.Connection) -> None:
    await api.call("POST", "/v1/devices", [{"name": "d"}] * 1000, expect=201)
    await api.call("POST", "/v1/devices", [{"name": "d"}] * 501, expect=201)
    row = {
        "device": 1,
        "time_ms": ms(0),
        "lon": 0,
        "lat": 0,
        "alt": None,
        "speed": None,
        "course": None,
        "accuracy": None,
        "attributes": None,
    }
    assets, columns = latest_columns([{**row, "asset": number} for number in range(1, 1502)])
    api.app[HUB].latest.put(assets, columns, assets - 1)
    assert len((await api.call("GET", "/v1/positions?bbox=-1,-1,1,1"))["features"]) == 1501


# Visits


async def visit(
    connection: asyncpg.Connection, geofence: int, enter_s: float, exit_s: float | None, *, initial: bool = False
) -> None:
    await connection.execute(
        "INSERT INTO visit (asset, geofence, geofence_version, enter_time, enter_event, initial, exit_time, exit_event)"
        " VALUES (1, $1, 1, $2, 1, $3, $4, $5)",
        geofence, NOON + timedelta(seconds=enter_s), initial,
        *((None, None) if exit_s is None else (NOON + timedelta(seconds=exit_s), 2)),
    )  # fmt: skip


async def test_visits_are_those_that_overlap_the_time(api: Api, connection: asyncpg.Connection) -> None:
    asset = await asset_of(api)
    await connection.execute("INSERT INTO geofence (name) VALUES ('Depot'), ('Port')")
    await visit(connection, 2, 50, 60)
    await visit(connection, 1, 0, 10, initial=True)
    await visit(connection, 1, 20, None)
    found = await api.call("GET", f"/v1/assets/{asset}/visits")
    assert found["next"] is None
    assert found["visits"][0] == {
        "id": "vis_2", "geofence": {"id": "gf_1", "name": "Depot"}, "enter_time": "2026-01-31T12:00:00.000Z",
        "exit_time": "2026-01-31T12:00:10.000Z", "initial": True,
    }  # fmt: skip
    assert [v["id"] for v in found["visits"]] == ["vis_2", "vis_3", "vis_1"]
    assert found["visits"][1]["exit_time"] is None

    async def ids(query: str) -> list[str]:
        return [v["id"] for v in (await api.call("GET", f"/v1/assets/{asset}/visits?{query}"))["visits"]]

    assert await ids(f"from={ms(10)}&to={ms(19)}") == ["vis_2"]
    assert await ids(f"from={ms(11)}") == ["vis_3", "vis_1"]
    assert await ids(f"to={ms(49)}") == ["vis_2", "vis_3"]
    assert await ids("geofence=gf_2") == ["vis_1"]
    assert (await api.problem("GET", f"/v1/assets/{asset}/visits?geofence=ast_1", expect=422))["field"] == "geofence"
    for after in ("vis_1", "1", "1.", "x.1", "1.-1", "9" * 30 + ".1", "1." + "9" * 30):
        assert (await api.problem("GET", f"/v1/assets/{asset}/visits?after={after}", expect=422))["field"] == "after"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 9))
async def test_pages_of_visits_together_are_the_list(api: Api, connection: asyncpg.Connection, limit: int) -> None:
    if not await connection.fetchval("SELECT count(*) FROM visit"):
        await asset_of(api)
        await connection.execute("INSERT INTO geofence (name) SELECT 'g' FROM generate_series(1, 30)")
        for number in range(30):
            await visit(connection, 1 + number, number % 4 - 3_000_000_000, None if number % 3 else number)
    found = await api.pages("/v1/assets/ast_1/visits", "visits", limit)
    assert [v["id"] for v in found] == [f"vis_{1 + number}" for number in sorted(range(30), key=lambda n: (n % 4, n))]
