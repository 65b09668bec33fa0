"""Ships and flights: to and fro along great circles, with time in port and at the gate between.

Positions come from unit vectors, so neither the antimeridian nor a pole is a special case.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Final

from tracker.fleet.lanes import Airway, Lane, Point
from tracker.fleet.mover import Truth
from tracker.fleet.plane import EARTH_RADIUS_M
from tracker.fleet.profile import Limits, Profile

CRUISE_MPS: Final = 240.0
CLIMB_MPS: Final = 9.0
DESCENT_MPS: Final = 6.5
TAKE_OFF_S: Final = 140.0  # from standing to leaving the ground, at 0.55 m/s²
LANDING_S: Final = 140.0
GATE_S: Final = 4200.0
AHEAD_M: Final = 50.0  # the course is where one will be so much farther on

Vector = tuple[float, float, float]


class Course:
    """A line of great-circle legs on the sphere, measured in metres from its first point."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._vectors = [to_vector(lon, lat) for lon, lat in points]
        self.lengths_m = [angle(a, b) * EARTH_RADIUS_M for a, b in pairwise(self._vectors)]
        self._starts_m = [0.0, *accumulate(self.lengths_m)]

    @property
    def length_m(self) -> float:
        return self._starts_m[-1]

    def at(self, distance_m: float) -> Point:
        leg = min(max(bisect_right(self._starts_m, distance_m) - 1, 0), len(self.lengths_m) - 1)
        a, b = self._vectors[leg], self._vectors[leg + 1]
        whole = self.lengths_m[leg] / EARTH_RADIUS_M
        share = (distance_m - self._starts_m[leg]) / self.lengths_m[leg]
        return to_lonlat(between(a, b, whole, share))

    def course_deg(self, distance_m: float) -> float:
        ahead_m = min(distance_m + AHEAD_M, self.length_m)
        return bearing_deg(self.at(ahead_m - AHEAD_M), self.at(ahead_m))


@dataclass(frozen=True, slots=True)
class Passage:
    """A moment of a run: `way` 0 is there, 1 is back; `left_s` is negative while waiting at the end."""

    way: int
    since_s: float
    left_s: float
    lon: float
    lat: float
    speed_mps: float
    course_deg: float


class Shuttle:
    """Timing of a run there and back: where on its course, how fast and how long since leaving."""

    def __init__(self, points: Sequence[Point], speed_mps: float, accelerate_mps2: float, wait_s: float) -> None:
        limits = Limits(speed_mps, accelerate_mps2, accelerate_mps2)
        self._courses = (Course(points), Course(points[::-1]))
        joints = [speed_mps] * len(points)
        speeds = [speed_mps] * (len(points) - 1)
        self._profiles = tuple(Profile(course.lengths_m, speeds, joints, {}, limits) for course in self._courses)
        self._wait_s = wait_s
        self.round_s = sum(profile.duration_s + wait_s for profile in self._profiles)

    def at(self, time_s: float) -> Passage:
        since_s = time_s % self.round_s
        way = 0 if since_s < self._profiles[0].duration_s + self._wait_s else 1
        since_s -= way * (self._profiles[0].duration_s + self._wait_s)
        profile, course = self._profiles[way], self._courses[way]
        distance_m, speed_mps = profile.at(since_s)
        lon, lat = course.at(distance_m)
        left_s = profile.duration_s - since_s
        return Passage(way, since_s, left_s, lon, lat, speed_mps, course.course_deg(distance_m))


class Ship:
    """A mover on one sea lane."""

    def __init__(self, lane: Lane, seed: str) -> None:
        self._shuttle = Shuttle(lane.points, lane.speed_mps, lane.speed_mps / 600, lane.port_s)
        self._phase_s = Random(seed).uniform(0.0, self._shuttle.round_s)

    def at(self, time_s: float) -> Truth:
        now = self._shuttle.at(time_s + self._phase_s)
        state = "under way" if now.left_s > 0 else "moored"
        return Truth(now.lon, now.lat, now.speed_mps, now.course_deg, attributes={"state": state})


class Flight:
    """A mover on one airway: climbs, cruises, descends, and stands at the gate."""

    def __init__(self, airway: Airway, seed: str) -> None:
        self._airway = airway
        ends = [(airway.start.lon, airway.start.lat), (airway.end.lon, airway.end.lat)]
        self._shuttle = Shuttle(ends, CRUISE_MPS, 0.55, GATE_S)
        self._phase_s = Random(seed).uniform(0.0, self._shuttle.round_s)

    def at(self, time_s: float) -> Truth:
        now = self._shuttle.at(time_s + self._phase_s)
        start, end = (self._airway.start, self._airway.end)[:: 1 - 2 * now.way]
        climbed_m = start.elevation_m + CLIMB_MPS * max(0.0, now.since_s - TAKE_OFF_S)
        still_to_sink_m = end.elevation_m + DESCENT_MPS * max(0.0, now.left_s - LANDING_S)
        alt_m = min(climbed_m, self._airway.cruise_alt_m, still_to_sink_m)
        attributes: dict[str, object] = {"from": start.code, "to": end.code}
        return Truth(now.lon, now.lat, now.speed_mps, now.course_deg, alt_m, attributes=attributes)


def to_vector(lon: float, lat: float) -> Vector:
    lam, phi = math.radians(lon), math.radians(lat)
    return math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)


def to_lonlat(v: Vector) -> Point:
    return math.degrees(math.atan2(v[1], v[0])), math.degrees(math.atan2(v[2], math.hypot(v[0], v[1])))


def angle(a: Vector, b: Vector) -> float:
    """Between two unit vectors, exact for small and large ones."""
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return math.atan2(math.hypot(*cross), sum(i * j for i, j in zip(a, b, strict=True)))


def between(a: Vector, b: Vector, whole: float, share: float) -> Vector:
    """The unit vector so far along the great circle from a to b, which are `whole` radians apart."""
    p, q = math.sin((1 - share) * whole) / math.sin(whole), math.sin(share * whole) / math.sin(whole)
    return p * a[0] + q * b[0], p * a[1] + q * b[1], p * a[2] + q * b[2]


def bearing_deg(a: Point, b: Point) -> float:
    """The initial course from a to b."""
    phi_a, phi_b = math.radians(a[1]), math.radians(b[1])
    turn = math.radians(b[0] - a[0])
    y = math.sin(turn) * math.cos(phi_b)
    x = math.cos(phi_a) * math.sin(phi_b) - math.sin(phi_a) * math.cos(phi_b) * math.cos(turn)
    return math.degrees(math.atan2(y, x)) % 360.0
