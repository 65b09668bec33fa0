"""Closing a WebSocket from outside of the task that reads it.

aiohttp's close(), called from another task, cuts the connection without waiting for the peer: what the peer had under
way then makes a reset of it, which swallows the close code. So a goodbye ends the reading, and the reading task closes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import web

from tracker.errors import StoreError, TrackerError, edge

log = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 5.0  # a peer that does not say goodbye by then, or does not even read ours, is cut off
MAX_REASON_BYTES: Final = 120  # a close frame has room for 123


class Goodbye:
    """One per socket: what it is closed with, once somebody has said so."""

    def __init__(self, request: web.Request) -> None:
        self.over = asyncio.Event()
        self._request = request
        self._said: tuple[int, bytes] | None = None
        self._reading = asyncio.timeout(None)
        self._listens = False

    @property
    def said(self) -> bool:
        """Whether the socket is being closed: nothing that is still read counts."""
        return self._said is not None

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._request.transport

    def say(self, code: int, reason: str) -> None:
        """Close with this code; the first one counts."""
        if self._said is None:
            self._said = code, reason.encode()[:MAX_REASON_BYTES]
            if self._listens:
                self._end_reading()

    def cut(self) -> None:
        """Close without another word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    @asynccontextmanager
    async def heeded(self, ws: web.WebSocketResponse) -> AsyncIterator[None]:
        """Around the reading of a prepared socket: a goodbye, or one of our errors, ends it and closes the socket."""
        try:
            try:
                async with self._reading:
                    self._listen()
                    try:
                        yield
                    finally:
                        self._listens = False
            except TimeoutError:
                if not self._reading.expired():
                    raise
            except StoreError as error:
                log.warning("action=socket_ended cause=%s", error)
                self.say(edge(error).close_code, "the database is away; come again")
            except TrackerError as error:
                self.say(edge(error).close_code, error.message)
            except ConnectionError as error:
                log.info("action=socket_lost cause=%s peer=%s", error, self._request.remote)
            await self._close(ws)
        finally:
            self.over.set()

    def _listen(self) -> None:
        self._listens = True
        if self.said:
            self._end_reading()

    def _end_reading(self) -> None:
        self._reading.reschedule(asyncio.get_running_loop().time())

    async def _close(self, ws: web.WebSocketResponse) -> None:
        if self._said is None:
            return
        code, reason = self._said
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await ws.close(code=code, message=reason)
        except TimeoutError:
            self.cut()


async def say_to_all(goodbyes: Iterable[Goodbye], code: int, reason: str, within_s: float) -> None:
    """Close sockets at once; those that have not ended by then are cut off."""
    leaving = list(goodbyes)
    for goodbye in leaving:
        goodbye.say(code, reason)
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for goodbye in leaving:
                await goodbye.over.wait()
    for goodbye in leaving:
        if not goodbye.over.is_set():
            goodbye.cut()
