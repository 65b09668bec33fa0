"""The past where it is hard to read: pieces that overlap, fixes at the same instant, doubts, much in the journal."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from tests.store.batches import DAY_MS, Stored, fix_in
from tests.store.test_filer import TODAY_MS, Commit
from tests.store.test_reading import place
from tests.store.test_sealing import TOMORROW, SealedStore, rows_of
from tracker.domain.batch import Columns
from tracker.store import history, moment, why
from tracker.store.sealer import seal
from tracker.wire.times import to_datetime

MINUTE_MS = 60_000
BEGIN_MS = TODAY_MS - 3 * DAY_MS
HOURS = [(BEGIN_MS + n * 2 * MINUTE_MS, n) for n in range(100)]
LATE = [(BEGIN_MS + 60 * MINUTE_MS + n * 10_000, 500 + n) for n in range(90)]
AGAIN = [(BEGIN_MS + 60 * MINUTE_MS + n * 20_000, 480 + n) for n in range(70)]  # the same instants, other places
LAST = [(BEGIN_MS + 190 * MINUTE_MS, 7), (BEGIN_MS + 190 * MINUTE_MS, 9), (BEGIN_MS + 191 * MINUTE_MS, 8)]
DOUBTED = {HOURS[50], HOURS[96], LATE[30], LATE[31], LATE[89], AGAIN[40], LAST[1]}
LOOKS = [
    *(BEGIN_MS + n * 7 * MINUTE_MS + off for n in range(30) for off in (-1, 0, 13_333)),
    *(ms + off for ms, _ in DOUBTED for off in (-1, 0, 1)),
]


def of(asset: int, places: Sequence[tuple[int, int]]) -> Commit:
    return Commit([Stored(asset=asset, time_ms=ms, lon=lon, flags=2 * (lon % 17 == 16)) for ms, lon in places], {})


@pytest.fixture
async def store(database: str) -> AsyncIterator[SealedStore]:
    """Two assets of one bucket, of which one has twice as much; a third of another bucket."""
    made = SealedStore(database)
    await made.open()
    await made.connection.executemany(
        "INSERT INTO doubt (asset, time, lon, lat, flags) VALUES (1, $1, $2, 0, 8)",
        [(to_datetime(ms), lon) for ms, lon in DOUBTED],
    )
    for places in (HOURS, LATE, AGAIN):
        await made.commit(of(1, places))
        await made.commit(of(2, places[:70]))
        await made.file_everything()
    await made.commit(of(17, LAST))
    await made.commit(of(1, LAST))
    yield made
    await made.close()


def trusted(store: SealedStore, asset: int) -> list[Stored]:
    doubted = DOUBTED if asset == 1 else set()
    every = [fix for _, fix in store.archive.all() if fix.asset == asset and not fix.flags]
    return [fix for fix in every if (fix.time_ms, fix.lon) not in doubted]


async def check(store: SealedStore) -> None:
    for look in LOOKS:
        fleet = {}
        for asset in (1, 2, 17):
            keys = [fix.key for fix in trusted(store, asset) if fix.time_ms <= look]
            fleet.update({asset: max(keys)} if keys else {})
        rows = await store.connection.fetch("SELECT * FROM fleet_at($1)", to_datetime(look))
        assert {row["asset"]: place(row) for row in rows} == fleet
        then = rows_of(await moment.positions_at(store.database, look, None))
        assert {row["asset"]: place(row) for row in then} == fleet
        times = [fix.time_ms for _, fix in store.archive.all() if fix.asset == 1]
        before, after = await why.nearest(store.connection, 1, look)
        assert before == max((ms for ms in times if ms <= look), default=None)
        assert after == min((ms for ms in times if ms >= look), default=None)


async def test_what_overlaps_and_what_is_doubted_is_seen_as_it_was(store: SealedStore) -> None:
    spans = await store.connection.fetch("SELECT t0, t1 FROM piece WHERE asset = 1 ORDER BY t0")
    assert len(spans) == 3
    assert spans[0]["t1"] > spans[2]["t1"]  # the first reaches over both of the others, for more than an hour
    await check(store)
    await store.file_everything()
    await check(store)
    await seal(store.url, TOMORROW, lambda _done, _of: None)
    await store.commit(of(1, [(BEGIN_MS + 100 * MINUTE_MS + 5, 30)]))
    await check(store)


@pytest.mark.parametrize("most", [1, 7, 100_000])
async def test_columns_and_rows_of_a_track_are_equal_in_windows_of_any_size(
    store: SealedStore, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "WINDOW_FIXES", most)
    since, until = BEGIN_MS + 59 * MINUTE_MS, BEGIN_MS + 190 * MINUTE_MS
    for sealed in (False, True):
        if sealed:
            await seal(store.url, TOMORROW, lambda _done, _of: None)
        for only_trusted in (False, True):
            parts = [
                part async for part in history.track(store.database, 1, since, until, trusted=only_trusted) if len(part)
            ]
            rows = await store.connection.fetch(
                "SELECT * FROM track(1, $1, $2) WHERE flags = 0 OR NOT $3",
                to_datetime(since), to_datetime(until), only_trusted,
            )  # fmt: skip
            assert [(*seen(part, n), int(part.flags[n])) for part in parts for n in range(len(part))] == [
                (*place(row), row["flags"]) for row in rows
            ]
            assert len(rows) > 200


def seen(part: Columns, row: int) -> tuple[int, int, int]:
    return fix_in(part, row).key


async def test_a_window_ends_where_the_journal_alone_has_as_much_as_it_may(store: SealedStore) -> None:
    await store.commit(of(1, [(BEGIN_MS + DAY_MS + n * 1000, n) for n in range(500)]))
    last_ms = BEGIN_MS + 2 * DAY_MS
    sizes = [len(part) async for part in windows(store, BEGIN_MS + DAY_MS, last_ms)]
    assert sizes == [100] * 5


async def windows(store: SealedStore, since: int, until: int) -> AsyncIterator[Columns]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "WINDOW_FIXES", 100)
        async for part in history.track(store.database, 1, since, until, trusted=False):
            assert (np.diff(part.time_ms) > 0).all()
            yield part
