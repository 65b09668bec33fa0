"""One member's device as a sequence of looks: the truth, through the receiver, to a fix ready to be recorded.

Pure: the caller brings the time of the simulated world, and the clock time that the fix shall carry.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tracker.fleet.mover import Truth
from tracker.fleet.receiver import Reading, Receiver
from tracker.fleet.roster import Habit, Member

BATTERY_LASTS_S: Final = 9 * 3600.0  # then it is changed for a charged one
OUTAGE_EVERY_S: Final = 900.0
OUTAGE_CHANCE: Final = 0.6
OUTAGE_S: Final = (120.0, 300.0)
RESTART_S: Final = (20.0, 60.0)


@dataclass(frozen=True, slots=True)
class Outages:
    """When a device is out of reach, or off: at most once in every quarter of an hour, somewhere within it."""

    seed: str
    lasts_s: tuple[float, float]

    def cover(self, time_s: float) -> bool:
        number = math.floor(time_s / OUTAGE_EVERY_S)
        rng = Random(f"{self.seed}/{number}")
        if rng.random() >= OUTAGE_CHANCE:
            return False
        lasts_s = rng.uniform(*self.lasts_s)
        start_s = number * OUTAGE_EVERY_S + rng.uniform(0.0, OUTAGE_EVERY_S - lasts_s)
        return start_s <= time_s < start_s + lasts_s


class Unit:
    """A member with its receiver switched on."""

    def __init__(self, member: Member, seed: int) -> None:
        self.member = member
        self._receiver = Receiver(member.grade, f"{seed}/{member.name}/receiver")
        self._charged_s = Random(f"{seed}/{member.name}/battery").uniform(0.0, BATTERY_LASTS_S)
        lasts_s = RESTART_S if member.habit is Habit.REBOOTS else OUTAGE_S
        self._outages = None if member.habit is Habit.STEADY else Outages(f"{seed}/{member.name}/outage", lasts_s)

    def out_of_reach(self, world_s: float) -> bool:
        return self._outages is not None and self._outages.cover(world_s)

    def look(self, world_s: float, time_ms: int, speed: float = 1.0) -> tuple[dict[str, Any] | None, float]:
        """The fix of this moment, if there is one, and when to look again. `speed` is how fast the world runs."""
        truth = self.member.mover.at(world_s)
        reading = self._receiver.read(world_s, truth)
        fix = None if reading is None else self._fix(reading, truth, world_s, time_ms, speed)
        return fix, self._receiver.next_s(truth)

    def _fix(self, reading: Reading, truth: Truth, world_s: float, time_ms: int, speed: float) -> dict[str, Any]:
        """In the names of `Device.record`; what the receiver does not know is left out."""
        attributes = dict(truth.attributes)
        if self.member.battery:
            used = ((world_s + self._charged_s) % BATTERY_LASTS_S) / BATTERY_LASTS_S
            attributes["battery"] = round(1.0 - 0.9 * used, 2)
        fix = {
            "lon": round(reading.lon, 7),
            "lat": round(reading.lat, 7),
            "time": time_ms,
            "accuracy_m": round(reading.accuracy_m, 1),
            "speed_mps": round(reading.speed_mps * speed, 2),
            "attributes": attributes,
        }
        if reading.course_deg is not None:
            fix["course_deg"] = round(reading.course_deg, 1)
        if reading.alt_m is not None:
            fix["alt_m"] = round(reading.alt_m, 1)
        return fix
