"""The cells of the map: square parts of the mercator plane, four in each of the next coarser level, numbered along a
Z curve, so that a cell at any level is one range of the numbers of its finest cells.

Pure numbers. Latitudes beyond the plane's edge belong to its outermost row.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, UNKNOWN_INT32, Ints
from tracker.live.latest import Bounds

Keys = NDArray[np.uint64]

FINEST: Final = 18  # 150 m at the equator
ASSET_BITS: Final = 28  # what 64 bits leave beside a finest cell
NOWHERE: Final = np.uint64(2**64 - 1)  # the key of an asset that is in no cell
_HALF: Final = 180 * DEGREE
_SIDE: Final = 1 << FINEST


@dataclass(frozen=True)
class Cover:
    """The cells of one level that a box touches, in the order of the curve."""

    level: int
    codes: Keys

    @property
    def columns(self) -> NDArray[np.uint32]:
        return _gathered(self.codes)

    @property
    def rows(self) -> NDArray[np.uint32]:
        return _gathered(self.codes >> np.uint64(1))

    @cached_property
    def ranges(self) -> Keys:
        """(2, n): the keys from which and up to which, neighbours joined."""
        first = np.ones(len(self.codes), np.bool_)
        first[1:] = np.diff(self.codes) != 1
        last = np.append(first[1:], True)
        return self._keys(np.stack([self.codes[first], self.codes[last] + np.uint64(1)]))

    @property
    def edges(self) -> Keys:
        """(2, cells): the keys from which and up to which, of each cell."""
        return self._keys(np.stack([self.codes, self.codes + np.uint64(1)]))

    def _keys(self, codes: Keys) -> Keys:
        shift = np.uint64(2 * (FINEST - self.level) + ASSET_BITS)
        # The end of the last cell of all is beyond 64 bits, and every key below it.
        ends = codes << shift
        return np.where((codes > 0) & (ends == 0), NOWHERE, ends)


def keys(assets: Ints, lon: NDArray[np.int32], lat: NDArray[np.int32]) -> Keys:
    """What sorts assets along the curve: the finest cell, then the asset."""
    code = _code(_column(lon.astype(np.int64)), _row(lat))
    made = (code << np.uint64(ASSET_BITS)) | assets.astype(np.uint64)
    return np.where(lat == UNKNOWN_INT32, NOWHERE, made)


def assets_of(some: Keys) -> Ints:
    return (some & np.uint64((1 << ASSET_BITS) - 1)).astype(np.int64)


def cover(bounds: Bounds, finest: int, most: int) -> Cover:
    """The cells that a box touches: at this level, or at the finest that needs no more than `most`."""
    west, east = (int(each) for each in _column(np.array([bounds.west, bounds.east], np.int64)))
    # One unit wider: the same latitude may be rounded differently in another array.
    north, south = (int(each) for each in _row(np.array([bounds.north + 1, bounds.south - 1], np.int64)))
    level = min(max(finest, 0), FINEST)
    while True:
        shift = FINEST - level
        width = ((east >> shift) - (west >> shift)) % (1 << level) + 1
        if bounds.west > bounds.east and east >> shift == west >> shift:
            width = 1 << level  # all around, back to the cell of the beginning
        height = (south >> shift) - (north >> shift) + 1
        if width * height <= most or level == 0:
            break
        level -= 1
    columns = ((west >> shift) + np.arange(width)) % (1 << level)
    rows = (north >> shift) + np.arange(height)
    codes = _code(*(each.ravel() for each in np.meshgrid(columns, rows)))
    codes.sort()
    return Cover(level, codes)


def _column(lon: Ints) -> Ints:
    return np.minimum((lon + _HALF) * _SIDE // (2 * _HALF), _SIDE - 1)


def _row(lat: NDArray[np.int32] | Ints) -> Ints:
    radians = np.radians(np.clip(lat / DEGREE, -89.0, 89.0))
    down = 0.5 - np.arcsinh(np.tan(radians)) / (2 * np.pi)
    return np.clip(np.floor(down * _SIDE), 0, _SIDE - 1).astype(np.int64)


_SPREADING: Final = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    )
)


def _code(column: Ints, row: Ints) -> Keys:
    return _spread(column) | (_spread(row) << np.uint64(1))


def _spread(values: Ints) -> Keys:
    """Each bit in every other place."""
    spread = values.astype(np.uint64)
    for shift, mask in _SPREADING:
        spread = (spread | (spread << shift)) & mask
    return spread


def _gathered(codes: Keys) -> NDArray[np.uint32]:
    """Every other bit, side by side."""
    gathered = codes & _SPREADING[-1][1]
    for shift, mask in zip(
        (shift for shift, _ in reversed(_SPREADING)),
        (*(mask for _, mask in reversed(_SPREADING[:-1])), np.uint64(0xFFFFFFFF)),
        strict=True,
    ):
        gathered = (gathered | (gathered >> shift)) & mask
    return gathered.astype(np.uint32)
