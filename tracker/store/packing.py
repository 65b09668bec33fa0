"""The columns of some consecutive fixes as a string of bits, and back: what a row of the table `sealed` holds.

Numbers keep their order and every value, whatever it is. The format stands at the SQL function `unseal`, which reads
the same bits; here many rows are packed and unpacked at once.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32

Int64s = NDArray[np.int64]
Kind = TypeVar("Kind", bound=np.generic)

# What is packed, in the order of the format; `extra` is the place of a fix's attributes, from 1.
PACKED: Final = (
    *("time", "batch", "device", "lon", "lat", "alt", "speed", "course", "accuracy", "flags"),
    "extra",
)
UNKNOWN: Final = {
    "alt": UNKNOWN_INT32,
    "speed": UNKNOWN_INT32,
    "course": UNKNOWN_INT16,
    "accuracy": UNKNOWN_INT32,
}
PLAIN: Final = {"device", "flags", "extra"}  # without steps
WIDTH: Final = 63  # the part of a kind that is the width in bits
SUMMED: Final = 64  # numbers are differences from a steady step
LEAST_UNKNOWN: Final = 128  # the least value stands for "not known"
_BATCH: Final = PACKED.index("batch")
_HEAD: Final = np.dtype(
    [("columns", [("kind", "u1"), ("base", ">i4"), ("step", ">i4")], len(PACKED)), ("batch_high", ">i4")]
)
_HEAD_BITS: Final = _HEAD.itemsize * 8
ROWS_AT_ONCE: Final = 256  # their columns stay in the processor's cache
_POWERS: Final = 2 ** np.arange(63, dtype=np.int64)
_INT32: Final = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one column of each row is packed, and what is packed of it: residuals (n,) of all rows."""

    kind: Int64s
    base: Int64s
    step: Int64s
    residual: NDArray[np.uint64]


class Rows:
    """Where rows begin among their fixes; no row is empty."""

    def __init__(self, sizes: Sequence[int] | Int64s) -> None:
        self.size = np.asarray(sizes, np.int64)
        self.first = np.cumsum(self.size) - self.size
        self.total = int(self.size.sum())

    def spread(self, each: NDArray[Kind]) -> NDArray[Kind]:
        """One value a row to one a fix."""
        return np.repeat(each, self.size)

    def place(self) -> Int64s:
        """Which fix of its row each is, from 0."""
        return np.arange(self.total) - self.spread(self.first)

    def sums(self, values: Int64s) -> Int64s:
        """Running sums that begin anew in each row."""
        total = np.cumsum(values)
        sums: Int64s = total - self.spread(total[self.first] - values[self.first])
        return sums


# Packing -------------------------------------------------------------------------------------------------------------


