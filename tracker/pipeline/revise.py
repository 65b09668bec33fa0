"""Late fixes: assets are judged again beside ingest, from the last state before the fix to the first that agrees.

Reading and judging go on while batches commit; what came of it is applied by the writer between two batches, in one
transaction for some assets, after what was stored of them meanwhile was judged on top. The marks in the table `late`
are the truth: whatever is lost on the way is done again. An asset with a month of late fixes goes on beside the others.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Mask
from tracker.domain.fix import OLDEST_MS
from tracker.domain.fold import Fact, Fold, FullKey, Turning, key_of, keys_of
from tracker.domain.presence import ENTER, EXIT, AssetState, Key, LastFix
from tracker.domain.revision import Difference, Standing, Turn, Visit, compare, visits
from tracker.domain.turn import ASSET_CHANGED, FENCE_CHANGED
from tracker.errors import TrackerError
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.findings import CHECKPOINT_EVERY
from tracker.pipeline.record import KINDS, Happening, Record
from tracker.store import fixes, revision
from tracker.store.database import Connection, Database, translated
from tracker.store.fixes import Stored
from tracker.store.journal import BUCKETS
from tracker.store.revision import Checkpoint, Late
from tracker.store.sql import sql
from tracker.store.states import standing_of, state_to_json

log = logging.getLogger(__name__)

LAST_MS: Final = 253_402_300_799_999  # of the year 9999
EVERY_S: Final = 0.5  # so long fixes gather before their assets are judged again
ASSETS_AT_ONCE: Final = 64  # in one transaction between batches
MOVED_S: Final = 0.05  # so long after the fixes of an asset were found to be moved it is looked at again
PATIENCE_S: Final = 0.2  # an asset that takes longer goes on beside the others
MAX_BESIDE: Final = 4  # as many: over it, the next ones wait
WINDOW_FIXES: Final = 5_000  # read at once
TURNED: Final = (FENCE_CHANGED, ASSET_CHANGED)
ASSET: Final = 0  # stands for the geofence of a change of an asset's tags


@dataclass(slots=True)
class _Revision:
    """What was found of one asset. begin: the key of the last fix before the stretch; end: that of its last, None when
    it reaches to the end of what was stored up to `batch`.
    """

    asset: int
    batch: int
    done: list[Late]
    fold: Fold
    before: AssetState
    begin: FullKey | None
    begin_changes: int
    end: Checkpoint | None = None
    waiting: list[Turning] = field(default_factory=list)
    placed: set[tuple[int, int]] = field(default_factory=set)  # changes whose places are known: geofence, batch
    from_ms: int = OLDEST_MS
    until_ms: int = OLDEST_MS
    turned: set[tuple[int, int]] = field(default_factory=set)  # changes that are in the state: geofence, batch
    doubts: dict[Key, int] = field(default_factory=dict)  # those that changed
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    fixes: int = 0


class Reviser:
    """One task: takes late assets from the writer in turn."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._beside: dict[int, asyncio.Task[_Revision | None]] = {}
        self._applying: set[int] = set()
        self._held_up: list[_Revision] = []  # while fixes of their assets are moved
        self._last = 0  # the asset that had its turn last
        self._again: set[int] = set()  # late again while they are judged
        self._task: asyncio.Task[None] | None = None
        self.revised = 0  # assets, since the start
        self.fixes = 0  # judged again
        self.corrections = 0  # events told

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="reviser")

    def on_end(self, callback: Callable[[], None]) -> None:
        """Told when the reviser ends without having been asked to: late fixes would decide nothing any more."""
        assert self._task is not None
        self._task.add_done_callback(lambda task: None if task.cancelled() else _report_end(task, callback))

    async def stop(self) -> None:
        """What is under way is lost and done again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Assets that are late now, those under way included."""
        return len(self._writer.late | self._beside.keys() | self._applying | {each.asset for each in self._held_up})

    async def _run(self) -> None:
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                while self._writer.ready and (
                    self._writer.late or self._held_up or any(task.done() for task in self._beside.values())
                ):
                    await self._turn()
        finally:
            for task in self._beside.values():
                task.cancel()
            await asyncio.gather(*self._beside.values(), return_exceptions=True)

    async def _turn(self) -> None:
        """Judge some assets again, and apply what is ready. What fails is late again."""
        late, found = self._writer.late, self._held_up
        self._held_up = []
        chosen = self._next(late)
        try:
            for asset in chosen:
                if any(each.asset == asset for each in found):
                    continue  # what it found while others were judged is applied first
                late.discard(asset)
                found += await self._judged(asset)
            found += await self._ready()
            self._applying = {each.asset for each in found}
            if found:
                await self._writer.between_batches(lambda writer: self._apply(writer, found))
            if self._held_up:
                await asyncio.sleep(MOVED_S)
        except TrackerError as error:
            log.warning("action=reviser_tries_again cause=%s", error)
            self._writer.late.update(each.asset for each in found)
            await asyncio.sleep(EVERY_S)
        finally:
            self._applying = set()

    def _next(self, late: set[int]) -> list[int]:
        """Some of the late assets, going round: one that is late all the time keeps nobody waiting."""
        waiting = sorted(late)
        place = bisect_right(waiting, self._last)
        chosen = (waiting[place:] + waiting[:place])[:ASSETS_AT_ONCE]
        self._last = chosen[-1] if chosen else self._last
        return chosen

    async def _judged(self, asset: int) -> list[_Revision]:
        """What was found of an asset; nothing yet, if it takes long."""
        if asset in self._beside:
            self._again.add(asset)
            return []
        found: list[_Revision] = []
        while len(self._beside) >= MAX_BESIDE:
            await asyncio.wait(self._beside.values(), return_when=asyncio.FIRST_COMPLETED)
            found += await self._ready()
        task = asyncio.create_task(self._judge_again(asset), name=f"judge-again-{asset}")
        self._beside[asset] = task
        await asyncio.wait({task}, timeout=PATIENCE_S)
        return found + await self._ready()

    async def _ready(self) -> list[_Revision]:
        """What those that are done have found."""
        found: list[_Revision] = []
        for asset, task in [(asset, task) for asset, task in self._beside.items() if task.done()]:
            del self._beside[asset]
            if asset in self._again:
                self._again.discard(asset)
                self._writer.late.add(asset)
            try:
                revision_ = task.result()
            except TrackerError:
                self._writer.late.update([asset, *(each.asset for each in found)])
                raise
            if revision_ is not None:
                found.append(revision_)
        return found

    # Judging, beside ingest

    async def _judge_again(self, asset: int) -> _Revision | None:
        """From the last state before what is late to the first after it that agrees."""
        writer, read = self._writer, self._database.connection
        batch = writer.committed
        async with read() as connection:
            waiting = await revision.late(connection, asset, batch)
            if not waiting:
                return None
            if asset not in writer.fleet.assets:
                await connection.execute(sql("forget_late"), asset)  # it was deleted, and its visits are final
                return None
            start = await revision.checkpoint_before(connection, asset, waiting[0].span[0])
            known = writer.fleet.assets.get(asset)
            tags = await revision.tags(connection, asset, known.tags if known is not None else frozenset())
            fold = Fold(writer.chronicle, asset, tags, writer.fleet.thresholds(asset).max_speed_mps)
            fold.begin(start.state if start is not None else AssetState())
            begin = key_of(fold.state.every.newest)
            found = _Revision(asset, batch, [], fold, fold.state, begin, start.changes if start is not None else -1)
            found.from_ms = begin[0] if begin is not None else OLDEST_MS
            turnings = await revision.turnings(connection, asset, OLDEST_MS)
            found.placed = {(each.geofence, each.batch) for each in turnings}
            found.waiting = [
                each
                for each in turnings
                if each.batch <= batch
                and (begin is None or each.key > begin or (each.key == begin and each.batch > found.begin_changes))
            ]
        await self._go_on(found, waiting)
        return found

    async def _go_on(self, found: _Revision, waiting: list[Late]) -> None:
        """From checkpoint to checkpoint, until one agrees and nothing late lies open."""
        position, position_ms = found.begin, found.from_ms
        while True:
            following = await self._next_checkpoint(found.asset, position, position_ms)
            await self._fold(found, position, position_ms, following)
            if following is None:
                found.done, found.until_ms = waiting, LAST_MS
                return
            self._turn_until(found, _key(following), following.changes)
            chronicle = found.fold.chronicle
            agrees = chronicle.classified(found.fold.state) == chronicle.classified(following.state)
            if agrees and not any(each.span[0] <= following.time_ms <= each.span[1] for each in waiting):
                found.end, found.until_ms = following, following.time_ms
                found.done = [each for each in waiting if each.span[1] < following.time_ms]
                if len(found.done) < len(waiting):
                    self._writer.late.add(found.asset)
                return
            self._keep(found)
            position, position_ms = _key(following), following.time_ms

    async def _fold(
        self, found: _Revision, position: FullKey | None, position_ms: int, following: Checkpoint | None
    ) -> None:
        """One stretch between two checkpoints, a window at a time."""
        end_ms = LAST_MS if following is None else following.time_ms
        while True:
            async with self._database.connection() as connection:
                until_ms = await fixes.until(connection, found.asset, position_ms, end_ms, WINDOW_FIXES)
                stored = await fixes.read(connection, found.asset, position_ms, until_ms)
            stored = _between(stored, position, _key(following), found.batch)
            for part in range(0, len(stored), CHECKPOINT_EVERY):
                if part:
                    self._keep(found)
                these = stored.take(slice(part, part + CHECKPOINT_EVERY))
                await self._place(found, these)
                self._judge(found, these)
                await asyncio.sleep(0)
            if until_ms >= end_ms:
                return
            position_ms = until_ms + 1
            if len(stored) >= CHECKPOINT_EVERY:
                self._keep(found)

    async def _place(self, found: _Revision, stored: Stored) -> None:
        """The places among these fixes, and right before them, of changes that had none yet: when they were made the
        asset was nowhere near.
        """
        newest = key_of(found.fold.state.every.newest)
        keys = ([] if newest is None else [newest]) + keys_of(stored.columns, stored.batch)
        for geofence, batch in sorted(found.fold.changes(stored.columns) - found.placed):
            before = [key for key in keys if key[-1] < batch]
            if not before or batch > found.batch or (before[-1] == found.begin and batch <= found.begin_changes):
                continue
            async with self._database.connection() as connection:
                if await fixes.any_after(connection, found.asset, before[-1], batch):
                    continue
            found.placed.add((geofence, batch))
            found.waiting = sorted([*found.waiting, Turning(before[-1], batch, geofence)])

    async def _next_checkpoint(self, asset: int, position: FullKey | None, position_ms: int) -> Checkpoint | None:
        async with self._database.connection() as connection:
            found = await revision.checkpoint_from(connection, asset, position_ms)
            while found is not None and position is not None and (_key(found) or position) <= position:
                found = await revision.checkpoint_from(connection, asset, found.time_ms + 1)
            return found

    def _judge(self, found: _Revision, stored: Stored) -> None:
        last = keys_of(stored.columns.take(slice(-1, None)), stored.batch[-1:])[0]
        due = [each for each in found.waiting if each.key < last]
        found.waiting = found.waiting[len(due) :]
        doubt = found.fold.run(stored.columns, stored.batch, due)
        found.turned.update((each.geofence, each.batch) for each in due)
        found.fixes += len(stored)
        _doubt(found, stored, doubt)

    def _turn_until(self, found: _Revision, key: FullKey | None, batch: int) -> None:
        """The changes that have their place right after the last fix."""
        due = [
            each for each in found.waiting if key is None or each.key < key or (each.key == key and each.batch <= batch)
        ]
        found.waiting = [each for each in found.waiting if each not in due]
        for each in due:
            found.fold.turn(each)
            found.turned.add((each.geofence, each.batch))

    def _keep(self, found: _Revision) -> None:
        """A checkpoint after the last fix."""
        key = key_of(found.fold.state.every.newest)
        if key is not None:
            self._turn_until(found, key, found.batch)
            found.checkpoints = [each for each in found.checkpoints if each["time_ms"] != key[0]]
            found.checkpoints.append(
                {"time_ms": key[0], "changes": found.batch, "state": state_to_json(found.fold.state)}
            )

    # Applying, between two batches

    async def _apply(self, writer: Writer, found: list[_Revision]) -> None:
        """One transaction for all of them, but for those of which fixes are being moved: they wait."""
        lost = [each for each in found if each.fold.chronicle is not writer.chronicle]  # the writer began anew
        writer.late.update(each.asset for each in lost)
        found = [each for each in found if each not in lost and each.asset in writer.fleet.assets]
        connection, recorded_ms, after = writer.journal.connection, now_ms(), list[_Applied]()
        with translated():
            async with connection.transaction():
                held = await revision.held_buckets(connection, {each.asset & (BUCKETS - 1) for each in found})
                self._held_up = [each for each in found if each.asset & (BUCKETS - 1) not in held]
                for each in found:
                    if each not in self._held_up:
                        if each.end is None:
                            await self._catch_up(connection, writer, each)
                        after.append(await self._compared(connection, writer, each))
                record = writer.tell([told for applied in after for told in applied.happenings], recorded_ms)
                await writer.journal.record(recorded_ms, record.rows)
                number = writer.event
                for applied in after:
                    number = await self._write(connection, applied, number)
                await connection.execute(sql("place_events"), *_changes(after, writer.event))
        self._settle(writer, after, record)

    def _settle(self, writer: Writer, after: "list[_Applied]", record: Record) -> None:
        for applied in after:
            if applied.revision.end is None:
                writer.presence.put(applied.revision.asset, applied.revision.fold.state)
            self.fixes += applied.revision.fixes
        self.revised += len(after)
        self.corrections += len(record.events)
        writer.told(record)
        for applied in after:
            if applied.newest is not None:
                writer.publisher.correct(applied.revision.asset, applied.newest)

    async def _catch_up(self, connection: Connection, writer: Writer, found: _Revision) -> None:
        """What was stored since it was read, as it was judged when it came: batch by batch, and changes in between."""
        trusted = found.fold.state.trusted.newest
        from_ms = OLDEST_MS if trusted is None else trusted.time_ms
        stored = await fixes.read(connection, found.asset, from_ms, LAST_MS, after_batch=found.batch)
        self._turn_until(found, None, writer.batch)
        known = writer.fleet.assets[found.asset]
        found.fold.tags = await revision.tags(connection, found.asset, known.tags)
        changes = sorted((b, g) for g, b in found.fold.changes(stored.columns) if b > found.batch)
        for batch in np.unique(stored.batch).tolist():
            while changes and changes[0][0] <= batch:
                self._turn_now(found, *changes.pop(0))
            part = stored.take(stored.batch == batch)
            _doubt(found, part, np.where(_live(found, part), found.fold.live(part.columns, batch), part.doubt))
        for each in changes:
            self._turn_now(found, *each)

    @staticmethod
    def _turn_now(found: _Revision, batch: int, geofence: int) -> None:
        """A change right after what is judged so far."""
        key = key_of(found.fold.state.every.newest)
        if key is not None:
            found.fold.turn(Turning(key, batch, geofence))
            found.turned.add((geofence, batch))

    async def _compared(self, connection: Connection, writer: Writer, found: _Revision) -> "_Applied":
        span = (found.from_ms, found.until_ms)
        changes = {batch for _, batch in found.turned}
        rows = await revision.standing_events(connection, found.asset, span, changes, KINDS)
        old = [each for each, batch in rows if _within(each, batch, found) and writer.chronicle.current(each.fence)]
        facts = [fact for fact in found.fold.facts if writer.chronicle.current(fact.fence.id) is not None]
        differences, same = compare(old, facts)
        applied = _Applied(found, differences, frozenset(each.id for each in old))
        applied.happenings = [_happening(writer, found.asset, each) for each in differences]
        applied.kept = [(each.fact, each.old.id) for each in same if each.old is not None]
        concerned = sorted({_fence_of(each) for each in differences})
        span = min([span[0], *(fact.time_ms for fact in facts), *(each.time_ms for each in old)]), span[1]
        applied.before = await revision.visits(connection, found.asset, concerned, span) if concerned else []
        applied.fences = concerned
        if found.end is None:
            applied.newest = await self._newest(connection, writer, found)
        return applied

    async def _newest(self, connection: Connection, writer: Writer, found: _Revision) -> dict[str, Any] | None:
        """The row of the newest trusted fix, if that is another than the world has been told of."""
        fix = found.fold.state.trusted.newest
        if fix is None or fix == writer.presence.trusted.newest.get(found.asset):
            return None
        if fix.key == _told_key(writer.presence.trusted.newest.get(found.asset)):
            return None
        rows = await connection.fetch(sql("fix_of_asset"), found.asset, fix.time_ms, fix.lon, fix.lat)
        return {**dict(rows[0]), "time_ms": fix.time_ms, "seen": fix.seen} if rows else None

    async def _write(self, connection: Connection, applied: "_Applied", number: int) -> int:
        """Everything but the events; returns the last event number that is used up."""
        found = applied.revision
        numbers = list(range(number + 1, number + 1 + len(applied.differences)))
        gone, made = _visits(applied, numbers)
        at_end, trusted = found.end is None, found.fold.state.trusted.newest
        document = {
            "done": [{"batch": each.batch, "first_ms": each.span[0], "last_ms": each.span[1]} for each in found.done],
            "read_until": found.batch,
            "doubts": [
                {"time_ms": time_ms, "lon": lon, "lat": lat, "flags": flags}
                for (time_ms, lon, lat), flags in found.doubts.items()
            ],
            "from_ms": found.from_ms,
            "until_ms": found.until_ms,
            "visits_gone": gone,
            "visits": [asdict(each) for each in made],
            "checkpoints": found.checkpoints,
            "at_end": at_end,
            "standing": standing_of(found.fold.state) if at_end else None,
            "newest": applied.newest,
            "seen": None if trusted is None else trusted.seen,
        }
        await connection.execute(sql("record_revision"), found.asset, document)
        return number + len(applied.differences)


