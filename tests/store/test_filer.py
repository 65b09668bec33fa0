"""From the journal into pieces: whatever is filed when, nothing is lost, doubled or changed."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.batches import (
    DAY_MS,
    SEEN,
    Stored,
    clear,
    commit,
    expected_positions,
    fix_in,
    make_fleet,
    nearby,
    positions,
    store_settings,
    stored,
)
from tracker.store import filer as module
from tracker.store.database import connect
from tracker.store.filer import Filer
from tracker.store.journal import Journal
from tracker.store.snapshot import Snapshot, load
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

TODAY_MS = to_ms(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
STREAMS = 4
# Around midnight, of days with and without a partition of their own; one in the 24 hours that a clock may be ahead.
times = st.builds(
    lambda day, ms: TODAY_MS + day * DAY_MS + ms,
    st.sampled_from([-20_000, -1, 0, 1]),
    st.sampled_from([-1, 0]),
)
fixes = stored(st.sampled_from([1, 2, 17, 17]), times, nearby)
entries = st.dictionaries(st.integers(1, STREAMS), st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=2)


@dataclass(frozen=True)
class Commit:
    """A batch: its fixes, and how far each stream moves on and what it skips."""

    fixes: list[Stored]
    moves: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Filing:
    """The filer's turn, with its bounds."""

    at_fixes: int
    most: int


stories = st.lists(
    st.one_of(
        st.builds(Commit, st.lists(fixes, min_size=1, max_size=8), entries),
        st.builds(Commit, st.just([]), entries),
        st.builds(Filing, st.sampled_from([1, 3, 1_000]), st.sampled_from([1, 4, 1_000])),
    ),
    max_size=8,
)


@dataclass
class Archive:
    """What was committed, remembered plainly."""

    batches: dict[int, list[Stored]] = field(default_factory=dict)
    seq: dict[int, int] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)

    def all(self) -> list[tuple[int, Stored]]:
        return [(number, fix) for number, batch in self.batches.items() for fix in batch]

    def newest(self, *, trusted: bool, until_ms: int | None = None) -> dict[int, tuple[int, Stored]]:
        """Of each asset: in event order, of those equal in time and place the first by the remaining fields."""
        found: dict[int, tuple[int, Stored]] = {}
        for number, fix in self.all():
            if (trusted and fix.flags) or (until_ms is not None and fix.time_ms > until_ms):
                continue
            if fix.asset not in found or rank(number, fix) > rank(*found[fix.asset]):
                found[fix.asset] = number, fix
        return found


def rank(number: int, fix: Stored) -> tuple[int, ...]:
    return *fix.key, -fix.alt, -fix.speed, -fix.course, -fix.accuracy, -number


@pytest.fixture
async def store(database: str) -> AsyncIterator["Store"]:
    made = Store(database)
    await made.open()
    yield made
    await made.close()


