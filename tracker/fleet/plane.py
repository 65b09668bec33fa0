"""A town as a plane: metres east and north of an origin, exact enough (< 1 mm per 100 m) for a few kilometres."""

import math
from dataclasses import dataclass
from typing import Final

EARTH_RADIUS_M: Final = 6_371_008.8
METRES_PER_DEGREE: Final = math.radians(1) * EARTH_RADIUS_M


@dataclass(frozen=True, slots=True)
class Plane:
    """Equirectangular around its origin; not for anything larger than a town."""

    lon: float
    lat: float

    def to_xy(self, lon: float, lat: float) -> tuple[float, float]:
        scale = math.cos(math.radians(self.lat))
        return (lon - self.lon) * METRES_PER_DEGREE * scale, (lat - self.lat) * METRES_PER_DEGREE

    def to_lonlat(self, x: float, y: float) -> tuple[float, float]:
        scale = math.cos(math.radians(self.lat))
        return self.lon + x / (METRES_PER_DEGREE * scale), self.lat + y / METRES_PER_DEGREE


def offset(lon: float, lat: float, east_m: float, north_m: float) -> tuple[float, float]:
    """The place a few metres away; wraps at the antimeridian and stops at the poles."""
    scale = max(math.cos(math.radians(lat)), 1e-6)
    moved_lon = lon + east_m / (METRES_PER_DEGREE * scale)
    moved_lat = min(90.0, max(-90.0, lat + north_m / METRES_PER_DEGREE))
    return wrap_lon(moved_lon), moved_lat


def wrap_lon(lon: float) -> float:
    """The same meridian within ±180."""
    return (lon + 180.0) % 360.0 - 180.0 if not -180.0 <= lon <= 180.0 else lon


def course_deg(dx: float, dy: float) -> float:
    """Direction of travel for a step on the plane, clockwise from north."""
    return math.degrees(math.atan2(dx, dy)) % 360.0
