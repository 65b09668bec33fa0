"""Many device frames at once: bytes to typed messages, in the order in which they came.

A text that does not fit its type is decoded again fix by fix, so that one bad fix is refused alone. Texts are never
joined: two halves of a crafted message could make the text of one device count for another; binary frames are, since
what belongs to whom is told by their lengths. Nothing here raises for what a device sent.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tracker.domain.fix import MAX_FIXES_PER_MESSAGE
from tracker.wire.binary import MAGIC
from tracker.wire.device import NO_ATTRIBUTES, Refusal, Seq
from tracker.wire.observations import Sent
from tracker.wire.packed import NO_RECORDS, Block, Records, packed

_INTEGER_DIGITS: Final = 300  # what surely is a finite float


def _integer(digits: str) -> float:
    """Python refuses to read very long integers, and the frame with them; an infinite float refuses its fix alone."""
    return int(digits) if len(digits) <= _INTEGER_DIGITS else float(digits)


class Message(msgspec.Struct, tag="fixes", gc=False):
    """A message of fixes in text, as it is read."""

    fixes: list[Sent]
    seq: Seq | None = None
    stream: str | None = None
    device: str | None = None


_one = msgspec.json.Decoder(Message)
_bare = msgspec.json.Decoder(Sent)
_read = json.JSONDecoder(parse_int=_integer).decode


@dataclass(slots=True)
class Decoded:
    """messages[i] belongs to frame i; None where errors[i] says why the frame cannot be used.

    refusals: by (frame, position of the fix in its message); such a fix stands in the message as a placeholder.
    records: where the fixes of binary frames are; their blocks point into it.
    """

    messages: list[Message | Block | None]
    refusals: dict[tuple[int, int], Refusal] = field(default_factory=dict)
    errors: dict[int, Refusal] = field(default_factory=dict)
    records: Records = field(default_factory=lambda: NO_RECORDS)


_PLACEHOLDER: Final = Sent(lon=0.0, lat=0.0)


def decode(frames: Sequence[bytes]) -> Decoded:
    """Decode frames that each hold a `fixes` message in text or binary, a bare fix, an array of fixes, or NDJSON of
    fixes.
    """
    decoded = Decoded([None] * len(frames))
    messages, decode_one = decoded.messages, _one.decode
    binary: list[int] = []
    for i, frame in enumerate(frames):
        if frame.startswith(MAGIC):
            binary.append(i)
            continue
        try:
            message = decode_one(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _decode_otherwise(frame, i, decoded)
            continue
        if 0 < len(message.fixes) <= MAX_FIXES_PER_MESSAGE:
            messages[i] = message
        else:
            _refuse_count(decoded, i, len(message.fixes))
    if binary:
        _decode_binary(frames, binary, decoded)
    return decoded


def _decode_binary(frames: Sequence[bytes], which: Sequence[int], decoded: Decoded) -> None:
    found = packed([frames[i] for i in which])
    decoded.records = found.records
    for position, i in enumerate(which):
        decoded.messages[i] = found.blocks[position]
    for position, fault in found.faults.items():
        decoded.messages[which[position]] = None
        decoded.errors[which[position]] = fault


def _refuse_count(decoded: Decoded, i: int, count: int) -> None:
    decoded.messages[i] = None
    decoded.errors[i] = Refusal("bad_count", f"a message carries 1 to {MAX_FIXES_PER_MESSAGE:,} fixes, not {count:,}")


def _decode_otherwise(frame: bytes, i: int, decoded: Decoded) -> None:
    """A frame that is no ordinary message."""
    for attempt in (_a_fix, _loose):
        try:
            message = attempt(frame, i, decoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            decoded.errors[i] = Refusal("malformed", f"this is no message of fixes: {_sentence(error)}")
        else:
            decoded.errors.pop(i, None)
            decoded.messages[i] = message
            if not 0 < len(message.fixes) <= MAX_FIXES_PER_MESSAGE:
                _refuse_count(decoded, i, len(message.fixes))
            return


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200]


def _a_fix(frame: bytes, _i: int, _decoded: Decoded) -> Message:
    """A bare fix, all of its fields as they should be."""
    return Message(fixes=[_bare.decode(frame)])


def _loose(frame: bytes, i: int, decoded: Decoded) -> Message:
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
    message = msgspec.convert({"type": "fixes", **head, "fixes": []}, Message)
    if len(fixes) > MAX_FIXES_PER_MESSAGE:
        message.fixes = [_PLACEHOLDER] * len(fixes)
        return message
    for position, content in enumerate(fixes):
        fix, refusal = _fix(content)
        message.fixes.append(fix)
        if refusal is not None:
            decoded.refusals[i, position] = refusal
    return message


def _fix(content: object) -> tuple[Sent, Refusal | None]:
    if not isinstance(content, dict):
        return _PLACEHOLDER, Refusal("wrong_type", "a fix must be an object with lon and lat")
    for name in ("lon", "lat"):
        if content.get(name) is None:
            return _PLACEHOLDER, Refusal("missing_field", f"{name} is missing")
    for name, value in content.items():
        if isinstance(value, float) and not math.isfinite(value):
            # A name of the device's own choice may be anything; it is not repeated.
            what = name if name in Sent.__struct_fields__ else "every number"
            return _PLACEHOLDER, Refusal("not_finite", f"{what} must be finite")
    try:
        raw = _raw_attributes(content.get("attributes"))
    except (ValueError, RecursionError):
        return _PLACEHOLDER, Refusal(
            "bad_attributes", "attributes must be a JSON object of valid text and finite numbers"
        )
    try:
        fix = msgspec.convert({name: value for name, value in content.items() if name != "attributes"}, Sent)
    except msgspec.ValidationError as error:
        return _PLACEHOLDER, Refusal("wrong_type", _sentence(error).replace("`", "").replace(" - at $.", ": "))
    fix.attributes = raw
    return fix, None


def _raw_attributes(attributes: object) -> msgspec.Raw:
    """As short as they came, so that their size is judged as if nothing else were wrong with the frame."""
    if attributes is None:
        return NO_ATTRIBUTES
    return msgspec.Raw(json.dumps(attributes, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode())
