"""Time zones as arrays: which instants the readings of a clock mean, for many of them at once.

Zones come from the tzdata package and never from the system, so that every machine with the same lock agrees about the
past. A clock before 1900 or after 2200 is taken to stand as it did at the border.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]  # since 1970: of UTC where nothing else is said, else on the clock of a zone

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2200
DAY_S: Final = 86_400

_MEAN_YEAR_S: Final = 31_556_952
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# No zone ever changed its offset twice within this time and the two days that a search takes in beside it; the shortest
# known is a week of the year 2000 in Brazil. A clock that is looked at so often shows every change.
_LOOK_EVERY: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True, eq=False)
class _Changes:
    """The offsets of a zone over some years. reached_s: what the clock has reached at the end of each offset but the
    last; one that is put back stands still until it catches up.
    """

    years: range
    changes_s: Seconds
    offsets_s: Seconds  # before, between and after the changes
    reached_s: Seconds


_NO_CHANGES: Final = _Changes(range(0), *(np.zeros(size, dtype=np.int64) for size in (0, 1, 0)))


class TimeZone:
    """One zone of the IANA database. Use `time_zone`, which makes each but once."""

    def __init__(self, name: str) -> None:
        with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            self._zone = ZoneInfo.from_file(file, key=name)
        self.name = name
        self._known: _Changes | None = None

    def first_instants(self, clock_s: Seconds) -> Seconds:
        """When the clock first showed these times or later ones: a time that it skipped is the instant of the skip.

        Of two times, the later never gets the earlier instant.
        """
        changes = self._changes(clock_s)
        number = np.searchsorted(changes.reached_s, clock_s, side="right")
        instants = clock_s - changes.offsets_s[number]
        if len(changes.changes_s) == 0:
            return instants
        return np.where(number > 0, np.maximum(instants, changes.changes_s[number - 1]), instants)

    def instants(self, clock_s: Seconds) -> Seconds:
        """As RFC 5545 (3.3.5) reads times: the first of two, and one that was skipped by the offset before the skip."""
        changes = self._changes(clock_s)
        number = np.searchsorted(changes.reached_s, clock_s, side="right")
        instants = clock_s - changes.offsets_s[number]
        if len(changes.changes_s) == 0:
            return instants
        skipped = (number > 0) & (instants < changes.changes_s[number - 1])
        return np.where(skipped, clock_s - changes.offsets_s[number - 1], instants)

    def _changes(self, clock_s: Seconds) -> _Changes:
        """What is known of the years of these times: more each time that is needed."""
        if len(clock_s) == 0:
            return _NO_CHANGES
        first = _known_year(int(clock_s.min()) - 2 * DAY_S)
        last = _known_year(int(clock_s.max()) + 2 * DAY_S)
        known = self._known
        if known is None:
            known = self._known = self._learned(range(first, last + 1))
        if first < known.years.start or last >= known.years.stop:
            known = self._known = self._learned(_grown(known.years, first, last))
        return known

    def _learned(self, years: range) -> _Changes:
        """Look at the clock at every few days of these years, and closer where it changed."""
        at = datetime(years.start, 1, 1, tzinfo=self._zone)
        end = datetime(years.stop, 1, 1, tzinfo=self._zone)
        offsets = [_offset(at)]
        changes: list[int] = []
        while at < end:
            at += _LOOK_EVERY
            if _offset(at) != offsets[-1]:
                changes.append(self._change_s(at, offsets[-1]))
                offsets.append(_offset(at))
        changes_s = np.array(changes, dtype=np.int64)
        offsets_s = np.array([offset // timedelta(seconds=1) for offset in offsets], dtype=np.int64)
        return _Changes(years, changes_s, offsets_s, np.maximum.accumulate(changes_s + offsets_s[:-1]))

    def _change_s(self, after: datetime, offset: timedelta) -> int:
        """The first instant, within a look before a reading of the clock, at which an offset no longer holds."""
        high = seconds(after) + DAY_S  # what the clock reads is within a day of UTC
        low = high - _LOOK_EVERY // timedelta(seconds=1) - 2 * DAY_S
        while high - low > 1:
            middle = (low + high) // 2
            if _offset((_EPOCH + timedelta(seconds=middle)).astimezone(self._zone)) == offset:
                low = middle
            else:
                high = middle
        return high


@cache
def zone_names() -> frozenset[str]:
    """Every name of the IANA database, links included."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache  # at most as many as there are names
def time_zone(name: str) -> TimeZone:
    """The zone of that name.

    Raises:
        KeyError: there is none.
    """
    if name not in zone_names():
        raise KeyError(name)
    return TimeZone(name)


def seconds(reading: datetime) -> int:
    """A reading of a clock, whatever its zone, as seconds since 1970 on that clock."""
    return (reading.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


@lru_cache(maxsize=1024)
def year_begin_s(year: int) -> int:
    """The beginning of a year on any clock."""
    return int(np.datetime64(year - 1970, "Y").astype("datetime64[s]").astype(np.int64))


def year_of(clock_s: int) -> int:
    """The year of a time on any clock."""
    year = 1970 + clock_s // _MEAN_YEAR_S  # at most one off
    if clock_s < year_begin_s(year):
        return year - 1
    return year + (clock_s >= year_begin_s(year + 1))


def _known_year(clock_s: int) -> int:
    return min(max(year_of(clock_s), FIRST_YEAR), LAST_YEAR)


def _grown(known: range, first: int, last: int) -> range:
    """These years, too; twice as many at least, so that one after the other costs little more than all at once."""
    start, stop = known.start, known.stop
    if first < start:
        start = max(min(first, start - len(known)), FIRST_YEAR)
    if last >= stop:
        stop = min(max(last + 1, stop + len(known)), LAST_YEAR + 1)
    return range(start, stop)


def _offset(reading: datetime) -> timedelta:
    offset = reading.utcoffset()
    assert offset is not None
    return offset
