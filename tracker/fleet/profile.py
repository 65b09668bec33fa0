"""Speed along a line: from limits, corners and halts to distance as a function of time.

Piecewise constant acceleration, so that speed never jumps and the distance at any instant is one bisection away.
Knows nothing of geometry: streets, sea lanes and airways share it.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vehicle can and will do: how it gains speed, loses it, and how much sideways push it takes in a bend."""

    cruise_mps: float
    accelerate_mps2: float
    brake_mps2: float
    sideways_mps2: float = math.inf
    corner_m: float = 0.0  # how far before a corner the bend begins
    slowest_mps: float = 0.5  # even a turn on the spot is not a stop

    def corner_mps(self, turn_rad: float, before_m: float, after_m: float) -> float:
        """The speed at which a bend of this angle between two stretches is taken."""
        if turn_rad < 1e-3:
            return math.inf
        reach_m = min(self.corner_m, before_m / 2, after_m / 2)
        radius_m = reach_m / math.tan(min(turn_rad, math.pi - 1e-3) / 2)
        return max(self.slowest_mps, math.sqrt(self.sideways_mps2 * radius_m))


class Profile:
    """Distance and speed at any time since the start; starts and ends standing."""

    __slots__ = ("_acceleration", "_distance", "_speed", "_time", "duration_s", "length_m")

    def __init__(
        self,
        lengths_m: Sequence[float],
        speeds_mps: Sequence[float],
        joints_mps: Sequence[float],
        halts_s: Mapping[int, float],
        limits: Limits,
    ) -> None:
        """`speeds_mps` per stretch, `joints_mps` per joint (one more than stretches), `halts_s` by joint."""
        self._time: list[float] = []
        self._distance: list[float] = []
        self._speed: list[float] = []
        self._acceleration: list[float] = []
        self.duration_s = 0.0
        self.length_m = 0.0
        joints = reachable(lengths_m, capped(speeds_mps, joints_mps, halts_s), limits)
        for stretch, length_m in enumerate(lengths_m):
            self._run(length_m, joints[stretch], joints[stretch + 1], speeds_mps[stretch], limits)
            if stretch + 1 in halts_s:
                self._piece(halts_s[stretch + 1], 0.0, 0.0)

    def at(self, since_start_s: float) -> tuple[float, float]:
        """(distance, speed); before the start the line's beginning, after the end its end."""
        if since_start_s <= 0 or not self._time:
            return 0.0, 0.0
        if since_start_s >= self.duration_s:
            return self.length_m, 0.0
        piece = bisect_right(self._time, since_start_s) - 1
        dt = since_start_s - self._time[piece]
        speed, acceleration = self._speed[piece], self._acceleration[piece]
        return self._distance[piece] + (speed + acceleration * dt / 2) * dt, max(0.0, speed + acceleration * dt)

    def _run(self, length_m: float, v0: float, v1: float, cap_mps: float, limits: Limits) -> None:
        """One stretch: gain speed up to the cap, keep it, lose it down to the joint's."""
        gain, loss = limits.accelerate_mps2, limits.brake_mps2
        peak = math.sqrt((2 * gain * loss * length_m + loss * v0 * v0 + gain * v1 * v1) / (gain + loss))
        peak = max(v0, v1, min(peak, cap_mps))
        gained_m = (peak * peak - v0 * v0) / (2 * gain)
        lost_m = (peak * peak - v1 * v1) / (2 * loss)
        self._piece((peak - v0) / gain, v0, gain)
        self._piece(max(0.0, length_m - gained_m - lost_m) / peak, peak, 0.0)
        self._piece((peak - v1) / loss, peak, -loss)

    def _piece(self, seconds: float, speed: float, acceleration: float) -> None:
        if seconds <= 1e-9:
            return
        self._time.append(self.duration_s)
        self._distance.append(self.length_m)
        self._speed.append(speed)
        self._acceleration.append(acceleration)
        self.duration_s += seconds
        self.length_m += (speed + acceleration * seconds / 2) * seconds


def capped(speeds_mps: Sequence[float], joints_mps: Sequence[float], halts_s: Mapping[int, float]) -> list[float]:
    """Each joint no faster than the stretches beside it; standing at both ends and at halts."""
    last = len(speeds_mps)
    return [
        0.0 if joint in (0, last) or joint in halts_s else min(cap, speeds_mps[joint - 1], speeds_mps[joint])
        for joint, cap in enumerate(joints_mps)
    ]


def reachable(lengths_m: Sequence[float], joints: list[float], limits: Limits) -> list[float]:
    """Each joint no faster than braking for what follows and gaining from what came before allow."""
    for i in range(len(lengths_m) - 1, -1, -1):
        joints[i] = min(joints[i], math.sqrt(joints[i + 1] ** 2 + 2 * limits.brake_mps2 * lengths_m[i]))
    for i, length_m in enumerate(lengths_m):
        joints[i + 1] = min(joints[i + 1], math.sqrt(joints[i] ** 2 + 2 * limits.accelerate_mps2 * length_m))
    return joints
