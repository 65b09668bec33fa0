"""Many device frames at once: bytes to typed messages, and their fixes to checked columns of SI floats.

A frame that does not fit its type is decoded again fix by fix, so that one bad fix is refused alone. Frames are never
joined: two halves of a crafted message could make the text of one device count for another. Nothing here raises for
what a device sent.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.fix import (
    FUTURE_REJECTED_AFTER_MS,
    MAX_ATTRIBUTES_BYTES,
    MAX_FIXES_PER_MESSAGE,
    OLDEST_MS,
    RANGES,
    REJECT_CODES,
)
from tracker.wire.device import Fix, Fixes
from tracker.wire.jsonb import fault
from tracker.wire.times import to_ms

UNTIMED: Final = np.iinfo(np.int64).min
_INTEGER_DIGITS: Final = 300  # what surely is a finite float


def _integer(digits: str) -> float:
    """Python refuses to read very long integers, and the frame with them; an infinite float refuses its fix alone."""
    return int(digits) if len(digits) <= _INTEGER_DIGITS else float(digits)


_one = msgspec.json.Decoder(Fixes)
_bare = msgspec.json.Decoder(Fix)
_read = json.JSONDecoder(parse_int=_integer).decode


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one fix is refused for good."""

    code: str
    message: str


@dataclass(slots=True)
class Decoded:
    """messages[i] belongs to frame i; None where errors[i] says why the frame cannot be used.

    refusals: by (frame, position of the fix in its message); such a fix stands in the message as a placeholder.
    """

    messages: list[Fixes | None]
    refusals: dict[tuple[int, int], Refusal] = field(default_factory=dict)
    errors: dict[int, Refusal] = field(default_factory=dict)


_PLACEHOLDER: Final = Fix(lon=0.0, lat=0.0)


