"""Recurrence rules of RFC 5545, on a clock without a zone: which times of a stretch a rule names.

dateutil knows which days of a year a rule's parts select; intervals, times of day and positions are counted here. It is
asked about one year at a time, so that a rule that never matches costs no more than another: left alone it would look
for a match until the year 9999.
"""

import re
from calendar import isleap
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
from dateutil import rrule

from tracker.domain.timezone import DAY_S, Seconds, seconds, year_begin_s, year_of

MAX_PER_DAY: Final = 96  # a quarter of an hour apart
MAX_INTERVAL: Final = 9_999
MAX_COUNT: Final = 10_000

_FREQUENCIES: Final = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY")
_WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEKDAY = re.compile(rf"([+-]?\d{{1,2}})?({'|'.join(_WEEKDAYS)})")
# The parts that are lists of numbers: the greatest number, and whether negative ones count from the end.
_NUMBERS: Final = {
    "BYMONTH": (12, False),
    "BYWEEKNO": (53, True),
    "BYYEARDAY": (366, True),
    "BYMONTHDAY": (31, True),
    "BYSETPOS": (366, True),
    "BYHOUR": (23, False),
    "BYMINUTE": (59, False),
    "BYSECOND": (59, False),
}
_FROM_ZERO: Final = {"BYHOUR", "BYMINUTE", "BYSECOND"}
_PARTS: Final = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_NUMBERS}
_Days = tuple[tuple[str, tuple[Any, ...]], ...]  # names and values of dateutil's arguments
_Kind = tuple[int, bool, bool, bool]
_ONE_YEAR: Final = 10_000  # an interval after which there is no other year


class InvalidRule(ValueError):
    """A rule that cannot be followed; the message completes the sentence that begins with RRULE."""


