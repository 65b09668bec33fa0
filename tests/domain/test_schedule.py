# ruff: noqa: DTZ001  (readings of a clock have no zone until they are asked about)
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.domain import schedule as module
from tracker.domain.schedule import NEVER, Schedule
from tracker.errors import InvalidField

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE_MS = 60_000
BEGIN_MS = int(datetime(1900, 1, 1, tzinfo=UTC).timestamp()) * 1000
END_MS = int(datetime(2201, 1, 1, tzinfo=UTC).timestamp()) * 1000


def weekly(*windows: tuple[str, str, str], time_zone: str = "Europe/Berlin") -> dict[str, Any]:
    listed = [{"days": days.split(), "from": start, "to": end} for days, start, end in windows]
    return {"time_zone": time_zone, "weekly": listed}


def calendar(*events: str) -> dict[str, Any]:
    inner = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    return {"ical": f"BEGIN:VCALENDAR\n{inner}END:VCALENDAR\n", "time_zone": "Europe/Berlin"}


def ms(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc, arg-type]


def column(*at_ms: int) -> np.ndarray:
    return np.array(at_ms, dtype=np.int64)


def changes(found: Schedule, low_ms: int, high_ms: int) -> list[datetime]:
    """Every change in (low, high], in UTC."""
    return [datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None) for at in _changes(found, low_ms, high_ms)]


def _changes(found: Schedule, low_ms: int, high_ms: int) -> Iterator[int]:
    while (change := found.boundary(low_ms, high_ms)) is not None:
        yield change
        low_ms = change


# The slow reference: a clock on the wall, looked at every minute, that never goes back.


@cache
def packaged(name: str) -> ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def minute_of_day(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def slow_holds(raw: dict[str, Any], begin: datetime, minutes: int) -> list[bool]:
    zone, held, clock = packaged(raw["time_zone"]), [], datetime(1, 1, 1)
    for minute in range(-2 * 1440, minutes):
        at = begin + timedelta(minutes=minute)
        clock = max(clock, at.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None))
        if minute >= 0:
            held.append(any(_in_window(window, clock) for window in raw["weekly"]))
    return held


def _in_window(window: dict[str, Any], clock: datetime) -> bool:
    start, end = minute_of_day(window["from"]), minute_of_day(window["to"])
    length = end - start if end > start else end - start + 1440
    for days_ago in range(3):
        day = clock.date() - timedelta(days=days_ago)
        since = (clock - datetime.combine(day, datetime.min.time())) // timedelta(minutes=1)
        if DAYS[day.weekday()] in window["days"] and start <= since < start + length:
            return True
    return False


# When clocks do what they seldom do: an hour's change, half an hour's, one at midnight, a day left out or doubled.
CHANGES = [
    ("Europe/Berlin", datetime(2024, 3, 30)), ("Europe/Berlin", datetime(2024, 10, 26)),
    ("America/New_York", datetime(2024, 3, 9)), ("America/New_York", datetime(1950, 9, 23)),
    ("Australia/Lord_Howe", datetime(2024, 4, 6)), ("Australia/Lord_Howe", datetime(2024, 10, 5)),
    ("Pacific/Apia", datetime(2011, 12, 29)), ("Pacific/Kwajalein", datetime(1969, 9, 29)),
    ("Asia/Beirut", datetime(2024, 3, 30)), ("America/Havana", datetime(2024, 11, 2)),
    ("America/St_Johns", datetime(2006, 4, 1)), ("Asia/Kathmandu", datetime(1985, 12, 31)),
    ("Africa/Casablanca", datetime(2024, 3, 9)), ("Europe/Berlin", datetime(2199, 12, 30)),
    ("Europe/Berlin", datetime(2023, 12, 31)), ("UTC", datetime(1900, 1, 3)),
]  # fmt: skip
times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 0, 1, 15, 30, 59]))
windows = st.builds(
    lambda days, start, end: (" ".join(days), start, end),
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    times,
    st.one_of(times, st.just("24:00")),
)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(CHANGES), st.lists(windows, min_size=1, max_size=4))
def test_weekly_hours_are_those_of_a_clock_that_is_looked_at_every_minute(
    place: tuple[str, datetime], listed: list[tuple[str, str, str]]
) -> None:
    zone, begin = place
    raw = weekly(*listed, time_zone=zone)
    expected = slow_holds(raw, begin, 3 * 1440)
    begin_ms = int(begin.replace(tzinfo=UTC).timestamp()) * 1000
    minutes = begin_ms + np.arange(3 * 1440) * MINUTE_MS
    found = Schedule.parse(raw)
    assert found.holds(minutes).tolist() == expected
    assert found.holds(minutes + MINUTE_MS - 1).tolist() == expected


