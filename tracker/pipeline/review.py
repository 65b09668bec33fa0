"""A review: the stored fixes of a late asset read and judged again beside ingest, from the last state before what is
late to the first after it that agrees, or to the end.

Nothing is written here. What is found goes to `tell` when it is much, so that neither memory nor a transaction grows
with the length of what is late.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np

from tracker.domain.fix import OLDEST_MS
from tracker.domain.fold import Fold, FullKey, Turning, key_of, keys_of
from tracker.domain.presence import AssetState
from tracker.pipeline.commit import Writer
from tracker.pipeline.findings import CHECKPOINT_EVERY
from tracker.pipeline.stretch import LAST_MS, MAX_FOUND, Stretch, between, parted
from tracker.store import fixes, revision
from tracker.store.database import Connection, Database
from tracker.store.fixes import Stored
from tracker.store.revision import Checkpoint, Late
from tracker.store.sql import sql

WINDOW_FIXES: Final = 5_000  # read at once
AT_MOST_S: Final = 0.005  # without a pause, about
REST: Final = 2  # times as long everything else has its turn after each piece of work
FEWEST: Final = 16  # fixes without a pause
NEAR_BATCHES: Final = 20  # as many with fixes of the asset are left for the writer to judge on top

Tell = Callable[[Stretch], Awaitable[None]]


async def review(database: Database, writer: Writer, asset: int, tell: Tell) -> Stretch | None:
    """Judge an asset again; None: nothing is late, or the asset is gone.

    Args:
        tell: writes what was found so far.
    """
    return await _Review(database, writer, tell).run(asset)


async def catch_up(connection: Connection, writer: Writer, stretch: Stretch, until_batch: int) -> int:
    """Judge on top what was stored since it was read, up to a batch: batch by batch, and changes in between; returns
    how many batches there were.
    """
    trusted = stretch.fold.state.trusted.newest
    from_ms = OLDEST_MS if trusted is None else trusted.time_ms
    if stretch.on_top_ms is None:
        stretch.on_top_ms = from_ms
    stored = await fixes.read(connection, stretch.asset, from_ms, LAST_MS, after_batch=stretch.caught)
    stored = stored.take(stored.batch <= until_batch)
    stretch.turn_until(None, until_batch)
    stretch.fold.tags = await revision.tags(connection, stretch.asset, writer.fleet.assets[stretch.asset].tags)
    known = stretch.fold.changes(stored.columns)
    changes = sorted((batch, fence) for fence, batch in known if stretch.caught < batch <= until_batch)
    batches = np.unique(stored.batch).tolist()
    for batch in batches:
        while changes and changes[0][0] <= batch:
            stretch.turn_now(*changes.pop(0))
        stretch.judge_on_top(stored.take(stored.batch == batch), batch)
        await asyncio.sleep(0)
    for each in changes:
        stretch.turn_now(*each)
    stretch.caught = until_batch
    return len(batches)


class _Review:
    def __init__(self, database: Database, writer: Writer, tell: Tell) -> None:
        self._read = database.connection
        self._writer = writer
        self._tell = tell
        self._size = CHECKPOINT_EVERY  # fixes that are judged without a pause
        self._unkept = 0  # fixes since the last checkpoint

    async def run(self, asset: int) -> Stretch | None:
        async with self._read() as connection:
            late = await revision.late(connection, asset, self._writer.committed)
            if not late:
                return None
            if asset not in self._writer.fleet.assets:
                await connection.execute(sql("forget_late"), asset)  # it was deleted, and its visits are final
                return None
            stretch = await self._begin(connection, asset, late)
        await self._go_on(stretch)
        while stretch.at_end and asset in self._writer.fleet.assets:
            async with self._read() as connection:
                if await catch_up(connection, self._writer, stretch, self._writer.committed) <= NEAR_BATCHES:
                    break
        return stretch

    async def _begin(self, connection: Connection, asset: int, late: list[Late]) -> Stretch:
        writer, batch = self._writer, self._writer.committed
        start = await revision.checkpoint_before(connection, asset, late[0].span[0])
        start = start or await revision.floor(connection, asset)
        tags = await revision.tags(connection, asset, writer.fleet.assets[asset].tags)
        fold = Fold(writer.chronicle, asset, tags, writer.fleet.thresholds(asset).max_speed_mps)
        fold.begin(start.state if start is not None else AssetState())
        begin, changes = key_of(fold.state.every.newest), -1 if start is None else start.changes
        turnings = await revision.turnings(connection, asset, OLDEST_MS)
        placed = {(each.geofence, each.batch) for each in turnings}
        waiting = [each for each in turnings if each.batch <= batch and each.is_after(begin, changes)]
        return Stretch(asset, batch, late, fold, begin, changes, waiting, placed, caught=batch)

    async def _go_on(self, stretch: Stretch) -> None:
        """From checkpoint to checkpoint, until one agrees and nothing late lies open."""
        position, chronicle = stretch.begin, stretch.fold.chronicle
        while True:
            following = await self._following(stretch, position)
            await self._fold(stretch, position, following)
            if following is None:
                stretch.done, stretch.complete = stretch.late, True
                return
            stretch.turn_until(_key(following), following.changes)
            agrees = chronicle.classified(stretch.fold.state) == chronicle.classified(following.state)
            passed = [each for each in stretch.late if each.span[1] < following.time_ms]
            if agrees and passed and not stretch.is_open_at(following.time_ms):
                stretch.done, stretch.end, stretch.complete = passed, following, True
                if len(stretch.done) < len(stretch.late):
                    self._writer.late.add(stretch.asset)
                return
            await self._keep(stretch)
            position = _key(following)

    async def _following(self, stretch: Stretch, position: FullKey | None) -> Checkpoint | None:
        """The next checkpoint after a place."""
        async with self._read() as connection:
            found = await revision.checkpoint_from(connection, stretch.asset, _time(position))
            while found is not None and position is not None and (_key(found) or position)[:3] <= position[:3]:
                found = await revision.checkpoint_from(connection, stretch.asset, found.time_ms + 1)
            return found

    async def _fold(self, stretch: Stretch, position: FullKey | None, following: Checkpoint | None) -> None:
        """What lies between two checkpoints, a window at a time."""
        from_ms, end_ms = _time(position), LAST_MS if following is None else following.time_ms
        until = _key(following)
        after_place, until_place = None if position is None else position[:3], None if until is None else until[:3]
        while True:
            async with self._read() as connection:
                until_ms = await fixes.until(connection, stretch.asset, from_ms, end_ms, WINDOW_FIXES)
                stored = await fixes.read(connection, stretch.asset, from_ms, until_ms)
            rest = between(stored, after_place, until_place, stretch.batch)
            while len(rest):
                part, rest = parted(rest, min(self._size, CHECKPOINT_EVERY))
                await self._place(stretch, part)
                took_s = self._judge(stretch, part)
                if self._unkept >= CHECKPOINT_EVERY:
                    await self._keep(stretch)
                await asyncio.sleep(REST * took_s)
            if until_ms >= end_ms:
                return
            from_ms = until_ms + 1

    def _judge(self, stretch: Stretch, part: Stored) -> float:
        """As many fixes as do not hold up everything else: where versions alternate each costs a hundred times as
        much. Returns the seconds it took.
        """
        started_s = time.perf_counter()
        stretch.judge(part)
        self._unkept += len(part)
        took_s = time.perf_counter() - started_s
        if took_s > AT_MOST_S:
            self._size = max(self._size // 2, FEWEST)
        else:
            self._size = min(self._size * 2, CHECKPOINT_EVERY)
        return took_s

    async def _keep(self, stretch: Stretch) -> None:
        self._unkept = 0
        stretch.keep()
        if stretch.found >= MAX_FOUND:
            await self._tell(stretch)

    async def _place(self, stretch: Stretch, stored: Stored) -> None:
        """The places among these fixes, and right before them, of changes that had none yet: when they were made the
        asset was nowhere near.
        """
        newest = key_of(stretch.fold.state.every.newest)
        keys = ([] if newest is None else [newest]) + keys_of(stored.columns, stored.batch)
        found = []
        changes = stretch.fold.changes(stored.columns)
        for geofence, batch in sorted(each for each in changes if not stretch.is_placed(*each)):
            before = [key for key in keys if key[-1] < batch]
            if not before or batch > stretch.batch:
                continue
            if before[-1] == stretch.begin and batch <= stretch.begin_changes:
                continue
            async with self._read() as connection:
                if not await fixes.any_after(connection, stretch.asset, before[-1], batch):
                    found.append(Turning(before[-1], batch, geofence))
        stretch.place(found)


def _key(checkpoint: Checkpoint | None) -> FullKey | None:
    return None if checkpoint is None else key_of(checkpoint.state.every.newest)


def _time(key: FullKey | None) -> int:
    return OLDEST_MS if key is None else key[0]
