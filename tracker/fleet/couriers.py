"""Couriers: kitchens and shops to doors, shift after shift, on the streets of the town.

Time is cut into shifts. A shift begins where the shift before it was bound to end, so that a courier's place at any
moment follows from the seed and that moment alone, however long the fleet has been running.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from tracker.fleet.mover import Truth
from tracker.fleet.profile import Limits
from tracker.fleet.ride import Line, Ride, Spot
from tracker.fleet.streets import Mode, Streets

SHIFT_S: Final = 5400.0
LIMITS: Final[dict[Mode, Limits]] = {
    Mode.BIKE: Limits(7.5, 0.9, 1.3, sideways_mps2=2.0, corner_m=4.0, slowest_mps=1.2),
    Mode.CAR: Limits(12.0, 1.7, 2.2, sideways_mps2=2.4, corner_m=7.0, slowest_mps=1.5),
    Mode.FOOT: Limits(1.7, 0.8, 1.0, sideways_mps2=3.0, corner_m=1.0, slowest_mps=0.6),
}
RED_LIGHT_CHANCE: Final[dict[Mode, float]] = {Mode.BIKE: 0.4, Mode.CAR: 0.5, Mode.FOOT: 0.3}
SIGNALS_APART_M: Final = 40.0  # the lights of one junction change together
DWELL_S: Final = (60.0, 480.0, 90.0)  # shortest, longest, most often
# A rider carries the receiver into the house; a van's stays on its roof unless there is a garage.
INDOORS_CHANCE: Final[dict[Mode, float]] = {Mode.BIKE: 0.4, Mode.CAR: 0.1, Mode.FOOT: 0.5}
DOORWAY_S: Final = 20.0  # on the way in and out the sky is still seen
LONGEST_INDOORS_S: Final = 170.0  # then one waits by a window


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a shift: a ride, or a stay at a node; `indoors` hides the receiver during the middle of a stay."""

    start_s: float
    end_s: float
    node: int
    task: str
    place: str
    ride: Ride | None = None
    indoors: bool = False

    def covered(self, time_s: float) -> bool:
        hidden_until_s = min(self.end_s - DOORWAY_S, self.start_s + DOORWAY_S + LONGEST_INDOORS_S)
        return self.indoors and self.start_s + DOORWAY_S < time_s < hidden_until_s


@dataclass(frozen=True, slots=True)
class Trip:
    """One delivery, not yet placed in time: to the shop, in the shop, to the door, at the door."""

    shop: tuple[int, str]
    door: tuple[int, str]
    rides: tuple[Ride | None, Ride | None]
    dwells_s: tuple[float, float]

    @property
    def duration_s(self) -> float:
        return sum(self.dwells_s) + sum(ride.duration_s for ride in self.rides if ride)


class Courier:
    """A mover on the streets; remembers only the shift that it was last asked about."""

    def __init__(self, streets: Streets, mode: Mode, seed: str) -> None:
        rng = Random(f"{seed}/person")
        self.mode = mode
        self._streets = streets
        self._seed = seed
        self._pace = rng.uniform(0.85, 1.1)
        self._starts_at_s = rng.random() * SHIFT_S
        self._shift: Shift | None = None

    def at(self, time_s: float) -> Truth:
        number = math.floor((time_s - self._starts_at_s) / SHIFT_S)
        if self._shift is None or self._shift.number != number:
            self._shift = self._plan(number)
        phase = self._shift.phase_at(time_s)
        spot = self._spot(phase, time_s)
        lon, lat = self._streets.plane.to_lonlat(spot.x, spot.y)
        attributes: dict[str, object] = {"task": phase.task}
        if phase.place:
            attributes["place"] = phase.place
        return Truth(
            lon,
            lat,
            spot.speed_mps,
            spot.course_deg,
            None,
            spot.obstruction,
            spot.covered or phase.covered(time_s),
            attributes,
        )

    def _spot(self, phase: Phase, time_s: float) -> Spot:
        if phase.ride:
            return phase.ride.at(time_s - phase.start_s)
        streets, node = self._streets, phase.node
        return Spot(streets.xs[node], streets.ys[node], 0.0, 0.0, streets.obstruction[node], covered=False)

    def _plan(self, number: int) -> "Shift":
        planner = Planner(self._streets, self.mode, self._pace, Random(f"{self._seed}/{number}"))
        start_s = self._starts_at_s + number * SHIFT_S
        return Shift(number, start_s, planner.shift(start_s, self._base(number), self._base(number + 1)))

    def _base(self, number: int) -> tuple[int, str]:
        """Where a shift begins."""
        return Random(f"{self._seed}/base/{number}").choice(self._streets.shops[self.mode])


