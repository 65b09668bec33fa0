"""Numbered streams in memory: how far each one is prepared and how far it is durable, and who speaks for it.

A Lane outlives its sockets until everything of it is filed. A Source is one socket or one POST; frames of a source are
answered through it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tracker.domain.fleet import Device
from tracker.errors import InvalidField
from tracker.wire import ids
from tracker.wire.device import ack_head
from tracker.wire.frames import Message
from tracker.wire.packed import Block


@dataclass(slots=True, eq=False)
class Lane:
    """One device's stream. stream_id is None for a stream that the server named: it ends with its socket."""

    device: Device
    name: str
    stream_id: int | None
    session: int = 0
    prepared: int = 0  # the last number in a prepared batch
    durable: int = 0  # the last number in a committed one
    last_batch: int = -1
    known_at: int = -1  # the version of the fleet that `about` was read from
    about: tuple[float, ...] = ()  # what `prepare` asks about the device and its asset
    _ack_heads: dict[bool, bytes] = field(default_factory=dict)
    source: "Source | None" = None  # the socket that speaks for it now
    users: "list[Source]" = field(default_factory=list)  # those that may still have frames of it under way

    def ack(self, *, gateway: bool) -> bytes:
        """Everything up to `durable` is settled. On a gateway's socket it names the device."""
        head = self._ack_heads.get(gateway)
        if head is None:
            device = ids.public_id(ids.DEVICE, self.device.id) if gateway else None
            head = self._ack_heads[gateway] = ack_head(self.name, device)
        return b"%b%d}" % (head, self.durable)


@dataclass(slots=True, eq=False)
class Source:
    """Where frames come from and answers go to."""

    send: Callable[[Sequence[bytes]], None]  # never blocks; the door bounds what is not yet written
    gateway: bool = False  # answers name their device
    default: Lane | None = None
    lanes: dict[tuple[int, str], Lane] = field(default_factory=dict)
    slots: list[Lane] = field(default_factory=list)  # the same, by the numbers that binary frames call them
    queued: int = 0  # frames taken in whose batch is not yet committed
    on_superseded: Callable[[], None] = lambda: (
        None
    )  # a newer socket took a stream over: the door closes this one with 4009
    _waiting: "list[asyncio.Future[None]]" = field(default_factory=list)
    _released: bool = False

    def open(self, lane: Lane) -> None:
        if (lane.device.id, lane.name) not in self.lanes:
            self.lanes[lane.device.id, lane.name] = lane
            self.slots.append(lane)
            lane.users.append(self)

    def release(self) -> None:
        """The socket ended; its streams are let go when the last of its frames is answered."""
        self._released = True
        self._let_go()

    def _let_go(self) -> None:
        if not self._released or self.queued:
            return
        for lane in self.lanes.values():
            lane.users.remove(self)
            if lane.source is self:
                lane.source = None
        self.lanes.clear()
        self.slots.clear()

    def slot_of(self, lane: Lane) -> int:
        """What binary frames on this socket call an open stream."""
        return self.slots.index(lane)

    def lane_of(self, message: Message | Block) -> Lane | None:
        """The open stream that a message is for; None when it names one that is not open here."""
        if isinstance(message, Block):
            return self.slots[message.slot] if message.slot < len(self.slots) else None
        lane = self.default
        if message.device is None and (message.stream is None or (lane is not None and message.stream == lane.name)):
            return lane
        device_id = lane.device.id if lane is not None else -1
        if message.device is not None:
            try:
                device_id = ids.number_of(ids.DEVICE, message.device)
            except InvalidField:
                return None
        if message.stream is not None:
            return self.lanes.get((device_id, message.stream))
        return next((each for each in self.lanes.values() if each.device.id == device_id), None)

    def settled(self, frames: int) -> None:
        """Some frames are answered; wakes whoever waits for silence."""
        self.queued -= frames
        if self.queued == 0:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            self._let_go()

    async def quiet(self) -> None:
        """Until nothing of this source is under way."""
        if self.queued:
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]


class Lanes:
    """Every stream that is open, or not filed yet, by device and name."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[int, str], Lane] = {}
        self._by_stream: dict[int, Lane] = {}
        self.forgotten = 0  # how often lanes were dropped: what was read of them before may be old

    def __len__(self) -> int:
        return len(self._lanes)

    def get(self, device_id: int, name: str) -> Lane | None:
        return self._lanes.get((device_id, name))

    def add(self, lane: Lane) -> None:
        self._lanes[lane.device.id, lane.name] = lane
        if lane.stream_id is not None:
            self._by_stream[lane.stream_id] = lane

    def rewind(self, durable: dict[int, int]) -> None:
        """After an unknown outcome: what the database holds is the truth for every numbered stream."""
        for stream_id, lane in self._by_stream.items():
            lane.durable = max(lane.durable, durable.get(stream_id, 0))
        for lane in self._lanes.values():
            lane.prepared = lane.durable

    def forget_filed(self, filed_batch: int) -> None:
        """Drop the lanes that nobody uses and whose cursor the table `stream` holds by now."""
        for key, lane in [(key, lane) for key, lane in self._lanes.items() if not lane.users]:
            filed = lane.stream_id is None or lane.last_batch <= filed_batch
            if filed and lane.prepared == lane.durable:
                del self._lanes[key]
                self.forgotten += 1
                if lane.stream_id is not None:
                    self._by_stream.pop(lane.stream_id, None)
