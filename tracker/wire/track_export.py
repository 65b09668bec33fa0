"""A track as CSV, GPX 1.1, KML 2.2 or GeoJSON, made part by part: columns of fixes in, bytes out, no I/O.

CSV, GPX and KML hold nothing. GeoJSON gathers the track first, because its arrays stand one after another: it has a
limit.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Final, Protocol
from xml.sax.saxutils import escape

import msgspec
import numpy as np

from tracker.domain.batch import DEGREE, NUMBERS, UNKNOWN_INT16, UNKNOWN_INT32, Columns, Ints
from tracker.domain.fix import flag_names
from tracker.domain.simplify import simplified
from tracker.errors import TooLarge
from tracker.wire import ids
from tracker.wire.times import rfc3339

Row = Mapping[str, Any]  # one fix: fix_time in epoch ms, SI values, None where not known; attributes decoded

MAX_GEOJSON_FIXES: Final = 500_000
# By the name outside: the column, how much of it is one unit, and what stands for "not known".
_MEASURES: Final = {
    "alt_m": ("alt", 10, UNKNOWN_INT32),
    "speed_mps": ("speed", 100, UNKNOWN_INT32),
    "course_deg": ("course", 10, UNKNOWN_INT16),
    "accuracy_m": ("accuracy", 10, UNKNOWN_INT32),
}
MEASURES: Final = tuple(_MEASURES)
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

    def fixes(self, fixes: Columns) -> bytes: ...

    def end(self) -> Iterable[bytes]: ...


def _rows(fixes: Columns) -> list[Row]:
    attributes = fixes.attributes or [None] * len(fixes)
    columns = {
        "fix_time": fixes.time_ms.tolist(),
        "lon": (fixes.lon / DEGREE).tolist(),
        "lat": (fixes.lat / DEGREE).tolist(),
        **{name: measured(name, fixes) for name in MEASURES},
        "flags": fixes.flags.tolist(),
        "device": fixes.device.tolist(),
        "attributes": [None if each is None else msgspec.json.decode(each) for each in attributes],
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def measured(name: str, fixes: Columns) -> list[float | None]:
    """One of MEASURES in SI units; None where it is not known."""
    column, per_unit, unknown = _MEASURES[name]
    values: Ints = getattr(fixes, column)
    known: list[float | None] = (values / per_unit).tolist()
    for place in np.flatnonzero(values == unknown).tolist():
        known[place] = None
    return known


class CsvTrack:
    """One header line, then a line for each fix; several flags are separated by spaces."""

    media_type = "text/csv"
    extension = "csv"

    def begin(self) -> bytes:
        return (",".join(_CSV_COLUMNS) + "\n").encode()

    def fixes(self, fixes: Columns) -> bytes:
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        for row in _rows(fixes):
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

    def fixes(self, fixes: Columns) -> bytes:
        return "".join(map(_trkpt, _rows(fixes))).encode()

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

    def fixes(self, fixes: Columns) -> bytes:
        rows = _rows(fixes)
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


def _values(name: str, rows: Iterable[Row]) -> str:
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
        self._gathered: list[Columns] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def begin(self) -> bytes:
        return b""

    def fixes(self, fixes: Columns) -> bytes:
        """Gathers them.

        Raises:
            TooLarge: the track has more fixes than GeoJSON is good for.
        """
        if self._count + len(fixes) > MAX_GEOJSON_FIXES:
            raise TooLarge(
                f"The track has more than {MAX_GEOJSON_FIXES} fixes: ask for a shorter time, or for csv, gpx, kml or"
                " parquet."
            )
        self._gathered.append(replace(fixes, attributes=None))
        self._count += len(fixes)
        return b""

    def end(self) -> Iterator[bytes]:
        yield b'{"type":"FeatureCollection","features":['
        if self._count:
            for index, stretch in enumerate(self._stretches()):
                yield b"," if index else b""
                yield from self._feature(stretch)
        yield b"]}"

    def _stretches(self) -> Iterator[Columns]:
        """What is left of each stretch between crossings of the antimeridian."""
        whole = _joined(self._gathered)
        lon, lat = whole.lon / DEGREE, whole.lat / DEGREE
        crossings = (np.flatnonzero(np.abs(np.diff(lon)) > 180) + 1).tolist()
        for start, end in pairwise([0, *crossings, len(whole)]):
            yield whole.take(start + simplified(lon[start:end], lat[start:end], self._tolerance_m))

    def _feature(self, stretch: Columns) -> Iterator[bytes]:
        kind, begin, end = (b"Point", b"", b"") if len(stretch) == 1 else (b"LineString", b"[", b"]")
        yield b'{"type":"Feature","geometry":{"type":"%b","coordinates":%b' % (kind, begin)
        yield from _parts(stretch, lambda part: np.column_stack((part.lon / DEGREE, part.lat / DEGREE)).tolist())
        asset = msgspec.json.encode({"id": self._subject.id, "name": self._subject.name})
        yield end + b'},"properties":{"asset":' + asset + b',"times":['
        yield from _parts(stretch, lambda part: rfc3339_texts(part.time_ms))
        for name in MEASURES:
            yield f'],"{name}":['.encode()
            yield from _parts(stretch, partial(measured, name))
        yield b'],"flags":['
        yield from _parts(stretch, lambda part: _named(part.flags, flag_names))
        yield b'],"devices":['
        yield from _parts(stretch, lambda part: _named(part.device, partial(ids.public_id, ids.DEVICE)))
        yield b"]}}"


def _joined(parts: Sequence[Columns]) -> Columns:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in NUMBERS}
    return Columns(**columns, attributes=None)


def rfc3339_texts(time_ms: Ints) -> list[str]:
    texts: list[str] = np.datetime_as_string(time_ms.astype("datetime64[ms]"), timezone="UTC").tolist()
    return texts


def _named(values: Ints, name: Callable[[int], Any]) -> list[Any]:
    """What each is called; there are few that differ."""
    different, which = np.unique(values, return_inverse=True)
    names = [name(number) for number in different.tolist()]
    return [names[each] for each in which.tolist()]


def _parts(fixes: Columns, values: Callable[[Columns], list[Any]]) -> Iterator[bytes]:
    """The items of a JSON array, a bounded number at a time."""
    for start in range(0, len(fixes), PART):
        part = fixes if len(fixes) <= PART else fixes.take(slice(start, start + PART))
        yield (b"," if start else b"") + msgspec.json.encode(values(part))[1:-1]
