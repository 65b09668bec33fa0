"""The stored fixes of one asset as columns: journal and pieces together, by binary COPY, without a Python object per
fix.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns
from tracker.store.database import Connection, translated
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

_PG_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01T00:00:00Z
_HEAD_BYTES: Final = 19  # signature, flags, length of the extension
_TAIL_BYTES: Final = 2


def _tuple(fields: list[tuple[str, str]]) -> np.dtype[Any]:
    """A row of binary COPY whose fields are not null and of fixed width: each has its length before it."""
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in fields:
        parts += [(f"{name}_bytes", ">i4"), (name, kind)]
    return np.dtype(parts)


_ROW: Final = _tuple(
    [
        ("time_us", ">i8"),
        ("batch", ">i8"),
        ("device", ">i4"),
        ("lon", ">i4"),
        ("lat", ">i4"),
        ("alt", ">i4"),
        ("speed", ">i4"),
        ("course", ">i2"),
        ("accuracy", ">i4"),
        ("flags", ">i2"),
        ("doubt", ">i2"),
    ]
)


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
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    with translated():
        await connection.copy_from_query(
            sql("asset_fixes"),
            asset,
            to_datetime(from_ms),
            to_datetime(to_ms_),
            after_batch,
            output=take,
            format="binary",
        )
    return _stored(asset, b"".join(parts))


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


def _stored(asset: int, data: bytes) -> Stored:
    rows = np.frombuffer(data[_HEAD_BYTES:-_TAIL_BYTES], _ROW)
    time_us = rows["time_us"].astype(np.int64)
    if not (time_us[1:] > time_us[:-1]).all():
        rest = ("batch", "accuracy", "course", "speed", "alt", "lat", "lon")
        rows = rows[np.lexsort([*(rows[name].astype(np.int64) for name in rest), time_us])]
    columns = Columns(
        np.full(len(rows), asset, np.int32),
        rows["device"].astype(np.int32),
        rows["time_us"].astype(np.int64) // 1000 + _PG_EPOCH_MS,
        rows["lon"].astype(np.int32),
        rows["lat"].astype(np.int32),
        rows["alt"].astype(np.int32),
        rows["speed"].astype(np.int32),
        rows["course"].astype(np.int16),
        rows["accuracy"].astype(np.int32),
        rows["flags"].astype(np.int16),
        None,
    )
    return Stored(columns, rows["doubt"].astype(np.int16), rows["batch"].astype(np.int64))
