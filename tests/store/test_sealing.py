"""Sealed days: whatever is sealed when, nothing is lost, doubled or changed."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.batches import (
    DAY_MS,
    Stored,
    anywhere,
    expected_positions,
    fix_in,
    nearby,
    positions,
    store_settings,
    stored,
)
from tests.store.test_filer import TODAY_MS, Commit, Filing, Store, check_track
from tests.store.test_reading import place, without_flags
from tests.store.test_reading import values as values_of
from tracker.store import fixes, moment, sealer
from tracker.store import seal as module
from tracker.store.database import Database, connect
from tracker.store.packing import PACKED, pack, unpack
from tracker.store.prune import Pruned, prune
from tracker.store.sealer import Sealing, seal
from tracker.wire.times import to_datetime

TOMORROW = to_datetime(TODAY_MS + DAY_MS).date()

# Packing -------------------------------------------------------------------------------------------------------------

int32s = st.one_of(st.sampled_from([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]), st.integers(-(2**31), 2**31 - 1))
int16s = st.one_of(st.sampled_from([-(2**15), -(2**15) + 1, 0, 2**15 - 1]), st.integers(-(2**15), 2**15 - 1))
kinds: dict[str, st.SearchStrategy[int]] = {
    **dict.fromkeys(PACKED, int32s),
    "time": st.one_of(st.just(0), st.integers(0, DAY_MS - 1), st.integers(-5, 5)),
    "batch": st.one_of(st.sampled_from([0, 1, 2**62, 2**63 - 1]), st.integers(0, 2**63 - 1), st.integers(7, 90)),
    "course": int16s,
    "flags": int16s,
    "extra": st.integers(0, 3),
}


@st.composite
def columns(draw: st.DrawFn) -> dict[str, list[int]]:
    """Some fixes in any order; of each column few values or many, near each other or anywhere."""
    size = draw(st.integers(1, 12))
    made = {}
    for name, values in kinds.items():
        few = draw(st.lists(values, min_size=1, max_size=3))
        each = draw(st.sampled_from([values, st.sampled_from(few), st.just(few[0])]))
        made[name] = draw(st.lists(each, min_size=size, max_size=size))
    return made


def packed_rows(parts: Sequence[dict[str, list[int]]]) -> tuple[list[tuple[int, bytes]], list[int]]:
    whole = {name: np.array([value for part in parts for value in part[name]], np.int64) for name in PACKED}
    sizes = [len(part["time"]) for part in parts]
    return pack(whole, sizes), sizes


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(columns(), min_size=1, max_size=4))
def test_every_value_comes_back_whatever_it_is(parts: list[dict[str, list[int]]]) -> None:
    packed, sizes = packed_rows(parts)
    found = unpack([data for _, data in packed], sizes)
    for name in PACKED:
        assert found[name].tolist() == [value for part in parts for value in part[name]], name
    assert [-(-length // 8) for length, _ in packed] == [len(data) for _, data in packed]


@settings(store_settings, max_examples=25)
@given(parts=st.lists(columns(), min_size=1, max_size=3))
async def test_sql_reads_the_same_bits(connection: asyncpg.Connection, parts: list[dict[str, list[int]]]) -> None:
    packed, sizes = packed_rows(parts)
    t0 = datetime(2026, 3, 1, tzinfo=UTC)
    for (length, data), size, part in zip(packed, sizes, parts, strict=True):
        bits = asyncpg.BitString.frombytes(data, length)
        rows = await connection.fetch(
            "SELECT *, attributes AS extra FROM unseal($1, $2, $3, ARRAY['1', '2', '3']::jsonb[])", t0, size, bits
        )
        seen: dict[str, list[Any]] = {**part, "time": [t0 + timedelta(milliseconds=ms) for ms in part["time"]]}
        seen["extra"] = [str(each) if each else None for each in part["extra"]]
        for name in PACKED:
            assert [row[name] for row in rows] == seen[name], name
        places = await connection.fetch("SELECT * FROM unseal_places($1, $2, $3)", t0, size, bits)
        assert [tuple(row) for row in places] == list(zip(seen["time"], seen["lon"], seen["lat"], strict=True))


# Sealing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seal:
    """The sealer's turn: a pass in steps of so many fixes, ended after so many of them."""

    step_fixes: int
    steps: int


