"""A fix on its way out: checked once and encoded once, as JSON, when it is recorded; frames are made when it is sent.

Frames are binary, a quarter of the text's bytes, unless a fix of theirs has attributes, which only text can say.
Refuses what the server would refuse, at the line of code that made the mistake.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tracker.domain.fix import MAX_ATTRIBUTES_BYTES, RANGES
from tracker.errors import InvalidField
from tracker.wire.binary import binary_frame, sayable
from tracker.wire.device import NO_ATTRIBUTES, Fix

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_OPTIONAL: Final = ("alt_m", "accuracy_m", "speed_mps", "course_deg")
_encoder: Final = msgspec.json.Encoder()
_recorded: Final = msgspec.json.Decoder(list[Fix])

# What one encoded fix can take at most: its attributes, seven numbers, and the names.
MAX_BODY_BYTES: Final = MAX_ATTRIBUTES_BYTES + 512


def make_fix(
    lon: float,
    lat: float,
    *,
    time: float | datetime | None = None,
    alt_m: float | None = None,
    accuracy_m: float | None = None,
    speed_mps: float | None = None,
    course_deg: float | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Fix:
    """A fix from plain values; `attributes` is any JSON object of at most 4 KiB."""
    raw = NO_ATTRIBUTES if attributes is None else _encode_attributes(attributes)
    return Fix(lon, lat, time, alt_m, accuracy_m, speed_mps, course_deg, raw)


def encode_fix(fix: Fix, now_ms: int) -> bytes:
    """The fix as JSON, stamped with `now_ms` when it has no time of its own."""
    _check("lon", fix.lon)
    _check("lat", fix.lat)
    for name in _OPTIONAL:
        value = getattr(fix, name)
        if value is not None:
            _check(name, value)
    if fix.attributes and len(fix.attributes) > MAX_ATTRIBUTES_BYTES:
        raise InvalidField(
            f"attributes takes {len(fix.attributes)} bytes as JSON; the limit is {MAX_ATTRIBUTES_BYTES}",
            field="attributes",
        )
    time_ms = now_ms if fix.time is None else epoch_ms(fix.time)
    return _encoder.encode(fix if fix.time == time_ms else msgspec.structs.replace(fix, time=time_ms))


def epoch_ms(time: float | datetime) -> int:
    """Milliseconds since 1970 in UTC, floored."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise InvalidField("time has no time zone; use datetime.now(UTC) or epoch milliseconds", field="time")
        return (time - _EPOCH) // _MS
    if not -(2.0**53) <= time <= 2.0**53:
        raise InvalidField(f"time must be epoch milliseconds, not {time!r}", field="time")
    return int(time // 1)


def encode_frame(
    stream: str, first_seq: int, bodies: Sequence[bytes], device: str | None = None, slot: int = 0
) -> bytes:
    """One message of fixes that were recorded; `device` on a gateway's socket, `slot` as its welcome said."""
    joined = b",".join(bodies)
    fixes = _recorded.decode(b"[%b]" % joined)
    if all(map(sayable, fixes)):
        return binary_frame(fixes, first_seq, slot)
    speaker = b"" if device is None else b',"device":%b' % _encoder.encode(device)
    head = b'{"type":"fixes"%b,"stream":%b,"seq":%d,"fixes":[' % (speaker, _encoder.encode(stream), first_seq)
    return head + joined + b"]}"


def _check(name: str, value: float) -> None:
    low, high = RANGES[name]
    try:
        fits = low <= value <= high  # NaN fits nowhere
    except TypeError:  # a text, a list
        fits = False
    if not fits:
        raise InvalidField(f"{name} must be a number from {low:g} to {high:g}, not {value!r}", field=name)


def _encode_attributes(attributes: Mapping[str, Any]) -> msgspec.Raw:
    try:
        return msgspec.Raw(_encoder.encode(dict(attributes)))
    except TypeError as exc:
        raise InvalidField(f"attributes cannot be written as JSON: {exc}", field="attributes") from exc
