"""Tracks as a tile shows them: lines between fixes that follow one another, with no more points than can be seen.

All at once on columns, for many assets. Straight lines on the map, the short way round.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Floats, Ints, Mask
from tracker.domain.tile import BUFFER, EXTENT, HALF_PIXEL, Tile

MAX_GAP_MS: Final = 900_000  # after it nobody knows what went on between; trips end there, too
# Simplifying so many points at once cannot take long whatever their shape; the last of each is kept.
_AT_ONCE: Final = 512
_LEAST, _MOST = float(-BUFFER), float(EXTENT + BUFFER)


@dataclass(frozen=True, slots=True)
class Trace:
    """Fixes sorted by asset and in event order: columns (n,). breaks: none leads to the fix before."""

    asset: Ints
    time_ms: Ints
    lon: Ints
    lat: Ints
    breaks: Mask


@dataclass(frozen=True, slots=True)
class Stroke:
    """A stretch of one asset's track in a tile. parts: (n, 2) lines in units, or one point if it does not move."""

    asset: int
    from_ms: int
    to_ms: int
    parts: list[NDArray[np.int64]]

    @property
    def still(self) -> bool:
        return len(self.parts[0]) == 1


@dataclass(frozen=True, slots=True)
class _Line:
    """Points of lines, one line after the other. first: the points that begin one."""

    x: Floats
    y: Floats
    asset: Ints
    time_ms: Ints
    first: Mask

    def take(self, rows: Ints, first: Mask) -> "_Line":
        return _Line(self.x[rows], self.y[rows], self.asset[rows], self.time_ms[rows], first)

    @property
    def number(self) -> Ints:
        """Which line each point is of."""
        return np.cumsum(self.first) - 1


def strokes(tile: Tile, trace: Trace) -> list[Stroke]:
    """What of some tracks is in a tile and a little beyond, simplified to about half a pixel."""
    if not len(trace.asset):
        return []
    line = _simplified(_without_repeats(_near(_placed(tile, trace))))
    if not len(line.x):
        return []
    begin = np.flatnonzero(line.first)
    still = np.ones(len(begin), np.bool_)
    for values in (line.x, line.y):
        still &= np.maximum.reduceat(values, begin) - np.minimum.reduceat(values, begin) <= HALF_PIXEL
    return _stills(line, still) + _lines(line, ~still)


def _placed(tile: Tile, trace: Trace) -> _Line:
    """Lines in units. A chord over the seam, opposite to the tile, is drawn on both sides of it."""
    x, y = tile.places(trace.lon / DEGREE, trace.lat / DEGREE)
    first = trace.breaks.copy()
    first[0] = True
    first[1:] |= (np.diff(trace.asset) != 0) | (np.diff(trace.time_ms) > MAX_GAP_MS)
    world = float(EXTENT << tile.z)
    seam = np.flatnonzero(~first[1:] & (np.abs(np.diff(x)) > world / 2))
    turn = world * np.sign(x[seam + 1] - x[seam])
    at, ends = np.repeat(seam + 1, 2), np.stack([seam + 1, seam], axis=1).ravel()
    beyond = np.stack([x[seam + 1] - turn, x[seam] + turn], axis=1).ravel()
    return _Line(
        np.insert(x, at, beyond),
        np.insert(y, at, y[ends]),
        np.insert(trace.asset, at, trace.asset[ends]),
        np.insert(trace.time_ms, at, trace.time_ms[ends]),
        np.insert(first, at, np.tile([False, True], len(seam))),
    )


def _near(line: _Line) -> _Line:
    """Only points in the tile, and the ends of chords that may pass through."""
    meets = np.ones(len(line.x), np.bool_)
    chord = ~line.first[1:]
    near = chord.copy()
    for values in (line.x, line.y):
        meets &= (values >= _LEAST) & (values <= _MOST)
        near &= (np.maximum(values[1:], values[:-1]) >= _LEAST) & (np.minimum(values[1:], values[:-1]) <= _MOST)
    meets[1:] |= near
    meets[:-1] |= near
    rows = np.flatnonzero(meets)
    first = line.first[rows]
    first[:1] = True
    first[1:] |= (np.diff(rows) > 1) | ~near[rows[1:] - 1]
    return line.take(rows, first)


