"""Where an asset was, read in windows: no connection and no snapshot is held while a slow caller takes its time.

A fix never changes its time, so that windows of time see each exactly once, whatever is filed or sealed meanwhile. Each
window is one statement: journal, pieces, sealed days and doubts of one moment, as columns.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns
from tracker.store import fixes
from tracker.store.database import Database, Record
from tracker.store.rows import NUMBERS, Fixes
from tracker.wire.times import to_datetime, to_ms

WINDOW_FIXES: Final = 50_000
FIXES_HERE: Final = 5_000  # unpacking more is done in a thread: it would hold up everybody
_ORDER: Final = ("batch", "lat", "lon", "time")  # the last one counts most
_KINDS: Final[dict[str, Any]] = {"course": np.int16, "flags": np.int16, "time": np.int64}

Row = Mapping[str, Any]


async def track(database: Database, asset: int, from_ms: int, to_ms_: int, *, trusted: bool) -> AsyncIterator[Columns]:
    """The fixes of an asset between two instants, both inclusive, in event order: windows that have some. Flags are
    those of the fix and of its neighbours together.
    """
    start_ms = from_ms
    while start_ms <= to_ms_:
        parts: list[Record] = await database.rows(
            "track_parts", asset, to_datetime(start_ms), to_datetime(to_ms_), WINDOW_FIXES
        )
        end_ms = to_ms(parts[0]["until"]) if parts else to_ms_
        span = start_ms, end_ms
        if sum(part["n"] for part in parts) <= FIXES_HERE:
            window = _columns(asset, parts, span, trusted=trusted)
        else:
            window = await asyncio.to_thread(_columns, asset, parts, span, trusted=trusted)
        if len(window):
            yield window
        start_ms = end_ms + 1


def _columns(asset: int, parts: Sequence[Record], span: tuple[int, int], *, trusted: bool) -> Columns:
    stored = Fixes.of_parts(parts)
    found = {name: stored.column(name) for name in NUMBERS}
    doubts = {name: found[name][stored.owner == 1] for name in ("time", "lon", "lat", "flags")}
    rows = np.flatnonzero((stored.owner == 0) & (found["time"] >= span[0]) & (found["time"] <= span[1]))
    time = found["time"][rows]
    if not (time[1:] > time[:-1]).all():
        rows = rows[np.lexsort([found[name][rows] for name in _ORDER])]
    kept: dict[str, NDArray[Any]] = {name: found[name][rows].astype(_KINDS.get(name, np.int32)) for name in NUMBERS}
    kept["flags"] |= fixes.doubts_of(doubts, kept["time"], kept["lon"], kept["lat"])
    del kept["batch"]
    attributes = stored.attributes()
    columns = Columns(
        asset=np.full(len(rows), asset, np.int32),
        time_ms=kept.pop("time"),
        attributes=None if attributes is None else [attributes[row] for row in rows.tolist()],
        **kept,
    )
    return columns.take(columns.flags == 0) if trusted else columns


async def visits(
    database: Database,
    asset: int,
    after: tuple[int, int],
    from_ms: int | None,
    to_ms_: int | None,
    geofence: int | None,
    limit: int,
) -> Sequence[Row]:
    """Visits in the order of entering, after the place (enter_time, id)."""
    bounds = (None if from_ms is None else to_datetime(from_ms), None if to_ms_ is None else to_datetime(to_ms_))
    rows: list[Row] = await database.rows(
        "visits_of_asset", asset, to_datetime(after[0]), after[1], *bounds, geofence, limit
    )
    return rows
