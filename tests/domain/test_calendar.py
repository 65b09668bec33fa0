# ruff: noqa: DTZ001, DTZ007  (readings of a clock have no zone until they are asked about)
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tracker.domain.schedule import Schedule
from tracker.errors import InvalidField

NINE = "DTSTART;TZID=America/New_York:{:%Y%m%dT090000}\nDURATION:PT1H\n"


def calendar(*events: str) -> str:
    inner = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\n{inner}END:VCALENDAR\n"


def schedule(*events: str, time_zone: str | None = None) -> Schedule:
    raw: dict[str, Any] = {"ical": calendar(*events)}
    return Schedule.parse(raw if time_zone is None else raw | {"time_zone": time_zone})


def occurrences(found: Schedule, low: datetime, high: datetime) -> list[tuple[datetime, datetime]]:
    """(start, end) in UTC of all that begin and end within, by walking from one change to the next."""
    changes: list[datetime] = []
    at, last = (int(each.replace(tzinfo=UTC).timestamp() * 1000) for each in (low, high))
    while (change := found.boundary(at, last)) is not None:
        changes.append(datetime.fromtimestamp(change / 1000, UTC).replace(tzinfo=None))
        at = change
    return list(zip(changes[::2], changes[1::2], strict=True))


def days(text: str) -> list[date]:
    """From "1997 Sep 2 4, Oct 2; 1998 Jan 1"."""
    found = []
    for year, months in (part.strip().split(" ", 1) for part in text.split(";")):
        for month, *numbers in (each.split() for each in months.split(",")):
            found += [datetime.strptime(f"{year} {month} {number}", "%Y %b %d").date() for number in numbers]
    return found


