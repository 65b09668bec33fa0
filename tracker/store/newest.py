"""The newest fix of every asset, read as columns: what is filed, and what only the journal holds yet.

A fleet has as many of them as assets: so they come as binary COPY, without a Python object for each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns, Ints, Mask
from tracker.domain.presence import RECORD, Newest
from tracker.store.copy import rows_of, time_ms_of, tuple_dtype
from tracker.store.database import Connection, Record
from tracker.store.rows import Field, copied, int2s, int4s, int8s, integer, rows
from tracker.store.sql import sql

_MEASURED: Final = ("lon", "lat", "alt", "speed", "course", "accuracy")
_FIX: Final[dict[str, Field]] = {
    **dict.fromkeys(("asset", "device"), int4s),
    "time": int8s,
    **dict.fromkeys(_MEASURED, int4s),
    "course": int2s,
}
_FILED: Final[dict[str, Field]] = {**_FIX, "batch": int8s, "seen": int8s}
_UNFILED: Final[dict[str, Field]] = {**_FIX, "flags": int2s, "batch": integer, "recorded": integer}
_DOUBT: Final = tuple_dtype([("asset", ">i4"), ("time", ">i8"), ("lon", ">i4"), ("lat", ">i4")])
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
        for newest, mine in ((trusted, self.trusted), (every, self.every)):
            newest.reserve(int(mine["asset"].max(initial=0)))
            for name in RECORD.names or ():
                getattr(newest, name)[mine["asset"]] = mine[name]

    def positions(self) -> tuple[Ints, Columns]:
        """The trusted ones, for a map: asset numbers and columns. Of those from before devices were kept none."""
        mine = self.trusted[self.trusted["device"] > 0]
        asset = mine["asset"].copy()
        attributes = [self.attributes.get(number) for number in asset.tolist()] if self.attributes else None
        columns = {name: mine[name].copy() for name in ("device", "time_ms", *_MEASURED)}
        flags = np.zeros(len(mine), np.int16)
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
    filed = _seen(_columns(await copied(connection, "load_newest_filed"), _FILED))
    of_any = _seen(_columns(await copied(connection, "load_newest_filed_of_any"), _FILED))
    unfiled = _columns(await copied(connection, "load_unfiled"), _UNFILED)
    trusted = (unfiled["flags"] == 0) & ~_is_among(unfiled, await _doubts(connection, len(unfiled["flags"])))
    came = _seen({**unfiled, "seen": unfiled["batch"]})
    came["unfiled"] = True
    last_trusted = _moved_on(filed, came[trusted])
    last = _moved_on(filed, np.concatenate([of_any, came]))
    heard = Heard(filed["device"], filed["time_ms"], came["device"], time_ms_of(unfiled["recorded"]))
    return LastSeen(last_trusted, last, await _attributes(connection, last_trusted)), heard


async def load_streams(connection: Connection) -> dict[int, int]:
    """The last durable number of each stream that moved in the journal."""
    read = _columns(await copied(connection, "load_unfiled_streams"), {"stream": int4s, "seq": int8s})
    last = np.zeros(int(read["stream"].max(initial=0)) + 1, np.int64)
    np.maximum.at(last, read["stream"], read["seq"])
    streams = np.unique(read["stream"])
    return dict(zip(streams.tolist(), last[streams].tolist(), strict=True))


def _columns(data: bytes, fields: dict[str, Field]) -> dict[str, Ints]:
    """Rows of arrays joined, each column under its name; what a row has once is repeated for all in its arrays."""
    read = list(rows(data, list(fields.values())))
    sizes = [len(row[0]) for row in read]
    found: dict[str, Ints] = {}
    for nth, (name, field) in enumerate(fields.items()):
        if field is integer:
            found[name] = np.repeat(np.array([row[nth] for row in read], np.int64), sizes)
        else:
            found[name] = np.concatenate([np.empty(0, np.int64), *(row[nth] for row in read)]).astype(np.int64)
    return found


def _seen(columns: dict[str, Ints]) -> Rows:
    """The same as they are in memory."""
    found = np.zeros(len(columns["asset"]), _SEEN)
    for name in ("asset", "device", *_MEASURED, "batch", "seen"):
        found[name] = columns[name]
    found["time_ms"] = time_ms_of(columns["time"])
    return found


async def _doubts(connection: Connection, unfiled: int) -> Rows:
    if unfiled == 0:
        return np.empty(0, _DOUBT)
    return rows_of(await copied(connection, "load_doubts_of_unfiled"), _DOUBT)


def _moved_on(filed: Rows, more: Rows) -> Rows:
    """The newest of all; filed: one for each asset."""
    moves = np.zeros(1 + max(int(each["asset"].max(initial=0)) for each in (filed, more)), np.bool_)
    moves[more["asset"]] = True
    moved = moves[filed["asset"]]
    return np.concatenate([filed[~moved], newest_of(np.concatenate([filed[moved], more]))])


def newest_of(some: Rows) -> Rows:
    """Of each asset its newest fix, of those equal in time and place the first; with the highest batch of all."""
    if not len(some):
        return some
    size = int(some["asset"].max()) + 1
    latest_ms, seen = np.full(size, np.iinfo(np.int64).min), np.full(size, -1, np.int64)
    np.maximum.at(latest_ms, some["asset"], some["time_ms"])
    np.maximum.at(seen, some["asset"], some["seen"])
    some = some[some["time_ms"] == latest_ms[some["asset"]]]
    alone = np.bincount(some["asset"])[some["asset"]] == 1
    found = np.concatenate([some[alone], _firsts(some[~alone])])
    found["seen"] = seen[found["asset"]]
    return found


def _firsts(some: Rows) -> Rows:
    """Of each asset the last place, and of fixes there the first."""
    order = np.lexsort(
        (
            *(some[name] for name in ("batch", "accuracy", "course", "speed", "alt")),
            -some["lat"].astype(np.int64),
            -some["lon"].astype(np.int64),
            some["asset"],
        )
    )
    order = order[np.diff(some["asset"][order], prepend=-1) != 0]
    return np.asarray(some[order])


def _is_among(unfiled: dict[str, Ints], doubts: Rows) -> Mask:
    """Which fixes are doubted."""
    found = np.zeros(len(unfiled["asset"]), np.bool_)
    maybe = np.flatnonzero(np.isin(unfiled["asset"], doubts["asset"]) & np.isin(unfiled["time"], doubts["time"]))
    names = ("asset", "time", "lon", "lat")
    keys = set(zip(*(doubts[name].tolist() for name in names), strict=True))
    found[maybe] = [each in keys for each in zip(*(unfiled[name][maybe].tolist() for name in names), strict=True)]
    return found


async def _attributes(connection: Connection, newest: Rows) -> dict[int, bytes]:
    """Of the newest trusted fixes that have any."""
    unfiled = newest[newest["unfiled"]]
    found = _texts(await connection.fetch(sql("load_filed_attributes")))
    for asset in unfiled["asset"].tolist() if found else ():
        found.pop(asset, None)
    columns = (unfiled[name].tolist() for name in ("asset", "batch", "time_ms", *_MEASURED))
    found |= _texts(await connection.fetch(sql("load_unfiled_attributes"), *columns))
    return found


def _texts(found: Iterable[Record]) -> dict[int, bytes]:
    return {row["asset"]: msgspec.json.format(row["attributes"].encode(), indent=-1) for row in found}
