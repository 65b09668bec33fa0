"""The shape of the earth: distances on the WGS84 ellipsoid, and boxes that surely hold a circle on it."""

import math
from typing import Final

import numpy as np
import pyproj

from tracker.domain.batch import Floats

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
    angle = radius_m / _POLAR_RADIUS_M * _MARGIN
    south, north = lat - math.degrees(angle), lat + math.degrees(angle)
    if south <= -90 or north >= 90:
        return [(-180.0, max(south, -90.0), 180.0, min(north, 90.0))]
    half_width = math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(math.radians(lat))))) * _MARGIN
    west, east = lon - half_width, lon + half_width
    if west < -180:
        return [(-180.0, south, east, north), (west + 360, south, 180.0, north)]
    if east > 180:
        return [(west, south, 180.0, north), (-180.0, south, east - 360, north)]
    return [(west, south, east, north)]
