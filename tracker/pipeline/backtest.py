"""Backtests: what a geofence would have reported on stored history. Reads and judges beside ingest; nothing is written.

Two groups of assets are under way at once, so that one is read while the other is judged, in a thread, of which there
is one for all backtests: a second would only make the loop wait longer. Memory is that of two windows of fixes and
their events.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from tracker.domain.backtest import Finding, Span, Stretch, Trial, copied, stretches
from tracker.domain.geofence import Geofence
from tracker.domain.presence import ENTER
from tracker.store import backtest as reading
from tracker.store.backtest import Copied
from tracker.store.database import Database

ASSETS_AT_ONCE: Final = 128
WINDOW_FIXES: Final = 20_000  # of a group's assets, read and judged at once; more would hold up the loop now and then
WORKERS: Final = 2


@dataclass(slots=True)
class Progress:
    """How far a backtest is. fixes: those of the span that are done; judged: those of them that could matter."""

    assets: int
    assets_done: int = 0
    fixes: int = 0
    judged: int = 0
    events: int = 0
    visits: int = 0


async def backtest(
    database: Database, fence: Geofence, assets: Sequence[int], span: Span, judging: asyncio.Lock
) -> AsyncGenerator[tuple[Progress, list[Finding]], None]:
    """What is found, as it is found: the events of one asset in the order of its fixes.

    Args:
        assets: whom to try it on; the geofence's filter is not asked.
        judging: held while a thread judges; one for all backtests.
    """
    progress = Progress(len(assets))
    groups = _groups(assets)
    found: asyncio.Queue[list[Finding] | BaseException | None] = asyncio.Queue(WORKERS)
    workers = [
        asyncio.create_task(
            _work(database, copied(fence), groups, span, progress, found, judging), name=f"backtest-{i}"
        )
        for i in range(WORKERS)
    ]
    try:
        working = WORKERS
        while working:
            each = await found.get()
            if isinstance(each, BaseException):
                raise each
            if each is None:
                working -= 1
            else:
                yield progress, each
        yield progress, []
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _groups(assets: Sequence[int]) -> Iterator[list[int]]:
    """Assets of one bucket of the journal each, for which they are read together."""
    for bucket in range(reading.BUCKETS):
        mine = sorted(asset for asset in assets if asset % reading.BUCKETS == bucket)
        for first in range(0, len(mine), ASSETS_AT_ONCE):
            yield mine[first : first + ASSETS_AT_ONCE]


async def _work(
    database: Database,
    fence: Geofence,
    groups: Iterator[list[int]],
    span: Span,
    progress: Progress,
    out: "asyncio.Queue[list[Finding] | BaseException | None]",
    judging: asyncio.Lock,
) -> None:
    """One group after the other, until there are no more."""
    try:
        for group in groups:
            async with aclosing(_try(database, fence, group, span, progress, judging)) as rounds:
                async for events in rounds:
                    await out.put(events)
            progress.assets_done += len(group)
        await out.put(None)
    except Exception as error:  # noqa: BLE001 - handed to whoever reads what is found
        await out.put(error)


async def _try(
    database: Database,
    fence: Geofence,
    group: list[int],
    span: Span,
    progress: Progress,
    judging: asyncio.Lock,
) -> AsyncGenerator[list[Finding], None]:
    """The events of some assets, window by window."""
    pieces, trial = await reading.pieces(database, group, span), Trial(fence, group)
    waiting = {asset: deque(stretches(mine, fence, span)) for asset, mine in pieces.items()}
    while waiting:
        windows = _next(trial, waiting, progress)
        events: list[Finding] = []
        if windows:
            copied = await reading.fixes(database, windows)
            async with judging:
                events, fixes = await asyncio.to_thread(_judge, trial, copied)
            progress.fixes += fixes
            progress.judged += fixes
            progress.events += len(events)
            progress.visits += sum(each.kind == ENTER for each in events)
        waiting = {asset: left for asset, left in waiting.items() if left}
        yield events


def _judge(trial: Trial, copied: Copied) -> tuple[list[Finding], int]:
    columns = reading.columns_of(copied)
    return trial.judge(columns), len(columns)


def _next(trial: Trial, waiting: dict[int, deque[Stretch]], progress: Progress) -> list[tuple[int, Stretch]]:
    """The stretches to be judged next, about WINDOW_FIXES in all; those that tell nothing are taken away."""
    windows: list[tuple[int, Stretch]] = []
    fixes = 0
    for asset, left in waiting.items():
        if fixes >= WINDOW_FIXES:
            break
        if trial.is_idle(asset):
            while left and not left[0].wanted:
                progress.fixes += left.popleft().fixes
        elif not left[0].wanted:
            windows.append((asset, left.popleft()))  # what is under way may end in it: one at a time
            fixes += windows[-1][1].fixes
            continue
        while left and left[0].wanted and fixes < WINDOW_FIXES:
            windows.append((asset, left.popleft()))
            fixes += windows[-1][1].fixes
    return windows
