"""The client's side of a WebSocket (RFC 6455) as far as a load needs it: blocking to open, bytes in and out afterwards.

A general client costs several times what it measures. Frames are masked with zero, which a server has to undo all the
same; what arrives is not checked for more than its form.
"""

import base64
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracker.errors import TrackerError

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

OPEN_WITHIN_S: Final = 60.0
_LONGEST_ANSWER: Final = 16 * 1024
_NO_MASK: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


def head(opcode: int, payload_bytes: int) -> bytes:
    """What stands before the payload of a client's frame."""
    first = 0x80 | opcode
    if payload_bytes < 126:
        return bytes((first, 0x80 | payload_bytes)) + _NO_MASK
    if payload_bytes < 65_536:
        return struct.pack(">BBH", first, 0x80 | 126, payload_bytes) + _NO_MASK
    return struct.pack(">BBQ", first, 0x80 | 127, payload_bytes) + _NO_MASK


def frame(opcode: int, payload: bytes) -> bytes:
    return head(opcode, len(payload)) + payload


def ask(address: Address, path: str, token: str, subprotocol: str | None = None) -> socket.socket:
    """Connect and send the request; the answer is read by `opened`, so that many may be under way."""
    try:
        opening = socket.create_connection((address.host, address.port), OPEN_WITHIN_S)
    except OSError as error:
        raise TrackerError(f"{address.host}:{address.port} does not answer ({error})") from error
    opening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {address.host}:{address.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}",
        *([] if subprotocol is None else [f"Sec-WebSocket-Protocol: {subprotocol}"]),
    ]
    opening.sendall("\r\n".join([*lines, "", ""]).encode())
    return opening


def opened(opening: socket.socket) -> bytes:
    """Read the answer; what came right after it is returned, and the socket blocks no more.

    Raises:
        TrackerError: it is not 101.
    """
    answer = b""
    while b"\r\n\r\n" not in answer:
        some = opening.recv(_LONGEST_ANSWER)
        answer += some
        if not some or len(answer) > 4 * _LONGEST_ANSWER:
            raise TrackerError("the server broke off instead of opening a WebSocket")
    said, _, rest = answer.partition(b"\r\n\r\n")
    if not said.startswith(b"HTTP/1.1 101"):
        raise TrackerError(f"the server opens no WebSocket: {said.splitlines()[0].decode()} {rest[:300].decode()}")
    opening.setblocking(False)
    return rest


Message = tuple[int, bytes]


class Inbox:
    """Bytes in, whole messages out. A server's frames are neither masked nor, for so short messages, fragmented."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Sequence[Message]:
        if not self._held and len(data) > 1 and data[1] < 126 and len(data) == data[1] + 2:
            return ((data[0] & 15, data[2:]),)  # nearly always: one short frame
        self._held += data
        messages: list[Message] = []
        at = 0
        while (found := self._frame(at)) is not None:
            start, end = found
            messages.append((self._held[at] & 15, bytes(self._held[start:end])))
            at = end
        del self._held[:at]
        return messages

    def _frame(self, at: int) -> tuple[int, int] | None:
        """Where the payload of the frame at a place begins and ends; None while it is incomplete."""
        held = self._held
        if len(held) - at < 10 and (len(held) - at < 2 or len(held) - at < {126: 4, 127: 10}.get(held[at + 1], 2)):
            return None
        size, start = held[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(held[at + 2 : at + 4]), at + 4
        elif size == 127:
            size, start = int.from_bytes(held[at + 2 : at + 10]), at + 10
        return (start, start + size) if len(held) >= start + size else None
