"""Weekly hours: windows on the clock of a time zone, the same in every week.

The clock is one that never goes back: when it is put back it stands still until the hour is over, and hours that it
skips have no length.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from tracker.domain.timezone import DAY_S, Seconds, TimeZone
from tracker.errors import InvalidField

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WINDOWS: Final = 50

_WEEK_S: Final = 7 * DAY_S
_A_MONDAY_S: Final = 4 * DAY_S  # 1970-01-05
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


@dataclass(frozen=True, slots=True, eq=False)
class Weekly:
    """Windows of the week, each from from_s to to_s on the clock since Monday 00:00; to_s may lie in the next."""

    zone: TimeZone
    from_s: Seconds
    to_s: Seconds

    @classmethod
    def parse(cls, raw: object, zone: TimeZone, where: str) -> Self:
        """Windows from their JSON form; `where` names the field."""
        if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_WINDOWS:
            raise InvalidField(
                f"{where} must be a list of 1 to {MAX_WINDOWS} windows "
                'like {"days": ["mon"], "from": "08:00", "to": "17:30"}.',
                field=where,
            )
        windows = {each for index, window in enumerate(raw) for each in _window(window, f"{where}[{index}]")}
        bounds = np.array(sorted(windows), dtype=np.int64)
        return cls(zone, bounds[:, 0], bounds[:, 1])

    def spans(self, low_s: int, high_s: int) -> tuple[Seconds, Seconds]:
        """(starts, ends) of the windows that touch low_s … high_s, and perhaps of more."""
        # A window is over two days after its own began, and no clock is farther from UTC than two more.
        first = (low_s - _A_MONDAY_S - 4 * DAY_S) // _WEEK_S
        last = (high_s - _A_MONDAY_S + 2 * DAY_S) // _WEEK_S
        mondays = (_A_MONDAY_S + np.arange(first, last + 1, dtype=np.int64) * _WEEK_S)[:, None]
        starts, ends = (mondays + self.from_s).ravel(), (mondays + self.to_s).ravel()
        return self.zone.first_instants(starts), self.zone.first_instants(ends)


def _window(raw: Any, where: str) -> list[tuple[int, int]]:
    if not isinstance(raw, dict) or raw.keys() != {"days", "from", "to"}:
        raise InvalidField(f"{where} must have exactly the members days, from and to.", field=where)
    days = raw["days"]
    if not isinstance(days, list) or not days or not all(isinstance(day, str) and day in DAYS for day in days):
        raise InvalidField(f"{where}.days must list some of {', '.join(DAYS)}.", field=f"{where}.days")
    start, end = _time_s(raw["from"], f"{where}.from"), _time_s(raw["to"], f"{where}.to")
    if start == DAY_S:
        raise InvalidField(f"{where}.from must be before 24:00: take 00:00 of the next day.", field=f"{where}.from")
    length = end - start if end > start else end - start + DAY_S
    return [(at, at + length) for at in (DAYS.index(day) * DAY_S + start for day in days)]


def _time_s(raw: Any, where: str) -> int:
    found = _TIME.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        raise InvalidField(f"{where} must be a time of day like 08:00, from 00:00 to 24:00.", field=where)
    return int(found[1]) * 3600 + int(found[2]) * 60 if found[1] else DAY_S
