"""Late fixes: assets are judged again beside ingest, and corrected between two batches.

The marks in the table `late` are the truth: whatever is lost on the way is done again. One task takes late assets in
turn, so that none waits for another: those with a month of late fixes go on beside the others, and those that cannot be
judged or corrected are set aside for a while.
"""

import asyncio
import logging
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from tracker.errors import StoreUnavailable, TrackerError
from tracker.pipeline.commit import Writer
from tracker.pipeline.correction import correct, tell_newest
from tracker.pipeline.review import review
from tracker.pipeline.stretch import MAX_FOUND, Stretch
from tracker.store.database import Database

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5  # so long fixes gather before their assets are judged again
ASSETS_AT_ONCE: Final = 64  # chosen in one turn, and corrected in one transaction
MOVED_S: Final = 0.05  # so long after the fixes of an asset were found to be moved it is looked at again
PATIENCE_S: Final = 0.2  # an asset that takes longer goes on beside the others
TURN_S: Final = 1.0  # so long assets are judged before what was found is corrected
MAX_BESIDE: Final = 4  # as many; over it those that take long wait for a place, and the others go on
ASIDE_S: Final = (1.0, 600.0)  # an asset that fails is left alone so long; twice as long each time, up to this


class Stale(TrackerError):
    """What was found so far is of no use any more; the asset is judged anew."""


@dataclass(slots=True)
class _Aside:
    """until_s: by the loop's clock."""

    wait_s: float
    until_s: float


