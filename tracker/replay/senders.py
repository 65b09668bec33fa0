"""The devices of a replay while it runs: opened when their first fix is due, at most so many at once."""

import asyncio
import sys
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

import aiohttp

from tracker.sdk import Device, Fix, RejectedFix

_MOST_SOCKETS: Final = 16_000
_SPARE_FILES: Final = 100  # for everything that is not a device's socket
_ROOM_FIXES: Final = 400_000  # in memory, all devices together: some 60 MB


def socket_limit() -> int:
    """How many devices may be open at once, after asking the system for as many files as that needs."""
    if sys.platform == "win32":
        return 400
    import resource  # noqa: PLC0415 - Unix only

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_SOCKETS + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return _MOST_SOCKETS if soft == resource.RLIM_INFINITY else max(1, min(_MOST_SOCKETS, soft - _SPARE_FILES))


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the fixes so far."""

    acked: int
    rejected: int
    reject_codes: Mapping[str, int]
    problem: str | None
    """Why a device is not connected, if one is not."""


class Senders:
    """Owns the open devices, and the counts of those that were closed again."""

    def __init__(self, url: str, token: str, devices: Mapping[str, str | None]) -> None:
        """`devices` are the ids to speak for, by name; None when the token is the device's own."""
        self._url = url
        self._token = token
        self._devices = devices
        self._limit = socket_limit()
        self._room = max(64, min(8_000, _ROOM_FIXES // max(1, min(len(devices), self._limit))))
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._open: OrderedDict[str, Device] = OrderedDict()  # the least recently used first
        self._acked = 0
        self._rejected = 0
        self._reject_codes: Counter[str] = Counter()

    def counts(self) -> Counts:
        acked, rejected, problem = self._acked, self._rejected, None
        for device in self._open.values():
            stats = device.stats()
            acked += stats.acked
            rejected += stats.rejected
            if stats.last_error is not None and not stats.connected:
                problem = stats.last_error
        return Counts(acked, rejected, dict(self._reject_codes), problem)

    async def send(self, name: str, fixes: Sequence[Fix]) -> None:
        """Returns when they have room in memory: a slow server slows the replay down.

        Raises:
            DeviceStopped: the server will take nothing more of this device.
        """
        device = self._open.get(name)
        if device is None:
            if len(self._open) >= self._limit:
                await self._close_oldest(max(1, self._limit // 10))
            device = Device(
                self._url, token=self._token, gateway_for=self._devices[name], session=self._session,
                max_fixes=self._room, when_full="wait", on_reject=self._count_reject,
            )  # fmt: skip
            await device.open()
            self._open[name] = device
        self._open.move_to_end(name)
        await device.record_many(fixes)

    async def finish(self) -> None:
        """Returns when everything is acked."""
        await self._close_oldest(len(self._open))

    async def close(self) -> None:
        for device in self._open.values():
            await device.close()
        self._open.clear()
        await self._session.close()

    async def _close_oldest(self, count: int) -> None:
        names = list(islice(self._open, count))
        await asyncio.gather(*(self._open[name].drain() for name in names))
        for name in names:
            device = self._open.pop(name)
            stats = device.stats()
            self._acked += stats.acked
            self._rejected += stats.rejected
            await device.close()

    def _count_reject(self, rejected: RejectedFix) -> None:
        self._reject_codes[rejected.code] += 1
