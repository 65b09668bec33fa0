"""One lane's socket: connects, resumes, sends what the buffer holds, settles what is acked, comes back after failures.

The reader only notes what the server said; the pump alone touches the buffer and writes to the socket.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

import aiohttp
import msgspec

from tracker.sdk.backoff import Backoff
from tracker.sdk.buffer import Lane, Numbered
from tracker.sdk.errors import AccessRefused, BufferFailed, StreamTakenOver
from tracker.sdk.fixes import encode_frame
from tracker.sdk.shelf import Shelf
from tracker.wire.binary import MAGIC
from tracker.wire.device import Ack, Command, Config, Error, FromServer, Reject, SlowDown, Welcome

log = logging.getLogger("tracker.sdk")
Socket = aiohttp.ClientWebSocketResponse[Literal[False]]
Message = Welcome | Ack | Reject | Error | SlowDown | Command | Config

FRAME_FIXES: Final = 500
FRAME_BYTES: Final = 128 * 1024
FRAMES_IN_FLIGHT: Final = 4
HEARTBEAT_S: Final = 20.0  # a ping after this silence, and half of it for the pong: a dead peer is noticed within 30 s
WELCOME_S: Final = 60.0  # the server first commits what an older socket of this stream left in flight
CLOSE_S: Final = 2.0
MAX_PAUSE_S: Final = 300.0
MAX_INCOMING_BYTES: Final = 4 * 2**20

TAKEN_OVER: Final = 4009
REFUSED: Final = frozenset({4401, 4403, 4404})
UNUSABLE_CLOSES: Final = frozenset({1003, 1007, 1009})
UNKNOWN_DEVICE_CODES: Final = frozenset({"not_found", "forbidden"})
UNUSABLE_CODES: Final = frozenset({"malformed", "invalid_field", "too_large"})
_CAUTION: Final = 8  # how much smaller frames get when one was unusable

_decoder: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(FromServer)


class Owner(Protocol):
    """What a link needs of its device."""

    def connected(self, lane: Lane) -> None: ...
    def settled(self, acked: int, rejects: list[tuple[Reject, Numbered]]) -> None: ...
    def commanded(self, command: Command) -> None: ...
    def configured(self, config: dict[str, Any]) -> None: ...
    def failed(self, error: Exception) -> None: ...


class Disconnected(Exception):
    """The socket ended in a way that a new one may cure."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"the connection ended: {reason or 'no reason given'}" + (f" ({code})" if code else ""))
        self.code = code
        self.reason = reason


TEMPORARY: Final = (Disconnected, aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError, BufferFailed)


