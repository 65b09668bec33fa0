"""How fixes reach the server. Each habit does its mischief beneath the SDK, so that buffers and lanes really work."""

import errno
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from tracker.fleet.roster import Habit
from tracker.sdk import Device, DeviceStopped

OnStop = Callable[[DeviceStopped], None]


class Carrier:
    """A device that is always in reach."""

    def __init__(self, url: str, token: str, session: aiohttp.ClientSession, on_stop: OnStop) -> None:
        self._device = Device(url, token=token, session=session, on_stop=on_stop)

    async def open(self) -> None:
        await self._device.open()

    async def set_reach(self, *, in_reach: bool) -> None:
        """Called before every fix; harmless to repeat."""

    async def record(self, fixes: Sequence[dict[str, Any]]) -> None:
        await self._device.record_many(fixes)

    async def drain(self) -> None:
        await self._device.drain()

    async def close(self) -> None:
        await self._device.close()

    def counts(self) -> tuple[int, int]:
        """(acked, pending)."""
        stats = self._device.stats()
        return stats.acked, stats.pending


class LateCarrier(Carrier):
    """A device with a network of its own: out of reach no socket opens and none stays open, but recording goes on."""

    def __init__(self, url: str, token: str, on_stop: OnStop, *, newest_first: bool) -> None:
        self._in_reach = True
        # aiohttp wants a running event loop here, so a carrier is made inside one.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, socket_factory=self._socket))
        self._device = Device(url, token=token, session=self._session, newest_first=newest_first, on_stop=on_stop)

    async def set_reach(self, *, in_reach: bool) -> None:
        if self._in_reach != in_reach:
            self._in_reach = in_reach
            self._device.network_changed()

    async def close(self) -> None:
        await super().close()
        await self._session.close()

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        if not self._in_reach:
            raise OSError(errno.ENETUNREACH, "the simulated network is out of reach")
        return socket.socket(address[0], address[1], address[2])


class RestartingCarrier(Carrier):
    """A device that is switched off and on: out of reach it records nothing, and then opens the buffer that it left."""

    def __init__(self, url: str, token: str, session: aiohttp.ClientSession, on_stop: OnStop, buffer: Path) -> None:
        self._make = partial(Device, url, token=token, session=session, on_stop=on_stop, buffer=buffer)
        self._device = self._make()
        self._running = True
        self._acked_before = 0
        self._left = 0

    async def set_reach(self, *, in_reach: bool) -> None:
        if in_reach and not self._running:
            self._device = self._make()
            await self._device.open()
        elif self._running and not in_reach:
            acked, self._left = self.counts()
            self._acked_before = acked
            await self._device.close()
        self._running = in_reach

    async def record(self, fixes: Sequence[dict[str, Any]]) -> None:
        if self._running:
            await super().record(fixes)

    async def drain(self) -> None:
        if self._running:
            await super().drain()

    def counts(self) -> tuple[int, int]:
        if not self._running:
            return self._acked_before, self._left
        acked, pending = super().counts()
        return self._acked_before + acked, pending


def carrier(
    habit: Habit, url: str, token: str, session: aiohttp.ClientSession, on_stop: OnStop, buffer: Path
) -> Carrier:
    """The carrier of this habit; `buffer` is a file that does not exist yet, used by those that restart."""
    match habit:
        case Habit.STEADY:
            return Carrier(url, token, session, on_stop)
        case Habit.REBOOTS:
            return RestartingCarrier(url, token, session, on_stop, buffer)
        case Habit.LATE_IN_ORDER | Habit.LATE_NEWEST_FIRST:
            return LateCarrier(url, token, on_stop, newest_first=habit is Habit.LATE_NEWEST_FIRST)
