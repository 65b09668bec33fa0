"""Corridors as columns: geodesic legs on the WGS84 ellipsoid, cut into short pieces, and distances from them."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.chord import first_within, span_deg
from tracker.domain.geodesy import WGS84, Box, circle_boxes, distances_m

_MEAN_RADIUS_M: Final = 6_371_009.0
_SHORTEST_M: Final = 1_000.0
_LONGEST_M: Final = 100_000.0
_PIECES: Final = 4_000  # of a path at the most, beside its positions
_GROUPS: Final = 64
_BESIDE_DEG: Final = 2_000.0  # each path has a world of its own in the tree, so far beside the one before
_MARGIN_M: Final = 1.0
_TABLE: Final = 1_000_000

Path = Sequence[tuple[float, float]]


class Legs:
    """The legs of paths in short pieces. Its distances are geodesic and good to a millimetre per 100 km of distance."""

    def __init__(self, paths: Sequence[tuple[Path, float]]) -> None:
        """Args: paths: the positions of each path, and its buffer_m."""
        cut = [_pieces(path, buffer_m) for path, buffer_m in paths]
        self.owner = np.repeat(np.arange(len(cut)), [piece.shape[1] for piece in cut])
        self.lon, self.lat, self.azimuth, self.length_m = np.concatenate([np.empty((4, 0)), *cut], axis=1)
        self.buffer_m = np.array([buffer_m for _, buffer_m in paths], dtype=np.float64)
        self._entry, self._boxes = self._covered()
        shifted = self._boxes + self._shift(self.owner[self._entry])[:, None] * np.array([1.0, 0.0, 1.0, 0.0])
        self._tree = shapely.STRtree(shapely.box(*shifted.T))

    @staticmethod
    def _shift(owner: Ints) -> Floats:
        return np.asarray(owner * _BESIDE_DEG, dtype=np.float64)

    def _covered(self) -> tuple[Ints, Floats]:
        """Boxes (n, 4) that cover all that is within buffer_m of a piece, and whose box each is."""
        half_m = self.length_m / 2
        lon, lat, _ = WGS84.fwd(self.lon, self.lat, self.azimuth, half_m)
        self._middle = _xyz(lon, lat)
        reach_m = half_m + self.buffer_m[self.owner] + _MARGIN_M
        found = [circle_boxes(*circle) for circle in zip(lon.tolist(), lat.tolist(), reach_m.tolist(), strict=True)]
        entry = np.repeat(np.arange(len(found)), [len(boxes) for boxes in found])
        return entry, np.array([box for boxes in found for box in boxes], dtype=np.float64).reshape(-1, 4)

    def near(self, owner: Ints, west: Floats, south: Floats, east: Floats, north: Floats) -> tuple[Ints, Ints]:
        """(query, piece): the pieces of path owner[i] whose surroundings may meet the i-th box, each pair once."""
        shift = self._shift(owner)
        query, hit = self._tree.query(shapely.box(west + shift, south, east + shift, north))
        pairs = np.unique(np.stack([query, self._entry[hit]]), axis=1)
        return pairs[0], pairs[1]

    def around(self, owner: Ints, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """(query, piece): the pieces of path owner[i] that may have the i-th point within their buffer."""
        query, hit = self._tree.query(shapely.points(lon + self._shift(owner), lat))
        return query, self._entry[hit]

    def distances_m(self, piece: Ints, lon: Floats, lat: Floats) -> Floats:
        """From the i-th point to piece[i]: the foot by spherical trigonometry, which errs along the piece only and so
        in the second order, then the geodesic to it.
        """
        if len(piece) == 0:
            return np.empty(0)
        start_lon, start_lat, azimuth = self.lon[piece], self.lat[piece], self.azimuth[piece]
        towards, _, distance_m = WGS84.inv(start_lon, start_lat, lon, lat)
        angle, turn = distance_m / _MEAN_RADIUS_M, np.radians(towards - azimuth)
        along_m = np.arctan2(np.cos(turn) * np.sin(angle), np.cos(angle)) * _MEAN_RADIUS_M
        foot_lon, foot_lat, _ = WGS84.fwd(start_lon, start_lat, azimuth, np.clip(along_m, 0, self.length_m[piece]))
        return distances_m(lon, lat, foot_lon, foot_lat)

    def nearest_m(self, owner: Ints, lon: Floats, lat: Floats) -> Floats:
        """From the i-th point to path owner[i], however far: measured to the pieces that may be nearest."""
        found = np.full(len(owner), np.inf)
        for path in np.unique(owner):
            own = np.flatnonzero(self.owner == path)
            for at in _chunks(np.flatnonzero(owner == path), len(own)):
                rough = np.linalg.norm(_xyz(lon[at], lat[at])[:, None] - self._middle[own], axis=2)
                slack = self.length_m[own] / 2 * 1.01 + 1
                nearest = (rough + slack).min(axis=1)
                point, piece = np.nonzero((rough - slack) * 0.99 <= nearest[:, None] * 1.01)
                exact = self.distances_m(own[piece], lon[at[point]], lat[at[point]])
                np.minimum.at(found, at[point], exact)
        return found

    def boxes(self) -> list[Box]:
        """A few boxes that together cover the surroundings of all pieces: neighbours share one."""
        so_far_m = np.cumsum(self.length_m)
        group = np.floor(so_far_m / (so_far_m[-1] or 1.0) * _GROUPS * 0.999)[self._entry]
        east = self._boxes[:, 0] + self._boxes[:, 2] >= 0  # two boxes of a group that is cut at the antimeridian
        _, of_box = np.unique(group * 2 + east, return_inverse=True)
        count = int(of_box.max()) + 1
        low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
        np.minimum.at(low, of_box, self._boxes[:, :2])
        np.maximum.at(high, of_box, self._boxes[:, 2:])
        return [(*a, *b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _chunks(at: Ints, width: int) -> list[Ints]:
    """So many at once that a table of them by `width` stays small."""
    return np.array_split(at, max(1, math.ceil(len(at) * width / _TABLE)))


def _xyz(lon: Floats, lat: Floats) -> Floats:
    """(n, 3): places on a sphere, whose straight distances grow with those on the ground, within 1 % for short ones."""
    east, north = np.radians(lon), np.radians(lat)
    return _MEAN_RADIUS_M * np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1
    )


def _pieces(path: Path, buffer_m: float) -> Floats:
    """(lon, lat, azimuth, length_m) of the pieces of one path: short against its buffer, but not too many."""
    lon, lat = np.array(path, dtype=np.float64).T
    azimuth, _, length_m = WGS84.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    most_m = max(20 * buffer_m, math.fsum(length_m) / _PIECES)
    most_m = min(max(most_m, _SHORTEST_M), _LONGEST_M)
    count = np.maximum(1, np.ceil(length_m / most_m)).astype(np.int64)
    leg = np.repeat(np.arange(len(length_m)), count)
    nth = np.arange(len(leg)) - np.repeat(np.cumsum(count) - count, count)
    piece_m = (length_m / count)[leg]
    from_lon, from_lat, back = WGS84.fwd(lon[:-1][leg], lat[:-1][leg], azimuth[leg], nth * piece_m)
    return np.stack([from_lon, from_lat, back + 180, piece_m])


class Corridors:
    """Corridors as columns: a path and its buffer_m each."""

    def __init__(self, paths: Sequence[tuple[Path, float]]) -> None:
        self._legs = Legs(paths)
        self._buffer_m = self._legs.buffer_m

    def hold(self, which: Ints, lon: Floats, lat: Floats) -> Mask:
        """Whether corridor which[i] holds the i-th point, its edge included."""
        inside = np.zeros(len(which), dtype=np.bool_)
        point, piece = self._legs.around(which, lon, lat)
        near = self._legs.distances_m(piece, lon[point], lat[point]) <= self._buffer_m[which[point]]
        inside[point[near]] = True
        return inside

    def edge_distances_m(self, which: Ints, lon: Floats, lat: Floats) -> Floats:
        """How much the distance from the path differs from buffer_m: outside that is how far the edge is; inside it
        may be farther, where the path bends or comes back.
        """
        return np.abs(self._legs.nearest_m(which, lon, lat) - self._buffer_m[which])

    def touched_at(self, which: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
        """The fraction of the i-th chord at which it first touches corridor which[i], NaN where it does not."""
        pair, piece = self._meeting(which, lon0, lat0, lon1, lat1)

        def distances(candidate: Ints, lon: Floats, lat: Floats) -> Floats:
            return self._legs.distances_m(piece[candidate], lon, lat)

        ends = lon0[pair], lat0[pair], lon1[pair], lat1[pair]
        touched = first_within(distances, self._buffer_m[which[pair]], *ends)
        first = np.full(len(which), np.nan)
        np.fmin.at(first, pair, touched)
        return first

    def _meeting(self, which: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> tuple[Ints, Ints]:
        """(chord, piece): the pieces that a chord may come near to, each pair once."""
        end = lon0 + span_deg(lon0, lon1)
        west, east = np.minimum(lon0, end), np.maximum(lon0, end)
        south, north = np.minimum(lat0, lat1), np.maximum(lat0, lat1)
        found = []
        for turn, seen in ((0.0, np.ones(len(which), dtype=np.bool_)), (-360.0, east >= 180), (360.0, west <= -180)):
            at = np.flatnonzero(seen)
            chord, piece = self._legs.near(which[at], west[at] + turn, south[at], east[at] + turn, north[at])
            found.append(np.stack([at[chord], piece]))
        pairs = np.unique(np.concatenate(found, axis=1), axis=1)
        return pairs[0], pairs[1]
