"""One ride along a line on the plane: geometry from the streets, timing from the profile."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from tracker.fleet.plane import course_deg
from tracker.fleet.profile import Limits, Profile


@dataclass(frozen=True, slots=True)
class Line:
    """Where a ride goes: vertices with their obstruction, between them stretches with a speed and perhaps a roof."""

    xs: Sequence[float]
    ys: Sequence[float]
    obstruction: Sequence[float]
    speeds_mps: Sequence[float]
    covered: Sequence[bool]

    def lengths_m(self) -> list[float]:
        steps = pairwise(zip(self.xs, self.ys, strict=True))
        return [max(math.hypot(bx - ax, by - ay), 0.01) for (ax, ay), (bx, by) in steps]

    def courses_deg(self) -> list[float]:
        steps = pairwise(zip(self.xs, self.ys, strict=True))
        return [course_deg(bx - ax, by - ay) for (ax, ay), (bx, by) in steps]


@dataclass(frozen=True, slots=True)
class Spot:
    """A state on the plane."""

    x: float
    y: float
    speed_mps: float
    course_deg: float
    obstruction: float
    covered: bool


class Ride:
    """From the line's first vertex to its last, standing at both."""

    __slots__ = ("_courses", "_line", "_profile", "_starts_m")

    def __init__(self, line: Line, halts_s: Mapping[int, float], limits: Limits) -> None:
        lengths = line.lengths_m()
        self._line = line
        self._courses = line.courses_deg()
        self._starts_m = [0.0, *accumulate(lengths)]
        speeds = [min(limits.cruise_mps, speed) for speed in line.speeds_mps]
        self._profile = Profile(lengths, speeds, self._corners(lengths, limits), halts_s, limits)

    @property
    def duration_s(self) -> float:
        return self._profile.duration_s

    @property
    def length_m(self) -> float:
        return self._starts_m[-1]

    def at(self, since_start_s: float) -> Spot:
        """The state so many seconds after the start; before it the first vertex, after the end the last."""
        distance_m, speed_mps = self._profile.at(since_start_s)
        line = self._line
        stretch = min(max(bisect_right(self._starts_m, distance_m) - 1, 0), len(self._courses) - 1)
        length_m = self._starts_m[stretch + 1] - self._starts_m[stretch]
        share = min(1.0, (distance_m - self._starts_m[stretch]) / length_m)
        return Spot(
            x=line.xs[stretch] + share * (line.xs[stretch + 1] - line.xs[stretch]),
            y=line.ys[stretch] + share * (line.ys[stretch + 1] - line.ys[stretch]),
            speed_mps=speed_mps,
            course_deg=self._courses[stretch],
            obstruction=line.obstruction[stretch] * (1 - share) + line.obstruction[stretch + 1] * share,
            covered=line.covered[stretch],
        )

    def _corners(self, lengths_m: Sequence[float], limits: Limits) -> list[float]:
        """For each vertex, how fast its bend is taken."""
        corners = [math.inf] * (len(lengths_m) + 1)
        for vertex in range(1, len(lengths_m)):
            turn_deg = abs((self._courses[vertex] - self._courses[vertex - 1] + 180) % 360 - 180)
            corners[vertex] = limits.corner_mps(math.radians(turn_deg), lengths_m[vertex - 1], lengths_m[vertex])
        return corners