class Store:
    """Journal and filer of one database, driven step by step."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.journal = Journal(url)
        self.archive = Archive()
        self.heard: list[int] = []
        self.filer = Filer(url, lambda: max(self.archive.batches, default=0), self.heard.append)

    async def open(self) -> None:
        self.connection = await connect(self.url)
        self.journal._connection = await connect(self.url)
        await self.filer._open()
        await self.filer._keep_house()
        await make_fleet(self.connection, assets=20, devices=3, streams=STREAMS)

    async def close(self) -> None:
        await self.filer.stop()
        await self.journal.close()
        await self.connection.close()

    async def begin_again(self) -> None:
        await clear(self.connection)
        self.archive = Archive()
        self.heard.clear()

    async def commit(self, made: Commit) -> None:
        if not made.fixes and not made.moves:
            return  # such a batch is not committed
        number = max(self.archive.batches, default=0) + 1
        moved = []
        for stream, (count, skipped) in made.moves.items():
            self.archive.seq[stream] = self.archive.seq.get(stream, 0) + count + skipped
            self.archive.gaps[stream] = self.archive.gaps.get(stream, 0) + skipped
            moved.append((stream, self.archive.seq[stream], skipped))
        await commit(self.journal, number, made.fixes, moved)
        self.archive.batches[number] = made.fixes

    async def file(self, at_fixes: int = 0, most: int = 1_000) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "MAX_FIXES_PER_FILING", most)
            filed = await self.filer.file_due(at_fixes=at_fixes, after_s=1e12)
        unfiled = await self.connection.fetchval("SELECT min(batch) FROM journal")
        assert unfiled is None or self.heard[-1] < unfiled
        return filed

    async def file_everything(self) -> None:
        while await self.connection.fetchval("SELECT count(*) FROM journal"):
            await self.file(most=3)

    async def tell(self, story: Sequence[Commit | Filing]) -> None:
        for step in story:
            if isinstance(step, Commit):
                await self.commit(step)
            else:
                await self.file(step.at_fixes, step.most)


@store_settings
@given(story=stories)
async def test_filing_changes_nothing_that_can_be_seen(store: Store, story: list[Commit | Filing]) -> None:
    await store.begin_again()
    await store.tell(story)
    await check(store)
    await store.file_everything()
    await check(store)
    await check_filed(store)


async def check(store: Store) -> None:
    """The view, the tracks and what a start would read are those of the archive."""
    archive = store.archive
    assert await positions(store.connection) == expected_positions(dict(archive.batches))
    for asset in {fix.asset for _, fix in archive.all()}:
        await check_track(store, asset)
    check_snapshot(await load(store.connection), archive)
    for row in await store.connection.fetch(DURABLE_STREAMS):
        stream = row["id"]
        assert (row["seq"], row["gaps"]) == (archive.seq.get(stream, 0), archive.gaps.get(stream, 0))


# What a door answers when it is asked where a stream stands.
DURABLE_STREAMS = """
    SELECT s.id, greatest(s.seq, max(u.seq)) AS seq, s.gaps + coalesce(sum(u.gaps), 0)::bigint AS gaps
    FROM stream s LEFT JOIN (
        SELECT x.* FROM journal j, unnest(j.stream, j.stream_seq, j.stream_gaps) AS x (stream, seq, gaps)
    ) AS u ON u.stream = s.id GROUP BY s.id