def pack(columns: dict[str, Int64s], sizes: Sequence[int] | Int64s) -> list[tuple[int, bytes]]:
    """(length in bits, bytes) of each row. columns: (n,) int64 by name, `time` in ms after the row's t0."""
    rows = Rows(sizes)
    plans = [_plan(rows, name, columns[name]) for name in PACKED]
    width = np.stack([plan.kind & WIDTH for plan in plans])
    bits = _HEAD_BITS + rows.size * width.sum(axis=0)
    words = -(-bits // 64)
    begin = (np.cumsum(words) - words) * 64
    out = np.zeros(int(words.sum()) + 1, np.uint64)
    at = begin + _HEAD_BITS
    place = rows.place()
    for plan, each in zip(plans, width, strict=True):
        wide = rows.spread(each)
        used = wide > 0
        _put(out, (rows.spread(at) + place * wide)[used], plan.residual[used], wide[used])
        at = at + rows.size * each
    data = bytearray(out.astype(">u8").tobytes())
    heads = _heads(plans)
    packed = []
    for row, (start, length) in enumerate(zip((begin // 8).tolist(), bits.tolist(), strict=True)):
        body = data[start + _HEAD.itemsize : start + (length + 7) // 8]
        packed.append((length, heads[row] + bytes(body)))
    return packed


def _plan(rows: Rows, name: str, values: Int64s) -> Plan:
    """The shorter of two ways: the distance from the least, or what differs from a steady step."""
    values, least_unknown = _without_gap(rows, values, UNKNOWN.get(name))
    least = np.minimum.reduceat(values, rows.first)
    over = (values - rows.spread(least)).view(np.uint64)
    plain = _width(np.maximum.reduceat(over, rows.first))
    if name in PLAIN:
        return Plan(plain, least, np.zeros_like(least), over)
    steps = np.diff(values, prepend=values[:1])
    steps[rows.first] = 0
    inner = rows.place() > 0
    low = np.minimum.reduceat(np.where(inner, steps, _INT32.max), rows.first)
    high = np.maximum.reduceat(np.where(inner, steps, _INT32.min), rows.first)
    fits = (rows.size > 1) & (low >= _INT32.min) & (high <= _INT32.max) & (high - low < 2**31)
    step = np.where(fits, low, 0)
    beyond = np.where(inner, steps - rows.spread(step), 0)
    summed = _width(np.where(fits, high - low, 0).view(np.uint64))
    by_steps = fits & (summed < plain) & ~least_unknown
    kind = np.where(by_steps, summed | SUMMED, plain) + LEAST_UNKNOWN * least_unknown
    return Plan(
        kind,
        np.where(by_steps, values[rows.first], least),
        np.where(by_steps, step, 0),
        np.where(rows.spread(by_steps), beyond.view(np.uint64), over),
    )


def _without_gap(rows: Rows, values: Int64s, unknown: int | None) -> tuple[Int64s, NDArray[np.bool_]]:
    """What is not known lies far from what is: where a row has both, it becomes one less than the least known."""
    nowhere = np.zeros(len(rows.size), np.bool_)
    if unknown is None:
        return values, nowhere
    missing = values == unknown
    least = np.minimum.reduceat(np.where(missing, _INT32.max, values), rows.first)
    some = np.logical_or.reduceat(missing, rows.first) & ~np.logical_and.reduceat(missing, rows.first)
    return np.where(missing & rows.spread(some), rows.spread(least) - 1, values), some


def _width(greatest: NDArray[np.uint64]) -> Int64s:
    """The bits that a number needs; none has more than 63."""
    return np.searchsorted(_POWERS, greatest.view(np.int64), side="right").astype(np.int64)


def _put(out: NDArray[np.uint64], at: Int64s, values: NDArray[np.uint64], width: Int64s) -> None:
    """Write each value in `width` bits, most significant first, at its place; places ascend and do not overlap."""
    if not len(at):
        return
    word, room = at >> 6, 64 - (at & 63)
    over = width - room
    inside = over <= 0
    shift = np.abs(over).astype(np.uint64)
    head = np.where(inside, values << shift, values >> shift)
    first = np.flatnonzero(np.diff(word, prepend=-1))
    out[word[first]] |= np.bitwise_or.reduceat(head, first)
    rest = ~inside
    out[word[rest] + 1] |= values[rest] << (64 - over[rest]).astype(np.uint64)


def _heads(plans: Sequence[Plan]) -> list[bytes]:
    heads = np.zeros(len(plans[0].kind), _HEAD)
    for number, plan in enumerate(plans):
        heads["columns"]["kind"][:, number] = plan.kind
        heads["columns"]["base"][:, number] = plan.base.astype(np.int32)  # of batch the lower half
        heads["columns"]["step"][:, number] = plan.step
    heads["batch_high"] = plans[_BATCH].base >> 32
    data = heads.tobytes()
    return [data[start : start + _HEAD.itemsize] for start in range(0, len(data), _HEAD.itemsize)]


# Unpacking -----------------------------------------------------------------------------------------------------------


def unpack(packed: Sequence[bytes], sizes: Sequence[int] | Int64s, names: Sequence[str] = PACKED) -> dict[str, Int64s]:
    """The columns of some rows, one row after the other; `time` in ms after each row's t0."""
    reader = Reader(packed, sizes)
    return {name: reader.column(name) for name in names}


class Reader:
    """Rows as they are stored, of which columns are read one by one."""

    def __init__(self, packed: Sequence[bytes], sizes: Sequence[int] | Int64s) -> None:
        self.rows = Rows(sizes)
        data = b"".join([*packed, bytes(16)])
        length = np.fromiter(map(len, packed), np.int64, len(packed))
        begin = np.cumsum(length) - length
        head = np.frombuffer(data, np.uint8)[begin[:, None] + np.arange(_HEAD.itemsize)].view(_HEAD)[:, 0]
        self._columns = head["columns"]
        self._batch_high = head["batch_high"].astype(np.int64)
        # A view of eight bytes that begins at every byte.
        self._words: NDArray[Any] = np.ndarray((len(data) - 8,), ">u8", data, 0, (1,))
        self._width = (self._columns["kind"] & WIDTH).astype(np.int64)
        before = np.cumsum(self._width, axis=1) - self._width
        self._at = begin[:, None] * 8 + _HEAD_BITS + self.rows.size[:, None] * before

    def take(self, rows: Int64s) -> "Reader":
        """Some of its rows."""
        part = copy(self)
        part.rows = Rows(self.rows.size[rows])
        part._columns, part._batch_high = self._columns[rows], self._batch_high[rows]  # noqa: SLF001 - its own kind
        part._at, part._width = self._at[rows], self._width[rows]  # noqa: SLF001
        return part

    def pick(self, name: str, place: Int64s) -> Int64s:
        """One value of each row, that of the fix at a place, counting from 0: read alone where it stands alone."""
        number = PACKED.index(name)
        values = self._values(name, np.arange(len(place)), place[:, None])[:, 0]
        summed = np.flatnonzero(self._columns["kind"][:, number] & SUMMED)
        if len(summed):
            # In the order of places, as what is read of some rows at once is as long as the longest of them.
            summed = summed[np.argsort(place[summed], kind="stable")]
            for first in range(0, len(summed), ROWS_AT_ONCE):
                some = summed[first : first + ROWS_AT_ONCE]
                table = self._values(name, some, np.arange(place[some[-1]] + 1)[None, :])
                values[some] = table[np.arange(len(some)), place[some]]
        return values

    def table(self, name: str) -> Int64s:
        """(rows, fixes of the longest): no column but batch. What stands beyond the end of a row means nothing."""
        return self._values(name, np.arange(len(self.rows.size)), np.arange(self.rows.size.max())[None, :])

    def _values(self, name: str, rows: Int64s, place: Int64s) -> Int64s:
        """The fixes at some places of some rows: (rows, places). Of columns that are summed all from the first on."""
        number = PACKED.index(name)
        kind, width = self._columns["kind"][rows, number, None].astype(np.int64), self._width[rows, number, None]
        head = self._columns[rows]
        if not width.any():
            residual = np.zeros((len(rows), place.shape[1]), np.int64)
        else:
            at = self._at[rows, number, None] + place * width
            words = self._words[np.minimum(at >> 3, len(self._words) - 1)].astype(np.uint64)
            words <<= (at & 7).astype(np.uint64)
            words >>= np.maximum(64 - width, 1).astype(np.uint64)
            words[width[:, 0] == 0] = 0
            residual = words.view(np.int64)
        values = residual
        summed = np.flatnonzero(kind[:, 0] & SUMMED)
        if len(summed):
            steady = (
                head["step"][summed, number, None].astype(np.int64) * np.broadcast_to(place, residual.shape)[summed]
            )
            values = residual.copy()
            values[summed] = np.cumsum(residual[summed], axis=1) + steady
        values = values + head["base"][:, number, None]
        if name in UNKNOWN:
            values = np.where((kind & LEAST_UNKNOWN > 0) & (residual == 0), UNKNOWN[name], values)
        return values

    def column(self, name: str) -> Int64s:
        number, rows = PACKED.index(name), self.rows
        kind = self._columns["kind"][:, number].astype(np.int64)
        base = self._columns["base"][:, number].astype(np.int64)
        if number == _BATCH:
            base = (self._batch_high << 32) | (base & 0xFFFFFFFF)
        residual = self._residuals(number, kind & WIDTH)
        summed = rows.spread(kind & SUMMED > 0)
        if summed.any():
            steady = rows.spread(self._columns["step"][:, number].astype(np.int64)) * rows.place()
            residual = np.where(summed, rows.sums(np.where(summed, residual, 0)) + steady, residual)
        values = rows.spread(base) + residual
        if name in UNKNOWN:
            least_unknown = rows.spread(kind & LEAST_UNKNOWN > 0)
            values = np.where(least_unknown & (residual == 0), UNKNOWN[name], values)
        return values

    def _residuals(self, number: int, width: Int64s) -> Int64s:
        found = np.zeros(self.rows.total, np.int64)
        wide = self.rows.spread(width)
        used = np.flatnonzero(wide)
        if not len(used):
            return found
        each = wide[used]
        at = (self.rows.spread(self._at[:, number]) + self.rows.place() * wide)[used]
        if int(each.max()) <= 56:
            found[used] = self._read(at, each)
        else:  # eight bytes that begin where a number does may not hold all of it
            low = np.minimum(each, 32)
            high = each - low
            upper = np.where(high > 0, self._read(at, np.maximum(high, 1)), 0)
            found[used] = (upper << low) | self._read(at + high, low)
        return found

    def _read(self, at: Int64s, width: Int64s) -> Int64s:
        """At most 57 bits each."""
        words: NDArray[np.uint64] = self._words[at >> 3].astype(np.uint64)
        shifted = (words << (at & 7).astype(np.uint64)) >> (64 - width).astype(np.uint64)
        return shifted.view(np.int64)
