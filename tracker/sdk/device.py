"""The device as an application sees it: record fixes, and they arrive; commands, config and rejects come back.

Owns the shelf that keeps the fixes, and one link per lane. What is recorded is safe first and sent second.
"""

import asyncio
import logging
import random as random_module
import time as time_module
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
from yarl import URL

from tracker.errors import InvalidField
from tracker.sdk.backoff import Backoff
from tracker.sdk.buffer import Lane, Limits, Numbered
from tracker.sdk.commands import Commands, OnCommand
from tracker.sdk.errors import DeviceClosed, DeviceStopped
from tracker.sdk.fixes import MAX_BODY_BYTES, encode_fix, make_fix
from tracker.sdk.link import CLOSE_S, HEARTBEAT_S, MAX_INCOMING_BYTES, Link, Socket
from tracker.sdk.shelf import Shelf
from tracker.wire.device import Command, Fix, Hello, Reject, Status

log = logging.getLogger("tracker.sdk")

_CHUNK: Final = 500  # fixes stored together when record_many waits for room
_CONNECT_S: Final = 20.0
# Devices that share a session stand in line, so that a thousand of them do not knock at one door in the same moment.
_HANDSHAKES_AT_ONCE: Final = 32
_handshakes: WeakKeyDictionary[aiohttp.ClientSession, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """A device's counts at one moment; all but `pending` and `dropped` since it was opened."""

    recorded: int
    pending: int
    acked: int
    rejected: int
    dropped: int
    """Lost for want of room, since the buffer was made."""
    connected: bool
    last_error: str | None
    """Why the last connection ended or could not be made."""


@dataclass(frozen=True, slots=True)
class RejectedFix:
    """A fix that the server refused for good; it has left the buffer."""

    code: str
    message: str
    fix: Fix


class Device:
    """One device's connection to the server, with its buffer.

    With `gateway_for` the token is a gateway's, and this is the id of the device that it speaks for here.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str,
        buffer: str | Path | None = None,
        gateway_for: str | None = None,
        newest_first: bool = False,
        max_fixes: int = 1_000_000,
        max_bytes: int = 256 * 2**20,
        when_full: Literal["drop_oldest", "wait"] = "drop_oldest",
        session: aiohttp.ClientSession | None = None,
        on_command: OnCommand | None = None,
        on_config: Callable[[dict[str, Any]], None] | None = None,
        on_reject: Callable[[RejectedFix], None] | None = None,
        on_stop: Callable[[DeviceStopped], None] | None = None,
        clock: Callable[[], float] = time_module.time,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._url = ingest_url(url)
        if not token.isascii() or not token.isprintable() or not token:
            raise InvalidField("token must be the text that the server gave for this device", field="token")
        self._token = token
        self._path = None if buffer is None else Path(buffer)
        self._gateway_for = gateway_for
        self._newest_first = newest_first
        self._limits = Limits(max_fixes, max_bytes)
        if self._limits.window < 4:
            raise InvalidField(
                f"a buffer needs room for 16 fixes and {16 * MAX_BODY_BYTES} bytes at least; "
                f"max_fixes is {max_fixes}, max_bytes is {max_bytes}",
                field="max_fixes",
            )
        self._when_full = when_full
        self._session = session
        self._own_session: aiohttp.ClientSession | None = None
        self._on_config = on_config
        self._on_reject = on_reject
        self._on_stop = on_stop
        self._clock = clock
        self._random = random
        self._commands = Commands(on_command, self._answer)
        self._shelf: Shelf | None = None
        self._links: dict[Lane, Link] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._room_turn = asyncio.Lock()
        self._waiters: set[asyncio.Future[None]] = set()
        self._stopped: DeviceStopped | None = None
        self._closing = False
        self._status: bytes | None = None
        self._config: dict[str, Any] = {}
        self._recorded = self._acked = self._rejected = 0
        self._last_error: str | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the buffer and start connecting; does not wait for the server. A device is opened once."""
        if self._shelf is not None or self._closing:
            raise DeviceClosed("a device is opened once; make a new one")
        drain_lane = Lane.BACKLOG if self._newest_first else Lane.LIVE
        self._shelf = await Shelf.open(self._path, self._limits, drain_lane)
        session = self._session
        if session is None:
            session = self._own_session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._spawn(self._commands.run(), "sdk-commands")
        for lane in Lane:
            # The backlog lane also empties what a former newest-first run of this buffer left on it.
            if lane is Lane.LIVE or self._newest_first or self._shelf.buffer.numbered[lane]:
                backoff = Backoff(self._random)
                connect = partial(self._connect, session)
                self._links[lane] = Link(
                    lane,
                    self._shelf,
                    self,
                    connect,
                    backoff,
                    only_when_needed=lane is Lane.BACKLOG,
                    gateway_for=self._gateway_for,
                )
                self._spawn(self._links[lane].run(), f"sdk-{lane.name.lower()}")

    async def close(self) -> None:
        """Stop sending and close the buffer; what is pending stays on disk, or is lost with a buffer in memory."""
        if self._closing or self._shelf is None:
            return
        self._closing = True
        self._notify()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._own_session is not None:
            await self._own_session.close()
        await self._shelf.close()
        for link in self._links.values():
            link.report()
        if self._path is None and self._shelf.buffer.pending:
            log.warning("closed with %d fixes in memory that the server has not acked", self._shelf.buffer.pending)

    async def record(
        self,
        lon: float,
        lat: float,
        *,
        time: float | datetime | None = None,
        alt_m: float | None = None,
        accuracy_m: float | None = None,
        speed_mps: float | None = None,
        course_deg: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Take one fix, by default of now; returns when the buffer has it safely."""
        fix = make_fix(
            lon, lat, time=time, alt_m=alt_m, accuracy_m=accuracy_m,
            speed_mps=speed_mps, course_deg=course_deg, attributes=attributes,
        )  # fmt: skip
        await self._record([encode_fix(fix, self._now_ms())])

    async def record_many(self, fixes: Iterable[Fix | Mapping[str, Any]]) -> None:
        """Take many fixes at once, all or none of them when one is not valid; a mapping has the names of `record`."""
        made = (fix if isinstance(fix, Fix) else make_fix(**fix) for fix in fixes)
        now_ms = self._now_ms()
        bodies = [encode_fix(fix, now_ms) for fix in made]
        if bodies:
            await self._record(bodies)

    async def drain(self) -> None:
        """Return when everything recorded is acked; raises DeviceStopped when that cannot happen any more."""
        buffer = self._open_shelf().buffer
        await self._until(lambda: buffer.pending == 0)

    def status(self, *, battery: float | None = None, reason: str | None = None) -> None:
        """Tell the server how this device is; the latest status is said again on every new connection."""
        if battery is not None and not 0.0 <= battery <= 1.0:
            raise InvalidField(f"battery must be from 0 to 1, not {battery!r}", field="battery")
        if reason is not None and len(reason) > 200:
            raise InvalidField(f"reason may have 200 characters, not {len(reason)}", field="reason")
        self._open_shelf()
        self._status = msgspec.json.encode(Status(battery, reason, self._gateway_for))
        if self._links[Lane.LIVE].connected:
            self._links[Lane.LIVE].say(self._status)

    def network_changed(self) -> None:
        """The operating system has another network now: connect anew at once instead of waiting for the heartbeat."""
        for link in self._links.values():
            link.hurry()

    def stats(self) -> DeviceStats:
        buffer = self._open_shelf().buffer
        return DeviceStats(
            recorded=self._recorded,
            pending=buffer.pending,
            acked=self._acked,
            rejected=self._rejected,
            dropped=buffer.dropped,
            connected=self._links[Lane.LIVE].connected,
            last_error=self._last_error,
        )

    async def _record(self, bodies: Sequence[bytes]) -> None:
        shelf = self._open_shelf()
        if self._when_full == "drop_oldest":
            await self._store(shelf, bodies)
            return
        step = min(_CHUNK, self._limits.window)
        for start in range(0, len(bodies), step):
            chunk = bodies[start : start + step]
            async with self._room_turn:  # so that two recorders do not both take the same room
                await self._until(partial(shelf.buffer.has_room, len(chunk), sum(map(len, chunk))))
                await self._store(shelf, chunk)

    async def _store(self, shelf: Shelf, bodies: Sequence[bytes]) -> None:
        await shelf.store(bodies, self._direct_lane)
        self._recorded += len(bodies)
        for link in self._links.values():
            link.wake()

    def _direct_lane(self, fixes: int) -> Lane | None:
        """LIVE when these fixes can be numbered as they are stored, which saves a second disk transaction."""
        buffer = self._open_shelf().buffer
        in_order = self._newest_first or not buffer.waiting
        fits = buffer.numbered[Lane.LIVE] + fixes <= self._limits.window
        return Lane.LIVE if self._links[Lane.LIVE].connected and in_order and fits else None

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _open_shelf(self) -> Shelf:
        if self._shelf is None or self._closing:
            raise DeviceClosed("the device is not open; use it inside `async with Device(…) as device:`")
        return self._shelf

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._stopped is not None:
                raise self._stopped.with_traceback(None)
            self._open_shelf()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def _notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None or self._stopped is not None:
            return
        if not isinstance(error, DeviceStopped):
            log.error("the device SDK failed; please report this", exc_info=error)
        self._stopped = error if isinstance(error, DeviceStopped) else DeviceStopped(f"the SDK failed: {error!r}")
        self._last_error = str(self._stopped)
        for other in self._tasks:
            other.cancel()
        self._notify()
        self._call(self._on_stop, self._stopped)

    def _answer(self, message: bytes) -> None:
        self._links[Lane.LIVE].say(message)

    def _call(self, function: Callable[..., None] | None, *args: Any) -> None:
        if function is None:
            return
        try:
            function(*args)
        except Exception:
            # The application's mistake must not stop its fixes.
            log.exception("a callback of the application failed")

    async def _connect(self, session: aiohttp.ClientSession, stream: str) -> Socket:
        async with _handshakes.setdefault(session, asyncio.Semaphore(_HANDSHAKES_AT_ONCE)), asyncio.timeout(_CONNECT_S):
            socket = await session.ws_connect(
                self._url if self._gateway_for else self._url.update_query(stream=stream),
                headers={"Authorization": f"Bearer {self._token}"},
                heartbeat=HEARTBEAT_S,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                max_msg_size=MAX_INCOMING_BYTES,
                decode_text=False,
            )
        if self._gateway_for is not None:
            await socket.send_frame(msgspec.json.encode(Hello(stream, self._gateway_for)), aiohttp.WSMsgType.TEXT)
        return socket

    # What the links call.

    def connected(self, lane: Lane) -> None:
        if lane is Lane.LIVE:
            if self._status is not None:
                self._links[lane].say(self._status)
            backlog = self._links.get(Lane.BACKLOG)
            if backlog is not None and not backlog.connected:
                backlog.hurry()  # the server is there again

    def settled(self, acked: int, rejects: list[tuple[Reject, Numbered]]) -> None:
        self._acked += acked
        self._rejected += len(rejects)
        self._notify()
        for reject, numbered in rejects:
            fix = msgspec.json.decode(numbered.body, type=Fix)
            self._call(self._on_reject, RejectedFix(reject.code, reject.message, fix))

    def commanded(self, command: Command) -> None:
        self._commands.accept(command)

    def configured(self, config: dict[str, Any]) -> None:
        if config != self._config:  # two sockets bring the same one
            self._config = config
            self._call(self._on_config, config)

    def failed(self, error: Exception) -> None:
        self._last_error = str(error) or type(error).__name__


def ingest_url(url: str) -> URL:
    """The address of the ingest door, from the server's address or from its own."""
    parsed = URL(url)
    if parsed.scheme not in ("http", "https", "ws", "wss") or not parsed.host:
        raise InvalidField(f"url must be like https://tracker.example.com, not {url!r}", field="url")
    return parsed if parsed.path.endswith("/v1/ingest") else parsed / "v1/ingest"