def _without_repeats(line: _Line) -> _Line:
    """One point for those that follow one another in the same place, but both ends of each line."""
    last = np.append(line.first[1:], True)
    moved = np.ones(len(line.x), np.bool_)
    moved[1:] = (np.diff(np.rint(line.x)) != 0) | (np.diff(np.rint(line.y)) != 0)
    rows = np.flatnonzero(moved | line.first | last)
    return line.take(rows, line.first[rows])


def _simplified(line: _Line) -> _Line:
    """Douglas-Peucker, on stretches of each line that share their ends."""
    count = len(line.x)
    if count == 0:
        return line
    begin = np.flatnonzero(line.first)
    size = np.diff(np.append(begin, count))
    place = np.arange(count) - np.repeat(begin, size)
    joint = (place > 0) & (place % _AT_ONCE == 0)  # ends one stretch and begins the next
    point = np.repeat(np.arange(count), 1 + joint)
    again = np.diff(point, prepend=-1) == 0
    stretch = np.cumsum(line.first[point] & ~again | again) - 1
    long = (np.bincount(stretch) > 2)[stretch]
    chosen, of = point[long], stretch[long]
    lines = shapely.linestrings(
        np.column_stack([line.x[chosen], line.y[chosen], chosen]), indices=np.cumsum(np.diff(of, prepend=-1) > 0) - 1
    )
    simple = shapely.simplify(lines, HALF_PIXEL, preserve_topology=False)
    kept = np.zeros(count, np.bool_)
    kept[point[~long]] = True
    kept[shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.int64)] = True
    rows = np.flatnonzero(kept)
    return line.take(rows, line.first[rows])


def _stills(line: _Line, still: Mask) -> list[Stroke]:
    """A point for each asset and place, from the first time it was there to the last."""
    begin = np.flatnonzero(line.first)
    end = np.append(begin[1:], len(line.x)) - 1
    begin, end = begin[still], end[still]
    places = np.stack([line.asset[begin], *(np.rint(values[begin]).astype(np.int64) for values in (line.x, line.y))])
    places, which = np.unique(places, axis=1, return_inverse=True)
    from_ms = np.full(places.shape[1], np.iinfo(np.int64).max)
    to_ms = np.full(places.shape[1], np.iinfo(np.int64).min)
    np.minimum.at(from_ms, which.ravel(), line.time_ms[begin])
    np.maximum.at(to_ms, which.ravel(), line.time_ms[end])
    asset, *points = places.tolist()
    return [
        Stroke(number, since, until, [np.array([[x, y]], np.int64)])
        for number, x, y, since, until in zip(asset, *points, from_ms.tolist(), to_ms.tolist(), strict=True)
        if _LEAST <= x <= _MOST and _LEAST <= y <= _MOST
    ]


def _lines(line: _Line, moves: Mask) -> list[Stroke]:
    rows = np.flatnonzero(moves[line.number])
    if not len(rows):
        return []
    line = line.take(rows, line.first[rows])
    begin = np.flatnonzero(line.first)
    end = np.append(begin[1:], len(line.x)) - 1
    drawn = shapely.linestrings(np.column_stack([line.x, line.y]), indices=line.number)
    drawn = shapely.clip_by_rect(drawn, _LEAST, _LEAST, _MOST, _MOST)
    pieces, owner = shapely.get_parts(drawn, return_index=True)
    places, of = shapely.get_coordinates(pieces, return_index=True)
    points = np.rint(places).astype(np.int64)
    if not len(points):  # all of it passes the tile by
        return []
    moved = np.append(True, np.diff(points, axis=0).any(axis=1) | (np.diff(of) > 0))
    points, of = points[moved], of[moved]
    size = np.bincount(of, minlength=len(pieces))
    end_of, parts = np.cumsum(size), [list[NDArray[np.int64]]() for _ in begin]
    for number, last, length in zip(owner.tolist(), end_of.tolist(), size.tolist(), strict=True):
        if length > 1:  # what touches a corner of the tile, or is shorter than a unit of it, is not seen
            parts[number].append(points[last - length : last])
    columns = line.asset[begin].tolist(), line.time_ms[begin].tolist(), line.time_ms[end].tolist(), parts
    return [Stroke(*stroke) for stroke in zip(*columns, strict=True) if stroke[3]]
