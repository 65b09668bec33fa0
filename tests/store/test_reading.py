"""What SQL people read: tracks and the fleet at an instant, against plain looking through all that was stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.batches import DAY_MS, Stored, make_fleet, nearby, store_settings, stored
from tests.store.test_filer import TODAY_MS, Commit, Filing, Store, entries
from tracker.store.database import Connection
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

# Few instants, so that a look falls on a fix, between fixes and around midnight.
times = st.builds(
    lambda day, hour, ms: TODAY_MS + day * DAY_MS + hour * 3_600_000 + ms,
    st.sampled_from([-500, -3, -2, -1, 0]),
    st.sampled_from([0, 1, 23]),
    st.sampled_from([-1, 0, 1]),
)
fixes = stored(st.sampled_from([1, 2, 18]), times, nearby)
filings = st.builds(Filing, st.just(0), st.sampled_from([1, 1_000]))
stories = st.lists(st.one_of(st.builds(Commit, st.lists(fixes, max_size=6), entries), filings), max_size=7)
zones = st.sampled_from(["UTC", "Europe/Berlin"])

Place = tuple[int, int, int]  # time, lon, lat


def place(row: Any) -> Place:
    return to_ms(row["fix_time"]), round(row["lon"] * 1e7), round(row["lat"] * 1e7)


@pytest.fixture
async def store(database: str) -> Any:
    made = Store(database)
    await made.open()
    yield made
    await made.close()


@store_settings
@given(story=stories, looks=st.lists(times, min_size=1, max_size=4))
async def test_the_fleet_at_an_instant_is_the_newest_trusted_fix_of_each(
    store: Store, story: list[Commit | Filing], looks: list[int]
) -> None:
    await store.begin_again()
    await store.tell(story)
    for at_ms in looks:
        rows = await store.connection.fetch("SELECT * FROM fleet_at($1)", to_datetime(at_ms))
        newest = store.archive.newest(trusted=True, until_ms=at_ms)
        assert {row["asset"]: place(row) for row in rows} == {asset: fix.key for asset, (_, fix) in newest.items()}
        assert len(rows) == len(newest)
        for row in rows:
            equal = [
                fix
                for _, fix in store.archive.all()
                if (fix.asset, fix.key, fix.flags) == (row["asset"], place(row), 0)
            ]
            assert values(row) in [without_flags(fix) for fix in equal]


def values(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("device", "alt_m", "speed_mps", "course_deg", "accuracy_m", "attributes"))


def without_flags(fix: Stored) -> tuple[Any, ...]:
    device, _, _, _, alt, speed, course, accuracy, _, attributes = fix.seen()
    return device, alt, speed, course, accuracy, attributes


@store_settings
@given(
    story=stories,
    asset=st.sampled_from([1, 2, 18, 19]),
    ends=st.tuples(times, times),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
)
async def test_a_track_has_every_fix_between_two_instants_in_event_order(
    store: Store, story: list[Commit | Filing], asset: int, ends: tuple[int, int], zone: str
) -> None:
    await store.begin_again()
    await store.tell(story)
    await store.connection.execute(f"SET TIME ZONE '{zone}'")
    from_ms, to_ms_ = sorted(ends)
    rows = await store.connection.fetch(
        "SELECT * FROM track($1, $2, $3)", asset, to_datetime(from_ms), to_datetime(to_ms_)
    )
    mine = [(*fix.key, n) for n, fix in store.archive.all() if fix.asset == asset and from_ms <= fix.time_ms <= to_ms_]
    assert [(*place(row), row["batch"]) for row in rows] == sorted(mine)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
async def test_no_fix_is_missed_where_clocks_are_put_forward(store: Store, zone: str) -> None:
    """A day is shorter there than what a piece may span."""
    changes = {
        "UTC": datetime(2026, 3, 29, tzinfo=UTC),
        "Europe/Berlin": datetime(2026, 3, 29, tzinfo=UTC),
        "America/New_York": datetime(2026, 3, 8, tzinfo=UTC),
        "Australia/Lord_Howe": datetime(2026, 10, 3, tzinfo=UTC),
    }
    await store.connection.execute(f"SET TIME ZONE '{zone}'")
    midnight = changes[zone]
    whole = [Stored(time_ms=to_ms(midnight + timedelta(minutes=10 * i))) for i in range(6 * 24)]
    await store.commit(Commit(whole, {}))
    await store.file_everything()
    for minutes in range(0, 48 * 60, 10):
        start = midnight + timedelta(minutes=minutes)
        rows = await store.connection.fetch("SELECT * FROM track(1, $1, $2)", start, midnight + timedelta(days=3))
        assert len(rows) == sum(fix.time_ms >= to_ms(start) for fix in whole), start
        parts = await store.connection.fetch(sql("track_parts"), 1, start, midnight + timedelta(days=3), 10)
        assert bool(parts) == bool(rows), start


async def test_a_deleted_asset_is_nowhere_and_its_track_stays(store: Store) -> None:
    await store.tell([Commit([Stored(asset=1), Stored(asset=2)], {})])
    await store.connection.execute("UPDATE asset SET deleted_at = now() WHERE id = 1")
    assert [row["asset"] for row in await store.connection.fetch("SELECT asset FROM fleet_at(now())")] == [2]
    assert len(await store.connection.fetch("SELECT FROM track(1, '1969-01-01', now())")) == 1


@pytest.mark.parametrize("filed", [False, True])
async def test_the_fleet_can_be_asked_for_within_a_box(store: Store, filed: bool) -> None:
    await store.tell([Commit([Stored(asset=1, lon=10_000_000), Stored(asset=2, lon=10_000_001)], {})])
    if filed:
        await store.file_everything()
    for east, assets in ((1.0, [1]), (1.0000001, [1, 2]), (0.9999999, [])):
        rows = await store.connection.fetch(
            "SELECT asset FROM fleet_at(now(), ST_MakeEnvelope(-1, 0, $1, 1, 4326)) ORDER BY 1", east
        )
        assert [row["asset"] for row in rows] == assets


async def test_a_fix_that_is_not_trusted_was_nowhere(store: Store) -> None:
    await store.tell([Commit([Stored(time_ms=1), Stored(time_ms=2, lon=5, flags=4), Stored(asset=2, flags=1)], {})])
    rows = await store.connection.fetch("SELECT * FROM fleet_at(now())")
    assert [(row["asset"], *place(row)) for row in rows] == [(1, 1, 0, 0)]


async def test_nothing_at_all_can_be_read(connection: asyncpg.Connection) -> None:
    await make_fleet(connection)
    for query in ("position", "fleet_at(now())", "track(1, '1900-01-01', now())"):
        assert await connection.fetch(f"SELECT * FROM {query}") == []


async def test_an_analyst_may_ask_for_a_box_of_all_time(store: Store) -> None:
    await store.tell([Commit([Stored(lon=134_000_000, lat=525_000_000), Stored(asset=2)], {})])
    count = await count_within(store.connection)
    await store.file_everything()
    assert (count, await count_within(store.connection)) == (1, 1)


async def count_within(connection: Connection) -> int:
    box = "ST_MakeEnvelope(13, 52, 14, 53, 4326)"
    return int(await connection.fetchval(f"SELECT count(*) FROM position WHERE ST_Intersects(geom, {box})"))
