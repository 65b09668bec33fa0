"""Where the load moves: towns, the courses of devices, geofences, and what people look at. The same in every run.

Most of it is crowded around towns, as fleets are: spread evenly over a continent, hardly a fix would meet a geofence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tracker.domain.batch import Floats

WEST, SOUTH, EAST, NORTH = REGION = (5.0, 45.0, 15.0, 55.0)
TOWNS: Final = 50
IN_TOWN: Final = 0.7
TOWN_M: Final = 8_000.0
SPEED_MPS: Final = 15.0
COURSE_FIXES: Final = 64  # at least; then it goes round again, so that a device never jumps
METRES_PER_DEGREE: Final = 111_320.0

_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Courses:
    """lon, lat, course (devices, fixes): closed loops, a step a second."""

    lon: Floats
    lat: Floats
    course_deg: Floats


def courses(first: int, count: int, fixes_per_frame: int) -> Courses:
    """Those of devices first … first + count; whole frames of them make a round."""
    steps = -(-COURSE_FIXES // fixes_per_frame) * fixes_per_frame
    lon, lat, phase = np.array([_start(number) for number in range(first, first + count)]).reshape(-1, 3).T[:, :, None]
    angle = phase + np.arange(steps) / steps * 2 * np.pi
    radius = SPEED_MPS * steps / (2 * np.pi) / METRES_PER_DEGREE * (1 + 0.3 * np.sin(3 * angle))
    east, north = radius * np.cos(angle), radius * np.sin(angle)
    heading = np.degrees(np.arctan2(np.roll(east, -1, 1) - east, np.roll(north, -1, 1) - north)) % 360
    return Courses(lon + east / np.cos(np.radians(lat)), lat + north, heading)


def _start(number: int) -> tuple[float, float, float]:
    rng = np.random.default_rng([_SEED, 1, number])
    return *place(rng), rng.uniform(0, 2 * np.pi)


def place(rng: np.random.Generator) -> tuple[float, float]:
    """Somewhere, mostly in a town."""
    if rng.random() >= IN_TOWN:
        return rng.uniform(WEST, EAST), rng.uniform(SOUTH, NORTH)
    lon, lat = town(int(rng.integers(TOWNS)))
    off_lon, off_lat = rng.normal(0, TOWN_M / METRES_PER_DEGREE, 2)
    return lon + off_lon / np.cos(np.radians(lat)), lat + off_lat


def town(number: int) -> tuple[float, float]:
    lon, lat = np.random.default_rng([_SEED, 2, number]).uniform((WEST + 0.5, SOUTH + 0.5), (EAST - 0.5, NORTH - 0.5))
    return float(lon), float(lat)


def geofences(first: int, count: int, vertices: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Star-shaped polygons, 50 m to 5 km to a corner, small ones as many as large ones on a logarithmic scale."""
    fewest, most = vertices
    for number in range(first, first + count):
        rng = np.random.default_rng([_SEED, 3, number])
        corners = round(fewest * (most / fewest) ** rng.random())
        yield geofence(place(rng), 50 * 100 ** rng.random(), corners, number)


def geofence(centre: tuple[float, float], radius_m: float, corners: int, number: int) -> dict[str, Any]:
    rng = np.random.default_rng([_SEED, 4, number])
    angle = (np.arange(corners) + 0.8 * rng.random(corners)) / corners * 2 * np.pi
    reach = radius_m * (0.6 + 0.4 * rng.random(corners)) / METRES_PER_DEGREE
    lon, lat = centre
    ring = np.column_stack([lon + reach * np.cos(angle) / np.cos(np.radians(lat)), lat + reach * np.sin(angle)])
    ring = ring.round(7)
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]},
        "properties": {"name": f"bench {number}"},
    }


@dataclass(frozen=True, slots=True)
class Look:
    """What one person's map shows."""

    kind: str
    bbox: tuple[float, float, float, float]
    zoom: float


def looks(count: int) -> list[Look]:
    """Of ten people seven look at a town, two at a region, one at everything."""
    return [_look(number) for number in range(count)]


def _look(number: int) -> Look:
    if number % 10 == 9:
        return Look("world", (WEST - 5, SOUTH - 5, EAST + 5, NORTH + 5), 5.0)
    lon, lat = town(number % TOWNS)
    if number % 10 >= 7:
        return Look("region", (lon - 1.0, lat - 0.7, lon + 1.0, lat + 0.7), 8.0)
    return Look("town", (lon - 0.1, lat - 0.07, lon + 0.1, lat + 0.07), 12.0)
