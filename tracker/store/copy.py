"""PostgreSQL's binary COPY format from numpy columns: rows of scalars and one-dimensional arrays.

Only what the journal needs. Format: PostgreSQL manual, "COPY", "Binary Format"; arrays as array_send writes them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">II", 0, 0)
TRAILER: Final = struct.pack(">h", -1)
NULL: Final = struct.pack(">i", -1)

_INT2_OID, _INT4_OID, _INT8_OID, _TIMESTAMPTZ_OID, _JSONB_OID = 21, 23, 20, 1184, 3802
PG_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01T00:00:00Z

_ARRAY_HEAD = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class Items:
    """Integers as elements of arrays, encoded once: any stretch of them is a field."""

    data: bytes
    width: int
    oid: int

    def array(self, start: int, end: int) -> bytes:
        """A field that holds those from start to end (excluded) as an array without nulls."""
        item = 4 + self.width
        return _head(self.oid, item, end - start) + self.data[start * item : end * item]


@lru_cache(1_000)  # nearly all arrays are short: a batch has dozens, of a few lengths
def _head(oid: int, item: int, n: int) -> bytes:
    """What stands before n items."""
    if n == 0:
        return _LENGTH.pack(12) + struct.pack(">iiI", 0, 0, oid)
    return _LENGTH.pack(20 + n * item) + _ARRAY_HEAD.pack(1, 0, oid, n, 1)


_ITEM: Final = {width: np.dtype([("length", ">i4"), ("value", f">i{width}")]) for width in (2, 4, 8)}


def _items(columns: NDArray[np.generic], width: int, oid: int) -> list[Items]:
    """Of each row of a matrix, which holds the values of one column."""
    out = np.empty(columns.shape, _ITEM[width])
    out["length"] = width
    out["value"] = columns
    return [Items(column.tobytes(), width, oid) for column in out]


def int2_items(columns: NDArray[np.generic]) -> list[Items]:
    return _items(columns, 2, _INT2_OID)


def int4_items(columns: NDArray[np.generic]) -> list[Items]:
    return _items(columns, 4, _INT4_OID)


def int8_items(columns: NDArray[np.generic]) -> list[Items]:
    return _items(columns, 8, _INT8_OID)


def time_items(epoch_ms: NDArray[np.int64]) -> Items:
    """Values of type timestamptz from epoch milliseconds."""
    [items] = _items(((epoch_ms - PG_EPOCH_MS) * 1000)[np.newaxis], 8, _TIMESTAMPTZ_OID)
    return items


def jsonb_array(values: Sequence[bytes | None]) -> bytes:
    """A jsonb[] from JSON texts; None is null."""
    items = b"".join(NULL if v is None else _LENGTH.pack(len(v) + 1) + b"\x01" + v for v in values)
    return _LENGTH.pack(20 + len(items)) + _ARRAY_HEAD.pack(1, 1, _JSONB_OID, len(values), 1) + items


def int2(value: int) -> bytes:
    return struct.pack(">ih", 2, value)


def int4(value: int) -> bytes:
    return struct.pack(">ii", 4, value)


def int8(value: int) -> bytes:
    return struct.pack(">iq", 8, value)


def timestamp(epoch_ms: int | None) -> bytes:
    """A timestamptz from epoch milliseconds; None is null."""
    return NULL if epoch_ms is None else struct.pack(">iq", 8, (epoch_ms - PG_EPOCH_MS) * 1000)


def tuple_dtype(fields: Sequence[tuple[str, str]]) -> np.dtype[Any]:
    """A row of binary COPY whose fields are not null and of fixed width: each has its length before it."""
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in fields:
        parts += [(f"{name}_bytes", ">i4"), (name, kind)]
    return np.dtype(parts)


def rows_of(data: bytes, kind: np.dtype[Any]) -> NDArray[np.void]:
    """The rows of a whole binary COPY, all of one fixed width."""
    return np.frombuffer(data[len(HEADER) : -len(TRAILER)], kind)


def time_ms_of(time_us: NDArray[np.generic]) -> NDArray[np.int64]:
    """Epoch milliseconds of timestamptz values as they are sent."""
    return time_us.astype(np.int64) // 1000 + PG_EPOCH_MS


def row(fields: Sequence[bytes]) -> bytes:
    return struct.pack(">h", len(fields)) + b"".join(fields)