RULES = [
    "DTSTART;TZID=Europe/Berlin:20231230T220000\nDTEND;TZID=Europe/Berlin:20231231T040000\nRRULE:FREQ=DAILY",
    "DTSTART;TZID=America/New_York:20230101T090000\nDURATION:PT45M\nRRULE:FREQ=HOURLY;INTERVAL=5",
    "DTSTART;VALUE=DATE:20231231\nRRULE:FREQ=YEARLY",
    "DTSTART:20230105T120000Z\nDURATION:PT1M\nRRULE:FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=0,12,23",
    "DTSTART:20231201T000000Z\nDURATION:P40D",
    "DTSTART;VALUE=DATE:20210101\nRRULE:FREQ=DAILY;UNTIL=20231231",
]
sources = st.one_of(
    st.lists(windows, min_size=1, max_size=4).map(lambda listed: weekly(*listed)),
    st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True).map(lambda events: calendar(*events)),
)
AROUND_NEW_YEAR = ms(2023, 12, 28) + np.arange(8 * 1440) * MINUTE_MS


@settings(deadline=None, max_examples=50)
@given(sources, st.integers(0, 8 * 1440 - 1), st.integers(0, 8 * 1440 - 1))
def test_a_boundary_is_where_holding_changes_first(source: dict[str, Any], one: int, other: int) -> None:
    found = Schedule.parse(source)
    low, high = sorted((one, other))
    held = found.holds(AROUND_NEW_YEAR)
    differs = [at for at in range(low + 1, high + 1) if held[at] != held[at - 1]]
    expected = int(AROUND_NEW_YEAR[differs[0]]) if differs else None
    assert found.boundary(int(AROUND_NEW_YEAR[low]), int(AROUND_NEW_YEAR[high])) == expected


@settings(deadline=None, max_examples=50)
@given(sources)
def test_an_occurrence_begins_at_the_last_boundary_and_is_one_until_the_next(source: dict[str, Any]) -> None:
    found = Schedule.parse(source)
    held, began = found.holds(AROUND_NEW_YEAR), found.occurrence(AROUND_NEW_YEAR)
    assert ((began != NEVER) == held).all()
    for start in np.unique(began[held]).tolist():
        last = int(AROUND_NEW_YEAR[began == start][-1])
        assert found.boundary(start, last) is None
        year = datetime.fromtimestamp(start / 1000, UTC).year
        if start == ms(year, 1, 1) and found.boundary(start - 1, start) is None:
            # It begins anew, after it filled the whole of the year before.
            assert found.boundary(ms(year - 1, 1, 1), start) is None
            assert found.holds(column(ms(year - 1, 6, 1))).all()
        else:
            assert found.boundary(start - 1, start) == start


def test_the_example_of_the_manual_holds_as_it_says() -> None:
    office = Schedule.parse(weekly(("mon tue wed thu fri", "08:00", "17:30"), time_zone="Europe/Helsinki"))
    assert changes(office, ms(2024, 7, 5), ms(2024, 7, 8, 12)) == [
        datetime(2024, 7, 5, 5), datetime(2024, 7, 5, 14, 30), datetime(2024, 7, 8, 5),
    ]  # fmt: skip
    assert office.holds(column(ms(2024, 7, 5, 5) - 1, ms(2024, 7, 5, 5))).tolist() == [False, True]
    assert office.holds(column(ms(2024, 7, 5, 14, 30) - 1, ms(2024, 7, 5, 14, 30))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("day", "window", "expected"),
    [
        # Clocks go forward from 02:00 to 03:00 (01:00 UTC): half of the window is skipped.
        ((2024, 3, 31), ("02:30", "03:30"), [datetime(2024, 3, 31, 1), datetime(2024, 3, 31, 1, 30)]),
        ((2024, 3, 31), ("01:30", "02:30"), [datetime(2024, 3, 31, 0, 30), datetime(2024, 3, 31, 1)]),
        ((2024, 3, 31), ("02:00", "03:00"), []),
        ((2024, 3, 31), ("22:00", "06:00"), [datetime(2024, 3, 31, 4), datetime(2024, 3, 31, 20)]),
        # They go back from 03:00 to 02:00 (01:00 UTC): the window begins at the first 02:30, and is no second time.
        ((2024, 10, 27), ("02:30", "03:30"), [datetime(2024, 10, 27, 0, 30), datetime(2024, 10, 27, 2, 30)]),
        ((2024, 10, 27), ("02:00", "02:30"), [datetime(2024, 10, 27, 0), datetime(2024, 10, 27, 0, 30)]),
        ((2024, 10, 27), ("02:59", "03:00"), [datetime(2024, 10, 27, 0, 59), datetime(2024, 10, 27, 2)]),
        ((2024, 10, 27), ("22:00", "06:00"), [datetime(2024, 10, 27, 5), datetime(2024, 10, 27, 21)]),
    ],
)  # fmt: skip
def test_windows_in_the_nights_of_change(
    day: tuple[int, int, int], window: tuple[str, str], expected: list[datetime]
) -> None:
    found = Schedule.parse(weekly((" ".join(DAYS), *window)))
    before = int(datetime(*day, tzinfo=packaged("Europe/Berlin")).timestamp()) * 1000
    assert changes(found, before, before + 24 * 60 * MINUTE_MS) == expected


