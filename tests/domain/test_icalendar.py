import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.domain.icalendar import Length, Property, read_events
from tracker.domain.schedule import Schedule
from tracker.errors import InvalidField

EVENT = "BEGIN:VEVENT\nDTSTART:20240701T080000Z\nDURATION:PT1H\nEND:VEVENT\n"
ROUND = (
    'BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART;X="a:b";TZID=Europe/Berlin:20240701T080000\r\n'
    "DTEND;TZID=Europe/Berlin:20240701T173000\r\nRRULE:FREQ=MONTHLY;INTERVAL=2;BYDAY=1MO,-1FR;BYSETPOS=1;COUNT=30\r\n"
    "EXDATE;TZID=Europe/Berlin:20240801T080000,2024\r\n 0901T080000\r\nRDATE;VALUE=PERIOD:20240702T080000Z/P1DT2H\r\n"
    "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID:20240902T060000Z\r\nDTSTART;VALUE=DATE:20240903\r\n"
    "RRULE:FREQ=YEARLY;BYWEEKNO=20;UNTIL=20301231\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def whole(inside: str) -> str:
    return f"BEGIN:VCALENDAR\n{inside}END:VCALENDAR\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "at most 64 KiB"),
        (b"BEGIN:VCALENDAR", "at most 64 KiB"),
        ("x" * 65_537, "at most 64 KiB"),
        ("\u20ac" * 22_000, "at most 64 KiB"),  # bytes are counted
        ("", "a whole calendar"),
        ("\n" * 65_000, "a whole calendar"),
        ("hello", "a whole calendar"),
        (whole(""), "at least one VEVENT"),
        (EVENT, "line 1: a calendar begins with BEGIN:VCALENDAR"),
        (whole(EVENT)[:-15], "a whole calendar"),
        (whole("END:VEVENT\n"), "line 2: END without its BEGIN"),
        (whole("BEGIN:VEVENT\n"), "line 3: END without its BEGIN"),
        (whole("BEGIN:VEVENT\n" * 40), "line 5: BEGIN within BEGIN more than 4 deep"),
        ("BEGIN:VCALENDAR\n" * 4000, "deep"),
        (whole("BEGIN:VEVENT\nEND:VEVENT\n" * 1001), "at most 1,000 events"),
        (whole("X:\x00\n" + EVENT), "control characters"),
        (whole("X:\x7f\n" + EVENT), "control characters"),
        (whole("X:\ud800\n" + EVENT), "control characters"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: object, says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_events(text, "properties.schedule.ical")
    assert says in refused.value.message
    assert refused.value.field == "properties.schedule.ical"


def test_only_what_says_when_is_read_of_events_and_nothing_else() -> None:
    inside = EVENT.replace(
        "DURATION", "SUMMARY:x\nATTACH:https://example.com/\nBEGIN:VALARM\nDTSTART:1\nEND:VALARM\nDURATION"
    )
    [(line, event)] = read_events(whole("BEGIN:VTODO\nDTSTART:1\nEND:VTODO\n" + inside), "ical")
    assert line == 5
    assert {name: [each.value for each in found] for name, found in event.items()} == {
        "DTSTART": ["20240701T080000Z"],
        "DURATION": ["PT1H"],
    }


def test_two_calendars_in_one_text_are_one() -> None:
    assert len(read_events(whole(EVENT) + whole(EVENT), "ical")) == 2


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_lines_end_in_every_way_and_go_on_after_a_blank(line_break: str) -> None:
    text = whole(EVENT.replace("20240701T", "2024\n 07\n\t01T")).replace("\n", line_break)
    [(_, event)] = read_events(text, "ical")
    assert event["DTSTART"] == [Property("DTSTART", {}, "20240701T080000Z", 3, "ical")]
    assert event["DURATION"][0].line == 6


@pytest.mark.parametrize(
    ("text", "days", "seconds"),
    [
        ("P1W", 7, 0), ("P1D", 1, 0), ("+PT90M", 0, 5400), ("P1DT2H3M4S", 1, 7384), ("PT1H4S", 0, 3604),
        ("P999999D", 999_999, 0),
    ],
)  # fmt: skip
def test_durations_are_days_and_hours(text: str, days: int, seconds: int) -> None:
    assert Length.parse(text, Property("DURATION", {}, text, 1, "ical")) == Length(days, seconds)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "1D", "P1H", "PT1D", "P1W1D", "P-1D", "-P1D", "P1.5D", "P\u0661D", "P1D "]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="a duration like PT8H30M"):
        Length.parse(text, Property("DURATION", {}, text, 1, "ical"))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_text_with_faults_is_a_schedule_or_refused_and_nothing_else(data: st.DataObject) -> None:
    text = ROUND
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        put = data.draw(
            st.one_of(st.text(max_size=4), st.sampled_from(["9", "0", "-", ",", ";", ":", "\n", "\n ", "Z", '"']))
        )
        text = text[:at] + put + text[at + cut :]
    try:
        found = Schedule.parse({"ical": text, "time_zone": "Europe/Berlin"})
    except InvalidField:
        return
    found.holds(np.array([-(2**62), 0, 1_720_000_000_000, 2**62], dtype=np.int64))
    found.occurrence(np.array([1_720_000_000_000, 7_000_000_000_000], dtype=np.int64))
    found.boundary(1_700_000_000_000, 1_800_000_000_000)


lines = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["BEGIN:VEVENT", "END:VEVENT", "DTSTART:99991231T235959Z", "DURATION:P999999D", "DTSTART;VALUE=DATE:00010101"]
    ),
    st.sampled_from(["RRULE:FREQ=DAILY", "RRULE:FREQ=YEARLY;UNTIL=99991231T235959Z", "RRULE:FREQ=YEARLY;COUNT=10000"]),
    st.sampled_from(
        ["DURATION:PT1M", "DTEND:00010102", "EXDATE:99991231", "RDATE:00010101/P1D", "DTSTART:00010101T000000"]
    ),
)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.lists(lines, max_size=6), max_size=4), st.sampled_from(["Asia/Tokyo", "America/New_York"]))
def test_events_of_all_times_are_a_schedule_or_refused(events: list[list[str]], zone: str) -> None:
    text = whole(
        "".join("BEGIN:VEVENT\n" + "".join(f"{line}\n" for line in event) + "END:VEVENT\n" for event in events)
    )
    try:
        found = Schedule.parse({"ical": text, "time_zone": zone})
    except InvalidField:
        return
    found.occurrence(np.array([-2_208_988_800_000, 7_289_654_399_999], dtype=np.int64))
    found.boundary(-(2**60), -2_100_000_000_000)