@dataclass(slots=True)
class _Applied:
    """A revision beside what stands."""

    revision: _Revision
    differences: list[Difference]
    replaced: frozenset[int]
    happenings: list[Happening] = field(default_factory=list)
    kept: list[tuple[Fact, int]] = field(default_factory=list)
    before: list[Visit] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)
    newest: dict[str, Any] | None = None


def _report_end(task: "asyncio.Task[None]", callback: Callable[[], None]) -> None:
    log.critical("action=reviser_ended", exc_info=task.exception())
    callback()


def _doubt(found: _Revision, stored: Stored, doubt: NDArray[np.int16]) -> None:
    """Remember which doubts of these fixes change; those that have flags of their own share a place with others."""
    columns = stored.columns
    for row in np.flatnonzero((doubt != stored.doubt) & (columns.flags == 0)).tolist():
        key = int(columns.time_ms[row]), int(columns.lon[row]), int(columns.lat[row])
        found.doubts[key] = int(doubt[row])


def _live(found: _Revision, stored: Stored) -> Mask:
    """Which fixes are judged at once: those after the newest trusted one that have nothing against themselves."""
    newest = found.fold.state.trusted.newest
    if newest is None:
        return np.asarray(stored.columns.flags == 0, np.bool_)
    keys = keys_of(stored.columns, stored.batch)
    after = np.array([key[:3] > newest.key for key in keys], np.bool_)
    return np.asarray(after & (stored.columns.flags == 0), np.bool_)


