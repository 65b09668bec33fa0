"""A WebSocket client on a bare socket, which reads only when it is told to: until then its window is closed."""

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
RECEIVE_BUFFER_BYTES: Final = 4096


class Deaf:
    """Answers no pings and no goodbyes either."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._left = b""

    async def handshake(self, url: str, path: str, token: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.sock, (urlsplit(url).hostname, urlsplit(url).port))
        await loop.sock_sendall(self.sock, request.encode())
        while b"\r\n\r\n" not in self._left:
            await self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    async def send(self, message: Any) -> None:
        payload = json.dumps(message).encode()
        mask = os.urandom(4)
        length = len(payload)
        head = bytes([0x80 | TEXT])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65_536:
            head += bytes([0x80 | 126]) + struct.pack(">H", length)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", length)
        repeated = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(length)
        await asyncio.get_running_loop().sock_sendall(self.sock, head + mask + masked)

    async def receive(self) -> Any:
        """The next message; a close frame's code as a number."""
        while True:
            first, second = await self._take(2)
            length = second
            if second == 126:
                [length] = struct.unpack(">H", await self._take(2))
            elif second == 127:
                [length] = struct.unpack(">Q", await self._take(8))
            payload = await self._take(length)
            if first & 0xF == TEXT:
                return json.loads(payload)
            if first & 0xF == CLOSE:
                return int.from_bytes(payload[:2])
            assert first & 0xF == PING

    async def _take(self, count: int) -> bytes:
        while len(self._left) < count:
            await self._more()
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.sock, 65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._left += data


@asynccontextmanager
async def deaf(url: str, path: str, token: str) -> AsyncIterator[Deaf]:
    """Connected and upgraded."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        client = Deaf(sock)
        await client.handshake(url, path, token)
        yield client
