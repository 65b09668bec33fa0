"""The devices of a load: many sockets on one selector, in a process of their own.

Closed loop: a device sends its next frame when an earlier one is acked, which shows how much the server takes. Open
loop: every frame has its instant beforehand and its latency counts from there, sent in time or not; so a server that
stalls is not spared the frames that would have come meanwhile.
"""

import resource
import selectors
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec

from tracker.bench import frames, websocket, world
from tracker.bench.figures import Latency, latency
from tracker.bench.process import Report
from tracker.errors import TrackerError
from tracker.wire.device import Ack, Command, Config, Error, FromServer, Reject, SlowDown, Welcome

OPENED_AT_ONCE: Final = 100
REPORT_EVERY_S: Final = 0.25
WARM_UP: Final = 0.2  # of the time, at the beginning, counts for nothing
REST_WITHIN_S: Final = 30.0  # for the acks that are still due at the end
READ_BYTES: Final = 65_536
GOODBYE: Final = (1000).to_bytes(2)

_decode = msgspec.json.Decoder(FromServer).decode


@dataclass(frozen=True, slots=True)
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
    stamped: bool = False  # the last digits of places tell the time: for who sees them on a map


@dataclass(frozen=True, slots=True)
class Acked:
    """What came of a run. Latencies are those of frames; the rates are of the time after the warm-up."""

    fixes: int
    fixes_per_s: float
    latency: Latency
    longest_gap_ms: float  # without a single ack, while some were due
    late_frames: int  # not acked at the end; their latencies count as what they had waited by then
    rejects: int
    load_cpu: float  # share of a core that the load itself took
    said: Sequence[str]  # errors and slow-downs, each kind once


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
        self._fleet: Fleet | None = None
        self._latencies = array("d")
        self._acked = 0
        self._rejects = 0
        self._last_ack = 0.0
        self._longest_gap = 0.0
        self._said: set[str] = set()
        self._on_ack: Callable[[_Device], None] = lambda _device: None

    # Opening and closing

    def open(self, fleet: Fleet, *, report: Report) -> int:
        """Connect all and encode a round of each; returns how many they are."""
        self._fleet = fleet
        for at in range(0, len(fleet.tokens), OPENED_AT_ONCE):
            self._open_some(fleet, at, fleet.tokens[at : at + OPENED_AT_ONCE])
            report(len(self._devices))
        return len(self._devices)

    def _open_some(self, fleet: Fleet, at: int, tokens: Sequence[str]) -> None:
        courses = world.courses(fleet.first + at, len(tokens), fleet.fixes_per_frame)
        opening = [websocket.ask(fleet.address, fleet.path, token) for token in tokens]
        new = []
        for place, each in enumerate(opening):
            rest = websocket.opened(each)
            rounds = frames.round_of(courses, place, fleet.fixes_per_frame, fleet.encoding, stamped=fleet.stamped)
            device = _Device(each, rounds, 0, fleet.first_ms)
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
        watch = _Watch(self, seconds, report)

        def go_on(device: _Device) -> None:
            now = time.perf_counter()
            while now < watch.end and len(device.under_way) < in_flight:
                self._send(device, now)

        self._on_ack = go_on
        for device in self._devices:
            go_on(device)
        while watch.runs():
            self._turn(0.05)
        return self._finish(watch)

    def paced_live(self, seconds: float, frames_per_s: float, *, report: Report) -> Acked:
        """The same, and each fix has the time at which it is due."""
        return self.paced(seconds, frames_per_s, live=True, report=report)

    def paced(self, seconds: float, frames_per_s: float, *, live: bool = False, report: Report) -> Acked:
        """A frame every so often, the devices in turn."""
        watch = _Watch(self, seconds, report)
        wall_ms = time.time() * 1000 - time.perf_counter() * 1000
        self._on_ack = lambda _device: None
        period, at, due = 1 / frames_per_s, 0, watch.begin
        while watch.runs():
            now = time.perf_counter()
            while due <= now and due < watch.end:
                device = self._devices[at]
                if live:
                    device.time_ms = int(wall_ms + due * 1000)
                self._send(device, due)
                at, due = (at + 1) % len(self._devices), due + period
            self._turn(max(0.0, min(due, watch.end) - time.perf_counter()))
        return self._finish(watch)

    def exactly(self, frames_each: int, in_flight: int, *, report: Report) -> Acked:
        """So many frames of each device, as fast as they are acked."""
        watch = _Watch(self, 0.0, report)
        target = {id(device): device.sent + frames_each for device in self._devices}

        def go_on(device: _Device) -> None:
            while device.sent < target[id(device)] and len(device.under_way) < in_flight:
                self._send(device, time.perf_counter())

        self._on_ack = go_on
        for device in self._devices:
            go_on(device)
        while any(device.under_way for device in self._devices):
            self._turn(0.05)
            watch.tell()
        watch.end = time.perf_counter()
        return self._finish(watch)

    def _finish(self, watch: "_Watch") -> Acked:
        fixes_per_s, load_cpu = watch.fixes_per_s(), watch.cpu()
        self._on_ack = lambda _device: None
        until = time.perf_counter() + REST_WITHIN_S
        while time.perf_counter() < until and any(device.under_way for device in self._devices):
            self._turn(0.05)
        now = time.perf_counter()
        waiting = [now - due for device in self._devices for _, due in device.under_way]
        return Acked(
            fixes=self._acked - watch.acked,
            fixes_per_s=fixes_per_s,
            latency=latency([*self._latencies[watch.first :], *waiting]),
            longest_gap_ms=self._longest_gap * 1000,
            late_frames=len(waiting),
            rejects=self._rejects,
            load_cpu=load_cpu,
            said=sorted(self._said),
        )

    # Sockets

    def _send(self, device: _Device, due: float) -> None:
        assert self._fleet is not None
        per_frame, step_ms = self._fleet.fixes_per_frame, self._fleet.step_ms
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
        now, under_way = time.perf_counter(), device.under_way
        self._longest_gap = max(self._longest_gap, now - self._last_ack)
        self._last_ack = now
        per_frame = self._fleet.fixes_per_frame if self._fleet is not None else 1
        while under_way and under_way[0][0] <= acked:
            self._latencies.append(now - under_way.popleft()[1])
            self._acked += per_frame
        self._on_ack(device)

    def _hear(self, device: _Device, message: Any) -> None:
        if isinstance(message, Welcome):
            device.seq = message.seq + 1
        elif isinstance(message, Reject):
            self._rejects += 1
            self._said.add(f"reject {message.code}: {message.message}")
        elif isinstance(message, Error):
            self._said.add(f"error {message.code}: {message.message}")
        elif isinstance(message, SlowDown):
            self._said.add("slow_down")
        else:
            assert isinstance(message, Command | Config)

    # What a watch looks at

    def restart(self) -> None:
        """Forget what was measured before."""
        self._latencies = array("d")
        self._rejects, self._longest_gap, self._last_ack = 0, 0.0, time.perf_counter()

    @property
    def counts(self) -> tuple[int, int]:
        """(fixes acked, frames acked since the restart)."""
        return self._acked, len(self._latencies)

    def begin_gaps(self) -> None:
        """The first acks are later than the rest: sockets, caches, a first batch."""
        self._longest_gap, self._last_ack = 0.0, time.perf_counter()


