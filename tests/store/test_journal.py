"""One writer, one transaction a batch: all of it or nothing."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.test_record import FENCES, stories
from tests.store.batches import (
    NOTHING_HAPPENED,
    Stored,
    clear,
    columns_of,
    commit,
    cursors_of,
    make_fleet,
    positions,
    store_settings,
)
from tracker.domain.fleet import Fleet
from tracker.domain.presence import ENTER
from tracker.errors import LockLost, RefusedByDatabase, StoreUnavailable
from tracker.pipeline.record import Happening, record
from tracker.store.journal import EventRows, Journal, journal_rows
from tracker.wire.times import to_datetime

RECORDED_MS = 1_790_000_000_123


@pytest.fixture
async def journal(database: str, connection: asyncpg.Connection) -> AsyncIterator[Journal]:
    await make_fleet(connection)
    await connection.execute("INSERT INTO geofence (name) SELECT 'fence ' || n FROM generate_series(1, 3) AS n")
    made = Journal(database)
    await made.open()
    yield made
    await made.close()


def told(*found: Happening, after_id: int = 0) -> EventRows:
    return record(found, Fleet(), after_id=after_id, recorded_ms=RECORDED_MS).rows


def entered(asset: int = 1, fence: int = 1) -> Happening:
    return Happening(ENTER, asset, FENCES[fence], 1, 5, 0, 0)


def rows(number: int = 1, *fixes: Stored) -> bytes:
    return journal_rows(number, RECORDED_MS, columns_of(fixes or [Stored()]), cursors_of([(1, 1, 0)]))


REJECT = (1, "s1", 3, "latitude_out_of_range", "lat is 400")
TABLES = ("journal", "event", "visit", "delivery", "fix_reject")


async def counts(connection: asyncpg.Connection) -> list[int]:
    return [int(await connection.fetchval(f"SELECT count(*) FROM {table}")) for table in TABLES]


async def test_a_batch_is_stored_with_all_that_it_brings_about(
    journal: Journal, connection: asyncpg.Connection
) -> None:
    await connection.execute("INSERT INTO hook (url, types, secret) VALUES ('', '{geofence.enter}', '')")
    await journal.commit(rows(), RECORDED_MS, 1, told(entered()), [REJECT])
    assert await counts(connection) == [1, 1, 1, 1, 1]
    assert await connection.fetchrow("SELECT batch, recorded_at FROM event") == (1, to_datetime(RECORDED_MS))
    reject = await connection.fetchrow("SELECT device, stream, seq, code, message, rejected_at FROM fix_reject")
    assert tuple(reject) == (*REJECT, to_datetime(RECORDED_MS))


def spoilt(name: str) -> tuple[EventRows, list[tuple[Any, ...]]]:
    """Events and rejects of which the database takes all but one."""
    good = told(entered(), entered(2))
    columns = [list(column) for column in good.events]
    if name == "event without a type":
        columns[1][1] = None
    elif name == "event number used twice":
        columns[0][1] = columns[0][0]
    elif name == "visit of no geofence":
        return told(entered(), Happening(ENTER, 1, replace(FENCES[3], id=99), 1, 5, 0, 0)), []
    elif name == "reject of no device":
        return good, [REJECT, (99, *REJECT[1:])]
    elif name == "reject with NUL":
        return good, [REJECT, (*REJECT[:4], "a\x00b")]
    return EventRows(tuple(columns), good.closed, good.opened), []


SPOILT = [
    "event without a type",
    "event number used twice",
    "visit of no geofence",
    "reject of no device",
    "reject with NUL",
]


@pytest.mark.parametrize("name", SPOILT)
async def test_a_batch_of_which_a_part_is_refused_leaves_nothing(
    journal: Journal, connection: asyncpg.Connection, name: str
) -> None:
    events, rejects = spoilt(name)
    with pytest.raises(RefusedByDatabase):
        await journal.commit(rows(), RECORDED_MS, 1, events, rejects)
    assert await counts(connection) == [0] * 5
    await journal.commit(rows(), RECORDED_MS, 1, told(entered()), [REJECT])
    assert await counts(connection) == [1, 1, 1, 0, 1], "the connection is as good as before"


async def test_a_batch_number_is_used_once(journal: Journal, connection: asyncpg.Connection) -> None:
    await commit(journal, 1, [Stored(asset=1), Stored(asset=2)])
    before = await positions(connection)
    with pytest.raises(RefusedByDatabase):
        await commit(journal, 1, [Stored(asset=3), Stored(asset=2)])
    assert await positions(connection) == before


async def test_a_visit_cannot_be_open_twice(journal: Journal, connection: asyncpg.Connection) -> None:
    await journal.commit(rows(), RECORDED_MS, 1, told(entered()), [])
    with pytest.raises(RefusedByDatabase):
        await journal.commit(rows(2), RECORDED_MS, 2, told(entered(), after_id=1), [])
    assert await counts(connection) == [1, 1, 1, 0, 0]


async def test_a_batch_of_rejects_alone_is_stored(journal: Journal, connection: asyncpg.Connection) -> None:
    nothing = journal_rows(1, RECORDED_MS, columns_of([]), cursors_of([(1, 7, 0)]))
    await journal.commit(nothing, RECORDED_MS, 1, NOTHING_HAPPENED, [REJECT])
    assert await counts(connection) == [1, 0, 0, 0, 1]
    row = await connection.fetchrow("SELECT n, t0, t1, stream, stream_seq, stream_session, stream_gaps FROM journal")
    assert tuple(row) == (0, None, None, [1], [7], [1], [0])


async def test_a_batch_without_numbered_streams_and_fixes_leaves_its_rejects(
    journal: Journal, connection: asyncpg.Connection
) -> None:
    nothing = journal_rows(1, RECORDED_MS, columns_of([]), cursors_of())
    await journal.commit(nothing, RECORDED_MS, 1, NOTHING_HAPPENED, [REJECT])
    assert await counts(connection) == [0, 0, 0, 0, 1]


async def test_cursors_stand_in_the_bucket_of_their_asset(journal: Journal, connection: asyncpg.Connection) -> None:
    moves = [(1, 5, 0), (17, 9, 3), (2, 4, 1)]
    data = journal_rows(1, RECORDED_MS, columns_of([Stored(asset=17)]), cursors_of(moves))
    await journal.commit(data, RECORDED_MS, 1, NOTHING_HAPPENED, [])
    found = await connection.fetch("SELECT bucket, n, stream, stream_seq, stream_gaps FROM journal ORDER BY bucket")
    assert [tuple(row) for row in found] == [(1, 1, [1, 17], [5, 9], [0, 3]), (2, 0, [2], [4], [1])]


@pytest.mark.parametrize(
    ("hook", "told_of"),
    [
        ({}, 2),
        ({"types": ["geofence.exit"]}, 0),
        ({"assets": [1]}, 1),
        ({"assets": [3]}, 0),
        ({"geofences": [2]}, 1),
        ({"assets": [1], "geofences": [2]}, 0),
        ({"assets": []}, 0),
        ({"deleted_at": to_datetime(0)}, 0),
    ],
)
async def test_hooks_get_a_delivery_for_each_event_that_they_chose(
    journal: Journal, connection: asyncpg.Connection, hook: dict[str, Any], told_of: int
) -> None:
    columns = {"url": "", "types": ["geofence.enter"], "secret": b"", **hook}
    marks = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
    await connection.execute(f"INSERT INTO hook ({', '.join(columns)}) VALUES ({marks})", *columns.values())
    await journal.commit(rows(), RECORDED_MS, 1, told(entered(1, 1), entered(2, 2)), [])
    assert await connection.fetchval("SELECT count(*) FROM delivery WHERE state = 'pending'") == told_of


@store_settings
@given(story=stories(), cuts=st.lists(st.integers(0, 25), max_size=3))
async def test_visits_are_those_of_the_events_in_any_batches(
    journal: Journal,
    connection: asyncpg.Connection,
    story: tuple[set[tuple[int, int]], list[Happening]],
    cuts: list[int],
) -> None:
    await clear(connection)
    before, found = story
    opening = [Happening(ENTER, asset, FENCES[fence], None, -1, 0, 0) for asset, fence in sorted(before)]
    edges = sorted({0, len(found), *(cut for cut in cuts if cut < len(found))})
    runs: list[Sequence[Happening]] = [opening, *(found[a:b] for a, b in pairwise(edges))]
    last = 0
    for number, run in enumerate(runs, 1):
        told_ = record(run, Fleet(), after_id=last, recorded_ms=RECORDED_MS)
        last = told_.last_id
        await journal.commit(rows(number), RECORDED_MS, number, told_.rows, [])
    stored = await connection.fetch(
        "SELECT asset, geofence, enter_time, enter_event, initial, exit_time, exit_event FROM visit ORDER BY 4"
    )
    assert [tuple(row) for row in stored] == visits_of([*opening, *found])


def visits_of(found: Sequence[Happening]) -> list[tuple[Any, ...]]:
    visits: dict[int, list[Any]] = {}
    there: dict[tuple[int, int], int] = {}
    for event, each in enumerate(found, 1):
        pair, at = (each.asset, each.fence.id), to_datetime(each.time_ms)
        if each.kind == ENTER:
            there[pair] = event
            visits[event] = [*pair, at, event, each.initial, None, None]
        else:
            visits[there.pop(pair)][5:] = [at, event]
    return [tuple(visit) for visit in visits.values()]


async def test_events_that_no_batch_brought_about_have_none(journal: Journal, connection: asyncpg.Connection) -> None:
    async with journal.connection.transaction():
        await journal.record(RECORDED_MS, NOTHING_HAPPENED)
        await journal.record(RECORDED_MS, told(entered()))
    assert await connection.fetchrow("SELECT id, batch, device FROM event") == (1, None, 1)


# The lock -------------------------------------------------------------------------------------------------------------


async def test_there_is_one_writer(journal: Journal, database: str) -> None:
    second = Journal(database)
    with pytest.raises(LockLost, match="Another tracker server writes to this database"):
        await second.open(wait_s=0.1)
    await journal.close()
    await second.open(wait_s=10)
    await second.close()


async def test_a_lost_connection_is_a_lost_lock(
    journal: Journal, database: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("SELECT pg_terminate_backend($1, 10000)", journal.connection.get_server_pid())
    with pytest.raises(StoreUnavailable):
        await commit(journal, 1, [Stored()])
    second = Journal(database)
    await second.open(wait_s=10)
    with pytest.raises(StoreUnavailable):
        await commit(journal, 1, [Stored()])
    assert await counts(connection) == [0] * 5
    await second.close()


async def test_a_journal_that_is_not_open_says_so() -> None:
    journal = Journal("postgresql:///nowhere")
    with pytest.raises(StoreUnavailable, match="no connection"):
        _ = journal.connection
    await journal.close()


async def test_opening_again_lets_the_old_lock_go(journal: Journal) -> None:
    before = journal.connection.get_server_pid()
    await journal.open(wait_s=10)
    assert journal.connection.get_server_pid() != before
    await commit(journal, 1, [Stored()])
