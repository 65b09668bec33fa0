"""The text of a calendar (RFC 5545) as the properties of its events, and the values of those that say when.

Everything else in it is left unread: alarms, to-dos, descriptions, addresses, and its own definitions of time zones,
which must be those of the IANA database by name. Nothing is fetched, nothing is opened.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from tracker.errors import InvalidField

MAX_BYTES: Final = 64 * 1024
MAX_EVENTS: Final = 1_000

_ONCE: Final = {"UID", "STATUS", "DTSTART", "DTEND", "DURATION", "RRULE", "RECURRENCE-ID"}
_READ: Final = {*_ONCE, "RDATE", "EXDATE", "EXRULE"}
_DEEPEST: Final = 4
_NAME = re.compile(r"[A-Za-z0-9-]++(?=[;:])")
_LINE = re.compile(r'[A-Za-z0-9-]++((?:;[A-Za-z0-9-]++=(?:"[^"]*+"|[^";:])*+)*+):(.*+)', re.DOTALL)
_PARAMETER = re.compile(r';([A-Za-z0-9-]++)=((?:"[^"]*+"|[^";:])*+)')
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", re.ASCII)
_DURATION = re.compile(
    r"\+?P(?:(\d{1,6})W|(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})S)?)?)(?<=\d[WDHMS])", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Property:
    """One line of an event, and where it is."""

    name: str
    parameters: dict[str, str]
    value: str
    line: int
    where: str

    def refuse(self, what: str) -> InvalidField:
        """The error that says what is wrong with this line."""
        return InvalidField(f"{self.where}, line {self.line}: {self.name} {what}.", field=self.where)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as it was written: on the clock of UTC, of the named zone, or of none; or a whole day."""

    clock: datetime
    zone: str | None
    whole_day: bool

    @classmethod
    def parse(cls, text: str, source: Property) -> Self:
        found = _MOMENT.fullmatch(text)
        try:
            if found is None:
                raise ValueError  # noqa: TRY301
            clock = datetime(*(int(each or 0) for each in found.groups()[:6]))  # type: ignore[arg-type]  # noqa: DTZ001
        except ValueError:
            raise source.refuse("must be a time like 20260131T083000 or a day like 20260131") from None
        if found[4] is None:
            return cls(clock, None, whole_day=True)
        return cls(clock, "UTC" if found[7] else source.parameters.get("TZID"), whole_day=False)


@dataclass(frozen=True, slots=True)
class Length:
    """How long an occurrence lasts: days of the calendar, then seconds."""

    days: int
    seconds: int

    @classmethod
    def parse(cls, text: str, source: Property) -> Self:
        found = _DURATION.fullmatch(text)
        if found is None:
            raise source.refuse("must have a duration like PT8H30M or P1D")
        weeks, days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
        return cls(weeks * 7 + days, hours * 3600 + minutes * 60 + seconds)


Event = dict[str, list[Property]]


def read_events(text: object, where: str) -> list[tuple[int, Event]]:
    """(line, what says when) of every event of a calendar.

    Raises:
        InvalidField: it is no calendar, or larger than the limits.
    """
    if not isinstance(text, str) or len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise InvalidField(f"{where} must be the text of a calendar of at most {MAX_BYTES // 1024} KiB.", field=where)
    if _CONTROL.search(text):
        raise InvalidField(f"{where} must not have control characters beside line breaks and tabs.", field=where)
    events: list[tuple[int, Event]] = []
    inside: list[str] = []
    for line, content in _unfolded(text):
        found = _NAME.match(content)
        name = found[0].upper() if found else ""
        if name == "BEGIN":
            inside.append(content[6:].strip().upper())
            if inside == ["VCALENDAR", "VEVENT"]:
                events.append((line, {}))
            _check_inside(inside, len(events), line, where)
        elif name == "END":
            if not inside or inside.pop() != content[4:].strip().upper():
                raise InvalidField(f"{where}, line {line}: END without its BEGIN.", field=where)
        elif inside == ["VCALENDAR", "VEVENT"] and name in _READ:
            _add(events[-1][1], _property(name, content, line, where))
    if inside or not events:
        raise InvalidField(
            f"{where} must be a whole calendar, from BEGIN:VCALENDAR to END:VCALENDAR, with at least one VEVENT.",
            field=where,
        )
    return events


def _check_inside(inside: list[str], events: int, line: int, where: str) -> None:
    if inside[0] != "VCALENDAR":
        raise InvalidField(f"{where}, line {line}: a calendar begins with BEGIN:VCALENDAR.", field=where)
    if len(inside) > _DEEPEST:
        raise InvalidField(f"{where}, line {line}: BEGIN within BEGIN more than {_DEEPEST} deep.", field=where)
    if events > MAX_EVENTS:
        raise InvalidField(f"{where} must have at most {MAX_EVENTS:,} events.", field=where)


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """(number, content) of every line, with those that begin with a blank put back onto the one before."""
    number, content = 0, [""]
    for index, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), start=1):
        if line[:1] in {" ", "\t"}:
            content.append(line[1:])
            continue
        yield number, content[0] if len(content) == 1 else "".join(content)
        number, content = index, [line]
    yield number, "".join(content)


def _property(name: str, content: str, line: int, where: str) -> Property:
    found = _LINE.fullmatch(content)
    if found is None:
        raise InvalidField(f"{where}, line {line}: {name} must be of the form NAME;PARAMETER=value:value.", field=where)
    parameters = {key.upper(): value.strip('"') for key, value in _PARAMETER.findall(found[1])}
    return Property(name, parameters, found[2].strip(), line, where)


def _add(event: Event, found: Property) -> None:
    if found.name == "EXRULE":
        raise found.refuse("is no longer part of iCalendar: take EXDATE")
    known = event.setdefault(found.name, [])
    if known and found.name in _ONCE:
        raise found.refuse("stands twice in one event")
    known.append(found)
