"""Moving or stopped, by the newest fixes, and what says so."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tracker.domain.batch import DEGREE, UNKNOWN_INT32
from tracker.domain.motion.places import UNITS, Fixes
from tracker.domain.motion.rule import Rule
from tracker.domain.motion.stops import Stop
from tracker.domain.motion.trips import Trip

MOVING: Final = "moving"
STOPPED: Final = "stopped"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The newest fix, and how far the fixes of the `min_stop_s` up to it scatter."""

    newest_ms: int
    lon: float
    lat: float
    speed_mps: float | None  # as the newest fix told it
    fixes: int
    span_s: float
    spread_m: float  # root mean square distance from their middle
    age_s: float  # how long ago the newest is


@dataclass(frozen=True, slots=True)
class Motion:
    """`since_ms` is where the stop or the trip began; `reason` says why a state is what it is, in one word."""

    state: str
    reason: str
    since_ms: int | None
    evidence: Evidence | None


def motion(stop: Stop | None, run: Trip | None, recent: Fixes, now_ms: int, rule: Rule) -> Motion:
    """The state by the newest stop, by what was under way after it, and by the fixes of the last `min_stop_s`."""
    if len(recent) == 0:
        return Motion(UNKNOWN, "no_fixes", None, None)
    evidence = _evidence(recent, now_ms, rule)
    if stop is not None and stop.open:
        return Motion(STOPPED, "rests", stop.from_ms, evidence)
    if run is not None and run.reach_m >= rule.stop_diameter_m:
        if evidence.age_s > rule.max_gap_s:
            return Motion(UNKNOWN, "silent", evidence.newest_ms, evidence)
        return Motion(MOVING, "travels", run.from_ms, evidence)
    if run is not None and stop is not None and run.from_ms == stop.to_ms:
        return Motion(STOPPED, "has_not_left", stop.from_ms, evidence)
    return Motion(UNKNOWN, "too_few_fixes", evidence.newest_ms, evidence)


def _evidence(recent: Fixes, now_ms: int, rule: Rule) -> Evidence:
    off = recent.place - recent.place.mean(axis=0)
    spread_m = float(np.sqrt((off * off).sum(axis=1).mean())) * rule.stop_diameter_m / UNITS
    newest_ms, told = int(recent.time_ms[-1]), int(recent.speed[-1])
    return Evidence(
        newest_ms,
        int(recent.lon[-1]) / DEGREE,
        int(recent.lat[-1]) / DEGREE,
        None if told == UNKNOWN_INT32 else told / 100,
        len(recent),
        (newest_ms - int(recent.time_ms[0])) / 1000,
        spread_m,
        max(now_ms - newest_ms, 0) / 1000,
    )