class Reviser:
    """One task. An asset is at one place only: late, beside, found, or set aside and late."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._beside: dict[int, asyncio.Task[Stretch | None]] = {}
        self._found: list[Stretch] = []  # to be corrected
        self._slow: dict[int, None] = {}  # took long when there was no place beside: in order
        self._aside: dict[int, _Aside] = {}
        self._unsure: set[int] = set()  # of which the newest fix may have been corrected unheard
        self._at_once = ASSETS_AT_ONCE
        self._last = 0  # the asset that had its turn last
        self.revised = 0  # assets, since the start
        self.fixes = 0  # judged again
        self.corrections = 0  # events told

    @property
    def aside(self) -> int:
        """Assets that could not be judged, and are tried again later."""
        return len(self._aside)

    @property
    def waiting(self) -> int:
        """Assets that are late now, those under way and those set aside included."""
        return len(self._writer.late | self._slow.keys() | self._under_way())

    def _under_way(self) -> set[int]:
        return self._beside.keys() | {each.asset for each in self._found}

    async def run(self) -> None:
        """As long as the server; what is under way at its end is lost, and done again at the next start."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                while self._writer.ready and self._has_work():
                    await self._turn()
        finally:
            for task in self._beside.values():
                task.cancel()
            await asyncio.gather(*self._beside.values(), return_exceptions=True)

    def _has_work(self) -> bool:
        done = any(task.done() for task in self._beside.values())
        place = bool(self._slow) and len(self._beside) < MAX_BESIDE
        return done or place or bool(self._found or self._unsure or self._due())

    async def _turn(self) -> None:
        """Judge some assets again, and correct what was found."""
        clock = asyncio.get_running_loop().time
        until_s = clock() + TURN_S
        for asset in self._next():
            self._last = asset
            self._writer.late.discard(asset)
            await self._judge(asset)
            if clock() > until_s:
                break
        self._fill()
        self._gather()
        await self._correct_all()

    # Judging

    def _due(self) -> set[int]:
        """Late assets that are nowhere else and need not be left alone."""
        now_s = asyncio.get_running_loop().time()
        resting = {asset for asset, each in self._aside.items() if each.until_s > now_s}
        return self._writer.late - self._under_way() - self._slow.keys() - resting

    def _next(self) -> list[int]:
        """Some of them, going round: one that is late all the time keeps nobody waiting."""
        waiting = sorted(self._due())
        place = bisect_right(waiting, self._last)
        return (waiting[place:] + waiting[:place])[:ASSETS_AT_ONCE]

    async def _judge(self, asset: int) -> None:
        """One asset, for a moment; if it takes longer it goes on beside the others, as soon as there is a place."""
        task = self._begin(asset)
        await asyncio.wait({task}, timeout=PATIENCE_S)
        if not task.done() and len(self._beside) > MAX_BESIDE:
            del self._beside[asset]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._slow[asset] = None
        self._gather()

    def _begin(self, asset: int) -> "asyncio.Task[Stretch | None]":
        again = review(self._database, self._writer, asset, self._tell)
        task = self._beside[asset] = asyncio.create_task(again, name=f"judge-again-{asset}")
        return task

    def _fill(self) -> None:
        """Places beside go to those that wait for one."""
        while self._slow and len(self._beside) < MAX_BESIDE:
            asset = next(iter(self._slow))
            del self._slow[asset]
            self._begin(asset)

    def _gather(self) -> None:
        """What those that are done have found."""
        for asset, task in [(asset, task) for asset, task in self._beside.items() if task.done()]:
            del self._beside[asset]
            error = task.exception()
            if error is None:
                found = task.result()
                self._found += [] if found is None else [found]
                if found is None:
                    self._aside.pop(asset, None)
            elif isinstance(error, Stale):
                self._writer.late.add(asset)
            else:
                self._fail([asset], error)

    # Correcting

    async def _tell(self, stretch: Stretch) -> None:
        """Write what was found so far of an asset that goes on."""
        while True:
            outcome = await self._writer.between_batches(lambda writer: correct(writer, [stretch]))
            self.corrections += outcome.told
            if outcome.stale:
                raise Stale("the geofences or the asset's thresholds are others than when it was begun")
            if not outcome.held_up:
                return
            await asyncio.sleep(MOVED_S)

    async def _correct_all(self) -> None:
        """What was found, some assets in a transaction; those of which fixes are being moved keep waiting."""
        waiting, self._found = self._found, []
        held_up: list[Stretch] = []
        while waiting:
            group = _some(waiting, self._at_once)
            waiting = waiting[len(group) :]
            self._found = [*group, *waiting, *held_up]
            held_up += await self._correct(group)
        self._found = held_up
        if self._unsure:
            await self._reassure()
        if held_up:
            await asyncio.sleep(MOVED_S)

    async def _correct(self, group: list[Stretch]) -> list[Stretch]:
        """Those that are held up."""
        try:
            outcome = await self._writer.between_batches(lambda writer: correct(writer, group))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other assets go on
            self._unsure.update(each.asset for each in group if each.at_end)
            self._fail([each.asset for each in group], error)
            return []
        self._at_once = min(ASSETS_AT_ONCE, 2 * self._at_once)
        self._writer.late.update(each.asset for each in outcome.stale)
        done = [each for each in group if each not in outcome.held_up and each not in outcome.stale]
        for each in done:
            self._aside.pop(each.asset, None)
        self.revised += len(done)
        self.fixes += sum(each.fixes for each in done)
        self.corrections += outcome.told
        return list(outcome.held_up)

    async def _reassure(self) -> None:
        """The map shows what is durable, also where no answer came to a correction."""
        assets = sorted(self._unsure)
        try:
            await self._writer.between_batches(lambda writer: tell_newest(writer, assets))
        except StoreUnavailable as error:
            log.info("action=reviser_tries_again cause=%s", error)
            await asyncio.sleep(EVERY_S)
        else:
            self._unsure.difference_update(assets)

    def _fail(self, assets: list[int], error: BaseException) -> None:
        """One of several is to blame: they are tried one by one. One alone is set aside, and nobody waits for it."""
        self._writer.late.update(assets)
        if len(assets) > 1:
            self._at_once = 1
            log.warning("action=assets_corrected_one_by_one assets=%s cause=%s", assets, error)
            return
        for asset in assets:
            known = self._aside.get(asset)
            wait_s = ASIDE_S[0] if known is None else min(2 * known.wait_s, ASIDE_S[1])
            self._aside[asset] = _Aside(wait_s, asyncio.get_running_loop().time() + wait_s)
            foreseen = isinstance(error, TrackerError)
            log.error(
                "action=late_asset_set_aside asset=%s for_s=%s cause=%s",
                asset,
                wait_s,
                error,
                exc_info=None if foreseen else error,
            )


def _some(waiting: list[Stretch], most: int) -> list[Stretch]:
    """As many as go into one transaction; at least one."""
    size, group = 0, list[Stretch]()
    for each in waiting[:most]:
        size += each.found
        if group and size > MAX_FOUND:
            break
        group.append(each)
    return group
