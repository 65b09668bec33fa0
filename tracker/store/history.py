"""Where an asset was, read in windows: no connection and no snapshot is held while a slow caller takes its time.

A fix never changes its time, so that windows of time see each exactly once, whatever is filed meanwhile.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tracker.store.database import Database
from tracker.wire.times import to_datetime, to_ms

# A window reads every piece that it touches whole, so it should not be much smaller than a piece can be.
WINDOW_FIXES: Final = 20_000
MAX_WINDOW_FIXES: Final = 50_000
FIXES_AT_ONCE: Final = 2_000  # encoding so many holds up nobody for long
DAY_MS: Final = 86_400_000

Row = Mapping[str, Any]


async def track(
    database: Database, asset: int, from_ms: int, to_ms_: int, *, trusted: bool
) -> AsyncIterator[Sequence[Row]]:
    """The fixes of an asset between two instants, both inclusive, in event order, a few thousand at a time."""
    days: list[Row] = await database.rows("track_days", asset, to_datetime(from_ms), to_datetime(to_ms_))
    for day in days:
        windows = max(1, -(-day["fixes"] // WINDOW_FIXES))
        day_ms = to_ms(day["day"])
        for index in range(windows):
            start = max(from_ms, day_ms + DAY_MS * index // windows)
            end = min(to_ms_, day_ms + DAY_MS * (index + 1) // windows - 1)
            if start <= end:
                async for rows in _window(database, asset, to_datetime(start), to_datetime(end), trusted=trusted):
                    for first in range(0, len(rows), FIXES_AT_ONCE):
                        yield rows[first : first + FIXES_AT_ONCE]


async def _window(
    database: Database, asset: int, start: datetime, end: datetime, *, trusted: bool
) -> AsyncIterator[Sequence[Row]]:
    limit = MAX_WINDOW_FIXES
    while start <= end:
        rows: list[Row] = await database.rows("track_fixes", asset, start, end, trusted, limit)
        if len(rows) < limit:
            if rows:
                yield rows
            return
        # Cut short: the last instant may have more fixes than came, so it is left for the next turn.
        last: datetime = rows[-1]["fix_time"]
        whole = [row for row in rows if row["fix_time"] < last]
        if whole:
            yield whole
            start = last
        else:
            limit *= 4


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
