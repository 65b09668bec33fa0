"""Geofences that change between batches: what is told, what is stored, and that a start would read the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain import scenes
from tests.domain.scenes import Mark, box, columns, contains, judge
from tests.domain.test_presence import QUALITIES, Crossing, Rule, order
from tests.store.batches import clear, cursors_of, make_fleet, store_settings
from tests.store.test_snapshot import assert_same
from tracker.domain.fleet import Asset, Fleet
from tracker.domain.geofence import Geofence, Quality
from tracker.domain.presence import ENTER, EXIT
from tracker.domain.shape import Circle, Shape, polygon
from tracker.errors import NotFound, RefusedByDatabase, StoreUnavailable
from tracker.live.feed import Feed
from tracker.live.latest import Latest
from tracker.pipeline.commit import Writer
from tracker.pipeline.fences import Draft, create, delete, replace_fence
from tracker.pipeline.intake import Intake
from tracker.pipeline.publish import Publisher
from tracker.pipeline.record import happenings, record
from tracker.pipeline.stream import Lanes
from tracker.store.journal import Journal, journal_rows
from tracker.store.snapshot import load
from tracker.wire.times import to_ms

RECORDED_MS = 1_790_000_000_000
Outcome = TypeVar("Outcome")
Told = tuple[Crossing, str | None]  # an event, and its cause


@dataclass(frozen=True)
class Create:
    shape: Shape
    quality: Quality


@dataclass(frozen=True)
class Replace:
    which: int
    shape: Shape
    quality: Quality | None  # None: as it is


@dataclass(frozen=True)
class Delete:
    which: int


class Town:
    """A writer that is driven by hand, and the rule beside it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.begin_again()

    def begin_again(self) -> None:
        fleet = Fleet()
        for number in range(1, 4):
            fleet.put_asset(Asset(number, f"asset {number}"))
        self.feed = Feed()
        self.writer = Writer(self.journal, fleet, Intake(), Lanes(), Publisher(Latest(fleet), self.feed))
        self.writer.ready = True
        self.rule = Rule()
        self.is_exact = True  # as long as no quality was changed: what was seen then is told by batches only

    async def batch(self, marks: Sequence[Mark]) -> list[Told]:
        """What comes in order; what is late or a repeat is told by judging again, which has its own tests."""
        newest = self.rule.newest
        marks = [each for each in marks if all(each.key > newest.get((q, each.asset), each.key[:0]) for q in QUALITIES)]
        writer, made = self.writer, columns(list(marks))
        writer.batch += 1
        writer.presence.reserve(max((mark.asset for mark in marks), default=0))
        judgement = judge(writer.presence, writer.index, made, writer.batch)
        writer.presence.apply(judgement)
        told = record(
            happenings(judgement, made, writer.index), writer.fleet, after_id=writer.event, recorded_ms=RECORDED_MS
        )
        rows = journal_rows(writer.batch, RECORDED_MS, made, cursors_of([(1, writer.batch, 0)]))
        await self.journal.commit(rows, RECORDED_MS, writer.batch, told.rows, [])
        writer.told(told)
        return [(each, None) for each in self.rule.judge(list(marks))]

    async def done(self, change: Awaitable[Outcome]) -> Outcome:
        """A change, when its turn has come."""
        asked = asyncio.ensure_future(change)
        while not self.writer._changes and not asked.done():
            await asyncio.sleep(0)
        if self.writer._changes:
            await self.writer._apply_change()
        return await asked

    async def create(self, step: Create) -> list[Told]:
        (made,) = await self.done(create(self.writer, [Draft("new", step.shape, step.quality)]))
        assert isinstance(made, Geofence)
        assert (made.version, made.since_batch) == (1, self.writer.batch + 1)
        self.rule.fences[made.id] = made
        return []

    def pick(self, which: int) -> int | None:
        known = sorted(self.rule.fences)
        return known[which % len(known)] if known else None

    async def replace(self, step: Replace) -> list[Told]:
        number = self.pick(step.which)
        if number is None:
            return []
        old = self.rule.fences[number]
        draft = Draft("changed", step.shape, step.quality or old.quality)
        new = await self.done(replace_fence(self.writer, number, lambda _: draft))
        same = (new.shape, new.quality) == (old.shape, old.quality)
        assert (new.version, new.since_batch) == (old.version + (not same), old.since_batch)
        self.is_exact = self.is_exact and new.quality == old.quality
        self.rule.fences[number] = new
        return [] if not self.is_exact else self.moved(number)

    def moved(self, number: int) -> list[Told]:
        """Who was seen is judged again where it was last."""
        fence, found = self.rule.fences[number], list[Told]()
        for asset in sorted({asset for each, asset in self.rule.seen if each == number}):
            key = self.rule.newest[fence.quality, asset]
            pair = number, asset
            within, was = contains(fence.shape, key[1], key[2]), pair in self.rule.inside
            if within != was:
                self.rule.inside ^= {pair}
                found.append((Crossing(asset, key, ENTER if within else EXIT, number, initial=False), "fence_changed"))
        return found

    async def delete(self, step: Delete) -> list[Told]:
        number = self.pick(step.which)
        if number is None:
            return []
        await self.done(delete(self.writer, number))
        quality = self.rule.fences[number].quality
        gone = sorted(asset for each, asset in self.rule.inside if each == number and self.is_exact)
        told = [Crossing(asset, self.rule.newest[quality, asset], EXIT, number, initial=False) for asset in gone]
        self.rule.remove(number)
        return [(each, "fence_deleted") for each in told]


