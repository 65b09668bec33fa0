"""Who is in the fleet: names, kinds, and what each one's device is like.

The first names of a roster do not change as it grows, so a larger fleet finds its smaller self again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from tracker.fleet.couriers import Courier
from tracker.fleet.extract import extract_path, read_extract
from tracker.fleet.lanes import AIRWAYS, LANES
from tracker.fleet.mover import Mover
from tracker.fleet.receiver import Grade
from tracker.fleet.streets import Mode, Streets
from tracker.fleet.trams import trams
from tracker.fleet.voyages import Flight, Ship

TRAMS: Final = 8
# Ten couriers hold this mixture; the next ten hold it again.
# fmt: off
MIXTURE: Final = (
    Mode.BIKE, Mode.CAR, Mode.BIKE, Mode.FOOT, Mode.BIKE, Mode.CAR, Mode.BIKE, Mode.BIKE, Mode.CAR, Mode.FOOT,
)
PEOPLE: Final = (
    "Aino", "Eino", "Helmi", "Onni", "Venla", "Oiva", "Lumi", "Toivo", "Siiri", "Väinö",
    "Elli", "Urho", "Kerttu", "Armas", "Saimi", "Tauno", "Hilla", "Veikko", "Aune", "Reino",
    "Impi", "Sulo", "Lempi", "Ilmari", "Tyyne", "Arvo", "Meeri", "Otso", "Pihla", "Kaapo",
    "Ilta", "Eemeli", "Aava", "Joel", "Vilja", "Hugo", "Tuuli", "Leevi", "Seela", "Nuutti",
)
# fmt: on
# Consumer receivers; the walls' part is what makes a downtown track look like one.
GRADES: Final[dict[str, Grade]] = {
    "phone": Grade(2.2, 6.5, 45.0, 25.0, 3.0, 20.0),
    "good phone": Grade(1.6, 5.0, 60.0, 12.0, 2.0, 15.0),
    "box": Grade(1.4, 4.0, 60.0, 8.0, 1.0, 30.0),
    "old phone": Grade(3.0, 9.0, 30.0, 40.0, 5.0, 30.0),
    "tram": Grade(1.2, 3.0, 90.0, 3.0, 2.0, 10.0),
    "ship": Grade(2.0, 2.0, 120.0, 0.0, 15.0, 60.0),
    "aircraft": Grade(4.0, 4.0, 120.0, 0.0, 10.0, 60.0),
}


class Habit(StrEnum):
    """How a device brings in what it recorded."""

    STEADY = "steady"
    LATE_IN_ORDER = "late, oldest first"
    LATE_NEWEST_FIRST = "late, newest first"
    REBOOTS = "reboots"


@dataclass(frozen=True, slots=True)
class Member:
    """One of the fleet: what moves, and the device that reports it."""

    name: str
    tags: tuple[str, ...]
    mover: Mover
    grade: Grade
    habit: Habit
    battery: bool


def roster(couriers: int, seed: int) -> list[Member]:
    """The whole fleet; reading the streets takes about a second."""
    extract = read_extract(extract_path())
    streets = Streets(extract)
    members = [_courier(streets, number, seed) for number in range(couriers)]
    members.extend(
        Member(f"Tram {tram.line} · {number}", ("tram",), tram, GRADES["tram"], Habit.STEADY, battery=False)
        for number, tram in enumerate(trams(extract, streets, TRAMS, f"{seed}/tram"), start=1)
    )
    members.extend(_voyages(seed))
    return members


def _courier(streets: Streets, number: int, seed: int) -> Member:
    mode = MIXTURE[number % len(MIXTURE)]
    round_of_names = number // len(PEOPLE)
    name = PEOPLE[number % len(PEOPLE)] + (f" {round_of_names + 1}" if round_of_names else "")
    rng = Random(f"{seed}/{name}")
    grade = GRADES["box"] if mode is Mode.CAR else GRADES[rng.choice(("phone", "phone", "good phone", "old phone"))]
    return Member(
        name=f"{name} ({mode})",
        tags=("courier", mode.value),
        mover=Courier(streets, mode, f"{seed}/{name}"),
        grade=grade,
        habit=_habit(number),
        battery=mode is not Mode.CAR,
    )


def _habit(number: int) -> Habit:
    """Of ten couriers two ride through dead spots, and of twenty one has a device that restarts."""
    if number % 10 == 3:
        return Habit.LATE_IN_ORDER
    if number % 10 == 6:
        return Habit.LATE_NEWEST_FIRST
    return Habit.REBOOTS if number % 20 == 8 else Habit.STEADY


def _voyages(seed: int) -> Iterator[Member]:
    for lane in LANES:
        ship = Ship(lane, f"{seed}/{lane.name}")
        grade = replace(GRADES["ship"], moving_s=lane.fix_every_s)
        yield Member(lane.name, ("ship",), ship, grade, Habit.STEADY, battery=False)
    for airway in AIRWAYS:
        flight = Flight(airway, f"{seed}/{airway.flight}")
        yield Member(f"Flight {airway.flight}", ("flight",), flight, GRADES["aircraft"], Habit.STEADY, battery=False)
