"""A recorded file in memory as columns: about 60 bytes a fix, so a million of them take 60 MB.

Knows when each fix is due, so that many devices are replayed side by side while each keeps the order of its file.
"""

import gzip
import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.fix import RANGES
from tracker.errors import InvalidField, MalformedMessage
from tracker.wire.device import Fix
from tracker.wire.formats.gpx import GpxReader
from tracker.wire.formats.tracks_csv import CsvReader

_VALUES: Final = ("lon", "lat", "alt_m", "accuracy_m", "speed_mps", "course_deg")
_UNKNOWN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file holds, in its order; a value that is not known is NaN."""

    devices: list[str]
    device: NDArray[np.int32]  # index in devices
    time_ms: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    skipped: int
    """Rows without a time or a place, and fixes with a value that no server takes."""

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def span_ms(self) -> tuple[int, int]:
        return int(self.time_ms.min()), int(self.time_ms.max())

    def due(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The order in which to send, and when each of them is due, in the time of the recording.

        A fix is due at its own time, or, if the file has it behind a later one of its device, together with that one.
        """
        by_device = np.argsort(self.device, kind="stable")
        first_ms, last_ms = self.span_ms
        # Each device's times are lifted above those of the device before it, so that one running maximum serves all.
        lift = self.device[by_device].astype(np.int64) * (last_ms - first_ms + 1)
        due_ms = np.empty(len(self), np.int64)
        due_ms[by_device] = np.maximum.accumulate(self.time_ms[by_device] - first_ms + lift) - lift + first_ms
        order = np.argsort(due_ms, kind="stable")
        return order, due_ms[order]

    def fixes(
        self, rows: NDArray[np.intp], time_ms: NDArray[np.int64], faster: float
    ) -> Iterator[tuple[str, list[Fix]]]:
        """These rows as fixes at these times, device by device; `faster` is by how much the times were compressed."""
        by_device = np.argsort(self.device[rows], kind="stable")
        rows, time_ms = rows[by_device], time_ms[by_device]
        columns = {name: values[rows] for name, values in self.values.items()}
        columns["speed_mps"] = columns["speed_mps"] * faster
        columns["speed_mps"][columns["speed_mps"] > RANGES["speed_mps"][1]] = _UNKNOWN
        known = zip(time_ms.tolist(), *(columns[name].tolist() for name in _VALUES), strict=True)
        fixes = [_fix(*values) for values in known]
        numbers = self.device[rows]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            yield self.devices[numbers[start]], fixes[start:end]


def read_recording(path: Path, limit: int | None = None) -> Recording:
    """The first `limit` fixes of a GPX or CSV file, which may be compressed with gzip.

    Raises:
        InvalidField, MalformedMessage: the file is not one of these.
    """
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    if plain.suffix.lower() not in (".csv", ".gpx"):
        raise InvalidField(f"{path.name} is neither .csv nor .gpx (nor one of them with .gz behind)", field="file")
    try:
        with gzip.open(path) if plain != path else path.open("rb") as file:
            reader, fixes = _reader(file, plain)  # type: ignore[arg-type]
            return _collect(fixes, reader, limit)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise MalformedMessage(f"{path} cannot be read: {error}") from error


def _reader(file: BinaryIO, plain: Path) -> tuple[GpxReader | CsvReader, Iterable[tuple[str, Fix]]]:
    if plain.suffix.lower() == ".gpx":
        points = GpxReader(file)
        return points, ((plain.stem, fix) for fix in points)
    rows = CsvReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), plain.stem)
    return rows, rows


def _collect(fixes: Iterable[tuple[str, Fix]], reader: GpxReader | CsvReader, limit: int | None) -> Recording:
    numbers: dict[str, int] = {}
    device, time_ms = array("i"), array("q")
    values = {name: array("d") for name in _VALUES}
    fields = [(values[name], name) for name in _VALUES]
    for name, fix in fixes:
        device.append(numbers.setdefault(name, len(numbers)))
        time_ms.append(fix.time)  # type: ignore[arg-type]
        for column, field in fields:
            value = getattr(fix, field)
            column.append(_UNKNOWN if value is None else value)
        if limit is not None and len(device) >= limit:
            break
    columns = {name: np.frombuffer(column) if column else np.empty(0) for name, column in values.items()}
    good = np.ones(len(device), bool)
    for name, (low, high) in RANGES.items():
        good &= ((columns[name] >= low) & (columns[name] <= high)) | np.isnan(columns[name])
    return Recording(
        list(numbers),
        np.array(device, np.int32)[good],
        np.array(time_ms, np.int64)[good],
        {name: column[good] for name, column in columns.items()},
        reader.skipped + int((~good).sum()),
    )


def _fix(
    time_ms: int, lon: float, lat: float, alt_m: float, accuracy_m: float, speed_mps: float, course_deg: float
) -> Fix:
    return Fix(
        lon,
        lat,
        time_ms,
        None if isnan(alt_m) else alt_m,
        None if isnan(accuracy_m) else accuracy_m,
        None if isnan(speed_mps) else speed_mps,
        None if isnan(course_deg) else course_deg,
    )
