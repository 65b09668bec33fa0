"""Circles as columns: every place within a geodesic distance of a centre."""

from collections.abc import Sequence

import numpy as np

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.chord import first_within
from tracker.domain.geodesy import distances_m


class Circles:
    """(lon, lat, radius_m) each. Distances are those of Karney's method: exact to a few nanometres."""

    def __init__(self, circles: Sequence[tuple[float, float, float]] | Floats) -> None:
        self.lon, self.lat, self.radius_m = np.array(circles, dtype=np.float64).reshape(-1, 3).T

    def __len__(self) -> int:
        return len(self.lon)

    def columns(self) -> Floats:
        return np.stack([self.lon, self.lat, self.radius_m], axis=1)

    def joined(self, other: "Circles") -> "Circles":
        """These, then the others."""
        return Circles(np.concatenate([self.columns(), other.columns()]))

    def take(self, which: Ints) -> "Circles":
        return Circles(self.columns()[which])

    def _from_centre_m(self, which: Ints, lon: Floats, lat: Floats) -> Floats:
        return distances_m(lon, lat, self.lon[which], self.lat[which])

    def hold(self, which: Ints, lon: Floats, lat: Floats) -> Mask:
        """Whether circle which[i] holds the i-th point, its edge included."""
        return self._from_centre_m(which, lon, lat) <= self.radius_m[which]

    def edge_distances_m(self, which: Ints, lon: Floats, lat: Floats) -> Floats:
        """From the i-th point to the edge of circle which[i], from either side."""
        return np.abs(self._from_centre_m(which, lon, lat) - self.radius_m[which])

    def touched_at(self, which: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
        """The fraction of the i-th chord at which it first touches circle which[i], NaN where it does not."""

        def distances(pair: Ints, lon: Floats, lat: Floats) -> Floats:
            return self._from_centre_m(which[pair], lon, lat)

        return first_within(distances, self.radius_m[which], lon0, lat0, lon1, lat1)
