"""Instants at the edge: RFC 3339 UTC with milliseconds out; RFC 3339 or epoch milliseconds in. Inside they are epoch
milliseconds.
"""

from datetime import UTC, datetime, timedelta

import msgspec

from tracker.errors import InvalidField

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LIMIT_MS = 253_402_300_799_999  # the last millisecond of the year 9999
_FIRST_MS = -62_135_596_800_000  # the first of the year 1


def to_ms(when: datetime) -> int:
    """Epoch milliseconds, floored."""
    return (when - EPOCH) // _MILLISECOND


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
    if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        value = int(value[:20])
    if isinstance(value, int) and not isinstance(value, bool) and _FIRST_MS <= value <= _LIMIT_MS:
        return value
    if isinstance(value, str):
        try:
            # A '+' in a query string arrives as a space.
            when = msgspec.convert(value.replace(" ", "+"), datetime)
        except msgspec.ValidationError:
            when = None
        if when is not None and when.tzinfo is not None:
            return to_ms(when)
    raise InvalidField(
        f"{field} must be an RFC 3339 time with zone (2026-01-31T12:00:00Z) or epoch milliseconds", field=field
    )