# The examples of RFC 5545, 3.8.5.3: all begin at nine in New York. A rule without an end is followed as far as stated.
EXAMPLES = [
    ("1997 Sep 2", "FREQ=DAILY;COUNT=10", "1997 Sep 2 3 4 5 6 7 8 9 10 11"),
    ("1997 Sep 2", "FREQ=DAILY;INTERVAL=2", "1997 Sep 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30, Oct 2"),
    ("1997 Sep 2", "FREQ=DAILY;INTERVAL=10;COUNT=5", "1997 Sep 2 12 22, Oct 2 12"),
    (
        "1997 Sep 2",
        "FREQ=WEEKLY;UNTIL=19971224T000000Z",
        "1997 Sep 2 9 16 23 30, Oct 7 14 21 28, Nov 4 11 18 25, Dec 2 9 16 23",
    ),
    (
        "1997 Sep 2",
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU",
        "1997 Sep 2 16 30, Oct 14 28, Nov 11 25, Dec 9 23; 1998 Jan 6 20, Feb 3",
    ),
    ("1997 Sep 2", "FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", "1997 Sep 2 4 9 11 16 18 23 25 30, Oct 2"),
    (
        "1997 Sep 1",
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
        "1997 Sep 1 3 5 15 17 19 29, Oct 1 3 13 15 17 27 29 31, Nov 10 12 14 24 26 28, Dec 8 10 12 22",
    ),
    ("1997 Sep 2", "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", "1997 Sep 2 4 16 18 30, Oct 2 14 16"),
    (
        "1997 Sep 5",
        "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
        "1997 Sep 5, Oct 3, Nov 7, Dec 5; 1998 Jan 2, Feb 6, Mar 6, Apr 3, May 1, Jun 5",
    ),
    ("1997 Sep 5", "FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR", "1997 Sep 5, Oct 3, Nov 7, Dec 5"),
    (
        "1997 Sep 7",
        "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
        "1997 Sep 7 28, Nov 2 30; 1998 Jan 4 25, Mar 1 29, May 3 31",
    ),
    ("1997 Sep 22", "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "1997 Sep 22, Oct 20, Nov 17, Dec 22; 1998 Jan 19, Feb 16"),
    ("1997 Sep 28", "FREQ=MONTHLY;BYMONTHDAY=-3", "1997 Sep 28, Oct 29, Nov 28, Dec 29; 1998 Jan 29, Feb 26"),
    (
        "1997 Sep 2",
        "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15",
        "1997 Sep 2 15, Oct 2 15, Nov 2 15, Dec 2 15; 1998 Jan 2 15",
    ),
    (
        "1997 Sep 30",
        "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1",
        "1997 Sep 30, Oct 1 31, Nov 1 30, Dec 1 31; 1998 Jan 1 31, Feb 1",
    ),
    (
        "1997 Sep 10",
        "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15",
        "1997 Sep 10 11 12 13 14 15; 1999 Mar 10 11 12 13",
    ),
    (
        "1997 Sep 2",
        "FREQ=MONTHLY;INTERVAL=2;BYDAY=TU",
        "1997 Sep 2 9 16 23 30, Nov 4 11 18 25; 1998 Jan 6 13 20 27, Mar 3",
    ),
    (
        "1997 Jun 10",
        "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
        "1997 Jun 10, Jul 10; 1998 Jun 10, Jul 10; 1999 Jun 10, Jul 10; 2000 Jun 10, Jul 10; 2001 Jun 10, Jul 10",
    ),
    (
        "1997 Mar 10",
        "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3",
        "1997 Mar 10; 1999 Jan 10, Feb 10, Mar 10; 2001 Jan 10, Feb 10, Mar 10; 2003 Jan 10, Feb 10, Mar 10",
    ),
    (
        "1997 Jan 1",
        "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
        "1997 Jan 1, Apr 10, Jul 19; 2000 Jan 1, Apr 9, Jul 18; 2003 Jan 1, Apr 10, Jul 19; 2006 Jan 1",
    ),
    ("1997 May 19", "FREQ=YEARLY;BYDAY=20MO", "1997 May 19; 1998 May 18; 1999 May 17"),
    ("1997 May 12", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1997 May 12; 1998 May 11; 1999 May 17"),
    (
        "1997 Mar 13",
        "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
        "1997 Mar 13 20 27; 1998 Mar 5 12 19 26; 1999 Mar 4 11 18 25",
    ),
    ("1998 Feb 13", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998 Feb 13, Mar 13, Nov 13; 1999 Aug 13; 2000 Oct 13"),
    (
        "1997 Sep 13",
        "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13",
        "1997 Sep 13, Oct 11, Nov 8, Dec 13; 1998 Jan 10, Feb 7, Mar 7, Apr 11, May 9, Jun 13",
    ),
    (
        "1996 Nov 5",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        "1996 Nov 5; 2000 Nov 7; 2004 Nov 2",
    ),
    ("1997 Sep 4", "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997 Sep 4, Oct 7, Nov 6"),
    (
        "1997 Sep 29",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
        "1997 Sep 29, Oct 30, Nov 27, Dec 30; 1998 Jan 29, Feb 26, Mar 30",
    ),
    ("1997 Aug 5", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997 Aug 5 10 19 24"),
    ("1997 Aug 5", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997 Aug 5 17 19 31"),
    ("2007 Jan 15", "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "2007 Jan 15 30, Feb 15, Mar 15 30"),
]


@pytest.mark.parametrize(("start", "rule", "expected"), EXAMPLES, ids=[f"{rule}" for _, rule, _ in EXAMPLES])
def test_the_examples_of_the_standard_come_out_as_it_says(start: str, rule: str, expected: str) -> None:
    begin = datetime.combine(days(start)[0], datetime.min.time())
    last = datetime.combine(days(expected)[-1], datetime.min.time()) + timedelta(days=1)
    endless = "COUNT" not in rule and "UNTIL" not in rule
    found = schedule(NINE.format(begin) + f"RRULE:{rule}")
    got = occurrences(found, begin - timedelta(days=400), last if endless else last + timedelta(days=4000))
    # Until 2007 New York was four hours behind UTC from the first Sunday of April to the last of October.
    assert [start.date() for start, _ in got] == days(expected)
    assert {start.hour for start, _ in got} <= {13, 14}
    assert {end - start for start, end in got} == {timedelta(hours=1)}


def test_hours_are_counted_within_the_day() -> None:
    start = datetime(1997, 9, 2)
    every_third = schedule(NINE.format(start) + "RRULE:FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z")
    assert [at.hour - 4 for at, _ in occurrences(every_third, start, datetime(1998, 1, 1))] == [9, 12, 15]
    often = schedule(
        "DTSTART;TZID=America/New_York:19970902T090000\nDURATION:PT5M\n"
        "RRULE:FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40"
    )
    got = occurrences(often, start, datetime(1997, 9, 4))
    assert len(got) == 48
    assert [at.strftime("%H%M") for at, _ in got[:4]] == ["1300", "1320", "1340", "1400"]


def test_the_clock_stays_when_the_offset_changes() -> None:
    found = schedule(NINE.format(datetime(1997, 10, 25)) + "RRULE:FREQ=DAILY;COUNT=3")
    assert [start.hour for start, _ in occurrences(found, datetime(1997, 10, 1), datetime(1997, 11, 1))] == [13, 14, 14]


def test_an_event_with_an_end_lasts_as_long_each_time_and_one_in_days_until_the_same_hour() -> None:
    """RFC 5545, 3.8.5.3: the exact duration for DTEND, the nominal one for the days of DURATION."""
    night = "DTSTART;TZID=Europe/Berlin:20240329T220000\n{}\nRRULE:FREQ=DAILY;COUNT=3"
    low, high = datetime(2024, 3, 1), datetime(2024, 4, 30)
    got = occurrences(schedule(night.format("DTEND;TZID=Europe/Berlin:20240330T060000")), low, high)
    assert got == [
        (datetime(2024, 3, 29, 21), datetime(2024, 3, 30, 5)),
        (datetime(2024, 3, 30, 21), datetime(2024, 3, 31, 5)),  # until seven: the clock went forward at two
        (datetime(2024, 3, 31, 20), datetime(2024, 4, 1, 4)),
    ]
    alternate = "DTSTART;TZID=Europe/Berlin:20240329T220000\nDURATION:P1D\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=2"
    assert occurrences(schedule(alternate), low, high) == [
        (datetime(2024, 3, 29, 21), datetime(2024, 3, 30, 21)),
        (datetime(2024, 3, 31, 20), datetime(2024, 4, 1, 20)),
    ]
    across = "DTSTART;TZID=Europe/Berlin:20240330T220000\nDURATION:P1D"
    assert occurrences(schedule(across), low, high) == [(datetime(2024, 3, 30, 21), datetime(2024, 3, 31, 20))]


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        # 02:30 is not on the clock of that night: it is counted on by the old offset, to 03:30 of the new one.
        ("20240331", datetime(2024, 3, 31, 1, 30), datetime(2024, 3, 31, 2, 30)),
        # 02:30 comes twice: the first is meant, and an hour later it is 02:30 again.
        ("20241027", datetime(2024, 10, 27, 0, 30), datetime(2024, 10, 27, 1, 30)),
    ],
)
def test_times_in_the_hour_of_change_are_read_as_the_standard_says(day: str, start: datetime, end: datetime) -> None:
    found = schedule(f"DTSTART;TZID=Europe/Berlin:{day}T023000\nDURATION:PT1H")
    assert occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1)) == [(start, end)]


def test_whole_days_and_floating_times_are_those_of_the_time_zone_of_the_schedule() -> None:
    days_off = "DTSTART;VALUE=DATE:20241224\nDTEND;VALUE=DATE:20241227"
    one_day = "DTSTART;VALUE=DATE:20240331"
    shift = "DTSTART:20240701T080000\nDTEND:20240701T100000"
    found = schedule(days_off, one_day, shift, time_zone="Europe/Helsinki")
    assert occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1)) == [
        (datetime(2024, 3, 30, 22), datetime(2024, 3, 31, 21)),  # a day of 23 hours
        (datetime(2024, 7, 1, 5), datetime(2024, 7, 1, 7)),
        (datetime(2024, 12, 23, 22), datetime(2024, 12, 26, 22)),
    ]


