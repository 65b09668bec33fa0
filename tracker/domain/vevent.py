"""One event of a calendar, by the rules of RFC 5545: from its properties to when it takes place."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from tracker.domain.batch import Mask
from tracker.domain.icalendar import Event, Length, Moment, Property
from tracker.domain.recurrence import InvalidRule, Recurrence
from tracker.domain.timezone import DAY_S, LAST_YEAR, Seconds, TimeZone, seconds, time_zone, year_begin_s
from tracker.errors import InvalidField

MAX_RECURRING_DAYS: Final = 366
MIN_LENGTH_S: Final = 60

Spans = tuple[Seconds, Seconds]  # starts, ends


@dataclass(frozen=True, slots=True, eq=False)
class _Removed:
    """The occurrences of an event that do not take place, or not there."""

    starts_s: Seconds
    days: Seconds  # since 1970 on the clock: whatever begins then

    def apart(self, starts: Seconds, clock_s: Seconds) -> Mask:
        stays = np.ones(len(starts), dtype=np.bool_)
        if len(self.starts_s):
            stays &= ~np.isin(starts, self.starts_s)
        if len(self.days):
            stays &= ~np.isin(clock_s // DAY_S, self.days)
        return stays


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The occurrences of an event that its RRULE names."""

    rule: Recurrence
    zone: TimeZone
    length: Length
    removed: _Removed
    last_clock_s: int | None
    last_s: int | None

    def spans(self, low_s: int, high_s: int) -> Spans:
        """(starts, ends) of those that touch low_s … high_s, and perhaps of others."""
        # Two days more: no clock is farther from UTC.
        reach_s = self.length.days * DAY_S + self.length.seconds + 2 * DAY_S
        return self._spans(self.rule.times(low_s - reach_s, high_s + 2 * DAY_S))

    def counted(self, most_years: int) -> tuple[Spans, int]:
        """The first COUNT of them, and how many years were looked at; most_years or more: there may be others."""
        assert self.rule.count is not None
        first = self.rule.start.year
        clock_s = np.array([seconds(self.rule.start)], dtype=np.int64)  # a start counts, whatever the rule says of it
        years = 0
        while len(clock_s) < self.rule.count and years < most_years and first + years <= LAST_YEAR:
            year = first + years
            clock_s = np.union1d(clock_s, self.rule.times(year_begin_s(year), year_begin_s(year + 1) - 1))
            years += 1
        return self._spans(clock_s[: self.rule.count]), years

    def _spans(self, clock_s: Seconds) -> Spans:
        starts = self.zone.instants(clock_s)
        stays = self.removed.apart(starts, clock_s)
        if self.last_clock_s is not None:
            stays &= clock_s <= self.last_clock_s
        if self.last_s is not None:
            stays &= starts <= self.last_s
        return starts[stays], _ends(clock_s, self.zone, self.length)[stays]