# Few instants, so that what comes late falls into what is sealed, before it and after it.
times = st.builds(
    lambda day, minute: TODAY_MS + day * DAY_MS + minute * 60_000,
    st.sampled_from([-500, -2, -1]),
    st.integers(0, 4),
)
fixes_ = stored(st.sampled_from([1, 1, 2, 17]), times, st.one_of(nearby, anywhere))
stories = st.lists(
    st.one_of(
        st.builds(Commit, st.lists(fixes_, min_size=1, max_size=8), st.just({})),
        st.just(Filing(0, 1_000)),
        st.builds(Seal, st.sampled_from([1, 4, 1_000]), st.sampled_from([1, 2, 1_000])),
    ),
    max_size=10,
)


class SealedStore(Store):
    """With a pool, as the doors have it."""

    async def open(self) -> None:
        await super().open()
        self.database = Database(self.url)
        await self.database.open()

    async def close(self) -> None:
        await self.database.close()
        await super().close()


@pytest.fixture
async def store(database: str) -> AsyncIterator[SealedStore]:
    made = SealedStore(database)
    await made.open()
    yield made
    await made.close()


async def tell(store: SealedStore, story: Sequence[Commit | Filing | Seal]) -> None:
    for step in story:
        if isinstance(step, Seal):
            sealing = Sealing(store.connection, TOMORROW, step.step_fixes)
            for _ in range(step.steps):
                if not await sealing.step():
                    break
        else:
            await store.tell([step])


@settings(store_settings, max_examples=30)
@given(story=stories, look=times)
async def test_sealing_changes_nothing_that_can_be_seen(
    store: SealedStore, story: list[Commit | Filing | Seal], look: int
) -> None:
    await store.begin_again()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROW_FIXES", 3)
        await tell(store, story)
        await check(store, look)
        await store.file_everything()
        await tell(store, [Seal(1_000, 1_000)])
        assert await store.connection.fetchval("SELECT count(*) FROM piece") == 0
        await check(store, look)
        await check_rows(store)


async def check(store: SealedStore, look: int) -> None:
    """The view, tracks, columns and the fleet at an instant are those of what was committed."""
    archive, connection = store.archive, store.connection
    assert await positions(connection) == expected_positions(dict(archive.batches))
    for asset in {fix.asset for _, fix in archive.all()}:
        await check_track(store, asset)
        await check_columns(store, asset, look)
    check_fleet(store, look, await connection.fetch("SELECT * FROM fleet_at($1)", to_datetime(look)))
    check_fleet(store, look, rows_of(await moment.positions_at(store.database, look, None)))


def rows_of(then: moment.Moment) -> Sequence[Mapping[str, Any]]:
    """As `fleet_at` has them."""
    found = []
    for row in range(len(then.fixes)):
        fix = fix_in(then.fixes, row)
        names = (
            "device",
            "fix_time",
            "lon",
            "lat",
            "alt_m",
            "speed_mps",
            "course_deg",
            "accuracy_m",
            "flags",
            "attributes",
        )
        found.append({"asset": fix.asset, **dict(zip(names, fix.seen(), strict=True))})
    return found


def check_fleet(store: SealedStore, look: int, rows: Sequence[Mapping[str, Any]]) -> None:
    newest = store.archive.newest(trusted=True, until_ms=look)
    assert {row["asset"]: place(row) for row in rows} == {asset: fix.key for asset, (_, fix) in newest.items()}
    assert len(rows) == len(newest)
    for row in rows:
        assert values_of(row) in [
            without_flags(fix)
            for _, fix in store.archive.all()
            if (fix.asset, fix.key, fix.flags) == (row["asset"], place(row), 0)
        ]


async def check_columns(store: SealedStore, asset: int, look: int) -> None:
    for from_ms, until_ms, after in ((0, 2**42, -1), (look, look, -1), (look, 2**42, 2)):
        found = await fixes.read(store.connection, asset, from_ms, until_ms, after_batch=after)
        got = [(n, replace(fix_in(found.columns, i), attributes=None)) for i, n in enumerate(found.batch.tolist())]
        mine = [
            (number, replace(fix, attributes=None))
            for number, fix in store.archive.all()
            if fix.asset == asset and from_ms <= fix.time_ms <= until_ms and number > after
        ]
        assert got == sorted(mine, key=lambda each: event_order(*each))


def event_order(number: int, fix: Stored) -> tuple[int, ...]:
    return *fix.key, fix.alt, fix.speed, fix.course, fix.accuracy, number


