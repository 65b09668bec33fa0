"""History as a trial of a geofence reads it: where the fixes of some assets are, then windows of them as columns, by
binary COPY of whole arrays. Doubts come as they are stored, so that nothing is doubted again.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.backtest import Piece, Span, Stretch
from tracker.domain.batch import Columns, Ints
from tracker.store.database import Connection, Database, Record
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

BUCKETS: Final = 16  # of the journal: an asset is in that of its number's lowest four bits
_PG_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01T00:00:00Z
_HEAD_BYTES: Final = 19  # of a binary COPY: signature, flags, length of the extension
_FIELD: Final = struct.Struct(">i")
_ARRAY_HEAD_BYTES: Final = 20  # dimensions, flags, type, length, lower bound
_COLUMNS: Final = (
    ("time", ">i8"), ("lon", ">i4"), ("lat", ">i4"), ("alt", ">i4"), ("speed", ">i4"), ("course", ">i2"),
    ("accuracy", ">i4"), ("flags", ">i2"),
)  # fmt: skip
_ITEMS: Final = {name: np.dtype([("bytes", ">i4"), ("value", kind)]) for name, kind in _COLUMNS}


@dataclass(frozen=True, slots=True)
class Copied:
    """Windows as they came from the database, to be made columns beside the loop."""

    windows: Sequence[tuple[int, Stretch]]
    parts: Sequence[bytes]
    doubts: Sequence[Record]


async def pieces(database: Database, assets: Sequence[int], span: Span) -> dict[int, list[Piece]]:
    """Where the fixes of some assets of one bucket are, of each in the order of time."""
    rows = await database.rows("backtest_pieces", assets, *map(to_datetime, span), assets[0] % BUCKETS)
    found: dict[int, list[Piece]] = defaultdict(list)
    for row in rows:
        box = row["west"], row["south"], row["east"], row["north"]
        found[row["asset"]].append(Piece(to_ms(row["t0"]), to_ms(row["t1"]), row["n"], box, row["sure"]))
    return found


async def fixes(database: Database, windows: Sequence[tuple[int, Stretch]]) -> Copied:
    """The fixes of some assets of one bucket in these stretches of each, all of one moment."""
    asset = [number for number, _ in windows]
    since, until = ([to_datetime(each[end]) for _, each in windows] for end in (0, 1))
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        filed = await _copy(connection, "backtest_filed", asset, since, until)
        unfiled = await _copy(connection, "backtest_unfiled", asset, since, until, asset[0] % BUCKETS)
        doubts = await connection.fetch(sql("backtest_doubts"), asset, min(since), max(until))
    return Copied(windows, [filed, unfiled], doubts)


async def _copy(connection: Connection, name: str, *args: object) -> bytes:
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    await connection.copy_from_query(sql(name), *args, output=take, format="binary")
    return b"".join(parts)


def columns_of(copied: Copied) -> Columns:
    """In no order; flags of every kind, no devices."""
    pieces = [each for part in copied.parts for each in _pieces(part, copied.windows)]
    size = [len(each["time"]) for _, each in pieces]
    asset = np.repeat(np.array([number for number, _ in pieces], np.int32), size)

    def column(name: str, kind: Any) -> NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *(each[name] for _, each in pieces)]).astype(kind)

    names = {"alt": np.int32, "speed": np.int32, "course": np.int16, "accuracy": np.int32}
    time_ms, lon, lat = (
        column("time", np.int64) // 1000 + _PG_EPOCH_MS,
        column("lon", np.int32),
        column("lat", np.int32),
    )
    flags = column("flags", np.int16)
    _doubt(flags, copied.doubts, asset, time_ms, lon, lat)
    return Columns(
        asset=asset,
        device=np.zeros(len(asset), np.int32),
        time_ms=time_ms,
        lon=lon,
        lat=lat,
        flags=flags,
        attributes=None,
        **{name: column(name, kind) for name, kind in names.items()},
    )


def _pieces(data: bytes, windows: Sequence[tuple[int, Stretch]]) -> Iterator[tuple[int, dict[str, Ints]]]:
    """(asset, columns) of each row, cut to its window."""
    at = _HEAD_BYTES
    while int.from_bytes(data[at : at + 2], signed=True) > 0:
        at += 2
        window, asset = _int4(data, at), _int4(data, at + 8)
        at += 16
        found: dict[str, Ints] = {}
        for name, item in _ITEMS.items():
            (length,) = _FIELD.unpack_from(data, at)
            head = at + 4 + _ARRAY_HEAD_BYTES
            found[name] = np.frombuffer(data, item, (length - _ARRAY_HEAD_BYTES) // item.itemsize, head)["value"]
            at += 4 + length
        yield asset, _within(found, windows[window - 1][1])


def _int4(data: bytes, at: int) -> int:
    """A field with its length before it."""
    return int(_FIELD.unpack_from(data, at + 4)[0])


def _within(found: dict[str, Ints], stretch: Stretch) -> dict[str, Ints]:
    first, last = ((end - _PG_EPOCH_MS) * 1000 for end in (stretch.first_ms, stretch.last_ms + 1))
    time_us = found["time"]
    if len(time_us) and time_us[0] >= first and time_us[-1] < last and bool(np.all(time_us[1:] >= time_us[:-1])):
        return found
    kept = (time_us >= first) & (time_us < last)
    return {name: values[kept] for name, values in found.items()}


def _doubt(
    flags: NDArray[np.int16], doubts: Sequence[Record], asset: Ints, time_ms: Ints, lon: Ints, lat: Ints
) -> None:
    """Put in what neighbours say: of few fixes."""
    known = {(each["asset"], to_ms(each["time"]), each["lon"], each["lat"]): each["flags"] for each in doubts}
    if not known:
        return
    for row in np.flatnonzero(np.isin(time_ms, [key[1] for key in known])).tolist():
        flags[row] |= known.get((int(asset[row]), int(time_ms[row]), int(lon[row]), int(lat[row])), 0)
