"""The filer turns the journal into pieces, bucket by bucket, and keeps house: partitions for the days ahead, rejects,
old answers.

Its statement deletes and inserts in one, so every snapshot sees each fix exactly once, whenever it is killed. It has a
connection and a lock of its own and is never in a batch's way but for the two cores they share.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tracker.errors import TrackerError
from tracker.store.database import Connection, connect, translated
from tracker.store.sql import sql

log = logging.getLogger(__name__)

FILER_LOCK: Final = int.from_bytes(b"filer")
BUCKET_LOCK: Final = int.from_bytes(b"file")  # with a bucket's number: its fixes are being moved
LOOK_EVERY_S: Final = 1.0
KEEP_HOUSE_EVERY_S: Final = 600.0
# A bucket is filed when it holds this much, or when its oldest batch is this old. The journal is read unindexed, at
# about 0.2 µs a fix; pieces want at least 60 fixes each, so those of slow devices grow from filing to filing. The more
# there is to file at once, the less is written again: a filer that fell behind becomes faster.
FILE_AT_FIXES: Final = 25_000
FILE_AFTER_S: Final = 120.0
MAX_FIXES_PER_FILING: Final = 300_000
# A journal over this is not read, nor read at a start, in reasonable time: nothing more is taken in until it is filed.
MAX_JOURNAL_FIXES: Final = 4_000_000
MAX_JOURNAL_AGE_S: Final = 900.0


@dataclass(slots=True)
class FilerStats:
    """Since the start, and the journal as it was last looked at."""

    filed_fixes: int = 0
    journal_fixes: int = 0
    journal_age_s: float = 0.0
    last_filing_s: float = 0.0
    behind: bool = False  # the journal is over its bounds


class Filer:
    """on_filed(batch) hears up to which batch the journal is filed; committed() is the last durable batch. on_behind
    hears whether the journal is over its bounds, each time that this changes.
    """

    def __init__(
        self,
        url: str,
        committed: Callable[[], int],
        on_filed: Callable[[int], None],
        on_behind: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._committed = committed
        self._on_filed = on_filed
        self._on_behind = on_behind
        self._looked_at = time.monotonic()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._house_kept_at = float("-inf")
        self.stats = FilerStats()

    async def start(self) -> None:
        """The days must have their partitions before anything is filed."""
        await self._open()
        await self._keep_house()
        self._task = asyncio.create_task(self._run(), name="filer")

    def on_end(self, callback: Callable[[], None]) -> None:
        """Told when the filer ends without having been asked to: the journal would grow for ever."""
        assert self._task is not None
        self._task.add_done_callback(lambda task: None if task.cancelled() else _report_end(task, callback))

    async def stop(self) -> None:
        """A filing under way is rolled back: its fixes stay in the journal."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    async def _open(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = await connect(self._url)
        with translated():
            await self._connection.execute(sql("filer_lock"), FILER_LOCK)

    async def _run(self) -> None:
        while True:
            try:
                if time.monotonic() - self._house_kept_at > KEEP_HOUSE_EVERY_S:
                    await self._keep_house()
                await self.file_due()
            except TrackerError as error:
                log.warning("action=filer_tries_again cause=%s", error)
                self._house_kept_at = float("-inf")  # a machine that slept for days may lack the partition of today
                await self._reopen()
            self._judge_backlog()
            await asyncio.sleep(LOOK_EVERY_S)

    def _judge_backlog(self) -> None:
        """Whether the journal is over its bounds; one that cannot be looked at grows older unseen."""
        unseen_s = time.monotonic() - self._looked_at
        too_old = max(unseen_s, self.stats.journal_age_s) > MAX_JOURNAL_AGE_S
        behind = too_old or self.stats.journal_fixes > MAX_JOURNAL_FIXES
        if behind != self.stats.behind:
            log.warning("action=%s journal_fixes=%d", "hold_intake" if behind else "go_on", self.stats.journal_fixes)
            self.stats.behind = behind
            self._on_behind(behind)

    async def _reopen(self) -> None:
        try:
            await self._open()
        except TrackerError as error:
            log.info("action=filer_still_waits cause=%s", error)

    def _ready(self) -> Connection:
        assert self._connection is not None
        return self._connection

    async def _keep_house(self) -> None:
        with translated():
            for job in ("make_piece_days", "prune_rejects", "prune_access", "thin_checkpoints"):
                await self._ready().execute(sql(job))
        self._house_kept_at = time.monotonic()

    async def file_due(self, *, at_fixes: int = FILE_AT_FIXES, after_s: float = FILE_AFTER_S) -> int:
        """File every bucket that is due; returns the fixes filed."""
        committed, filed = self._committed(), 0
        with translated():
            backlog = await self._ready().fetch(sql("journal_backlog"))
            for bucket in backlog:
                if bucket["fixes"] >= at_fixes or bucket["age_s"] >= after_s:
                    filed += await self._file(bucket["bucket"], committed)
            left = await self._ready().fetch(sql("journal_backlog")) if filed else backlog
        self.stats.filed_fixes += filed
        self.stats.journal_fixes = sum(bucket["fixes"] for bucket in left)
        self.stats.journal_age_s = max((bucket["age_s"] for bucket in left), default=0.0)
        self._looked_at = time.monotonic()
        self._on_filed(min((bucket["oldest"] - 1 for bucket in left), default=committed))
        return filed

    async def _file(self, bucket: int, committed: int) -> int:
        started = time.monotonic()
        limit = await self._ready().fetchval(sql("filing_limit"), bucket, MAX_FIXES_PER_FILING, committed)
        if limit is None:
            return 0
        async with self._ready().transaction():
            await self._ready().execute(sql("hold_bucket"), BUCKET_LOCK, bucket)
            await self._ready().execute(sql("find_by_index"))
            row = await self._ready().fetchrow(sql("file_bucket"), bucket, limit)
        self.stats.last_filing_s = time.monotonic() - started
        return int(row["fixes"]) if row is not None else 0


def _report_end(task: "asyncio.Task[None]", callback: Callable[[], None]) -> None:
    log.critical("action=filer_ended", exc_info=task.exception())
    callback()
