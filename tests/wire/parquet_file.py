"""Reads the Parquet that we write, from the format's own words: Thrift's compact protocol, plain pages, gzip."""

import struct
import zlib
from typing import Any

import numpy as np

from tests.varint import read_varint

Struct = dict[int, Any]


def read(data: bytes) -> dict[str, list[Any]]:
    """Columns by name, in order; what is absent is None."""
    assert data[:4] == data[-4:] == b"PAR1"
    (length,) = struct.unpack("<I", data[-8:-4])
    footer, end = _struct(data, len(data) - 8 - length)
    assert end == len(data) - 8
    columns: dict[str, list[Any]] = {element[4].decode(): [] for element in footer[2][1:]}
    for group in footer[4]:
        for element, chunk in zip(footer[2][1:], group[1], strict=True):
            about = chunk[3]
            assert about[3] == [element[4]]
            head, at = _struct(data, about[9])
            page = zlib.decompress(data[at : at + head[3]], 31)
            assert (len(page), at + head[3] - about[9], head[5][1]) == (head[2], about[7], group[3])
            columns[element[4].decode()] += _values(element, group[3], page)
    assert {len(values) for values in columns.values()} == {footer[3]}
    return columns


def _values(element: Struct, count: int, page: bytes) -> list[Any]:
    there = [True] * count
    if element[3] == 1:
        (length,) = struct.unpack_from("<I", page)
        there, page = _levels(page[4 : 4 + length], count), page[4 + length :]
    if element[1] == 6:
        known, at = [], 0
        while at < len(page):
            (length,) = struct.unpack_from("<I", page, at)
            known.append(page[at + 4 : at + 4 + length].decode())
            at += 4 + length
    else:
        known = np.frombuffer(page, {2: "<i8", 5: "<f8"}[element[1]]).tolist()
    assert len(known) == sum(there)
    waiting = iter(known)
    return [next(waiting) if each else None for each in there]


def _levels(data: bytes, count: int) -> list[bool]:
    head, at = read_varint(data, 0)
    if head & 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=at), bitorder="little")
        assert len(bits) == (head >> 1) * 8
        return [bool(bit) for bit in bits[:count]]
    assert (head >> 1, len(data)) == (count, at + 1)
    return [bool(data[at])] * count


def _struct(data: bytes, at: int) -> tuple[Struct, int]:
    found: Struct = {}
    number = 0
    while data[at]:
        number += data[at] >> 4
        found[number], at = _value(data, at + 1, data[at] & 15)
    return found, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind in (5, 6):
        number, at = read_varint(data, at)
        return (number >> 1) ^ -(number & 1), at
    if kind == 8:
        length, at = read_varint(data, at)
        return data[at : at + length], at + length
    if kind == 12:
        return _struct(data, at)
    assert kind == 9
    count, item = data[at] >> 4, data[at] & 15
    count, at = read_varint(data, at + 1) if count == 15 else (count, at + 1)
    items = []
    for _ in range(count):
        each, at = _value(data, at, item)
        items.append(each)
    return items, at