async def check_rows(store: SealedStore) -> None:
    """Rows of one asset stand one after the other, each in one day, and say what is in them."""
    rows = await store.connection.fetch("SELECT * FROM sealed ORDER BY asset, t0, t1")
    for row, following in pairwise(rows):
        assert row["asset"] < following["asset"] or row["t1"] <= following["t0"]
    for row in rows:
        inside = await store.connection.fetch("SELECT * FROM unseal($1, $2, $3, $4)", *(row[n] for n in ROW))
        moments = [each["time"] for each in inside]
        assert (moments[0], moments[-1], len(moments)) == (row["t0"], row["t1"], row["n"])
        assert moments[0].date() == moments[-1].date()
        assert row["trusted_t0"] == min((each["time"] for each in inside if each["flags"] == 0), default=None)
        assert row["last_batch"] == max(each["batch"] for each in inside)
        for name, low, high in (("lon", "west", "east"), ("lat", "south", "north")):
            assert (row[low], row[high]) == (min(each[name] for each in inside), max(each[name] for each in inside))


ROW = ("t0", "n", "bits", "attributes")


# What happens meanwhile ----------------------------------------------------------------------------------------------

KILLED = """
import asyncio, sys
from datetime import date
from tracker.store import sealer

sealer.STEP_FIXES = 100
asyncio.run(sealer.seal(sys.argv[1], date.fromisoformat(sys.argv[2]), lambda done, of: print(done, flush=True)))
"""


def walk(asset: int, day: int, count: int, *, step_ms: int = 20_000, first_ms: int = 0) -> list[Stored]:
    start = TODAY_MS + day * DAY_MS + first_ms
    return [Stored(asset=asset, time_ms=start + i * step_ms, lon=i * 10, lat=-i) for i in range(count)]


