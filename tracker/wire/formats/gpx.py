"""GPX 1.0 and 1.1 in: every track point of every segment of every track, in the order of the file.

Reads piece by piece, so a file's size does not matter. Refuses document types: an entity is how a small file
becomes a huge one, or reads another file. Routes and waypoints are plans, not observations, and are left out.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from tracker.errors import InvalidField, MalformedMessage
from tracker.wire.device import Fix
from tracker.wire.formats import number
from tracker.wire.times import parse_when

_PIECE_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 64
_MAX_TEXT: Final = 256  # characters of one number or time
# GPX 1.0 has speed and course in the point itself; 1.1 only in extensions, all of which use the same last names.
_FIELDS: Final = {"ele": "alt_m", "time": "time", "speed": "speed_mps", "course": "course_deg"}


class GpxReader:
    """Iterate to get the fixes; afterwards `skipped` says how many points had no time or no place that is one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.skipped = 0
        self._fixes: list[Fix] = []
        self._depth = 0
        self._point_depth = 0  # of the open track point; 0 outside of one
        self._point: dict[str, str] = {}
        self._text: list[str] | None = None  # of the element that is being read, if it is wanted

    def __iter__(self) -> Iterator[Fix]:
        """The fixes as far as the file has been read.

        Raises:
            MalformedMessage: it is not GPX, or not safe to read.
        """
        parser = self._parser()
        try:
            while piece := self._file.read(_PIECE_BYTES):
                parser.Parse(piece, False)
                yield from self._take()
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise MalformedMessage(f"this is not well-formed XML: {error}") from error
        yield from self._take()

    def _parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.EntityDeclHandler = self._refuse_doctype
        return parser

    def _take(self) -> list[Fix]:
        fixes, self._fixes = self._fixes, []
        return fixes

    def _refuse_doctype(self, *_: Any) -> None:
        raise MalformedMessage("a GPX file has no document type and no entities; this one is refused")

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        name = _local(qualified)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise MalformedMessage(f"this file nests elements more than {_MAX_DEPTH} deep, which GPX does not")
        if self._depth == 1:
            if name != "gpx":
                raise MalformedMessage(f"this is not GPX: its outermost element is {name[:40]}, not gpx")
        elif name == "trkpt" and not self._point_depth:
            self._point_depth = self._depth
            self._point = {key: attributes[key] for key in ("lat", "lon") if key in attributes}
        elif self._point_depth and name in _FIELDS:
            self._text = []

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, qualified: str) -> None:
        name = _local(qualified)
        if self._text is not None and name in _FIELDS:
            # The point's own value stands before its extensions and wins over theirs.
            self._point.setdefault(_FIELDS[name], "".join(self._text).strip()[:_MAX_TEXT])
            self._text = None
        if self._depth == self._point_depth:
            self._point_depth = 0
            self._add(self._point)
        self._depth -= 1

    def _add(self, point: dict[str, str]) -> None:
        lon, lat = number(point.get("lon")), number(point.get("lat"))
        try:
            time_ms = parse_when(_with_zone(point.get("time", "")), "time")
        except InvalidField:
            time_ms = None
        if lon is None or lat is None or time_ms is None:
            self.skipped += 1
            return
        self._fixes.append(
            Fix(
                lon,
                lat,
                time_ms,
                alt_m=number(point.get("alt_m")),
                speed_mps=number(point.get("speed_mps")),
                course_deg=number(point.get("course_deg")),
            )
        )


def _local(qualified: str) -> str:
    return qualified.rpartition(" ")[2]


def _with_zone(time: str) -> str:
    """GPX times are UTC, also when the Z is missing, as in files of some receivers."""
    has_zone = time.endswith(("Z", "z")) or "+" in time[10:] or "-" in time[10:]
    return time if has_zone or not time else time + "Z"
