"""Whole numbers from 0 on in seven bits a byte, the least first: what Protocol Buffers, Thrift and Parquet have."""

from typing import Final

import numpy as np
from numpy.typing import NDArray


def _written(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT: Final = [_written(number) for number in range(1 << 14)]  # most are of two bytes at most


def varint(number: int) -> bytes:
    return _SHORT[number] if number < len(_SHORT) else _written(number)


def varints(numbers: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """Many numbers below 2 ** 35, one at least, one after another; and where each ends."""
    size: NDArray[np.int64] = np.ones(len(numbers), np.int64)
    for more in range(1, 5):
        size += (numbers >> 7 * more > 0).astype(np.int64)
    ends = np.cumsum(size)
    out = np.zeros(int(ends[-1]), np.uint8)
    for nth in range(int(size.max())):
        has = np.flatnonzero(size > nth)
        goes_on = np.where(size[has] > nth + 1, 0x80, 0)
        out[(ends - size)[has] + nth] = (numbers[has] >> 7 * nth) & 0x7F | goes_on
    return out.tobytes(), ends
