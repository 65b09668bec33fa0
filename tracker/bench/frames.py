"""What the devices send, encoded before the clock starts: only numbers and times are filled in on the way."""

import struct
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np

from tracker.bench import websocket
from tracker.bench.world import SPEED_MPS, Courses
from tracker.domain.batch import Floats, Ints
from tracker.wire.binary import SLOT_BYTES, binary_frame
from tracker.wire.device import Fix

Encoding = Literal["json", "binary"]
STREAM: Final = "bench"  # of every device: streams of different devices have nothing to do with one another
ENCODINGS: Final[tuple[Encoding, ...]] = ("json", "binary")

# (seq of the first fix, its time, ms between fixes) -> the bytes of a frame, to be sent before the next is made
MakeFrame = Callable[[int, int, int], bytes | bytearray]

_SEQ_DIGITS: Final = 12  # padded with spaces, so that the length of a frame does not depend on it
_SOME_MS: Final = 1_700_000_000_000

# A stamp is the time of a fix in its place: the last three digits of lon and two of lat, 7 m and 1 m at most.
_STAMP_MS: Final = 100_000

# Where the binary frame has what changes; docs/protocol.md has every byte.
_SEQ: Final = struct.Struct("<Q")
_SEQ_AT: Final = 8
_TIME_AT: Final = 0  # of a slot


def round_of(
    courses: Courses, device: int, fixes_per_frame: int, encoding: Encoding, *, stamped: bool
) -> list[MakeFrame]:
    """One round of a device's course, frame by frame. Stamped frames are of JSON and have one fix."""
    lon, lat, course_deg = (each[device].tolist() for each in (courses.lon, courses.lat, courses.course_deg))
    if encoding == "binary":
        places = list(zip(lon, lat, course_deg, strict=True))
        return [_binary_frame(places[at : at + fixes_per_frame]) for at in range(0, len(places), fixes_per_frame)]
    write = _stamped if stamped else _fix
    fixes = [write(*each) for each in zip(lon, lat, course_deg, strict=True)]
    make = _stamped_frame if stamped else _json_frame
    return [make(fixes[at : at + fixes_per_frame]) for at in range(0, len(fixes), fixes_per_frame)]


def ages_s(lon: Ints, lat: Ints, now_ms: float) -> Floats:
    """Of stamped fixes, their places in 1e-7 degrees; up to 100 s."""
    ages: Floats = (now_ms - (lon % 1000 * 100 + lat % 100)) % _STAMP_MS / 1000
    return ages


def _fix(lon: float, lat: float, course_deg: float) -> bytes:
    rest = b'"speed_mps":15,"course_deg":%.1f,"accuracy_m":5}' % course_deg
    return b'{"lon":%.6f,"lat":%.6f,"time":%%d,' % (lon, lat) + rest


def _stamped(lon: float, lat: float, course_deg: float) -> bytes:
    rest = b'"time":%%d,"speed_mps":15,"course_deg":%.1f,"accuracy_m":5}' % course_deg
    return b'{"lon":%.4f%%03d,"lat":%.5f%%02d,' % (lon, lat) + rest


def _json_frame(fixes: Sequence[bytes]) -> MakeFrame:
    count, pattern = len(fixes), _message(fixes, [_SOME_MS] * len(fixes))
    if count == 1:
        return lambda seq, time_ms, _step_ms: pattern % (seq, time_ms)
    return lambda seq, time_ms, step_ms: pattern % (seq, *range(time_ms, time_ms + count * step_ms, step_ms))


def _stamped_frame(fixes: Sequence[bytes]) -> MakeFrame:
    pattern = _message(fixes, [0, 0, _SOME_MS])

    def make(seq: int, time_ms: int, _step_ms: int) -> bytes:
        return pattern % (seq, *divmod(time_ms % _STAMP_MS, 100), time_ms)

    return make


def _message(fixes: Sequence[bytes], some: Sequence[int]) -> bytes:
    """With its head, and with %d where seq and times belong."""
    head = b'{"type":"fixes","stream":"%s","seq":%%%dd,' % (STREAM.encode(), _SEQ_DIGITS)
    payload = head + b'"fixes":[%s]}' % b",".join(fixes)
    return websocket.head(websocket.TEXT, len(payload % (1, *some))).replace(b"%", b"%%") + payload


def _binary_frame(places: Sequence[tuple[float, float, float]]) -> MakeFrame:
    """Encoded once by the SDK's own writer; numbers and times are written over those that stood there."""
    fixes = [
        Fix(lon, lat, time=_SOME_MS, speed_mps=SPEED_MPS, course_deg=course_deg, accuracy_m=5.0)
        for lon, lat, course_deg in places
    ]
    payload = binary_frame(fixes)
    head = websocket.head(websocket.BINARY, len(payload))
    frame, offsets = bytearray(head + payload), np.arange(len(fixes))
    times = np.ndarray(len(fixes), "<i8", frame, offset=len(head) + SLOT_BYTES + _TIME_AT, strides=(SLOT_BYTES,))
    seq_at = len(head) + _SEQ_AT

    def make(seq: int, time_ms: int, step_ms: int) -> bytearray:
        _SEQ.pack_into(frame, seq_at, seq)
        times[:] = offsets * step_ms + time_ms
        return frame

    return make
