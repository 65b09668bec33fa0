# ruff: noqa: DTZ001  (rules work on a clock without a zone)
from datetime import datetime, timedelta

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracker.domain.recurrence import InvalidRule, Recurrence
from tracker.domain.timezone import seconds

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
START = datetime(1997, 9, 2, 9)


def times(rule: str, start: datetime, low: datetime, high: datetime) -> list[datetime]:
    found = Recurrence.parse(rule, start).times(seconds(low), seconds(high))
    return [datetime(1970, 1, 1) + timedelta(seconds=int(each)) for each in sorted(found)]


def some(*values: object) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(lambda v: ",".join(map(str, v)))


# Parts that together always match before long: without a match, dateutil by itself would look until the year 9999.
HOURS = st.builds(lambda hours, minutes: f";BYHOUR={hours};BYMINUTE={minutes}", some(0, 6, 9, 23), some(0, 20, 59))
MONTH_DAYS = some(1, 13, 28, -1, -3, -28)
PARTS = {
    "DAILY": st.one_of(st.just(""), some(1, 2, 12).map(";BYMONTH={}".format), MONTH_DAYS.map(";BYMONTHDAY={}".format)),
    "WEEKLY": st.one_of(st.just(""), some(*DAYS).map(";BYDAY={}".format)),
    "MONTHLY": st.one_of(
        st.just(""),
        MONTH_DAYS.map(";BYMONTHDAY={}".format),
        some(*DAYS, "1MO", "-1FR", "3WE").map(";BYDAY={}".format),
        some(2, 7).map(";BYMONTHDAY=1,2,3,4,5,6,7;BYDAY=MO;BYMONTH={}".format),
    ),
    "YEARLY": st.one_of(
        st.just(""),
        some(1, 2, 12).map(";BYMONTH={}".format),
        st.builds(";BYMONTH={};BYDAY={}".format, some(1, 3, 11), some(*DAYS, "1MO", "-1FR")),
        some(*DAYS, "20MO", "-1FR").map(";BYDAY={}".format),
        some(1, 100, 365, -1, -366).map(";BYYEARDAY={}".format),
        st.builds(";BYWEEKNO={};BYDAY={}".format, some(1, 20, 51, -1), some(*DAYS)),
    ),
}
rules = st.sampled_from(sorted(PARTS)).flatmap(
    lambda frequency: st.builds(
        "FREQ={};INTERVAL={};WKST={}{}{}".format,
        st.just(frequency),
        st.sampled_from([1, 1, 2, 3, 5]),
        st.sampled_from(DAYS),
        PARTS[frequency],
        st.one_of(st.just(""), HOURS),
    )
)


@settings(deadline=None, max_examples=60)
@given(
    rules,
    st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)),
    st.integers(0, 1500),
    st.sampled_from(["", "1", "-1", "1,-2"]),
)
def test_every_rule_names_the_times_that_dateutil_finds_on_its_own_way(
    rule: str, start: datetime, later_days: int, positions: str
) -> None:
    assume(not positions or ("BYHOUR" in rule and "WEEKLY" not in rule))
    rule += f";BYSETPOS={positions}" if positions else ""
    start = start.replace(microsecond=0)
    low = start + timedelta(days=later_days)
    high = low + timedelta(days=400)
    expected = rrulestr(rule, dtstart=start).between(low, high, inc=True)
    assert times(rule, start, low, high) == expected


@settings(deadline=None)
@given(st.integers(1, 50), some(0, 15, 59), st.one_of(st.none(), some(0, 6, 7, 23)), st.integers(0, 500))
def test_hours_are_counted_as_dateutil_counts_them(
    interval: int, minutes: str, hours: str | None, later_h: int
) -> None:
    rule = f"FREQ=HOURLY;INTERVAL={interval};BYMINUTE={minutes}" + (f";BYHOUR={hours}" if hours else "")
    low = START + timedelta(hours=later_h)
    try:
        expected = rrulestr(rule, dtstart=START).between(low, low + timedelta(days=30), inc=True)
    except ValueError:  # dateutil refuses what never matches
        expected = []
    assert times(rule, START, low, low + timedelta(days=30)) == expected


def weeks_of(year: int, week_start: int) -> list[list[datetime]]:
    """The weeks of a year, each with its days: those that have four days or more in it."""
    day = datetime(year, 1, 1) - timedelta(days=7)
    while day.weekday() != week_start:
        day += timedelta(days=1)
    weeks = [[day + timedelta(days=7 * week + at) for at in range(7)] for week in range(56)]
    return [week for week in weeks if sum(at.year == year for at in week) >= 4]