def test_windows_that_follow_each_other_are_one_occurrence_in_every_night() -> None:
    found = Schedule.parse(weekly((" ".join(DAYS), "01:00", "02:30"), (" ".join(DAYS), "02:30", "04:00")))
    for day, start, end in [
        (ms(2024, 3, 30, 12), datetime(2024, 3, 31, 0), datetime(2024, 3, 31, 2)),
        (ms(2024, 10, 26, 12), datetime(2024, 10, 26, 23), datetime(2024, 10, 27, 3)),
    ]:
        assert changes(found, day, day + 24 * 60 * MINUTE_MS) == [start, end]


def test_windows_over_midnight_and_from_a_time_to_itself() -> None:
    night = Schedule.parse(weekly(("sun", "22:00", "06:00"), time_zone="UTC"))
    assert changes(night, ms(2024, 7, 7), ms(2024, 7, 9)) == [datetime(2024, 7, 7, 22), datetime(2024, 7, 8, 6)]
    duty = Schedule.parse(weekly(("sat", "08:00", "08:00"), time_zone="UTC"))
    assert changes(duty, ms(2024, 7, 6), ms(2024, 7, 9)) == [datetime(2024, 7, 6, 8), datetime(2024, 7, 7, 8)]
    day = Schedule.parse(weekly(("sat", "00:00", "24:00"), time_zone="UTC"))
    assert changes(day, ms(2024, 7, 5), ms(2024, 7, 9)) == [datetime(2024, 7, 6), datetime(2024, 7, 7)]


def test_occurrences_that_overlap_or_touch_are_one() -> None:
    found = Schedule.parse(
        calendar(
            "DTSTART:20240701T080000Z\nDTEND:20240701T120000Z",
            "DTSTART:20240701T090000Z\nDTEND:20240701T100000Z",
            "DTSTART:20240701T120000Z\nDTEND:20240701T130000Z",
            "DTSTART:20240701T130100Z\nDTEND:20240701T140000Z",
        )
    )
    assert changes(found, ms(2024, 1, 1), ms(2025, 1, 1)) == [
        datetime(2024, 7, 1, 8), datetime(2024, 7, 1, 13), datetime(2024, 7, 1, 13, 1), datetime(2024, 7, 1, 14),
    ]  # fmt: skip
    at = column(ms(2024, 7, 1, 9, 30), ms(2024, 7, 1, 12, 59), ms(2024, 7, 1, 13), ms(2024, 7, 1, 13, 30))
    assert found.occurrence(at).tolist() == [ms(2024, 7, 1, 8), ms(2024, 7, 1, 8), NEVER, ms(2024, 7, 1, 13, 1)]


def test_three_shifts_around_the_clock_are_one_occurrence_that_begins_anew_each_year() -> None:
    shifts = [(" ".join(DAYS), start, end) for start, end in pairwise(["06:00", "14:00", "22:00", "06:00"])]
    found = Schedule.parse(weekly(*shifts))
    assert found.boundary(ms(1950, 1, 1), ms(2150, 1, 1)) is None
    at = column(ms(2024, 1, 1) - 1, ms(2024, 1, 1), ms(2024, 7, 1), ms(1900, 5, 1))
    assert found.occurrence(at).tolist() == [ms(2023, 1, 1), ms(2024, 1, 1), ms(2024, 1, 1), BEGIN_MS]


