"""The sealer turns the pieces of closed days into sealed rows: fewer bytes, every value kept.

It works in steps of a few thousand fixes. A step reads pieces, and what is sealed already where late ones fell into it,
and replaces them in one transaction: every snapshot sees each fix exactly once, whenever the sealer is killed. Nothing
is locked while rows are packed; if a piece was changed meanwhile the step is done again.
"""

import asyncio
import io
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from tracker.errors import TrackerError
from tracker.store.database import Connection, Record, connect, translated
from tracker.store.rows import copied
from tracker.store.seal import COLUMNS, Part, Run, runs_of, sealed_rows
from tracker.store.sql import sql

log = logging.getLogger(__name__)

SEALER_LOCK: Final = int.from_bytes(b"sealer")
OPEN_DAYS: Final = 2  # most of what comes late has come two days after its day
STEP_FIXES: Final = 20_000  # packed in about 30 ms
LOOK_AT_PIECES: Final = 1_000
LOOK_EVERY_S: Final = 600.0
REST: Final = 3.0  # for each second of work: the server has other things to do
TRIES: Final = 5
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)


def first_open_day(now: datetime) -> date:
    """Days before it are closed."""
    return now.astimezone(UTC).date() - timedelta(days=OPEN_DAYS)


class Sealing:
    """One pass over the pieces of closed days, with the sealer's lock; ends when nothing before `open_day` is left."""

    def __init__(self, connection: Connection, open_day: date, step_fixes: int = STEP_FIXES) -> None:
        self._connection = connection
        self._before = datetime.combine(open_day, datetime.min.time(), UTC)
        self._step_fixes = step_fixes
        self._place: tuple[int, datetime] = (0, _BEGINNING)
        self._done: tuple[int, datetime] = (0, _BEGINNING)

    async def backlog(self) -> int:
        """How many fixes are to be sealed."""
        with translated():
            row = await self._connection.fetchrow(sql("seal_backlog"), self._before)
        return int(row["fixes"])

    async def step(self) -> int:
        """Seal some more; returns the fixes, 0 at the end."""
        for _ in range(TRIES - 1):
            try:
                return await self._step()
            except TrackerError as error:
                if self._connection.is_closed():
                    raise
                log.debug("action=seal_again cause=%s", error)
        return await self._step()

    async def _step(self) -> int:
        with translated():
            async with self._connection.transaction(isolation="repeatable_read"):
                runs = await self._plan()
                if not runs:
                    return 0
                spans = [run.asset for run in runs], [run.since for run in runs], [run.until for run in runs]
                data = await copied(self._connection, "fixes_of_runs", *spans)
                fixes, rows = await asyncio.to_thread(sealed_rows, spans[0], data)
                cleared = await self._connection.fetchval(sql("clear_runs"), *spans)
                if cleared != fixes:
                    raise AssertionError(f"{cleared} fixes would give way to {fixes}")
                await self._connection.copy_to_table(
                    "sealed", source=io.BytesIO(rows), columns=COLUMNS, format="binary"
                )
        self._place = self._done
        return fixes

    async def _plan(self) -> list[Run]:
        """The next runs, of as many fixes as a step may have, but at least one."""
        parts = await self._next_parts()
        days = sorted({(part.asset, part.day) for part in parts})
        rows = await self._connection.fetch(
            sql("sealed_of_days"), [asset for asset, _ in days], [day for _, day in days]
        )
        runs = runs_of([*parts, *(replace(_piece(row), sealed=True) for row in rows)])
        chosen: list[Run] = []
        fixes = 0
        for run in runs:
            fixes += run.n
            if chosen and fixes > self._step_fixes:
                break
            chosen.append(run)
        if chosen:
            self._done = (chosen[-1].asset, chosen[-1].until)
        return chosen

    async def _next_parts(self) -> list[Part]:
        """Pieces of whole days of assets, after the place that was reached."""
        rows = await self._connection.fetch(sql("pieces_to_seal"), *self._place, self._before, LOOK_AT_PIECES)
        parts = [_piece(row) for row in rows]
        if len(parts) < LOOK_AT_PIECES:
            return parts
        last = parts[-1]
        whole = [part for part in parts if (part.asset, part.day) != (last.asset, last.day)]
        if whole:
            return whole
        rest = await self._connection.fetch(
            sql("pieces_of_span"), last.asset, max(last.day, parts[0].t0), last.day + timedelta(days=1)
        )
        return [_piece(row) for row in rest]

    async def give_back(self) -> None:
        """Give the space of what was sealed back to the disk, and make emptied partitions one."""
        vacuumed: set[str] = set()
        with translated():
            while partition := await self._connection.fetchval(sql("close_piece_day"), self._before.date()):
                if partition in vacuumed:
                    return  # somebody's snapshot still sees fixes in it
                vacuumed.add(partition)
                await self._connection.execute(await self._connection.fetchval(sql("vacuum_of"), partition))


def _piece(row: Record) -> Part:
    return Part(row["asset"], row["t0"], row["t1"], row["n"])


@dataclass(slots=True)
class SealerStats:
    """Since the start."""

    sealed_fixes: int = 0


class Sealer:
    """Seals what is closed, now and then, as long as the server runs; leaves it to whoever else has the lock."""

    def __init__(self, url: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._url = url
        self._now = now
        self.stats = SealerStats()

    async def run(self) -> None:
        while True:
            try:
                await self.seal_closed()
            except TrackerError as error:
                log.warning("action=sealer_tries_again cause=%s", error)
            except Exception:  # days that are not sealed are no reason to end a server
                log.exception("action=sealing_failed")
            await asyncio.sleep(LOOK_EVERY_S)

    async def seal_closed(self) -> None:
        connection = await connect(self._url)
        try:
            with translated():
                if not await connection.fetchval(sql("try_sealer_lock"), SEALER_LOCK):
                    return
            sealing = Sealing(connection, first_open_day(self._now()))
            while True:
                began = time.monotonic()
                fixes = await sealing.step()
                if not fixes:
                    break
                self.stats.sealed_fixes += fixes
                await asyncio.sleep(REST * (time.monotonic() - began))
            await sealing.give_back()
        finally:
            connection.terminate()


async def seal(url: str, open_day: date, on_progress: Callable[[int, int], None]) -> int:
    """Seal all that is closed, as fast as it goes. on_progress(done, of): fixes. Waits while somebody else seals."""
    connection = await connect(url)
    try:
        with translated():
            await connection.execute(sql("sealer_lock"), SEALER_LOCK)
        sealing = Sealing(connection, open_day, 5 * STEP_FIXES)
        total, done = await sealing.backlog(), 0
        while fixes := await sealing.step():
            done += fixes
            on_progress(done, max(total, done))
        await sealing.give_back()
        return done
    finally:
        connection.terminate()
