"""The binary form of a message of fixes: slots of 32 bytes, little-endian, the first one a head, then one for each fix.

The device SDK writes it, so no numpy here; `wire.packed` reads a batch of them at once. Numbers are in the units, and
have the "not known", of what is stored: nothing is lost or converted on the way. docs/protocol.md has every byte.
"""

import struct
from collections.abc import Iterable
from typing import Final

from tracker.wire.device import Fix

# The first byte never begins a text in UTF-8, so one look tells the forms apart; the last one is the version.
MAGIC: Final = b"\x89TF\x01"
SLOT_BYTES: Final = 32

UNKNOWN_TIME: Final = -(2**63)
UNKNOWN_INT32: Final = -(2**31)
UNKNOWN_INT16: Final = -(2**15)

_HEAD: Final = struct.Struct("<4sIQI12x")  # magic, count, seq, slot
_RECORD: Final = struct.Struct("<q5ih2x")  # time_ms, lon, lat, alt, speed, accuracy, course


def sayable(fix: Fix) -> bool:
    """Whether a fix can be written in binary: attributes cannot, and its time has to be in milliseconds by now."""
    return not fix.attributes and (fix.time is None or type(fix.time) is int)


def binary_frame(fixes: Iterable[Fix], seq: int | None = None, slot: int = 0) -> bytes:
    """One frame of fixes that are sayable and in range; without `seq` they are counted by the server.

    Args:
        slot: which stream of the socket, as its welcome said.
    """
    records = [_record(fix) for fix in fixes]
    return _HEAD.pack(MAGIC, len(records), seq or 0, slot) + b"".join(records)


def _record(fix: Fix) -> bytes:
    time_ms = UNKNOWN_TIME if fix.time is None else fix.time
    course = UNKNOWN_INT16 if fix.course_deg is None else round(fix.course_deg * 10)
    return _RECORD.pack(
        time_ms,
        round(fix.lon * 1e7),
        round(fix.lat * 1e7),
        _int32(fix.alt_m, 10),
        _int32(fix.speed_mps, 100),
        _int32(fix.accuracy_m, 10),
        course,
    )


def _int32(value: float | None, per_unit: int) -> int:
    return UNKNOWN_INT32 if value is None else round(value * per_unit)
