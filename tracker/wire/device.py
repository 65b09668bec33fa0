"""The messages between a device and `/v1/ingest`, as types: JSON text, both directions.

Decoding here is strict and per message; how a whole batch of frames becomes columns is `wire.frames`. Fixes have a
binary form, too: `wire.binary`. No numpy here: the device SDK imports this module.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tracker.domain.fix import MAX_STREAM_NAME_LENGTH

# Wide bounds keep every number inside 64 bits, nanoseconds too, so that who sends those hears what is wrong; the real
# ranges are judged on columns.
EpochMs = Annotated[int, Meta(ge=-(2**62), le=2**62)] | Annotated[float, Meta(ge=-(2.0**62), le=2.0**62)]
When = EpochMs | Annotated[datetime, Meta(tz=True)] | None
StreamName = Annotated[str, Meta(min_length=1, max_length=MAX_STREAM_NAME_LENGTH, pattern=r"^[^\x00-\x1f]+(?!\n)$")]
Seq = Annotated[int, Meta(ge=1, le=2**53)]


NO_ATTRIBUTES: Final = msgspec.Raw()  # what is absent; msgspec knows Raw alone, not Raw or None


class Fix(Struct, omit_defaults=True):
    """One observation as it is written on the wire; only lon and lat are required."""

    lon: float
    lat: float
    time: When = None
    alt_m: float | None = None
    accuracy_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    attributes: msgspec.Raw = NO_ATTRIBUTES


class Hello(Struct, tag="hello"):
    """Opens a further stream on this socket: a gateway's device, or a second lane of the same device."""

    stream: StreamName
    device: str | None = None


class Result(Struct, tag="result"):
    """A device's answer to a command."""

    id: str
    ok: bool
    value: Any = None


class Status(Struct, tag="status"):
    """What a device says of itself."""

    battery: Annotated[float, Meta(ge=0, le=1)] | None = None
    reason: Annotated[str, Meta(max_length=200)] | None = None
    device: str | None = None


class Welcome(Struct, tag="welcome", omit_defaults=True):
    """Where the stream stands: seq is its last durable fix, 0 for none; slot is what binary frames call it."""

    device: str
    asset: str
    stream: str
    seq: int
    config: dict[str, Any]
    slot: int = 0


class Ack(Struct, tag="ack"):
    """Cumulative: everything up to seq is committed, or was rejected for good."""

    stream: str
    seq: int
    device: str | UnsetType = UNSET


def ack_head(stream: str, device: str | None = None) -> bytes:
    """An Ack as far as its number, for whoever writes many of the same stream; the number and b"}" follow."""
    named = b"" if device is None else b',"device":%b' % msgspec.json.encode(device)
    return b'{"type":"ack","stream":%b%b,"seq":' % (msgspec.json.encode(stream), named)


class Reject(Struct, tag="reject"):
    """One fix refused for good; sent before the ack that covers it."""

    stream: str
    seq: int
    code: str
    message: str
    device: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one fix is refused for good, or one frame cannot be used."""

    code: str
    message: str


class Error(Struct, tag="error"):
    """A message that could not be used at all."""

    code: str
    message: str


class SlowDown(Struct, tag="slow_down"):
    """The server is overloaded; send again after this many seconds."""

    retry_after_s: float


class Command(Struct, tag="command"):
    """Something the device is asked to do."""

    id: str
    name: str
    args: dict[str, Any]


class Config(Struct, tag="config"):
    """What the device is asked to be set to from now on."""

    config: dict[str, Any]


FromServer = Welcome | Ack | Reject | Error | SlowDown | Command | Config
FromDevice = Hello | Result | Status
