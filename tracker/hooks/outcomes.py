"""What attempts led to, on its way into the table: saved in batches, in the order of the attempts, and never dropped.

While the database is away this grows to LIMIT, and then no attempt begins.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tracker.errors import StoreError
from tracker.hooks.lanes import Lane
from tracker.hooks.schedule import Answer, State, Verdict
from tracker.store.database import Database
from tracker.wire.times import to_datetime

log = logging.getLogger(__name__)

SAVE_WITHIN_S: Final = 0.05
BATCH: Final = 512
LIMIT: Final = 4_096
AGAIN_AFTER_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt at one delivery, judged."""

    lane: Lane
    delivery: int
    answer: Answer
    verdict: Verdict
    at_ms: int
    now_ms: int


class Outcomes:
    """The results that are not saved yet, and what they mean for their hooks."""

    def __init__(self, database: Database, saved: Callable[[Sequence[Outcome]], None]) -> None:
        self._database = database
        self._saved = saved
        self._waiting: list[Outcome] = []
        self._failing: dict[int, int | None] = {}
        self._disabled: dict[int, str] = {}
        self._some, self._many = asyncio.Event(), asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= LIMIT

    @property
    def disabled(self) -> frozenset[int]:
        """Hooks that the table may still show as enabled."""
        return frozenset(self._disabled)

    def add(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)
        self._some.set()
        if len(self._waiting) >= BATCH:
            self._many.set()

    def failing(self, hook_id: int, since_ms: int | None) -> None:
        """The hook fails since then, or no longer."""
        self._failing[hook_id] = since_ms
        self._some.set()

    def disable(self, hook_id: int, reason: str) -> None:
        self._disabled[hook_id] = reason
        self._some.set()

    async def run(self) -> None:
        """Saves for ever, soon after there is something and at once when there is much."""
        failing = False
        while True:
            await self._some.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVE_WITHIN_S):
                    await self._many.wait()
            try:
                await self.save()
                failing = False
            except Exception as error:
                if not failing or not isinstance(error, StoreError):  # an outage is told once
                    log.exception("action=hook_outcomes_wait count=%d", len(self._waiting))
                failing = True
                await asyncio.sleep(AGAIN_AFTER_S)

    async def save(self) -> None:
        """All that is here now. What was cut off half way is saved again by the next call: that changes nothing."""
        while self._disabled or self._failing or self._waiting:
            await self._save_hooks()
            batch = self._waiting[:BATCH]
            if batch:
                await self._database.execute("hooks_save", *_columns(batch))
            del self._waiting[: len(batch)]
            self._saved(batch)
        self._some.clear()
        self._many.clear()

    async def _save_hooks(self) -> None:
        for hook_id, reason in list(self._disabled.items()):
            await self._database.execute("hooks_disable", hook_id, reason)
            del self._disabled[hook_id]
        failing = dict(self._failing)
        if failing:
            await self._database.execute("hooks_failing", list(failing), [_when(ms) for ms in failing.values()])
        # What changed again while this was written is written again.
        self._failing = {
            hook_id: ms for hook_id, ms in self._failing.items() if hook_id not in failing or failing[hook_id] != ms
        }


def _when(ms: int | None) -> datetime | None:
    return None if ms is None else to_datetime(ms)


def _columns(batch: Sequence[Outcome]) -> tuple[list[object], ...]:
    """The arguments of hooks_save."""
    verdicts = [outcome.verdict for outcome in batch]
    return (
        [outcome.delivery for outcome in batch],
        [verdict.state.value for verdict in verdicts],
        [verdict.series.attempts for verdict in verdicts],
        [verdict.series.refusals for verdict in verdicts],
        [to_datetime(verdict.due_ms) for verdict in verdicts],
        [_when(verdict.series.first_attempt_ms) for verdict in verdicts],
        [to_datetime(outcome.at_ms) for outcome in batch],
        [outcome.answer.status for outcome in batch],
        [outcome.answer.error for outcome in batch],
        [to_datetime(outcome.now_ms) if outcome.verdict.state is State.DELIVERED else None for outcome in batch],
    )
