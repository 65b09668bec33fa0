import csv
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Columns
from tracker.domain.fix import Flag
from tracker.errors import TooLarge
from tracker.wire import track_export
from tracker.wire.times import to_ms
from tracker.wire.track_export import PART, CsvTrack, Encoder, GeoJsonTrack, GpxTrack, Subject

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SUBJECT = Subject(7, "Bus")


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "device": 3, "fix_time": NOON + timedelta(milliseconds=number), "lon": 24.94, "lat": 60.17, "alt_m": None,
        "speed_mps": None, "course_deg": None, "accuracy_m": None, "flags": 0, "attributes": None, **more,
    }  # fmt: skip


def columns(rows: list[dict[str, Any]]) -> Columns:
    """The same as the encoders get it."""

    def units(name: str, per_unit: float, unknown: int) -> Any:
        return np.array([unknown if row[name] is None else round(row[name] * per_unit) for row in rows], np.int32)

    kept = [None if row["attributes"] is None else json.dumps(row["attributes"]).encode() for row in rows]
    return Columns(
        asset=np.full(len(rows), 7, np.int32),
        device=np.array([row["device"] for row in rows], np.int32),
        time_ms=np.array([to_ms(row["fix_time"]) for row in rows], np.int64),
        lon=units("lon", 1e7, 0),
        lat=units("lat", 1e7, 0),
        alt=units("alt_m", 10, UNKNOWN_INT32),
        speed=units("speed_mps", 100, UNKNOWN_INT32),
        course=units("course_deg", 10, UNKNOWN_INT16).astype(np.int16),
        accuracy=units("accuracy_m", 10, UNKNOWN_INT32),
        flags=np.array([row["flags"] for row in rows], np.int16),
        attributes=kept if any(kept) else None,
    )


def document(encoder: Encoder, rows: list[dict[str, Any]], at_once: int = 1000) -> bytes:
    parts = [encoder.fixes(columns(rows[start : start + at_once])) for start in range(0, len(rows), at_once)]
    return encoder.begin() + b"".join(parts) + b"".join(encoder.end())


places = st.tuples(st.integers(-1_800_000_000, 1_800_000_000), st.integers(-900_000_000, 900_000_000))
numbers = st.one_of(st.none(), st.integers(0, 10**6).map(lambda tenths: tenths / 10))


@given(st.lists(st.tuples(places, numbers, numbers, st.integers(0, 15)), max_size=30), st.integers(1, 7))
def test_every_fix_stands_in_each_document_once(fixes: list[Any], at_once: int) -> None:
    rows = [
        row(number, lon=lon / 1e7, lat=lat / 1e7, alt_m=alt, speed_mps=speed, flags=flags)
        for number, ((lon, lat), alt, speed, flags) in enumerate(fixes)
    ]
    assert len(document(CsvTrack(), rows, at_once).splitlines()) == len(rows) + 1
    gpx = ET.fromstring(document(GpxTrack(SUBJECT), rows, at_once))  # noqa: S314 - our own
    assert sum(1 for _ in gpx.iter("{http://www.topografix.com/GPX/1/1}trkpt")) == len(rows)
    features = json.loads(document(GeoJsonTrack(SUBJECT), rows, at_once))["features"]
    seen = []
    for feature in features:
        geometry, properties = feature["geometry"], feature["properties"]
        line = [geometry["coordinates"]] if geometry["type"] == "Point" else geometry["coordinates"]
        assert {len(values) for name, values in properties.items() if name != "asset"} == {len(line)}
        assert (geometry["type"] == "Point") == (len(line) == 1)
        seen += [(*place, when) for place, when in zip(line, properties["times"], strict=True)]
    assert [place[:2] for place in seen] == [(each["lon"], each["lat"]) for each in rows]


def test_a_document_of_many_parts_is_one_document() -> None:
    count = PART * 2 + 1
    rows = [row(number) for number in range(count)]
    [feature] = json.loads(document(GeoJsonTrack(SUBJECT), rows))["features"]
    assert len(feature["geometry"]["coordinates"]) == len(feature["properties"]["flags"]) == count


def test_geojson_has_a_limit_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_export, "MAX_GEOJSON_FIXES", 3)
    encoder = GeoJsonTrack(SUBJECT)
    encoder.fixes(columns([row(0), row(1)]))
    with pytest.raises(TooLarge, match="csv, gpx, kml or parquet"):
        encoder.fixes(columns([row(2), row(3)]))


def test_every_format_names_the_flags_of_a_fix() -> None:
    rows = [row(0), row(1, flags=int(Flag.JUMP | Flag.POOR_ACCURACY)), row(2, flags=int(Flag.STALE_REPEAT))]
    names = ["", "poor_accuracy jump", "stale_repeat"]
    gpx = ET.fromstring(document(GpxTrack(SUBJECT), rows))  # noqa: S314 - our own
    points = gpx.iter("{http://www.topografix.com/GPX/1/1}trkpt")
    assert [point.findtext("{http://www.topografix.com/GPX/1/1}cmt", "") for point in points] == names
    assert [line["flags"] for line in csv.DictReader(document(CsvTrack(), rows).decode().splitlines())] == names
    (feature,) = json.loads(document(GeoJsonTrack(SUBJECT), rows))["features"]
    assert feature["properties"]["flags"] == [name.split() for name in names]


def test_a_line_of_csv_holds_any_attributes() -> None:
    text = document(CsvTrack(), [row(0, attributes={"a": 'x"\n,;'})]).decode()
    assert text.splitlines()[1].endswith(r'"{""a"":""x\""\n,;""}"')
