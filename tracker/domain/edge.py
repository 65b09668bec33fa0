"""The edges of polygons as columns: how far points are from them, and where chords first touch them.

What lies on ±180 with the shape on both sides, or along a pole, is a seam of the map and no edge.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.geodesy import distances_m
from tracker.domain.ring import Polygonal
from tracker.domain.runs import Runs, chunks, expand

_RUN: Final = 32  # edges under one box
_DEGREE_M: Final = 111_320.0
_NEARLY_DEG: Final = 1e-9  # a tenth of a millimetre: rounding moves no meeting so far

Points = tuple[Floats, Floats]


class Edges:
    """The edges of polygons and multipolygons, straight in lon/lat, and boxes around runs of neighbours."""

    def __init__(self, shapes: Sequence[Polygonal]) -> None:
        owner, self._x0, self._y0, self._x1, self._y1 = _edges(shapes)
        count = np.bincount(owner, minlength=len(shapes))
        self._runs_of = Runs(-(-count // _RUN))
        run, nth = expand(self._runs_of, np.arange(len(shapes)))
        self._edges_of = Runs(np.minimum(_RUN, count[run] - (nth - self._runs_of.start[run]) * _RUN))
        starts = self._edges_of.start
        west, south = np.minimum(self._x0, self._x1), np.minimum(self._y0, self._y1)
        east, north = np.maximum(self._x0, self._x1), np.maximum(self._y0, self._y1)
        self._west, self._south = (np.minimum.reduceat(side, starts) if len(starts) else side for side in (west, south))
        self._east, self._north = (np.maximum.reduceat(side, starts) if len(starts) else side for side in (east, north))
        bounds = shapely.bounds(np.array(shapes, dtype=object)).reshape(-1, 4)
        self._most_west, self._most_east = bounds[:, 0], bounds[:, 2]

    def distances_m(self, owner: Ints, lon: Floats, lat: Floats) -> Floats:
        """From the i-th point to the nearest edge of shape owner[i]; infinite where it has none.

        The foot is sought on a plane around the point and measured by geodesic, so it is never too small. It is too
        large by less than 0.01 % up to 20 km, by less than 0.5 % up to 100 km and near the poles.
        """
        found = np.full(len(owner), np.inf)
        for turn in (0.0, 360.0, -360.0):
            seen = np.flatnonzero((turn == 0) | self._is_near(owner, lon + turn))
            for at in chunks(seen, self._runs_of.size[owner[seen]]):
                point, foot_lon, foot_lat = self._feet(owner[at], lon[at] + turn, lat[at])
                metres = distances_m(lon[at[point]], lat[at[point]], foot_lon, foot_lat)
                found[at[point]] = np.minimum(found[at[point]], metres)
        return found

    def _is_near(self, owner: Ints, x: Floats) -> Mask:
        """Which points, said by another name, may be nearest to their shape so: at most half a turn from it."""
        beyond = np.maximum(x - self._most_east[owner], self._most_west[owner] - x)
        return np.asarray(beyond <= 180, dtype=np.bool_)

    def _feet(self, owner: Ints, x: Floats, y: Floats) -> tuple[Ints, Floats, Floats]:
        """(point, lon, lat): the nearest place on the edges of the shape of each that has any."""
        point, run = expand(self._runs_of, owner)
        least, most = self._bounds_m(run, x[point], y[point])
        nearest = np.full(len(x), np.inf)
        np.minimum.at(nearest, point, most)
        near = least <= nearest[point]
        nth, edge = expand(self._edges_of, run[near])
        point = point[near][nth]
        ends = self._x0[edge], self._y0[edge], self._x1[edge], self._y1[edge]
        lon, lat, metres = _feet_on(*ends, x[point], y[point])
        order = np.lexsort((metres, point))
        best = order[np.unique(point[order], return_index=True)[1]]
        return point[best], lon[best], lat[best]

    def _bounds_m(self, run: Ints, x: Floats, y: Floats) -> Points:
        """Between which the distance to the nearest edge of a run lies: that to its box, and to one of its ends."""
        east_m, first = _east_m(y), self._edges_of.start[run]
        aside = np.maximum(np.maximum(self._west[run] - x, x - self._east[run]), 0) * east_m
        above = np.maximum(np.maximum(self._south[run] - y, y - self._north[run]), 0) * _DEGREE_M
        most = np.hypot((self._x0[first] - x) * east_m, (self._y0[first] - y) * _DEGREE_M)
        return np.hypot(aside, above) * (1 - 1e-9), most

    def first_touches(self, owner: Ints, x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> Floats:
        """The fraction at which the i-th chord, which is known to, first touches an edge of shape owner[i]."""
        first = np.ones(len(owner))
        for at in chunks(np.arange(len(owner)), self._runs_of.size[owner]):
            chord, run = expand(self._runs_of, owner[at])
            chord = at[chord]
            meets = self._meets_box(run, x0[chord], y0[chord], x1[chord], y1[chord])
            nth, edge = expand(self._edges_of, run[meets])
            chord = chord[meets][nth]
            sx, sy = self._x0[edge], self._y0[edge]
            fraction = _meetings(
                *(x0[chord], y0[chord], x1[chord] - x0[chord], y1[chord] - y0[chord]),
                *(sx, sy, self._x1[edge] - sx, self._y1[edge] - sy),
            )
            np.fmin.at(first, chord, fraction)
        return first

    def _meets_box(self, run: Ints, x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> Mask:
        aside = (np.minimum(x0, x1) > self._east[run]) | (np.maximum(x0, x1) < self._west[run])
        above = (np.minimum(y0, y1) > self._north[run]) | (np.maximum(y0, y1) < self._south[run])
        return ~(aside | above)


def _edges(shapes: Sequence[Polygonal]) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """(owner, x0, y0, x1, y1) of every edge, owner by owner, without seams."""
    parts, of_shape = shapely.get_parts(np.array(shapes, dtype=object), return_index=True)
    rings, of_part = shapely.get_rings(parts, return_index=True)
    at, of_ring = shapely.get_coordinates(rings, return_index=True)
    joined = np.flatnonzero(of_ring[1:] == of_ring[:-1])
    owner = of_shape[of_part[of_ring[joined]]]
    x0, y0, x1, y1 = np.hstack([at[joined], at[joined + 1]]).T
    on_rim = (np.abs(x0) == 180) & (x0 == x1)
    plain = ~on_rim & ~((np.abs(y0) == 90) & (y0 == y1))
    found = [np.stack([owner, x0, y0, x1, y1])[:, plain]]
    for one in np.unique(owner[on_rim]).tolist():
        own = on_rim & (owner == one)
        found.append(_unmatched(one, x0[own], y0[own], y1[own]))
    every = np.concatenate(found, axis=1)
    every = every[:, np.argsort(every[0], kind="stable")]
    return every[0].astype(np.int64), every[1], every[2], every[3], every[4]


def _unmatched(owner: int, x: Floats, low: Floats, high: Floats) -> Floats:
    """What of the edges on ±180 is on one side only; it is an edge by both names."""
    east, west = (_upright(low[side], high[side]) for side in (x > 0, x < 0))
    left = shapely.symmetric_difference(east, west)
    found = np.empty((5, 0))
    for line in [] if left.is_empty else shapely.get_parts(left):
        a, b = (line.coords[i][1] for i in (0, -1))
        found = np.hstack([found, [[owner, owner], [180.0, -180.0], [a, a], [180.0, -180.0], [b, b]]])
    return found


def _upright(low: Floats, high: Floats) -> shapely.Geometry:
    """The union of such pieces of a meridian."""
    ends = np.zeros((len(low), 2, 2))
    ends[:, 0, 1], ends[:, 1, 1] = low, high
    return shapely.line_merge(shapely.union_all(shapely.linestrings(ends)))


def _east_m(lat: Floats) -> Floats:
    """Metres of a degree of longitude; not quite nothing at the pole."""
    return np.asarray(np.maximum(np.cos(np.radians(lat)), 1e-6) * _DEGREE_M, dtype=np.float64)


def _feet_on(x0: Floats, y0: Floats, x1: Floats, y1: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """The nearest place to (x, y) on each edge, and about how many metres away it is."""
    east_m = _east_m(y)
    ax, ay = (x0 - x) * east_m, (y0 - y) * _DEGREE_M
    bx, by = (x1 - x0) * east_m, (y1 - y0) * _DEGREE_M
    length = bx * bx + by * by
    share = np.clip(-(ax * bx + ay * by) / np.where(length == 0, 1, length), 0, 1)
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0), np.hypot(ax + share * bx, ay + share * by)


def _meetings(px: Floats, py: Floats, rx: Floats, ry: Floats, qx: Floats, qy: Floats, sx: Floats, sy: Floats) -> Floats:
    """The fraction of each chord p + t r at which it first meets the edge q + u s, NaN where it does not."""
    wx, wy = qx - px, qy - py
    long, side = np.maximum(np.hypot(rx, ry), 1e-100), np.maximum(np.hypot(sx, sy), 1e-100)
    across = rx * sy - ry * sx
    beside = np.abs(across) <= 1e-12 * long * side
    divisor = np.where(beside, 1, across)
    fraction, share = (wx * sy - wy * sx) / divisor, (wx * ry - wy * rx) / divisor
    near, nearly = _NEARLY_DEG / long, _NEARLY_DEG / side
    meets = ~beside & (np.abs(share - 0.5) <= 0.5 + nearly) & (np.abs(fraction - 0.5) <= 0.5 + near)
    first, last = (wx * rx + wy * ry) / long**2, ((wx + sx) * rx + (wy + sy) * ry) / long**2
    low, high = np.minimum(first, last), np.maximum(first, last)
    on_line = beside & (np.abs(wx * ry - wy * rx) <= _NEARLY_DEG * long) & (low <= 1 + near) & (high >= -near)
    return np.clip(np.where(meets, fraction, np.where(on_line, low, np.nan)), 0, 1)
