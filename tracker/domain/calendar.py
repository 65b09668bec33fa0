"""Calendars: when the events of an iCalendar text take place, and how much a calendar may be.

What recurs without a COUNT is worked out for the stretch that is asked about; all else once, when the calendar is read.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tracker.domain.icalendar import Property, read_events
from tracker.domain.timezone import DAY_S, TimeZone, seconds
from tracker.domain.vevent import CalendarEvent, Series, Spans
from tracker.errors import InvalidField

MAX_RECURRING: Final = 50  # events
MAX_OCCURRENCES: Final = 10_000  # in the first year of all recurring events; and of all others, for ever
MAX_TIMES: Final = 200  # of day, of all recurring events together
MAX_COUNTED_YEARS: Final = 300  # that all rules with a COUNT take together: each costs up to half a millisecond


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """When the events of a calendar take place: fixed occurrences, and series without a COUNT."""

    fixed: Spans
    series: tuple[Series, ...]

    @staticmethod
    def parse(raw: object, zone: TimeZone | None, where: str) -> "Calendar":
        """A calendar from its text; zone is for times and days that name none.

        Raises:
            InvalidField: with the line and the remedy.
        """
        events = [CalendarEvent(event, line, zone, where) for line, event in read_events(raw, where)]
        moved: dict[str, list[Property]] = {}
        for event in events:
            if (original := event.original()) is not None:
                moved.setdefault(original[0], []).append(original[1])
        total = _Sum(where)
        for event in events:
            if not event.cancelled:
                total.add(event, moved)
        return total.total()

    def spans(self, low_s: int, high_s: int) -> Spans:
        """(starts, ends) of the occurrences that touch low_s … high_s, and perhaps of others."""
        starts, ends = self.fixed
        near = (ends >= low_s) & (starts <= high_s)
        found = [(starts[near], ends[near]), *(each.spans(low_s, high_s) for each in self.series)]
        return _joined(found)


class _Sum:
    """A calendar while its events are added up, and what they may be together."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._fixed: list[Spans] = []
        self._series: list[Series] = []
        self._occurrences = 0
        self._recurring = 0
        self._times = 0
        self._years = 0

    def add(self, event: CalendarEvent, moved: dict[str, list[Property]]) -> None:
        fixed, series = event.occurrences(moved)
        self._fix(fixed)
        if series is None:
            return
        self._times += len(series.rule.times_s)
        if self._times > MAX_TIMES:
            raise self._refuse(f"must name at most {MAX_TIMES} times of day in all its RRULEs together")
        if series.rule.count is None:
            self._recur(series)
            return
        spans, years = series.counted(MAX_COUNTED_YEARS - self._years)
        self._years += years
        if self._years >= MAX_COUNTED_YEARS:
            raise self._refuse(f"must not count over more than {MAX_COUNTED_YEARS} years in all: take UNTIL for COUNT")
        self._fix(spans)

    def total(self) -> Calendar:
        return Calendar(_joined(self._fixed), tuple(self._series))

    def _fix(self, spans: Spans) -> None:
        self._fixed.append(spans)
        self._occurrences += len(spans[0])
        if self._occurrences > MAX_OCCURRENCES:
            raise self._refuse(f"must have at most {MAX_OCCURRENCES:,} occurrences beside those that recur for ever")

    def _recur(self, series: Series) -> None:
        self._series.append(series)
        if len(self._series) > MAX_RECURRING:
            raise self._refuse(f"must have at most {MAX_RECURRING} events that recur")
        start_s = seconds(series.rule.start)
        self._recurring += len(series.rule.times(start_s, start_s + 366 * DAY_S))
        if self._recurring > MAX_OCCURRENCES:
            raise self._refuse(f"must have events that recur at most {MAX_OCCURRENCES:,} times a year in all")

    def _refuse(self, what: str) -> InvalidField:
        return InvalidField(f"{self._where} {what}.", field=self._where)


def _joined(spans: list[Spans]) -> Spans:
    none = np.empty(0, np.int64)
    return np.concatenate([none, *(starts for starts, _ in spans)]), np.concatenate(
        [none, *(ends for _, ends in spans)]
    )
