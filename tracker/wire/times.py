"""Instants at the edge: RFC 3339 UTC with milliseconds out; RFC 3339 or epoch milliseconds in. Inside they are epoch
milliseconds.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.errors import InvalidField

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LIMIT_MS = 253_402_300_799_999  # the last millisecond of the year 9999
_FIRST_MS = -62_135_596_800_000  # the first of the year 1
_EPOCH_MS = re.compile(r"-?[0-9]{1,15}")


def to_ms(when: datetime) -> int:
    """Epoch milliseconds, floored."""
    return (when - EPOCH) // _MILLISECOND


def all_ms(instants: Sequence[datetime]) -> NDArray[np.int64]:
    """The same of many at once, exact for the years 1700 to 2240."""
    seconds = np.fromiter(map(datetime.timestamp, instants), np.float64, len(instants))
    return np.rint(seconds * 1e6).astype(np.int64) // 1000


def to_datetime(ms: int) -> datetime:
    """An aware UTC datetime."""
    return EPOCH + timedelta(milliseconds=ms)


def rfc3339(when: datetime | int) -> str:
    """`2026-01-31T12:00:00.000Z`; years before 1000 keep four digits."""
    if isinstance(when, int):
        when = to_datetime(when)
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_when(value: object, field: str) -> int:
    """Epoch milliseconds from an RFC 3339 text with zone, an integer, or an integer as text.

    Raises:
        InvalidField: it is none of these.
    """
    ms: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        ms = value
    elif isinstance(value, str):
        ms = int(value) if _EPOCH_MS.fullmatch(value) else _rfc3339_ms(value)
    # A zone can carry the first and the last day beyond what a datetime holds.
    if ms is not None and _FIRST_MS <= ms <= _LIMIT_MS:
        return ms
    raise InvalidField(
        f"{field} must be an RFC 3339 time with zone (2026-01-31T12:00:00Z) or epoch milliseconds", field=field
    )


def _rfc3339_ms(text: str) -> int | None:
    try:
        # A '+' in a query string arrives as a space.
        when = msgspec.convert(text.replace(" ", "+"), datetime)
    except msgspec.ValidationError:
        return None
    return None if when.tzinfo is None else to_ms(when)
