"""What the writer tells of to whoever judges pairs of assets: durable fixes, and changes of geofences, tags and
assets, in one order.

Bounded: beyond MAX_FIXES that wait it forgets them all, and they are read from the journal, which is not filed until
they are judged.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from tracker.domain.batch import Ints
from tracker.domain.proximity import Proximity
from tracker.pipeline.prepare import Prepared

MAX_FIXES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """The fixes of a durable batch: (6, n) asset, time_ms, lon, lat, batch, flags."""

    fixes: Ints


@dataclass(frozen=True, slots=True)
class Changed:
    """A geofence around assets is another for what follows; None: it has ended."""

    id: int
    fence: Proximity | None


@dataclass(frozen=True, slots=True)
class Retagged:
    """An asset has other tags from a batch on; None: it was deleted."""

    batch: int
    asset: int
    before: frozenset[str]
    tags: frozenset[str] | None


Item: TypeAlias = Heard | Changed | Retagged


class Register:
    """The geofences around assets that are in force, and what is to be judged by them. Changed by the writer, between
    batches; taken from by the one who judges.
    """

    def __init__(self) -> None:
        self.current: dict[int, Proximity] = {}
        self.arrived = asyncio.Event()
        self.lost = True  # what waits is not all that is to be judged: the tables tell
        self.judged = -1  # the last batch that is judged; what is later must stay in the journal
        self.fixes = 0  # that wait
        self._items: list[Item] = []

    def restore(self, fences: Iterable[Proximity]) -> None:
        """What is durable, after a start or a failure."""
        self.current = {fence.id: fence for fence in fences}
        self._lose()

    def _lose(self) -> None:
        self.lost = True
        self.judged = -1
        self.fixes = 0
        self._items.clear()
        self.arrived.set()

    def may_be_filed(self, committed: int) -> int:
        """Up to which batch the journal may be filed."""
        return min(committed, self.judged) if self.current else committed

    def put(self, fence: Proximity) -> None:
        """A new geofence, or a new version of one; also one that judges as before."""
        first = not self.current
        self.current[fence.id] = fence
        if first:
            self._lose()  # nothing was listened to until now
        else:
            self._add(Changed(fence.id, fence))

    def remove(self, fence_id: int) -> None:
        """A geofence ends: it judges nothing that is stored from now on."""
        del self.current[fence_id]
        self._add(Changed(fence_id, None))

    def retag(self, asset: int, before: frozenset[str], tags: frozenset[str] | None, batch: int) -> None:
        """An asset has other tags from a batch on, or is no more."""
        if self.current:
            self._add(Retagged(batch, asset, before, tags))

    def hear(self, prepared: Prepared) -> None:
        """A batch is durable."""
        columns = prepared.columns
        if not self.current or self.lost or len(columns) == 0:
            return
        parts = (
            columns.asset,
            columns.time_ms,
            columns.lon,
            columns.lat,
            prepared.number,
            columns.flags | prepared.judgement.doubt,
        )
        self.fixes += len(columns)
        if self.fixes > MAX_FIXES:
            self._lose()
            return
        self._add(Heard(np.stack(np.broadcast_arrays(*parts)).astype(np.int64)))

    @property
    def waiting(self) -> int:
        """Batches and changes that nobody has taken."""
        return len(self._items) + (self.lost and bool(self.current))

    def _add(self, item: Item) -> None:
        if not self.lost:
            self._items.append(item)
        self.arrived.set()

    def take(self) -> list[Item]:
        """All that waits."""
        items, self._items, self.fixes = self._items, [], 0
        self.arrived.clear()
        return items
