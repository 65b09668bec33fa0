"""Polygons and multipolygons as columns, their edges straight in lon/lat.

The map ends at ±180, the earth does not: what a polygon holds on one side of ±180 it holds by the other name, too, and
one that reaches a pole holds the pole, whatever longitude is said with it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.chord import span_deg
from tracker.domain.edge import Edges


class Polygons:
    """Prepared, valid polygons and multipolygons."""

    def __init__(self, shapes: Sequence[shapely.Polygon | shapely.MultiPolygon]) -> None:
        self.shapes = np.empty(len(shapes), dtype=object)
        self.shapes[:] = shapes
        self.south, self.north = shapely.bounds(self.shapes).reshape(-1, 4)[:, [1, 3]].T

    @classmethod
    def _of(cls, shapes: Any, south: Floats, north: Floats) -> "Polygons":
        made = cls.__new__(cls)
        made.shapes, made.south, made.north = shapes, south, north
        return made

    def __len__(self) -> int:
        return len(self.shapes)

    def joined(self, other: "Polygons") -> "Polygons":
        """These, then the others."""
        mine, its = (self.shapes, self.south, self.north), (other.shapes, other.south, other.north)
        return Polygons._of(*map(np.concatenate, zip(mine, its, strict=True)))

    def take(self, which: Ints) -> "Polygons":
        return Polygons._of(self.shapes[which], self.south[which], self.north[which])

    def _edges(self, which: Ints) -> tuple[Edges, Ints]:
        """The edges of the polygons that are asked about, and which of them each pair means. Taken apart anew each
        time: those of a whole index would take half a second at the first question, and most of its memory ever after.
        """
        asked, nth = np.unique(which, return_inverse=True)
        return Edges(list(self.shapes[asked])), nth

    def hold(self, which: Ints, lon: Floats, lat: Floats) -> Mask:
        """Whether polygon which[i] holds the i-th point, its edge included."""
        inside = np.asarray(shapely.intersects_xy(self.shapes[which], lon, lat), dtype=np.bool_)
        rim = np.flatnonzero(((np.abs(lon) == 180) | (np.abs(lat) == 90)) & ~inside)
        if len(rim):
            shape, x, y = which[rim], lon[rim], lat[rim]
            inside[rim] = (np.abs(x) == 180) & shapely.intersects_xy(self.shapes[shape], -x, y)
            inside[rim] |= ((y == 90) & (self.north[shape] == 90)) | ((y == -90) & (self.south[shape] == -90))
        return inside

    def edge_distances_m(self, which: Ints, lon: Floats, lat: Floats) -> Floats:
        """From the i-th point to the nearest edge of polygon which[i], from either side; see Edges."""
        edges, nth = self._edges(which)
        return edges.distances_m(nth, lon, lat)

    def touched_at(self, which: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
        """The fraction of the i-th chord at which it first touches polygon which[i], NaN where it does not."""
        begins = self.hold(which, lon0, lat0)
        first = np.where(begins, 0.0, np.where(self.hold(which, lon1, lat1), 1.0, np.nan))
        end = lon0 + span_deg(lon0, lon1)
        for turn, seen in ((0.0, True), (-360.0, np.maximum(lon0, end) >= 180), (360.0, np.minimum(lon0, end) <= -180)):
            at = np.flatnonzero(~begins & seen)
            if not len(at):
                continue
            x0, y0, x1, y1 = lon0[at] + turn, lat0[at], end[at] + turn, lat1[at]
            lines = shapely.linestrings(np.stack([x0, x1], axis=1), np.stack([y0, y1], axis=1))
            hit = np.asarray(shapely.intersects(self.shapes[which[at]], lines), dtype=np.bool_)
            edges, nth = self._edges(which[at[hit]])
            touch = edges.first_touches(nth, x0[hit], y0[hit], x1[hit], y1[hit])
            first[at[hit]] = np.fmin(first[at[hit]], touch)
        return first
