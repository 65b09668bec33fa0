"""Fixes as points in space: there the antimeridian and the poles are places like any other.

A place is x, y, z of WGS84 at height 0, in whole 1024ths of the stop diameter: sums of them are exact, so that no
answer depends on where a sum began.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Columns, Floats, Mask
from tracker.domain.geodesy import distances_m

UNITS: Final = 1024  # to a stop diameter

_EQUATOR_M: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
_ECCENTRICITY2: Final = _FLATTENING * (2 - _FLATTENING)
_MEAN_RADIUS_M: Final = 6_371_000.0
_NEAR_M: Final = 50_000.0  # up to here the arc over a chord is known to a millimetre

Places = NDArray[np.int64]
Rows = NDArray[np.intp]  # indices


@dataclass(frozen=True, slots=True)
class Fixes:
    """n fixes of one asset that are trusted, in event order, none equal in (time, lon, lat)."""

    time_ms: NDArray[np.int64]
    lon: NDArray[np.int32]
    lat: NDArray[np.int32]
    speed: NDArray[np.int32]
    place: Places  # (n, 3)

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, rows: Any) -> "Fixes":
        return Fixes(self.time_ms[rows], self.lon[rows], self.lat[rows], self.speed[rows], self.place[rows])

    def then(self, other: "Fixes") -> "Fixes":
        return Fixes(
            np.concatenate([self.time_ms, other.time_ms]),
            np.concatenate([self.lon, other.lon]),
            np.concatenate([self.lat, other.lat]),
            np.concatenate([self.speed, other.speed]),
            np.concatenate([self.place, other.place]),
        )


def fixes_of(columns: Columns, trusted: Mask, diameter_m: float) -> Fixes:
    """The trusted ones of one asset's columns, which stand in event order; of equal ones the first."""
    rows = np.flatnonzero(trusted)
    time_ms, lon, lat = columns.time_ms[rows], columns.lon[rows], columns.lat[rows]
    fresh = np.ones(len(rows), dtype=np.bool_)
    fresh[1:] = (np.diff(time_ms) != 0) | (np.diff(lon) != 0) | (np.diff(lat) != 0)
    time_ms, lon, lat = time_ms[fresh], lon[fresh], lat[fresh]
    return Fixes(time_ms, lon, lat, columns.speed[rows[fresh]], _places(lon, lat, diameter_m))


def no_fixes() -> Fixes:
    none = np.empty(0, np.int32)
    return Fixes(np.empty(0, np.int64), none, none, none, np.empty((0, 3), np.int64))


def _places(lon: NDArray[np.int32], lat: NDArray[np.int32], diameter_m: float) -> Places:
    lon_rad, lat_rad = np.radians(lon / DEGREE), np.radians(lat / DEGREE)
    up = np.sin(lat_rad)
    across_m = _EQUATOR_M / np.sqrt(1 - _ECCENTRICITY2 * up * up)
    out = across_m * np.cos(lat_rad)
    place_m = np.column_stack([out * np.cos(lon_rad), out * np.sin(lon_rad), across_m * (1 - _ECCENTRICITY2) * up])
    return np.rint(place_m * (UNITS / diameter_m)).astype(np.int64)


def lon_lat(place: Floats) -> tuple[float, float]:
    """The degrees of a point near height 0, in any unit of length."""
    x, y, z = place.tolist()
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, (1 - _ECCENTRICITY2) * math.hypot(x, y)))


def lengths_m(fixes: Fixes, before: Rows, after: Rows, diameter_m: float) -> Floats:
    """Geodesic distances between pairs of fixes. Short ones from the chord, which is some ten times faster."""
    apart = (fixes.place[after] - fixes.place[before]) * (diameter_m / UNITS)
    chord = np.sqrt(np.einsum("ij,ij->i", apart, apart))
    length: Floats = chord * (1 + chord * chord / (24 * _MEAN_RADIUS_M**2))
    far = np.flatnonzero(chord > _NEAR_M)
    a, b = before[far], after[far]
    length[far] = distances_m(
        fixes.lon[a] / DEGREE, fixes.lat[a] / DEGREE, fixes.lon[b] / DEGREE, fixes.lat[b] / DEGREE
    )
    return length
