"""The binary frame, byte by byte: the vectors of `binary_frames.json`, and whatever else may come."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.test_frames import anything, check_observations, check_refusals
from tracker.domain import batch
from tracker.domain.fix import MAX_FIXES_PER_MESSAGE, MAX_MESSAGE_BYTES, RANGES
from tracker.wire.binary import (
    MAGIC,
    SLOT_BYTES,
    UNKNOWN_INT16,
    UNKNOWN_INT32,
    UNKNOWN_TIME,
    binary_frame,
    sayable,
)
from tracker.wire.device import Fix
from tracker.wire.frames import Decoded, decode
from tracker.wire.observations import UNTIMED, Observations, Sent, observations
from tracker.wire.packed import Block, unpacked

VECTORS = json.loads(Path(__file__).with_name("binary_frames.json").read_text(encoding="utf-8"))
NOW_MS = 1_790_000_000_000
COLUMNS = ("time_ms", "lon", "lat", "alt", "speed", "accuracy", "course")
ONE = binary_frame([Fix(1, 2, 3)], 1)


def bytes_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"])


def seen(decoded: Decoded, i: int) -> Observations:
    block = decoded.messages[i]
    assert isinstance(block, Block)
    return unpacked(decoded.records[block.first : block.first + block.count], NOW_MS)


def sent(fixes: Sequence[Fix]) -> list[Sent]:
    """As text."""
    return msgspec.json.decode(msgspec.json.encode(fixes), type=list[Sent])


def columns(found: Observations) -> list[list[int]]:
    return [getattr(found, name).tolist() for name in COLUMNS]


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_a_good_frame_is_read_and_written_as_the_vectors_say(vector: dict[str, Any]) -> None:
    frame, fixes = bytes_of(vector), [Fix(**fix) for fix in vector["fixes"]]
    assert all(map(sayable, fixes))
    assert binary_frame(fixes, vector["seq"], vector["slot"]) == frame
    decoded = decode([frame])
    assert decoded.errors == {}
    block = decoded.messages[0]
    assert isinstance(block, Block)
    assert (block.seq, block.slot, block.count) == (vector["seq"], vector["slot"], len(fixes))
    assert columns(seen(decoded, 0)) == columns(observations(sent(fixes), NOW_MS))
    assert seen(decoded, 0).refused == {}


def test_the_example_of_the_manual_is_the_first_vector() -> None:
    manual = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
    assert VECTORS["good"][0]["hex"] in manual.replace(" ", "").replace("\n", "")


@pytest.mark.parametrize("vector", VECTORS["refused_fixes"], ids=lambda vector: vector["name"])
def test_a_bad_fix_is_refused_with_its_reason_and_alone(vector: dict[str, Any]) -> None:
    found = seen(decode([ONE, bytes_of(vector), ONE]), 1)
    assert {i: refusal.code for i, refusal in found.refused.items()} == {0: vector["code"]}
    check_observations(found)
    bad = bytes_of(vector)[SLOT_BYTES:]
    good = ONE[SLOT_BYTES:]
    three = MAGIC + b"\3\0\0\0" + ONE[8:SLOT_BYTES] + good + bad + good
    assert {i: refusal.code for i, refusal in seen(decode([three]), 0).refused.items()} == {1: vector["code"]}


def test_a_refusal_names_the_value_as_text_would() -> None:
    wrong = [Fix(0, 90.1), Fix(-181.25, 0), Fix(0, 0, alt_m=-12345.6), Fix(0, 0, course_deg=361.5)]
    found = seen(decode([binary_frame(wrong)]), 0)
    assert found.refused == observations(sent(wrong), NOW_MS).refused
    assert found.refused[0].message == "lat is 90.1; it must be within -90 and 90"


@pytest.mark.parametrize("vector", VECTORS["faulty_frames"], ids=lambda vector: vector["name"])
def test_a_faulty_frame_is_an_error_and_harms_no_other(vector: dict[str, Any]) -> None:
    decoded = decode([b'{"lon":1,"lat":2}', ONE, bytes_of(vector), ONE])
    assert {i: error.code for i, error in decoded.errors.items()} == {2: vector["code"]}
    check_refusals(decoded)
    for i in (1, 3):
        assert columns(seen(decoded, i)) == columns(observations(sent([Fix(1, 2, 3)]), NOW_MS))


def test_a_frame_has_one_to_a_thousand_fixes_and_fits_a_message() -> None:
    most = binary_frame([Fix(1, 2, 3)] * MAX_FIXES_PER_MESSAGE)
    assert len(most) <= MAX_MESSAGE_BYTES
    assert decode([most]).errors == {}
    over = decode([binary_frame([Fix(1, 2, 3)] * (MAX_FIXES_PER_MESSAGE + 1))]).errors[0]
    assert (over.code, "not 1,001" in over.message) == ("bad_count", True)


def test_what_is_not_known_is_stored_as_it_is_sent() -> None:
    assert (UNKNOWN_INT32, UNKNOWN_INT16) == (batch.UNKNOWN_INT32, batch.UNKNOWN_INT16)
    assert UNKNOWN_TIME == UNTIMED


def test_attributes_and_other_times_are_said_in_text() -> None:
    assert not sayable(msgspec.json.decode(b'{"lon":1,"lat":2,"attributes":{"fuel":1}}', type=Fix))
    assert not sayable(Fix(1, 2, 3.5))


def optional(name: str) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(*RANGES[name]) | st.integers(*(int(each) for each in RANGES[name]))


fixes_in_range = st.builds(
    Fix,
    lon=st.floats(*RANGES["lon"]),
    lat=st.floats(*RANGES["lat"]),
    time=st.none() | st.integers(-2_208_988_800_000, NOW_MS + 24 * 3_600_000),
    alt_m=optional("alt_m"),
    accuracy_m=optional("accuracy_m"),
    speed_mps=optional("speed_mps"),
    course_deg=optional("course_deg"),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(fixes_in_range, min_size=1, max_size=4), min_size=1, max_size=4))
def test_binary_and_text_of_the_same_fixes_are_stored_the_same(messages: list[list[Fix]]) -> None:
    decoded = decode([binary_frame(fixes, 1 + i, i) for i, fixes in enumerate(messages)])
    for i, fixes in enumerate(messages):
        text = decode([msgspec.json.encode({"type": "fixes", "fixes": fixes})]).messages[0]
        assert text is not None
        assert not isinstance(text, Block)
        assert columns(seen(decoded, i)) == columns(observations(text.fixes, NOW_MS))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good frame with some bytes changed, or only its beginning."""
    frame = bytearray(binary_frame([Fix(1, 2, 3)] * draw(st.integers(1, 3)), draw(st.integers(1, 9))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(4, len(frame) - 1))
        frame[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(frame)


frames = st.lists(
    st.one_of(damaged(), st.binary(max_size=100).map(MAGIC.__add__), st.binary(max_size=40).map(ONE.__add__), anything),
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(frames)
def test_nothing_that_a_device_sends_raises(sent: Sequence[bytes]) -> None:
    decoded = decode(sent)
    assert set(decoded.errors) == {i for i, each in enumerate(decoded.messages) if each is None}
    check_refusals(decoded)
    for i, each in enumerate(decoded.messages):
        if isinstance(each, Block):
            assert 0 < each.count <= MAX_FIXES_PER_MESSAGE
            assert len(sent[i]) == (1 + each.count) * SLOT_BYTES
            check_observations(seen(decoded, i))