"""


async def check_track(store: Store, asset: int) -> None:
    rows = await store.connection.fetch(f"SELECT batch, {SEEN} FROM track($1, '1900-01-01', '2200-01-01')", asset)
    mine = [(number, fix) for number, fix in store.archive.all() if fix.asset == asset]
    keys = [(to_ms(row["fix_time"]), round(row["lon"] * 1e7), round(row["lat"] * 1e7), row["batch"]) for row in rows]
    assert keys == sorted((*fix.key, number) for number, fix in mine), "in event order"
    seen = sorted(((number, *fix.seen()) for number, fix in mine), key=repr)
    assert sorted((tuple(row) for row in rows), key=repr) == seen


def check_snapshot(snapshot: Snapshot, archive: Archive) -> None:
    assert snapshot.batch == max(archive.batches, default=0)
    for sight, trusted in ((snapshot.presence.trusted, True), (snapshot.presence.every, False)):
        newest, expected = sight.newest, archive.newest(trusted=trusted)
        assert set(np.flatnonzero(newest.batch != -1).tolist()) == set(expected)
        for asset, (number, fix) in expected.items():
            at = (newest.time_ms[asset], newest.lon[asset], newest.lat[asset], newest.batch[asset])
            assert tuple(map(int, at)) == (*fix.key, number)
    numbers, columns = snapshot.positions
    assert set(numbers.tolist()) == set(archive.newest(trusted=True))
    for row, asset in enumerate(numbers.tolist()):
        newest_key = archive.newest(trusted=True)[asset][1].key
        equal = [fix for _, fix in archive.all() if fix.asset == asset and fix.key == newest_key and not fix.flags]
        assert fix_in(columns, row).seen() in [fix.seen() for fix in equal]


async def check_filed(store: Store) -> None:
    connection, archive = store.connection, store.archive
    rows = {row["asset"]: row for row in await connection.fetch("SELECT * FROM latest")}
    every, trusted = archive.newest(trusted=False), archive.newest(trusted=True)
    assert set(rows) == set(every)
    for asset, row in rows.items():
        number, fix = every[asset]
        assert (to_ms(row["any_time"]), row["any_lon"], row["any_lat"], row["any_batch"]) == (*fix.key, number)
        if asset in trusted:
            number, fix = trusted[asset]
            assert (to_ms(row["time"]), row["lon"], row["lat"], row["batch"]) == (*fix.key, number)
        else:
            assert row["time"] is None
    for piece in await connection.fetch("SELECT *, tableoid::regclass::text AS partition FROM piece"):
        check_piece(piece)


def check_piece(piece: Any) -> None:
    moments = [to_ms(each) for each in piece["time"]]
    assert moments[0] // DAY_MS == moments[-1] // DAY_MS, "a piece lies in one UTC day"
    order = list(zip(moments, piece["lon"], piece["lat"], piece["batch"], strict=True))
    assert order == sorted(order)
    trusted = [moment for moment, flags in zip(moments, piece["flags"], strict=True) if flags == 0]
    assert (to_ms(piece["t0"]), to_ms(piece["t1"]), piece["n"]) == (moments[0], moments[-1], len(moments))
    assert (None if piece["trusted_t0"] is None else to_ms(piece["trusted_t0"])) == min(trusted, default=None)
    assert [piece[side] for side in ("west", "east")] == [min(piece["lon"]), max(piece["lon"])]
    assert [piece[side] for side in ("south", "north")] == [min(piece["lat"]), max(piece["lat"])]
    own = to_datetime(moments[0]).strftime("piece_%Y%m%d")
    at_midnight = {own, "piece_old"}  # the days were made before it, or after
    expected = {own} if moments[0] >= TODAY_MS else at_midnight if moments[0] >= TODAY_MS - DAY_MS else {"piece_old"}
    assert piece["partition"] in expected


async def test_only_what_is_published_is_filed(store: Store) -> None:
    """A batch that is durable but unheard of may still be looked for in the journal."""
    await store.commit(Commit([Stored()], {}))
    await commit(store.journal, 2, [Stored(time_ms=1)])
    await store.file()
    assert await store.connection.fetch("SELECT batch FROM journal") == [(2,)]
    assert store.heard == [1]


async def test_a_batch_that_is_larger_than_a_filing_is_filed_alone(store: Store) -> None:
    for count in (5, 1, 1):
        await store.commit(Commit([Stored(time_ms=i) for i in range(count)], {}))
    assert [await store.file(most=2) for _ in range(3)] == [5, 2, 0]


async def test_a_bucket_is_filed_when_it_is_large_or_old(store: Store) -> None:
    now_ms = to_ms(datetime.now(UTC))
    await commit(store.journal, 1, [Stored(asset=1)] * 3 + [Stored(asset=2)], recorded_ms=now_ms)
    store.archive.batches[1] = []
    assert await store.filer.file_due(at_fixes=4, after_s=60) == 0
    assert await store.filer.file_due(at_fixes=3, after_s=60) == 3
    assert (store.filer.stats.filed_fixes, store.filer.stats.journal_fixes) == (3, 1)
    await store.connection.execute("UPDATE journal SET recorded_at = recorded_at - interval '2 minutes'")
    assert await store.filer.file_due(at_fixes=3, after_s=60) == 1
    assert store.heard[-1] == 1


async def test_pieces_of_slow_devices_grow_until_they_have_sixty_fixes(store: Store) -> None:
    """Those of another day or asset do not, and neither does one that is full."""
    for minute in range(65):
        made = [Stored(asset=asset, time_ms=TODAY_MS + minute * 60_000, lon=minute) for asset in (1, 17)]
        await store.tell([Commit([*made, Stored(time_ms=TODAY_MS - 1 - minute)], {}), Filing(0, 1_000)])
    rows = await store.connection.fetch("SELECT asset, n FROM piece ORDER BY asset, t0")
    assert sorted(map(tuple, rows)) == [(1, 5), (1, 5), (1, 60), (1, 60), (17, 5), (17, 60)]
    await check(store)
    await check_filed(store)


async def test_nothing_is_taken_in_while_the_journal_is_over_its_bounds(store: Store) -> None:
    heard: list[bool] = []
    store.filer._on_behind = heard.append
    await store.tell([Commit([Stored(time_ms=i) for i in range(5)], {})])
    await store.filer.file_due(at_fixes=100, after_s=1e12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_JOURNAL_AGE_S", 1e12)
        patch.setattr(module, "MAX_JOURNAL_FIXES", 4)
        store.filer._judge_backlog()
        store.filer._judge_backlog()
        await store.file_everything()
        store.filer._judge_backlog()
        assert heard == [True, False]
        patch.setattr(module, "MAX_JOURNAL_AGE_S", -1.0)  # it was not looked at for so long
        store.filer._judge_backlog()
    assert heard == [True, False, True]


async def test_a_filer_that_is_killed_in_the_middle_loses_nothing(store: Store) -> None:
    await store.tell([Commit([Stored(time_ms=i, asset=1 + i % 2) for i in range(9)], {1: (9, 0)})])
    killed = await connect(store.url)
    transaction = killed.transaction()
    await transaction.start()
    for bucket in (1, 2):
        row = await killed.fetchrow(sql("file_bucket"), bucket, 1)
        assert row["fixes"] > 0
    await store.connection.execute("SELECT pg_terminate_backend($1, 10000)", killed.get_server_pid())
    killed.terminate()
    await check(store)
    await store.file_everything()
    await check(store)


async def test_who_reads_in_one_snapshot_sees_each_fix_once_whatever_is_filed_meanwhile(store: Store) -> None:
    await store.tell([Commit([Stored(time_ms=i)], {}) for i in range(6)])
    reader = await connect(store.url)
    try:
        async with reader.transaction(isolation="repeatable_read"):
            before = await positions(reader)
            await store.file(most=2)
            assert await positions(reader) == before
        assert await positions(reader) == before
    finally:
        await reader.close()


async def test_the_second_filer_waits_for_the_first(store: Store) -> None:
    second = Filer(store.url, lambda: 0, store.heard.append)
    waiting = asyncio.ensure_future(second._open())
    while not await store.connection.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    ):
        assert not waiting.done()
    await store.filer.stop()
    await waiting
    await second.stop()


async def test_a_filer_goes_on_when_its_connection_was_cut_and_the_day_has_no_partition(store: Store) -> None:
    """As after a laptop's long sleep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOOK_EVERY_S", 0.01)
        await store.commit(Commit([Stored(time_ms=TODAY_MS)], {}))
        for day in range(3):
            await store.connection.execute(f"DROP TABLE {to_datetime(TODAY_MS + day * DAY_MS):piece_%Y%m%d}")
        await store.connection.execute("UPDATE journal SET recorded_at = now() - interval '1 hour'")
        await store.filer.stop()
        filer = Filer(store.url, lambda: 1, store.heard.append)
        await filer._open()
        filer._house_kept_at = time.monotonic()
        filer._task = asyncio.create_task(filer._run())
        await store.connection.execute("SELECT pg_terminate_backend($1)", filer._ready().get_server_pid())
        while not store.heard or store.heard[-1] < 1:
            await asyncio.sleep(0.01)
        await filer.stop()
    await check(store)
    assert await store.connection.fetchval("SELECT count(*) FROM piece") == 1


