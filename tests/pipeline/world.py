"""The journey without its database: real streams, batches and answers, and a ledger in the place of PostgreSQL."""

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

from tracker.domain.fleet import Asset, Device, Fleet
from tracker.domain.index import FenceIndex
from tracker.domain.presence import Presence
from tracker.live.feed import Feed
from tracker.live.latest import Latest
from tracker.pipeline.commit import _split
from tracker.pipeline.intake import Intake, OpenBatch
from tracker.pipeline.prepare import Clock, Prepared, prepare
from tracker.pipeline.publish import Publisher
from tracker.pipeline.stream import Lane, Lanes, Source
from tracker.wire.binary import binary_frame
from tracker.wire.device import Fix

NOW_MS = 1_790_000_000_000


def is_bad(seq: int) -> bool:
    return seq % 7 == 3


def identity(stream_id: int, seq: int) -> int:
    """The time of a fix tells which one it is."""
    return stream_id * 1_000_000 + seq


def numbered(stream_id: int, seq: int, count: int, **head: Any) -> bytes:
    """The fixes seq, seq + 1, …; they are the same whenever they are sent."""
    fixes = [
        {"lon": 1.0, "lat": 400.0 if is_bad(each) else 2.0, "time": identity(stream_id, each)}
        for each in range(seq, seq + count)
    ]
    return json.dumps({"type": "fixes", "seq": seq, "fixes": fixes, **head}).encode()


def numbered_in_binary(stream_id: int, seq: int, count: int, slot: int = 0) -> bytes:
    """The same fixes."""
    fixes = [Fix(1.0, 100.0 if is_bad(each) else 2.0, identity(stream_id, each)) for each in range(seq, seq + count)]
    return binary_frame(fixes, seq, slot)


class Socket:
    """A source, and what it was told."""

    def __init__(self, *, gateway: bool = False) -> None:
        self.told: list[dict[str, Any]] = []
        self.source = Source(self.hear, gateway=gateway, on_superseded=self.supersede)
        self.superseded = False

    def hear(self, messages: Sequence[bytes]) -> None:
        self.told += [json.loads(message) for message in messages]

    def supersede(self) -> None:
        self.superseded = True

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == kind]


def fleet_of(devices: int = 3, assets: int = 2) -> Fleet:
    """Devices 1, 2, … on assets 1 and 2 in turn; the first of each is active."""
    fleet = Fleet()
    for number in range(1, assets + 1):
        fleet.put_asset(Asset(number, f"asset {number}", active_device=number))
    for number in range(1, devices + 1):
        fleet.put_device(Device(number, f"device {number}", (number - 1) % assets + 1))
    return fleet


class World:
    """What the writer does, step by step. `ledger` holds the batches that are durable."""

    def __init__(self) -> None:
        self.fleet = fleet_of()
        self.lanes = Lanes()
        self.intake = Intake()
        self.publisher = Publisher(Latest(self.fleet), Feed())
        self.index = FenceIndex()
        self.presence = Presence()
        self.clock = Clock()
        self.now_ms = NOW_MS
        self.number = 0
        self.ledger: list[Prepared] = []
        self.filed = 0
        self.waiting: deque[OpenBatch] = deque()
        self.in_flight: tuple[OpenBatch, Prepared] | None = None

    # Doors

    def stream_id(self, device: int, name: str) -> int:
        return device * 100 + int(name.removeprefix("s"))

    def open(self, socket: Socket, device: int, name: str | None) -> Lane:
        """As admission does it; the table `stream` knows what is filed."""
        about = self.fleet.devices[device]
        if name is None:
            lane = Lane(about, f"server-{id(socket)}-{device}", None, source=socket.source)
            self.lanes.add(lane)
        else:
            found = self.lanes.get(device, name)
            if found is None:
                stored = self.stored_cursor(device, name, self.filed)
                found = Lane(about, name, self.stream_id(device, name), prepared=stored, durable=stored)
                self.lanes.add(found)
            lane = found
        socket.source.open(lane)
        lane.source = socket.source
        if socket.source.default is None and not socket.source.gateway:
            socket.source.default = lane
        return lane

    def stored_cursor(self, device: int, name: str, up_to: int) -> int:
        cursors = [
            seq
            for batch in self.ledger
            if batch.number <= up_to
            for lane, (seq, _) in batch.cursors.items()
            if (lane.device.id, lane.name) == (device, name)
        ]
        return max(cursors, default=0)

    def send(self, socket: Socket, message: bytes) -> None:
        self.intake.put(socket.source, message)

    # The writer

    def prepared(self, batch: OpenBatch) -> Prepared:
        self.number += 1
        return prepare(
            batch.sources,
            batch.frames,
            number=self.number,
            now_ms=self.now_ms,
            fleet=self.fleet,
            presence=self.presence,
            index=self.index,
            clock=self.clock,
            refusal=batch.refusal,
        )

    def begin(self, outcome: str = "committed") -> None:
        """Prepare the next batch while the one before it commits, which ends as said."""
        if not self.waiting and self.intake.empty:
            self.settle(outcome)
            return
        if not self.waiting:
            self.waiting.append(self.intake.take())
        prepared = self.prepared(self.waiting[0])
        if self.settle(outcome):
            self.in_flight = (self.waiting.popleft(), prepared)

    def settle(self, outcome: str = "committed") -> bool:
        """The commit under way ends: committed, committed but not heard of, lost, or refused. True: all is well."""
        if self.in_flight is None:
            return True
        (batch, prepared), self.in_flight = self.in_flight, None
        nothing = prepared.changes_nothing
        if outcome in ("committed", "unheard") and not nothing:
            self.ledger.append(prepared)
        if outcome == "committed" or nothing:
            self.publisher.publish(prepared, [])
            return True
        if outcome == "unheard":
            self.publisher.publish(prepared, [])
        elif outcome == "refused" and batch.refusal is None:
            self.waiting.extendleft(reversed(_split(batch, ValueError())))
        else:
            self.waiting.appendleft(batch)
        self.recover()
        return False

    def recover(self) -> None:
        unfiled: dict[int, int] = {}
        for batch in self.ledger:
            for lane, (seq, _) in batch.cursors.items():
                if lane.stream_id is not None and batch.number > self.filed:
                    unfiled[lane.stream_id] = max(seq, unfiled.get(lane.stream_id, 0))
        self.number = max([self.filed, *(batch.number for batch in self.ledger)])
        self.lanes.rewind(unfiled)

    def file(self, up_to: int) -> None:
        self.filed = max(self.filed, up_to)
        self.lanes.forget_filed(self.filed)

    def drain(self) -> None:
        while self.in_flight or self.waiting or not self.intake.empty:
            self.begin()
