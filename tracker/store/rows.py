"""Rows of binary COPY as they come from the database: arrays become numpy columns without a Python object per number.

Journal, pieces and sealed days come in one shape, `STORED`, whichever of them has a fix; what is here makes columns of
it.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.store.copy import HEADER, PG_EPOCH_MS
from tracker.store.database import Connection, Record, translated
from tracker.store.packing import Int64s, Reader
from tracker.store.sql import sql
from tracker.wire.times import to_ms

_ARRAY_HEAD_BYTES: Final = 20  # dimensions, whether there are nulls, type, length, lower bound
_COUNT: Final = struct.Struct(">h")
_LENGTH: Final = struct.Struct(">i")

Field = Callable[[bytes, int, int], Any]  # (data, where it begins, its length in bytes) -> value


def integer(data: bytes, at: int, length: int) -> int:
    """An integer, or a time in µs since 2000."""
    return int.from_bytes(data[at : at + length], signed=True)


def bits(data: bytes, at: int, length: int) -> bytes:
    """A bit string, without its length."""
    return data[at + 4 : at + length]


def _array(kind: str) -> Field:
    item = np.dtype([("bytes", ">i4"), ("value", kind)])

    def read(data: bytes, at: int, length: int) -> NDArray[Any]:
        count = max(0, length - _ARRAY_HEAD_BYTES) // item.itemsize
        return np.frombuffer(data, item, count, at + _ARRAY_HEAD_BYTES if count else 0)["value"]

    return read


int2s, int4s, int8s = (_array(kind) for kind in (">i2", ">i4", ">i8"))


def jsons(data: bytes, at: int, length: int) -> list[bytes | None]:
    """An array of jsonb, each as its text."""
    end, found = at + length, list[bytes | None]()
    at += _ARRAY_HEAD_BYTES
    while at < end:
        (size,) = _LENGTH.unpack_from(data, at)
        at += 4
        found.append(None if size < 0 else data[at + 1 : at + size])  # after the version of the format
        at += max(size, 0)
    return found


def rows(data: bytes, fields: Sequence[Field]) -> Iterator[list[Any]]:
    """The values of each row; None is null."""
    at = len(HEADER)
    while _COUNT.unpack_from(data, at)[0] >= 0:
        at += 2
        row = []
        for field in fields:
            (length,) = _LENGTH.unpack_from(data, at)
            at += 4
            row.append(None if length < 0 else field(data, at, length))
            at += max(length, 0)
        yield row


async def copied(connection: Connection, query: str, *args: object) -> bytes:
    """What a named query answers, as binary COPY."""
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    with translated():
        await connection.copy_from_query(sql(query), *args, output=take, format="binary")
    return b"".join(parts)


# Fixes ---------------------------------------------------------------------------------------------------------------

# A row: a number that says whose it is; of a sealed row t0, n and bits; of any other the arrays.
_ARRAYS: Final[dict[str, Field]] = {
    "time": int8s,
    "batch": int8s,
    **dict.fromkeys(("device", "lon", "lat", "alt", "speed"), int4s),
    "course": int2s,
    "accuracy": int4s,
    "flags": int2s,
}
NUMBERS: Final = tuple(_ARRAYS)
STORED: Final[tuple[Field, ...]] = (integer, integer, integer, bits, *_ARRAYS.values())


class Fixes:
    """Fixes of some rows, in no order: those of sealed rows first. Columns are made when they are asked for."""

    def __init__(self, data: bytes, *, attributes: bool = False) -> None:
        self._hold(list(rows(data, (*STORED, jsons) if attributes else STORED)), attributes=attributes)

    @classmethod
    def of_parts(cls, parts: Sequence[Record]) -> "Fixes":
        """From the rows of the SQL function `track_parts`, with attributes."""
        fixes = cls.__new__(cls)
        fixes._hold([_part(part) for part in parts], attributes=True)  # noqa: SLF001 - its own
        return fixes

    def _hold(self, stored: Sequence[Sequence[Any]], *, attributes: bool) -> None:
        sealed = [row for row in stored if row[3] is not None]
        self._sealed_attributes = [row[-1] for row in sealed] if attributes else []
        self._loose = [row for row in stored if row[3] is None]
        self._t0_ms = np.array([row[1] // 1000 + PG_EPOCH_MS for row in sealed], np.int64)
        self._reader = Reader([row[3] for row in sealed], [row[2] for row in sealed]) if sealed else None
        self.owner = self._spread([row[0] for row in sealed], [row[0] for row in self._loose])

    def __len__(self) -> int:
        return len(self.owner)

    def _spread(self, sealed: Sequence[int], loose: Sequence[int]) -> Int64s:
        sizes = [len(row[4]) for row in self._loose]
        kept = (
            [np.empty(0, np.int64)] if self._reader is None else [self._reader.rows.spread(np.array(sealed, np.int64))]
        )
        return np.concatenate([*kept, np.repeat(np.array(loose, np.int64), sizes)])

    def column(self, name: str) -> Int64s:
        """(n,) int64; `time` in epoch ms."""
        at = 4 + NUMBERS.index(name)
        loose = np.concatenate([np.empty(0, np.int64), *(row[at] for row in self._loose)]).astype(np.int64)
        if name == "time":
            loose = loose // 1000 + PG_EPOCH_MS
        if self._reader is None:
            return loose
        sealed = self._reader.column(name)
        if name == "time":
            sealed = sealed + self._reader.rows.spread(self._t0_ms)
        return np.concatenate([sealed, loose])

    def attributes(self) -> list[bytes | None] | None:
        """Of each fix, as JSON; None when no fix has any."""
        found: list[bytes | None] = []
        if self._reader is not None:
            place = self._reader.column("extra").tolist()
            for own, size in zip(self._sealed_attributes, self._reader.rows.size.tolist(), strict=True):
                found += [own[each - 1] if each else None for each in place[len(found) : len(found) + size]]
        for row in self._loose:
            found += row[-1] or [None] * len(row[4])
        return found if any(each is not None for each in found) else None


def _part(part: Record) -> list[Any]:
    """A row of `track_parts` as one of COPY."""
    t0_us = (to_ms(part["t0"]) - PG_EPOCH_MS) * 1000
    fields = [("bits", bits), *_ARRAYS.items(), ("attributes", jsons)]
    values = [None if (data := part[name]) is None else read(data, 0, len(data)) for name, read in fields]
    return [part["owner"], t0_us, part["n"], *values]
