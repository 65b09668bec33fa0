"""A whole history judged again, in stretches, against the reference."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.engine import chronicle_of, columns, differences, doubts_of, expected, folded, patient, some
from tests.domain.reference import FixRow, TagsChange, Version
from tests.domain.worlds import STEP, Arrival, Change, World, arrive, box, is_close_call, worlds
from tracker.domain.fix import Flag
from tracker.domain.fold import Fold
from tracker.domain.shape import polygon

SQUARE: Final = polygon([[box(0, 0, 4, 4)]])
FAR: Final = polygon([[box(100, 100, 101, 101)]])
BUS: Final = frozenset(["bus"])


@patient
@some(50)
@given(worlds(assets=1), st.sets(st.integers(1, 40)))
def test_what_came_anyhow_is_judged_again_as_what_happened(world: World, cuts: set[int]) -> None:
    check(world.arrived, sorted(cuts))


def check(arrival: Arrival, cuts: Sequence[int]) -> None:
    told, doubts = folded(arrival, cuts)
    assert doubts == doubts_of(arrival.fixes)
    wanted = [each for each in expected(arrival) if each.fence not in arrival.deleted]
    assert differences(told, wanted) == [] or is_close_call(arrival)


def at(time_s: float, x: float, y: float = 1, **fields: int) -> FixRow:
    """A fix at a place in grid steps."""
    return FixRow(round(time_s * 1000), round(x * STEP), round(y * STEP), **fields)


def fence(version: int = 1, shape: Any = SQUARE, **options: Any) -> Version:
    return Version(1, version, 0, shape, **options)


def tagged(*tags: str) -> TagsChange:
    return TagsChange(1, 0, frozenset(tags))


Epochs = list[tuple[list[Change], list[list[FixRow]]]]
STORIES: Final[dict[str, Epochs]] = {
    "late, and twice": [([fence()], [[at(0, -1), at(20, 1), at(40, -1)], [at(30, -1), at(10, 1), at(20, 1)]])],
    "made after what was stored": [
        ([], [[at(0, -1), at(20, 1)]]),
        ([fence()], [[at(10, 1), at(20, 1), at(30, -1)]]),
    ],
    "moved away, and late fixes from before": [
        ([fence()], [[at(0, -1), at(20, 1)]]),
        ([fence(2, FAR)], [[at(10, 1), at(30, 1)]]),
        ([fence(3)], [[at(5, 1), at(25, 1), at(40, -1)]]),
    ],
    "two versions by turns": [
        ([fence()], [[at(0, -1), at(20, 1), at(40, -1), at(60, 1)]]),
        ([fence(2, confirm_fixes=2)], [[at(10, 1), at(30, 1), at(50, 1), at(70, -1)]]),
    ],
    "a quality that becomes stricter": [
        ([fence(quality="all")], [[at(0, -1), at(20, 1, flags=2)]]),
        ([fence(2, quality="trusted")], [[at(10, 1), at(30, 1, flags=8), at(40, -1)]]),
    ],
    "tags come and go": [
        ([tagged(), fence(tags=BUS)], [[at(0, 1), at(20, 1)]]),
        ([tagged("bus")], [[at(10, -1), at(30, 1)]]),
        ([tagged("tram")], [[at(25, 1), at(40, -1)]]),
        ([tagged("bus")], [[at(50, 1), at(45, 1)]]),
    ],
    "doubted, and repeated while it is": [
        (
            [fence()],
            [[at(0, -1), at(100, 1)], [at(110, 60, 60), at(110, 60, 60, flags=2), at(120, 1), *[at(110, 60, 60)] * 3]],
        )
    ],
    "the dwell of a visit that began late": [
        ([fence(dwell_after_s=30.0)], [[at(0, -1), at(40, 1), at(60, 1)], [at(20, 1), at(50, 1)]])
    ],
    "a run goes on over what was not seen, and so the chord from there is no cross": [
        (
            [tagged("bus"), fence(tags=BUS, confirm_fixes=2, cross=True)],
            [[at(0, -1), at(10, 1), at(20, 5), at(30, 1), at(40, 2), at(100, -1)]],
        ),
        ([tagged()], [[at(15, -1)]]),
    ],
    "equal places, of which the first is flagged": [
        (
            [fence(alt_min_m=10.0)],
            [[at(0, -1, alt=500), at(10, 1, alt=500)], [at(10, 1, alt=0, flags=2), at(10, 1, alt=900)]],
        )
    ],
}


@pytest.mark.parametrize("epochs", STORIES.values(), ids=STORIES)
def test_a_story_is_judged_again_as_it_happened_wherever_it_is_cut(epochs: Epochs) -> None:
    arrival = arrive(epochs)
    assert expected(arrival)
    for cut in range(len(arrival.fixes) + 1):
        check(arrival, [cut])
    check(arrival, range(len(arrival.fixes)))


def test_what_repeats_a_doubted_fix_is_doubted_in_the_next_stretch_too() -> None:
    """And is not counted as one that speaks for it."""
    fixes = [at(0, 1), *[at(10, 60, 60)] * 4, at(20, 1)]
    fold = Fold(chronicle_of(arrive([([fence()], [fixes])])), 1)
    doubts = [int(fold.run(columns([fix]), np.array([2]), [])[0]) for fix in fixes]
    assert doubts == [0, *[Flag.JUMP] * 4, 0]