def test_a_whole_day_that_recurs_ends_where_the_next_begins() -> None:
    found = schedule("DTSTART;VALUE=DATE:20240301\nRRULE:FREQ=DAILY;UNTIL=20240410", time_zone="Europe/Berlin")
    assert occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1)) == [
        (datetime(2024, 2, 29, 23), datetime(2024, 4, 10, 22))
    ]


def test_the_new_year_of_a_zone_is_not_that_of_utc() -> None:
    first = schedule("DTSTART;TZID=Pacific/Kiritimati:20200101T090000\nDURATION:PT1H\nRRULE:FREQ=YEARLY")
    last = schedule("DTSTART;TZID=Pacific/Pago_Pago:20191231T230000\nDURATION:PT1H\nRRULE:FREQ=YEARLY")
    low, high = datetime(2023, 6, 1), datetime(2024, 6, 1)
    assert occurrences(first, low, high) == [(datetime(2023, 12, 31, 19), datetime(2023, 12, 31, 20))]
    assert occurrences(last, low, high) == [(datetime(2024, 1, 1, 10), datetime(2024, 1, 1, 11))]


def test_exceptions_take_occurrences_away_by_instant_or_by_day() -> None:
    found = schedule(
        NINE.format(datetime(2024, 7, 1)) + "RRULE:FREQ=DAILY;COUNT=7\n"
        "EXDATE;TZID=America/New_York:20240702T090000,20240703T090000\n"
        "EXDATE:20240704T130000Z\nEXDATE;VALUE=DATE:20240705\nEXDATE:20240706T131500Z"
    )
    assert [at.day for at, _ in occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1))] == [1, 6, 7]


