"""What pairs of assets are judged by, as it is stored: fixes, visits with the events that tell of them, marks of
doubts.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from tracker.domain.batch import Floats, Ints
from tracker.domain.geofence import Quality
from tracker.domain.presence import ENTER, EXIT
from tracker.domain.proximity import Proximity, Told
from tracker.store.copy import rows_of, time_ms_of, tuple_dtype
from tracker.store.database import Connection, Record, translated
from tracker.store.rows import copied
from tracker.store.sql import sql
from tracker.wire.rules import around_of, rule_of
from tracker.wire.times import to_datetime, to_ms

_FIX: Final = tuple_dtype(
    [("asset", ">i4"), ("time_us", ">i8"), ("lon", ">i4"), ("lat", ">i4"), ("batch", ">i8"), ("flags", ">i2")]
)


def proximity_of(row: Record) -> Proximity:
    """A geofence around assets from its row."""
    around, rule = around_of(row["options"]), rule_of(row["options"])
    assert around is not None
    return Proximity(
        row["id"],
        row["version"],
        row["name"],
        around,
        row["quality"],
        row["from_batch"],
        tuple(row["tags"]),
        row["attributes"],
        rule.exit_margin_m,
        rule.max_gap_s,
        rule.assets,
        row["options"],
    )


async def load(connection: Connection) -> list[Proximity]:
    """Those in force."""
    with translated():
        return [proximity_of(row) for row in await connection.fetch(sql("load_proximities"))]


async def version(connection: Connection, fence: int, number: int) -> Proximity:
    """One version of a geofence around assets, also of one that was deleted."""
    with translated():
        return proximity_of(await connection.fetchrow(sql("proximity_version"), fence, number))


async def read_fixes(connection: Connection, assets: Ints, quality: Quality, from_ms: Ints, to_ms_: Ints) -> Ints:
    """(5, n) asset, time_ms, lon, lat and batch of what counts for a quality, of each asset between two instants, both
    inclusive.
    """
    spans = list(map(to_datetime, from_ms.tolist())), list(map(to_datetime, to_ms_.tolist()))
    rows = rows_of(await copied(connection, "fixes_of_assets", assets.tolist(), *spans), _FIX)
    if quality == "trusted":
        rows = rows[rows["flags"] == 0]
    columns = (rows["asset"], time_ms_of(rows["time_us"]), rows["lon"], rows["lat"], rows["batch"])
    return np.stack([column.astype(np.int64) for column in columns])


async def assets_in_boxes(connection: Connection, assets: Ints, from_ms: int, to_ms_: int, boxes: Floats) -> Ints:
    """Which of the assets were in one of the boxes, (k, 4) west, south, east, north in degrees, at any time of a
    span.
    """
    west, south, east, north = boxes.T
    with translated():
        rows = await connection.fetch(
            sql("assets_in_box"),
            assets.tolist(),
            to_datetime(from_ms),
            to_datetime(to_ms_),
            west.tolist(),
            east.tolist(),
            float(south.min()),
            float(north.max()),
        )
    return np.array([row["asset"] for row in rows], np.int64)


async def journal_spans(connection: Connection) -> dict[int, tuple[int, int]]:
    """Of the assets in the journal: the times of their first and last fix there."""
    with translated():
        rows = await connection.fetch(sql("journal_spans"))
    return {row["asset"]: (to_ms(row["first_time"]), to_ms(row["last_time"])) for row in rows}


async def newest_fixes(connection: Connection, assets: Ints) -> dict[int, int]:
    """When the newest fix of each of these assets was taken, of those that have any."""
    with translated():
        return {
            row["asset"]: to_ms(row["time"]) for row in await connection.fetch(sql("newest_fixes"), assets.tolist())
        }


async def asset_tags(connection: Connection) -> dict[int, list[tuple[int, frozenset[str]]]]:
    """Of the assets whose tags have changed: which they had for fixes stored from which batch on, in order."""
    with translated():
        rows = await connection.fetch(sql("all_asset_tags"))
    found: dict[int, list[tuple[int, frozenset[str]]]] = {}
    for row in rows:
        found.setdefault(row["asset"], []).append((row["from_batch"], frozenset(row["tags"])))
    return found


class Stay(NamedTuple):
    """A visit of a pair, with the turns that tell of it; id None: not stored yet."""

    id: int | None
    enter: Told
    exit: Told | None = None


Pair = tuple[int, int]  # asset, other


async def stays(
    connection: Connection, fence: Proximity, from_ms: int, assets: Ints
) -> dict[tuple[Pair, int], list[Stay]]:
    """The visits that overlap the time from an instant on of pairs with one of these assets, by pair and the first
    batch that judged it; of this version, in order.
    """
    with translated():
        rows = await connection.fetch(sql("visits_of_pairs"), fence.id, to_datetime(from_ms), assets.tolist())
    found: dict[tuple[Pair, int], list[Stay]] = {}
    for row in rows:
        if row["geofence_version"] == fence.version:
            pair = (row["asset"], row["near"]), row["since_batch"]
            found.setdefault(pair, []).append(_stay(row))
    return found


def _stay(row: Record) -> Stay:
    enter = Told(ENTER, to_ms(row["enter_time"]), row["enter_lon"], row["enter_lat"], row["enter_event"])
    if row["exit_event"] is None:
        return Stay(row["id"], enter)
    return Stay(
        row["id"], enter, Told(EXIT, to_ms(row["exit_time"]), row["exit_lon"], row["exit_lat"], row["exit_event"])
    )


class OpenStay(NamedTuple):
    """A visit of a pair that has no end yet."""

    id: int
    pair: Pair
    fence: int
    fence_name: str
    fence_deleted: bool
    version: int
    since_batch: int
    enter_ms: int
    enter_event: int


async def open_stays(connection: Connection) -> list[OpenStay]:
    with translated():
        rows = await connection.fetch(sql("open_visits_of_pairs"))
    return [
        OpenStay(
            row["id"],
            (row["asset"], row["near"]),
            row["geofence"],
            row["geofence_name"],
            row["deleted"],
            row["geofence_version"],
            row["since_batch"],
            to_ms(row["enter_time"]),
            row["enter_event"],
        )
        for row in rows
    ]


async def doubt_marks(connection: Connection) -> list[tuple[int, int, int]]:
    """(id, asset, time_ms) of fixes that came to be doubted, or no more."""
    with translated():
        return [(row["id"], row["asset"], to_ms(row["time"])) for row in await connection.fetch(sql("doubt_marks"))]


async def record(connection: Connection, recorded_ms: int, found: Mapping[str, Any]) -> None:
    """Write what came of judging pairs, within the caller's transaction; the function says in which form."""
    with translated():
        await connection.execute(sql("record_proximity"), recorded_ms, found)