class CalendarEvent:
    """One event, while its calendar is read."""

    def __init__(self, event: Event, line: int, zone: TimeZone | None, where: str) -> None:
        self._event = event
        self._zone = zone
        self._line = line
        self._where = where
        status = self._one("STATUS")
        self.cancelled = status is not None and status.value.upper() == "CANCELLED"

    def original(self) -> tuple[str, Property] | None:
        """(UID, RECURRENCE-ID), if this stands for one occurrence of another event."""
        original, uid = self._one("RECURRENCE-ID"), self._one("UID")
        if original is None:
            return None
        if uid is None:
            raise original.refuse("needs a UID, which says of which event it is")
        if "RANGE" in original.parameters:
            raise original.refuse("with RANGE is not understood: end the one event by UNTIL and add another")
        return uid.value, original

    def occurrences(self, moved: dict[str, list[Property]]) -> tuple[Spans, Series | None]:
        """What DTSTART and RDATE name, and what RRULE names."""
        start, zone = self._start
        removed = self._removed(moved)
        clock_s = np.array([seconds(start.clock)], dtype=np.int64)
        spans = [(clock_s, zone.instants(clock_s), _ends(clock_s, zone, self._length))]
        spans += [self._added(source) for source in self._event.get("RDATE", [])]
        clock_s, starts, ends = (np.concatenate(columns) for columns in zip(*spans, strict=True))
        stays = removed.apart(starts, clock_s)
        return (starts[stays], ends[stays]), self._series(removed)

    def _series(self, removed: _Removed) -> Series | None:
        source = self._one("RRULE")
        if source is None:
            return None
        start, zone = self._start
        try:
            rule = Recurrence.parse(source.value, start.clock)
        except InvalidRule as error:
            raise source.refuse(str(error)) from None
        if start.whole_day and (rule.frequency == "HOURLY" or rule.times_s.any()):
            raise source.refuse("must not name hours, as DTSTART is a day")
        if self._length.days * DAY_S + self._length.seconds > MAX_RECURRING_DAYS * DAY_S:
            raise source.refuse(f"must not stand in an event that lasts longer than {MAX_RECURRING_DAYS} days")
        last_clock_s, last_s = _until(rule.until, source)
        return Series(rule, zone, self._length, removed, last_clock_s, last_s)

    def _added(self, source: Property) -> tuple[Seconds, Seconds, Seconds]:
        """(starts on the clock, starts, ends) that an RDATE names: times, or periods with ends of their own."""
        periods = [text.partition("/") for text in source.value.split(",")]
        readings = [self._reading(begin, source) for begin, _, _ in periods]
        clock_s, starts = np.array([at for at, _ in readings], dtype=np.int64), _instants(readings)
        ends = _instants([(at + self._length.days * DAY_S, zone) for at, zone in readings]) + self._length.seconds
        for row, (_, slash, text) in enumerate(periods):
            if slash:
                ends[row] = self._period_end(*readings[row], text, source)
        if (ends - starts < MIN_LENGTH_S).any():
            raise source.refuse("must have periods of a minute at least")
        return clock_s, starts, ends

    def _period_end(self, clock_s: int, zone: TimeZone, text: str, source: Property) -> int:
        if not text.startswith(("P", "+")):
            return int(_instants([self._reading(text, source)])[0])
        length = Length.parse(text, source)
        return int(_instants([(clock_s + length.days * DAY_S, zone)])[0]) + length.seconds

    def _removed(self, moved: dict[str, list[Property]]) -> _Removed:
        uid = self._one("UID")
        others = moved.get(uid.value, []) if uid is not None and self._one("RECURRENCE-ID") is None else []
        times: list[tuple[int, TimeZone]] = []
        days: list[int] = []
        for source in [*self._event.get("EXDATE", []), *others]:
            for text in source.value.split(","):
                moment = Moment.parse(text, source)
                if moment.whole_day:
                    days.append(seconds(moment.clock) // DAY_S)
                else:
                    times.append((seconds(moment.clock), self._zone_of(moment, source)))
        return _Removed(_instants(times), np.array(days, dtype=np.int64))

    @cached_property
    def _start(self) -> tuple[Moment, TimeZone]:
        source = self._one("DTSTART")
        if source is None:
            raise self._refuse("has no DTSTART")
        moment = Moment.parse(source.value, source)
        return moment, self._zone_of(moment, source)

    @cached_property
    def _length(self) -> Length:
        """How long each occurrence lasts."""
        start, _ = self._start
        end, duration = self._one("DTEND"), self._one("DURATION")
        if end is not None and duration is not None:
            raise duration.refuse("stands beside DTEND: leave one away")
        if duration is not None:
            length = Length.parse(duration.value, duration)
            if start.whole_day and length.seconds:
                raise duration.refuse("must be in days or weeks, as DTSTART is a day")
        elif end is not None:
            length = self._length_to(end)
        elif start.whole_day:
            length = Length(1, 0)
        else:
            raise self._refuse("has no length: add a DTEND or a DURATION")
        if length.days * DAY_S + length.seconds < MIN_LENGTH_S:
            raise self._refuse("must last a minute at least: look at its DTEND or DURATION")
        return length

    def _length_to(self, end: Property) -> Length:
        start, zone = self._start
        begins, ends = (seconds(start.clock), zone), self._reading(end.value, end)
        if start.whole_day:
            return Length((ends[0] - begins[0]) // DAY_S, 0)
        instants = _instants([begins, ends])
        return Length(0, int(instants[1] - instants[0]))

    def _one(self, name: str) -> Property | None:
        return self._event[name][0] if name in self._event else None

    def _reading(self, text: str, source: Property) -> tuple[int, TimeZone]:
        """A start or end on the clock of its zone. It must be a day if DTSTART is."""
        moment = Moment.parse(text, source)
        if moment.whole_day != self._start[0].whole_day:
            raise source.refuse("must have days if DTSTART is a day, and times if it is a time")
        return seconds(moment.clock), self._zone_of(moment, source)

    def _zone_of(self, moment: Moment, source: Property) -> TimeZone:
        if moment.zone is None:
            if self._zone is None:
                raise source.refuse("names no time zone: add time_zone to the schedule")
            return self._zone
        try:
            return time_zone(moment.zone)
        except KeyError:
            raise source.refuse(
                f"has the TZID {moment.zone[:60]!r}: it must be a name of the IANA database such as Europe/Helsinki"
            ) from None

    def _refuse(self, what: str) -> InvalidField:
        return InvalidField(f"{self._where}, line {self._line}: the event {what}.", field=self._where)


def _until(text: str | None, source: Property) -> tuple[int | None, int | None]:
    """(the last second on the event's clock, the last instant) at which an occurrence may begin."""
    if text is None:
        return None, None
    moment = Moment.parse(text, source)
    at_s = seconds(moment.clock)
    if moment.zone is not None:
        return None, at_s
    return at_s + DAY_S - 1 if moment.whole_day else at_s, None


def _instants(readings: list[tuple[int, TimeZone]]) -> Seconds:
    """The instants that readings of the clocks of several zones mean."""
    clock_s = np.array([at for at, _ in readings], dtype=np.int64)
    zones = np.array([id(zone) for _, zone in readings])
    instants = np.empty_like(clock_s)
    for zone in {id(zone): zone for _, zone in readings}.values():
        instants[zones == id(zone)] = zone.instants(clock_s[zones == id(zone)])
    return instants


def _ends(clock_s: Seconds, zone: TimeZone, length: Length) -> Seconds:
    """Days are counted on the calendar, hours by the time that passes."""
    return zone.instants(clock_s + length.days * DAY_S) + length.seconds