@pytest.fixture
async def town(database: str) -> AsyncIterator[Town]:
    journal = Journal(database)
    await journal.open(wait_s=10)
    await make_fleet(journal.connection)
    yield Town(journal)
    await journal.close()


async def events(journal: Journal, after: int) -> list[Told]:
    rows = await journal.connection.fetch("SELECT * FROM event WHERE id > $1 ORDER BY id", after)
    kinds = {"geofence.enter": ENTER, "geofence.exit": EXIT}
    found = []
    for row in rows:
        key = to_ms(row["fix_time"]), row["lon"], row["lat"]
        crossing = Crossing(row["asset"], key, kinds[row["type"]], row["geofence"], row["initial"])
        found.append((crossing, row["cause"]))
    return found


def sort_key(told: Told) -> Any:
    return order(told[0])


async def check_start(town: Town) -> None:
    """What a start would read is what the writer knows."""
    snapshot, writer = await load(town.journal.connection), town.writer
    assert [each.fence for each in snapshot.fences] == [
        writer.index.fences[number] for number in sorted(writer.index.fences)
    ]
    assert_same(writer.presence.trusted, snapshot.presence.trusted)
    assert_same(writer.presence.every, snapshot.presence.every)
    assert (snapshot.event, town.feed.last_id) == (writer.event, writer.event)
    open_visits = await town.journal.connection.fetch("SELECT asset, geofence FROM visit WHERE exit_event IS NULL")
    inside = {(asset, number) for asset in writer.fleet.assets for number in writer.presence.fences_of(asset)}
    assert {tuple(row) for row in open_visits} == inside
    assert (
        await town.journal.connection.fetchval("SELECT count(*) FROM visit WHERE exit_time < enter_time") == 0
        or not town.is_exact
    )


batch_steps = st.lists(scenes.marks(assets=3, instants=8, reach=3), min_size=1, max_size=8)
small_shapes = st.one_of(scenes.rectangles(), scenes.circles(), scenes.islands())
change_steps = st.one_of(
    st.builds(Create, small_shapes, scenes.qualities),
    st.builds(Replace, st.integers(0, 9), small_shapes, st.one_of(st.none(), st.none(), scenes.qualities)),
    st.builds(Delete, st.integers(0, 9)),
)


@store_settings
@given(
    first=st.builds(Create, small_shapes, scenes.qualities),
    steps=st.lists(st.one_of(batch_steps, change_steps), max_size=8),
)
async def test_changes_tell_what_they_move_and_a_start_would_know_it(
    town: Town, first: Create, steps: list[Any]
) -> None:
    connection = town.journal.connection
    await clear(connection)
    await connection.execute("DELETE FROM geofence_version; DELETE FROM geofence")
    town.begin_again()
    for step in [first, *steps]:
        before = town.writer.event
        if isinstance(step, list):
            expected = await town.batch(step)
        elif isinstance(step, Create):
            expected = await town.create(step)
        elif isinstance(step, Replace):
            expected = await town.replace(step)
        else:
            expected = await town.delete(step)
        told = await events(town.journal, before)
        if town.is_exact:
            assert sorted(told, key=sort_key) == sorted(expected, key=sort_key)
        kinds = [each.kind for each, cause in told if cause is not None]
        assert kinds == sorted(kinds), "exits before enters"
        await check_start(town)


AROUND = polygon([[box(-1, -1, 1, 1)]])


async def test_many_are_made_in_order_or_none(town: Town) -> None:
    drafts = [Draft(f"fence {i}", Circle(i, 0, 10), tags=("a",), attributes={"i": i}) for i in range(20)]
    made = await town.done(create(town.writer, drafts))
    assert [each.name for each in made] == [draft.name for draft in drafts]
    assert [each.id for each in made] == sorted(each.id for each in made)
    with pytest.raises(RefusedByDatabase):
        await town.done(create(town.writer, [drafts[0], Draft("a\x00b", AROUND)]))
    assert len(town.writer.index.fences) == 20
    await check_start(town)


async def test_a_change_that_says_the_same_makes_no_version(town: Town) -> None:
    (made,) = await town.done(create(town.writer, [Draft("a", AROUND)]))
    await town.batch([Mark(1, 0, 0)])
    same = polygon([[box(-1, -1, 1, 1)]])
    new = await town.done(replace_fence(town.writer, made.id, lambda old: Draft(old.name + "b", same, tags=("t",))))
    assert (new.name, new.version, new.tags) == ("ab", 1, ("t",))
    assert len(await events(town.journal, 0)) == 1
    await check_start(town)


@pytest.mark.parametrize("change", ["replace", "delete"])
async def test_a_geofence_that_is_not_there_cannot_change(town: Town, change: str) -> None:
    with pytest.raises(NotFound, match="There is no geofence gf_7"):
        await town.done(
            delete(town.writer, 7) if change == "delete" else replace_fence(town.writer, 7, lambda _: Draft("", AROUND))
        )


async def test_without_its_database_the_writer_takes_no_change(town: Town) -> None:
    town.writer.ready = False
    with pytest.raises(StoreUnavailable):
        await delete(town.writer, 1)