def test_further_dates_and_periods_are_added() -> None:
    found = schedule(
        "DTSTART:20240701T090000Z\nDURATION:PT1H\nRDATE:20240703T090000Z,20240702T090000Z\n"
        "RDATE;VALUE=PERIOD:20240710T090000Z/20240710T113000Z,20240711T090000Z/PT2H\nRDATE:20240720T090000Z\n"
        "EXDATE:20240720T090000Z"
    )
    got = occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1))
    assert [(at.day, (end - at).seconds / 3600) for at, end in got] == [(1, 1), (2, 1), (3, 1), (10, 2.5), (11, 2)]


def test_an_occurrence_that_was_moved_or_cancelled_is_not_where_it_was() -> None:
    found = schedule(
        "UID:a\n" + NINE.format(datetime(2024, 7, 1)) + "RRULE:FREQ=DAILY;COUNT=4",
        "UID:a\nRECURRENCE-ID;TZID=America/New_York:20240702T090000\nDTSTART:20240702T200000Z\nDTEND:20240702T210000Z",
        "UID:a\nRECURRENCE-ID:20240703T130000Z\nSTATUS:CANCELLED\nDTSTART:20240703T130000Z\nDURATION:PT1H",
        "UID:b\nSTATUS:cancelled\nDTSTART:20240705T130000Z\nDURATION:PT1H",
    )
    got = occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1))
    assert [at.strftime("%d %H") for at, _ in got] == ["01 13", "02 20", "04 13"]


def test_a_start_counts_even_if_its_rule_does_not_name_it() -> None:
    found = schedule(NINE.format(datetime(2024, 7, 1)) + "RRULE:FREQ=WEEKLY;BYDAY=WE;COUNT=3")  # a Monday
    assert [at.day for at, _ in occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1))] == [1, 3, 10]


@pytest.mark.parametrize(
    ("until", "last"),
    [("20240703T130000Z", 3), ("20240703T125959Z", 2), ("20240703", 3), ("20240703T090000", 3), ("20240703T085959", 2)],
)
def test_the_last_start_is_included(until: str, last: int) -> None:
    found = schedule(NINE.format(datetime(2024, 7, 1)) + f"RRULE:FREQ=DAILY;UNTIL={until}")
    assert occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1))[-1][0].day == last


