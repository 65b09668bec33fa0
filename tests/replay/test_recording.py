"""A file as columns, and the order in which its fixes are due."""

import gzip
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import InvalidField, MalformedMessage
from tracker.replay.recording import Recording, read_recording
from tracker.wire.device import Fix

TABLE = "device,time_ms,lat,lon,speed_mps\na,3000,1,2,\nb,1000,3,4,5\na,2000,5,6,\n"
GPX = (
    '<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    '<trkpt lat="1" lon="2"><ele>7</ele><time>1970-01-01T00:00:01Z</time></trkpt>'
    "</trkseg></trk></gpx>"
)


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def all_fixes(recording: Recording) -> dict[str, list[Fix]]:
    rows = np.arange(len(recording))
    return dict(recording.fixes(rows, recording.time_ms[rows], 1.0))


@pytest.mark.parametrize("name", ["rides.csv", "rides.csv.gz", "Rides.CSV"])
def test_a_table_is_read_compressed_or_not(tmp_path: Path, name: str) -> None:
    recording = read_recording(write(tmp_path / name, TABLE))

    assert all_fixes(recording) == {"a": [Fix(2, 1, 3_000), Fix(6, 5, 2_000)], "b": [Fix(4, 3, 1_000, speed_mps=5)]}
    assert recording.span_ms == (1_000, 3_000)


@pytest.mark.parametrize("name", ["evening ride.gpx", "evening ride.gpx.gz"])
def test_a_gpx_file_is_one_device_with_its_name(tmp_path: Path, name: str) -> None:
    recording = read_recording(write(tmp_path / name, GPX))

    assert all_fixes(recording) == {"evening ride": [Fix(2, 1, 1_000, alt_m=7)]}


def test_the_first_fixes_can_be_asked_for(tmp_path: Path) -> None:
    recording = read_recording(write(tmp_path / "rides.csv", TABLE), limit=2)

    assert len(recording) == 2
    assert recording.devices == ["a", "b"]


def test_what_no_server_takes_is_skipped_and_counted(tmp_path: Path) -> None:
    faulty = "a,1,400,2,\na,1,1,181,\na,1,1,2,-5\na,,1,2,\n"
    recording = read_recording(write(tmp_path / "rides.csv", TABLE + faulty))

    assert (len(recording), recording.skipped) == (3, 4)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match=r"ride\.fit is neither \.csv nor \.gpx"):
        read_recording(tmp_path / "ride.fit")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gone.csv", None),
        ("cut.csv.gz", gzip.compress(b"x" * 10_000, mtime=0)[:-10]),
        ("plain.csv.gz", b"time_ms,lat,lon\n"),
        ("latin.csv", "time_ms,lat,lon,name\n1,2,3,café\n".encode("latin-1")),
    ],
    ids=["missing", "cut off", "not compressed", "not UTF-8"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)

    with pytest.raises(MalformedMessage, match=f"{name} cannot be read"):
        read_recording(tmp_path / name)


def test_a_table_without_fixes_is_empty(tmp_path: Path) -> None:
    assert len(read_recording(write(tmp_path / "none.csv", "time_ms,lat,lon\n"))) == 0


def test_compressed_times_make_things_faster(tmp_path: Path) -> None:
    recording = read_recording(write(tmp_path / "r.csv", "time_ms,lat,lon,speed_mps\n1,0,0,3\n2,0,0,60000\n3,0,0,\n"))

    [(_, fixes)] = recording.fixes(np.arange(3), recording.time_ms, 2.0)

    assert [fix.speed_mps for fix in fixes] == [6, None, None]


def recorded(rows: list[tuple[int, int]]) -> Recording:
    device, time_ms = np.array([device for device, _ in rows], np.int32), np.array([ms for _, ms in rows], np.int64)
    return Recording([str(number) for number in range(4)], device, time_ms, {}, 0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**43), 2**43) | st.integers(0, 5)), min_size=1, max_size=40)
)
def test_each_device_keeps_the_order_of_its_file_and_all_go_side_by_side(rows: list[tuple[int, int]]) -> None:
    order, due_ms = recorded(rows).due()

    assert sorted(order) == list(range(len(rows)))
    assert list(due_ms) == sorted(due_ms)
    for device in range(4):
        assert [row for row in order if rows[row][0] == device] == [
            row for row in range(len(rows)) if rows[row][0] == device
        ]
    latest: dict[int, int] = {}
    expected = {}
    for row, (device, time_ms) in enumerate(rows):
        latest[device] = max(latest.get(device, time_ms), time_ms)
        expected[row] = latest[device]
    assert [expected[row] for row in order] == list(due_ms)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=40))
def test_fixes_come_device_by_device_in_the_order_asked_for(rows: list[tuple[int, int]]) -> None:
    recording = recorded(rows)
    unknown = np.full(len(rows), np.nan)
    values = dict.fromkeys(("alt_m", "accuracy_m", "speed_mps", "course_deg"), unknown)
    numbers = np.arange(len(rows)) / 1_000
    recording = Recording(
        recording.devices, recording.device, recording.time_ms, {**values, "lon": numbers, "lat": numbers}, 0
    )
    order, _ = recording.due()

    found = [(name, [fix.lon for fix in fixes]) for name, fixes in recording.fixes(order, recording.time_ms[order], 1)]

    by_device = sorted(((str(rows[row][0]), row / 1_000) for row in order), key=itemgetter(0))
    assert found == [(name, [lon for _, lon in some]) for name, some in groupby(by_device, itemgetter(0))]
