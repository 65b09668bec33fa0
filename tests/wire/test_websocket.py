"""Frames as RFC 6455 §5.2 lays them out, read back by a reader of its own."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.wire.websocket import text_frame


def read_frames(data: bytes) -> list[tuple[int, bool, bytes]]:
    """(opcode, final, payload) of unmasked frames that stand one after the other."""
    found, at = [], 0
    while at < len(data):
        first, second = data[at], data[at + 1]
        at += 2
        assert first & 0x70 == 0, "no extension is in use"
        assert second & 0x80 == 0, "a server masks nothing"
        length = second
        if length >= 126:
            width = 2 if length == 126 else 8
            (length,) = struct.unpack(">H" if width == 2 else ">Q", data[at : at + width])
            assert length >= (126 if width == 2 else 65_536), "the shortest form is a must"
            at += width
        found.append((first & 0x0F, bool(first & 0x80), data[at : at + length]))
        at += length
    assert at == len(data)
    return found


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000])
def test_every_length_has_its_form(length: int) -> None:
    assert read_frames(text_frame(b"x" * length)) == [(1, True, b"x" * length)]


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_frames_may_be_joined(payloads: list[bytes]) -> None:
    assert read_frames(b"".join(map(text_frame, payloads))) == [(1, True, payload) for payload in payloads]


def test_the_first_bytes_are_those_of_the_standard() -> None:
    assert text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
