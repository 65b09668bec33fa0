"""An asset's stops and trips, read from its stored fixes: a bounded number at a time, and computed in a thread.

Reading begins far enough before what is asked for, and goes on far enough after it, to give each stop and trip whole.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from tracker.domain.motion.rule import LONGEST_SILENCE_MS, Rule
from tracker.domain.motion.state import Motion, motion
from tracker.domain.motion.stops import Stop
from tracker.domain.motion.survey import Found, Survey
from tracker.domain.motion.trips import Span, Trip
from tracker.store import fixes
from tracker.store.database import Database
from tracker.wire.times import to_datetime

FIXES_AT_ONCE: Final = 30_000  # what becomes columns without holding up the fleet
FIXES_PER_PAGE: Final = 1_000_000  # then a page ends, as soon as nothing is under way
POINTS_PER_PAGE: Final = 100_000
HOUR_MS: Final = 3_600_000
# How far back the beginning of what is under way is looked for, step by step.
REACHES_MS: Final = (HOUR_MS, 6 * HOUR_MS, 36 * HOUR_MS, 9 * 24 * HOUR_MS, LONGEST_SILENCE_MS)
LAST_MS: Final = 253_402_300_799_999  # of the year 9999
AHEAD_MS: Final = 60_000  # trusted fixes are at most so far ahead of the server's clock

Segment = TypeVar("Segment", Stop, Trip)


@dataclass(frozen=True, slots=True)
class Asked:
    """What overlaps a span of time, in the order of beginning; `after_ms`: only what begins after that."""

    span: Span
    after_ms: int | None
    limit: int
    now_ms: int

    @property
    def until_ms(self) -> int:
        """Where reading ends at the latest."""
        return min(self.span[1] + LONGEST_SILENCE_MS, LAST_MS)

    @property
    def begin_ms(self) -> int:
        return self.span[0] if self.after_ms is None else self.after_ms

    def holds(self, found: Stop | Trip) -> bool:
        if found.from_ms > self.span[1]:
            return False
        if self.after_ms is not None:
            return found.from_ms > self.after_ms
        return found.open or found.to_ms >= self.span[0]


@dataclass(frozen=True, slots=True)
class Page(Generic[Segment]):
    shown: list[Segment]
    next_ms: int | None  # the next page has what begins after this; None: there is nothing more


class Reading:
    """Puts an asset's fixes through surveys. A connection is held only while it reads."""

    def __init__(self, database: Database, asset: int, rule: Rule) -> None:
        self._database, self._asset, self._rule = database, asset, rule

    async def now(self, now_ms: int) -> Motion:
        """Whether it moves, by its newest fixes."""
        until_ms = now_ms + AHEAD_MS
        start_ms, from_first = await self._beginning(until_ms)
        survey = Survey(self._rule, (start_ms, until_ms), from_first=from_first)
        stops: list[Stop] = []
        async for found, _ in self._found(survey, start_ms, until_ms, until_ms):
            stops += found.stops
        stops += survey.end(until_ms, now_ms).stops
        return motion(stops[-1] if stops else None, survey.last_run, survey.recent, now_ms, self._rule)

    async def stops(self, asked: Asked) -> Page[Stop]:
        return await self._page(asked, lambda found: found.stops, lambda survey: survey.untold_stops_ms)

    async def trips(self, asked: Asked, *, lines: bool) -> Page[Trip]:
        return await self._page(asked, lambda found: found.trips, lambda survey: survey.untold_trips_ms, lines=lines)

    async def _page(
        self,
        asked: Asked,
        pick: Callable[[Found], list[Segment]],
        untold: Callable[[Survey], int | None],
        *,
        lines: bool = False,
    ) -> Page[Segment]:
        start_ms, from_first = await self._beginning(asked.begin_ms - 1)
        survey = Survey(self._rule, asked.span, from_first=from_first, lines=lines)
        shown: list[Segment] = []
        seen = 0
        async with aclosing(self._found(survey, start_ms, asked.span[1], asked.until_ms)) as finds:
            async for found, fixes_read in finds:
                shown += filter(asked.holds, pick(found))
                seen += fixes_read
                untold_ms = untold(survey)
                if len(shown) > asked.limit or (untold_ms is not None and untold_ms > asked.span[1]):
                    break
                full = seen > FIXES_PER_PAGE or _points(shown) > POINTS_PER_PAGE
                if full and untold_ms is not None and untold_ms - 1 > asked.begin_ms:
                    return Page(shown, untold_ms - 1)
            else:
                silent_until_ms = await self._silent_until(survey, asked.until_ms)
                shown += filter(asked.holds, pick(survey.end(silent_until_ms, asked.now_ms)))
        if len(shown) > asked.limit:
            return Page(shown[: asked.limit], shown[asked.limit].from_ms - 1)
        return Page(shown, None)

    async def _beginning(self, instant_ms: int) -> tuple[int, bool]:
        """Where to begin reading to read whole what is under way at an instant, and whether no fix lies before."""
        start_ms = instant_ms
        for reach_ms in REACHES_MS:
            start_ms = instant_ms - reach_ms
            survey = Survey(self._rule, (start_ms, instant_ms), from_first=False)
            async with aclosing(self._found(survey, start_ms, instant_ms, instant_ms)) as finds:
                async for _ in finds:
                    if survey.settled:
                        return start_ms, False
        first, last = to_datetime(start_ms - LONGEST_SILENCE_MS), to_datetime(start_ms)
        return start_ms, not await self._database.rows("track_days", self._asset, first, last)

    async def _silent_until(self, survey: Survey, until_ms: int) -> int:
        """Where the silence after what was read has lasted long enough to end everything; else where reading ended."""
        if survey.newest_ms is None:
            return until_ms
        over_ms = min(survey.newest_ms + LONGEST_SILENCE_MS + 1, LAST_MS)
        if over_ms <= until_ms:
            return until_ms
        first, last = to_datetime(until_ms + 1), to_datetime(over_ms)
        return until_ms if await self._database.rows("track_days", self._asset, first, last) else over_ms

    async def _found(
        self, survey: Survey, start_ms: int, wanted_ms: int, until_ms: int
    ) -> AsyncGenerator[tuple[Found, int], None]:
        """What the fixes from one instant on bring to light, and how many were read: up to `wanted_ms` as many at a
        time as is good, then in steps that grow, up to `until_ms`.
        """
        step_ms = HOUR_MS
        while start_ms <= until_ms:
            async with self._database.connection() as connection:
                end_ms = await fixes.until(connection, self._asset, start_ms, wanted_ms, FIXES_AT_ONCE)
                stored = await fixes.read(connection, self._asset, start_ms, end_ms)
            # In a thread: a day of a fast device takes longer than the fleet should wait.
            yield await asyncio.to_thread(survey.feed, stored.columns, stored.flags == 0), len(stored)
            start_ms = end_ms + 1
            if start_ms > wanted_ms:
                wanted_ms = min(wanted_ms + step_ms, until_ms)
                step_ms *= 2


def _points(shown: Sequence[Stop | Trip]) -> int:
    return sum(len(each.line) for each in shown if isinstance(each, Trip))
