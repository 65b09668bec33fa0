"""Sealed days: whatever is sealed when, nothing is lost, doubled or changed."""

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
from tracker.store import fixes, moment
from tracker.store import seal as module
from tracker.store.database import Database
from tracker.store.packing import PACKED, pack, unpack
from tracker.store.sealer import Sealing
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


@settings(max_examples=100, deadline=None)
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
        rows = await connection.fetch(
            "SELECT *, attributes AS extra FROM unseal($1, $2, $3, ARRAY['1', '2', '3']::jsonb[])",
            *(t0, size, asyncpg.BitString.frombytes(data, length)),
        )
        seen = {**part, "time": [t0 + timedelta(milliseconds=ms) for ms in part["time"]]}
        seen["extra"] = [str(each) if each else None for each in part["extra"]]
        for name in PACKED:
            assert [row[name] for row in rows] == seen[name], name


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


@settings(store_settings, max_examples=40)
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
    check_fleet(store, look, await moment.positions_at(store.database, look, None))


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
