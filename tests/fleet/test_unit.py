from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.couriers import Courier
from tracker.fleet.roster import GRADES, Habit, Member
from tracker.fleet.streets import Mode, Streets
from tracker.fleet.unit import OUTAGE_EVERY_S, OUTAGE_S, Outages, Unit
from tracker.sdk.fixes import encode_fix, make_fix

NOW_S = 1_790_000_000.0


def member(streets: Streets, habit: Habit = Habit.STEADY) -> Member:
    aino = Courier(streets, Mode.BIKE, "1/Aino")
    return Member("Aino", ("courier", "bike"), aino, GRADES["phone"], habit, battery=True)


def looks(unit: Unit, seconds: float, speed: float = 1.0) -> list[dict[str, Any]]:
    due_s, fixes = NOW_S, []
    while due_s < NOW_S + seconds:
        fix, due_s = unit.look(due_s, int(due_s * 1000), speed)
        if fix:
            fixes.append(fix)
    return fixes


def test_the_same_seed_reports_the_same_and_another_does_not(streets: Streets) -> None:
    first = looks(Unit(member(streets), 1), 600)
    assert first == looks(Unit(member(streets), 1), 600)
    assert first != looks(Unit(member(streets), 2), 600)


def test_every_fix_is_one_that_the_sdk_takes(streets: Streets) -> None:
    fixes = looks(Unit(member(streets), 1), 1800)
    assert len(fixes) > 100
    for fix in fixes:
        assert encode_fix(make_fix(**fix), 0)
        assert 0.1 <= fix["attributes"]["battery"] <= 1.0
        assert fix["attributes"]["task"]


def test_fixes_come_every_few_seconds_while_moving_and_have_gaps_under_roofs(streets: Streets) -> None:
    times = [fix["time"] / 1000 for fix in looks(Unit(member(streets), 1), 5400)]
    gaps = [after - before for before, after in pairwise(times)]
    assert sorted(gaps)[len(gaps) // 2] <= 5.0
    assert any(30 <= gap <= 200 for gap in gaps)
    assert max(gaps) < 240


def test_no_fix_is_farther_from_the_last_than_its_speed_and_errors_allow(streets: Streets) -> None:
    unit = Unit(member(streets), 1)
    fixes = looks(unit, 3600)
    for before, after in pairwise(fixes):
        step_m = ((after["lon"] - before["lon"]) ** 2 * 0.2475 + (after["lat"] - before["lat"]) ** 2) ** 0.5 * 111_195
        errors_m = 4 * (before["accuracy_m"] + after["accuracy_m"])
        assert step_m <= 7.5 * (after["time"] - before["time"]) / 1000 + errors_m


def test_in_a_faster_world_speeds_are_reported_as_they_are_seen(streets: Streets) -> None:
    slow, fast = looks(Unit(member(streets), 1), 300), looks(Unit(member(streets), 1), 300, speed=10.0)
    assert [fix["speed_mps"] for fix in fast] == pytest.approx([fix["speed_mps"] * 10 for fix in slow], abs=0.06)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=5))
def test_an_outage_lasts_as_long_as_it_should(seed: str) -> None:
    outages = Outages(seed, OUTAGE_S)
    covered = [outages.cover(second) for second in range(int(4 * OUTAGE_EVERY_S))]
    runs = "".join("x" if c else "." for c in covered).split(".")
    # Two quarters of an hour may follow each other without a pause.
    assert all(OUTAGE_S[0] - 1 <= len(run) <= 2 * OUTAGE_S[1] + 1 for run in runs if run)


def test_only_devices_with_such_habits_are_ever_out_of_reach(streets: Streets) -> None:
    steady, late = Unit(member(streets), 1), Unit(member(streets, Habit.LATE_IN_ORDER), 1)
    seconds = range(0, 8 * int(OUTAGE_EVERY_S), 10)
    assert not any(steady.out_of_reach(NOW_S + second) for second in seconds)
    assert any(late.out_of_reach(NOW_S + second) for second in seconds)
