"""The journal and the writer's own connection: one writer per database, one small transaction per batch.

A batch is stored as one row of parallel arrays for each bucket of assets that it touches (asset & 15).
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns, Ints
from tracker.errors import LockLost, StoreUnavailable
from tracker.store import copy
from tracker.store.database import Connection, connect, translated
from tracker.store.sql import sql

log = logging.getLogger(__name__)

BUCKETS: Final = 16
WRITER_LOCK: Final = int.from_bytes(b"writer")
LOCK_POLL_S: Final = 0.05
COMMIT_TIMEOUT_S: Final = 30.0
_SENT_AT_ONCE_BYTES: Final = 65_536

_COLUMNS: Final = (
    "bucket",
    "batch",
    "recorded_at",
    "n",
    "t0",
    "t1",
    "asset",
    "device",
    "time",
    "lon",
    "lat",
    "alt",
    "speed",
    "course",
    "accuracy",
    "flags",
    "attributes",
    "stream",
    "stream_seq",
    "stream_session",
    "stream_gaps",
)

# The columns of fixes by their width, each with its place among them.
_FIX_INT4: Final = {"asset": 0, "device": 1, "lon": 3, "lat": 4, "alt": 5, "speed": 6, "accuracy": 8}
_FIX_INT2: Final = {"course": 7, "flags": 9}
_TIME: Final = 2


@dataclass(frozen=True, slots=True)
class Cursors:
    """One entry per stream that a batch moved: parallel lists. asset: where the stream's fixes go, which picks the
    bucket.
    """

    asset: Sequence[int]
    stream: Sequence[int]
    seq: Sequence[int]
    session: Sequence[int]
    gaps: Sequence[int]


@dataclass(frozen=True, slots=True)
class EventRows:
    """The arguments of record_events after recorded_ms and batch: parallel lists of events, closed visits, opened
    visits.
    """

    events: tuple[list[object], ...]
    closed: tuple[list[object], ...]
    opened: tuple[list[object], ...]

    def __bool__(self) -> bool:
        return bool(self.events[0])


@dataclass(frozen=True, slots=True)
class Findings:
    """The argument of record_findings: objects with the names that it takes."""

    doubts: Sequence[Mapping[str, int]] = ()
    late: Sequence[Mapping[str, int]] = ()
    standing: Sequence[Mapping[str, Any]] = ()
    checkpoints: Sequence[Mapping[str, Any]] = ()

    def __bool__(self) -> bool:
        return bool(self.doubts or self.late or self.standing or self.checkpoints)


def journal_rows(number: int, recorded_ms: int, columns: Columns, cursors: Cursors) -> bytes:
    """The batch as a binary COPY of the table `journal`."""
    order, edges = _by_bucket(columns.asset)
    moved, moved_edges = _by_bucket(np.array(cursors.asset, dtype=np.int64))
    time_ms, attributes = columns.time_ms[order], None
    if columns.attributes is not None:
        attributes = [columns.attributes[i] for i in order.tolist()]
    fixes, streams = _fixes(columns, order, time_ms), _streams(cursors, moved)
    rows = [copy.HEADER]
    for bucket, extent in enumerate(_extents(time_ms, edges)):
        mine, entries = slice(*edges[bucket : bucket + 2]), slice(*moved_edges[bucket : bucket + 2])
        if mine.start == mine.stop and entries.start == entries.stop:
            continue
        fields = [
            copy.int2(bucket),
            copy.int8(number),
            copy.timestamp(recorded_ms),
            copy.int4(mine.stop - mine.start),
            *map(copy.timestamp, extent),
            *(each.array(mine.start, mine.stop) for each in fixes),
            _attributes(attributes[mine]) if attributes is not None else copy.NULL,
            *(each.array(entries.start, entries.stop) for each in streams),
        ]
        rows.append(copy.row(fields))
    rows.append(copy.TRAILER)
    return b"".join(rows)


def _fixes(columns: Columns, order: Ints, time_ms: NDArray[np.int64]) -> list[copy.Items]:
    """The columns of fixes in their order; those of one width are encoded together."""
    found: dict[int, copy.Items] = {_TIME: copy.time_items(time_ms)}
    for places, encode in ((_FIX_INT4, copy.int4_items), (_FIX_INT2, copy.int2_items)):
        values = np.array([getattr(columns, name) for name in places])
        found |= zip(places.values(), encode(values.take(order, axis=1)), strict=True)
    return [found[place] for place in sorted(found)]


def _streams(cursors: Cursors, order: Ints) -> list[copy.Items]:
    stream, session = copy.int4_items(np.array([cursors.stream, cursors.session], np.int64).take(order, axis=1))
    seq, gaps = copy.int8_items(np.array([cursors.seq, cursors.gaps], np.int64).take(order, axis=1))
    return [stream, seq, session, gaps]


def _by_bucket(asset: NDArray[np.integer[Any]]) -> tuple[Ints, list[int]]:
    """The order by bucket, and where in it each begins; the end of the last, too."""
    bucket = asset & (BUCKETS - 1)
    order = np.argsort(bucket, kind="stable")
    return order, np.searchsorted(bucket[order], np.arange(BUCKETS + 1)).tolist()


def _extents(time_ms: Ints, edges: Sequence[int]) -> list[tuple[int | None, int | None]]:
    """The earliest and the latest time of each bucket."""
    found: list[tuple[int | None, int | None]] = [(None, None)] * BUCKETS
    full = [bucket for bucket in range(BUCKETS) if edges[bucket] < edges[bucket + 1]]
    if full:
        starts = [edges[bucket] for bucket in full]
        ends = zip(
            np.minimum.reduceat(time_ms, starts).tolist(), np.maximum.reduceat(time_ms, starts).tolist(), strict=True
        )
        for bucket, extent in zip(full, ends, strict=True):
            found[bucket] = extent
    return found


def _attributes(values: Sequence[bytes | None]) -> bytes:
    return copy.jsonb_array(values) if any(value is not None for value in values) else copy.NULL


NOTHING_FOUND: Final = Findings()


class Journal:
    """The connection that holds the writer's lock and runs the batch transactions. A lost connection is a lost lock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Connection | None = None
        self._name = uuid.uuid4()
        self._term: int | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            raise StoreUnavailable("the writer has no connection to the database")
        return self._connection

    async def open(self, wait_s: float | None = None) -> None:
        """Connect and take the lock, so that the last COMMIT of an earlier writer is over before anything is read.

        Raises:
            LockLost: another writer still has the lock after wait_s, or had it since this one did: batch numbers and
                all else that this process remembers are then another's, too.
        """
        await self.close()
        self._connection = await connect(self.url)
        waited = 0.0
        with translated():
            while not await self._connection.fetchval(sql("try_writer_lock"), WRITER_LOCK):
                if wait_s is not None and waited >= wait_s:
                    raise LockLost(
                        "Another tracker server writes to this database; stop it, or give this one another database."
                    )
                await asyncio.sleep(LOCK_POLL_S)
                waited += LOCK_POLL_S
            before, self._term = self._term, await self._connection.fetchval(sql("begin_writer_term"), self._name)
        if before is not None and self._term != before:
            raise LockLost("Another tracker server wrote to this database meanwhile; start this one anew.")

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.terminate()

    async def commit(
        self,
        rows: bytes,
        recorded_ms: int,
        number: int,
        events: EventRows,
        rejects: Sequence[Sequence[object]],
        findings: Findings = NOTHING_FOUND,
        on_sent: Callable[[], None] = lambda: None,
    ) -> None:
        """Make one batch durable: all of it or nothing.

        Args:
            on_sent: called when the fixes have been handed over, which is most of what is sent and the last of it: from
                then on the database works alone for as long as it takes to store them.
        """
        with translated():
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                if not events and not rejects and not findings:
                    await self._copy(
                        rows, on_sent
                    )  # one statement is a transaction of its own, two round trips cheaper
                    return
                async with self.connection.transaction():
                    if events:
                        await self._record(recorded_ms, number, events)
                    if findings:
                        await self.connection.execute(sql("record_findings"), number, asdict(findings))
                    if rejects:
                        await self.connection.execute(sql("record_rejects"), *zip(*rejects, strict=True), recorded_ms)
                    await self._copy(rows, on_sent)

    async def record(self, recorded_ms: int, events: EventRows, after_batch: int | None = None) -> None:
        """Events that no batch brought about, within the caller's transaction; those of a change name the last batch
        before it.
        """
        if events:
            await self._record(recorded_ms, after_batch, events)

    async def record_findings(self, findings: Findings) -> None:
        """States that no batch brought about, within the caller's transaction."""
        if findings:
            await self.connection.execute(sql("record_findings"), 0, asdict(findings))

    async def _record(self, recorded_ms: int, number: int | None, events: EventRows) -> None:
        await self.connection.execute(
            sql("record_events"), recorded_ms, number, *events.events, *events.closed, *events.opened
        )

    async def _copy(self, rows: bytes, on_sent: Callable[[], None]) -> None:
        source = _parts(rows, on_sent)
        await self.connection.copy_to_table("journal", source=source, columns=_COLUMNS, format="binary")


async def _parts(rows: bytes, on_sent: Callable[[], None]) -> AsyncIterator[bytes]:
    """In pieces, each asked for when the one before it has left."""
    for start in range(0, len(rows), _SENT_AT_ONCE_BYTES):
        yield rows[start : start + _SENT_AT_ONCE_BYTES]
    on_sent()
