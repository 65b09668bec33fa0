"""A start from the tables knows what the writer knew."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.domain import scenes
from tests.domain.scenes import Mark, box, columns, fence, judge
from tests.store.batches import NOTHING_HAPPENED, Stored, clear, commit, cursors_of, make_fleet, store_settings
from tracker.domain.fleet import Asset, Device, Fleet
from tracker.domain.geofence import Geofence
from tracker.domain.index import FenceIndex
from tracker.domain.presence import NEVER, Presence, Sight
from tracker.domain.shape import Circle, buffer_m, polygon, radius_m, to_wkb
from tracker.pipeline.record import happenings, record
from tracker.store.database import Connection, connect
from tracker.store.filer import Filer
from tracker.store.fleet import restore as restore_fleet
from tracker.store.journal import Journal, journal_rows
from tracker.store.snapshot import load
from tracker.store.sql import sql

RECORDED_MS = 1_790_000_000_000


class Running:
    """The writer's state in memory, and the same on its way into the tables."""

    def __init__(self, connection: Connection, journal: Journal, filer: Filer) -> None:
        self.connection, self.journal, self.filer = connection, journal, filer
        self.fences: dict[int, Geofence] = {}
        self.begin_again()

    def begin_again(self) -> None:
        self.presence, self.index = Presence(), FenceIndex(self.fences.values())
        self.number = self.event = 0

    async def judge(self, batch: Sequence[Mark]) -> None:
        self.number += 1
        self.presence.reserve(max((mark.asset for mark in batch), default=0))
        made = columns(list(batch))
        judgement = judge(self.presence, self.index, made, self.number)
        self.presence.apply(judgement)
        told = record(happenings(judgement, made, self.index), Fleet(), after_id=self.event, recorded_ms=RECORDED_MS)
        self.event = told.last_id
        data = journal_rows(self.number, RECORDED_MS, made, cursors_of([(1, self.number, 0)]))
        await self.journal.commit(data, RECORDED_MS, self.number, told.rows, [])

    async def store_fences(self, fences: Sequence[Geofence]) -> None:
        """As geofence number 1, 2, … of this database."""
        await self.connection.execute(
            "DELETE FROM visit; DELETE FROM standing; DELETE FROM geofence_version; DELETE FROM geofence"
        )
        for each in fences:
            await self.connection.execute(
                "INSERT INTO geofence (id, name, tags, attributes) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)",
                *(each.id, each.name, list(each.tags), each.attributes),
            )
            shape = each.shape
            await self.connection.execute(
                sql("insert_geofence_versions"),
                *([each.id], [each.version], [each.quality]),
                *([to_wkb(shape)], [radius_m(shape)], [buffer_m(shape)], [each.options], each.since_batch),
            )
        self.fences = {each.id: each for each in fences}
        self.begin_again()


@pytest.fixture
async def running(database: str) -> AsyncIterator[Running]:
    connection, journal = await connect(database), Journal(database)
    await make_fleet(connection)
    journal._connection = await connect(database)
    filer = Filer(database, lambda: 2**60, lambda _: None)
    await filer._open()
    await filer._keep_house()
    yield Running(connection, journal, filer)
    await filer.stop()
    await journal.close()
    await connection.close()


def assert_same(memory: Sight, read: Sight) -> None:
    assert memory.inside == read.inside
    size = min(len(memory.newest.batch), len(read.newest.batch))
    for name in ("time_ms", "lon", "lat", "alt", "speed", "course", "accuracy", "batch", "seen"):
        one, other = getattr(memory.newest, name), getattr(read.newest, name)
        assert np.array_equal(one[:size], other[:size])
    for newest in (memory.newest, read.newest):
        assert np.all(newest.time_ms[size:] == NEVER)


@store_settings
@given(
    shapes=st.lists(st.tuples(scenes.shapes, scenes.qualities, st.integers(1, 3)), max_size=4),
    batches=st.lists(st.lists(scenes.marks(assets=2, instants=3, reach=1), max_size=8), max_size=5),
    filings=st.sets(st.integers(0, 4)),
)
async def test_what_is_read_is_what_was_known(
    running: Running, shapes: list[tuple[Any, Any, int]], batches: list[list[Mark]], filings: set[int]
) -> None:
    await clear(running.connection)
    await running.store_fences([fence(i, shape, quality, since) for i, (shape, quality, since) in enumerate(shapes, 1)])
    for number, batch in enumerate(batches):
        await running.judge(batch)
        if number in filings:
            await running.filer.file_due(at_fixes=0, after_s=1e12)

        snapshot = await load(running.connection)

        assert_same(running.presence.trusted, snapshot.presence.trusted)
        assert_same(running.presence.every, snapshot.presence.every)
        made_for = max((each.since_batch for each in running.fences.values()), default=0)
        assert (snapshot.batch, snapshot.event) == (max(running.number, made_for), running.event)
        assert [each.fence for each in snapshot.fences] == list(running.fences.values())
        unfiled = await running.connection.fetchval("SELECT max(batch) FROM journal WHERE stream <> '{}'")
        assert snapshot.streams == ({} if unfiled is None else {1: unfiled})


