"""An imperfect satellite receiver: what a device would report of where it truly is.

Errors wander slowly (Gauss-Markov), grow beside walls and jump when a reflection is heard instead of the satellite;
under a roof nothing is heard. It samples less when nothing moves, and knows no course when it stands.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final

from tracker.fleet.mover import Truth
from tracker.fleet.plane import offset

STANDING_MPS: Final = 0.6
STANDING_AFTER_S: Final = 20.0  # a red light is not yet a stop
RETRY_S: Final = 5.0  # how often it listens for satellites under a roof
SETTLE_S: Final = 15.0  # how long the error takes to grow or shrink as the walls come and go
REFLECTION_M: Final = (30.0, 140.0)
REFLECTION_S: Final = (4.0, 15.0)
RADIUS_68: Final = 1.51  # a circle of so many sigma holds 68 % of a normal error in two dimensions
NOISE_MPS: Final = 0.15


@dataclass(frozen=True, slots=True)
class Grade:
    """How good a receiver is, and how often it looks."""

    open_sigma_m: float  # per axis, under the open sky
    wall_sigma_m: float  # per axis, right beside a wall
    wander_s: float  # how long an error lasts
    reflections_per_h: float  # right beside a wall
    moving_s: float
    standing_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One fix as the receiver believes it; `reflected` is known to the simulation alone."""

    lon: float
    lat: float
    accuracy_m: float
    speed_mps: float
    course_deg: float | None
    alt_m: float | None
    reflected: bool


class Receiver:
    """Fed with the truth in order of time; the same seed and the same truths give the same readings."""

    def __init__(self, grade: Grade, seed: str) -> None:
        self._grade = grade
        self._rng = Random(seed)
        self._east, self._north, self._up = (self._rng.gauss(0.0, 1.0) for _ in range(3))
        self._sigma_m = grade.open_sigma_m
        self._last_s = -math.inf
        self._moved_s = -math.inf
        self._reflection: tuple[float, float, float] | None = None  # east, north, until

    def read(self, time_s: float, truth: Truth) -> Reading | None:
        """The fix of this moment, or None if no satellite is heard."""
        self._wander(time_s, truth.obstruction)
        self._last_s = time_s
        if truth.speed_mps > STANDING_MPS or self._moved_s == -math.inf:
            self._moved_s = time_s
        if truth.covered:
            self._reflection = None
            return None
        return self._reading(time_s, truth)

    def next_s(self, truth: Truth) -> float:
        """When to look again after a look at this truth."""
        if truth.covered:
            return self._last_s + RETRY_S
        if self._last_s - self._moved_s < STANDING_AFTER_S:
            return self._last_s + self._grade.moving_s
        return self._last_s + self._grade.standing_s * self._rng.uniform(0.9, 1.1)

    def _reading(self, time_s: float, truth: Truth) -> Reading:
        rng, sigma_m = self._rng, self._sigma_m
        east_m, north_m = self._east * sigma_m, self._north * sigma_m
        accuracy_m = max(2.0, sigma_m * RADIUS_68 * rng.lognormvariate(0.0, 0.12))
        reflection = self._reflected(time_s, truth.obstruction)
        if reflection:
            east_m, north_m = east_m + reflection[0], north_m + reflection[1]
            # A receiver half suspects a reflection: it claims less than it should, more than usual.
            accuracy_m += 0.4 * math.hypot(*reflection)
        lon, lat = offset(truth.lon, truth.lat, east_m, north_m)
        speed_mps = max(0.0, truth.speed_mps + rng.gauss(0.0, NOISE_MPS)) if truth.speed_mps > STANDING_MPS else 0.0
        course_deg = None
        if speed_mps > STANDING_MPS:
            course_deg = (truth.course_deg + rng.gauss(0.0, 8.0 / speed_mps)) % 360.0
        alt_m = None if truth.alt_m is None else truth.alt_m + self._up * 2 * sigma_m
        return Reading(lon, lat, accuracy_m, speed_mps, course_deg, alt_m, reflection is not None)

    def _wander(self, time_s: float, obstruction: float) -> None:
        """First-order Gauss-Markov: unit errors that forget themselves, and a scale that follows the walls."""
        grade, rng, elapsed_s = self._grade, self._rng, time_s - self._last_s
        keep = math.exp(-elapsed_s / grade.wander_s)
        renew = math.sqrt(1.0 - keep * keep)
        self._east = self._east * keep + rng.gauss(0.0, renew)
        self._north = self._north * keep + rng.gauss(0.0, renew)
        self._up = self._up * keep + rng.gauss(0.0, renew)
        goal_m = grade.open_sigma_m + (grade.wall_sigma_m - grade.open_sigma_m) * obstruction
        self._sigma_m = goal_m + (self._sigma_m - goal_m) * math.exp(-elapsed_s / SETTLE_S)

    def _reflected(self, time_s: float, obstruction: float) -> tuple[float, float] | None:
        """The displacement by a reflection that is being heard, if one is."""
        if self._reflection and time_s < self._reflection[2]:
            return self._reflection[:2]
        self._reflection = None
        chance = self._grade.reflections_per_h / 3600.0 * self._grade.moving_s * obstruction
        if self._rng.random() < chance:
            size_m, angle = self._rng.uniform(*REFLECTION_M), self._rng.uniform(0.0, math.tau)
            until_s = time_s + self._rng.uniform(*REFLECTION_S)
            self._reflection = (size_m * math.cos(angle), size_m * math.sin(angle), until_s)
            return self._reflection[:2]
        return None
