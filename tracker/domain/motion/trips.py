"""Trips: what lies between stops and silences, measured by its line. Adds up stretch by stretch and keeps only the end
of the line that is not measured yet.
"""

from dataclasses import dataclass, field

import numpy as np

from tracker.domain.batch import DEGREE, Floats, Mask
from tracker.domain.motion.line import kept, stretch_ends
from tracker.domain.motion.places import UNITS, Places, Rows, lengths_m, no_fixes
from tracker.domain.motion.rule import SHORTEST_CHORD_S, Rule
from tracker.domain.motion.stay import Stretch

Span = tuple[int, int]
Point = tuple[float, float]  # lon, lat in degrees


@dataclass(frozen=True, slots=True)
class Trip:
    """One journey, from the last fix of a stop (or the first after a silence) to the first fix of the next."""

    from_ms: int
    to_ms: int
    start: Point
    end: Point
    distance_m: float
    asked_m: float  # of it, within the span that was asked for
    reach_m: float  # the greatest distance of its line from its start
    max_speed_mps: float
    fixes: int
    line: list[Point]  # as it was measured; empty unless asked for
    open: bool = False  # the newest fix belongs to it
    whole: bool = True  # False: it may have begun before what was read, or go on after it


@dataclass(slots=True)
class _Sums:
    from_ms: int
    to_ms: int
    origin: Places
    start: Point
    end: Point
    distance_m: float = 0.0
    asked_m: float = 0.0
    reach_m: float = 0.0
    told: int = -1  # the fastest that a fix told, in stored units
    chord_mps: float = 0.0
    fixes: int = 1
    line: list[Point] = field(default_factory=list)

    def trip(self, *, is_open: bool) -> Trip:
        fastest = self.chord_mps if self.told < 0 else self.told / 100
        return Trip(
            self.from_ms,
            self.to_ms,
            self.start,
            self.end,
            self.distance_m,
            self.asked_m,
            self.reach_m,
            fastest,
            self.fixes,
            self.line,
            is_open,
        )


@dataclass(frozen=True, slots=True)
class _Edges:
    """The measured line's edges, from row to row, in order."""

    before: Rows
    after: Rows
    length_m: Floats
    asked_m: Floats
    speed_mps: Floats

    def take(self, rows: slice) -> "_Edges":
        return _Edges(
            self.before[rows], self.after[rows], self.length_m[rows], self.asked_m[rows], self.speed_mps[rows]
        )


class Trips:
    """Feed it stretches, take the trips that are over, short ones too. The metres within `asked`, in milliseconds, are
    counted apart: those of spans that follow each other add up.
    """

    def __init__(self, rule: Rule, asked: Span, *, lines: bool = False) -> None:
        self._rule, self._asked, self._lines = rule, asked, lines
        self._fixes = no_fixes()  # from the last that is measured on
        self._stop = np.empty(0, np.int64)
        self._sums: _Sums | None = None

    @property
    def current_from_ms(self) -> int | None:
        """When the trip under way began."""
        return None if self._sums is None else self._sums.from_ms

    @property
    def untold_ms(self) -> int | None:
        """No trip that is still to be told begins before this."""
        if self._sums is not None:
            return self._sums.from_ms
        return int(self._fixes.time_ms[0]) if len(self._fixes) else None

    def feed(self, stretch: Stretch) -> list[Trip]:
        self._fixes = self._fixes.then(stretch.fixes)
        self._stop = np.concatenate([self._stop, stretch.stop])
        return self._measure(ended=False)

    def end(self, *, is_open: bool) -> list[Trip]:
        """What is left; what follows has nothing to do with it."""
        over = [*self._measure(ended=True), *self._over(is_open=is_open)]
        self._fixes, self._stop = no_fixes(), np.empty(0, np.int64)
        return over

    def _over(self, *, is_open: bool = False) -> list[Trip]:
        over = [] if self._sums is None else [self._sums.trip(is_open=is_open)]
        self._sums = None
        return over

    def _measure(self, *, ended: bool) -> list[Trip]:
        newest = len(self._fixes) - 1
        if newest < 1:
            return []
        moves = self._moves()
        turns = np.flatnonzero(np.diff(moves, prepend=False, append=False))
        first, last = turns[::2], turns[1::2]
        over = [] if len(first) and first[0] == 0 else self._over()
        if len(first) == 0:
            self._keep(newest)
            return over
        ends = stretch_ends(self._fixes.time_ms, first, last)
        under_way = last[-1] == newest
        if under_way and not ended:  # its last stretch is not complete
            ends = ends[:-1]
        edges = self._edges(ends, moves)
        cuts = np.searchsorted(edges.before, first).tolist()
        for run, (a, b) in enumerate(zip(cuts, [*cuts[1:], len(edges.before)], strict=True)):
            self._add(int(first[run]), edges.take(slice(a, b)))
            if run < len(cuts) - 1 or not under_way:
                over += self._over()
        self._keep(int(ends[-1]) if under_way else newest)
        return over

    def _keep(self, row: int) -> None:
        self._fixes, self._stop = self._fixes.take(slice(row, None)), self._stop[row:]

    def _moves(self) -> Mask:
        """Of the steps from each fix to the next, those that belong to trips."""
        together = (self._stop[1:] == self._stop[:-1]) & (self._stop[1:] != 0)
        moves: Mask = ~together & (np.diff(self._fixes.time_ms) <= self._rule.gap_ms)
        return moves

    def _edges(self, ends: Rows, moves: Mask) -> _Edges:
        inner = moves[np.minimum(ends[:-1], len(moves) - 1)]
        row = kept(self._fixes, ends[:-1][inner], ends[1:][inner], self._rule.stop_diameter_m)
        before, after = row[:-1], row[1:]
        inner = moves[before]
        before, after = before[inner], after[inner]
        length_m = lengths_m(self._fixes, before, after, self._rule.stop_diameter_m)
        begin, end = self._fixes.time_ms[before], self._fixes.time_ms[after]
        lasts = np.maximum(end - begin, 1)
        within = np.clip(np.minimum(end, self._asked[1]) - np.maximum(begin, self._asked[0]), 0, None)
        speed_mps = length_m / np.maximum(lasts / 1000, SHORTEST_CHORD_S)
        return _Edges(before, after, length_m, length_m * (within / lasts), speed_mps)

    def _add(self, first: int, edges: _Edges) -> None:
        fixes = self._fixes
        if self._sums is None:
            from_ms, start = int(fixes.time_ms[first]), self._point(first)
            line = [start] if self._lines else []
            self._sums = _Sums(from_ms, from_ms, fixes.place[first], start, start, line=line)
        if len(edges.after) == 0:
            return
        sums, last = self._sums, int(edges.after[-1])
        sums.to_ms, sums.end = int(fixes.time_ms[last]), self._point(last)
        sums.distance_m += float(edges.length_m.sum())
        sums.asked_m += float(edges.asked_m.sum())
        away = (fixes.place[edges.after] - sums.origin) * (self._rule.stop_diameter_m / UNITS)
        sums.reach_m = max(sums.reach_m, float((away * away).sum(axis=1).max()) ** 0.5)
        sums.told = max(sums.told, int(fixes.speed[first : last + 1].max()))
        sums.chord_mps = max(sums.chord_mps, float(edges.speed_mps.max()))
        sums.fixes += last - first
        if self._lines:
            sums.line += [self._point(row) for row in edges.after.tolist()]

    def _point(self, row: int) -> Point:
        return int(self._fixes.lon[row]) / DEGREE, int(self._fixes.lat[row]) / DEGREE
