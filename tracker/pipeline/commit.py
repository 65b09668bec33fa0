"""The writer: takes the open batch, prepares it, commits it, has it published; one at a time, the next prepared
meanwhile.

It owns lanes, presence and the geofence index. Changes of geofences are queued to it and run between batches. After any
failure it takes the lock again, reads what is durable, and prepares again what is not.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tracker.domain.chronicle import Chronicle
from tracker.domain.fleet import Fleet
from tracker.domain.index import FenceIndex
from tracker.domain.presence import Presence
from tracker.errors import LockLost, RefusedByDatabase, StoreUnavailable, TrackerError
from tracker.memory import uncollected
from tracker.pipeline.intake import Intake, OpenBatch
from tracker.pipeline.pairs.register import Register
from tracker.pipeline.prepare import Clock, Prepared, Rejected, prepare
from tracker.pipeline.publish import Publisher
from tracker.pipeline.record import Happening, Record, happenings, record
from tracker.pipeline.stream import Lane, Lanes
from tracker.store.database import translated
from tracker.store.fleet import restore as restore_fleet
from tracker.store.journal import Cursors, Journal, journal_rows
from tracker.store.newest import Heard
from tracker.store.snapshot import Snapshot, load
from tracker.wire.device import Refusal

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 0.2
DRAIN_S: Final = 5.0
REJECTS_KEPT: Final = 1_000  # of a device; the keeper prunes the table to as many
CHANGE_TIMEOUT_S: Final = 30.0
MAX_CHANGES: Final = 1_000  # geofence changes that wait; over it the caller is told to come again

Change = Callable[["Writer"], Awaitable[Any]]


@dataclass(slots=True)
class _InFlight:
    batch: OpenBatch
    prepared: Prepared
    record: Record
    commit: "asyncio.Task[None]"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Writer:
    """The only one that changes what is durable about fixes, presence and geofences."""

    def __init__(self, journal: Journal, fleet: Fleet, intake: Intake, lanes: Lanes, publisher: Publisher) -> None:
        self.journal = journal
        self.fleet = fleet
        self.intake = intake
        self.lanes = lanes
        self.publisher = publisher
        self.presence = Presence()
        self.index = FenceIndex()
        self.chronicle = Chronicle(self.index)
        self.proximities = Register()
        self.late: set[int] = set()  # assets to be judged again
        self.unfiled: dict[int, int] = {}  # stream -> last durable number, as of the start
        self.batch = 0  # the last number given out
        self.event = 0
        self.committed = 0  # nothing will be stored under this number or a lower one any more
        self.fixes = 0  # durable since the start
        self.batches = 0
        self.recoveries = 0
        self.ready = False
        self._clock = Clock()
        self._changes: deque[tuple[Change, asyncio.Future[Any]]] = deque()
        self._waiting: deque[OpenBatch] = deque()  # taken but not durable: prepared again after a failure
        self._in_flight: _InFlight | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    # Life

    async def start(self) -> Heard:
        """Take the lock, read the state, begin; returns when devices were heard of, which is nobody's here."""
        await self.journal.open(wait_s=30)
        with uncollected():
            snapshot, _ = await asyncio.gather(self._load(), restore_fleet(self.fleet, self.journal.url))
        self.publisher.restore(snapshot)
        self.ready = True
        self._task = asyncio.create_task(self._run(), name="writer")
        return snapshot.heard

    def on_end(self, callback: Callable[[], None]) -> None:
        """Told when the writer ends without having been asked to: nothing would be durable any more."""
        assert self._task is not None
        self._task.add_done_callback(lambda task: None if self._stopping else _report_end(task, callback))

    async def drain(self) -> None:
        """Commit and answer what was taken in. The intake is closed by then."""
        self._stopping = True
        self.intake.arrived.set()
        if self._task is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._task), DRAIN_S)
            except TimeoutError:
                log.error("action=writer_stopped_undrained note=what_was_not_acked_is_sent_again")

    async def stop(self) -> None:
        """Let go of the lock."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.journal.close()

    async def between_batches(self, change: Change) -> Any:
        """Run a change when no batch is under way; its outcome is the caller's.

        Raises:
            StoreUnavailable: too many changes wait already, or the database is away.
        """
        if not self.ready or self._stopping:
            raise StoreUnavailable("the writer has no database now")
        if len(self._changes) >= MAX_CHANGES:
            raise StoreUnavailable("too many geofence changes are waiting")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._changes.append((change, future))
        self.intake.arrived.set()
        return await future

    # The loop

    async def _run(self) -> None:
        while not self._done():
            try:
                await self._turn()
            except RefusedByDatabase as error:
                await self._recover(error, split=True)
            except TrackerError as error:
                await self._recover(error, split=False)

    def _done(self) -> bool:
        return self._stopping and not (self._in_flight or self._waiting or self._changes) and self.intake.empty

    async def _turn(self) -> None:
        if self._changes:
            await self._settle()
            await self._apply_change()
        elif self._waiting or not self.intake.empty:
            await self._begin(self._waiting[0] if self._waiting else self._take())
        elif self._in_flight is not None:
            await self._settle()
        else:
            self.intake.arrived.clear()
            await self.intake.arrived.wait()

    def _take(self) -> OpenBatch:
        self._waiting.append(self.intake.take())
        return self._waiting[-1]

    async def _begin(self, batch: OpenBatch) -> None:
        """Prepare a batch while the one before it commits, then send it off."""
        prepared = self._prepare(batch)
        found = happenings(prepared.judgement, prepared.columns, self.index)
        rows = (
            b""
            if prepared.changes_nothing
            else journal_rows(prepared.number, prepared.recorded_ms, prepared.columns, _cursors(prepared))
        )
        await self._settle()
        told = record(found, self.fleet, after_id=self.event, recorded_ms=prepared.recorded_ms)
        self.event = told.last_id
        sent = asyncio.Event()
        commit = asyncio.create_task(self._commit(prepared, rows, told, sent), name="commit")
        self._waiting.popleft()
        self._in_flight = _InFlight(batch, prepared, told, commit)
        # Preparing the next batch keeps the loop busy, and then no answer of the database is heard. So all of this one
        # is handed over before, and stored meanwhile.
        await sent.wait()
        await asyncio.sleep(0)

    def _prepare(self, batch: OpenBatch) -> Prepared:
        self.batch += 1
        return prepare(
            batch.sources,
            batch.frames,
            number=self.batch,
            now_ms=now_ms(),
            fleet=self.fleet,
            presence=self.presence,
            index=self.index,
            clock=self._clock,
            refusal=batch.refusal,
        )

    async def _commit(self, prepared: Prepared, rows: bytes, told: Record, sent: asyncio.Event) -> None:
        rejects = [
            (each.lane.device.id, each.lane.name, each.seq, each.refusal.code, each.refusal.message)
            for each in _newest_rejected(prepared.rejected)
        ]
        try:
            if not prepared.changes_nothing:
                await self.journal.commit(
                    rows, prepared.recorded_ms, prepared.number, told.rows, rejects, prepared.findings, sent.set
                )
        finally:
            sent.set()

    async def _settle(self) -> None:
        """Wait for the batch under way, and publish it."""
        if self._in_flight is None:
            return
        await self._in_flight.commit
        done, self._in_flight = self._in_flight, None
        self._publish(done)

    def _publish(self, done: _InFlight) -> None:
        self.committed = done.prepared.number
        self.fixes += len(done.prepared.columns)
        self.batches += 1
        self.late.update(done.prepared.judgement.late)
        self.proximities.hear(done.prepared)
        self.publisher.publish(done.prepared, done.record.events)

    # Changes of geofences

    async def _apply_change(self) -> None:
        change, future = self._changes.popleft()
        try:
            with translated():
                async with asyncio.timeout(CHANGE_TIMEOUT_S):
                    outcome = await change(self)
        except Exception as error:
            if not future.done():
                future.set_exception(error)
            if isinstance(error, StoreUnavailable):
                raise
        else:
            if not future.done():
                future.set_result(outcome)

    def tell(self, found: list[Happening], recorded_ms: int) -> Record:
        """Number events that no batch brought about; the change writes them in its own transaction and then calls
        `told`.
        """
        return record(found, self.fleet, after_id=self.event, recorded_ms=recorded_ms)

    def told(self, record_: Record) -> None:
        """Those events are durable."""
        self.event = record_.last_id
        self.publisher.tell(record_.events)

    # Recovery

    async def _load(self) -> Snapshot:
        snapshot = await load(self.journal.connection)
        self.presence = snapshot.presence
        self.index = FenceIndex(version.fence for version in snapshot.fences)
        self.chronicle = Chronicle(self.index, [*snapshot.earlier, *snapshot.fences])
        self.proximities.restore(snapshot.proximities)
        self.late = snapshot.late
        self.batch = self.committed = snapshot.batch
        self.event = snapshot.event
        self.unfiled = snapshot.streams
        return snapshot

    async def _recover(self, error: Exception, *, split: bool) -> None:
        """Back to what is durable. What was under way may have been committed: the last batch that is stored tells. The
        last number taken does not: the change before may have taken the same.
        """
        self.ready = False
        self.recoveries += 1
        log.error("action=writer_recovers cause=%s", error, exc_info=error)
        done, self._in_flight = self._in_flight, None
        if done is not None and not done.commit.done():
            done.commit.cancel()
        snapshot = await self._reload()
        if done is not None and not done.prepared.changes_nothing and snapshot.stored >= done.prepared.number:
            self._publish(done)
        elif done is not None:
            self._waiting.extendleft(reversed(_split(done.batch, error) if split else [done.batch]))
        self.publisher.catch_up(self.event)
        self.lanes.rewind(self.unfiled)
        self.ready = True
        log.info("action=writer_recovered batch=%s waiting=%s", self.committed, len(self._waiting))

    async def _reload(self) -> Snapshot:
        while True:
            try:
                await self.journal.open()
                return await self._load()
            except LockLost:
                raise
            except TrackerError as error:
                log.warning("action=writer_waits_for_database cause=%s", error)
                await asyncio.sleep(RETRY_AFTER_S)


def _report_end(task: "asyncio.Task[None]", callback: Callable[[], None]) -> None:
    if not task.cancelled():
        log.critical("action=writer_ended", exc_info=task.exception())
    callback()


def _split(batch: OpenBatch, error: Exception) -> list[OpenBatch]:
    """The halves of a batch that the database refuses; a single frame is put aside: its fixes are rejected, the rest
    goes on.
    """
    if len(batch.frames) == 1:
        if batch.refusal is not None:
            raise error
        return [
            replace(
                batch,
                refusal=Refusal("refused_by_database", "the database refused this fix; the server's log says why"),
            )
        ]
    middle = len(batch.frames) // 2
    return [
        OpenBatch(batch.sources[part], batch.frames[part], sum(map(len, batch.frames[part])))
        for part in (slice(None, middle), slice(middle, None))
    ]


def _newest_rejected(rejected: Sequence[Rejected]) -> list[Rejected]:
    """As many of each device as the table keeps: storing all of a broken device's backlog would take others' time."""
    counts: Counter[int] = Counter()
    newest = []
    for each in reversed(rejected):
        counts[each.lane.device.id] += 1
        if counts[each.lane.device.id] <= REJECTS_KEPT:
            newest.append(each)
    newest.reverse()
    return newest


def _cursors(prepared: Prepared) -> Cursors:
    moved: list[tuple[Lane, tuple[int, int]]] = [
        (lane, at) for lane, at in prepared.cursors.items() if lane.stream_id is not None
    ]
    return Cursors(
        [lane.device.asset for lane, _ in moved],
        [lane.stream_id or 0 for lane, _ in moved],
        [seq for _, (seq, _) in moved],
        [lane.session for lane, _ in moved],
        [gaps for _, (_, gaps) in moved],
    )
