"""An asset's whole history as columns, some of it at a time: for files that leave the house.

No connection and no snapshot is held while a slow caller takes its time. A fix never changes its time, so that windows
of time see each exactly once, whatever is filed or sealed meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns
from tracker.store import fixes
from tracker.store.database import Database
from tracker.store.rows import NUMBERS, Fixes, copied
from tracker.wire.times import to_datetime

WINDOW_FIXES: Final = 100_000
_ORDER: Final = ("batch", "lat", "lon", "time")  # the last one counts most
_KINDS: Final[dict[str, Any]] = {"course": np.int16, "flags": np.int16, "time": np.int64}


async def columns(
    database: Database, asset: int, from_ms: int, to_ms_: int, *, trusted: bool
) -> AsyncIterator[Columns]:
    """The fixes of an asset between two instants, both inclusive, in event order: windows that have some. Flags of both
    kinds together.
    """
    start_ms = from_ms
    while start_ms <= to_ms_:
        async with database.connection() as connection:
            end_ms = await fixes.until(connection, asset, start_ms, to_ms_, WINDOW_FIXES)
            data = await copied(connection, "export_fixes", asset, to_datetime(start_ms), to_datetime(end_ms))
        window = await asyncio.to_thread(_columns, asset, data, (start_ms, end_ms), trusted=trusted)
        if len(window):
            yield window
        start_ms = end_ms + 1


def _columns(asset: int, data: bytes, span: tuple[int, int], *, trusted: bool) -> Columns:
    stored = Fixes(data, attributes=True)
    found = {name: stored.column(name) for name in NUMBERS}
    doubts = {name: found[name][stored.owner == 1] for name in ("time", "lon", "lat", "flags")}
    rows = np.flatnonzero((stored.owner == 0) & (found["time"] >= span[0]) & (found["time"] <= span[1]))
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
