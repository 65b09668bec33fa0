"""When a recorded fix is due, and what time it carries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracker.replay.timeline import Timeline

RECORDED = np.array([1_000, 2_000, 61_000], np.int64)
NOW_MS = 1_700_000_000_000


def test_as_recorded_nothing_is_moved() -> None:
    timeline = Timeline(1_000, 61_000, NOW_MS, speed=600)

    assert timeline.carried_ms(RECORDED).tolist() == [1_000, 2_000, 61_000]
    assert timeline.faster == 1


def test_moved_to_now_with_a_speed_a_fix_carries_the_moment_it_is_sent() -> None:
    timeline = Timeline(1_000, 61_000, NOW_MS, speed=10, to_now=True)

    assert timeline.carried_ms(RECORDED).tolist() == [NOW_MS, NOW_MS + 100, NOW_MS + 6_000]
    assert timeline.faster == 10


def test_moved_to_now_without_a_speed_the_last_fix_is_of_now() -> None:
    timeline = Timeline(1_000, 61_000, NOW_MS, to_now=True)

    assert timeline.carried_ms(RECORDED).tolist() == [NOW_MS - 60_000, NOW_MS - 59_000, NOW_MS]
    assert timeline.faster == 1


def test_without_a_speed_everything_is_due() -> None:
    timeline = Timeline(1_000, 61_000, NOW_MS)

    assert timeline.reached_ms(NOW_MS) == 61_000
    assert timeline.due_in_s(61_000, NOW_MS) == 0


def test_with_a_speed_the_recording_runs_that_much_faster_than_the_clock() -> None:
    timeline = Timeline(1_000, 61_000, NOW_MS, speed=600)

    assert timeline.reached_ms(NOW_MS) == 1_000
    assert timeline.reached_ms(NOW_MS + 50) == 31_000
    assert timeline.due_in_s(61_000, NOW_MS + 50) == 0.05


@given(st.integers(0, 10**12), st.floats(0.01, 1e6), st.integers(0, 10**7))
def test_no_fix_carries_a_time_that_is_yet_to_come(recorded_ms: int, speed: float, passed_ms: int) -> None:
    timeline = Timeline(0, 10**12, NOW_MS, speed=speed, to_now=True)

    if recorded_ms <= timeline.reached_ms(NOW_MS + passed_ms):
        assert timeline.carried_ms(np.array([recorded_ms], np.int64))[0] <= NOW_MS + passed_ms