def _key(checkpoint: Checkpoint | None) -> FullKey | None:
    return None if checkpoint is None else key_of(checkpoint.state.every.newest)


def _told_key(fix: LastFix | None) -> object:
    return None if fix is None else fix.key


def _between(stored: Stored, after: FullKey | None, until: FullKey | None, batch: int) -> Stored:
    """The fixes after a place, up to another one, that were stored up to a batch."""
    stored = stored.take(stored.batch <= batch)
    if not len(stored):
        return stored
    keep = np.ones(len(stored), np.bool_)
    time_ms = stored.columns.time_ms
    for edge, before in ((after, True), (until, False)):
        if edge is None:
            continue
        for row in np.flatnonzero(time_ms == edge[0]).tolist():
            key = keys_of(stored.columns.take(slice(row, row + 1)), stored.batch[row : row + 1])[0]
            keep[row] &= key > edge if before else key <= edge
        keep &= time_ms >= edge[0] if before else time_ms <= edge[0]
    return stored.take(keep)


def _within(each: Standing, batch: int | None, found: _Revision) -> bool:
    """Whether an event has its place in the stretch. Those of changes name the last batch before the change."""
    if each.cause in TURNED:
        change = 0 if batch is None else batch + 1
        return (each.fence if each.cause == FENCE_CHANGED else ASSET, change) in found.turned
    key = each.time_ms, each.lon, each.lat
    end = _key(found.end)
    return (found.begin is None or key > found.begin[:3]) and (end is None or key <= end[:3])


