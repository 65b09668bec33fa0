"""A track as CSV, GPX 1.1, KML 2.2 or GeoJSON, made part by part: rows of fixes in, bytes out, no I/O.

CSV, GPX and KML hold nothing. GeoJSON gathers the track first, because its arrays stand one after another: it has a
limit.
"""

import csv
import io
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan
from typing import Any, Final, Protocol
from xml.sax.saxutils import escape

import msgspec
import numpy as np

from tracker.domain.fix import flag_names
from tracker.domain.simplify import simplified
from tracker.errors import TooLarge
from tracker.wire import ids
from tracker.wire.times import rfc3339, to_ms

Row = Mapping[str, Any]

MAX_GEOJSON_FIXES: Final = 500_000
MEASURES: Final = ("alt_m", "speed_mps", "course_deg", "accuracy_m")
PART: Final = 2_000

_CSV_COLUMNS: Final = ("fix_time", "lon", "lat", *MEASURES, "flags", "device", "attributes")
_KML_ARRAYS: Final = (*MEASURES, "flags")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose track it is."""

    asset: int
    name: str

    @property
    def id(self) -> str:
        return ids.public_id(ids.ASSET, self.asset)


class Encoder(Protocol):
    """begin, any number of fixes, end: what they yield in this order is the document."""

    def begin(self) -> bytes: ...

    def fixes(self, rows: Sequence[Row]) -> bytes: ...

    def end(self) -> Iterable[bytes]: ...


class CsvTrack:
    """One header line, then a line for each fix; several flags are separated by spaces."""

    media_type = "text/csv"
    extension = "csv"

    def begin(self) -> bytes:
        return (",".join(_CSV_COLUMNS) + "\n").encode()

    def fixes(self, rows: Sequence[Row]) -> bytes:
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        for row in rows:
            lines.writerow((
                rfc3339(row["fix_time"]), row["lon"], row["lat"], *(row[name] for name in MEASURES),
                " ".join(flag_names(row["flags"])), ids.public_id(ids.DEVICE, row["device"]),
                _json_or_nothing(row["attributes"]),
            ))  # fmt: skip
        return out.getvalue().encode()

    def end(self) -> Iterable[bytes]:
        return ()


def _json_or_nothing(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


class GpxTrack:
    """One segment; speed and course in the extension that most readers of GPX know. Flags stand in the comment."""

    media_type = "application/gpx+xml"
    extension = "gpx"

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def begin(self) -> bytes:
        name = escape(_NOT_XML.sub("", self._subject.name))
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<gpx version="1.1" creator="tracker" xmlns="http://www.topografix.com/GPX/1/1"'
            ' xmlns:tpx="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">\n'
            f"<trk><name>{name}</name><trkseg>\n"
        ).encode()

    def fixes(self, rows: Sequence[Row]) -> bytes:
        return "".join(map(_trkpt, rows)).encode()

    def end(self) -> Iterable[bytes]:
        return (b"</trkseg></trk>\n</gpx>\n",)


def _trkpt(row: Row) -> str:
    lon = -180.0 if row["lon"] == 180 else row["lon"]  # GPX has no longitude of 180
    ele = "" if row["alt_m"] is None else f"<ele>{row['alt_m']:.1f}</ele>"
    speed = "" if row["speed_mps"] is None else f"<tpx:speed>{row['speed_mps']:.2f}</tpx:speed>"
    course = "" if row["course_deg"] is None else f"<tpx:course>{row['course_deg']:.1f}</tpx:course>"
    more = (
        f"<extensions><tpx:TrackPointExtension>{speed}{course}</tpx:TrackPointExtension></extensions>"
        if speed or course
        else ""
    )
    comment = f"<cmt>{' '.join(flag_names(row['flags']))}</cmt>" if row["flags"] else ""
    when = rfc3339(row["fix_time"])
    return f'<trkpt lat="{row["lat"]:.7f}" lon="{lon:.7f}">{ele}<time>{when}</time>{comment}{more}</trkpt>\n'


class KmlTrack:
    """One track of many parts, as its times stand before its places: each part has as many fixes as come at once.

    What KML has no word for stands in arrays beside the fixes, under our names.
    """

    media_type = "application/vnd.google-earth.kml+xml"
    extension = "kml"

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def begin(self) -> bytes:
        name = escape(_NOT_XML.sub("", self._subject.name))
        arrays = "".join(f'<gx:SimpleArrayField name="{name}" type="string"/>' for name in _KML_ARRAYS)
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<kml xmlns="http://www.opengis.net/kml/2.2" xmlns:gx="http://www.google.com/kml/ext/2.2">\n'
            f'<Document><name>{name}</name><Schema id="fix">{arrays}</Schema>\n'
            f"<Placemark><name>{name}</name><gx:MultiTrack><gx:interpolate>1</gx:interpolate>\n"
        ).encode()

    def fixes(self, rows: Sequence[Row]) -> bytes:
        when = "".join(f"<when>{rfc3339(row['fix_time'])}</when>\n" for row in rows)
        where = "".join(
            f"<gx:coord>{row['lon']:.7f} {row['lat']:.7f} {row['alt_m'] or 0:.1f}</gx:coord>\n" for row in rows
        )
        arrays = "".join(
            f'<gx:SimpleArrayData name="{name}">{_values(name, rows)}</gx:SimpleArrayData>\n' for name in _KML_ARRAYS
        )
        data = f'<ExtendedData><SchemaData schemaUrl="#fix">\n{arrays}</SchemaData></ExtendedData>'
        return f"<gx:Track>\n{when}{where}{data}</gx:Track>\n".encode()

    def end(self) -> Iterable[bytes]:
        return (b"</gx:MultiTrack></Placemark></Document></kml>\n",)


def _values(name: str, rows: Sequence[Row]) -> str:
    if name == "flags":
        values = (" ".join(flag_names(row["flags"])) for row in rows)
    else:
        values = ("" if row[name] is None else str(row[name]) for row in rows)
    return "".join(f"<gx:value>{value}</gx:value>" for value in values)


class GeoJsonTrack:
    """A Feature for each stretch between crossings of the antimeridian: a line, or a Point for a single fix.

    The arrays in its properties are parallel to the coordinates, and every fix stands in exactly one Feature.
    """

    media_type = "application/geo+json"
    extension = "geojson"

    def __init__(self, subject: Subject, tolerance_m: float = 0.0) -> None:
        self._subject = subject
        self._tolerance_m = tolerance_m
        self._time = array("q")
        self._device = array("q")
        self._flags = array("h")
        self._lon, self._lat = array("d"), array("d")
        self._measures = {name: array("d") for name in MEASURES}

    def begin(self) -> bytes:
        return b""

    def fixes(self, rows: Sequence[Row]) -> bytes:
        """Gathers them.

        Raises:
            TooLarge: the track has more fixes than GeoJSON is good for.
        """
        if len(self._time) + len(rows) > MAX_GEOJSON_FIXES:
            raise TooLarge(
                f"The track has more than {MAX_GEOJSON_FIXES} fixes: ask for a shorter time, or for csv, gpx, kml or"
                " parquet."
            )
        self._time.extend(to_ms(row["fix_time"]) for row in rows)
        self._device.extend(row["device"] for row in rows)
        self._flags.extend(row["flags"] for row in rows)
        self._lon.extend(row["lon"] for row in rows)
        self._lat.extend(row["lat"] for row in rows)
        for name, values in self._measures.items():
            values.extend(nan if row[name] is None else row[name] for row in rows)
        return b""

    def end(self) -> Iterator[bytes]:
        yield b'{"type":"FeatureCollection","features":['
        for index, stretch in enumerate(self._stretches()):
            yield b"," if index else b""
            yield from self._feature(stretch)
        yield b"]}"

    def _stretches(self) -> Iterator[list[int]]:
        lon, lat = np.array(self._lon), np.array(self._lat)
        crossings = (np.flatnonzero(np.abs(np.diff(lon)) > 180) + 1).tolist()
        for start, end in pairwise([0, *crossings, len(lon)]):
            if start < end:
                yield (start + simplified(lon[start:end], lat[start:end], self._tolerance_m)).tolist()

    def _feature(self, stretch: list[int]) -> Iterator[bytes]:
        yield (
            b'{"type":"Feature","geometry":{"type":"Point","coordinates":'
            if len(stretch) == 1
            else (b'{"type":"Feature","geometry":{"type":"LineString","coordinates":[')
        )
        yield from _parts(f"[{self._lon[i]!r},{self._lat[i]!r}]" for i in stretch)
        asset = msgspec.json.encode({"id": self._subject.id, "name": self._subject.name})
        yield (b"" if len(stretch) == 1 else b"]") + b'},"properties":{"asset":' + asset + b',"times":['
        yield from _parts(f'"{rfc3339(self._time[i])}"' for i in stretch)
        for name, values in self._measures.items():
            yield f'],"{name}":['.encode()
            yield from _parts("null" if isnan(values[i]) else repr(values[i]) for i in stretch)
        yield b'],"flags":['
        yield from _parts(msgspec.json.encode(flag_names(self._flags[i])).decode() for i in stretch)
        yield b'],"devices":['
        yield from _parts(f'"{ids.public_id(ids.DEVICE, self._device[i])}"' for i in stretch)
        yield b"]}}"


def _parts(values: Iterator[str]) -> Iterator[bytes]:
    """Joined by commas, a bounded number at a time."""
    buffer: list[str] = []
    lead = ""
    for value in values:
        buffer.append(value)
        if len(buffer) == PART:
            yield (lead + ",".join(buffer)).encode()
            buffer, lead = [], ","
    if buffer:
        yield (lead + ",".join(buffer)).encode()
