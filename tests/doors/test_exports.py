"""Tracks that leave the house as Parquet and KML say what the CSV says, wherever their fixes are stored."""

from datetime import timedelta
from xml.etree import ElementTree as ET

import asyncpg
import pytest

from tests.doors.conftest import Api
from tests.doors.test_history import NOON, SPAN, asset_of, filed, fix, journal, track_csv
from tests.integration.api import ms_of
from tests.wire import parquet_file
from tracker.store import history
from tracker.store.sealer import seal

GX = "{http://www.google.com/kml/ext/2.2}"
KML = "{http://www.opengis.net/kml/2.2}"


async def stored(connection: asyncpg.Connection, database: str) -> None:
    """Sealed, filed, just acked, and doubted afterwards; at one instant, with and without everything."""
    full = {"alt": 345, "speed": 1234, "course": 3599, "accuracy": 50}
    await filed(connection, 1, [fix(s, 24.9 + s / 1e4, **full, attributes='{"fuel": 0.5}') for s in range(0, 400, 2)])
    await seal(database, NOON.date() + timedelta(days=2), lambda _done, _of: None)
    await filed(connection, 1, [fix(s, 24.9, flags=2) for s in range(301, 500, 3)], device=2)
    await journal(connection, 1, [fix(300, 25), fix(300, 24), fix(700, attributes='{"ö": "\\"<"}')])
    await connection.execute(
        "INSERT INTO doubt (asset, time, lon, lat, flags) VALUES (1, $1, 250000000, 601700000, 16)",
        NOON + timedelta(seconds=300),
    )


async def parquet(api: Api, asset: str, query: str = "") -> dict[str, list[object]]:
    response = await api.send("GET", f"/v1/assets/{asset}/track?format=parquet{query}")
    assert response.status == 200
    assert response.content_type == "application/vnd.apache.parquet"
    return parquet_file.read(await response.read())


@pytest.mark.parametrize("window", [1, 90, 100_000])
async def test_parquet_says_what_the_csv_says(
    api: Api, connection: asyncpg.Connection, database: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "WINDOW_FIXES", window)
    asset = await asset_of(api)
    await stored(connection, database)
    for query in (SPAN, SPAN + "&quality=trusted"):
        rows = await track_csv(api, asset, query)
        found = await parquet(api, asset, query)
        assert list(found) == list(rows[0])
        assert found.pop("fix_time") == [ms_of(row["fix_time"]) for row in rows]
        for name in ("flags", "device"):
            assert found.pop(name) == [row[name] for row in rows]
        attributes = [None if each is None else str(each).replace('": ', '":') for each in found.pop("attributes")]
        assert attributes == [row["attributes"] or None for row in rows]
        for name, values in found.items():
            assert values == [float(row[name]) if row[name] else None for row in rows], name
    nothing = await parquet(api, asset, "&from=0&to=1")
    assert set(map(len, nothing.values())) == {0}


async def test_kml_is_one_track_of_many_parts(
    api: Api, connection: asyncpg.Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.doors.history.FIXES_AT_ONCE", 100)
    asset = await asset_of(api, "Bus <1>")
    await stored(connection, database)
    rows = await track_csv(api, asset, SPAN)
    response = await api.send(
        "GET", f"/v1/assets/{asset}/track?{SPAN}", headers={"Accept": "application/vnd.google-earth.kml+xml"}
    )
    document = ET.fromstring(await response.text())  # noqa: S314 - our own
    assert document.findtext(f".//{KML}Placemark/{KML}name") == "Bus <1>"
    parts = document.findall(f".//{GX}Track")
    assert len(parts) > 2
    whens = [each.text for part in parts for each in part.findall(f"{KML}when")]
    wheres = [each.text or "" for part in parts for each in part.findall(f"{GX}coord")]
    assert whens == [row["fix_time"] for row in rows]
    assert [tuple(map(float, where.split())) for where in wheres] == [
        (float(row["lon"]), float(row["lat"]), float(row["alt_m"] or 0)) for row in rows
    ]
    for name in ("speed_mps", "flags"):
        values = document.findall(f".//{GX}SimpleArrayData[@name='{name}']/{GX}value")
        assert [each.text or "" for each in values] == [row[name] for row in rows]
