"""Where the fleet was at an instant, as `fleet_at` says it in SQL, but as columns, and with the sealed rows of many
assets unpacked at once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np

from tracker.domain.batch import DEGREE, NUMBERS, Columns, Mask
from tracker.domain.fix import OLDEST_MS
from tracker.store.copy import time_ms_of
from tracker.store.database import Connection, Database, Record
from tracker.store.packing import ROWS_AT_ONCE, Int64s, Reader
from tracker.store.rows import bits, int2s, int4s, int8s, jsons
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

Box = tuple[float, float, float, float]  # west, south, east, north in degrees; west > east crosses the antimeridian

ASSETS_AT_ONCE: Final = 2_500  # of sealed rows: while some are unpacked the database finds the next
_EVER_MS: Final = OLDEST_MS - 86_400_000
_PICKED: Final = ("device", "lon", "lat", "alt", "speed", "course", "accuracy")
_KINDS: Final[dict[str, Any]] = {"time_ms": np.int64, "course": np.int16, "flags": np.int16}


@dataclass(frozen=True, slots=True)
class Moment:
    """The newest trusted fix of some assets: name and tags by number, and the fixes in the order of their numbers."""

    names: Mapping[int, tuple[str, Sequence[str]]]
    fixes: Columns


async def positions_at(database: Database, at_ms: int, box: Box | None) -> Moment:
    """Where every asset was that is there today, within a box if one is given."""
    at = to_datetime(at_ms)
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        names = {each["id"]: (each["name"], each["tags"]) for each in await connection.fetch(sql("assets_today"))}
        loose = _loose(await connection.fetchrow(sql("loose_columns_at"), at))
        found = _newest([loose, *await _sealed(connection, list(names), loose, at)])
    shown = np.isin(found.asset, list(names))
    if box is not None:
        shown &= _inside(found, box)
    return Moment(names, found.take(shown))


def _loose(row: Record) -> Columns:
    """What journal and pieces know."""
    kinds = {name: int2s if name == "course" else int4s for name in ("asset", *_PICKED)}
    found = {name: _array(read, row[name]) for name, read in kinds.items()}
    extra = row["attributes"]
    return _columns(
        {**found, "time_ms": time_ms_of(_array(int8s, row["time"]))},
        None if extra is None else jsons(extra, 0, len(extra)),
    )


def _array(read: Any, data: bytes | None) -> Any:
    data = data or b""
    return read(data, 0, len(data))


def _columns(found: Mapping[str, Any], attributes: Sequence[bytes | None] | None) -> Columns:
    flags = np.zeros(len(found["asset"]), np.int16)
    every = {**found, "flags": flags}
    return Columns(**{name: every[name].astype(_KINDS.get(name, np.int32)) for name in NUMBERS}, attributes=attributes)


def _newest(parts: Sequence[Columns]) -> Columns:
    """The newest fix of each asset, in event order."""
    every = {name: np.concatenate([getattr(part, name) for part in parts]) for name in NUMBERS}
    attributes = None
    if any(part.attributes is not None for part in parts):
        attributes = [each for part in parts for each in part.attributes or [None] * len(part)]
    order = np.lexsort([every[name] for name in ("lat", "lon", "time_ms", "asset")])
    asset = every["asset"][order]
    last = np.append(asset[1:] != asset[:-1], True)[: len(asset)]
    return Columns(**every, attributes=attributes).take(order[last])


# Sealed days ---------------------------------------------------------------------------------------------------------


async def _sealed(connection: Connection, assets: Sequence[int], loose: Columns, at: datetime) -> list[Columns]:
    """What the sealed days know, of the assets of which they may know something newer."""
    since = dict(zip(loose.asset.tolist(), loose.time_ms.tolist(), strict=True))
    found, waiting = list[Columns](), None
    for first in range(0, len(assets), ASSETS_AT_ONCE):
        some = assets[first : first + ASSETS_AT_ONCE]
        begin = [since.get(asset, _EVER_MS) for asset in some]
        rows = await connection.fetch(sql("sealed_rows_at"), some, begin, at)
        doubts = await _doubts(connection, some, rows, at)
        if waiting is not None:
            found.append(await waiting)
        waiting = asyncio.ensure_future(asyncio.to_thread(_unpacked, some, rows, doubts, to_ms(at)))
    if waiting is not None:
        found.append(await waiting)
    unsolved = [asset for part in found for asset in part.asset[part.flags != 0].tolist()]
    rows = [
        row
        for asset in unsolved
        for row in await connection.fetch(sql("sealed_at"), asset, at, to_datetime(since.get(asset, _EVER_MS)))
    ]
    return [*(part.take(part.flags == 0) for part in found), _looked_up(rows)]


Place = tuple[int, int, int]  # time_ms, lon, lat


async def _doubts(
    connection: Connection, assets: Sequence[int], rows: Sequence[Record], at: datetime
) -> dict[int, list[Place]]:
    """The doubted fixes of doubtful rows, by their numbers."""
    doubtful = [row for row in rows if row["doubtful"]]
    found: dict[int, list[Place]] = {row["nth"]: [] for row in doubtful}
    if doubtful:
        spans = [assets[row["nth"] - 1] for row in doubtful], [row["t0"] for row in doubtful]
        for each in await connection.fetch(sql("doubts_of_spans"), *spans, at):
            place = to_ms(each["time"]), each["lon"], each["lat"]
            found[doubtful[each["nth"] - 1]["nth"]].append(place)
    return found


def _unpacked(assets: Sequence[int], rows: Sequence[Record], doubts: Mapping[int, list[Place]], at_ms: int) -> Columns:
    """Of each row its newest fix that is trusted and not after an instant; flagged where it has none."""
    if not rows:
        return _columns({name: np.empty(0, np.int64) for name in ("asset", "time_ms", *_PICKED)}, None)
    reader = Reader([bits(row["bits"], 0, len(row["bits"])) for row in rows], [row["n"] for row in rows])
    t0_ms = np.array([to_ms(row["t0"]) for row in rows], np.int64)
    blocks = np.array_split(np.arange(len(rows)), -(-len(rows) // ROWS_AT_ONCE))
    own = [doubts.get(row["nth"], []) for row in rows]
    place = np.concatenate([_places(reader.take(some), at_ms, t0_ms[some], [own[i] for i in some]) for some in blocks])
    there = np.maximum(place, 0)
    found = {name: reader.pick(name, there) for name in _PICKED}
    found["time_ms"] = t0_ms + reader.pick("time", there)
    found["asset"] = np.array([assets[row["nth"] - 1] for row in rows], np.int64)
    columns = _columns(found, _attributes(rows, reader.pick("extra", there)))
    return replace(columns, flags=(place < 0).astype(np.int16))


def _places(reader: Reader, at_ms: int, t0_ms: Int64s, doubts: Sequence[Sequence[Place]]) -> Int64s:
    """Where in each row the newest fix is that is trusted and not after an instant; -1: nowhere."""
    time = reader.table("time")
    place = np.arange(time.shape[1])
    seen = (time <= at_ms - t0_ms[:, None]) & (place < reader.rows.size[:, None])
    flags = reader.table("flags")
    if flags.any():
        seen &= flags == 0
    doubtful = [row for row, own in enumerate(doubts) if own]
    if doubtful:
        some = reader.take(np.array(doubtful))
        for row, lon, lat in zip(doubtful, some.table("lon"), some.table("lat"), strict=True):
            for doubt in doubts[row]:
                seen[row] &= (time[row] != doubt[0] - t0_ms[row]) | (lon != doubt[1]) | (lat != doubt[2])
    newest: Int64s = np.where(seen, place, -1).max(axis=1)
    return newest


def _attributes(rows: Sequence[Record], extra: Int64s) -> list[bytes | None] | None:
    if not extra.any():
        return None
    kept = zip((row["attributes"] for row in rows), extra.tolist(), strict=True)
    return [jsons(data, 0, len(data))[each - 1] if each else None for data, each in kept]


def _looked_up(rows: Sequence[Record]) -> Columns:
    """Fixes that SQL has found."""
    found = {name: np.array([row[name] for row in rows], np.int64) for name in ("asset", *_PICKED)}
    found["time_ms"] = np.array([to_ms(row["time"]) for row in rows], np.int64)
    texts = [None if row["attributes"] is None else msgspec.json.encode(row["attributes"]) for row in rows]
    return _columns(found, texts if any(texts) else None)


def _inside(fixes: Columns, box: Box) -> Mask:
    west, south, east, north = box
    lon, lat = fixes.lon / DEGREE, fixes.lat / DEGREE
    across = (lon >= west) & (lon <= east) if west <= east else (lon >= west) | (lon <= east)
    inside: Mask = across & (lat >= south) & (lat <= north)
    return inside