async def test_the_newest_thousand_rejects_of_a_device_are_kept(store: Store) -> None:
    await store.connection.execute(
        "INSERT INTO fix_reject (device, stream, seq, code, message, rejected_at)"
        " SELECT 1 + n % 2, 's', n, 'x', '', now() FROM generate_series(1, 2400) AS n WHERE n % 2 = 0 OR n <= 30"
    )
    await store.filer._keep_house()
    rows = await store.connection.fetch(
        "SELECT device, count(*), min(seq), max(seq) FROM fix_reject GROUP BY device ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(1, 1000, 402, 2400), (2, 15, 1, 29)]


# Days -----------------------------------------------------------------------------------------------------------------

FIRST_DAY = date(2026, 3, 28)  # a day before the clocks change in Europe


async def made(connection: asyncpg.Connection, today: date) -> int:
    return int(await connection.fetchval("SELECT make_piece_days($1)", today))


async def partition_of(connection: asyncpg.Connection, instant: datetime) -> str:
    """Where a piece that begins then is put."""
    name = await connection.fetchval(
        "INSERT INTO piece (asset, t0, t1, n, west, south, east, north,"
        " batch, device, time, lon, lat, alt, speed, course, accuracy, flags)"
        " VALUES (1, $1, $1, 0, 0, 0, 0, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')"
        " RETURNING tableoid::regclass::text",
        instant,
    )
    return str(name)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Kiritimati", "Asia/Beirut"])
async def test_days_are_made_ahead_once_and_are_those_of_utc(connection: asyncpg.Connection, zone: str) -> None:
    await connection.execute(f"SET TIME ZONE '{zone}'")
    assert await made(connection, FIRST_DAY) == 5  # yesterday to the day after tomorrow, and the old days
    assert await made(connection, FIRST_DAY) == 0
    assert await made(connection, FIRST_DAY + timedelta(days=1)) == 1
    assert await made(connection, FIRST_DAY - timedelta(days=1)) == 0, "a clock that was put back makes nothing"
    midnight = datetime(2026, 3, 29, tzinfo=UTC)
    for instant, partition in (
        (midnight - timedelta(microseconds=1), "piece_20260328"),
        (midnight, "piece_20260329"),
        (midnight + timedelta(days=1, microseconds=-1), "piece_20260329"),
        (midnight + timedelta(days=3, microseconds=-1), "piece_20260331"),
        (midnight - timedelta(days=2), "piece_20260327"),
        (midnight - timedelta(days=2, microseconds=1), "piece_old"),
        (datetime(1900, 1, 1, tzinfo=UTC), "piece_old"),
    ):
        assert await partition_of(connection, instant) == partition


@pytest.mark.parametrize("away", [3, 4, 5, 31, 400])
async def test_a_server_that_was_off_has_a_place_for_the_days_between(
    connection: asyncpg.Connection, away: int
) -> None:
    """Devices buffered meanwhile."""
    await made(connection, FIRST_DAY)
    today = FIRST_DAY + timedelta(days=away)
    assert 0 < await made(connection, today) <= 5, "not one for each day that nobody served"
    assert await made(connection, today) == 0
    start = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    for day in range(-3, away + 3):
        for ms in (0, DAY_MS - 1):
            await partition_of(connection, start + timedelta(days=day, milliseconds=ms))
    today_name = await partition_of(connection, start + timedelta(days=away))
    assert today_name == f"piece_{today:%Y%m%d}"
    assert await made(connection, today + timedelta(days=1)) == 1


async def test_a_server_that_was_off_again_and_again_goes_on(connection: asyncpg.Connection) -> None:
    today = FIRST_DAY
    for away in (0, 1, 5, 2, 40, 1, 6, 4):
        today += timedelta(days=away)
        await made(connection, today)
        assert await made(connection, today) == 0
    start = datetime(2026, 3, 20, tzinfo=UTC)
    for day in range((today - start.date()).days + 2):
        await partition_of(connection, start + timedelta(days=day))
