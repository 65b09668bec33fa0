"""Where a device's fixes stand until they are acked: the buffer, and the one thread that its disk calls run in.

Recorders that come while the disk is busy share its next transaction. With a buffer in memory nothing here suspends.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tracker.sdk.buffer import Buffer, Lane, Limits, MemoryBuffer
from tracker.sdk.disk import DiskBuffer

T = TypeVar("T")


@dataclass(slots=True)
class _Group:
    """Fixes whose recorders share one disk transaction."""

    bodies: list[bytes] = field(default_factory=list)
    stored: asyncio.Task[None] | None = None


class Shelf:
    """Owns the buffer; the calls of `buffer` are made through `on_disk`, its counts may be read at any time."""

    def __init__(self, buffer: Buffer, thread: ThreadPoolExecutor | None) -> None:
        self.buffer = buffer
        self._thread = thread
        self._turn = asyncio.Lock()
        self._group = _Group()

    @classmethod
    async def open(cls, path: Path | None, limits: Limits, drain_lane: Lane) -> "Shelf":
        if path is None:
            return cls(MemoryBuffer(limits, drain_lane), None)
        thread = ThreadPoolExecutor(1, thread_name_prefix="tracker-sdk-buffer")
        try:
            opening = asyncio.get_running_loop().run_in_executor(thread, DiskBuffer, path, limits, drain_lane)
            return cls(await opening, thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def on_disk(self, work: Callable[..., T], *args: Any) -> T:
        """Run a call of the buffer where it may block."""
        if self._thread is None:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    async def store(self, bodies: Sequence[bytes], choose_lane: Callable[[int], Lane | None]) -> None:
        """Return when these are safe; `choose_lane` is asked, at the last moment, about the fixes of a transaction."""
        if self._thread is None:
            self.buffer.append(bodies, choose_lane(len(bodies)))
            return
        group = self._group
        group.bodies.extend(bodies)
        if group.stored is None:
            group.stored = asyncio.create_task(self._store(group, choose_lane), name="sdk-store")
        await asyncio.shield(group.stored)

    async def _store(self, group: _Group, choose_lane: Callable[[int], Lane | None]) -> None:
        async with self._turn:
            self._group = _Group()  # later recorders gather behind this one
            await self.on_disk(self.buffer.append, group.bodies, choose_lane(len(group.bodies)))

    async def close(self) -> None:
        async with self._turn:  # behind what is being stored
            await self.on_disk(self.buffer.close)
        if self._thread is not None:
            self._thread.shutdown()
