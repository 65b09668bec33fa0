"""What an answer to an attempt means, and when the next one is due: rules only, time and chance are arguments.

2xx                        delivered
410                        the receiver is gone for good: its hook is disabled, the delivery waits
4xx but 408, 425, 429      refused: put aside as a dead letter at the fifth such answer
everything else            the asset's order holds until an attempt succeeds or three days have passed
"""

import enum
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

from tracker.wire.times import to_ms

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE

# The bounds between which chance chooses the pause after the first, second, … attempt; the last is repeated.
PAUSES_S: Final[tuple[tuple[float, float], ...]] = (
    (0.5, 1.0),
    *(
        (0.9 * s, 1.1 * s)
        for s in (
            5,
            30,
            5 * _MINUTE,
            30 * _MINUTE,
            2 * _HOUR,
            5 * _HOUR,
            10 * _HOUR,
            14 * _HOUR,
            20 * _HOUR,
            24 * _HOUR,
        )
    ),
)
GIVE_UP_AFTER_S: Final = 72 * _HOUR
MAX_REFUSALS: Final = 5
MAX_RETRY_AFTER_S: Final = 1 * _HOUR  # a receiver that asks for more is asked again after an hour


class Meaning(enum.Enum):
    """What an answer says about the attempts to come."""

    SUCCESS = enum.auto()
    GONE = enum.auto()
    REFUSED = enum.auto()
    HOLD = enum.auto()


class State(enum.Enum):
    """What a delivery is, in the words of the table."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended. Without a status no answer came, and `error` says why in our own words."""

    status: int | None
    error: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """The attempts at one delivery so far."""

    attempts: int = 0
    refusals: int = 0
    first_attempt_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a delivery has become by an attempt."""

    state: State
    meaning: Meaning
    series: Series
    due_ms: int  # of the next attempt, while it is pending


def meaning_of(status: int | None) -> Meaning:
    """The table above."""
    if status is None or status in (408, 425, 429):
        return Meaning.HOLD
    if status == 410:
        return Meaning.GONE
    return {2: Meaning.SUCCESS, 4: Meaning.REFUSED}.get(status // 100, Meaning.HOLD)


def judge(series: Series, answer: Answer, at_ms: int, now_ms: int, random: Random) -> Verdict:
    """The delivery after an attempt that began at `at_ms` and ended now."""
    meaning = meaning_of(answer.status)
    first_ms = at_ms if series.first_attempt_ms is None else series.first_attempt_ms
    refusals = series.refusals + (meaning is Meaning.REFUSED)
    series = replace(series, attempts=series.attempts + 1, refusals=refusals, first_attempt_ms=first_ms)
    deadline_ms = first_ms + GIVE_UP_AFTER_S * 1000
    if meaning is Meaning.SUCCESS:
        return Verdict(State.DELIVERED, meaning, series, now_ms)
    if meaning is Meaning.GONE:
        return Verdict(State.PENDING, meaning, series, now_ms)
    if refusals >= MAX_REFUSALS or now_ms >= deadline_ms:
        return Verdict(State.DEAD, meaning, series, now_ms)
    due_ms = now_ms + round(1000 * _pause_s(series.attempts, answer, random))
    # The last attempt is made when the three days end, not before.
    return Verdict(State.PENDING, meaning, series, min(due_ms, deadline_ms))


def _pause_s(attempts: int, answer: Answer, random: Random) -> float:
    pause_s = random.uniform(*PAUSES_S[min(attempts, len(PAUSES_S)) - 1])
    return max(pause_s, min(answer.retry_after_s or 0, MAX_RETRY_AFTER_S))


def retry_after_s(text: str | None, now_ms: int) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or an HTTP date; None when it makes no sense."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (to_ms(when) - now_ms) / 1000)
