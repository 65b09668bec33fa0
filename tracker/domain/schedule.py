"""Schedules: when a geofence holds, by the clock of the week or by a calendar, as a pure function of the instant.

A schedule is a row of occurrences that neither overlap nor touch. They are worked out a year at a time, when an instant
of that year is asked about. Outside of 1900 to 2200 no schedule holds.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints, Mask
from tracker.domain.calendar import Calendar
from tracker.domain.timezone import FIRST_YEAR, LAST_YEAR, Seconds, TimeZone, time_zone, year_begin_s, year_of
from tracker.domain.weekly import Weekly
from tracker.errors import InvalidField

NEVER: Final = int(np.iinfo(np.int64).min)

_MEMBERS: Final = {"time_zone", "weekly", "ical"}
_MOST_REMEMBERED: Final = 4_000_000  # occurrences, 16 bytes each


class _Rule(Protocol):
    def spans(self, low_s: int, high_s: int) -> tuple[Seconds, Seconds]:
        """(starts, ends) of all occurrences that touch low_s … high_s, in any order, and perhaps of others."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a geofence holds. Equal to another by its source, whatever the order of the members there."""

    _text: str
    _rule: _Rule = field(compare=False, repr=False)

    @classmethod
    def parse(cls, raw: object, where: str = "properties.schedule") -> Self:
        """A schedule from its JSON form.

        Raises:
            InvalidField: naming the field below `where`, and what it must be.
        """
        if not isinstance(raw, dict) or not raw.keys() <= _MEMBERS or ("weekly" in raw) == ("ical" in raw):
            raise InvalidField(
                f"{where} must be an object with time_zone and either weekly (a list of windows) or ical (a calendar).",
                field=where,
            )
        rule: _Rule
        if "weekly" in raw:
            rule = Weekly.parse(raw["weekly"], _zone(raw.get("time_zone"), f"{where}.time_zone"), f"{where}.weekly")
        else:
            zone = _zone(raw["time_zone"], f"{where}.time_zone") if "time_zone" in raw else None
            rule = Calendar.parse(raw["ical"], zone, f"{where}.ical")
        return cls(json.dumps(raw, sort_keys=True, separators=(",", ":")), rule)

    @property
    def source(self) -> dict[str, Any]:
        """The JSON form it was made from."""
        value: dict[str, Any] = json.loads(self._text)
        return value

    def holds(self, time_ms: Ints) -> Mask:
        """Whether it holds at each instant, (n,); an occurrence holds from its start on and no more at its end."""
        held = np.zeros(len(time_ms), dtype=np.bool_)
        for rows, number in _by_year(time_ms):
            held[rows] = self._year(number).find(time_ms[rows])[1]
        return held

    def occurrence(self, time_ms: Ints) -> NDArray[np.int64]:
        """The start in ms of the occurrence that contains each instant, NEVER where none does.

        An occurrence that fills a whole year, of UTC, begins anew at the end of that year: what always holds has no
        other beginning.
        """
        starts = np.full(len(time_ms), NEVER, dtype=np.int64)
        for rows, number in _by_year(time_ms):
            year = self._year(number)
            at, held = year.find(time_ms[rows])
            begun = np.where(at == 0, self._first_start(number, year), year.starts_ms[at]) if held.any() else NEVER
            starts[rows] = np.where(held, begun, NEVER)
        return starts

    def boundary(self, before_ms: int, after_ms: int) -> int | None:
        """The first instant in (before, after] at which it began or ended to hold, None if it did not change."""
        last = min(_year_of(after_ms), LAST_YEAR)
        for number in range(max(_year_of(before_ms), FIRST_YEAR), last + 1):
            change = self._year(number).change_after(before_ms)
            if change is not None:
                return change if change <= after_ms else None
        return None

    def _year(self, number: int) -> "_Year":
        return _YEARS.get(self, self._rule, number)

    def _first_start(self, number: int, year: "_Year") -> int:
        """Where the first occurrence of the year began: perhaps in the year before, of which it must leave a part."""
        start = int(year.starts_ms[0])
        if start >= year.begin_ms:
            return start
        before = self._year(number - 1)
        start = int(before.starts_ms[-1])
        return start if start > before.begin_ms else year.begin_ms


