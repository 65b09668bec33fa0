"""What all viewers share: the positions, the feed, who changed since when, where everybody stands; and the clock that
wakes viewers when they have something to see.

Nothing is queued per viewer. What is found is found once for all viewers that look at the same time.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints
from tracker.live.cells import Keys
from tracker.live.chart import Chart
from tracker.live.feed import Feed
from tracker.live.latest import Latest
from tracker.live.places import UNKNOWN_GROUND, Ground, Places, distinct

TICK_S: Final = 0.05  # viewers look at most this often, whatever their max_hz
AT_ONCE: Final = 64  # viewers who look in one turn of the loop
SURVEY_S: Final = 1.0  # between two surveys of where everybody stands
EVERYBODY: Final[frozenset[str]] = frozenset()  # a filter of no tags
SURVEY_SHARE: Final = 20  # a survey takes at most one part in so many of the time


@dataclass(slots=True, eq=False)
class Sleeper:
    """A viewer with nothing to do now."""

    wake: asyncio.Event
    due: float  # by the clock of the loop; it looks at no position before
    seen: int  # the change up to which it has seen every position
    event: int | None  # the last event it has read, if it follows the feed


class Hub:
    """One per server."""

    def __init__(self, latest: Latest, feed: Feed) -> None:
        self.latest = latest
        self.feed = feed
        self.chart = Chart(latest)
        self._ground = UNKNOWN_GROUND
        self._shared_since = -1  # the change up to which the survey before this one saw
        self._survey: asyncio.Task[None] | None = None
        self._survey_due = 0.0
        self._touched = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sleepers: set[Sleeper] = set()
        self._changed: dict[tuple[int, frozenset[str]], Places] = {}
        self._changed_as_of = -1

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="hub")
        self._survey_if_due(0.0)

    async def stop(self) -> None:
        tasks = [task for task in (self._task, self._survey) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Waking

    def touch(self) -> None:
        """Something changed; viewers learn of it at the next tick."""
        self._touched.set()

    def park(self, sleeper: Sleeper) -> None:
        """It is woken when there is something for it, and no sooner than it is due."""
        self._sleepers.add(sleeper)
        if sleeper.seen < self.latest.now or (sleeper.event is not None and sleeper.event < self.feed.last_id):
            self._touched.set()

    def unpark(self, sleeper: Sleeper) -> None:
        self._sleepers.discard(sleeper)

    async def _run(self) -> None:
        clock, later = asyncio.get_running_loop().time, False
        while True:
            if not later:
                await self._touched.wait()
            self._touched.clear()
            due, later = self._due(clock())
            for first in range(0, len(due), AT_ONCE):
                for sleeper in due[first : first + AT_ONCE]:
                    sleeper.wake.set()
                await asyncio.sleep(0)  # they look, and then others have a turn: a device waits for its ack
            if self._sleepers and self._ground.as_of < self.latest.now:
                self._survey_if_due(clock())
            await asyncio.sleep(TICK_S)

    def _due(self, now: float) -> tuple[list[Sleeper], bool]:
        """Who has something to see now, and whether somebody has later."""
        due, later = [], False
        for sleeper in self._sleepers:
            if sleeper.event is not None and sleeper.event < self.feed.last_id:
                due.append(sleeper)
            elif sleeper.seen < self.latest.now:
                later = True
                if sleeper.due <= now:
                    due.append(sleeper)
        return due, later

    # Looking

    def changed_since(self, seen: int, tags: frozenset[str] = EVERYBODY) -> Places:
        """The assets that changed after `seen` and are admitted by a filter, by place."""
        self.chart.refresh()
        if self._changed_as_of != self.latest.now:
            self._changed, self._changed_as_of = {}, self.latest.now
        found = self._changed.get((seen, tags))
        if found is None:
            assets = self.latest.changed_since(seen)
            if tags:
                assets = assets[self.chart.admitted(assets, tags)]
            found = self._changed[seen, tags] = Places.of(self.chart.keys[assets])
        return found

    def ground(self, tags: frozenset[str]) -> Ground:
        """Where those that a filter admits stood when they were surveyed last."""
        if self._ground is UNKNOWN_GROUND:
            self.survey()
        return self._ground.part(tags, self.chart.kinds.of, self.chart.kinds.admitted(tags))

    def most_near(self, ranges: Keys, tags: frozenset[str]) -> int:
        """No more than that many are in these cells."""
        ground = self.ground(tags)
        return ground.places.count(ranges) + self.changed_since(ground.as_of, tags).count(ranges)

    def near(self, ranges: Keys, tags: frozenset[str]) -> Ints:
        """Who is in these cells now, sorted, and some who have left them since the last survey."""
        ground = self.ground(tags)
        recent = self.changed_since(ground.as_of, tags)
        near = distinct(np.concatenate([ground.places.within(ranges), recent.within(ranges)]))
        return near[self.chart.admitted(near, tags)]  # when they were surveyed they were; by now some may be gone

    def changed_near(self, ranges: Keys, tags: frozenset[str], seen: int) -> Ints:
        """Those of them that changed after `seen`."""
        if seen >= self._shared_since:
            return self.changed_since(seen, tags).within(ranges)
        # A viewer who comes seldom: a list of what changed in just its time would be shared with nobody.
        near = self.near(ranges, tags)
        return near[self.latest.change[near] > seen]

    # Surveying

    def survey(self) -> None:
        """Find out where everybody stands, at once."""
        self._put_ground(Ground.of(*self._state()))

    def _put_ground(self, ground: Ground) -> None:
        self._shared_since, self._ground = self._ground.as_of, ground

    def _state(self) -> tuple[int, Keys, NDArray[np.int32], NDArray[np.int32]]:
        self.chart.refresh()
        columns = self.latest.columns
        return self.latest.now, self.chart.keys.copy(), columns["lon"].copy(), columns["lat"].copy()

    def _survey_if_due(self, now: float) -> None:
        if now < self._survey_due or (self._survey is not None and not self._survey.done()):
            return
        self._survey_due = float("inf")  # until this one has told how long it took
        self._survey = asyncio.create_task(self._survey_aside(), name="hub-survey")

    async def _survey_aside(self) -> None:
        """In a thread: sorting a million takes as long as many frames."""
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            self._put_ground(await asyncio.to_thread(Ground.of, *self._state()))
        finally:
            self._survey_due = clock() + max(SURVEY_S, SURVEY_SHARE * (clock() - started))