def test_a_birthday_from_before_all_clocks_recurs() -> None:
    found = schedule("DTSTART;VALUE=DATE:16040229\nRRULE:FREQ=YEARLY", time_zone="Europe/Berlin")
    got = occurrences(found, datetime(2020, 1, 1), datetime(2029, 1, 1))
    assert [at.date() for at, _ in got] == [date(2020, 2, 28), date(2024, 2, 28), date(2028, 2, 28)]


def test_the_world_s_calendars_are_read_whatever_else_they_hold() -> None:
    text = (
        "\ufeffBEGIN:VCALENDAR\r\nPRODID:-//Somebody//Something//EN\r\nMETHOD:PUBLISH\r\nX-WR-TIMEZONE:Europe/Berlin\r\n"
        "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:16010101T000000\r\n"
        "RRULE:FREQ=SECONDLY;INTERVAL=0\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        'begin:vevent\r\nSUMMARY;LANGUAGE="a:b;c":Meeting\\, weekly: ä\r\n 😀 folded\r\n'
        'DTSTART;X-NOTE="a;b:c";TZID="Europe/Ber\r\n\tlin":2024\r\n 0701T080000\r\n'
        "DTEND;TZID=Europe/Berlin:20240701T090000\r\n"
        "a line that is nothing\r\nATTACH:file:///etc/passwd\r\n"
        "BEGIN:VALARM\r\nTRIGGER:-PT15M\r\nDTSTART:nonsense\r\nEND:VALARM\r\nEND:vevent\r\n"
        "BEGIN:VTODO\r\nDTSTART:nonsense\r\nEND:VTODO\r\nEND:VCALENDAR\r\n\r\n"
    )
    found = Schedule.parse({"ical": text})
    assert occurrences(found, datetime(2024, 1, 1), datetime(2025, 1, 1)) == [
        (datetime(2024, 7, 1, 6), datetime(2024, 7, 1, 7))
    ]


