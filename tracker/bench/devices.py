"""The devices of a load: many sockets on one selector, in a process of their own.

Closed loop: a device sends its next frame when an earlier one is acked, which shows how much the server takes. Open
loop: every frame has its instant beforehand and its latency counts from there, sent in time or not; so a server that
stalls is not spared the frames that would have come meanwhile.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec

from tracker.bench import frames, websocket, world
from tracker.bench.process import Report
from tracker.bench.tally import Acked, Tally
from tracker.errors import TrackerError
from tracker.wire.device import Ack, Command, Config, Error, FromServer, Reject, SlowDown, Welcome

OPENED_AT_ONCE: Final = 100
AT_LEAST_EVERY_S: Final = 0.05  # the clock is looked at, also when nothing comes
REST_WITHIN_S: Final = 30.0  # for the acks that are still due at the end
READ_BYTES: Final = 65_536
GOODBYE: Final = (1000).to_bytes(2)

_decode = msgspec.json.Decoder(FromServer).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What the devices of a process are: tokens in order, where the first stands in the world, how they speak."""

    address: websocket.Address
    path: str
    tokens: Sequence[str]
    first: int
    fixes_per_frame: int
    encoding: frames.Encoding
    first_ms: int = 0  # the time of the first fix
    step_ms: int = 1000  # between two fixes of a device
    alike: bool = False  # all send the same: for who does not look at it
    stamped: bool = False  # the last digits of places tell the time: for who sees them on a map


@dataclass(slots=True, eq=False)
class _Device:
    socket: socket.socket
    frames: Sequence[frames.MakeFrame]
    seq: int
    time_ms: int
    inbox: websocket.Inbox = field(default_factory=websocket.Inbox)
    under_way: deque[tuple[int, float]] = field(default_factory=deque)  # (last seq of a frame, when it was due)
    unsent: bytes = b""
    sent: int = 0


