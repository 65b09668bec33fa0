"""One socket of `/v1/ingest`, spoken by hand; and a device that keeps what is not acked and goes on from a welcome."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from tests.integration.api import Api, NewDevice

Json = dict[str, Any]
START_MS: Final = 1_750_000_000_000
ANSWER_S: Final = 30.0
RETRY_S: Final = 0.3


class Closed(ConnectionError):
    """The server closed the socket; `code` says why."""

    def __init__(self, code: int | None, reason: object) -> None:
        super().__init__(f"closed with {code}: {reason}")
        self.code = code


class Listener:
    """A socket; what the server said stands in `heard`, in order."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.heard: list[Json] = []

    async def receive(self, within_s: float | None = ANSWER_S) -> Json:
        """The next message.

        Raises:
            Closed: there is none.
        """
        message = await self.ws.receive(timeout=within_s)
        if message.type is not WSMsgType.TEXT:
            raise Closed(self.ws.close_code, message.extra or message.data)
        heard: Json = json.loads(message.data)
        self.heard.append(heard)
        return heard

    async def closed(self) -> int | None:
        """Reads on until the server closes; returns its code."""
        while True:
            try:
                await self.receive(within_s=None)
            except Closed as end:
                return end.code


class Link(Listener):
    """One of a device."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        super().__init__(ws)
        self.welcome: Json = {}

    async def send(self, message: Json | list[Json] | str | bytes) -> None:
        """A message as JSON, a text as it is, bytes as a binary frame."""
        if isinstance(message, bytes):
            await self.ws.send_bytes(message)
        else:
            await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def fixes(self, seq: int, fixes: Sequence[Json], **more: Any) -> None:
        await self.send({"type": "fixes", "seq": seq, "fixes": list(fixes), **more})

    async def expect(self, kind: str) -> Json:
        """The next message, which must be of this type."""
        message = await self.receive()
        assert message["type"] == kind, message
        return message

    async def acked(self, seq: int, stream: str | None = None) -> int:
        """Reads on until an ack covers this number; returns what was acked."""
        while True:
            message = await self.receive()
            if message["type"] == "ack" and message["seq"] >= seq and stream in (None, message["stream"]):
                return int(message["seq"])

    def of_type(self, kind: str) -> list[Json]:
        return [message for message in self.heard if message["type"] == kind]


@asynccontextmanager
async def link(
    http: ClientSession, url: str, token: str | None, stream: str | None = None, **options: Any
) -> AsyncIterator[Link]:
    """A socket without a word said yet; the server's welcome has not been read."""
    query = "" if stream is None else f"?stream={stream}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    address = f"{url.replace('http', 'ws', 1)}/v1/ingest{options.pop('query', query)}"
    async with http.ws_connect(address, headers=headers, max_msg_size=0, **options) as ws:
        yield Link(ws)


@asynccontextmanager
async def welcomed(
    http: ClientSession, url: str, token: str, stream: str | None = None, **options: Any
) -> AsyncIterator[Link]:
    """A socket that was welcomed."""
    async with link(http, url, token, stream, **options) as opened:
        opened.welcome = await opened.expect("welcome")
        yield opened


class Cab:
    """Goes where it is told, a second later each time, and waits until that is durable."""

    def __init__(self, socket: Link, device: NewDevice, start_ms: int) -> None:
        self.socket = socket
        self.id = device.id
        self.asset = device.asset
        self.time_ms = start_ms
        self.seq = int(socket.welcome["seq"])

    async def to(self, *places: tuple[float, float], **more: Any) -> None:
        """One message, a fix for each place."""
        fixes = [
            {"lon": lon, "lat": lat, "time": self.time_ms + 1000 * i, **more} for i, (lon, lat) in enumerate(places, 1)
        ]
        self.time_ms += 1000 * len(places)
        await self.send(*fixes)

    async def send(self, *fixes: Json) -> None:
        """Fixes with times of their own."""
        await self.socket.fixes(self.seq + 1, fixes)
        self.seq += len(fixes)
        await self.socket.acked(self.seq)


@asynccontextmanager
async def cab(api: Api, name: str = "cab", asset: str | None = None, start_ms: int = START_MS) -> AsyncIterator[Cab]:
    """A new device on a stream of its own."""
    device = await api.new_device(name, asset)
    async with welcomed(api.http, api.url, device.token, "S") as socket:
        yield Cab(socket, device, start_ms)


class Device:
    """Numbers its fixes from 1, keeps those that are not acked, and goes on from what a welcome says is durable."""

    def __init__(self, url: str, token: str, fixes: Sequence[Json], stream: str, per_frame: int, window: int) -> None:
        self.url = url
        self.token = token
        self.fixes = fixes
        self.stream = stream
        self.per_frame = per_frame
        self.window = window  # frames that may be without an ack
        self.acked = 0
        self.rejects: list[Json] = []
        self.broken: list[str] = []  # promises; a device of the field would lose data here

    async def run(self, http: ClientSession) -> None:
        """Until everything is acked, whatever happens to the server."""
        while self.acked < len(self.fixes):
            try:
                async with welcomed(http, self.url, self.token, self.stream) as socket:
                    await self._stream(socket)
            except (ClientError, ConnectionError, TimeoutError):
                await asyncio.sleep(RETRY_S)

    async def _stream(self, socket: Link) -> None:
        durable = int(socket.welcome["seq"])
        if durable < self.acked:
            self.broken.append(f"{self.stream}: {self.acked} were acked, and the server knows {durable}")
        self.acked = sent = durable
        while self.acked < len(self.fixes):
            while sent < len(self.fixes) and sent - self.acked < self.window * self.per_frame:
                part = self.fixes[sent : sent + self.per_frame]
                await socket.fixes(sent + 1, part, stream=self.stream)
                sent += len(part)
            await self._hear(await socket.receive(), sent)

    async def _hear(self, message: Json, sent: int) -> None:
        if message["type"] == "reject":
            self.rejects.append(message)
        elif message["type"] == "ack":
            if not self.acked <= message["seq"] <= sent:
                self.broken.append(f"{self.stream}: ack of {message['seq']} after {self.acked}, when {sent} were sent")
            self.acked = message["seq"]