def _fence_of(each: Difference) -> int:
    if each.fact is not None:
        return each.fact.fence.id
    assert each.old is not None
    return each.old.fence


def _happening(writer: Writer, asset: int, each: Difference) -> Happening:
    """The correction that tells of a difference."""
    if each.fact is not None:
        fact = each.fact
        return Happening(
            fact.kind,
            asset,
            fact.fence,
            fact.device,
            fact.time_ms,
            fact.lon,
            fact.lat,
            fact.initial,
            fact.cause,
            fact.crossed,
            status="late" if each.old is None else "revised",
            revises=None if each.old is None else each.old.id,
        )
    old = each.old
    assert old is not None
    fence = writer.chronicle.numbered(old.fence, old.version)
    return Happening(
        old.kind,
        asset,
        fence,
        old.device,
        old.time_ms,
        old.lon,
        old.lat,
        old.initial,
        old.cause,
        old.crossed,
        status="retracted",
        revises=old.id,
    )


def _changes(after: "list[_Applied]", number: int) -> tuple[list[int], list[int]]:
    """Of the events that changes brought about: their numbers, and the last batch before each change."""
    told = enumerate((each.fact for applied in after for each in applied.differences), number + 1)
    found = [(event, fact.change - 1) for event, fact in told if fact is not None and fact.change is not None]
    return [event for event, _ in found], [batch for _, batch in found]


