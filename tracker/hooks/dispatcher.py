"""Carries deliveries from the table `delivery` to their receivers: one runs per database, beside the writer.

The table is the truth and survives everything; what is in memory is found again. A process that dies leaves its
deliveries pending, so a receiver may see one twice, with the same webhook-id, and never misses one.

    wake → look (fresh lanes, due retries, lanes left aside) → load pages → send, each lane in order → save → look …
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Any, Final

import msgspec

from tracker.errors import NotFound, StoreError
from tracker.hooks.clock import Clock, system_ms
from tracker.hooks.guard import Guard, Network
from tracker.hooks.lanes import NEVER_MS, Endpoint, Lane, Lanes, Pending
from tracker.hooks.loader import Loader
from tracker.hooks.outcomes import Outcome, Outcomes
from tracker.hooks.schedule import GIVE_UP_AFTER_S, Answer, Meaning, State, Verdict, judge, meaning_of
from tracker.hooks.sender import Sender
from tracker.hooks.signing import signature_headers
from tracker.store.database import Database
from tracker.wire import ids
from tracker.wire.events import event_of
from tracker.wire.times import rfc3339

log = logging.getLogger(__name__)

TEST_TYPE: Final = "hook.test"
STOP_WITHIN_S: Final = 0.5  # for attempts under way; then they are cut, and repeated by the next start
SAVE_AT_STOP_S: Final = 1.0
TESTS_AT_ONCE: Final = 4


class Message(msgspec.Struct, frozen=True):
    """The body of every request."""

    type: str
    timestamp: str
    data: Any


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a test message met; its form on the wire."""

    ok: bool
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the start, and what is at hand now."""

    delivered: int
    failed: int
    dead: int
    in_flight: int
    lanes: int
    unsaved: int
    next_due_ms: int | None


class Dispatcher:
    """One per process; `start` it where the writer's lock is held. `test` works everywhere."""

    def __init__(
        self,
        database: Database,
        *,
        allow: Sequence[Network] = (),
        clock: Clock = system_ms,
        random: Random | None = None,
    ) -> None:
        self.guard = Guard(allow)
        self._database = database
        self._clock = clock
        self._random = random or SystemRandom()
        self._sender = Sender(self.guard, clock)
        self._tests = asyncio.Semaphore(TESTS_AT_ONCE)
        self._delivered = self._failed = self._dead = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._attempts: set[asyncio.Task[None]] = set()
        self._begin()

    def _begin(self) -> None:
        """Everything is in the table: nothing is kept from one run to the next."""
        self._lanes = Lanes()
        self._outcomes = Outcomes(self._database, self._saved)
        self._loader = Loader(self._database, self._lanes, self._outcomes, self._send_ready, self._clock)

    async def start(self) -> None:
        """Begin; a second call changes nothing."""
        if not self._tasks:
            self._begin()
            self._tasks = [
                asyncio.create_task(self._loader.run(), name="hook-loader"),
                asyncio.create_task(self._outcomes.run(), name="hook-saver"),
            ]

    async def stop(self) -> None:
        """End within two seconds. What is cut off is still pending in the table."""
        tasks, self._tasks = self._tasks, []
        await _cancelled(tasks[:1])
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=STOP_WITHIN_S)
        await _cancelled([*self._attempts, *tasks[1:]])
        try:
            async with asyncio.timeout(SAVE_AT_STOP_S):
                await self._outcomes.save()
        except (StoreError, TimeoutError):
            log.warning("action=hook_outcomes_unsaved count=%d note=these_are_sent_again", len(self._outcomes))
        await self._sender.close()

    def wake(self) -> None:
        """New deliveries were committed."""
        self._loader.wake()

    def refresh(self) -> None:
        """Hooks were changed, or deliveries set pending again."""
        self._loader.refresh()

    def stats(self) -> Stats:
        due_ms = min((e.next_due_ms for e in self._lanes.endpoints.values()), default=NEVER_MS)
        return Stats(
            delivered=self._delivered,
            failed=self._failed,
            dead=self._dead,
            in_flight=self._lanes.in_flight,
            lanes=len(self._lanes),
            unsaved=len(self._outcomes),
            next_due_ms=None if due_ms == NEVER_MS else due_ms,
        )

    async def test(self, hook_id: int) -> TestResult:
        """Send a signed message of the type hook.test now, also to a disabled hook, and once.

        Raises:
            NotFound: there is no such hook.
        """
        row = await self._database.row("hooks_endpoint", hook_id)
        if row is None:
            raise NotFound("There is no such hook.")
        async with self._tests:
            at_ms = self._clock()
            message = Message(TEST_TYPE, rfc3339(at_ms), {"hook": ids.public_id(ids.HOOK, hook_id)})
            body = msgspec.json.encode(message)
            headers = signature_headers(row["secret"], f"test_{secrets.token_hex(8)}", at_ms // 1000, body)
            answer = await self._sender.post(row["url"], headers, body)
        return TestResult(meaning_of(answer.status) is Meaning.SUCCESS, answer.status, answer.error)

    def _send_ready(self) -> None:
        while self._tasks and not self._outcomes.full and (lane := self._lanes.next_turn()) is not None:
            task = asyncio.create_task(
                self._attempt(lane, lane.rows[0]), name=f"hook-{lane.endpoint.id}-lane-{lane.key}"
            )
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _attempt(self, lane: Lane, pending: Pending) -> None:
        """Send the first row of a lane. The endpoint's URL and key are those of this moment."""
        endpoint, at_ms = lane.endpoint, self._clock()
        try:
            event = event_of(pending.event)
            body = msgspec.json.encode(Message(event.type, event.recorded_at, event))
            headers = signature_headers(endpoint.key, ids.public_id(ids.DELIVERY, pending.id), at_ms // 1000, body)
            answer = await self._sender.post(endpoint.url, headers, body)
        except Exception:
            log.exception("action=hook_attempt_failed delivery=%d", pending.id)
            answer = Answer(None, "the server failed; its log has the cause")
        ended_ms = self._clock()
        verdict = judge(pending.series, answer, at_ms, ended_ms, self._random)
        self._outcomes.add(Outcome(lane, pending.id, answer, verdict, at_ms, ended_ms))
        self._lanes.done(lane, held=verdict.state is State.PENDING)
        self._learn(endpoint, answer, verdict, at_ms)
        if lane.wants_rows:
            self._loader.look_again()
        self._send_ready()

    def _learn(self, endpoint: Endpoint, answer: Answer, verdict: Verdict, at_ms: int) -> None:
        """What an answer tells of its hook."""
        endpoint.heard(answer)
        if verdict.state is State.DELIVERED:
            self._delivered += 1
            if endpoint.failing_since_ms is not None:
                endpoint.failing_since_ms = None
                self._outcomes.failing(endpoint.id, None)
            return
        self._failed += 1
        if endpoint.failing_since_ms is None:
            endpoint.failing_since_ms = at_ms
            self._outcomes.failing(endpoint.id, at_ms)
        if verdict.meaning is Meaning.GONE:
            self._disable(endpoint, "the receiver answered 410 Gone")
        if verdict.state is State.DEAD:
            self._dead += 1
            log.warning(
                "action=hook_delivery_dead hook=%d status=%s error=%s", endpoint.id, answer.status, answer.error
            )
            first_ms = verdict.series.first_attempt_ms
            if verdict.meaning is Meaning.HOLD and first_ms is not None and endpoint.failing_since_ms <= first_ms:
                self._disable(endpoint, f"nothing was delivered for {GIVE_UP_AFTER_S // 3600} hours")

    def _disable(self, endpoint: Endpoint, reason: str) -> None:
        """What waits goes on waiting, until the hook is enabled again."""
        if endpoint.live:
            log.warning("action=hook_disabled hook=%d reason=%s", endpoint.id, reason)
            self._outcomes.disable(endpoint.id, reason)
            self._lanes.retire(endpoint)

    def _saved(self, batch: Sequence[Outcome]) -> None:
        for outcome in batch:
            if outcome.verdict.state is State.PENDING:
                endpoint = outcome.lane.endpoint
                endpoint.next_due_ms = min(endpoint.next_due_ms, outcome.verdict.due_ms)
            self._lanes.saved(outcome.lane)
        self._loader.look_again()
        self._send_ready()


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """The tasks, ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