class Link:
    """Owns one socket at a time and what is in flight on it."""

    def __init__(
        self,
        lane: Lane,
        shelf: Shelf,
        owner: Owner,
        connect: Callable[[str], Awaitable[Socket]],
        backoff: Backoff,
        *,
        only_when_needed: bool,
        gateway_for: str | None = None,
    ) -> None:
        self._lane = lane
        self._buffer = shelf.buffer
        self._on_disk = shelf.on_disk
        self._owner = owner
        self._connect = connect
        self._backoff = backoff
        self._only_when_needed = only_when_needed
        self._gateway_for = gateway_for
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._parts: list[asyncio.Task[None]] = []  # reader and pump of the present socket
        self._messages: deque[bytes] = deque(maxlen=64)  # results and status; over it the oldest go
        self._rejects: dict[int, Reject] = {}
        self._outcomes: deque[tuple[int, list[Numbered]]] = deque()  # acked, and the rejected ones
        self._in_flight: deque[tuple[int, int]] = deque()  # (last seq, fixes) of each frame
        self._sent = 0
        self._acked = 0
        self._settled = 0
        self._given_up = 0
        self._slot = 0
        self._resume_at_s = 0.0
        self._full_frame = min(FRAME_FIXES, self._buffer.limits.window // FRAMES_IN_FLIGHT)
        self._frame_fixes = self._full_frame
        self.connected = False

    def wake(self) -> None:
        """Something is there to send."""
        self._wake.set()

    def say(self, message: bytes) -> None:
        """Send this message on this socket, or on the next one."""
        self._messages.append(message)
        self._wake.set()

    def hurry(self) -> None:
        """Leave the present socket, if any, and connect at once."""
        self._hurry.set()
        for part in self._parts:
            part.cancel()

    async def run(self) -> None:
        """Stay connected until the device stops for good, which is raised."""
        while True:
            await self._until_needed()
            self._hurry.clear()
            try:
                await self._converse()
            except TEMPORARY as error:
                delay_s = self._backoff.next_s()
                log.info("%s lane: %s; again in %.1f s", self._lane.name.lower(), error, delay_s)
                self._owner.failed(error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._hurry.wait()

    async def _until_needed(self) -> None:
        while self._only_when_needed and not self._buffer.unsettled(self._lane):
            self._wake.clear()
            await self._wake.wait()

    async def _converse(self) -> None:
        """One socket from its opening to its end; returns when it is no longer needed or was left on purpose."""
        socket = await self._open()
        try:
            async with asyncio.timeout(WELCOME_S):
                await self._resume(await self._welcome(socket))
            if self._hurry.is_set():
                return
            self.connected = True
            self._owner.connected(self._lane)
            await self._until_one_ends(socket)
        except Disconnected as error:
            self._judge(error)
            raise
        finally:
            self.connected = False
            self._in_flight.clear()
            await socket.close()

    async def _open(self) -> Socket:
        try:
            return await self._connect(self._buffer.stream(self._lane))
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise AccessRefused(f"the server refused this token with HTTP status {error.status}") from error
            raise

    async def _welcome(self, socket: Socket) -> Welcome:
        while True:
            message = await _receive(socket)
            if isinstance(message, Welcome):
                return message
            if isinstance(message, Error) and message.code in UNKNOWN_DEVICE_CODES:
                raise AccessRefused(f"the server refused this device: {message.message}")
            self._heed(message)

    async def _resume(self, welcome: Welcome) -> None:
        """Forget what is durable and stand where the server stands."""
        if welcome.stream != self._buffer.stream(self._lane):
            raise Disconnected(None, f"the server welcomed the stream {welcome.stream!r}, which is not ours")
        if welcome.seq >= self._buffer.next_seq(self._lane):
            # The numbers were used by a newer copy of this buffer: a restored backup, a cloned disk. Under them
            # our fixes would be taken for duplicates.
            await self._on_disk(self._buffer.renew, self._lane)
            self._rejects.clear()
            raise Disconnected(None, "the server has later fixes of this stream; going on under a new one")
        if welcome.seq < self._settled:
            log.warning("the server acked %d of this stream but has only %d", self._settled, welcome.seq)
        self._slot = welcome.slot
        self._acked = self._sent = max(welcome.seq, self._given_up)
        self._settled = -1
        await self._settle()
        if self._lane is not self._buffer.drain_lane and not self._buffer.numbered[self._lane]:
            await self._on_disk(self._buffer.promote_newest, self._lane)
        self._owner.configured(welcome.config)

    async def _until_one_ends(self, socket: Socket) -> None:
        lane = self._lane.name.lower()
        reader = asyncio.create_task(self._read(socket), name=f"sdk-{lane}-reader")
        pump = asyncio.create_task(self._pump(socket), name=f"sdk-{lane}-pump")
        self._parts = [reader, pump]
        try:
            await asyncio.wait(self._parts, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done() and not pump.cancelled() and pump.exception() is not None:
                # A write may fail before the close frame is read that says why: the code decides what comes next.
                await asyncio.wait([reader], timeout=CLOSE_S)
        finally:
            for part in self._parts:
                part.cancel()
            await asyncio.gather(*self._parts, return_exceptions=True)
            self._parts = []
        for part in (reader, pump):
            if not part.cancelled():  # cancelled: the other one ended, or the socket was left on purpose
                part.result()

    async def _read(self, socket: Socket) -> None:
        while True:
            self._heed(await _receive(socket))

    def _heed(self, message: Message) -> None:
        match message:
            case Ack():
                self._acked = max(self._acked, min(message.seq, self._sent))
                while self._in_flight and self._in_flight[0][0] <= self._acked:
                    self._in_flight.popleft()
                    self._backoff.reset()
                    self._frame_fixes = min(self._full_frame, self._frame_fixes * 2)
                self._wake.set()
            case Reject():
                self._rejects[message.seq] = message
            case SlowDown():
                pause_s = min(max(message.retry_after_s, 0.0), MAX_PAUSE_S)
                loop = asyncio.get_running_loop()
                self._resume_at_s = loop.time() + pause_s
                loop.call_at(self._resume_at_s, self._wake.set)
            case Command():
                self._owner.commanded(message)
            case Config():
                self._owner.configured(message.config)
            case Error():
                # Which message it was is not said, and no ack will come for it: start again from what is durable.
                if message.code in UNUSABLE_CODES:
                    self._send_less(message.message)
                raise Disconnected(None, f"the server answered {message.code}: {message.message}")

    async def _pump(self, socket: Socket) -> None:
        while True:
            self._wake.clear()
            await self._settle()
            await self._speak(socket)
            await self._send_frames(socket)
            if self._only_when_needed and not self._buffer.unsettled(self._lane):
                return
            await self._wake.wait()

    async def _settle(self) -> None:
        acked = self._acked
        if acked > self._settled:
            rejected = [seq for seq in self._rejects if seq <= acked]
            await self._on_disk(self._settle_up_to, acked, rejected)
            self._settled = acked
            self.report()
            for seq in rejected:
                self._rejects.pop(seq, None)

    def _settle_up_to(self, acked: int, rejected: list[int]) -> None:
        """Runs where the disk may block. Its outcome is kept, because whoever waits for it may be cancelled."""
        found = self._buffer.find(self._lane, rejected) if rejected else []
        fixes = self._buffer.settle(self._lane, acked)
        self._outcomes.append((fixes - len(found), found))

    def report(self) -> None:
        """Tell the device what has been settled since the last time."""
        while self._outcomes:
            fixes, found = self._outcomes.popleft()
            self._owner.settled(fixes, [(self._rejects[fix.seq], fix) for fix in found])

    async def _speak(self, socket: Socket) -> None:
        while self._messages:
            message = self._messages.popleft()
            try:
                await socket.send_frame(message, aiohttp.WSMsgType.TEXT)
            except BaseException:
                self._messages.appendleft(message)
                raise

    async def _send_frames(self, socket: Socket) -> None:
        while self._may_send():
            run = await self._on_disk(self._buffer.take, self._lane, self._sent, self._frame_fixes, FRAME_BYTES)
            if not run:
                return
            self._sent = run[-1].seq
            self._in_flight.append((self._sent, len(run)))
            stream, bodies = self._buffer.stream(self._lane), [fix.body for fix in run]
            frame = encode_frame(stream, run[0].seq, bodies, self._gateway_for, self._slot)
            binary = frame.startswith(MAGIC)
            await socket.send_frame(frame, aiohttp.WSMsgType.BINARY if binary else aiohttp.WSMsgType.TEXT)
            await self._settle()

    def _may_send(self) -> bool:
        """At once when nothing is in flight; else only full frames, so that small fixes gather behind an ack."""
        if asyncio.get_running_loop().time() < self._resume_at_s:
            return False
        if not self._in_flight:
            return True
        allowed = FRAMES_IN_FLIGHT if self._frame_fixes == self._full_frame else 1
        unsent = self._buffer.unsettled(self._lane) - sum(fixes for _, fixes in self._in_flight)
        return len(self._in_flight) < allowed and unsent >= self._frame_fixes

    def _judge(self, error: Disconnected) -> None:
        """Raise when no further connection can help; else leave it to the next one."""
        if error.code == TAKEN_OVER:
            raise StreamTakenOver(
                "another connection sends under this buffer's stream; is a copy of the buffer file in use elsewhere?"
            ) from error
        if error.code in REFUSED:
            raise AccessRefused(f"the server refused this device: {error.reason or error.code}") from error
        if error.code in UNUSABLE_CLOSES:
            self._send_less(error.reason)

    def _send_less(self, reason: str) -> None:
        """A frame was unusable: smaller ones until the one fix to blame is alone, which is then given up."""
        if not self._in_flight:
            return
        if self._frame_fixes > 1:
            self._frame_fixes = max(1, self._frame_fixes // _CAUTION)
            return
        seq = self._in_flight[0][0]
        self._given_up = seq
        self._rejects[seq] = Reject(self._buffer.stream(self._lane), seq, "refused_by_server", reason)


async def _receive(socket: Socket) -> Message:
    """The next message that this version knows."""
    while True:
        frame = await socket.receive()
        if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            message = _decode(frame.data)
            if message is not None:
                return message
        elif frame.type is aiohttp.WSMsgType.CLOSE:
            raise Disconnected(frame.data, frame.extra or "")
        elif frame.type is aiohttp.WSMsgType.ERROR:
            raise Disconnected(socket.close_code, str(frame.data))
        else:
            raise Disconnected(socket.close_code, "lost")


def _decode(data: bytes) -> Message | None:
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        # A later server may say more than this SDK knows.
        log.info("ignored a message from the server: %s", error)
        return None
