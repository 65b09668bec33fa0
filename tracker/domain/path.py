"""Corridors as columns: geodesic legs on the WGS84 ellipsoid, cut into short pieces, and distances from them."""

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.chord import first_within, span_deg
from tracker.domain.geodesy import WGS84, Box, covers, distances_m
from tracker.domain.runs import Runs, chunks, expand

_MEAN_RADIUS_M: Final = 6_371_009.0
_SHORTEST_M: Final = 1_000.0
_LONGEST_M: Final = 100_000.0
_PIECES: Final = 4_000  # of a path at the most, beside its positions
_GROUPS: Final = 64
_BESIDE_DEG: Final = 2_000.0  # each path has a world of its own in the tree, so far beside the one before
_MARGIN_M: Final = 1.0
_ROUGHLY: Final = 1.01  # by how much a straight distance on a sphere may lie about two that are nearly the same

Path = Sequence[tuple[float, float]]


class Legs:
    """The legs of paths in short pieces. Distances from them are geodesic, within a micrometre of a step-by-step search
    up to 500 km; towards the other side of the earth, within the length of a piece.
    """

    def __init__(self, paths: Sequence[tuple[Path, float]]) -> None:
        """Args: paths: the positions of each path, and its buffer_m."""
        self.buffer_m = np.array([buffer_m for _, buffer_m in paths], dtype=np.float64)
        legs, ends = _legs([path for path, _ in paths])
        self.owner, (self.lon, self.lat, self.azimuth, self.length_m) = _cut(legs, *ends, self.buffer_m)
        self._runs = Runs(np.bincount(self.owner, minlength=len(paths)))
        half_m = self.length_m / 2
        lon, lat, _ = WGS84.fwd(self.lon, self.lat, self.azimuth, half_m)
        self._middle = _xyz(lon, lat)
        self._entry, self._boxes = covers(lon, lat, half_m + self.buffer_m[self.owner] + _MARGIN_M)
        shift = self._shift(self.owner[self._entry])
        west, south, east, north = self._boxes.T
        self._tree = shapely.STRtree(shapely.box(west + shift, south, east + shift, north))

    @staticmethod
    def _shift(owner: Ints) -> Floats:
        return np.asarray(owner * _BESIDE_DEG, dtype=np.float64)

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
        for at in chunks(np.arange(len(owner)), self._runs.size[owner]):
            point, piece = expand(self._runs, owner[at])
            point = at[point]
            rough_m = np.linalg.norm(_xyz(lon[at], lat[at])[point - at[0]] - self._middle[piece], axis=1)
            half_m = self.length_m[piece] / 2 + 1
            nearest_m = np.full(len(owner), np.inf)
            np.minimum.at(nearest_m, point, (rough_m + half_m) * _ROUGHLY)
            may = (rough_m - half_m) / _ROUGHLY <= nearest_m[point]
            np.minimum.at(found, point[may], self.distances_m(piece[may], lon[point[may]], lat[point[may]]))
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


def _xyz(lon: Floats, lat: Floats) -> Floats:
    """(n, 3): places on a sphere, whose straight distances grow with those on the ground."""
    east, north = np.radians(lon), np.radians(lat)
    return _MEAN_RADIUS_M * np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1
    )


def _legs(paths: Sequence[Path]) -> tuple[Ints, tuple[Floats, Floats, Floats, Floats]]:
    """Whose each leg is, and its ends."""
    owner = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
    lon, lat = np.array([position for path in paths for position in path], dtype=np.float64).reshape(-1, 2).T
    legs = np.flatnonzero(owner[1:] == owner[:-1])
    return owner[legs], (lon[legs], lat[legs], lon[legs + 1], lat[legs + 1])


def _cut(owner: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats, buffer_m: Floats) -> tuple[Ints, Floats]:
    """The pieces of legs: whose each is, and its (lon, lat, azimuth, length_m). Short against the buffer, but not too
    many of one path.
    """
    if len(owner) == 0:
        return owner, np.empty((4, 0))
    azimuth, _, length_m = WGS84.inv(lon0, lat0, lon1, lat1)
    whole_m = np.bincount(owner, length_m, minlength=len(buffer_m))
    most_m = np.clip(np.maximum(20 * buffer_m, whole_m / _PIECES), _SHORTEST_M, _LONGEST_M)[owner]
    runs = Runs(np.maximum(1, np.ceil(length_m / most_m)))
    leg, piece = expand(runs, np.arange(len(owner)))
    piece_m = (length_m / runs.size)[leg]
    from_m = (piece - runs.start[leg]) * piece_m
    lon, lat, back = WGS84.fwd(lon0[leg], lat0[leg], azimuth[leg], from_m)
    return owner[leg], np.stack([lon, lat, back + 180, piece_m])


class Corridors:
    """Corridors as columns: a path and its buffer_m each."""

    def __init__(self, paths: Sequence[tuple[Path, float]]) -> None:
        self.paths = list(paths)
        self._buffer_m = np.array([buffer_m for _, buffer_m in paths], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.paths)

    def joined(self, other: "Corridors") -> "Corridors":
        """These, then the others, cut into pieces anew where there are such."""
        return Corridors([*self.paths, *other.paths]) if len(self) and len(other) else self if len(self) else other

    def take(self, which: Ints) -> "Corridors":
        whole = len(which) == len(self) and bool((which == np.arange(len(self))).all())
        return self if whole else Corridors([self.paths[each] for each in which.tolist()])

    @cached_property
    def _legs(self) -> Legs:
        return Legs(self.paths)

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
