"""The newest fix of every asset, read as columns: what is filed, and what only the journal holds yet.

A fleet has as many of them as assets: so they come as binary COPY, without a Python object for each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns, Ints, Mask
from tracker.domain.presence import RECORD, Newest
from tracker.store.copy import rows_of, time_ms_of, tuple_dtype
from tracker.store.database import Connection, Record
from tracker.store.rows import copied
from tracker.store.sql import sql

_MEASURED: Final = ("lon", "lat", "alt", "speed", "course", "accuracy")
_WIDTHS: Final = {"course": ">i2", "flags": ">i2", "batch": ">i8", "seen": ">i8", "time": ">i8", "recorded": ">i8"}


def _row(*names: str) -> np.dtype[Any]:
    return tuple_dtype([(name, _WIDTHS.get(name, ">i4")) for name in names])


_FILED: Final = _row("asset", "device", "time", *_MEASURED, "batch", "seen")
_UNFILED: Final = _row("asset", "device", "time", *_MEASURED, "flags", "batch", "recorded")
_DOUBT: Final = _row("asset", "time", "lon", "lat")
_SEEN: Final = np.dtype(
    [
        ("asset", np.int64),
        ("device", np.int32),
        ("unfiled", np.bool_),
        *((name, RECORD[name]) for name in RECORD.names or ()),
    ],
    align=True,
)

Rows = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class LastSeen:
    """One row for each asset that was ever seen: by trusted fixes alone, and by all; attributes: of the trusted ones
    that have any, as JSON.
    """

    trusted: Rows
    every: Rows
    attributes: dict[int, bytes]

    def fill(self, trusted: Newest, every: Newest) -> None:
        """Make these the newest."""
        for newest, rows in ((trusted, self.trusted), (every, self.every)):
            newest.reserve(int(rows["asset"].max(initial=0)))
            for name in RECORD.names or ():
                getattr(newest, name)[rows["asset"]] = rows[name]

    def positions(self) -> tuple[Ints, Columns]:
        """The trusted ones, for a map: asset numbers and columns. Of those from before devices were kept none."""
        rows = self.trusted[self.trusted["device"] > 0]
        asset = rows["asset"].copy()
        attributes = [self.attributes.get(number) for number in asset.tolist()] if self.attributes else None
        columns = {name: rows[name].copy() for name in ("device", "time_ms", *_MEASURED)}
        flags = np.zeros(len(rows), np.int16)
        return asset, Columns(asset=asset.astype(np.int32), flags=flags, attributes=attributes, **columns)


@dataclass(frozen=True, slots=True)
class Heard:
    """(n,) times at which devices left a trace, each maybe several: of fixes in the journal the server's clock, of
    those that are filed only their own is known.
    """

    filed_device: Ints
    filed_ms: Ints
    unfiled_device: Ints
    recorded_ms: Ints


_NOBODY: Final = np.empty(0, np.int64)
NOTHING_HEARD: Final = Heard(_NOBODY, _NOBODY, _NOBODY, _NOBODY)


async def load_newest(connection: Connection) -> tuple[LastSeen, Heard]:
    """Within the caller's transaction, which sees one instant."""
    filed = rows_of(await copied(connection, "load_newest_filed"), _FILED)
    filed_every = rows_of(await copied(connection, "load_newest_filed_of_any"), _FILED)
    unfiled = rows_of(await copied(connection, "load_unfiled"), _UNFILED)
    doubts = rows_of(await copied(connection, "load_doubts_of_unfiled"), _DOUBT) if len(unfiled) else _NO_DOUBTS
    trusted = (unfiled["flags"] == 0) & ~_is_among(unfiled, doubts)
    known, came = _seen(filed), _seen(unfiled)
    seen_trusted = newest_of(np.concatenate([known, came[trusted]]))
    seen = newest_of(np.concatenate([known, _seen(filed_every), came]))
    heard = Heard(known["device"], known["time_ms"], came["device"], time_ms_of(unfiled["recorded"]))
    return LastSeen(seen_trusted, seen, await _attributes(connection, seen_trusted)), heard


_NO_DOUBTS: Final = np.empty(0, _DOUBT)


def _seen(rows: Rows) -> Rows:
    """The same as they are in memory."""
    found = np.empty(len(rows), _SEEN)
    for name in ("asset", "device", *_MEASURED, "batch"):
        found[name] = rows[name]
    found["time_ms"] = time_ms_of(rows["time"])
    is_filed = "seen" in (rows.dtype.names or ())
    found["seen"], found["unfiled"] = rows["seen" if is_filed else "batch"], not is_filed
    return found


def newest_of(rows: Rows) -> Rows:
    """Of each asset its newest fix, of those equal in time and place the first; with the highest batch of all."""
    if not len(rows):
        return rows
    size = int(rows["asset"].max()) + 1
    latest_ms, seen = np.full(size, np.iinfo(np.int64).min), np.full(size, -1, np.int64)
    np.maximum.at(latest_ms, rows["asset"], rows["time_ms"])
    np.maximum.at(seen, rows["asset"], rows["seen"])
    rows = rows[rows["time_ms"] == latest_ms[rows["asset"]]]
    alone = np.bincount(rows["asset"])[rows["asset"]] == 1
    found = np.concatenate([rows[alone], _firsts(rows[~alone])])
    found["seen"] = seen[found["asset"]]
    return found


def _firsts(rows: Rows) -> Rows:
    """Of each asset the last place, and of fixes there the first."""
    order = np.lexsort(
        (
            *(rows[name] for name in ("batch", "accuracy", "course", "speed", "alt")),
            -rows["lat"].astype(np.int64),
            -rows["lon"].astype(np.int64),
            rows["asset"],
        )
    )
    order = order[np.diff(rows["asset"][order], prepend=-1) != 0]
    return np.asarray(rows[order])


def _is_among(unfiled: Rows, doubts: Rows) -> Mask:
    """Which fixes are doubted."""
    found = np.zeros(len(unfiled), np.bool_)
    maybe = np.flatnonzero(np.isin(unfiled["asset"], doubts["asset"]) & np.isin(unfiled["time"], doubts["time"]))
    keys, places = set(_keys(doubts)), _keys(unfiled[maybe])
    found[maybe] = [place in keys for place in places]
    return found


def _keys(rows: Rows) -> list[tuple[int, ...]]:
    return list(zip(*(rows[name].tolist() for name in ("asset", "time", "lon", "lat")), strict=True))


async def _attributes(connection: Connection, newest: Rows) -> dict[int, bytes]:
    """Of the newest trusted fixes that have any."""
    unfiled = newest[newest["unfiled"]]
    found = _texts(await connection.fetch(sql("load_filed_attributes")))
    for asset in unfiled["asset"].tolist() if found else ():
        found.pop(asset, None)
    columns = (unfiled[name].tolist() for name in ("asset", "batch", "time_ms", "lon", "lat"))
    found |= _texts(await connection.fetch(sql("load_unfiled_attributes"), *columns))
    return found


def _texts(rows: Iterable[Record]) -> dict[int, bytes]:
    return {row["asset"]: msgspec.json.format(row["attributes"].encode(), indent=-1) for row in rows}
