"""Time zones as arrays: which instant a clock on the wall means, for many readings at once.

Zones come from the tzdata package and never from the system, so that every machine with the same lock agrees about the
past. A clock before 1900 or after 2200 is taken to stand as it did at the border.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]  # since 1970: of UTC where nothing else is said, else on the clock of a zone

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2200
DAY_S: Final = 86_400
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# No zone ever changed twice within this time (the shortest that tzdata knows is a week of 2000 in Brazil): a clock that
# is looked at so often shows every change.
_LOOK_EVERY_S: Final = 5 * DAY_S


class TimeZone:
    """One zone of the IANA database. Build it with `time_zone`."""

    def __init__(self, name: str) -> None:
        with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            zone = ZoneInfo.from_file(file, key=name)
        self.name = name
        changes, offsets = _changes(zone)
        self._changes_s: Seconds = np.array(changes, dtype=np.int64)
        self._offsets_s: Seconds = np.array(offsets, dtype=np.int64)  # one more: before the first change
        # What the clock has reached at the end of each offset. One that is put back stands still until it catches up.
        self._reached_s: Seconds = np.maximum.accumulate(self._changes_s + self._offsets_s[:-1])

    def first_instants(self, clock_s: Seconds) -> Seconds:
        """When the clock first showed these times or later: a time it skipped is the instant of the skip.

        This never goes back: of two times on the clock, the later one is not the earlier instant.
        """
        change, instants = self._meant(clock_s)
        skip = np.where(change > 0, self._changes_s[change - 1], instants) if len(self._changes_s) else instants
        return np.maximum(instants, skip)

    def instants(self, clock_s: Seconds) -> Seconds:
        """As RFC 5545 (3.3.5) reads times: the first of two, and in a skipped hour by the offset before it."""
        change, instants = self._meant(clock_s)
        if len(self._changes_s) == 0:
            return instants
        skipped = (change > 0) & (instants < self._changes_s[change - 1])
        return np.where(skipped, clock_s - self._offsets_s[change - 1], instants)

    def _meant(self, clock_s: Seconds) -> tuple[Seconds, Seconds]:
        """The number of changes before each time on the clock, and the instant by the offset that holds then."""
        change = np.searchsorted(self._reached_s, clock_s, side="right")
        return change, clock_s - self._offsets_s[change]


@cache
def zone_names() -> frozenset[str]:
    """Every name of the IANA database, links included."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache  # at most as many as there are names
def time_zone(name: str) -> TimeZone:
    """The zone of that name. Its first use takes some milliseconds.

    Raises:
        KeyError: there is none.
    """
    if name not in zone_names():
        raise KeyError(name)
    return TimeZone(name)


def seconds(moment: datetime) -> int:
    """A time without a zone as seconds since 1970 on its own clock."""
    return (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1)


def year_begin_s(year: int) -> int:
    """When a year begins, on whatever clock it is asked of."""
    return int(np.datetime64(year - 1970, "Y").astype("datetime64[s]").astype(np.int64))


def _offset_s(zone: ZoneInfo, at_s: int) -> int:
    offset = (EPOCH + timedelta(seconds=at_s)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def _changes(zone: ZoneInfo) -> tuple[list[int], list[int]]:
    """The instants at which the offset changed, and the offsets before, between and after them."""
    looks = range(year_begin_s(FIRST_YEAR - 1), year_begin_s(LAST_YEAR + 2), _LOOK_EVERY_S)
    changes: list[int] = []
    offsets = [_offset_s(zone, looks[0])]
    for look in looks[1:]:
        offset = _offset_s(zone, look)
        if offset != offsets[-1]:
            changes.append(_change(zone, look - _LOOK_EVERY_S, look))
            offsets.append(offset)
    return changes, offsets


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first second of the offset that holds at `after`."""
    offset = _offset_s(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_s(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after