@dataclass(frozen=True, slots=True, eq=False)
class Recurrence:
    """One rule. Times are seconds since 1970 on the clock of the event."""

    start: datetime
    frequency: str
    interval: int
    week_start: int
    count: int | None
    until: str | None  # for whoever knows the event's zone
    days: _Days  # what dateutil is asked
    times_s: Seconds  # of each day, sorted
    positions: Seconds | None

    @classmethod
    def parse(cls, text: str, start: datetime) -> Self:
        """A rule for an event that first begins at start.

        Raises:
            InvalidRule: it has a fault, or too many occurrences a day.
        """
        parts = _parts(text)
        frequency = parts["FREQ"]
        numbers = {name: _numbers(parts[name], name) for name in _NUMBERS if name in parts}
        weekdays = _weekdays(parts["BYDAY"]) if "BYDAY" in parts else []
        _check(frequency, parts, numbers, weekdays)
        return cls(
            start,
            frequency,
            _whole(parts.get("INTERVAL", "1"), "INTERVAL", MAX_INTERVAL),
            _WEEKDAYS.index(parts.get("WKST", "MO")),
            _whole(parts["COUNT"], "COUNT", MAX_COUNT) if "COUNT" in parts else None,
            parts.get("UNTIL"),
            _days(frequency, numbers, weekdays, start),
            _times_s(frequency, numbers, start),
            np.array(numbers["BYSETPOS"], dtype=np.int64) if "BYSETPOS" in numbers else None,
        )

    def times(self, low_s: int, high_s: int) -> Seconds:
        """The times from low_s to high_s that the rule names, its start at the earliest; COUNT and UNTIL aside."""
        low_s = max(low_s, seconds(self.start))
        if low_s > high_s:
            return np.empty(0, np.int64)
        # A week may lie in two years, and positions are counted in a whole one.
        first, last = year_of(low_s - 7 * DAY_S), year_of(high_s + 7 * DAY_S)
        days = np.concatenate(
            [
                year_begin_s(year) // DAY_S + _days_of(self.days, self.week_start, _kind(year))
                for year in range(first, last + 1)
            ]
        )
        times = (days[:, None] * DAY_S + self.times_s).ravel()
        period = self._period(times)
        times = times[(period - self._period(np.array([seconds(self.start)]))) % self.interval == 0]
        if self.positions is not None:
            times = self._at_positions(times)
        return times[(times >= low_s) & (times <= high_s)]

    def _period(self, times: Seconds) -> Seconds:
        """The number of the year, month, week, day or hour that each time lies in."""
        match self.frequency:
            case "YEARLY":
                return times.astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64)
            case "MONTHLY":
                return times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
            case "WEEKLY":
                return (times // DAY_S + 3 - self.week_start) // 7  # 1970 began on a Thursday
            case "DAILY":
                return times // DAY_S
            case _:
                return times // 3600

    def _at_positions(self, times: Seconds) -> Seconds:
        _, first, place, size = np.unique(
            self._period(times), return_index=True, return_inverse=True, return_counts=True
        )
        position = np.arange(len(times)) - first[place]
        assert self.positions is not None
        return times[np.isin(position + 1, self.positions) | np.isin(position - size[place], self.positions)]


@lru_cache(maxsize=1024)
def _kind(year: int) -> _Kind:
    """What tells two calendars apart: the weekday of the first day; leap years before, in and after the year."""
    weekday = (year_begin_s(year) // DAY_S + 3) % 7  # 1970 began on a Thursday
    return weekday, isleap(year - 1), isleap(year), isleap(year + 1)


@lru_cache(maxsize=4096)  # at most 3 kB each
def _days_of(days: _Days, week_start: int, kind: _Kind) -> Seconds:
    """The days that these parts select in a year of this kind, counted from 0."""
    year = next(each for each in range(1972, 2000) if _kind(each) == kind)  # 28 years have every kind
    begin = datetime(year, 1, 1)  # noqa: DTZ001
    asked = dict(days)
    weeks = asked.pop("byweekno", None)
    found = rrule.rrule(rrule.YEARLY, dtstart=begin, interval=_ONE_YEAR, wkst=week_start, **asked)
    return np.array(
        [(day - begin).days for day in found if weeks is None or _in_weeks(day, week_start, weeks)], dtype=np.int64
    )


def _in_weeks(day: datetime, week_start: int, weeks: tuple[int, ...]) -> bool:
    """Whether a day lies in one of these weeks of the year that has most of its week.

    Not left to dateutil, which (as of 4.0) gives the first days of January to week 53 in years that have none.
    """
    middle = day + timedelta(days=3 - (day.weekday() - week_start) % 7)
    passed = middle.timetuple().tm_yday - 1
    left = 364 + isleap(middle.year) - passed
    return passed // 7 + 1 in weeks or -(left // 7) - 1 in weeks


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.upper().rstrip(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals or name not in _PARTS or name in parts:
            raise InvalidRule(f"has {part[:40]!r}: a rule is FREQ=… and parts of RFC 5545, each once")
        parts[name] = value
    if parts.get("FREQ") not in _FREQUENCIES:
        raise InvalidRule(f"must have a FREQ of {', '.join(_FREQUENCIES)}; for minutes take HOURLY with BYMINUTE")
    if parts.get("WKST", "MO") not in _WEEKDAYS:
        raise InvalidRule(f"must have a WKST of {', '.join(_WEEKDAYS)}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise InvalidRule("has both COUNT and UNTIL: leave one away")
    return parts


def _whole(text: str, name: str, most: int) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= most:
        raise InvalidRule(f"must have a whole number from 1 to {most:,} as {name}")
    return int(text)


def _numbers(text: str, name: str) -> list[int]:
    most, negative = _NUMBERS[name]
    least = 0 if name in _FROM_ZERO else 1
    found = [int(each) for each in text.split(",") if re.fullmatch(r"[+-]?\d{1,3}", each)]
    if len(found) != text.count(",") + 1 or not all(
        least <= each <= most or (negative and -most <= each <= -1) for each in found
    ):
        ends = ", or negative from the end" if negative else ""
        raise InvalidRule(f"must have numbers from {least} to {most}{ends} as {name}")
    return sorted(set(found))


def _weekdays(text: str) -> list[tuple[int, int]]:
    """(day, which of the month or year: 0 for every one)."""
    found = [_WEEKDAY.fullmatch(each) for each in text.split(",")]
    days = {(_WEEKDAYS.index(each[2]), int(each[1] or 0)) for each in found if each}
    if not all(each and (each[1] is None or 1 <= abs(int(each[1])) <= 53) for each in found):
        raise InvalidRule("must have days like MO, 1MO or -1MO as BYDAY")
    return sorted(days)


def _check(
    frequency: str, parts: dict[str, str], numbers: dict[str, list[int]], weekdays: list[tuple[int, int]]
) -> None:
    """What RFC 5545 (3.3.10) forbids, and would otherwise be read by everyone in another way."""
    forbidden = {
        "BYWEEKNO": frequency != "YEARLY",
        "BYYEARDAY": frequency not in {"YEARLY", "HOURLY"},
        "BYMONTHDAY": frequency == "WEEKLY",
        "BYSETPOS": not any(name.startswith("BY") and name != "BYSETPOS" for name in parts),
    }
    for name in numbers:
        if forbidden.get(name):
            raise InvalidRule(f"must not have {name} with FREQ={frequency} as it stands (RFC 5545, 3.3.10)")
    if any(which for _, which in weekdays) and (frequency not in {"YEARLY", "MONTHLY"} or "BYWEEKNO" in numbers):
        raise InvalidRule("may number the days of BYDAY only if FREQ is MONTHLY or YEARLY, without BYWEEKNO")


def _days(frequency: str, numbers: dict[str, list[int]], weekdays: list[tuple[int, int]], start: datetime) -> _Days:
    """The parts that select days, as dateutil names them, with what the start says where the rule is silent."""
    names = {"BYMONTH": "bymonth", "BYWEEKNO": "byweekno", "BYYEARDAY": "byyearday", "BYMONTHDAY": "bymonthday"}
    days: dict[str, Any] = {ours: numbers[name] for name, ours in names.items() if name in numbers}
    if weekdays:
        days["byweekday"] = [rrule.weekday(day, which or None) for day, which in weekdays]
    dated = days.keys() & {"byyearday", "bymonthday", "byweekday"}
    if frequency == "WEEKLY" or (frequency == "YEARLY" and "byweekno" in days):
        if not dated:
            days["byweekday"] = [start.weekday()]
    elif frequency in {"YEARLY", "MONTHLY"} and not dated:
        days["bymonthday"] = [start.day]
        if frequency == "YEARLY":
            days.setdefault("bymonth", [start.month])
    elif not dated:
        days["byweekday"] = list(range(7))
    if frequency == "MONTHLY":
        days.setdefault("bymonth", list(range(1, 13)))  # days of BYDAY are numbered in months then
    return tuple((name, tuple(values)) for name, values in days.items())


def _times_s(frequency: str, numbers: dict[str, list[int]], start: datetime) -> Seconds:
    hours = numbers.get("BYHOUR", list(range(24)) if frequency == "HOURLY" else [start.hour])
    minutes = numbers.get("BYMINUTE", [start.minute])
    clock_seconds = numbers.get("BYSECOND", [start.second])
    if len(hours) * len(minutes) * len(clock_seconds) > MAX_PER_DAY:
        raise InvalidRule(f"must name at most {MAX_PER_DAY} times of a day")
    times = [h * 3600 + m * 60 + s for h in hours for m in minutes for s in clock_seconds]
    return np.array(times, dtype=np.int64)
