"""The way to the database as a network that can be cut: a TCP port in front of PostgreSQL's Unix socket."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Network:
    """While it is cut, open connections are reset and new ones are refused.

    It can lose the answer to the next message that holds a certain text: the sender does not know what came of it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._database = parts.path
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._lose_answer_to: bytes | None = None

    def lose_answer_to(self, text: bytes) -> None:
        self._lose_answer_to = text

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}{self._database}?sslmode=disable"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        ends = {writer, far_writer}
        self._writers |= ends
        lost = asyncio.Event()
        try:
            await asyncio.gather(self._ask(reader, far_writer, lost), _answer(far_reader, writer, lost))
        finally:
            self._writers -= ends

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        with _aborted(writer):
            while data := await reader.read(65_536):
                if self._lose_answer_to is not None and self._lose_answer_to in data:
                    self._lose_answer_to = None
                    lost.set()
                writer.write(data)
                await writer.drain()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
    with _aborted(writer):
        while data := await reader.read(65_536):
            if not lost.is_set():
                writer.write(data)
                await writer.drain()


@contextmanager
def _aborted(writer: asyncio.StreamWriter) -> Iterator[None]:
    """An end that breaks breaks the other."""
    try:
        yield
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