def test_an_occurrence_over_new_year_is_one_and_a_long_one_begins_anew_after_a_whole_year() -> None:
    found = Schedule.parse(calendar("DTSTART:20211231T200000Z\nDTEND:20220101T040000Z"))
    at = column(ms(2021, 12, 31, 23), ms(2022, 1, 1, 1))
    assert found.occurrence(at).tolist() == [ms(2021, 12, 31, 20)] * 2
    long = Schedule.parse(calendar("DTSTART:20210601T000000Z\nDTEND:20240601T000000Z"))
    at = column(ms(2021, 7, 1), ms(2022, 7, 1), ms(2023, 7, 1), ms(2024, 5, 1), ms(2024, 6, 1))
    assert found.boundary(ms(2022, 1, 1), ms(2024, 1, 1)) == ms(2022, 1, 1, 4)
    assert long.boundary(ms(2021, 6, 1), ms(2025, 1, 1)) == ms(2024, 6, 1)
    begun = [ms(2021, 6, 1), ms(2021, 6, 1), ms(2023, 1, 1), ms(2024, 1, 1), NEVER]
    assert long.occurrence(at).tolist() == begun


def test_an_occurrence_of_a_whole_year_from_its_beginning_begins_anew_after_it() -> None:
    found = Schedule.parse(calendar("DTSTART:20220101T000000Z\nDTEND:20230601T000000Z"))
    assert found.occurrence(column(ms(2022, 5, 1), ms(2023, 5, 1))).tolist() == [ms(2022, 1, 1), ms(2023, 1, 1)]


def test_a_window_of_last_week_may_still_hold_in_another_year() -> None:
    found = Schedule.parse(weekly(("sun", "23:00", "22:59"), time_zone="Pacific/Honolulu"))
    new_year = ms(2019, 1, 1)  # a Tuesday, in Hawaii still Monday
    assert found.holds(column(new_year)).all()
    assert found.boundary(new_year - 1, new_year + 24 * 60 * MINUTE_MS) == ms(2019, 1, 1, 8, 59)


def test_an_end_at_new_year_is_a_boundary_and_a_passage_is_none() -> None:
    until = Schedule.parse(calendar("DTSTART:20231231T200000Z\nDTEND:20240101T000000Z"))
    new_year = ms(2024, 1, 1)
    assert until.boundary(new_year - 1, new_year) == new_year
    assert until.boundary(new_year, ms(2030, 1, 1)) is None
    on = Schedule.parse(
        calendar("DTSTART:20231231T200000Z\nDTEND:20240101T000000Z", "DTSTART:20240101T000000Z\nDURATION:PT1H")
    )
    assert on.boundary(new_year - 1, ms(2030, 1, 1)) == ms(2024, 1, 1, 1)
    assert on.occurrence(column(new_year)).tolist() == [ms(2023, 12, 31, 20)]


def test_nothing_holds_before_1900_and_after_2200() -> None:
    always = Schedule.parse(weekly((" ".join(DAYS), "00:00", "24:00")))
    outside = [BEGIN_MS - 1, END_MS, NEVER, NEVER + 1, np.iinfo(np.int64).max]
    assert always.holds(column(*outside, BEGIN_MS, END_MS - 1)).tolist() == [False] * 5 + [True] * 2
    assert always.holds(column(outside[2])).tolist() == [False]
    assert always.occurrence(column(*outside)).tolist() == [NEVER] * 5
    assert list(_changes(always, -(10**17), 10**17)) == [BEGIN_MS, END_MS]
    assert always.boundary(10**17, -(10**17)) is None
    assert always.boundary(BEGIN_MS, BEGIN_MS) is None


def test_no_instants_have_no_answers() -> None:
    found = Schedule.parse(weekly(("mon", "08:00", "17:00")))
    assert found.holds(column()).tolist() == []
    assert found.occurrence(column()).tolist() == []


def test_instants_of_many_years_are_answered_as_one_by_one() -> None:
    found = Schedule.parse(weekly(("mon wed sun", "20:00", "04:00"), time_zone="America/New_York"))
    at = np.random.default_rng(3).integers(BEGIN_MS, END_MS, 300)
    assert found.holds(at).tolist() == [bool(found.holds(at[[each]])[0]) for each in range(len(at))]
    assert found.occurrence(at).tolist() == [int(found.occurrence(at[[each]])[0]) for each in range(len(at))]


def test_schedules_are_equal_by_their_source_and_give_it_back() -> None:
    source = weekly(("mon", "08:00", "17:00"))
    other = dict(reversed(json.loads(json.dumps(source)).items()))
    assert Schedule.parse(source) == Schedule.parse(other)
    assert len({Schedule.parse(source), Schedule.parse(other)}) == 1
    assert Schedule.parse(source) != Schedule.parse(weekly(("mon", "08:00", "17:01")))
    assert Schedule.parse(source).source == source
    source["weekly"].clear()
    assert Schedule.parse(other).source == other
    text = calendar("DTSTART:20240701T080000Z\nDURATION:PT1H\nSUMMARY:ä😀")
    assert Schedule.parse(text).source == text


