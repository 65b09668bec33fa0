from collections import Counter

import pytest

from tracker.fleet.mover import Truth
from tracker.fleet.roster import Habit, Member, roster

NOW_S = 1_790_000_000.0


@pytest.fixture(scope="module")
def members() -> list[Member]:
    return roster(40, 1)


def test_a_fleet_is_couriers_trams_ships_and_flights(members: list[Member]) -> None:
    kinds = Counter(member.tags[-1] for member in members)
    assert kinds == {"bike": 20, "car": 12, "foot": 8, "tram": 8, "ship": 7, "flight": 6}


def test_every_name_is_used_once(members: list[Member]) -> None:
    assert len({member.name for member in members}) == len(members)
    assert len({member.name for member in roster(100, 1)}) == 100 + 8 + 7 + 6


def test_a_larger_fleet_finds_its_smaller_self_again(members: list[Member]) -> None:
    larger = {member.name: member for member in roster(55, 1)}
    for member in members[:5]:
        assert larger[member.name].mover.at(NOW_S) == member.mover.at(NOW_S)


def test_some_devices_are_late_and_some_restart(members: list[Member]) -> None:
    habits = {habit: sum(member.habit is habit for member in members) for habit in Habit}
    assert habits[Habit.LATE_IN_ORDER] == 4
    assert habits[Habit.LATE_NEWEST_FIRST] == 4
    assert habits[Habit.REBOOTS] == 2


def test_the_fleet_is_spread_out_and_moving_at_any_moment(members: list[Member]) -> None:
    truths: list[Truth] = [member.mover.at(NOW_S) for member in members[:40]]
    assert len({(truth.lon, truth.lat) for truth in truths}) >= 30  # some wait at the same corner
    assert sum(truth.speed_mps > 0 for truth in truths) >= 12
