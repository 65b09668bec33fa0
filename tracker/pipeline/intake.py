"""The open batch: frames from every door until the writer takes them, all at once.

While one batch commits, the next one fills: no timer, so little delay when there is little to do and large batches when
there is much. It is bounded in frames and bytes; a door that finds it full stops reading its sockets until there is
room.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from tracker.pipeline.stream import Source
from tracker.wire.binary import MAGIC, SLOT_BYTES
from tracker.wire.device import Refusal

MAX_FRAMES: Final = 16_384
MAX_BYTES: Final = 32 * 1024 * 1024
BATCH_FRAMES: Final = 4_096
BATCH_BYTES: Final = 1024 * 1024
# What costs time is not bytes but fixes, and the cheapest measure of those in a text is the comma: a thousand ordinary
# fixes have six thousand, a thousand fixes that are none have one thousand in two kilobytes. Binary fixes count as six.
BATCH_COMMAS: Final = 60_000
_COMMAS_A_FIX: Final = 6


@dataclass(slots=True)
class OpenBatch:
    """Parallel lists: frame i came from source i."""

    sources: list[Source] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    bytes: int = 0
    commas: int = 0
    refusal: Refusal | None = None  # the database refused it whole: its fixes are rejected with this


@dataclass(frozen=True, slots=True)
class IntakeStats:
    frames: int
    bytes: int
    waiting_doors: int


class Intake:
    """One open batch at a time; what does not fit in it stands in the next ones, in order."""

    def __init__(self) -> None:
        self._batches: list[OpenBatch] = [OpenBatch()]
        self._frames = 0
        self._bytes = 0
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._waiting = 0
        self._closed = False
        self._held = False
        self.arrived = asyncio.Event()

    @property
    def full(self) -> bool:
        return self._closed or self._held or self._frames >= MAX_FRAMES or self._bytes >= MAX_BYTES

    def close(self) -> None:
        """Full for good: doors read nothing more, and what was taken in is the last."""
        self._closed = True
        self._room.clear()

    def hold(self, held: bool) -> None:  # noqa: FBT001 - heard from the filer
        """Full for as long as more is durable than can be filed; what was taken in is still committed."""
        self._held = held
        if held:
            self._room.clear()
        elif not self.full:
            self._room.set()

    @property
    def empty(self) -> bool:
        return self._frames == 0

    def put(self, source: Source, frame: bytes) -> None:
        """Add a frame to the open batch. The caller has seen that there is room."""
        batch = self._batches[-1]
        if len(batch.frames) >= BATCH_FRAMES or batch.bytes >= BATCH_BYTES or batch.commas >= BATCH_COMMAS:
            batch = OpenBatch()
            self._batches.append(batch)
        source.queued += 1
        batch.sources.append(source)
        batch.frames.append(frame)
        batch.bytes += len(frame)
        batch.commas += len(frame) // SLOT_BYTES * _COMMAS_A_FIX if frame.startswith(MAGIC) else frame.count(b",")
        self._frames += 1
        self._bytes += len(frame)
        self.arrived.set()
        if self.full:
            self._room.clear()

    async def wait_room(self) -> None:
        """Until the intake is no longer full."""
        self._waiting += 1
        try:
            await self._room.wait()
        finally:
            self._waiting -= 1

    def take(self) -> OpenBatch:
        """The oldest batch; the writer owns it from now on."""
        batch = self._batches.pop(0)
        if not self._batches:
            self._batches.append(OpenBatch())
        self._frames -= len(batch.frames)
        self._bytes -= batch.bytes
        if self._frames == 0:
            self.arrived.clear()
        # Half empty before anybody reads again: doors are woken seldom, not at every frame.
        if not self._closed and not self._held and self._frames <= MAX_FRAMES // 2 and self._bytes <= MAX_BYTES // 2:
            self._room.set()
        return batch

    def stats(self) -> IntakeStats:
        return IntakeStats(self._frames, self._bytes, self._waiting)
