"""What is sealed together, and the rows that come of it: no database and no clock here.

Parts of one asset and day that touch each other become one run, and a run becomes rows of about equal size that do not
overlap.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from tracker.store import copy
from tracker.store.packing import PACKED, Int64s, Rows, pack
from tracker.store.rows import Fixes

# Who reads a fix decodes its whole row, so large rows cost time; small ones cost bytes.
ROW_FIXES: Final = 160
RUN_FIXES: Final = 20_000  # a run ends after so many, where that does not cut through a piece
COLUMNS: Final = (
    *("asset", "n", "t0", "t1", "trusted_t0", "last_batch", "west", "south", "east", "north", "bits", "attributes"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece, or a sealed row: where its fixes lie."""

    asset: int
    t0: datetime
    t1: datetime
    n: int
    sealed: bool = False

    @property
    def day(self) -> datetime:
        return self.t0.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(slots=True)
class Run:
    """Parts of one asset and day that become one row of rows; no other part reaches into it."""

    asset: int
    since: datetime
    until: datetime  # where its last part begins
    end: datetime
    n: int = 0
    pieces: int = 0

    def add(self, part: Part) -> None:
        self.until, self.end = max(self.until, part.t0), max(self.end, part.t1)
        self.n += part.n
        self.pieces += not part.sealed


def runs_of(parts: Iterable[Part]) -> list[Run]:
    """What is to be sealed together, in order: only runs with pieces in them."""
    runs: list[Run] = []
    last: Part | None = None
    for part in sorted(parts, key=lambda part: (part.asset, part.t0, part.t1)):
        if last is None or _apart(runs[-1], last, part):
            runs.append(Run(part.asset, part.t0, part.t0, part.t1))
        runs[-1].add(part)
        last = part
    return [run for run in runs if run.pieces]


def _apart(run: Run, last: Part, part: Part) -> bool:
    """Whether a new run begins. A full sealed row is left as it is if nothing falls into it."""
    if (part.asset, part.day) != (run.asset, last.day):
        return True
    if part.t0 <= run.end:
        return False
    full = any(each.sealed and each.n > ROW_FIXES // 2 for each in (last, part))
    return full or (last.sealed and part.sealed) or run.n >= RUN_FIXES


# Rows ----------------------------------------------------------------------------------------------------------------


def sealed_rows(assets: Sequence[int], data: bytes) -> tuple[int, bytes]:
    """The fixes of some runs, numbered from 1, as a binary COPY of the table `sealed`; and how many they are."""
    fixes = Fixes(data, attributes=True)
    columns = {name: fixes.column(name) for name in PACKED if name != "extra"}
    order = np.lexsort([columns[name] for name in ("batch", "lat", "lon", "time")] + [fixes.owner])
    columns = {name: values[order] for name, values in columns.items()}
    rows = Rows(_sizes(fixes.owner))
    attributes = fixes.attributes()
    extra, extras = _extras(rows, None if attributes is None else [attributes[i] for i in order.tolist()])
    time_ms = columns["time"]
    own = {**columns, "time": time_ms - rows.spread(time_ms[rows.first]), "extra": extra}
    owner = fixes.owner[order][rows.first]
    heads = _heads(rows, columns, np.array(assets, np.int64)[owner - 1])
    parts = [
        copy.row([*fields, _bits(*packed), each])
        for fields, packed, each in zip(heads, pack(own, rows.size), extras, strict=True)
    ]
    return rows.total, b"".join([copy.HEADER, *parts, copy.TRAILER])


def _bits(length: int, data: bytes) -> bytes:
    """A field that holds a bit string of so many bits."""
    return struct.pack(">ii", 4 + len(data), length) + data


def _sizes(owner: Int64s) -> Int64s:
    """How many fixes each row has: as equal as can be within a run."""
    sizes: list[Int64s] = []
    for count in np.unique(owner, return_counts=True)[1].tolist():
        edges = np.arange(-(-count // ROW_FIXES) + 1) * count // -(-count // ROW_FIXES)
        sizes.append(np.diff(edges))
    return np.concatenate(sizes)


def _heads(rows: Rows, columns: dict[str, Int64s], asset: Int64s) -> Iterable[tuple[bytes, ...]]:
    """The fields before the bits."""
    first = rows.first
    trusted = np.where(columns["flags"] == 0, columns["time"], np.iinfo(np.int64).max)
    table = np.stack(
        [
            asset,
            rows.size,
            columns["time"][first],
            columns["time"][first + rows.size - 1],
            np.minimum.reduceat(trusted, first),
            np.maximum.reduceat(columns["batch"], first),
            *(np.minimum.reduceat(columns[name], first) for name in ("lon", "lat")),
            *(np.maximum.reduceat(columns[name], first) for name in ("lon", "lat")),
        ],
        axis=1,
    )
    for asset_, n, t0, t1, trusted_t0, batch, *box in table.tolist():
        yield (
            copy.int4(asset_),
            copy.int4(n),
            copy.timestamp(t0),
            copy.timestamp(t1),
            copy.timestamp(None if trusted_t0 == np.iinfo(np.int64).max else trusted_t0),
            copy.int8(batch),
            *map(copy.int4, box),
        )


def _extras(rows: Rows, attributes: list[bytes | None] | None) -> tuple[Int64s, list[bytes]]:
    """The place of each fix's attributes among those of its row, and those."""
    extra = np.zeros(rows.total, np.int64)
    arrays = [copy.NULL] * len(rows.size)
    if attributes is None:
        return extra, arrays
    for row, (first, size) in enumerate(zip(rows.first.tolist(), rows.size.tolist(), strict=True)):
        places: dict[bytes, int] = {}
        for i in range(first, first + size):
            value = attributes[i]
            if value is not None:
                extra[i] = places.setdefault(value, len(places) + 1)
        if places:
            arrays[row] = copy.jsonb_array(list(places))
    return extra, arrays
