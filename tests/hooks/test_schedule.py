"""What answers mean and when the next attempt is due: pure rules, so three days pass in no time."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.hooks.schedule import (
    GIVE_UP_AFTER_S,
    MAX_REFUSALS,
    MAX_RETRY_AFTER_S,
    PAUSES_S,
    Answer,
    Meaning,
    Series,
    State,
    Verdict,
    judge,
    meaning_of,
    retry_after_s,
)

START_MS = 1_800_000_000_000


def attempts(answer: Answer, random: Random) -> list[tuple[int, Verdict]]:
    """Every attempt at a delivery that is always answered like this, with its time, at once when it is due."""
    at_ms, series, made = START_MS, Series(), list[tuple[int, Verdict]]()
    while True:
        verdict = judge(series, answer, at_ms, at_ms, random)
        made.append((at_ms, verdict))
        if verdict.state is not State.PENDING:
            return made
        at_ms, series = verdict.due_ms, verdict.series


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert judge(Series(), Answer(status), START_MS, START_MS, Random(1)).state is State.DELIVERED


@pytest.mark.parametrize("status", [None, 301, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599, 100])
def test_what_waiting_may_cure_holds_the_order(status: int | None) -> None:
    assert meaning_of(status) is Meaning.HOLD


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 422, 499])
def test_other_4xx_are_refusals(status: int) -> None:
    assert meaning_of(status) is Meaning.REFUSED


def test_410_ends_nothing_but_says_that_the_receiver_is_gone() -> None:
    verdict = judge(Series(), Answer(410), START_MS, START_MS, Random(1))
    assert (verdict.state, verdict.meaning) == (State.PENDING, Meaning.GONE)


@given(st.randoms(use_true_random=False))
def test_the_first_retry_comes_after_half_a_second_to_a_second_and_the_pauses_grow(random: Random) -> None:
    times = [at_ms for at_ms, _ in attempts(Answer(503), random)]
    pauses_s = [(b - a) / 1000 for a, b in pairwise(times)]
    assert 0.5 <= pauses_s[0] <= 1.0
    assert 4.5 <= pauses_s[1] <= 5.5
    assert pauses_s[:-1] == sorted(pauses_s[:-1])
    assert all(
        low - 0.001 <= pause <= high + 0.001 for pause, (low, high) in zip(pauses_s[:-1], PAUSES_S, strict=False)
    )


@given(st.randoms(use_true_random=False), st.sampled_from([None, 429, 500, 503, 302]))
def test_a_receiver_that_never_answers_well_is_tried_for_exactly_three_days(random: Random, status: int | None) -> None:
    made = attempts(Answer(status), random)
    assert made[-1][0] - START_MS == GIVE_UP_AFTER_S * 1000
    assert made[-1][1].state is State.DEAD
    assert 10 <= len(made) <= 13


def test_a_refusal_is_put_aside_at_the_fifth() -> None:
    made = attempts(Answer(400), Random(1))
    assert len(made) == MAX_REFUSALS == 5
    assert made[-1][1].state is State.DEAD


def test_one_refusal_after_a_long_outage_is_not_the_end() -> None:
    series = Series(attempts=9, refusals=0, first_attempt_ms=START_MS)
    assert judge(series, Answer(404), START_MS + 1, START_MS + 1, Random(1)).state is State.PENDING


def test_a_retry_after_lengthens_the_pause_but_not_beyond_an_hour_and_never_shortens_it() -> None:
    def pause_s(asked_s: float) -> float:
        return (judge(Series(), Answer(503, None, asked_s), START_MS, START_MS, Random(1)).due_ms - START_MS) / 1000

    assert pause_s(40) == 40
    assert pause_s(1e9) == MAX_RETRY_AFTER_S
    assert 0.5 <= pause_s(0) <= 1.0


def test_a_server_that_was_away_for_a_week_still_makes_an_attempt_before_it_gives_up() -> None:
    week_later_ms = START_MS + 7 * 86_400_000
    series = Series(attempts=3, first_attempt_ms=START_MS)
    assert judge(series, Answer(200), week_later_ms, week_later_ms, Random(1)).state is State.DELIVERED
    assert judge(series, Answer(503), week_later_ms, week_later_ms, Random(1)).state is State.DEAD


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2027 08:00:30", 30.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("١٢", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, START_MS) == seconds


@given(st.text())
def test_no_retry_after_text_is_an_error(text: str) -> None:
    retry_after_s(text, START_MS)
