"""The stored fixes of one asset as columns: journal, pieces and sealed days together, by binary COPY, without a Python
object per fix.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns
from tracker.store.database import Connection, translated
from tracker.store.rows import NUMBERS, Fixes, copied
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

_ORDER: Final = ("batch", "accuracy", "course", "speed", "alt", "lat", "lon", "time")  # the last one counts most
_KINDS: Final = {"course": np.int16, "flags": np.int16, "time": np.int64, "batch": np.int64}


@dataclass(frozen=True, slots=True)
class Stored:
    """Fixes of one asset in event order. columns.flags are those that each fix decided alone; `doubt` (n,) int16 are
    those that its neighbours brought about; `batch` (n,) int64 is where each was stored.
    """

    columns: Columns
    doubt: NDArray[np.int16]
    batch: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def flags(self) -> NDArray[np.int16]:
        """Both kinds together: 0 for a trusted fix."""
        return self.columns.flags | self.doubt

    def take(self, rows: Any) -> "Stored":
        return Stored(self.columns.take(rows), self.doubt[rows], self.batch[rows])


async def read(connection: Connection, asset: int, from_ms: int, to_ms_: int, *, after_batch: int = -1) -> Stored:
    """Every fix of an asset between two instants, both inclusive; with after_batch only what was stored after that."""
    data = await copied(connection, "asset_fixes", asset, to_datetime(from_ms), to_datetime(to_ms_), after_batch)
    return _stored(asset, Fixes(data), from_ms, to_ms_, after_batch)


async def until(connection: Connection, asset: int, from_ms: int, to_ms_: int, fixes: int) -> int:
    """An instant by which about so many fixes have passed, counting from from_ms; to_ms_ at the latest."""
    with translated():
        found = await connection.fetchval(sql("fixes_until"), asset, to_datetime(from_ms), to_datetime(to_ms_), fixes)
    return to_ms(found)


async def any_after(connection: Connection, asset: int, place: tuple[int, ...], before_batch: int) -> bool:
    """Whether fixes that stand after a place in event order were stored before a batch.

    Args:
        place: time_ms, lon, lat, alt, speed, course, accuracy, batch.
    """
    with translated():
        return bool(await connection.fetchval(sql("any_after"), asset, to_datetime(place[0]), *place[1:], before_batch))


def _stored(asset: int, fixes: Fixes, from_ms: int, to_ms_: int, after_batch: int) -> Stored:
    found = {name: fixes.column(name) for name in NUMBERS}
    inside = (found["time"] >= from_ms) & (found["time"] <= to_ms_)
    doubts = {name: found[name][fixes.owner == 1] for name in ("time", "lon", "lat", "flags")}
    rows = np.flatnonzero((fixes.owner == 0) & inside & (found["batch"] > after_batch))
    time = found["time"][rows]
    if not (time[1:] > time[:-1]).all():
        rows = rows[np.lexsort([found[name][rows] for name in _ORDER])]
    kept: dict[str, NDArray[Any]] = {name: found[name][rows].astype(_KINDS.get(name, np.int32)) for name in NUMBERS}
    doubt = doubts_of(doubts, kept["time"], kept["lon"], kept["lat"])
    batch, time_ms = kept.pop("batch"), kept.pop("time")
    columns = Columns(asset=np.full(len(rows), asset, np.int32), time_ms=time_ms, attributes=None, **kept)
    return Stored(columns, doubt, batch)


def doubts_of(doubts: dict[str, Any], time: Any, lon: Any, lat: Any) -> NDArray[np.int16]:
    """What neighbours say of some fixes of one asset; doubts are few."""
    flags = np.zeros(len(time), np.int16)
    if not len(doubts["time"]):
        return flags
    names = ("time", "lon", "lat")
    known = dict(
        zip(zip(*(doubts[name].tolist() for name in names), strict=True), doubts["flags"].tolist(), strict=True)
    )
    rows = np.flatnonzero(np.isin(time, doubts["time"]))
    places = zip(time[rows].tolist(), lon[rows].tolist(), lat[rows].tolist(), strict=True)
    flags[rows] = [known.get(place, 0) for place in places]
    return flags