def _visits(applied: _Applied, numbers: list[int]) -> tuple[list[int], list[Visit]]:
    """The ids of the visits that give way, and those in their place."""
    told = zip(applied.differences, numbers, strict=True)
    standing = [(d.fact, number, None if d.old is None else d.old.id) for d, number in told if d.fact is not None]
    standing += [(fact, event, None) for fact, event in applied.kept]
    order = {id(fact): i for i, fact in enumerate(applied.revision.fold.facts)}
    standing.sort(key=lambda each: order[id(each[0])])
    gone: list[int] = []
    made: list[Visit] = []
    start = applied.revision.before
    entered = {**start.trusted.inside, **start.every.inside}
    for sight in (start.trusted, start.every):
        entered |= {fence: entry.enter_ms for fence, entry in sight.entries.items() if entry.inside}
    for fence in applied.fences:
        turns = [
            Turn((fact.time_ms, fact.lon, fact.lat), fact.kind, event, replaces, fact.fence.version, fact.initial)
            for fact, event, replaces in standing
            if fact.fence.id == fence and fact.kind in {ENTER, EXIT}
        ]
        before = [each for each in applied.before if each.geofence == fence]
        old, new = visits(
            fence, before, turns, applied.replaced, entered.get(fence), at_end=applied.revision.end is None
        )
        gone += old
        made += new
    return gone, made
