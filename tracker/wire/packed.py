"""Many binary frames at once: joined into one buffer and viewed once, as everything in them has its fixed place.

A frame that is faulty is refused alone. Nothing here raises for what a device sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints, Mask
from tracker.domain.fix import MAX_FIXES_PER_MESSAGE, RANGES
from tracker.wire.binary import MAGIC, SLOT_BYTES, UNKNOWN_INT16, UNKNOWN_INT32
from tracker.wire.device import Refusal
from tracker.wire.observations import PER_UNIT, Observations, refuse_outside, refuse_times

_HEAD: Final = np.dtype([("magic", "V4"), ("count", "<u4"), ("seq", "<u8"), ("slot", "<u4"), ("reserved", "<u4", 3)])
_RECORD: Final = np.dtype(
    [
        ("time_ms", "<i8"),
        ("lon", "<i4"),
        ("lat", "<i4"),
        ("alt", "<i4"),
        ("speed", "<i4"),
        ("accuracy", "<i4"),
        ("course", "<i2"),
        ("reserved", "<u2"),
    ]
)
_MAX_SEQ: Final = 2**53
_MAX_SLOTS: Final = 1 + MAX_FIXES_PER_MESSAGE

Records = NDArray[np.void]
NO_RECORDS: Final[Records] = np.zeros(0, _RECORD)


class Block(msgspec.Struct, gc=False):
    """Where the fixes of one frame stand in the records, and what its head says."""

    seq: int | None
    slot: int
    first: int
    count: int


@dataclass(slots=True)
class Packed:
    """records: all slots of all frames, heads too. faults: by the position of the frame; its block means nothing."""

    records: Records
    blocks: list[Block]
    faults: dict[int, Refusal]


def packed(frames: Sequence[bytes]) -> Packed:
    """Frames that begin with MAGIC."""
    faults: dict[int, Refusal] = {}
    slots = np.array(list(map(len, frames)), dtype=np.int64)
    whole = (slots % SLOT_BYTES == 0) & (slots > SLOT_BYTES) & (slots <= _MAX_SLOTS * SLOT_BYTES)
    if not whole.all():
        frames = list(frames)
        for i in np.flatnonzero(~whole).tolist():
            faults[i] = _misshapen(frames[i])
            frames[i] = MAGIC.ljust(SLOT_BYTES, b"\0")  # so that everything after it keeps its place
            slots[i] = SLOT_BYTES
    slots //= SLOT_BYTES
    heads_at = np.cumsum(slots) - slots
    joined = b"".join(frames)
    records = np.frombuffer(joined, _RECORD)
    heads = np.frombuffer(joined, _HEAD)[heads_at]
    _check(heads, slots - 1, records, heads_at, faults)
    columns = (heads["seq"].tolist(), heads["slot"].tolist(), (heads_at + 1).tolist(), (slots - 1).tolist())
    blocks = [Block(seq or None, slot, first, count) for seq, slot, first, count in zip(*columns, strict=True)]
    return Packed(records, blocks, faults)


def _misshapen(frame: bytes) -> Refusal:
    fixes = len(frame) // SLOT_BYTES - 1
    if len(frame) % SLOT_BYTES == 0 and (fixes < 1 or fixes > MAX_FIXES_PER_MESSAGE):
        return Refusal("bad_count", f"a message carries 1 to {MAX_FIXES_PER_MESSAGE:,} fixes, not {fixes:,}")
    return Refusal(
        "malformed", f"a binary frame has {SLOT_BYTES} bytes for its head and for each fix; this has {len(frame):,}"
    )


def _check(heads: Any, fixes: Ints, records: Records, heads_at: Ints, faults: dict[int, Refusal]) -> None:
    """What is refused with the whole frame: who wrote that means something else than is read."""
    wrong = np.flatnonzero(records["reserved"])
    strange: Mask = heads["reserved"].any(axis=1)
    strange[np.searchsorted(heads_at, wrong, side="right") - 1] = True
    for mask, sentence in (
        (heads["count"] != fixes, "the count in its head is not the number of fixes that follow"),
        (heads["seq"] > _MAX_SEQ, "seq must be 1 to 2^53, or 0 for none"),
        (strange, "its reserved bytes must be 0"),
    ):
        for i in np.flatnonzero(mask).tolist():
            faults.setdefault(i, Refusal("malformed", f"a binary frame cannot be used: {sentence}"))


_FIELDS: Final = {
    "lat": "lat",
    "lon": "lon",
    "alt_m": "alt",
    "speed_mps": "speed",
    "course_deg": "course",
    "accuracy_m": "accuracy",
}


def unpacked(records: Records, now_ms: int) -> Observations:
    """Columns of records that are fixes."""
    columns: dict[str, Any] = {
        field: records[field].astype(_RECORD[field].newbyteorder("=")) for field in ("time_ms", *_FIELDS.values())
    }
    refused: dict[int, Refusal] = {}
    for name in ("lon", "lat"):
        for i in np.flatnonzero(columns[name] == UNKNOWN_INT32).tolist():
            refused.setdefault(i, Refusal("missing_field", f"{name} is missing"))
    for name, field in _FIELDS.items():
        _refuse_outside(name, columns[field], refused)
    course = columns["course"]
    course[course == 3600] = 0
    refuse_times(columns["time_ms"], now_ms, refused)
    return Observations(**columns, attributes=None, refused=refused)


def _refuse_outside(name: str, values: Ints, refused: dict[int, Refusal]) -> None:
    low, high = RANGES[name]
    per_unit = PER_UNIT[name]
    within: Mask = (values >= round(low * per_unit)) & (values <= round(high * per_unit))
    if name not in ("lon", "lat"):
        within |= values == (UNKNOWN_INT16 if name == "course_deg" else UNKNOWN_INT32)
    refuse_outside(name, within, lambda i: values[i] / per_unit, refused)
