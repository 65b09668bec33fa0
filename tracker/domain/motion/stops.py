"""Stops, added up stretch by stretch: what a stop of a month costs in memory is one row."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tracker.domain.batch import Mask
from tracker.domain.motion.places import UNITS, Fixes, lon_lat
from tracker.domain.motion.rule import Rule
from tracker.domain.motion.stay import Stretch


@dataclass(frozen=True, slots=True)
class Stop:
    """One stay. The place is the mean of its resting fixes, the radius their root mean square distance from it."""

    from_ms: int
    to_ms: int  # of its last fix
    lon: float
    lat: float
    radius_m: float
    fixes: int
    silent_s: float  # of it, in silences longer than max_gap_s
    open: bool = False  # the newest fix belongs to it
    whole: bool = True  # False: it may have begun before what was read, or go on after it


class _Sums:
    """A stop under way. Its sums are of distances from its first fix, in whole units."""

    def __init__(self, number: int, fixes: Fixes) -> None:
        self.number = number
        self.from_ms = self.to_ms = int(fixes.time_ms[0])
        self.fixes = self.resting = self.silent_ms = 0
        self.square = 0.0
        self._origin = fixes.place[0]
        self._offset = [0, 0, 0]

    def add(self, fixes: Fixes, rests: Mask, gap_ms: int) -> None:
        quiet_ms = np.diff(fixes.time_ms, prepend=self.to_ms)
        self.silent_ms += int(quiet_ms[quiet_ms > gap_ms].sum())
        self.to_ms = int(fixes.time_ms[-1])
        self.fixes += len(fixes)
        offset = fixes.place[rests] - self._origin
        self.resting += len(offset)
        self._offset = [sum_ + more for sum_, more in zip(self._offset, offset.sum(axis=0).tolist(), strict=True)]
        self.square += float((offset.astype(np.float64) ** 2).sum())

    def stop(self, unit_m: float, *, is_open: bool) -> Stop:
        mean = np.array(self._offset) / self.resting
        radius_m = max(self.square / self.resting - float(mean @ mean), 0.0) ** 0.5 * unit_m
        lon, lat = lon_lat(self._origin + mean)
        return Stop(self.from_ms, self.to_ms, lon, lat, radius_m, self.fixes, self.silent_ms / 1000, is_open)


class Stops:
    """Feed it stretches, take the stops that are over."""

    def __init__(self, rule: Rule) -> None:
        self._gap_ms, self._unit_m = rule.gap_ms, rule.stop_diameter_m / UNITS
        self._sums: _Sums | None = None

    @property
    def current_from_ms(self) -> int | None:
        """When the stop under way began."""
        return None if self._sums is None else self._sums.from_ms

    def feed(self, stretch: Stretch) -> list[Stop]:
        over: list[Stop] = []
        cuts = np.flatnonzero(np.diff(stretch.stop, prepend=-1)).tolist()
        for first, last in pairwise([*cuts, len(stretch)]):
            number = int(stretch.stop[first])
            if self._sums is not None and self._sums.number != number:
                over += self.end(is_open=False)
            if number:
                self._add(number, stretch.fixes.take(slice(first, last)), stretch.rests[first:last])
        return over

    def end(self, *, is_open: bool) -> list[Stop]:
        """The stop under way, if there is one; what follows has nothing to do with it."""
        over = [] if self._sums is None else [self._sums.stop(self._unit_m, is_open=is_open)]
        self._sums = None
        return over

    def _add(self, number: int, fixes: Fixes, rests: Mask) -> None:
        if self._sums is None:
            self._sums = _Sums(number, fixes)
        self._sums.add(fixes, rests, self._gap_ms)