class Shift:
    """The phases of one shift, planned only as far as somebody has asked."""

    def __init__(self, number: int, start_s: float, phases: Iterator[Phase]) -> None:
        self.number = number
        self._planned_to_s = start_s
        self._phases: list[Phase] = []
        self._starts_s: list[float] = []
        self._to_come = phases

    def phase_at(self, time_s: float) -> Phase:
        while not self._phases or self._planned_to_s <= time_s:
            phase = next(self._to_come)
            self._phases.append(phase)
            self._starts_s.append(phase.start_s)
            self._planned_to_s = phase.end_s
        return self._phases[max(0, bisect_right(self._starts_s, time_s) - 1)]


class Planner:
    """Draws the trips of one shift; the way to the next shift's base must always still fit."""

    def __init__(self, streets: Streets, mode: Mode, pace: float, rng: Random) -> None:
        self._streets = streets
        self._mode = mode
        self._rng = rng
        self._pace = pace

    def shift(self, start_s: float, base: tuple[int, str], next_base: tuple[int, str]) -> Iterator[Phase]:
        """Phases without a gap from `start_s` to the end of the shift."""
        end_s = start_s + SHIFT_S
        now_s, here = start_s, base
        way_back = self._ride(here[0], next_base[0])
        while True:
            trip = self._trip(here[0])
            back_from_there = self._ride(trip.door[0], next_base[0])
            if now_s + trip.duration_s + _seconds(back_from_there) > end_s:
                break
            for phase in self._phases(now_s, trip):
                yield phase
                now_s = phase.end_s
            here, way_back = trip.door, back_from_there
        if way_back:
            yield Phase(now_s, now_s + way_back.duration_s, here[0], "returning", next_base[1], way_back)
        # The last phase is open-ended by a hair, so that no rounding leaves an instant without one.
        yield Phase(now_s + _seconds(way_back), end_s + 1.0, next_base[0], "waiting", next_base[1])

    def _trip(self, here: int) -> Trip:
        shop = self._near(self._streets.shops[self._mode], here)
        door = self._near(self._streets.doors[self._mode], shop[0])
        dwells_s = (self._rng.triangular(*DWELL_S), self._rng.triangular(*DWELL_S))
        return Trip(shop, door, (self._ride(here, shop[0]), self._ride(shop[0], door[0])), dwells_s)

    def _phases(self, now_s: float, trip: Trip) -> Iterator[Phase]:
        there, onward = trip.rides
        steps = (
            ("to pick-up", trip.shop, _seconds(there), there),
            ("picking up", trip.shop, trip.dwells_s[0], None),
            ("delivering", trip.door, _seconds(onward), onward),
            ("handing over", trip.door, trip.dwells_s[1], None),
        )
        for task, (node, place), seconds, ride in steps:
            if seconds > 0:
                indoors = ride is None and self._rng.random() < INDOORS_CHANCE[self._mode]
                yield Phase(now_s, now_s + seconds, node, task, place, ride, indoors)
                now_s += seconds

    def _near(self, places: list[tuple[int, str]], here: int) -> tuple[int, str]:
        """One of three drawn at random: the nearest on foot, any of them otherwise."""
        drawn = self._rng.sample(places, 3 if self._mode is Mode.FOOT else 1)
        xs, ys = self._streets.xs, self._streets.ys
        return min(drawn, key=lambda place: math.hypot(xs[place[0]] - xs[here], ys[place[0]] - ys[here]))

    def _ride(self, start: int, goal: int) -> Ride | None:
        """The quickest way as a ride with this person's pace and today's red lights; None if there is no way to go."""
        if start == goal:
            return None
        streets = self._streets
        path = streets.route(self._mode, start, goal)
        arcs = [streets.networks[self._mode][a][b] for a, b in pairwise(path)]
        line = Line(
            [streets.xs[node] for node in path],
            [streets.ys[node] for node in path],
            [streets.obstruction[node] for node in path],
            [arc.speed_mps * self._pace for arc in arcs],
            [arc.covered for arc in arcs],
        )
        return Ride(line, self._red_lights(path, line.lengths_m()), LIMITS[self._mode])

    def _red_lights(self, path: list[int], lengths_m: list[float]) -> dict[int, float]:
        """Seconds to wait, by vertex; the lights of one junction hold a rider once."""
        halts_s: dict[int, float] = {}
        since_last_m = math.inf
        for vertex in range(1, len(path) - 1):
            since_last_m += lengths_m[vertex - 1]
            if path[vertex] in self._streets.signals and since_last_m > SIGNALS_APART_M:
                since_last_m = 0.0
                if self._rng.random() < RED_LIGHT_CHANCE[self._mode]:
                    halts_s[vertex] = self._rng.uniform(4.0, 45.0)
        return halts_s


def _seconds(ride: Ride | None) -> float:
    return ride.duration_s if ride else 0.0
