"""Instants at the edge, in and out."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import InvalidField
from tracker.wire.times import EPOCH, all_ms, parse_when, rfc3339, to_datetime, to_ms

FIRST_MS = -62_135_596_800_000  # of the year 1
LAST_MS = 253_402_300_799_999  # of the year 9999
every_ms = st.one_of(st.integers(FIRST_MS, LAST_MS), st.sampled_from([FIRST_MS, -1, 0, 1, LAST_MS]))


@given(every_ms)
def test_milliseconds_survive_every_form(ms: int) -> None:
    assert to_ms(to_datetime(ms)) == ms
    assert parse_when(rfc3339(ms), "from") == ms
    assert parse_when(ms, "from") == ms
    assert parse_when(str(ms), "from") == ms
    assert rfc3339(ms) == rfc3339(to_datetime(ms))


@given(st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2240, 1, 1), timezones=st.timezones()), max_size=3))  # noqa: DTZ001
def test_many_at_once_are_the_same(instants: list[datetime]) -> None:
    assert all_ms(instants).tolist() == [to_ms(each) for each in instants]


@given(every_ms, st.integers(0, 999))
def test_microseconds_are_floored(ms: int, more: int) -> None:
    when = to_datetime(ms) + timedelta(microseconds=more)
    assert to_ms(when) == ms
    assert rfc3339(when) == rfc3339(ms)


@given(st.integers(-(10**12), 10**12), st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_written_in_utc(ms: int, minutes: int) -> None:
    there = to_datetime(ms).astimezone(timezone(timedelta(minutes=minutes)))
    assert rfc3339(there) == rfc3339(ms)
    assert to_ms(there) == ms
    assert parse_when(there.isoformat(), "from") == ms


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_769_860_800_007, "2026-01-31T12:00:00.007Z"),
        (FIRST_MS, "0001-01-01T00:00:00.000Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_the_form_is_fixed(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


@pytest.mark.parametrize(
    ("given_", "ms"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31t12:00:00z", 1_769_860_800_000),
        ("2026-01-31T14:00:00+02:00", 1_769_860_800_000),
        ("2026-01-31T14:00:00 02:00", 1_769_860_800_000),  # a plus sign that was not escaped in a query
        ("2026-01-31T05:30:00.5-06:30", 1_769_860_800_500),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("0", 0),
        ("-1", -1),
        (0, 0),
        (-62_135_596_800_000, FIRST_MS),
    ],
)
def test_these_are_times(given_: object, ms: int) -> None:
    assert parse_when(given_, "from") == ms


@pytest.mark.parametrize(
    "given_",
    [
        *("", "-", "--5", "-5-", "+5", "5.0", "1e3", " 5", "0x10", "²", "٣", "9" * 20, "9" * 5_000, "0" * 30 + "5"),
        *("now", "2026-01-31", "12:00:00Z", "2026-01-31T12:00:00", "2026-01-31T12:00Z", "2026-01-31T12:00:00Z\x00"),
        *("2026-13-01T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:00:00+25:00", "\x00"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),  # in no year that we know
        *(LAST_MS + 1, FIRST_MS - 1, 10**30, 5.0, True, None, [], b"5", EPOCH),
    ],
)
def test_these_are_not_and_the_error_names_the_field(given_: object) -> None:
    with pytest.raises(InvalidField, match="until must be an RFC 3339 time") as refused:
        parse_when(given_, "until")
    assert refused.value.field == "until"


@given(st.one_of(st.text(), st.text("0123456789-+:TZ. "), st.integers(), st.floats(), st.booleans(), st.none()))
def test_a_time_is_read_or_refused(given_: object) -> None:
    try:
        ms = parse_when(given_, "from")
    except InvalidField:
        return
    assert FIRST_MS <= ms <= LAST_MS


def test_datetimes_are_aware() -> None:
    assert to_datetime(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert to_datetime(-1).tzinfo is UTC
