"""The edges of polygons as columns: how far points are from them, and where chords first touch them.

What lies on ±180 with the shape on both sides, or along a pole, is a seam of the map and no edge.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints
from tracker.domain.geodesy import distances_m

_BESIDE_DEG: Final = 2_000.0  # each shape has a world of its own in the tree, so far beside the one before
_MARGIN_DEG: Final = 1e-7  # more than what that costs in precision
_DEGREE_M: Final = 111_320.0
_NEARLY: Final = 1e-9


class Edges:
    """The edges of polygons and multipolygons, straight in lon/lat."""

    def __init__(self, shapes: Sequence[shapely.Polygon | shapely.MultiPolygon]) -> None:
        cut = [_segments(shape) for shape in shapes]
        self._owner = np.repeat(np.arange(len(cut)), [len(part) for part in cut])
        self._x0, self._y0, self._x1, self._y1 = np.concatenate([np.empty((0, 4)), *cut]).T
        shift = self._owner * _BESIDE_DEG
        west, east = np.minimum(self._x0, self._x1) + shift, np.maximum(self._x0, self._x1) + shift
        south, north = np.minimum(self._y0, self._y1), np.maximum(self._y0, self._y1)
        self._tree = shapely.STRtree(
            shapely.box(west - _MARGIN_DEG, south - _MARGIN_DEG, east + _MARGIN_DEG, north + _MARGIN_DEG)
        )

    def distances_m(self, owner: Ints, lon: Floats, lat: Floats) -> Floats:
        """From the i-th point to the nearest edge of shape owner[i]; infinite where it has none.

        The foot is sought on a plane around the point and measured by geodesic: good to 0.5 % within 20 km and up to
        85° of latitude, and never too small by more than that.
        """
        found = np.full(len(owner), np.inf)
        for turn in (0.0, 360.0, -360.0):
            seen = np.flatnonzero((turn == 0) | (np.sign(lon) == -np.sign(turn)))
            foot = self._feet(owner[seen], lon[seen] + turn, lat[seen])
            known = ~np.isnan(foot[0])
            at = seen[known]
            found[at] = np.minimum(found[at], distances_m(lon[at], lat[at], foot[0][known], foot[1][known]))
        return found

    def _feet(self, owner: Ints, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The nearest place on the edges of each one's shape, NaN where it has none."""
        foot_x, foot_y = np.full(len(x), np.nan), np.full(len(x), np.nan)
        if len(x) == 0 or len(self._owner) == 0:
            return foot_x, foot_y
        shift = owner * _BESIDE_DEG
        at, some = self._tree.query_nearest(shapely.points(x + shift, y), all_matches=False)
        own = self._owner[some] == owner[at]
        at, some = at[own], some[own]
        reach = _feet_of(self._x0[some], self._y0[some], self._x1[some], self._y1[some], x[at], y[at])[2]
        north, east = reach / _DEGREE_M * 1.01 + _MARGIN_DEG, np.minimum(reach / _east_m(y[at]) * 1.01, 720)
        centre = x[at] + shift[at]
        boxes = shapely.box(centre - east, y[at] - north, centre + east, y[at] + north)
        query, segment = self._tree.query(boxes)
        own = self._owner[segment] == owner[at[query]]
        of, segment = at[query[own]], segment[own]
        ends = self._x0[segment], self._y0[segment], self._x1[segment], self._y1[segment]
        px, py, metres = _feet_of(*ends, x[of], y[of])
        order = np.lexsort((metres, of))
        best = order[np.unique(of[order], return_index=True)[1]]
        foot_x[of[best]], foot_y[of[best]] = px[best], py[best]
        return foot_x, foot_y

    def first_touches(self, owner: Ints, x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> Floats:
        """The fraction at which the i-th chord, which is known to, first touches an edge of shape owner[i]."""
        first = np.ones(len(owner))
        if len(owner) == 0 or len(self._owner) == 0:
            return first
        shift = owner * _BESIDE_DEG
        west, east = np.minimum(x0, x1) + shift, np.maximum(x0, x1) + shift
        at, segment = self._tree.query(shapely.box(west, np.minimum(y0, y1), east, np.maximum(y0, y1)))
        sx, sy = self._x0[segment], self._y0[segment]
        fraction = _meetings(
            *(x0[at], y0[at], x1[at] - x0[at], y1[at] - y0[at]),
            *(sx, sy, self._x1[segment] - sx, self._y1[segment] - sy),
        )
        np.fmin.at(first, at, fraction)
        return first


def _segments(shape: shapely.Polygon | shapely.MultiPolygon) -> Floats:
    """(x0, y0, x1, y1) of every edge, without seams."""
    coords, line = shapely.get_coordinates(shapely.get_parts(shapely.boundary(shape)), return_index=True)
    joined = line[1:] == line[:-1]
    every = np.concatenate([coords[:-1][joined], coords[1:][joined]], axis=1)
    x0, y0, x1, y1 = every.T
    at_pole = (np.abs(y0) == 90) & (y0 == y1)
    at_east, at_west = (x0 == 180) & (x1 == 180), (x0 == -180) & (x1 == -180)
    plain: Floats = every[~(at_pole | at_east | at_west)]
    if not (at_east.any() or at_west.any()):
        return plain
    east, west = (_upright(y0[side], y1[side]) for side in (at_east, at_west))
    unmatched = shapely.symmetric_difference(east, west)
    for line in [] if unmatched.is_empty else shapely.get_parts(unmatched):
        low, high = (line.coords[i][1] for i in (0, -1))
        plain = np.vstack([plain, [180.0, low, 180.0, high], [-180.0, low, -180.0, high]])
    return plain


def _upright(low: Floats, high: Floats) -> shapely.Geometry:
    """The union of such pieces of a meridian."""
    ends = np.zeros((len(low), 2, 2))
    ends[:, 0, 1], ends[:, 1, 1] = low, high
    return shapely.line_merge(shapely.union_all(shapely.linestrings(ends)))


def _east_m(lat: Floats) -> Floats:
    """Metres of a degree of longitude; not quite nothing at the pole."""
    return np.asarray(np.maximum(np.cos(np.radians(lat)), 1e-6) * _DEGREE_M, dtype=np.float64)


def _feet_of(x0: Floats, y0: Floats, x1: Floats, y1: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """The nearest place to (x, y) on each segment, and about how many metres away it is."""
    east_m = _east_m(y)
    ax, ay = (x0 - x) * east_m, (y0 - y) * _DEGREE_M
    bx, by = (x1 - x0) * east_m, (y1 - y0) * _DEGREE_M
    length = bx * bx + by * by
    share = np.clip(-(ax * bx + ay * by) / np.where(length == 0, 1, length), 0, 1)
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0), np.hypot(ax + share * bx, ay + share * by)


def _meetings(px: Floats, py: Floats, rx: Floats, ry: Floats, qx: Floats, qy: Floats, sx: Floats, sy: Floats) -> Floats:
    """The fraction of each chord p + t r at which it first meets the segment q + u s, NaN where it does not."""
    wx, wy = qx - px, qy - py
    across, length = rx * sy - ry * sx, np.maximum(np.hypot(rx, ry), 1e-300)
    along_side = np.abs(across) <= 1e-12 * length * np.hypot(sx, sy)
    divisor = np.where(along_side, 1, across)
    share, fraction = (wx * ry - wy * rx) / divisor, (wx * sy - wy * sx) / divisor
    near, nearly = _NEARLY / length, _NEARLY / np.maximum(np.hypot(sx, sy), 1e-300)
    meets = ~along_side & (np.abs(share - 0.5) <= 0.5 + nearly) & (np.abs(fraction - 0.5) <= 0.5 + near)
    first, last = (wx * rx + wy * ry) / length**2, ((wx + sx) * rx + (wy + sy) * ry) / length**2
    low, high = np.minimum(first, last), np.maximum(first, last)
    on_line = along_side & (np.abs(wx * ry - wy * rx) / length <= _NEARLY) & (low <= 1 + near) & (high >= -near)
    return np.clip(np.where(meets, fraction, np.where(on_line, low, np.nan)), 0, 1)