async def test_geofences_come_back_as_they_were_given(running: Running) -> None:
    fences = [
        Geofence(
            3, 1, "Kreis", Circle(13.400000000000002, -89.99999999999999, 0.1), "all", 5, ("a", "b"), {"n": [None]}
        ),
        Geofence(9, 1, "", polygon([[box(0, 0, 9, 9), box(1, 1, 2, 2)]]), "trusted", 1),
        Geofence(10, 1, "", polygon([[box(0, 0, 1, 1)], [box(1, 1, 2, 2)]]), "trusted", 1),
    ]
    await running.store_fences(fences)
    snapshot = await load(running.connection)
    assert [each.fence for each in snapshot.fences] == fences
    assert all(
        shapely.is_prepared(each.fence.shape) for each in snapshot.fences if not isinstance(each.fence.shape, Circle)
    )


async def test_a_changed_geofence_keeps_the_batch_of_its_first_version(running: Running) -> None:
    await running.store_fences([fence(1, Circle(0, 0, 1), since_batch=4)])
    connection = running.connection
    await connection.execute(sql("close_geofence_version"), 1, 1, 9)
    await connection.execute(
        sql("insert_geofence_versions"),
        [1],
        [2],
        ["all"],
        [shapely.to_wkb(shapely.Point(5, 5))],
        [7.0],
        [None],
        [{}],
        9,
    )
    await connection.execute(sql("update_geofence"), 1, 2, "new", [], {})
    snapshot = await load(connection)
    assert [each.fence for each in snapshot.fences] == [Geofence(1, 2, "new", Circle(5, 5, 7), "all", 4)]
    assert snapshot.batch == 9, "the version judges from batch 9 on, which may never have come to be"


async def test_a_deleted_geofence_is_gone_and_so_is_who_was_in_it(running: Running) -> None:
    await running.store_fences([fence(1, Circle(0, 0, 9_000)), fence(2, Circle(0, 0, 9_000))])
    await running.judge([Mark(1, 0, 0)])
    await running.connection.execute(sql("delete_geofence"), 1)
    snapshot = await load(running.connection)
    assert [each.fence.id for each in snapshot.fences] == [2]
    assert snapshot.presence.trusted.inside == {1: {2: 1}}


async def test_numbers_begin_after_what_is_durable(running: Running) -> None:
    assert ((await load(running.connection)).batch, (await load(running.connection)).event) == (0, 0)
    await commit(running.journal, 41, [Stored()])
    assert (await load(running.connection)).batch == 41
    await running.filer.file_due(at_fixes=0)
    assert (await load(running.connection)).batch == 41


async def test_the_fleet_is_restored(running: Running, database: str) -> None:
    connection = running.connection
    await connection.execute(
        "UPDATE asset SET tags = '{bus,a}', attributes = '{\"n\": 1}', active_device = 2 WHERE id = 1"
    )
    await connection.execute("UPDATE device SET config = '{\"s\": 5}', asset = 1 WHERE id = 2")
    await connection.execute("UPDATE asset SET deleted_at = now() WHERE id = 3")
    await connection.execute("UPDATE device SET deleted_at = now() WHERE id = 3")
    fleet = Fleet()
    fleet.put_asset(Asset(77, "stale"))
    version = fleet.version
    await restore_fleet(fleet, database)
    assert fleet.assets == {
        1: Asset(1, "asset 1", frozenset({"a", "bus"}), {"n": 1}, 2),
        2: Asset(2, "asset 2"),
    }
    assert fleet.devices == {1: Device(1, "device 1", 1), 2: Device(2, "device 2", 1, {"s": 5})}
    assert fleet.version != version


async def test_a_snapshot_is_of_one_instant(running: Running, connection: asyncpg.Connection) -> None:
    """What is filed while it is read is neither missing nor there twice."""
    for number in range(1, 6):
        data = journal_rows(number, RECORDED_MS, columns([Mark(number, number, 0)]), cursors_of([(1, number, 0)]))
        await running.journal.commit(data, RECORDED_MS, number, NOTHING_HAPPENED, [])
    async with running.connection.transaction(isolation="repeatable_read", readonly=True):
        await running.connection.fetch("SELECT 1")
        before = await running.connection.fetch(sql("load_unfiled"))
        await running.filer.file_due(at_fixes=0)
        assert await running.connection.fetch(sql("load_unfiled")) == before
        assert await running.connection.fetch(sql("load_newest_filed")) == []
    assert (await load(running.connection)).presence.trusted.newest.time_ms[1] == 5


async def test_attributes_are_those_of_the_newest_fix_wherever_it_is_stored(running: Running) -> None:
    """Of fixes equal in time and place the first counts, and what the others say does not."""
    filed, own, others = Stored(asset=1, attributes=b'{"n":1}'), Stored(asset=2, attributes=b'{"n":2}'), Stored(asset=3)
    await commit(running.journal, 1, [filed, own, others])
    await running.filer.file_due(at_fixes=0)
    await commit(running.journal, 2, [replace(own, time_ms=own.time_ms + 1, attributes=b'{"n":3}')])
    later = replace(others, time_ms=others.time_ms + 1)
    await commit(running.journal, 3, [replace(later, accuracy=5, attributes=b'{"n":4}'), later])
    asset, columns = (await load(running.connection)).positions
    assert columns.attributes is not None
    told = dict(zip(asset.tolist(), columns.attributes, strict=True))
    assert told == {1: b'{"n":1}', 2: b'{"n":3}', 3: None}
