"""Parquet files, written one row group after another and never read: only the footer is kept, some bytes a group.

Plain columns of numbers and texts, each of one data page a group, packed with gzip: what every reader knows.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.wire.varint import varint

MAGIC: Final = b"PAR1"
GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31  # of zlib: with the header of gzip

INT64, DOUBLE, TEXT = 2, 5, 6  # physical types
_PLAIN, _RLE = 0, 3  # encodings
_GZIP, _DATA_PAGE = 2, 0
_UTF8, _TIMESTAMP_MILLIS = 0, 9

# Thrift's compact protocol.
_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12
Fields = dict[int, tuple[int, Any]]  # by number: type and value; a list has its type of item before its items


@dataclass(frozen=True, slots=True)
class Column:
    """time: epoch milliseconds in UTC, of INT64."""

    name: str
    type: int
    optional: bool = False
    time: bool = False

    @property
    def schema(self) -> Fields:
        fields: Fields = {1: (_I32, self.type), 3: (_I32, int(self.optional)), 4: (_BINARY, self.name.encode())}
        if self.time:
            fields[6] = _I32, _TIMESTAMP_MILLIS
            fields[10] = _STRUCT, {8: (_STRUCT, {1: (_TRUE, None), 2: (_STRUCT, {1: (_STRUCT, {})})})}
        elif self.type == TEXT:
            fields[6] = _I32, _UTF8
            fields[10] = _STRUCT, {1: (_STRUCT, {})}
        return fields


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a column that are there, all of a group. present (n,): which rows have one; None: all."""

    plain: bytes
    count: int
    present: NDArray[np.bool_] | None = None
    least: bytes = b""  # what readers may leave groups out by
    most: bytes = b""

    @classmethod
    def numbers(cls, values: NDArray[Any], present: NDArray[np.bool_] | None = None) -> "Values":
        """Of INT64 or DOUBLE, by the kind of the array; those that are not present are left out here."""
        kept = values if present is None else values[present]
        data = kept.astype("<i8" if kept.dtype.kind == "i" else "<f8")
        least, most = (data.min().tobytes(), data.max().tobytes()) if len(data) else (b"", b"")
        return cls(data.tobytes(), len(values), present, least, most)

    @classmethod
    def texts(cls, values: Sequence[bytes | None]) -> "Values":
        """UTF-8; None is absent."""
        known = [each for each in values if each is not None]
        present = None if len(known) == len(values) else np.array([each is not None for each in values])
        return cls(b"".join(_LENGTH.pack(len(each)) + each for each in known), len(values), present)


class Writer:
    """begin, any number of groups, end: what they return in this order is the file."""

    def __init__(self, columns: Sequence[Column], created_by: str) -> None:
        self._columns, self._created_by = columns, created_by
        self._groups: list[bytes] = []
        self._rows = self._at = 0

    def begin(self) -> bytes:
        self._at = len(MAGIC)
        return MAGIC

    def group(self, values: Sequence[Values]) -> bytes:
        """The next rows, column by column; all of them have as many."""
        chunks, told, total = [], [], 0
        for column, each in zip(self._columns, values, strict=True):
            page = (_levels(each) if column.optional else b"") + each.plain
            head, packed = _page(each.count, page)
            told.append(_struct(self._chunk(column, each, len(head) + len(page), len(head) + len(packed))))
            self._at += len(head) + len(packed)
            total += len(head) + len(page)
            chunks += [head, packed]
        rows = values[0].count
        self._groups.append(_struct({1: (_LIST, (_STRUCT, told)), 2: (_I64, total), 3: (_I64, rows)}))
        self._rows += rows
        return b"".join(chunks)

    def _chunk(self, column: Column, values: Values, size: int, packed_size: int) -> Fields:
        absent = 0 if values.present is None else int(values.count - values.present.sum())
        statistics: Fields = {3: (_I64, absent)}
        if values.least:
            statistics |= {5: (_BINARY, values.most), 6: (_BINARY, values.least)}
        about: Fields = {
            1: (_I32, column.type),
            2: (_LIST, (_I32, [_PLAIN, _RLE])),
            3: (_LIST, (_BINARY, [column.name.encode()])),
            4: (_I32, _GZIP),
            5: (_I64, values.count),
            6: (_I64, size),
            7: (_I64, packed_size),
            9: (_I64, self._at),
            12: (_STRUCT, statistics),
        }
        return {2: (_I64, self._at), 3: (_STRUCT, about)}

    def end(self) -> bytes:
        root: Fields = {4: (_BINARY, b"schema"), 5: (_I32, len(self._columns))}
        schema = [_struct(fields) for fields in (root, *(column.schema for column in self._columns))]
        by_value = _struct({1: (_STRUCT, {})})
        footer = _struct(
            {
                1: (_I32, 1),
                2: (_LIST, (_STRUCT, schema)),
                3: (_I64, self._rows),
                4: (_LIST, (_STRUCT, self._groups)),
                6: (_BINARY, self._created_by.encode()),
                7: (_LIST, (_STRUCT, [by_value] * len(self._columns))),
            }
        )
        return footer + _LENGTH.pack(len(footer)) + MAGIC


_LENGTH: Final = struct.Struct("<I")


def _page(count: int, page: bytes) -> tuple[bytes, bytes]:
    packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    packed = packer.compress(page) + packer.flush()
    about: Fields = {1: (_I32, count), 2: (_I32, _PLAIN), 3: (_I32, _RLE), 4: (_I32, _RLE)}
    head: Fields = {1: (_I32, _DATA_PAGE), 2: (_I32, len(page)), 3: (_I32, len(packed)), 5: (_STRUCT, about)}
    return _struct(head), packed


def _levels(values: Values) -> bytes:
    """Which rows have a value: one bit each, or one run if all do or none does."""
    present = values.present
    if present is None or present.all() or not present.any():
        runs = varint(values.count << 1) + bytes([present is None or bool(present.any())])
    else:
        bits = np.packbits(present, bitorder="little").tobytes()
        runs = varint(len(bits) << 1 | 1) + bits
    return _LENGTH.pack(len(runs)) + runs


# Thrift --------------------------------------------------------------------------------------------------------------


def _struct(fields: Fields) -> bytes:
    out, last = bytearray(), 0
    for number, (kind, value) in fields.items():
        out.append((number - last) << 4 | kind)  # no field is more than 15 after the one before
        out += _encoded(kind, value)
        last = number
    return bytes(out) + b"\0"


def _encoded(kind: int, value: Any) -> bytes:
    if kind == _STRUCT:
        return value if isinstance(value, bytes) else _struct(value)
    if kind == _BINARY:
        return varint(len(value)) + bytes(value)
    if kind == _LIST:
        item, items = value
        size = bytes([len(items) << 4 | item]) if len(items) < 15 else bytes([0xF0 | item]) + varint(len(items))
        return size + b"".join(_encoded(item, each) for each in items)
    return b"" if kind == _TRUE else varint(value << 1 if value >= 0 else (-value << 1) - 1)
