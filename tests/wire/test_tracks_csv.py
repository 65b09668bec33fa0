"""Tables of fixes: columns by name, rows in order, faulty rows counted."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import InvalidField, MalformedMessage
from tracker.wire.device import Fix
from tracker.wire.formats.tracks_csv import CsvReader


def read(text: str) -> tuple[list[tuple[str, Fix]], int]:
    reader = CsvReader(io.StringIO(text, newline=""), device="file")
    return list(reader), reader.skipped


def test_columns_are_found_by_name_in_any_order() -> None:
    rows, skipped = read(
        "callsign,alt_m,lon,lat,time_ms,device,speed_mps,course_deg,accuracy_m\r\n"
        "AB,12.5,24.9,60.1,1000,bus-1,4,90,5\r\n"
        "CD,,24.8,60.2,2000.9,bus-2,,,\r\n"
    )

    assert rows == [
        ("bus-1", Fix(24.9, 60.1, 1_000, alt_m=12.5, accuracy_m=5, speed_mps=4, course_deg=90)),
        ("bus-2", Fix(24.8, 60.2, 2_000)),
    ]
    assert skipped == 0


def test_rows_keep_the_order_of_the_file() -> None:
    rows, _ = read("device,time_ms,lat,lon\na,3,0,0\na,1,0,0\nb,2,0,0\n")

    assert [(device, fix.time) for device, fix in rows] == [("a", 3), ("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("time", "expected"), [("1970-01-01T00:00:01Z", 1_000), ("1970-01-01T02:00:00+02:00", 0), ("-5", -5)]
)
def test_the_column_time_holds_instants_or_milliseconds(time: str, expected: int) -> None:
    rows, _ = read(f"time,lat,lon\n{time},1,2\n")

    assert rows == [("file", Fix(2, 1, expected))]


def test_a_table_without_devices_is_one_device() -> None:
    rows, _ = read("time_ms,lat,lon\n1,2,3\n")

    assert rows == [("file", Fix(3, 2, 1))]


def test_a_mark_of_byte_order_and_capitals_in_the_header_do_no_harm() -> None:
    rows, _ = read("\ufeffLat,Lon, Time_ms\n2,3,1\n")

    assert rows == [("file", Fix(3, 2, 1))]


def test_quoted_names_keep_their_commas() -> None:
    rows, _ = read('device,time_ms,lat,lon\n"Ship, the ""Old""",1,2,3\n')

    assert rows[0][0] == 'Ship, the "Old"'


@pytest.mark.parametrize(
    "row", ["a,,1,2", "a,5,,2", "a,5,1,", "a,5,x,2", "a,5,nan,2", "a,5,1,inf", "a,soon,1,2", "a,1e99,1,2", "a,5"]
)
def test_a_row_without_time_or_place_is_skipped_and_counted(row: str) -> None:
    rows, skipped = read(f"device,time_ms,lat,lon\n{row}\n\nb,7,1,2\n")

    assert rows == [("b", Fix(2, 1, 7))]
    assert skipped == 1


def test_what_is_not_a_number_in_an_optional_column_is_not_known() -> None:
    rows, skipped = read("time_ms,lat,lon,speed_mps,alt_m\n1,2,3,fast,nan\n")

    assert rows == [("file", Fix(3, 2, 1))]
    assert skipped == 0


@pytest.mark.parametrize(
    ("header", "field"), [("lon,time_ms", "lat"), ("lat,time_ms", "lon"), ("lat,lon", "time_ms"), ("", "lat")]
)
def test_a_missing_column_is_named(header: str, field: str) -> None:
    with pytest.raises(InvalidField, match="has no column") as caught:
        read(header + "\n1,2\n")
    assert caught.value.field == field


def test_what_is_not_csv_is_refused_with_its_line() -> None:
    with pytest.raises(MalformedMessage, match="line 2 is not CSV"):
        read('time_ms,lat,lon\n"' + "x" * 200_000 + '"\n')


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
            st.integers(-(10**12), 10**13), st.floats(-90, 90), st.floats(-180, 180), st.none() | st.floats(0, 1e5),
        )
    )
)  # fmt: skip
def test_what_was_written_is_read(fixes: list[tuple[str, int, float, float, float | None]]) -> None:
    lines = ["device,time_ms,lat,lon,speed_mps"]
    for device, time_ms, lat, lon, speed_mps in fixes:
        quoted = '"' + device.replace('"', '""') + '"'
        lines.append(f"{quoted},{time_ms},{lat!r},{lon!r},{'' if speed_mps is None else repr(speed_mps)}")

    rows, skipped = read("\n".join(lines))

    assert rows == [(device, Fix(lon, lat, ms, speed_mps=speed)) for device, ms, lat, lon, speed in fixes]
    assert skipped == 0


@given(st.text(max_size=200))
def test_no_input_does_anything_but_fixes_or_a_refusal(text: str) -> None:
    try:
        rows, _ = read("time_ms,lat,lon\n" + text)
    except MalformedMessage:
        return
    assert all(math.isfinite(fix.lon) for _, fix in rows)
