"""What is told when an asset was judged again, and which visits stand then."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.domain.scenes import box, fence
from tracker.domain.fold import Fact
from tracker.domain.presence import DWELL, ENTER, EXIT, Crossed
from tracker.domain.revision import Difference, Outcome, Standing, Turn, Visit, compare, settled, visits
from tracker.domain.shape import polygon

YARD, DEPOT = (fence(number, polygon([[box(0, 0, 4, 4)]])) for number in (1, 2))


def fact(kind: int, time_ms: int, lon: int = 0, *, of: Any = YARD, **fields: Any) -> Fact:
    said: dict[str, Any] = {"device": 1, "initial": False, "cause": None, "crossed": None} | fields
    return Fact(kind, of, time_ms, lon, 0, **said)


def standing(number: int, told: Fact) -> Standing:
    """The event that told of it."""
    where = told.time_ms, told.lon, told.lat
    said = told.initial, told.cause, told.crossed
    return Standing(number, told.kind, told.fence.id, told.fence.version, told.device, *where, *said)


ENTERED, LEFT = fact(ENTER, 10), fact(EXIT, 20)


def test_what_stands_already_is_left_alone() -> None:
    old = [standing(1, ENTERED), standing(2, LEFT)]
    told, kept = compare(old, [ENTERED, LEFT])
    assert told == []
    assert sorted(kept, key=lambda each: each.fact.time_ms) == [Outcome(ENTERED, old[0]), Outcome(LEFT, old[1])]


@pytest.mark.parametrize(
    "changed",
    [
        fact(ENTER, 11),
        fact(ENTER, 10, lon=1),
        fact(ENTER, 10, initial=True),
        fact(ENTER, 10, cause="schedule"),
        fact(ENTER, 10, crossed=Crossed(9, 0, 0)),
    ],
)
def test_another_time_place_cause_crossing_or_initial_revises(changed: Fact) -> None:
    old = standing(1, ENTERED)
    assert compare([old], [changed]) == ([Difference(old, changed)], [])


def test_of_one_kind_and_geofence_the_lost_and_the_found_are_paired_in_their_order() -> None:
    first, second, other = standing(7, fact(ENTER, 10)), standing(3, fact(ENTER, 30)), standing(5, fact(EXIT, 20))
    found = [fact(ENTER, 12), fact(ENTER, 32), fact(ENTER, 50), fact(ENTER, 20, of=DEPOT)]
    told, kept = compare([second, other, first], found)
    assert told == [
        Difference(first, found[0]),
        Difference(other, None),  # retracted: no other exit took its place
        Difference(None, found[3]),  # late: of another geofence
        Difference(second, found[1]),
        Difference(None, found[2]),
    ]
    assert kept == []


def test_of_events_that_are_equal_each_stands_for_one_fact() -> None:
    both = [standing(1, ENTERED), standing(2, ENTERED)]
    told, kept = compare(both, [ENTERED])
    assert kept == [Outcome(ENTERED, both[0])]
    assert told == [Difference(both[1], None)]


def turn(kind: int, time_ms: int, event: int, replaces: int | None = None) -> Turn:
    return Turn((time_ms, 0, 0), kind, event, replaces, version=1, initial=False)


def visit(number: int | None, enter: tuple[int, int], exit_: tuple[int, int] | None = None) -> Visit:
    """Enter and exit as (time, event)."""
    return Visit(number, 1, 1, *enter, False, *(exit_ or ()))


def after(
    before: Sequence[Visit], turns: Sequence[Turn], replaced: set[int], entered_ms: int | None = None, **options: bool
) -> tuple[list[int], list[Visit]]:
    return visits(1, before, turns, frozenset(replaced), entered_ms, **{"at_end": True, **options})


def test_a_visit_that_comes_to_light_is_new() -> None:
    assert after([], [turn(ENTER, 10, 1), turn(EXIT, 20, 2)], set()) == ([], [visit(None, (10, 1), (20, 2))])


def test_a_visit_keeps_its_number_when_its_events_are_revised() -> None:
    turns = [turn(ENTER, 11, 3, replaces=1), turn(EXIT, 19, 4, replaces=2)]
    assert after([visit(7, (10, 1), (20, 2))], turns, {1, 2}) == ([7], [visit(7, (11, 3), (19, 4))])


def test_a_visit_that_did_not_happen_gives_way() -> None:
    assert after([visit(7, (10, 1), (20, 2))], [], {1, 2}) == ([7], [])


def test_a_visit_of_before_the_stretch_goes_on_and_ends_anew() -> None:
    known = visit(7, (10, 1), (20, 2))
    assert after([known], [turn(EXIT, 15, 3, replaces=2)], {2}, 10) == ([7], [visit(7, (10, 1), (15, 3))])
    # Another visit that was over before is nobody's business.
    over = visit(6, (1, 8), (5, 9))
    assert after([over, known], [turn(EXIT, 15, 3)], {2}, 10) == ([7], [visit(7, (10, 1), (15, 3))])


def test_of_visits_that_began_in_one_millisecond_the_one_that_lasted_is_under_way() -> None:
    known, touched = visit(7, (10, 1), (20, 2)), visit(9, (10, 3), (10, 4))
    assert after([known, touched], [turn(EXIT, 12, 5, replaces=2)], {2}, 10) == ([7], [visit(7, (10, 1), (12, 5))])


def test_who_was_outside_when_the_stretch_began_has_no_visit_under_way() -> None:
    over = visit(6, (1, 8), (5, 9))
    assert after([over], [turn(ENTER, 10, 3)], set(), None) == ([], [visit(None, (10, 3))])


def test_a_visit_that_lasts_beyond_the_stretch_ends_as_it_was_told() -> None:
    known = visit(7, (10, 1), (90, 9))
    assert after([known], [turn(ENTER, 8, 3, replaces=1)], {1}, at_end=False) == ([7], [visit(7, (8, 3), (90, 9))])
    # At the end of all fixes nobody left later, and an exit that is no more ends nothing.
    assert after([known], [turn(ENTER, 8, 3, replaces=1)], {1, 9}) == ([7], [visit(7, (8, 3))])
    assert after([known], [turn(ENTER, 8, 3, replaces=1)], {1, 9}, at_end=False) == ([7], [visit(7, (8, 3))])


def test_a_visit_split_in_two_ends_twice_and_the_second_is_new() -> None:
    known = visit(7, (10, 1), (90, 9))
    turns = [turn(EXIT, 20, 3), turn(ENTER, 30, 4)]
    halves = [visit(7, (10, 1), (20, 3)), visit(None, (30, 4), (90, 9))]
    assert after([known], turns, set(), 10, at_end=False) == ([7], halves)


def test_only_enters_and_exits_make_visits() -> None:
    turns = [turn(ENTER, 10, 1), turn(DWELL, 15, 2), turn(EXIT, 20, 3), turn(EXIT, 25, 4)]
    assert after([], turns, set()) == ([], [visit(None, (10, 1), (20, 3))])


# As far as it was judged ----------------------------------------------------------------------------------------------


def test_what_is_judged_so_far_is_told_up_to_where_both_stories_are_on_one_side() -> None:
    old = [standing(1, ENTERED), standing(2, LEFT), standing(3, fact(ENTER, 40)), standing(4, fact(DWELL, 50))]
    new = [fact(ENTER, 12), fact(EXIT, 22), fact(ENTER, 30, of=DEPOT), fact(DWELL, 55)]
    found = settled(old, new, [visit(1, (10, 1), (20, 2)), visit(2, (40, 3))], {}, complete=False)
    assert (found.old, found.new) == ([old[0], old[1], old[3]], [new[0], new[1], new[3]])
    assert (found.left_old, found.left_new) == ([old[2]], [new[2]])
    assert found.left_entered == {YARD.id: None, DEPOT.id: None}
    whole = settled(old, new, [], {}, complete=True)
    assert (whole.old, whole.new, whole.left_old, whole.left_new) == (old, new, (), ())


def test_inside_since_another_fix_is_not_the_same_side() -> None:
    old, new = [standing(2, LEFT)], [fact(EXIT, 15), fact(ENTER, 17)]
    known = visit(7, (3, 1), (20, 2))
    found = settled(old, new, [known], {YARD.id: 3}, complete=False)
    assert (found.old, found.new, found.left_old, found.left_new) == ([], [], old, new)
    assert found.left_entered == {YARD.id: 3}
    old = [standing(2, fact(EXIT, 16)), standing(9, fact(ENTER, 17))]
    same = settled(old, new, [visit(7, (3, 1), (16, 2)), visit(8, (17, 9))], {YARD.id: 3}, complete=False)
    assert (len(same.old), len(same.new), same.left_entered) == (2, 2, {})


def test_turns_at_one_place_come_in_no_order() -> None:
    old = [standing(5, fact(ENTER, 20)), standing(9, fact(EXIT, 20))]  # the exit was told later
    stays = [visit(7, (3, 1), (20, 9)), visit(8, (20, 5))]
    assert settled(old, [LEFT, fact(ENTER, 20)], stays, {YARD.id: 3}, complete=False).left_entered == {}


def test_a_visit_of_which_the_exit_lies_before_the_enter_is_mended_whole() -> None:
    """Also where another one ends between the two, so that enters and exits take turns all the same."""
    exit_, enter = standing(2, LEFT), standing(1, fact(ENTER, 40))
    odd = visit(7, (40, 1), (20, 2))
    so_far = settled([exit_], [], [odd], {}, complete=False)
    assert (so_far.old, so_far.left_old) == ([], [exit_])
    whole = settled([exit_, enter], [], [odd], {}, complete=False)
    assert (whole.old, whole.left_old) == ([exit_, enter], [])
    known, left, new = visit(6, (3, 8), (40, 9)), standing(9, fact(EXIT, 40)), [fact(EXIT, 15)]
    so_far = settled([exit_], new, [known, odd], {YARD.id: 3}, complete=False)
    assert (so_far.left_old, so_far.left_new) == ([exit_], new)
    whole = settled([exit_, enter, left], new, [known, odd], {YARD.id: 3}, complete=False)
    assert (whole.left_old, whole.left_new) == ([], [])
