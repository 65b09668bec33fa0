"""Tables of fixes in: CSV with one header line, a row per fix, in the order of the file.

Columns: lat, lon, and time_ms (epoch milliseconds) or time (RFC 3339, or epoch milliseconds); device, speed_mps,
course_deg, alt_m and accuracy_m where known. An empty field is not known; other columns are left out.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tracker.errors import InvalidField, MalformedMessage
from tracker.wire.device import Fix
from tracker.wire.formats import number
from tracker.wire.times import parse_when

_OPTIONAL: Final = ("alt_m", "accuracy_m", "speed_mps", "course_deg")


class CsvReader:
    """Iterate to get (device, fix); afterwards `skipped` says how many rows had no time or no place that is one."""

    def __init__(self, lines: Iterable[str], device: str) -> None:
        """`device` is whose fixes these are when the table does not say."""
        self._rows = csv.reader(lines)
        self._device = device
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[str, Fix]]:
        """The fixes in the order of the file.

        Raises:
            InvalidField: a column that every fix needs is missing.
            MalformedMessage: it is not a table.
        """
        try:
            columns = _Columns([name.strip().lower() for name in next(self._rows, [])])
            for row in self._rows:
                fix = columns.fix(row)
                if fix is not None:
                    yield columns.device(row) or self._device, fix
                elif row:
                    self.skipped += 1
        except csv.Error as error:
            raise MalformedMessage(f"line {self._rows.line_num} is not CSV: {error}") from error


class _Columns:
    """Where each value stands in a row."""

    def __init__(self, header: list[str]) -> None:
        header = [name.removeprefix("\ufeff") for name in header]
        places = {name: place for place, name in enumerate(header)}
        for name in ("lat", "lon"):
            if name not in places:
                raise InvalidField(
                    f"the table has no column {name}; its header line says {', '.join(header)[:200]}", field=name
                )
        if "time_ms" not in places and "time" not in places:
            raise InvalidField("the table has no column time_ms or time", field="time_ms")
        self._lon, self._lat = places["lon"], places["lat"]
        self._time: Callable[[str], int | None] = _epoch_ms if "time_ms" in places else _instant_ms
        self._time_place = places.get("time_ms", places.get("time", 0))
        self._device = places.get("device")
        self._optional = [places.get(name) for name in _OPTIONAL]
        self._width = 1 + max(self._lon, self._lat, self._time_place)

    def fix(self, row: list[str]) -> Fix | None:
        if len(row) < self._width:
            return None
        lon, lat, time_ms = number(row[self._lon]), number(row[self._lat]), self._time(row[self._time_place])
        if lon is None or lat is None or time_ms is None:
            return None
        alt_m, accuracy_m, speed_mps, course_deg = (
            number(row[place]) if place is not None and place < len(row) else None for place in self._optional
        )
        return Fix(lon, lat, time_ms, alt_m, accuracy_m, speed_mps, course_deg)

    def device(self, row: list[str]) -> str:
        return row[self._device].strip() if self._device is not None and self._device < len(row) else ""


def _epoch_ms(text: str) -> int | None:
    value = number(text)
    return None if value is None or not -(2.0**53) <= value <= 2.0**53 else int(value // 1)


def _instant_ms(text: str) -> int | None:
    try:
        return parse_when(text.strip(), "time")
    except InvalidField:
        return None
