"""Which fixes rest. A fix rests by what lies within `min_stop_s` of it and by the nearest fix beyond: nothing farther
away in time can change it.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Mask
from tracker.domain.motion.places import UNITS, Fixes, Places, Rows
from tracker.domain.motion.rule import Rule

# An evenly filled disc scatters by an eighth of its squared diameter.
_CALM: Final = UNITS * UNITS // 8
_NEAR: Final = UNITS // 4
# Whole sums wrap around at 2^63; what may come near that is no stop, as a sum in floats says well enough.
_SURE: Final = 2.0**62


def within(place: Places, before: Rows, after: Rows, units: int) -> Mask:
    """Which pairs lie within a distance of each other."""
    apart = place[after] - place[before]
    wide = np.abs(apart).max(axis=1, initial=0) > units  # spares the squares from wrapping around
    apart[wide] = 0
    close: Mask = ~wide & (np.einsum("ij,ij->i", apart, apart) <= units * units)
    return close


def resting(fixes: Fixes, first: int, last: int, rule: Rule) -> Mask:
    """Which of the fixes `first` … `last` (exclusive) rest, judged by all."""
    rows = np.arange(first, last)
    time_ms = fixes.time_ms
    ahead = np.searchsorted(time_ms, time_ms[rows] + rule.stop_ms, "left")
    behind = np.searchsorted(time_ms, time_ms[rows] - rule.stop_ms, "right") - 1
    sums = _Sums(fixes.place)
    found = np.zeros(last - first, dtype=np.bool_)
    complete = ahead < len(fixes)
    found[complete] |= sums.calm(rows[complete], rows[complete], ahead[complete])
    complete = behind >= 0
    found[complete] |= sums.calm(rows[complete], behind[complete], rows[complete])
    return found | _silent(fixes, rule)[first:last]


def _silent(fixes: Fixes, rule: Rule) -> Mask:
    """The ends of silences that end where they began."""
    count = len(fixes)
    ends = np.zeros(count, dtype=np.bool_)
    before = np.flatnonzero(np.diff(fixes.time_ms) >= rule.stop_ms)
    before = before[within(fixes.place, before, before + 1, UNITS)]
    ends[before] = ends[before + 1] = True
    return ends


class _Sums:
    """Running sums over fixes, so that the scatter of any window of them takes a few additions."""

    def __init__(self, place: Places) -> None:
        self.place = place - place[:1]
        squares = self.place * self.place
        about = self.place.astype(np.float64)
        self._sum = _running(self.place)
        self._square = _running(squares.sum(axis=1))
        self._about = _running(about)
        self._about_square = _running(np.einsum("ij,ij->i", about, about))

    def calm(self, row: Rows, first: Rows, last: Rows) -> Mask:
        """Whether the window `first` … `last` (inclusive) scatters little, and `row` lies near its middle."""
        last = last + 1
        count = last - first
        sum_ = self._sum[last] - self._sum[first]
        about = self._about[last] - self._about[first]
        about_spread = count * (self._about_square[last] - self._about_square[first]) - np.einsum(
            "ij,ij->i", about, about
        )
        spread = count * (self._square[last] - self._square[first]) - np.einsum("ij,ij->i", sum_, sum_)
        calm: Mask = (about_spread < _SURE) & (spread <= count * count * _CALM)
        off = (self.place[row] - sum_ / count[:, None])[calm]
        calm[calm] = np.einsum("ij,ij->i", off, off) <= _NEAR * _NEAR
        return calm


def _running(values: NDArray[Any]) -> NDArray[Any]:
    total = np.zeros((len(values) + 1, *values.shape[1:]), values.dtype)
    np.cumsum(values, axis=0, out=total[1:])
    return total