@dataclass(frozen=True, slots=True, eq=False)
class _Year:
    """What a schedule does in one year: its occurrences that touch the year, in order, apart from each other.

    The first and the last may lie partly outside; where exactly they end there is the neighbours' business.
    """

    begin_ms: int
    end_ms: int
    starts_ms: Seconds
    ends_ms: Seconds

    @classmethod
    def of(cls, rule: _Rule, number: int) -> Self:
        begin, end = year_begin_s(number), year_begin_s(number + 1)
        starts, ends = rule.spans(begin, end)
        touching = (ends >= begin) & (starts <= end) & (starts < ends)
        starts, ends = _merged(starts[touching], ends[touching])
        if number == FIRST_YEAR:
            starts = np.maximum(starts, begin)
        if number == LAST_YEAR:
            ends = np.minimum(ends, end)
        some = starts < ends
        return cls(begin * 1000, end * 1000, starts[some] * 1000, ends[some] * 1000)

    def find(self, time_ms: Ints) -> tuple[Ints, Mask]:
        """(which occurrence, whether there is one) for instants of this year."""
        if len(self.starts_ms) == 0:
            return np.zeros(len(time_ms), np.int64), np.zeros(len(time_ms), np.bool_)
        at = np.searchsorted(self.starts_ms, time_ms, side="right") - 1
        return at, (at >= 0) & (time_ms < self.ends_ms[at])

    def change_after(self, before_ms: int) -> int | None:
        """The first start or end in [begin, end] that is later than the instant."""
        after_ms = max(before_ms, self.begin_ms - 1)
        start = np.searchsorted(self.starts_ms, after_ms, side="right")
        end = np.searchsorted(self.ends_ms, after_ms, side="right")
        found = [*self.starts_ms[start : start + 1].tolist(), *self.ends_ms[end : end + 1].tolist()]
        return min((at for at in found if at <= self.end_ms), default=None)


class _Years:
    """Years that were worked out, of all schedules, the longest unused forgotten first.

    Safe to use from several threads: an answer depends on nothing but the question.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._years: OrderedDict[tuple[Schedule, int], _Year] = OrderedDict()
        self._lock = Lock()

    def get(self, schedule: Schedule, rule: _Rule, number: int) -> _Year:
        with self._lock:
            known = self._years.get((schedule, number))
            if known is not None:
                self._years.move_to_end((schedule, number))
                return known
        year = _Year.of(rule, number)
        with self._lock:
            if (schedule, number) not in self._years:
                self._years[schedule, number] = year
                self._held += self._size(year)
            while self._held > self._most:
                self._held -= self._size(self._years.popitem(last=False)[1])
        return year

    @staticmethod
    def _size(year: _Year) -> int:
        return len(year.starts_ms) + 32  # an empty year costs memory, too


_YEARS: Final = _Years(_MOST_REMEMBERED)


def _zone(raw: Any, where: str) -> TimeZone:
    try:
        return time_zone(raw)
    except (KeyError, TypeError):
        raise InvalidField(
            f"{where} must be a name of the IANA time zone database such as Europe/Helsinki.", field=where
        ) from None


def _year_of(time_ms: int) -> int:
    return year_of(time_ms // 1000)


def _years_of(time_ms: Ints) -> NDArray[np.int64]:
    return time_ms.astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970


def _by_year(time_ms: Ints) -> Iterator[tuple[slice | NDArray[np.int64], int]]:
    """(rows, year) for every year in which a schedule may hold. Nearly always there is but one."""
    if len(time_ms) == 0:
        return
    first, last = _year_of(int(time_ms.min())), _year_of(int(time_ms.max()))
    if first == last:
        if FIRST_YEAR <= first <= LAST_YEAR:
            yield slice(None), first
        return
    years = _years_of(np.clip(time_ms, year_begin_s(FIRST_YEAR - 1) * 1000, year_begin_s(LAST_YEAR + 1) * 1000))
    for number in np.unique(years):
        if FIRST_YEAR <= number <= LAST_YEAR:
            yield np.flatnonzero(years == number), int(number)


def _merged(starts: Seconds, ends: Seconds) -> tuple[Seconds, Seconds]:
    """The same time as occurrences that neither overlap nor touch, in order."""
    if len(starts) == 0:
        return starts, ends
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    first = np.concatenate([[True], starts[1:] > reached[:-1]])
    return starts[first], reached[np.concatenate([first[1:], [True]])]