@pytest.mark.parametrize("week_start", DAYS)
@pytest.mark.parametrize("week", [1, 2, 20, 51, 52, 53, -1, -2, -52, -53])
def test_numbered_weeks_are_those_that_lie_mostly_in_the_year(week_start: str, week: int) -> None:
    years = range(1895, 1935)  # every kind of year, and 1900, which is no leap year
    listed = [weeks_of(year, DAYS.index(week_start)) for year in years]
    place = week - 1 if week > 0 else week
    expected = [day for weeks in listed if abs(week) <= len(weeks) for day in weeks[place]]
    rule = f"FREQ=YEARLY;WKST={week_start};BYWEEKNO={week};BYDAY={','.join(DAYS)}"
    found = times(rule, datetime(1890, 1, 1), datetime(1895, 1, 10), datetime(1934, 12, 20))
    assert found == [day for day in expected if datetime(1895, 1, 10) <= day <= datetime(1934, 12, 20)]


def test_positions_are_counted_in_whole_weeks_across_the_year() -> None:
    rule = "FREQ=WEEKLY;BYDAY=MO,WE,SU;BYSETPOS=-1"
    start = datetime(2024, 12, 30, 9)  # a Monday
    assert times(rule, start, start, datetime(2025, 1, 13)) == [datetime(2025, 1, 5, 9), datetime(2025, 1, 12, 9)]


def test_positions_are_those_of_the_whole_week_also_if_a_part_of_it_is_asked_about() -> None:
    start = datetime(2024, 12, 2, 9)
    second = "FREQ=WEEKLY;BYDAY=MO,WE,SU;BYSETPOS=2"
    assert times(second, start, datetime(2025, 1, 1), datetime(2025, 1, 6)) == [datetime(2025, 1, 1, 9)]
    last = "FREQ=WEEKLY;BYDAY=MO,TU,SU;BYSETPOS=-1"
    assert times(last, start, datetime(2024, 12, 30), datetime(2024, 12, 31, 23)) == []


def test_a_numbered_week_without_a_day_means_the_weekday_of_the_start() -> None:
    found = times(
        "FREQ=YEARLY;BYWEEKNO=20", datetime(1997, 5, 12, 9), START - timedelta(days=365), datetime(1999, 6, 1)
    )
    assert found == [datetime(1997, 5, 12, 9), datetime(1998, 5, 11, 9), datetime(1999, 5, 17, 9)]


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1",
        "FREQ=DAILY;BYHOUR=9;BYSETPOS=2",
        "FREQ=HOURLY;BYMINUTE=0;BYSETPOS=-2",
        "FREQ=DAILY;INTERVAL=7;BYDAY=MO",
        "FREQ=YEARLY;INTERVAL=9999;BYMONTH=2;BYMONTHDAY=30",
    ],
)
def test_a_rule_that_never_matches_ends_all_the_same(rule: str) -> None:
    assert times(rule, START, START, datetime(2200, 12, 31)) == []


def test_nothing_is_named_before_the_start() -> None:
    assert times("FREQ=DAILY", START, datetime(1990, 1, 1), START + timedelta(days=1)) == [
        START,
        START + timedelta(days=1),
    ]
    assert times("FREQ=DAILY", START, datetime(1990, 1, 1), datetime(1997, 9, 1)) == []


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("", "each once"),
        ("BYDAY=MO", "FREQ"),
        ("FREQ=SECONDLY", "HOURLY with BYMINUTE"),
        ("FREQ=MINUTELY;INTERVAL=30", "HOURLY with BYMINUTE"),
        ("FREQ=DAILY;FREQ=DAILY", "each once"),
        ("FREQ=DAILY;BYEASTER=0", "BYEASTER"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20240101", "leave one away"),
        ("FREQ=DAILY;INTERVAL=0", "from 1 to 9,999 as INTERVAL"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=99999999999999999999", "INTERVAL"),
        ("FREQ=DAILY;COUNT=10001", "COUNT"),
        ("FREQ=DAILY;WKST=XX", "WKST"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,", "BYMONTHDAY"),
        ("FREQ=YEARLY;BYMONTH=-1", "from 1 to 12 as BYMONTH"),
        ("FREQ=DAILY;BYHOUR=24", "from 0 to 23 as BYHOUR"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=54MO", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=1MO", "number the days of BYDAY"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO", "number the days of BYDAY"),
        ("FREQ=MONTHLY;BYWEEKNO=20", "BYWEEKNO with FREQ=MONTHLY"),
        ("FREQ=DAILY;BYYEARDAY=20", "BYYEARDAY with FREQ=DAILY"),
        ("FREQ=WEEKLY;BYMONTHDAY=20", "BYMONTHDAY with FREQ=WEEKLY"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=HOURLY;BYMINUTE=0,10,20,30,40", "at most 96 times of a day"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_is_said(rule: str, says: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        Recurrence.parse(rule, START)
    assert says in str(refused.value)
