# ruff: noqa: DTZ001  (what a clock reads has no zone)
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo, _zoneinfo, reset_tzpath  # type: ignore[attr-defined]

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.domain.timezone import _LOOK_EVERY, TimeZone, seconds, time_zone, year_begin_s, year_of, zone_names

ZONES = (
    *("Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca"),
    *("Pacific/Apia", "Pacific/Kwajalein", "Asia/Beirut", "Asia/Kathmandu", "America/Boa_Vista", "UTC"),
)
readings = st.datetimes(datetime(1900, 1, 3), datetime(2200, 12, 29)).map(lambda at: at.replace(microsecond=0))


def packaged(name: str) -> ZoneInfo:
    """As the tzdata package says; a system may know an older law."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def column(*at: datetime) -> np.ndarray:
    return np.array([seconds(each) for each in at], dtype=np.int64)


def utc(at_s: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=int(at_s))


@settings(deadline=None)  # years are learned when they are asked about
@given(st.sampled_from(ZONES), readings)
def test_a_reading_means_what_zoneinfo_says_of_the_first_of_two(name: str, reading: datetime) -> None:
    expected = reading.replace(tzinfo=packaged(name)).astimezone(UTC).replace(tzinfo=None)
    assert utc(time_zone(name).instants(column(reading))[0]) == expected


@settings(deadline=None)  # years are learned when they are asked about
@given(st.sampled_from(ZONES), readings)
def test_the_first_instant_is_the_first_at_which_the_clock_shows_that_time_or_later(
    name: str, reading: datetime
) -> None:
    zone = packaged(name)
    first = utc(time_zone(name).first_instants(column(reading))[0]).replace(tzinfo=UTC)
    assert first.astimezone(zone).replace(tzinfo=None) >= reading
    before = [first - timedelta(seconds=each) for each in (1, 60, 1799, 3599, 3601, 86_000)]
    assert all(each.astimezone(zone).replace(tzinfo=None) < reading for each in before)


@settings(deadline=None)  # years are learned when they are asked about
@given(st.sampled_from(ZONES), st.lists(readings, min_size=2, max_size=50))
def test_a_later_reading_never_has_an_earlier_first_instant(name: str, readings: list[datetime]) -> None:
    assert (np.diff(time_zone(name).first_instants(np.sort(column(*readings)))) >= 0).all()


def test_a_skipped_time_is_the_instant_of_the_skip_or_counted_on_by_the_old_offset() -> None:
    berlin, skipped = time_zone("Europe/Berlin"), column(datetime(2024, 3, 31, 2, 30))
    assert utc(berlin.first_instants(skipped)[0]) == datetime(2024, 3, 31, 1, 0)
    assert utc(berlin.instants(skipped)[0]) == datetime(2024, 3, 31, 1, 30)


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (datetime(2024, 3, 31, 1, 59, 59), datetime(2024, 3, 31, 0, 59, 59)),
        (datetime(2024, 3, 31, 2), datetime(2024, 3, 31, 1)),
        (datetime(2024, 3, 31, 2, 59, 59), datetime(2024, 3, 31, 1, 59, 59)),
        (datetime(2024, 3, 31, 3), datetime(2024, 3, 31, 1)),
        (datetime(2024, 10, 27, 2), datetime(2024, 10, 27)),
        (datetime(2024, 10, 27, 2, 59, 59), datetime(2024, 10, 27, 0, 59, 59)),
        (datetime(2024, 10, 27, 3), datetime(2024, 10, 27, 2)),
    ],
)
def test_readings_around_a_change_mean_what_the_standard_says(reading: datetime, expected: datetime) -> None:
    assert utc(time_zone("Europe/Berlin").instants(column(reading))[0]) == expected


def test_a_summer_of_a_week_is_seen() -> None:
    boa_vista = time_zone("America/Boa_Vista")
    assert utc(boa_vista.instants(column(datetime(2000, 10, 12, 12)))[0]) == datetime(2000, 10, 12, 15)
    assert utc(boa_vista.instants(column(datetime(2000, 10, 18, 12)))[0]) == datetime(2000, 10, 18, 16)


def test_a_day_that_a_zone_left_out_has_no_length() -> None:
    apia = time_zone("Pacific/Apia")
    begin, end = apia.first_instants(column(datetime(2011, 12, 30), datetime(2011, 12, 31)))
    assert begin == end


def test_years_are_learned_in_any_order_with_the_same_result() -> None:
    years = [2024, 1950, 2199, 1900, 2024]
    at = column(*(datetime(year, 7, 1, 12) for year in years))
    one_by_one, at_once = TimeZone("America/New_York"), TimeZone("America/New_York")
    assert [int(one_by_one.instants(at[[each]])[0]) for each in range(len(at))] == at_once.instants(at).tolist()


def test_zones_come_from_the_package_and_not_from_the_system() -> None:
    reset_tzpath(to=[])
    try:
        assert utc(TimeZone("Europe/Helsinki").instants(column(datetime(2024, 7, 1, 12)))[0]).hour == 9
    finally:
        reset_tzpath()


@pytest.mark.parametrize(
    "name", ["", "Europe", "../zones", "/etc/passwd", "europe/berlin", "Mars/Phobos", "posixrules"]
)
def test_other_names_are_no_zones(name: str) -> None:
    with pytest.raises(KeyError):
        time_zone(name)


def test_no_zone_changes_twice_within_a_look_and_a_day_before_and_after_it() -> None:
    search_s = _LOOK_EVERY.total_seconds() + 2 * 86_400
    root = resources.files("tzdata").joinpath("zoneinfo")
    for name in zone_names():
        with root.joinpath(*name.split("/")).open("rb") as file:
            zone = _zoneinfo.ZoneInfo.from_file(file, key=name)
        offsets = [each.utcoff for each in zone._ttinfos]
        changes = [at for at, (old, new) in zip(zone._trans_utc[1:], pairwise(offsets), strict=True) if old != new]
        since_1900 = [at for at in changes if at >= -2_208_988_800]
        assert all(after - before > search_s for before, after in pairwise(since_1900)), name


@given(st.integers(-(2**53), 2**53))
def test_a_time_lies_in_the_year_that_began_last(at_s: int) -> None:
    year = year_of(at_s)
    assert year_begin_s(year) <= at_s < year_begin_s(year + 1)


@given(st.datetimes())
def test_years_are_those_of_the_calendar(at: datetime) -> None:
    assert year_of(seconds(at)) == at.year
