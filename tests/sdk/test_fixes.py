"""What may be recorded, and how it looks on the wire."""

import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from tracker.domain.fix import MAX_ATTRIBUTES_BYTES, RANGES
from tracker.errors import InvalidField
from tracker.sdk.fixes import MAX_BODY_BYTES, encode_fix, encode_frame, epoch_ms, make_fix
from tracker.wire.binary import SLOT_BYTES
from tracker.wire.device import Fix
from tracker.wire.frames import Message


def test_a_fix_without_a_time_is_of_now() -> None:
    assert json.loads(encode_fix(make_fix(24.94, 60.17), 1_700_000_000_000)) == {
        "lon": 24.94,
        "lat": 60.17,
        "time": 1_700_000_000_000,
    }


def test_everything_that_is_known_is_sent() -> None:
    fix = make_fix(1, 2, time=5, alt_m=3, accuracy_m=4, speed_mps=5, course_deg=6, attributes={"fuel": [1, None]})

    assert json.loads(encode_fix(fix, 0)) == {
        "lon": 1, "lat": 2, "time": 5, "alt_m": 3, "accuracy_m": 4,
        "speed_mps": 5, "course_deg": 6, "attributes": {"fuel": [1, None]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1_500, 1_500),
        (1_500.9, 1_500),
        (-0.5, -1),
        (datetime(1970, 1, 1, 0, 0, 1, 500_999, tzinfo=UTC), 1_500),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC), -1),
    ],
)
def test_times_are_floored_to_milliseconds(time: float | datetime, expected: int) -> None:
    assert epoch_ms(time) == expected


@pytest.mark.parametrize("time", [math.nan, math.inf, 1e300, datetime(2026, 1, 1)])  # noqa: DTZ001 - what is refused
def test_a_time_that_names_no_instant_is_refused(time: float | datetime) -> None:
    with pytest.raises(InvalidField, match="time") as caught:
        epoch_ms(time)
    assert caught.value.field == "time"


@pytest.mark.parametrize("name", sorted(RANGES))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e9, -1e9, "12", [1]])
def test_impossible_values_are_refused_by_name(name: str, value: Any) -> None:
    fix = msgspec.structs.replace(make_fix(0, 0), **{name: value})

    with pytest.raises(InvalidField, match=f"^{name} must be a number from") as caught:
        encode_fix(fix, 0)
    assert caught.value.field == name


def test_attributes_must_be_json() -> None:
    with pytest.raises(InvalidField, match="attributes cannot be written as JSON"):
        make_fix(0, 0, attributes={"when": object()})


def test_attributes_have_a_limit() -> None:
    with pytest.raises(InvalidField, match="the limit is 4096"):
        encode_fix(make_fix(0, 0, attributes={"note": "x" * MAX_ATTRIBUTES_BYTES}), 0)


def test_no_fix_is_larger_than_the_limit_that_buffers_count_on() -> None:
    overhead = len('{"n":""}')
    fix = Fix(
        -179.12345678901234, -89.12345678901234, -(2**53), -11999.123456789012, 9999999.123456789,
        99999.12345678901, 359.1234567890123, make_fix(0, 0, attributes={"n": "x" * (4096 - overhead)}).attributes,
    )  # fmt: skip

    assert len(encode_fix(fix, 0)) <= MAX_BODY_BYTES


def test_a_frame_is_binary() -> None:
    bodies = [encode_fix(make_fix(1, 2), 3), encode_fix(make_fix(4.5, 5, alt_m=6.25, course_deg=0.06), 6)]

    frame = encode_frame("live", 7, bodies, slot=2)

    assert len(frame) == 3 * SLOT_BYTES
    assert struct.unpack_from("<4sIQI12x", frame) == (b"\x89TF\x01", 2, 7, 2)
    unknown = -(2**31)
    assert struct.unpack_from("<q5ihH", frame, 32) == (3, 10**7, 2 * 10**7, unknown, unknown, unknown, -(2**15), 0)
    assert struct.unpack_from("<q5ihH", frame, 64) == (6, 45 * 10**6, 5 * 10**7, 62, unknown, unknown, 1, 0)


def test_a_frame_with_attributes_is_text() -> None:
    bodies = [encode_fix(make_fix(1, 2), 3), encode_fix(make_fix(4, 5, attributes={"fuel": 0.5}), 6)]

    message = msgspec.json.decode(encode_frame('quote"live', 7, bodies), type=Message)

    assert message.stream == 'quote"live'
    assert message.seq == 7
    assert [(fix.lon, fix.lat, fix.time) for fix in message.fixes] == [(1, 2, 3), (4, 5, 6)]
    assert bytes(message.fixes[1].attributes) == b'{"fuel":0.5}'
