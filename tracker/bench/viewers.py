"""The people at their maps: many sockets on one selector, in a process of their own.

All count what they get. Some, the probes, also look into it, and tell how old a position was when its bytes arrived:
the devices wrote when it was due into its last digits. Slow ones read nothing.
"""

import selectors
import socket
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import msgspec
import numpy as np

from tracker.bench import websocket
from tracker.bench.figures import Latency, latency
from tracker.bench.frames import Encoding, ages_s
from tracker.bench.process import Report
from tracker.bench.world import Look
from tracker.domain.batch import DEGREE
from tracker.errors import TrackerError
from tracker.wire import live as wire

PATH: Final = "/v1/live"
OPENED_AT_ONCE: Final = 50
REPORT_EVERY_S: Final = 0.25
READ_BYTES: Final = 262_144
SLOW_BUFFER_BYTES: Final = 8_192  # the kernel's buffers of a viewer who does not read


class _Asset(msgspec.Struct):
    lon: float
    lat: float


class _Shown(msgspec.Struct):
    type: str
    assets: list[_Asset] = []
    code: str = ""
    message: str = ""


_shown = msgspec.json.Decoder(_Shown).decode


@dataclass(frozen=True, slots=True)
class Audience:
    """Who looks at what. slow: they ask and never read. probes: so many of the first look into what they get."""

    address: websocket.Address
    token: str
    looks: Sequence[Look]
    hz: float
    encoding: Encoding = "json"
    probes: int = 0
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a run. bytes_per_s: of each viewer, by what it looks at."""

    latency: Latency
    updates: int
    messages: int
    bytes_per_s: dict[str, float]


@dataclass(slots=True, eq=False)
class _Viewer:
    socket: socket.socket
    look: Look
    probe: bool
    inbox: websocket.Inbox = field(default_factory=websocket.Inbox)
    bytes: int = 0
    messages: int = 0


class Viewers:
    """Any number of audiences, all looked after alike."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._viewers: list[_Viewer] = []
        self._asleep: list[socket.socket] = []  # the slow ones: nobody reads them
        self._ages = array("d")
        self._counting = False

    def open(self, audience: Audience, *, report: Report) -> int:
        """Connect all and ask for their views; returns how many there are by now."""
        count, protocol = len(audience.looks), wire.PROTOCOL if audience.encoding == "binary" else None
        for at in range(0, count, OPENED_AT_ONCE):
            looks = audience.looks[at : at + OPENED_AT_ONCE]
            opening = [websocket.ask(audience.address, PATH, audience.token, protocol) for _ in looks]
            for place, (each, look) in enumerate(zip(opening, looks, strict=True), start=at):
                rest = websocket.opened(each)
                each.send(_ask(look, audience.hz))
                if audience.slow:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
                    self._asleep.append(each)
                    continue
                viewer = _Viewer(each, look, place < audience.probes)
                self._selector.register(each, selectors.EVENT_READ, viewer)
                self._viewers.append(viewer)
                self._take(viewer, rest)
            report(len(self._viewers) + len(self._asleep))
        return len(self._viewers) + len(self._asleep)

    def close(self, *, report: Report) -> None:  # noqa: ARG002 - every call brings one
        """All go, and the next may come."""
        for viewer in self._viewers:
            self._selector.unregister(viewer.socket)
        self.end()

    def serve(self, pipe: Connection) -> None:
        """Views are read between the rounds, too, or all would be slow."""
        self._selector.register(pipe, selectors.EVENT_READ)
        try:
            while not pipe.poll():
                self._turn(None)
        finally:
            self._selector.unregister(pipe)

    def watch(self, seconds: float, *, report: Report) -> Seen:
        """What all of them get in this time."""
        self._ages = array("d")
        for viewer in self._viewers:
            viewer.bytes = viewer.messages = 0
        self._counting, begin, told = True, time.monotonic(), 0.0
        while (now := time.monotonic()) < begin + seconds:
            self._turn(0.05)
            if now - told >= REPORT_EVERY_S:
                told = now
                report(sum(viewer.bytes for viewer in self._viewers))
        self._counting = False
        took_s, kinds = time.monotonic() - begin, {viewer.look.kind for viewer in self._viewers}
        rates = {
            kind: [viewer.bytes / took_s for viewer in self._viewers if viewer.look.kind == kind]
            for kind in sorted(kinds)
        }
        return Seen(
            latency(self._ages),
            len(self._ages),
            sum(viewer.messages for viewer in self._viewers),
            {kind: sum(each) / len(each) for kind, each in rates.items()},
        )

    def end(self) -> None:
        for each in (*self._asleep, *(viewer.socket for viewer in self._viewers)):
            each.close()
        self._viewers.clear()
        self._asleep.clear()

    def _turn(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            viewer = key.data
            if viewer is None:  # the pipe
                continue
            data = viewer.socket.recv(READ_BYTES)
            if not data:
                raise TrackerError("the server closed a viewer's socket; its log says why")
            self._take(viewer, data)

    def _take(self, viewer: _Viewer, data: bytes) -> None:
        if not data:
            return
        viewer.bytes += len(data)
        for opcode, payload in viewer.inbox.feed(data):
            if opcode in (websocket.TEXT, websocket.BINARY):
                viewer.messages += 1
                if self._counting and viewer.probe:
                    self._look_into(opcode, payload)
            elif opcode == websocket.PING:
                viewer.socket.send(websocket.frame(websocket.PONG, payload))
            elif opcode == websocket.CLOSE:
                raise TrackerError(f"the server closed a viewer's socket: {payload[2:].decode() or payload.hex()}")

    def _look_into(self, opcode: int, payload: bytes) -> None:
        now_ms = time.time() * 1000
        if opcode == websocket.BINARY:
            frame = wire.read(payload)
            if frame.kind == wire.UPDATE:
                self._ages.extend(ages_s(frame.assets["lon"], frame.assets["lat"], now_ms))
            return
        shown = _shown(payload)
        if shown.type == "error":
            raise TrackerError(f"the server refused a view: {shown.code}: {shown.message}")
        if shown.type == "update":
            places = np.array([(each.lon, each.lat) for each in shown.assets]).reshape(-1, 2) * DEGREE
            lon, lat = np.rint(places).astype(np.int64).T
            self._ages.extend(ages_s(lon, lat, now_ms))


def _ask(look: Look, hz: float) -> bytes:
    view = {"type": "view", "id": 1, "bbox": look.bbox, "zoom": look.zoom, "max_hz": hz}
    return websocket.frame(websocket.TEXT, msgspec.json.encode(view))