def decode(frames: Sequence[bytes]) -> Decoded:
    """Decode frames that each hold a `fixes` message, a bare fix, an array of fixes, or NDJSON of fixes."""
    decoded = Decoded([None] * len(frames))
    messages, decode_one = decoded.messages, _one.decode
    for i, frame in enumerate(frames):
        try:
            message = decode_one(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _decode_otherwise(frame, i, decoded)
            continue
        if 0 < len(message.fixes) <= MAX_FIXES_PER_MESSAGE:
            messages[i] = message
        else:
            _refuse_count(decoded, i, len(message.fixes))
    return decoded


def _refuse_count(decoded: Decoded, i: int, count: int) -> None:
    decoded.messages[i] = None
    decoded.errors[i] = Refusal("bad_count", f"a message carries 1 to {MAX_FIXES_PER_MESSAGE:,} fixes, not {count:,}")


def _decode_otherwise(frame: bytes, i: int, decoded: Decoded) -> None:
    """A frame that is no ordinary message."""
    for attempt in (_a_fix, _loose):
        try:
            decoded.messages[i] = attempt(frame, i, decoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            decoded.errors[i] = Refusal("malformed", f"this is no message of fixes: {_sentence(error)}")
        else:
            decoded.errors.pop(i, None)
            message = decoded.messages[i]
            if message is not None and not 0 < len(message.fixes) <= MAX_FIXES_PER_MESSAGE:
                _refuse_count(decoded, i, len(message.fixes))
            return


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200]


def _a_fix(frame: bytes, _i: int, _decoded: Decoded) -> Fixes:
    """A bare fix, all of its fields as they should be."""
    return Fixes(fixes=[_bare.decode(frame)])


def _loose(frame: bytes, i: int, decoded: Decoded) -> Fixes:
    """Any form, fix by fix. Python's reader lets NaN and Infinity through, so that they refuse a fix, not the frame."""
    text = frame.decode("utf-8-sig")
    try:
        content = _read(text)
    except json.JSONDecodeError:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2:
            raise
        content = [_read(line) for line in lines]
    head: dict[str, Any] = {}
    fixes = content
    if isinstance(content, dict) and "fixes" in content:
        head = {key: content[key] for key in ("type", "seq", "stream", "device") if key in content}
        fixes = content["fixes"]
    elif isinstance(content, dict) and ("lon" in content or "lat" in content):
        fixes = [content]
    if not isinstance(fixes, list):
        raise ValueError('expected {"type":"fixes","seq":…,"fixes":[…]}, a fix with lon and lat, or an array of fixes')  # noqa: TRY004
    message = msgspec.convert({"type": "fixes", **head, "fixes": []}, Fixes)
    if len(fixes) > MAX_FIXES_PER_MESSAGE:
        message.fixes = [_PLACEHOLDER] * len(fixes)
        return message
    for position, content in enumerate(fixes):
        fix, refusal = _fix(content)
        message.fixes.append(fix)
        if refusal is not None:
            decoded.refusals[i, position] = refusal
    return message


def _fix(content: object) -> tuple[Fix, Refusal | None]:
    if not isinstance(content, dict):
        return _PLACEHOLDER, Refusal("wrong_type", "a fix must be an object with lon and lat")
    for name in ("lon", "lat"):
        if content.get(name) is None:
            return _PLACEHOLDER, Refusal("missing_field", f"{name} is missing")
    for name, value in content.items():
        if isinstance(value, float) and not np.isfinite(value):
            # A name of the device's own choice may be anything; it is not repeated.
            what = name if name in Fix.__struct_fields__ else "every number"
            return _PLACEHOLDER, Refusal("not_finite", f"{what} must be finite")
    try:
        raw = _raw_attributes(content.get("attributes"))
    except (ValueError, RecursionError):
        return _PLACEHOLDER, Refusal(
            "bad_attributes", "attributes must be a JSON object of valid text and finite numbers"
        )
    try:
        fix = msgspec.convert({**content, "attributes": None}, Fix)
    except msgspec.ValidationError as error:
        return _PLACEHOLDER, Refusal("wrong_type", _sentence(error).replace("`", "").replace(" - at $.", ": "))
    fix.attributes = raw
    return fix, None


def _raw_attributes(attributes: object) -> msgspec.Raw | None:
    """As short as they came, so that their size is judged as if nothing else were wrong with the frame."""
    if attributes is None:
        return None
    return msgspec.Raw(json.dumps(attributes, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode())


@dataclass(slots=True)
class Observations:
    """n decoded fixes as SI columns, NaN or UNTIMED where a value is absent; refused marks those that must not be
    stored.
    """

    lon: Floats
    lat: Floats
    alt_m: Floats
    speed_mps: Floats
    course_deg: Floats
    accuracy_m: Floats
    time_ms: Ints
    attributes: list[bytes | None] | None
    refused: dict[int, Refusal]


def _column(values: list[float | None]) -> Floats:
    if values.count(None) == len(values):  # a field that nobody sends
        return np.full(len(values), np.nan)
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _times_ms(fixes: Sequence[Fix]) -> Ints:
    times = [fix.time for fix in fixes]
    if set(map(type, times)) == {int}:
        return np.array(times, dtype=np.int64)
    return np.array([_time_ms(time) for time in times], dtype=np.int64)


def _time_ms(time: Any) -> int:
    if time is None:
        return int(UNTIMED)
    if isinstance(time, datetime):
        return to_ms(time)
    return int(time // 1)


def _attributes(fixes: Sequence[Fix], refused: dict[int, Refusal]) -> list[bytes | None] | None:
    raw = [fix.attributes for fix in fixes]
    if not any(raw):
        return None
    column: list[bytes | None] = []
    for i, value in enumerate(raw):
        column.append(None)
        if value is None:
            continue
        try:
            column[i] = checked_attributes(bytes(value))
        except ValueError as error:
            refused.setdefault(i, Refusal("bad_attributes", str(error)))
    return column


def checked_attributes(raw: bytes) -> bytes | None:
    """A JSON object that PostgreSQL's jsonb accepts, or None for null.

    Raises:
        ValueError: it is not one; the message is for the device's owner.
    """
    if len(raw) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"attributes take {len(raw):,} bytes; at most {MAX_ATTRIBUTES_BYTES:,} are kept")
    try:
        value = msgspec.json.decode(raw)
        clean = msgspec.json.encode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ValueError("attributes must be a JSON object of valid text") from None
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("attributes must be a JSON object")  # noqa: TRY004
    wrong = fault(value, clean)
    if wrong is not None:
        raise ValueError(f"attributes {wrong}")
    return clean


def observations(fixes: Sequence[Fix], now_ms: int) -> Observations:
    """Columns of these fixes, with what is out of range marked as refused."""
    refused: dict[int, Refusal] = {}
    columns = {name: _column(list(map(attrgetter(name), fixes))) for name in RANGES}
    for name, values in columns.items():
        low, high = RANGES[name]
        within: Mask = (values >= low) & (values <= high)
        if name not in ("lon", "lat"):
            within |= np.isnan(values)
        for i in np.flatnonzero(~within).tolist():
            refused.setdefault(
                i,
                Refusal(
                    REJECT_CODES[name], f"{name} is {values[i]:.12g}; it must be within {low:,.0f} and {high:,.0f}"
                ),
            )
    time_ms = _times_ms(fixes)
    timed = time_ms != UNTIMED
    for i in np.flatnonzero(timed & (time_ms > now_ms + FUTURE_REJECTED_AFTER_MS)).tolist():
        refused.setdefault(
            i, Refusal("time_in_future", "time is more than 24 hours ahead of the server; set the device's clock")
        )
    for i in np.flatnonzero(timed & (time_ms < OLDEST_MS)).tolist():
        refused.setdefault(i, Refusal("time_too_old", "time is before 1900; set the device's clock"))
    attributes = _attributes(fixes, refused)
    return Observations(
        columns["lon"],
        columns["lat"],
        columns["alt_m"],
        columns["speed_mps"],
        columns["course_deg"],
        columns["accuracy_m"],
        time_ms,
        attributes,
        refused,
    )
