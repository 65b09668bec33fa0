"""Who watches what, without I/O: views, followed assets and event feeds, each of which builds its next message when
asked.

Nothing is queued per viewer: a subscription remembers the last change it has shown and, when its socket has room and
its
time has come, asks what changed since. So a slow viewer gets fewer, newer updates, and costs no memory.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tracker.domain.batch import Ints
from tracker.live.feed import Feed
from tracker.live.latest import Bounds, Latest
from tracker.wire import ids

TICK_S: Final = 0.05  # viewers look at most this often, whatever their max_hz


class Hub:
    """What all viewers share: the positions, the feed, and one signal that something changed."""

    def __init__(self, latest: Latest, feed: Feed) -> None:
        self.latest = latest
        self.feed = feed
        self._touched = asyncio.Event()
        self._tick = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._changed: dict[int, Ints] = {}
        self._changed_as_of = -1

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="hub")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def touch(self) -> None:
        """Something changed; viewers learn of it at the next tick."""
        self._touched.set()

    async def _run(self) -> None:
        while True:
            await self._touched.wait()
            self._touched.clear()
            self._tick.set()
            self._tick = asyncio.Event()
            await asyncio.sleep(TICK_S)

    async def wait_tick(self) -> None:
        await self._tick.wait()

    def changed_since(self, seen: int) -> Ints:
        """The assets that changed after `seen`: found once for all viewers that look at the same time."""
        if self._changed_as_of != self.latest.now:
            self._changed, self._changed_as_of = {}, self.latest.now
        if seen not in self._changed:
            self._changed[seen] = self.latest.changed_since(seen)
        return self._changed[seen]


@dataclass(slots=True)
class View:
    """A box on somebody's map."""

    id: int
    bounds: Bounds
    tags: frozenset[str]
    period_s: float
    seen: int = -1  # the last change shown; -1: a snapshot is due
    members: set[int] = field(default_factory=set)
    due: float = 0.0

    def message(self, hub: Hub) -> bytes | None:
        """The next snapshot or update, or None when there is nothing to show."""
        latest, first = hub.latest, self.seen < 0
        changed = hub.changed_since(0 if first else self.seen)
        self.seen = latest.now
        inside = [asset for asset in latest.within(changed, self.bounds).tolist() if self._admits(latest, asset)]
        if first:
            self.members = set(inside)
            return _frame("snapshot", self.id, latest, inside, ())
        left = self.members.intersection(changed.tolist()).difference(inside)
        self.members.difference_update(left)
        self.members.update(inside)
        return _frame("update", self.id, latest, inside, left) if inside or left else None

    def _admits(self, latest: Latest, asset: int) -> bool:
        about = latest.fleet.assets.get(asset)
        return about is not None and (not self.tags or not self.tags.isdisjoint(about.tags))


@dataclass(slots=True)
class Follow:
    """Some assets, wherever they go."""

    id: int
    assets: Ints
    period_s: float
    seen: int = -1
    due: float = 0.0

    def message(self, hub: Hub) -> bytes | None:
        latest, first = hub.latest, self.seen < 0
        changed = np.intersect1d(hub.changed_since(max(self.seen, 0)), self.assets)
        self.seen = latest.now
        known = [asset for asset in changed.tolist() if latest.known(asset)]
        gone = [asset for asset in changed.tolist() if not latest.known(asset)]
        if first:
            return _frame("snapshot", self.id, latest, known, ())
        return _frame("update", self.id, latest, known, gone) if known or gone else None


@dataclass(slots=True)
class Events:
    """The feed from a place on; `after` is the last event shown."""

    id: int
    after: int

    def frame(self, event: bytes) -> bytes:
        return b'{"type":"event","id":%d,"event":%b}' % (self.id, event)


def _frame(kind: str, view_id: int, latest: Latest, assets: Iterable[int], remove: Iterable[int]) -> bytes:
    entries = b",".join([latest.entry(asset) for asset in assets])
    gone = b",".join([b'"%b"' % ids.public_id(ids.ASSET, asset).encode() for asset in remove])
    return b'{"type":"%b","id":%d,"assets":[%b],"remove":[%b],"clusters":[]}' % (kind.encode(), view_id, entries, gone)
