"""Mapbox Vector Tiles, version 2.1: layers of points, lines and polygons, from whole numbers to bytes.

Only what our tiles have: texts and whole numbers as properties. Nothing is read here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.wire.varint import varint, varints

Part = NDArray[np.int64]  # (n, 2): x, y in units; y grows downwards
Value = str | int

MEDIA_TYPE: Final = "application/vnd.mapbox-vector-tile"
POINT, LINE, POLYGON = 1, 2, 3
_MOVE_TO, _LINE_TO, _CLOSE_PATH = 1, 2, 7


class Layer:
    """Features are added one by one; `encode` is the tile with this one layer."""

    def __init__(self, name: str, extent: int) -> None:
        self._name, self._extent = name, extent
        self._features: list[tuple[int, Sequence[Part], bytes]] = []
        self._keys: dict[str, int] = {}
        self._values: dict[Value, int] = {}

    def add(self, kind: int, parts: Sequence[Part], properties: Mapping[str, Value]) -> None:
        """A feature. Points: each part has one. Rings of polygons: not closed, each exterior before its holes."""
        tags = bytearray()
        for key, value in properties.items():
            tags += varint(self._keys.setdefault(key, len(self._keys)))
            tags += varint(self._values.setdefault(value, len(self._values)))
        self._features.append((kind, parts, bytes(tags)))

    def encode(self) -> bytes:
        """No bytes at all where there is no feature: an empty tile."""
        if not self._features:
            return b""
        layer = [_integer(15, 2), _bytes(1, self._name.encode()), *self._encoded()]
        layer += [_bytes(3, key.encode()) for key in self._keys]
        layer += [_bytes(4, _value(value)) for value in self._values]
        return _bytes(3, b"".join([*layer, _integer(5, self._extent)]))

    def _encoded(self) -> Iterator[bytes]:
        """The features; the places of all of them become bytes at once."""
        sizes = np.array([sum(map(len, parts)) for _, parts, _ in self._features])
        steps = np.diff(
            np.concatenate([part for _, parts, _ in self._features for part in parts]), axis=0, prepend=[[0, 0]]
        )
        begin = np.cumsum(sizes) - sizes
        steps[begin] = [parts[0][0] for _, parts, _ in self._features]  # from the corner of the tile
        data, ends = varints(((steps << 1) ^ (steps >> 63)).ravel())
        places = [0, *ends[1::2].tolist()]
        place = 0
        for kind, parts, tags in self._features:
            shape = bytearray()
            for part in parts:
                start, second, place = place, place + 1, place + len(part)
                shape += _ONE_MOVE + data[places[start] : places[second]]
                if kind != POINT:
                    shape += varint(_LINE_TO | (place - second) << 3) + data[places[second] : places[place]]
                if kind == POLYGON:
                    shape += _CLOSE
            yield _bytes(2, _bytes(2, tags) + _integer(3, kind) + _bytes(4, shape))


# Protocol buffers ----------------------------------------------------------------------------------------------------


_ONE_MOVE: Final = varint(_MOVE_TO | 1 << 3)
_CLOSE: Final = varint(_CLOSE_PATH | 1 << 3)


def _integer(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def _bytes(field: int, data: bytes | bytearray) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def _value(value: Value) -> bytes:
    return _bytes(1, value.encode()) if isinstance(value, str) else _integer(5, value)
