"""Judges pairs of assets by the geofences around assets: beside ingest, from what is durable, with the events applied
between two batches.

Every judging is a comparison: what the tracks say of a pair from an instant on against what was told of it. So late,
doubled and doubtful fixes, and whatever was under way when a server was killed, need nothing of their own. Nothing is
remembered that the tables do not tell: the recent fixes in memory are theirs, and what is not judged yet stays in the
journal.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from tracker.domain.batch import Ints
from tracker.domain.geofence import Quality
from tracker.domain.proximity import Proximity
from tracker.domain.recent import ALWAYS
from tracker.domain.turn import ASSET_CHANGED, ASSET_DELETED, FENCE_CHANGED, FENCE_DELETED
from tracker.errors import TrackerError
from tracker.pipeline.commit import Writer
from tracker.pipeline.pairs import telling
from tracker.pipeline.pairs.outcome import judged
from tracker.pipeline.pairs.register import Changed, Heard, Register, Retagged
from tracker.pipeline.pairs.rule import History, Rule
from tracker.pipeline.pairs.span import Span, Spans, first_window, spans_of
from tracker.pipeline.pairs.tracks import Sight, put, tracks_of
from tracker.store import proximity as store
from tracker.store.database import Connection, Database
from tracker.store.proximity import OpenStay

log = logging.getLogger(__name__)

EVERY_S: Final = 0.25  # so long fixes gather before pairs are judged
MARKS_EVERY_S: Final = 1.0
RETRY_AFTER_S: Final = 1.0
LOADED_MS: Final = 600_000  # of each asset's newest fixes, at a start


class PairJudge:
    """Owns what is known of pairs; one task."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._rules: dict[int, Rule] = {}
        self._tags: dict[int, list[tuple[int, frozenset[str]]]] = {}
        self._known: set[int] = set()  # assets whose tags were looked at
        self._sights: dict[Quality, Sight] = {}
        self._taken = 0  # batches and changes that this turn judges

    @property
    def _register(self) -> Register:
        return self._writer.proximities

    @property
    def behind(self) -> int:
        """Batches and changes that are durable but not judged."""
        return self._register.waiting + self._taken

    async def run(self) -> None:
        """As long as the server; whatever is under way at its end is judged again at the next start."""
        while True:
            try:
                async with asyncio.timeout(MARKS_EVERY_S if self._register.current else None):
                    await self._register.arrived.wait()
            except TimeoutError:
                pass  # time to look for marks
            await asyncio.sleep(EVERY_S)
            try:
                await self.turn()
            except TrackerError as error:
                log.warning("action=pairs_judged_again_later cause=%s", error)
                self._register.restore(self._register.current.values())
                await asyncio.sleep(RETRY_AFTER_S)

    # One turn

    async def turn(self) -> None:
        """Judge all that waits."""
        register = self._register
        self._taken = register.waiting
        if register.lost:
            await self._reload()
        committed, items = self._writer.committed, register.take()
        self._taken = len(items)
        pending: list[Heard] = []
        for item in items:
            if isinstance(item, Heard):
                pending.append(item)
            else:
                await self._judge(pending)
                pending = []
                self._change(item)
        await self._judge(pending)
        await self._look_at_doubts()
        if any(not isinstance(item, Heard) for item in items):
            await self._close_ended()
        if not register.lost:
            register.judged = committed
        self._taken = 0

    async def _reload(self) -> None:
        """Begin from the tables: everything in the journal is judged, told already or not."""
        register, committed = self._register, self._writer.committed
        register.lost = False
        register.take()
        self._rules, self._known = {}, set()
        self._sights = {fence.quality: Sight() for fence in register.current.values()}
        if register.current:
            await self._load()
        await self._judge([])
        await self._close_ended()
        if not register.lost:
            register.judged = committed

    async def _load(self) -> None:
        """Whom the geofences in force judge, their newest fixes, and what the journal has of them, to be judged."""
        async with self._database.connection() as connection:
            self._tags = await store.asset_tags(connection)
            spans = await store.journal_spans(connection)
            for fence in self._register.current.values():
                self._add(fence)
            for quality, sight in self._sights.items():
                await self._load_recent(connection, quality, sight)
                for asset in spans.keys() & set(self._involved(quality).tolist()):
                    sight.spans[asset] = Span(*spans[asset], late=False)

    def _add(self, fence: Proximity) -> None:
        rule = self._rules[fence.id] = Rule(fence)
        for asset in self._writer.fleet.assets.values():
            rule.admit(asset.id, self._history(asset.id))
        self._known.update(self._writer.fleet.assets)

    def _history(self, asset: int) -> History:
        known = self._writer.fleet.assets.get(asset)
        return [] if known is None else self._tags.get(asset) or [(0, known.tags)]

    def _involved(self, quality: Quality) -> Ints:
        """The assets that a geofence of this quality looks at."""
        return np.unique(np.concatenate([r.involved() for r in self._rules.values() if r.fence.quality == quality]))

    async def _load_recent(self, connection: Connection, quality: Quality, sight: Sight) -> None:
        involved = self._involved(quality)
        newest = await store.newest_fixes(connection, involved)
        assets = np.array(sorted(newest), np.int64)
        last_ms = np.array([newest[asset] for asset in assets.tolist()], np.int64)
        fixes = await store.read_fixes(connection, assets, quality, last_ms - LOADED_MS, last_ms)
        for asset in involved.tolist():
            sight.recent.know(asset, newest[asset] - LOADED_MS if asset in newest else ALWAYS)
        put(sight.recent, fixes)

    def _change(self, item: Changed | Retagged) -> None:
        if isinstance(item, Changed):
            old = self._rules.get(item.id)
            if item.fence is not None and old is not None and old.fence.version == item.fence.version:
                old.fence = item.fence
                return
            self._rules.pop(item.id, None)
            self._register.lost |= item.fence is not None  # it may look at assets that were not listened to until now
        else:
            self._retag(item)

    def _retag(self, item: Retagged) -> None:
        asset = np.array([item.asset])
        before = self._tags.get(item.asset) or [(0, item.before)]
        self._tags[item.asset] = [] if item.tags is None else [*before, (item.batch, item.tags)]
        for rule in self._rules.values():
            involved = rule.involves(asset)[0]
            rule.admit(item.asset, self._tags[item.asset])
            if rule.involves(asset)[0] and not involved:
                self._register.lost = True  # its fixes were not listened to until now

    # Judging

    async def _judge(self, heard: Sequence[Heard]) -> None:
        """Put new fixes to what is known, and judge all pairs that they concern."""
        if heard:
            self._hear(np.concatenate([each.fixes for each in heard], axis=1))
        while any(sight.spans for sight in self._sights.values()):
            for quality, sight in self._sights.items():
                chosen = first_window(sight.spans)
                assets = np.fromiter(chosen, np.int64, len(chosen))
                for rule in [each for each in self._rules.values() if each.fence.quality == quality]:
                    mine = {asset: chosen[asset] for asset in assets[rule.involves(assets)].tolist()}
                    if mine:
                        await self._judge_rule(rule, sight, mine)

    def _hear(self, fixes: Ints) -> None:
        for asset in set(np.unique(fixes[0]).tolist()) - self._known:
            for rule in self._rules.values():
                rule.admit(asset, self._history(asset))
            for sight in self._sights.values():
                sight.recent.know(asset, ALWAYS)  # it was made since, so nothing is stored of it
            self._known.add(asset)
        for quality, sight in self._sights.items():
            wanted = np.zeros(fixes.shape[1], np.bool_)
            for rule in self._rules.values():
                if rule.fence.quality == quality:
                    wanted |= rule.involves(fixes[0])
            if quality == "trusted":
                wanted &= fixes[5] == 0
            mine = fixes[:5, wanted]
            for asset, span in spans_of(mine, sight.recent).items():
                sight.spans[asset] = span.union(sight.spans.get(asset))
            put(sight.recent, mine)

    async def _judge_rule(self, rule: Rule, sight: Sight, spans: Spans) -> None:
        """All pairs of one geofence that new fixes concern."""
        fence = rule.fence
        from_ms = min(span.first_ms for span in spans.values())
        until_ms = max(span.last_ms for span in spans.values()) + fence.max_gap_ms
        assets = np.array(sorted(spans), np.int64)
        async with self._database.connection() as connection:
            stays = await store.stays(connection, fence, from_ms, assets)
            while True:
                tracks = await tracks_of(connection, rule, sight, spans, stays, from_ms, until_ms)
                found, agrees = await asyncio.to_thread(
                    judged, rule, tracks, spans, stays, from_ms, until_ms, sight.recent.newest_ms
                )
                if agrees:
                    break
                until_ms += 2 * (until_ms - from_ms)
        if found.changes:
            await self._writer.between_batches(lambda writer: telling.tell(writer, found))

    async def _look_at_doubts(self) -> None:
        """Fixes that came to be doubted, or no more: they are judged again."""
        if not self._rules:
            return
        async with self._database.connection() as connection:
            marks = await store.doubt_marks(connection)
        if not marks:
            return
        sight = self._sights.get("trusted")
        for _, asset, time_ms in marks:
            if sight is not None:
                sight.recent.forget(asset, time_ms)
                sight.spans[asset] = Span(time_ms, time_ms, late=True).union(sight.spans.get(asset))
        await self._judge([])
        done = [mark for mark, _, _ in marks]
        await self._writer.between_batches(lambda writer: telling.forget_marks(writer, done))

    async def _close_ended(self) -> None:
        """End the visits of pairs that are judged no more."""
        async with self._database.connection() as connection:
            stays = await store.open_stays(connection)
        found = [(stay, self._cause(stay)) for stay in stays]
        ended = [telling.Ended(stay, cause, self._newest_ms(stay)) for stay, cause in found if cause is not None]
        if ended:
            await self._writer.between_batches(lambda writer: telling.close(writer, ended))

    def _cause(self, stay: OpenStay) -> str | None:
        """Why an open visit must end, None: it goes on."""
        rule, assets = self._rules.get(stay.fence), self._writer.fleet.assets
        if stay.fence_deleted:
            return FENCE_DELETED
        if rule is None or stay.version != rule.fence.version:
            return FENCE_CHANGED
        if any(asset not in assets for asset in stay.pair):
            return ASSET_DELETED
        asset, other = stay.pair
        return ASSET_CHANGED if rule.since(np.array([asset]), np.array([other]))[0] != stay.since_batch else None

    def _newest_ms(self, stay: OpenStay) -> int:
        return max((sight.recent.newest_ms(asset) for sight in self._sights.values() for asset in stay.pair), default=0)