class _Watch:
    """The clock of one run: warms up, counts, tells how far it is."""

    def __init__(self, devices: Devices, seconds: float, report: Report) -> None:
        devices.restart()
        self._devices, self._report = devices, report
        self.begin = time.perf_counter()
        self.end = self.begin + seconds
        self._warm = self.begin + seconds * WARM_UP
        self.acked, self.first = devices.counts
        self._acked_warm, self._warm_at = self.acked, self.begin
        self._told = 0.0
        self._cpu = _cpu_s()

    def runs(self) -> bool:
        now = time.perf_counter()
        if self._warm and now >= self._warm:
            self._acked_warm, self.first = self._devices.counts
            self._warm, self._warm_at = 0.0, now
            self._devices.begin_gaps()
        self.tell()
        return now < self.end

    def tell(self) -> None:
        now = time.perf_counter()
        if now - self._told >= REPORT_EVERY_S:
            self._told = now
            self._report(self._devices.counts[0] - self.acked)

    def fixes_per_s(self) -> float:
        """Fixes acked a second, since it was warm."""
        return (self._devices.counts[0] - self._acked_warm) / (time.perf_counter() - self._warm_at)

    def cpu(self) -> float:
        return (_cpu_s() - self._cpu) / (time.perf_counter() - self.begin)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
