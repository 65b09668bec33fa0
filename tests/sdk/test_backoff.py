"""How long a device stays away."""

import random

from tracker.sdk.backoff import Backoff


def test_the_bound_doubles_from_half_a_second_to_a_minute() -> None:
    backoff = Backoff(lambda: 1.0)

    assert [backoff.next_s() for _ in range(10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_success_starts_it_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.next_s()
    backoff.next_s()

    backoff.reset()

    assert backoff.next_s() == 0.5


def test_delays_are_spread_over_the_whole_bound() -> None:
    draw = random.Random(1).random

    delays = sorted(Backoff(draw).next_s() for _ in range(1_000))

    assert delays[0] < 0.01
    assert delays[-1] > 0.49
    assert 0.2 < delays[500] < 0.3


def test_a_year_of_failures_does_not_overflow() -> None:
    backoff = Backoff(lambda: 1.0)

    assert {backoff.next_s() for _ in range(100_000)} == {0.5, 1, 2, 4, 8, 16, 32, 60}
