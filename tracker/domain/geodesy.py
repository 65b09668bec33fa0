"""The shape of the earth: distances on the WGS84 ellipsoid, and boxes that surely hold a circle on it."""

from typing import Final

import numpy as np
import pyproj

from tracker.domain.batch import Floats, Ints

WGS84: Final = pyproj.Geod(ellps="WGS84")
Box = tuple[float, float, float, float]  # west, south, east, north, west <= east

_POLAR_RADIUS_M: Final = 6_335_000.0  # the smallest radius of curvature, so that boxes err to the large side
_MARGIN: Final = 1.001


def distances_m(lon: Floats, lat: Floats, to_lon: Floats, to_lat: Floats) -> Floats:
    """Geodesic distances in metres, pair by pair (Karney's method, through PROJ)."""
    if len(lon) == 0:
        return np.empty(0)
    return np.asarray(WGS84.inv(lon, lat, to_lon, to_lat)[2], dtype=np.float64)


def circle_boxes(lon: float, lat: float, radius_m: float) -> list[Box]:
    """One box, or two at the antimeridian, that cover every point within radius_m of the centre."""
    boxes = covers(np.array([lon]), np.array([lat]), np.array([radius_m]))[1]
    return [(west, south, east, north) for west, south, east, north in boxes.tolist()]


def covers(lon: Floats, lat: Floats, radius_m: Floats) -> tuple[Ints, Floats]:
    """Boxes that cover many circles: whose each is, and (k, 4) its west, south, east and north."""
    angle = radius_m / _POLAR_RADIUS_M * _MARGIN
    south, north = lat - np.degrees(angle), lat + np.degrees(angle)
    polar = (south <= -90) | (north >= 90)
    sine = np.sin(np.minimum(angle, np.pi / 2)) / np.where(polar, 1, np.cos(np.radians(lat)))
    half_width = np.where(polar, 180, np.degrees(np.arcsin(np.minimum(1, sine))) * _MARGIN)
    west, east = np.where(polar, -180, lon - half_width), np.where(polar, 180, lon + half_width)
    south, north = np.maximum(south, -90), np.minimum(north, 90)
    over = np.where(west < -180, 360, np.where(east > 180, -360, 0))
    cut = np.flatnonzero(over)
    own = np.stack([np.maximum(west, -180), south, np.minimum(east, 180), north], axis=1)
    rest = np.stack([np.maximum(west + over, -180), south, np.minimum(east + over, 180), north], axis=1)[cut]
    return np.concatenate([np.arange(len(lon)), cut]), np.concatenate([own, rest])


def enclosing(lon: Floats, lat: Floats) -> tuple[float, float, float, float] | None:
    """West, south, east, north of the smallest box around places: it leaves out the widest gap on the way round, so
    west > east where it crosses the antimeridian.
    """
    if len(lon) == 0:
        return None
    around = np.sort(lon)
    before = int(np.diff(around, append=around[0] + 360).argmax())
    west, east = around[(before + 1) % len(around)], around[before]
    return float(west), float(lat.min()), float(east), float(lat.max())
