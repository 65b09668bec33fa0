import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.profile import Limits, Profile

LIMITS = Limits(12.0, 1.5, 2.0)
Made = tuple[Profile, float, list[float]]


@st.composite
def profiles(draw: st.DrawFn) -> Made:
    """A profile, its line's length, and the caps of its stretches."""
    lengths = draw(st.lists(st.floats(0.01, 400), min_size=1, max_size=12))
    caps = [draw(st.floats(0.5, 12)) for _ in lengths]
    joints = [draw(st.floats(0.5, 12)) for _ in range(len(lengths) + 1)]
    inner = list(range(1, len(lengths)))
    halts = draw(st.dictionaries(st.sampled_from(inner), st.floats(1, 30), max_size=3)) if inner else {}
    return Profile(lengths, caps, joints, halts, LIMITS), sum(lengths), caps


@settings(deadline=None)
@given(profiles())
def test_a_profile_covers_its_whole_line_and_stands_at_both_ends(made: Made) -> None:
    profile, length_m, _ = made
    assert profile.length_m == pytest.approx(length_m, abs=1e-6 * length_m + 1e-6)
    assert profile.at(-1.0) == (0.0, 0.0)
    assert profile.at(profile.duration_s + 1.0) == (profile.length_m, 0.0)


@settings(deadline=None)
@given(profiles())
def test_speed_never_jumps_and_distance_never_shrinks(made: Made) -> None:
    profile, _, caps = made
    step_s = max(0.05, profile.duration_s / 400)
    before_m, before_mps = profile.at(0.0)
    for i in range(1, math.ceil(profile.duration_s / step_s) + 2):
        distance_m, speed_mps = profile.at(i * step_s)
        assert speed_mps <= max(caps) + 1e-9
        assert -2.0 * step_s - 1e-6 <= speed_mps - before_mps <= 1.5 * step_s + 1e-6
        assert -1e-6 <= distance_m - before_m <= max(caps) * step_s + 1e-6
        before_m, before_mps = distance_m, speed_mps


def test_a_halt_stands_as_long_as_it_was_told() -> None:
    with_halt = Profile([100.0, 100.0], [10.0, 10.0], [10.0] * 3, {1: 30.0}, LIMITS)
    standing = [t / 10 for t in range(round(with_halt.duration_s * 10)) if with_halt.at(t / 10)[1] < 1e-6]
    assert standing[-1] - standing[1] == pytest.approx(30.0, abs=0.5)
    assert with_halt.at(standing[-1])[0] == pytest.approx(100.0, abs=0.01)


def test_a_sharp_corner_is_taken_slower_than_a_gentle_one() -> None:
    limits = Limits(12.0, 1.5, 2.0, sideways_mps2=2.4, corner_m=7.0, slowest_mps=1.5)
    gentle, right_angle, back = (limits.corner_mps(math.radians(turn), 50.0, 50.0) for turn in (15, 90, 180))
    assert gentle > right_angle > back
    assert right_angle == pytest.approx(math.sqrt(2.4 * 7.0))
    assert back == 1.5
    assert limits.corner_mps(0.0, 50.0, 50.0) == math.inf
