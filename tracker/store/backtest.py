"""History as a trial of a geofence reads it: where the fixes of some assets are, then windows of them as columns, by
binary COPY of whole arrays. Doubts come as they are stored, so that nothing is doubted again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.backtest import Piece, Span, Stretch
from tracker.domain.batch import Columns, Ints
from tracker.store.database import Database, Record
from tracker.store.rows import Fixes, copied
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

BUCKETS: Final = 16  # of the journal: an asset is in that of its number's lowest four bits
_KINDS: Final = {
    **dict.fromkeys(("lon", "lat", "alt", "speed", "accuracy"), np.int32),
    **dict.fromkeys(("course", "flags"), np.int16),
}


@dataclass(frozen=True, slots=True)
class Copied:
    """Windows as they came from the database, to be made columns beside the loop."""

    windows: Sequence[tuple[int, Stretch]]
    data: bytes
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
        data = await copied(connection, "backtest_fixes", asset, since, until, asset[0] % BUCKETS)
        doubts = await connection.fetch(sql("backtest_doubts"), asset, min(since), max(until))
    return Copied(windows, data, doubts)


def columns_of(copied: Copied) -> Columns:
    """In no order; flags of every kind, no devices."""
    fixes = Fixes(copied.data)
    time_ms, window = fixes.column("time"), fixes.owner - 1
    first, last = (
        np.array([getattr(stretch, end) for _, stretch in copied.windows], np.int64) for end in ("first_ms", "last_ms")
    )
    rows = np.flatnonzero((time_ms >= first[window]) & (time_ms <= last[window]))
    numbers = np.array([number for number, _ in copied.windows], np.int32)
    asset, time_ms = numbers[window[rows]], time_ms[rows]
    found: dict[str, NDArray[Any]] = {name: fixes.column(name)[rows].astype(kind) for name, kind in _KINDS.items()}
    _doubt(found["flags"], copied.doubts, asset, time_ms, found["lon"], found["lat"])
    device = np.zeros(len(rows), np.int32)
    return Columns(asset=asset, device=device, time_ms=time_ms, attributes=None, **found)


def _doubt(
    flags: NDArray[np.int16], doubts: Sequence[Record], asset: Ints, time_ms: Ints, lon: Ints, lat: Ints
) -> None:
    """Put in what neighbours say: of few fixes."""
    known = {(each["asset"], to_ms(each["time"]), each["lon"], each["lat"]): each["flags"] for each in doubts}
    if not known:
        return
    for row in np.flatnonzero(np.isin(time_ms, [key[1] for key in known])).tolist():
        flags[row] |= known.get((int(asset[row]), int(time_ms[row]), int(lon[row]), int(lat[row])), 0)