class Devices:
    """One fleet at a time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._devices: list[_Device] = []
        self._per_frame, self._step_ms = 1, 1000
        self._tally = Tally(0.0, lambda _value: None)
        self._on_ack: Callable[[_Device], None] = lambda _device: None

    # Opening and closing

    def open(self, fleet: Fleet, *, report: Report) -> int:
        """Connect all and encode a round of each; returns how many they are."""
        self._per_frame, self._step_ms = fleet.fixes_per_frame, fleet.step_ms
        for at in range(0, len(fleet.tokens), OPENED_AT_ONCE):
            self._open_some(fleet, at, fleet.tokens[at : at + OPENED_AT_ONCE])
            report(len(self._devices))
        return len(self._devices)

    def _open_some(self, fleet: Fleet, at: int, tokens: Sequence[str]) -> None:
        courses = world.courses(fleet.first + at, 1 if fleet.alike else len(tokens), fleet.fixes_per_frame)
        opening = [websocket.ask(fleet.address, fleet.path, token) for token in tokens]
        rounds = [
            frames.round_of(courses, place, fleet.fixes_per_frame, fleet.encoding, stamped=fleet.stamped)
            for place in range(len(courses.lon))
        ]
        new = []
        for place, each in enumerate(opening):
            rest = websocket.opened(each)
            device = _Device(each, rounds[place % len(rounds)], 0, fleet.first_ms)
            self._selector.register(each, selectors.EVENT_READ, device)
            self._devices.append(device)
            new.append(device)
            if rest:
                self._take(device, rest)
        while any(device.seq == 0 for device in new):
            self._turn(None)

    def close(self, *, report: Report) -> None:  # noqa: ARG002 - every call brings one
        """Say goodbye, and be ready for the next fleet."""
        for device in self._devices:
            self._selector.unregister(device.socket)
            with suppress(OSError):
                device.socket.send(websocket.frame(websocket.CLOSE, GOODBYE))
            device.socket.close()
        self._devices.clear()

    def serve(self, pipe: Connection) -> None:
        """Pings are answered between the rounds, too."""
        self._selector.register(pipe, selectors.EVENT_READ)
        try:
            while not pipe.poll():
                self._turn(None)
        finally:
            self._selector.unregister(pipe)

    def end(self) -> None:
        for device in self._devices:
            device.socket.close()
        self._devices.clear()

    # Loads

    def clock_ms(self, *, report: Report) -> int:  # noqa: ARG002 - every call brings one
        """Later than every fix that was sent."""
        return max(device.time_ms for device in self._devices)

    def closed(self, seconds: float, in_flight: int, *, report: Report) -> Acked:
        """As much as is acked, each device with so many frames under way."""
        tally = self._tally = Tally(seconds, report)

        def go_on(device: _Device) -> None:
            now = time.perf_counter()
            while now < tally.end and len(device.under_way) < in_flight:
                self._send(device, now)

        self._on_ack = go_on
        for device in self._devices:
            go_on(device)
        while tally.runs():
            self._turn(AT_LEAST_EVERY_S)
        return self._finish(tally)

    def paced_live(self, seconds: float, frames_per_s: float, *, report: Report) -> Acked:
        """As `paced`, and each fix has the time at which it is due."""
        return self.paced(seconds, frames_per_s, live=True, report=report)

    def paced(self, seconds: float, frames_per_s: float, *, live: bool = False, report: Report) -> Acked:
        """A frame every so often, the devices in turn."""
        tally = self._tally = Tally(seconds, report)
        wall_ms = time.time() * 1000 - time.perf_counter() * 1000
        period, at, due = 1 / frames_per_s, 0, tally.begin
        while tally.runs():
            now = time.perf_counter()
            while due <= now and due < tally.end:
                device = self._devices[at]
                if live:
                    device.time_ms = int(wall_ms + due * 1000)
                self._send(device, due)
                at, due = (at + 1) % len(self._devices), due + period
            self._turn(max(0.0, min(due, tally.end) - time.perf_counter()))
        return self._finish(tally)

    def exactly(self, frames_each: int, in_flight: int, *, report: Report) -> Acked:
        """So many frames of each device, as fast as they are acked."""
        tally = self._tally = Tally(0.0, report)
        target = {id(device): device.sent + frames_each for device in self._devices}

        def go_on(device: _Device) -> None:
            while device.sent < target[id(device)] and len(device.under_way) < in_flight:
                self._send(device, time.perf_counter())

        self._on_ack = go_on
        for device in self._devices:
            go_on(device)
        while any(device.under_way for device in self._devices):
            self._turn(AT_LEAST_EVERY_S)
            tally.tell(time.perf_counter())
        return self._finish(tally)

    def _finish(self, tally: Tally) -> Acked:
        tally.stop()
        self._on_ack = lambda _device: None
        until = time.perf_counter() + REST_WITHIN_S
        while time.perf_counter() < until and any(device.under_way for device in self._devices):
            self._turn(AT_LEAST_EVERY_S)
        now = time.perf_counter()
        return tally.result([now - due for device in self._devices for _, due in device.under_way])

    # Sockets

    def _send(self, device: _Device, due: float) -> None:
        per_frame, step_ms = self._per_frame, self._step_ms
        frame = device.frames[device.sent % len(device.frames)](device.seq, device.time_ms, step_ms)
        device.sent += 1
        device.seq += per_frame
        device.time_ms += per_frame * step_ms
        device.under_way.append((device.seq - 1, due))
        self._write(device, frame)

    def _write(self, device: _Device, data: bytes | bytearray) -> None:
        if device.unsent:
            device.unsent += data
            return
        try:
            sent = device.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):  # the server does not read now
            device.unsent = bytes(data[sent:])
            self._selector.modify(device.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, device)

    def _turn(self, timeout_s: float | None) -> None:
        for key, events in self._selector.select(timeout_s):
            device = key.data
            if device is None:  # the pipe
                continue
            if events & selectors.EVENT_WRITE:
                unsent, device.unsent = device.unsent, b""
                self._selector.modify(device.socket, selectors.EVENT_READ, device)
                self._write(device, unsent)
            if events & selectors.EVENT_READ:
                data = device.socket.recv(READ_BYTES)
                if not data:
                    raise TrackerError("the server closed a device's socket; its log says why")
                self._take(device, data)

    def _take(self, device: _Device, data: bytes) -> None:
        acked = 0
        for opcode, payload in device.inbox.feed(data):
            if opcode == websocket.TEXT:
                message = _decode(payload)
                if type(message) is Ack:
                    acked = message.seq
                else:
                    self._hear(device, message)
            elif opcode == websocket.PING:
                self._write(device, websocket.frame(websocket.PONG, payload))
            elif opcode == websocket.CLOSE:
                raise TrackerError(f"the server closed a device's socket: {payload[2:].decode() or payload.hex()}")
        if acked:
            self._acknowledge(device, acked)

    def _acknowledge(self, device: _Device, acked: int) -> None:
        now, under_way, tally = time.perf_counter(), device.under_way, self._tally
        tally.hear(now)
        while under_way and under_way[0][0] <= acked:
            tally.add(self._per_frame, now - under_way.popleft()[1])
        self._on_ack(device)

    def _hear(self, device: _Device, message: Any) -> None:
        if isinstance(message, Welcome):
            device.seq = message.seq + 1
        elif isinstance(message, Reject):
            self._tally.rejects += 1
            self._tally.said.add(f"reject {message.code}: {message.message}")
        elif isinstance(message, Error):
            self._tally.said.add(f"error {message.code}: {message.message}")
        elif isinstance(message, SlowDown):
            self._tally.said.add("slow_down")
        else:
            assert isinstance(message, Command | Config)
