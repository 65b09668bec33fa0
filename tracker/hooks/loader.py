"""Finds in the table what can be sent now, and brings it into the lanes: fresh deliveries by a cursor, retries by their
time, and by sweeps what was left aside or by an earlier process. One task; nobody else fills lanes.

While a query runs, a lane may be saved and leave, and then the answer is older than what became of it. So an answer
never decides about a lane that was at hand when it was asked for: the lane itself, or the next look, knows better.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from tracker.errors import StoreError
from tracker.hooks.clock import Clock
from tracker.hooks.lanes import LANES_PER_HOOK, NEVER_MS, Endpoint, Lanes, Pending, Row
from tracker.hooks.outcomes import Outcomes
from tracker.store.database import Database
from tracker.wire.times import to_datetime, to_ms

log = logging.getLogger(__name__)

POLL_S: Final = 5.0  # how late a change is seen that nobody told us of: made in SQL, or through another node
AGAIN_AFTER_S: Final = 0.5
PAUSE_S: Final = 0.01  # between looks: many small commits are looked at together
FRESH_ROWS: Final = 2_000
SWEEP_LANES: Final = 256
# Lanes at hand are found among the due ones again: with fewer of them than this, a full answer always has others.
DUE_ROWS: Final = 2 * LANES_PER_HOOK


class Loader:
    """Looks when it is woken, when a retry is due, and every POLL_S."""

    def __init__(
        self, database: Database, lanes: Lanes, outcomes: Outcomes, loaded: Callable[[], None], clock: Clock
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._outcomes = outcomes
        self._loaded = loaded
        self._clock = clock
        self._signal = asyncio.Event()
        self._woken = self._stale = True
        self._poll_at_s = 0.0  # by the loop's clock
        self._cursor: int | None = None  # the newest delivery that was looked at
        self._absent: set[int] = set()  # hooks that get deliveries, but are not enabled

    def wake(self) -> None:
        """New deliveries were committed."""
        self._woken = True
        self._signal.set()

    def refresh(self) -> None:
        """Hooks were changed, or deliveries set pending again."""
        self._stale = True
        self._absent.clear()
        self.wake()

    def look_again(self) -> None:
        """Lanes want rows, or there is room for others."""
        self._signal.set()

    async def run(self) -> None:
        failing = False
        while True:
            self._signal.clear()
            try:
                await self._look()
                failing = False
            except Exception as error:
                if not failing or not isinstance(error, StoreError):  # an outage is told once
                    log.exception("action=hook_loader_waits")
                failing = True
                self.refresh()
            await asyncio.sleep(AGAIN_AFTER_S if failing else PAUSE_S)
            await self._wait()

    async def _wait(self) -> None:
        """Until there is something to look at: a signal, a retry that is due, or the time for a look at everything."""
        due_ms = min((e.next_due_ms for e in self._lanes.endpoints.values() if e.room > 0), default=NEVER_MS)
        until_due_s = (due_ms - self._clock()) / 1000
        until_poll_s = self._poll_at_s - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(until_due_s, until_poll_s))):
                await self._signal.wait()
        if asyncio.get_running_loop().time() >= self._poll_at_s:
            self.refresh()

    async def _look(self) -> None:
        if self._cursor is None:
            row = await self._database.row("hooks_newest")
            self._cursor = row["id"] if row else 0
        await self._look_for_hooks()
        await self._look_for_fresh()
        await self._look_for_due()
        await self._sweep()
        await self._load_pages()
        self._loaded()
        if any(e.sweep is not None and e.room > 0 for e in self._lanes.endpoints.values()):
            self._signal.set()

    async def _look_for_hooks(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._poll_at_s = asyncio.get_running_loop().time() + POLL_S
        disabled = self._outcomes.disabled  # the table may not know it yet
        rows = await self._database.rows("hooks_endpoints")
        self._lanes.update([row for row in rows if row["id"] not in disabled | self._outcomes.disabled])
        for endpoint in self._lanes.endpoints.values():
            endpoint.next_due_ms = 0

    async def _look_for_fresh(self) -> None:
        """Lanes of deliveries that were committed since the last look."""
        if not self._woken:
            return
        self._woken = False
        at_hand = self._lanes.keys()
        rows = await self._database.rows("hooks_fresh", self._cursor, FRESH_ROWS)
        for row in rows:
            endpoint = self._lanes.endpoints.get(row["hook"])
            if endpoint is None or not endpoint.live:
                self._stale |= row["hook"] not in self._absent  # made since, perhaps: then it is swept
                self._absent.add(row["hook"])
            elif not row["held"] or (row["hook"], row["asset"]) in at_hand:
                self._lanes.offer(endpoint, row["asset"])
        self._cursor = max((row["newest"] for row in rows), default=self._cursor)
        if self._stale or sum(row["deliveries"] for row in rows) == FRESH_ROWS:
            self.wake()

    async def _look_for_due(self) -> None:
        """Retries and redeliveries whose time has come."""
        at_ms = self._clock()
        endpoints = {e.id: e for e in self._lanes.endpoints.values() if e.room > 0 and e.next_due_ms <= at_ms}
        if not endpoints:
            return
        for endpoint in endpoints.values():
            endpoint.next_due_ms = NEVER_MS  # what is saved from here on lowers it again
        now = to_datetime(at_ms)
        at_hand = self._lanes.keys()
        for row in await self._database.rows("hooks_due", list(endpoints), now, DUE_ROWS):
            key = -row["delivery"] if row["redelivery"] else row["asset"]
            if (row["hook"], key) not in at_hand:
                self._open_due(endpoints[row["hook"]], key, row)
        for row in await self._database.rows("hooks_next_due", list(endpoints), now):
            if row["due_at"] is not None:
                endpoint = endpoints[row["hook"]]
                endpoint.next_due_ms = min(endpoint.next_due_ms, to_ms(row["due_at"]))

    def _open_due(self, endpoint: Endpoint, key: int, row: Row) -> None:
        if endpoint.room <= 0:
            endpoint.next_due_ms = 0  # as soon as there is room
            return
        lane = self._lanes.open(endpoint, key)
        if lane is not None:
            lane.proven = False
            self._lanes.load(lane, [Pending.of(row)], more=not row["redelivery"])

    async def _sweep(self) -> None:
        """Lanes that were left in the table, or that an earlier process left there."""
        for endpoint in list(self._lanes.endpoints.values()):
            if endpoint.sweep is None or endpoint.room <= 0:
                continue
            rows = await self._database.rows("hooks_lanes", endpoint.id, endpoint.sweep, SWEEP_LANES)
            now = to_datetime(self._clock())
            for row in rows:
                if row["attempts"] == 0 or row["due_at"] <= now:
                    if endpoint.room <= 0 and row["asset"] not in endpoint.lanes:
                        break
                    self._lanes.offer(endpoint, row["asset"])
                endpoint.sweep = row["asset"]
            else:
                if len(rows) < SWEEP_LANES:
                    endpoint.swept()

    async def _load_pages(self) -> None:
        lanes = self._lanes.wanting()
        if not lanes:
            return
        size = self._lanes.page_size()
        columns = (
            [lane.endpoint.id for lane in lanes],
            [lane.key for lane in lanes],
            [lane.last_event for lane in lanes],
        )
        pages: dict[tuple[int, int], list[Row]] = {}
        for row in await self._database.rows("hooks_page", *columns, size):
            pages.setdefault((row["hook"], row["asset"]), []).append(row)
        now = to_datetime(self._clock())
        for lane in lanes:
            page = pages.get((lane.endpoint.id, lane.key), [])
            if page and page[0]["attempts"] > 0 and page[0]["due_at"] > now:
                self._lanes.hold(lane)
                continue
            self._lanes.load(lane, [Pending.of(row) for row in page], more=len(page) == size)
