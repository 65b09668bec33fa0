"""Trams on the tracks of their real lines, there and back, with a halt at every stop.

The extract holds only the middle of each line; where it ends the tram waits a moment and comes back on the other track.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tracker.fleet.extract import Extract, Place, TramRoute
from tracker.fleet.mover import Truth
from tracker.fleet.profile import Limits
from tracker.fleet.ride import Line, Ride
from tracker.fleet.streets import Streets

LIMITS: Final = Limits(9.5, 0.8, 0.9, sideways_mps2=0.9, corner_m=12.0, slowest_mps=2.5)
PLATFORM_M: Final = 8.0  # a stop belongs to the track whose right-hand side it stands on, this near
STOP_S: Final = 22.0
TURN_S: Final = 75.0
CROSSOVER_M: Final = 120.0  # the ends of the two directions lie this near each other, or the line is not used
SHORTEST_M: Final = 600.0
TURN_MPS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Direction:
    """One way along a line: the ride, and what is called out when."""

    towards: str
    ride: Ride


class Tram:
    """A mover on one line's two directions, `shift_s` later than the timetable's zero."""

    def __init__(self, streets: Streets, line: str, directions: tuple[Direction, ...], shift_s: float) -> None:
        self.line = line
        self._streets = streets
        self._directions = directions
        self._shift_s = shift_s

    @property
    def round_s(self) -> float:
        return sum(direction.ride.duration_s + TURN_S for direction in self._directions)

    def at(self, time_s: float) -> Truth:
        since_s = (time_s - self._shift_s) % self.round_s
        for direction in self._directions:
            if since_s < direction.ride.duration_s + TURN_S:
                break
            since_s -= direction.ride.duration_s + TURN_S
        spot = direction.ride.at(since_s)
        lon, lat = self._streets.plane.to_lonlat(spot.x, spot.y)
        attributes: dict[str, object] = {"line": self.line, "towards": direction.towards}
        return Truth(
            lon, lat, spot.speed_mps, spot.course_deg, None, spot.obstruction, spot.covered, attributes
        )