def test_years_that_were_forgotten_are_worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    at = np.random.default_rng(5).integers(BEGIN_MS, END_MS, 200)
    found = Schedule.parse(weekly(("tue", "08:00", "17:00")))
    expected = found.occurrence(at)
    small = module._Years(1000)
    monkeypatch.setattr(module, "_YEARS", small)
    assert (found.occurrence(at) == expected).all()
    assert 0 < small._held <= 1000
    assert small._held == sum(small._size(year) for year in small._years.values())


def test_threads_share_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    at = np.random.default_rng(7).integers(BEGIN_MS, END_MS, 500)
    found = Schedule.parse(weekly(("fri", "08:00", "17:00")))
    expected = found.holds(at).tolist()
    small = module._Years(2000)
    monkeypatch.setattr(module, "_YEARS", small)
    with ThreadPoolExecutor(4) as pool:
        assert all(each.tolist() == expected for each in pool.map(found.holds, [at] * 8))
    assert small._held == sum(small._size(year) for year in small._years.values())


WINDOW = {"days": ["mon"], "from": "08:00", "to": "17:30"}


@pytest.mark.parametrize(
    ("raw", "field", "says"),
    [
        (None, "", "either weekly"),
        ([], "", "either weekly"),
        ({}, "", "either weekly"),
        ({"time_zone": "UTC"}, "", "either weekly"),
        ({"time_zone": "UTC", "weekly": [WINDOW], "ical": ""}, "", "either weekly"),
        ({"time_zone": "UTC", "weekly": [WINDOW], "until": 1}, "", "either weekly"),
        ({"weekly": [WINDOW]}, ".time_zone", "such as Europe/Helsinki"),
        ({"time_zone": None, "weekly": [WINDOW]}, ".time_zone", "such as Europe/Helsinki"),
        ({"time_zone": ["UTC"], "weekly": [WINDOW]}, ".time_zone", "such as Europe/Helsinki"),
        ({"time_zone": "+02:00", "weekly": [WINDOW]}, ".time_zone", "such as Europe/Helsinki"),
        ({"time_zone": "EET\0", "ical": ""}, ".time_zone", "such as Europe/Helsinki"),
        ({"time_zone": None, "ical": ""}, ".time_zone", "such as Europe/Helsinki"),
        ({"time_zone": "UTC", "weekly": []}, ".weekly", "1 to 50 windows"),
        ({"time_zone": "UTC", "weekly": [WINDOW] * 51}, ".weekly", "1 to 50 windows"),
        ({"time_zone": "UTC", "weekly": WINDOW}, ".weekly", "1 to 50 windows"),
        ({"time_zone": "UTC", "weekly": ["mon"]}, ".weekly[0]", "exactly the members days, from and to"),
        ({"time_zone": "UTC", "weekly": [WINDOW, WINDOW | {"x": 1}]}, ".weekly[1]", "exactly the members"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"days": []}]}, ".weekly[0].days", "mon, tue"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"days": "mon"}]}, ".weekly[0].days", "mon, tue"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"days": ["Monday"]}]}, ".weekly[0].days", "mon, tue"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"days": [["mon"]]}]}, ".weekly[0].days", "mon, tue"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"from": "8:00"}]}, ".weekly[0].from", "like 08:00"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"from": 8}]}, ".weekly[0].from", "like 08:00"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"from": "08:00\n"}]}, ".weekly[0].from", "like 08:00"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"from": "24:00"}]}, ".weekly[0].from", "00:00 of the next day"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"to": "24:01"}]}, ".weekly[0].to", "like 08:00"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"to": "17:60"}]}, ".weekly[0].to", "like 08:00"),
        ({"time_zone": "UTC", "weekly": [WINDOW | {"to": "\u0661\u0667:30"}]}, ".weekly[0].to", "like 08:00"),
        ({"ical": 5}, ".ical", "at most 64 KiB"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said_with_its_field(raw: object, field: str, says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        Schedule.parse(raw)
    assert refused.value.field == "properties.schedule" + field
    assert refused.value.message.startswith("properties.schedule" + field)
    assert says in refused.value.message
    with pytest.raises(InvalidField, match=r"^features\[3\]"):
        Schedule.parse(raw, "features[3].properties.schedule")


def test_the_day_of_the_week_is_that_of_the_calendar() -> None:
    assert date(1970, 1, 5).weekday() == 0
    monday = Schedule.parse(weekly(("mon", "00:00", "24:00"), time_zone="UTC"))
    assert monday.holds(column(ms(1970, 1, 5), ms(1900, 1, 1), ms(2200, 12, 29))).all()