async def test_a_sealer_that_is_killed_at_any_moment_loses_and_doubles_nothing(store: SealedStore) -> None:
    for asset in (1, 2, 17):
        await store.tell([Commit(walk(asset, day, 400), {}) for day in (-3, -2)])
    await store.file_everything()
    expected = expected_positions(dict(store.archive.batches))
    for lines in (1, 2, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, store.url, str(TOMORROW)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(lines):
            await asyncio.to_thread(process.stdout.readline)
        process.kill()
        await asyncio.to_thread(process.wait)
        process.stdout.close()
        assert await positions(store.connection) == expected
        late = walk(1, -3, 20, step_ms=500_000, first_ms=lines)
        await store.tell([Commit(late, {})])
        await store.file_everything()
        expected = expected_positions(dict(store.archive.batches))
    assert await seal(store.url, TOMORROW, lambda _done, _of: None) > 0
    assert await positions(store.connection) == expected
    assert await store.connection.fetchval("SELECT sum(n) FROM sealed") == len(expected)
    await check_rows(store)


async def test_a_piece_that_is_changed_while_it_is_packed_is_packed_again(store: SealedStore) -> None:
    await store.tell([Commit(walk(1, -3, 10), {})])
    await store.file_everything()
    packing = asyncio.Event()
    original = module.sealed_rows

    def changed(*args: Any) -> Any:
        if not packing.is_set():
            asyncio.run(change_pieces(store.url))
            packing.set()
        return original(*args)

    sealing = Sealing(store.connection, TOMORROW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealer, "sealed_rows", changed)
        assert await sealing.step() == 10
    assert packing.is_set()
    assert await positions(store.connection) == expected_positions(dict(store.archive.batches))


async def change_pieces(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE piece SET trusted_t0 = NULL")
    await connection.close()


async def test_who_reads_in_one_snapshot_sees_each_fix_once_while_days_are_sealed_and_give_way(
    store: SealedStore,
) -> None:
    await store.connection.execute("SELECT make_piece_days($1)", TOMORROW + timedelta(days=3))
    await store.tell([Commit(walk(1, 2, 10) + walk(2, -400, 3), {})])
    await store.file_everything()
    expected, open_day = expected_positions(dict(store.archive.batches)), TOMORROW + timedelta(days=2)
    own = f"piece_{to_datetime(TODAY_MS + 2 * DAY_MS):%Y%m%d}"
    reader = await connect(store.url)
    try:
        async with reader.transaction(isolation="repeatable_read"):
            await reader.fetch("SELECT FROM asset")  # the snapshot is taken
            await seal(store.url, open_day, lambda _done, _of: None)
            assert await positions(reader) == expected
            assert own in await days(store), "a day stays while somebody may see fixes in it"
    finally:
        await reader.close()
    await seal(store.url, open_day, lambda _done, _of: None)
    assert min(await days(store)) == f"piece_{open_day:%Y%m%d}" > own
    assert await positions(store.connection) == expected
    late = Commit(walk(1, 2, 3, first_ms=5) + walk(1, -1, 3), {})
    await store.tell([late])
    await store.file_everything()
    assert await positions(store.connection) == expected_positions(dict(store.archive.batches))


async def days(store: SealedStore) -> list[str]:
    rows = await store.connection.fetch("SELECT relname FROM pg_class WHERE relname ~ '^piece_\\d{8}$'")
    return [row["relname"] for row in rows]


async def test_doubts_hold_for_sealed_fixes_and_may_come_later(store: SealedStore) -> None:
    await store.tell([Commit(walk(1, -3, 300), {})])
    await store.file_everything()
    await seal(store.url, TOMORROW, lambda _done, _of: None)
    await store.connection.execute(
        "INSERT INTO doubt (asset, time, lon, lat, flags) SELECT asset, fix_time, round(lon * 1e7), round(lat * 1e7), 8"
        " FROM position WHERE lon > 50 / 1e7"
    )
    mine = walk(1, -3, 300)
    for rows in (
        await store.connection.fetch("SELECT * FROM fleet_at(now())"),
        rows_of(await moment.positions_at(store.database, mine[-1].time_ms, None)),
    ):
        assert [place(row) for row in rows] == [mine[5].key]
    found = await fixes.read(store.connection, 1, 0, 2**42)
    assert found.flags.tolist() == [0] * 6 + [8] * 294
    flags = await store.connection.fetch("SELECT flags FROM track(1, '2000-01-01', now())")
    assert [row["flags"] for row in flags] == found.flags.tolist()


async def test_the_server_seals_what_is_closed_and_leaves_it_to_who_seals_already(store: SealedStore) -> None:
    await store.tell([Commit(walk(1, -3, 5) + walk(1, -2, 4), {})])
    await store.file_everything()
    server = sealer.Sealer(store.url)
    await store.connection.execute("SELECT pg_advisory_lock($1)", sealer.SEALER_LOCK)
    await server.seal_closed()
    assert server.stats.sealed_fixes == 0
    await store.connection.execute("SELECT pg_advisory_unlock($1)", sealer.SEALER_LOCK)
    await server.seal_closed()
    assert server.stats.sealed_fixes == 5, "a day is closed when two days have passed"
    assert await positions(store.connection) == expected_positions(dict(store.archive.batches))


async def test_nothing_remains_of_a_deleted_asset_that_is_pruned(store: SealedStore) -> None:
    await store.tell([Commit(walk(1, -3, 5) + walk(2, -3, 4), {})])
    await store.file_everything()
    await seal(store.url, TOMORROW, lambda _done, _of: None)
    await store.tell([Commit(walk(1, -1, 3), {})])
    await store.connection.execute("UPDATE asset SET deleted_at = now() WHERE id = 1")
    assert await prune(store.url) == Pruned(0, 0, waiting=1), "its journal is not filed yet"
    await store.file_everything()
    assert await prune(store.url) == Pruned(1, 8, 0)
    assert {row[0] for row in await positions(store.connection)} == {2}
    assert await prune(store.url) == Pruned(0, 0, 0)


async def test_a_box_and_an_hour_are_found_by_index_wherever_fixes_are(store: SealedStore) -> None:
    await store.tell([Commit(walk(1, -3, 1_000), {}), Commit(walk(2, -3, 300, first_ms=1), {})])
    await store.file_everything()
    await seal(store.url, TOMORROW, lambda _done, _of: None)
    await store.tell([Commit(walk(1, -3, 50, first_ms=7), {})])
    first = to_datetime(TODAY_MS - 3 * DAY_MS + 600_000)
    query = "SELECT asset, lon FROM fixes_within(ST_MakeEnvelope(0, -1, 400 / 1e7, 1, 4326), $1, $2)"
    found = await store.connection.fetch(query, first, first + timedelta(hours=1))
    inside = [
        (fix.asset, fix.lon / 1e7)
        for _, fix in store.archive.all()
        if 0 <= fix.lon <= 400 and 600_000 <= fix.time_ms - TODAY_MS + 3 * DAY_MS <= 4_200_000
    ]
    assert sorted((row["asset"], row["lon"]) for row in found) == sorted(inside)
    async with store.connection.transaction():
        await store.connection.fetch(query, first, first + timedelta(hours=1))
        scans = "SELECT pg_stat_get_xact_numscans('sealed_box'::regclass)"
        assert await store.connection.fetchval(scans)
