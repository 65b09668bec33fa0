"""A track as Parquet, a row group for each window of columns: no object per fix, and nothing is kept but the footer."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from tracker import __version__
from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32, Columns, Ints
from tracker.domain.fix import flag_names
from tracker.wire import ids
from tracker.wire.parquet import DOUBLE, INT64, TEXT, Column, Values, Writer

COLUMNS: Final = (
    Column("fix_time", INT64, time=True),
    Column("lon", DOUBLE),
    Column("lat", DOUBLE),
    Column("alt_m", DOUBLE, optional=True),
    Column("speed_mps", DOUBLE, optional=True),
    Column("course_deg", DOUBLE, optional=True),
    Column("accuracy_m", DOUBLE, optional=True),
    Column("flags", TEXT),
    Column("device", TEXT),
    Column("attributes", TEXT, optional=True),
)


class ParquetTrack:
    """The columns of the CSV, with the same names and values; flags are separated by spaces, attributes are JSON."""

    media_type = "application/vnd.apache.parquet"
    extension = "parquet"

    def __init__(self) -> None:
        self._writer = Writer(COLUMNS, f"tracker {__version__}")

    def begin(self) -> bytes:
        return self._writer.begin()

    def fixes(self, fixes: Columns) -> bytes:
        """A row group."""
        return self._writer.group(
            [
                Values.numbers(fixes.time_ms),
                Values.numbers(fixes.lon / DEGREE),
                Values.numbers(fixes.lat / DEGREE),
                _measure(fixes.alt, UNKNOWN_INT32, 10),
                _measure(fixes.speed, UNKNOWN_INT32, 100),
                _measure(fixes.course, UNKNOWN_INT16, 10),
                _measure(fixes.accuracy, UNKNOWN_INT32, 10),
                Values.texts(list(_named(fixes.flags, lambda number: " ".join(flag_names(number))))),
                Values.texts(list(_named(fixes.device, lambda number: ids.public_id(ids.DEVICE, number)))),
                Values.texts(fixes.attributes or [None] * len(fixes)),
            ]
        )

    def end(self) -> bytes:
        return self._writer.end()


def _measure(values: Ints, unknown: int, per_unit: int) -> Values:
    return Values.numbers(values / per_unit, values != unknown)


def _named(values: Ints, name: Callable[[int], str]) -> Iterator[bytes]:
    """The text of each; there are few that differ."""
    different, which = np.unique(values, return_inverse=True)
    texts = [name(number).encode() for number in different.tolist()]
    return (texts[each] for each in which.tolist())
