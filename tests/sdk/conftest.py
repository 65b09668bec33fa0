"""A server that speaks the ingest protocol over real sockets and keeps what it is told, for tests of the device's side.

It can be told to misbehave. It is strict: a number that comes again with other content is an error of the device.
"""

import asyncio
import json
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio
from aiohttp import WSMsgType, web

Json = dict[str, Any]


UNITS = {"lon": 1e7, "lat": 1e7, "alt_m": 10, "speed_mps": 100, "accuracy_m": 10, "course_deg": 10}
UNKNOWN = (-(2**31), -(2**15))


def spelled_out(frame: bytes, stream: str) -> Json:
    """A binary frame as the text that means the same, read from the protocol's table and by no code of the product."""
    magic, count, seq, slot = struct.unpack_from("<4sIQI", frame)
    assert (magic, slot, len(frame)) == (b"\x89TF\x01", 0, 32 * (1 + count))
    fixes = []
    for at in range(32, len(frame), 32):
        time, *values = struct.unpack_from("<q5ih", frame, at)
        known = {name: value / UNITS[name] for name, value in zip(UNITS, values, strict=True) if value not in UNKNOWN}
        fixes.append({**known, "time": time})
    return {"type": "fixes", "stream": stream, "seq": seq, "fixes": fixes}


class IngestServer:
    """One device's view of `/v1/ingest`; `stored` is what a database would hold."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[int, Json]] = defaultdict(dict)
        self.durable: dict[str, int] = defaultdict(int)
        self.frames: list[tuple[str, int, int]] = []  # (stream, seq, fixes), as they came
        self.results: list[Json] = []
        self.statuses: list[Json] = []
        self.contradictions: list[str] = []
        self.connections: list[str] = []  # the stream of each socket ever opened
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.config: Json = {}
        self.refuse_status: int | None = None
        self.judge: Callable[[Json], str | None] = lambda fix: None  # the code to reject a fix with
        self.on_frame: Callable[[str, Json], int | None] = lambda stream, message: (
            None
        )  # a close code instead of an ack
        self.gateway_devices: set[str] = set()
        self.ignores_pings = False
        self.holds_acks = False
        self.forgets_acks = False  # stores, but never says so
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/v1/ingest", self._ingest)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.cut()
        assert self._runner is not None
        await self._runner.cleanup()

    async def cut(self, code: int = 1001) -> None:
        """Close every socket."""
        for socket in list(self.sockets.values()):
            await socket.close(code=code)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when this is so; conditions are looked at whenever something happened here."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def fixes(self) -> list[Json]:
        """Everything stored, stream after stream."""
        return [fix for stream in sorted(self.stored) for _, fix in sorted(self.stored[stream].items())]

    async def say(self, message: Json, stream: str | None = None) -> None:
        for name, socket in list(self.sockets.items()):
            if stream is None or name == stream:
                await socket.send_json(message)

    async def release_acks(self) -> None:
        self.holds_acks = False
        for stream, socket in list(self.sockets.items()):
            await socket.send_json({"type": "ack", "stream": stream, "seq": self.durable[stream]})

    async def _ingest(self, request: web.Request) -> web.StreamResponse:
        stream = request.query.get("stream", "")
        self.connections.append(stream)
        await self.notify()
        if self.refuse_status is not None:
            return web.Response(status=self.refuse_status)
        assert request.headers["Authorization"] == "Bearer secret"
        socket = web.WebSocketResponse(autoping=not self.ignores_pings)
        await socket.prepare(request)
        if not stream:  # a gateway's socket, which says for whom it speaks
            hello = await socket.receive_json()
            assert (hello["type"], hello["device"] in self.gateway_devices) == ("hello", True)
            stream = hello["stream"]
        if stream in self.sockets:
            await self.sockets[stream].close(code=4009)
        self.sockets[stream] = socket
        await socket.send_json(
            {
                "type": "welcome", "device": "dev_1", "asset": "ast_1", "stream": stream,
                "seq": self.durable[stream], "config": self.config,
            }
        )  # fmt: skip
        await self.notify()
        try:
            async for frame in socket:
                if frame.type is WSMsgType.PING:
                    continue
                if frame.type is WSMsgType.BINARY:
                    await self._store(stream, spelled_out(frame.data, stream), socket)
                else:
                    assert frame.type is WSMsgType.TEXT
                    await self._hear(stream, json.loads(frame.data), socket)
                await self.notify()
        finally:
            if self.sockets.get(stream) is socket:
                del self.sockets[stream]
            await self.notify()
        return socket

    async def _hear(self, stream: str, message: Json, socket: web.WebSocketResponse) -> None:
        match message["type"]:
            case "result":
                self.results.append(message)
            case "status":
                self.statuses.append(message)
            case "fixes":
                await self._store(stream, message, socket)

    async def _store(self, stream: str, message: Json, socket: web.WebSocketResponse) -> None:
        assert message["stream"] == stream
        assert message.get("device") is None or message["device"] in self.gateway_devices
        first = message["seq"]
        self.frames.append((stream, first, len(message["fixes"])))
        close_code = self.on_frame(stream, message)
        if close_code is not None:
            await socket.close(code=close_code)
            return
        for seq, fix in enumerate(message["fixes"], first):
            await self._store_fix(stream, seq, fix, socket)
        if not (self.holds_acks or self.forgets_acks):
            await socket.send_json({"type": "ack", "stream": stream, "seq": self.durable[stream]})

    async def _store_fix(self, stream: str, seq: int, fix: Json, socket: web.WebSocketResponse) -> None:
        if seq <= self.durable[stream]:
            if seq in self.stored[stream] and self.stored[stream][seq] != fix:
                self.contradictions.append(f"{stream} {seq}: {self.stored[stream][seq]} then {fix}")
            return
        self.durable[stream] = seq
        code = self.judge(fix)
        if code is None:
            self.stored[stream][seq] = fix
        else:
            await socket.send_json({"type": "reject", "stream": stream, "seq": seq, "code": code, "message": code})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[IngestServer]:
    server = IngestServer()
    await server.start()
    yield server
    await server.stop()
    assert server.contradictions == []