ONE = "DTSTART:20240701T090000Z\nDURATION:PT1H\n"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("DURATION:PT1H", "line 3: the event has no DTSTART"),
        ("DTSTART:20240701T090000Z", "has no length: add a DTEND or a DURATION"),
        (ONE + "DTEND:20240701T100000Z", "line 5: DURATION stands beside DTEND: leave one away"),
        (ONE + "DTSTART:20240701T100000Z", "line 6: DTSTART stands twice in one event"),
        ("DTSTART:20240701T090000Z\nDTEND:20240701T090000Z", "a minute at least"),
        ("DTSTART:20240701T090000Z\nDTEND:20240630T090000Z", "a minute at least"),
        ("DTSTART:20240701T090000Z\nDURATION:PT59S", "a minute at least"),
        ("DTSTART:20240701T090000Z\nDURATION:-PT1H", "a duration like PT8H30M or P1D"),
        ("DTSTART:20240701T090000Z\nDURATION:P", "a duration like"),
        ("DTSTART:20240701T090000Z\nDURATION:PT", "a duration like"),
        ("DTSTART:20240701T090000Z\nDURATION:P9999999D", "a duration like"),
        ("DTSTART:20240701T090000\nDURATION:PT1H", "add time_zone to the schedule"),
        ("DTSTART;VALUE=DATE:20240701", "add time_zone to the schedule"),
        (
            "DTSTART;TZID=W. Europe Standard Time:20240701T090000\nDURATION:PT1H",
            "'W. Europe Standard Time': it must be",
        ),
        ("DTSTART;TZID=../../etc/passwd:20240701T090000\nDURATION:PT1H", "a name of the IANA database"),
        ("DTSTART:20240230T090000Z\nDURATION:PT1H", "line 4: DTSTART must be a time like 20260131T083000"),
        ("DTSTART:00000101T090000Z\nDURATION:PT1H", "a time like"),
        ("DTSTART:20240701T090060Z\nDURATION:PT1H", "a time like"),
        ("DTSTART:\u0662\u0660240701T090000Z\nDURATION:PT1H", "a time like"),
        ("DTSTART;=:20240701T090000Z\nDURATION:PT1H", "NAME;PARAMETER=value:value"),
        ("DTSTART:20240701T090000Z\nDTEND;VALUE=DATE:20240702", "times if it is a time"),
        (ONE + "RDATE;VALUE=DATE:20240702", "times if it is a time"),
        (ONE + "RDATE:20240702T090000Z/20240702T090000Z", "periods of a minute at least"),
        (ONE + "RDATE:", "RDATE must be a time like"),
        (ONE + "EXDATE:tomorrow", "EXDATE must be a time like"),
        (ONE + "EXRULE:FREQ=DAILY", "take EXDATE"),
        (ONE + "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", "RRULE stands twice"),
        (ONE + "RRULE:FREQ=SECONDLY", "line 6: RRULE must have a FREQ of"),
        (ONE + "RRULE:FREQ=DAILY;UNTIL=soon", "RRULE must be a time like"),
        (ONE + "RECURRENCE-ID:20240701T090000Z", "needs a UID"),
        (ONE + "UID:a\nRECURRENCE-ID;RANGE=THISANDFUTURE:20240701T090000Z", "RANGE is not understood"),
        ("DTSTART:20240701T090000Z\nDURATION:P367D\nRRULE:FREQ=YEARLY", "lasts longer than 366 days"),
        (ONE + "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31;COUNT=2", "must not count over more than 300 years"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_with_its_line(event: str, says: str) -> None:
    if "YEARLY;BYMONTH=2" in event:
        event = event.replace("2024", "1850")
    with pytest.raises(InvalidField) as refused:
        schedule(event)
    assert says in refused.value.message
    assert refused.value.field == "properties.schedule.ical"


def test_a_minute_is_long_enough() -> None:
    found = schedule("DTSTART:20240701T090000Z\nDURATION:PT1M\nRDATE;VALUE=PERIOD:20240702T090000Z/PT60S")
    assert len(occurrences(found, datetime(2024, 7, 1), datetime(2024, 7, 3))) == 2


@pytest.mark.parametrize(
    "event", ["DURATION:PT2H", "DURATION:P1DT2H", "RRULE:FREQ=HOURLY", "RRULE:FREQ=DAILY;BYHOUR=9"]
)
def test_whole_days_know_no_hours(event: str) -> None:
    with pytest.raises(InvalidField, match=r"as DTSTART is a day"):
        schedule("DTSTART;VALUE=DATE:20240701\n" + event, time_zone="UTC")


DAILY = ONE + "RRULE:FREQ=DAILY"


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([ONE + "RRULE:FREQ=MONTHLY"] * 51, "at most 50 events that recur"),
        (
            [ONE + "RRULE:FREQ=MONTHLY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))] * 9,
            "at most 200 times of day in all its RRULEs together",
        ),
        ([ONE + "RRULE:FREQ=DAILY;BYHOUR=1,2,3,4"] * 7, "recur at most 10,000 times a year in all"),
        ([ONE + "RRULE:FREQ=DAILY;COUNT=3000"] * 4, "at most 10,000 occurrences beside those that recur for ever"),
        (
            [ONE + "RRULE:FREQ=YEARLY;COUNT=160"] * 2,
            "must not count over more than 300 years in all: take UNTIL for COUNT",
        ),
    ],
)
def test_what_a_calendar_may_be_in_all_is_limited(events: list[str], says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        schedule(*events)
    assert says in refused.value.message
    assert refused.value.message.startswith("properties.schedule.ical must")


def test_as_much_as_is_allowed_is_understood() -> None:
    found = schedule(*[DAILY] * 27, *[ONE] * 700)
    assert occurrences(found, datetime(2024, 7, 1), datetime(2024, 7, 3)) == [
        (datetime(2024, 7, day, 9), datetime(2024, 7, day, 10)) for day in (1, 2)
    ]
