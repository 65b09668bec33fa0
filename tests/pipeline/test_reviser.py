"""Judging again as a task among others: whom it keeps waiting, what it does with what fails, where it begins."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tests.domain.reference import FixRow, Version
from tests.domain.worlds import STEP, Batch
from tests.pipeline.history import SLOWER, History
from tests.pipeline.test_revise import FAR, IN_AND_OUT, SQUARE, at, batch, fence
from tests.store.batches import Stored, columns_of, commit, make_fleet
from tracker.domain.fleet import Thresholds
from tracker.domain.presence import Presence
from tracker.domain.shape import to_wkb
from tracker.pipeline import findings
from tracker.pipeline.review import review
from tracker.resources import resource_dir
from tracker.store.database import connect
from tracker.store.journal import Journal
from tracker.store.migrate import migrate
from tracker.store.private import PrivateCluster
from tracker.store.sql import sql
from tracker.wire.times import to_datetime

BOTH = batch(*IN_AND_OUT.fixes, *(replace(fix, asset=2) for fix in IN_AND_OUT.fixes))
LATE = batch(at(15, -1), at(15, -1, asset=2))


@pytest.fixture
async def history(database: str) -> AsyncIterator[History]:
    made = History(database)
    await made.prepare()
    yield made
    await made.close()


async def statuses(history: History, asset: int) -> list[str]:
    rows = await history.connection.fetch("SELECT status FROM event WHERE asset = $1 ORDER BY id", asset)
    return [row["status"] for row in rows]


async def lived(history: History, *steps: Version | Batch) -> None:
    """Without judging again."""
    await history.begin()
    for step in steps:
        await history.step(step)


async def test_what_the_database_refuses_of_one_asset_keeps_no_other_waiting(history: History) -> None:
    await lived(history, fence(), BOTH, LATE)
    await history.connection.execute("ALTER TABLE event ADD CONSTRAINT odd CHECK (asset <> 1 OR status = 'live')")
    for _ in range(4):
        await history.reviser._turn()
    assert (await statuses(history, 1), await statuses(history, 2)) == (["live", "live"], ["live", "live", "revised"])
    assert (history.reviser.waiting, history.reviser._has_work()) == (1, False)
    assert history.writer.ready
    await history.connection.execute("ALTER TABLE event DROP CONSTRAINT odd")
    history.reviser._aside.clear()  # the time that it is left alone is over
    await history.revise()
    assert await history.faults() == []


async def test_assets_that_take_long_go_on_beside_and_wait_for_a_place(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.pipeline.revise.PATIENCE_S", 0.0)
    monkeypatch.setattr("tracker.pipeline.revise.MAX_BESIDE", 1)
    await lived(history, fence(), BOTH, LATE)
    await history.reviser._turn()
    assert len(history.reviser._beside) == 1
    assert history.reviser.waiting == 2
    await history.revise()
    assert await history.faults() == []


async def test_what_was_found_by_other_thresholds_is_judged_anew(history: History) -> None:
    await lived(history, fence(), IN_AND_OUT, batch(at(15, 1)))
    node = history.node
    assert node is not None
    found = await review(node.database, history.writer, 1, history.reviser._tell)
    assert found is not None
    history.writer.late.clear()
    history.writer.fleet.assets[1].thresholds = Thresholds(max_speed_mps=1_000.0)
    history.reviser._found.append(found)
    await history.reviser._correct_all()
    assert history.writer.late == {1}
    await history.revise()
    assert history.reviser.revised == 1


def test_one_fix_in_a_thousand_has_a_state_however_often_the_server_is_restarted() -> None:
    fixes = columns_of([Stored(asset=asset, time_ms=1) for asset in range(1, 101)])
    kept = 0
    for start in range(300):
        presence = Presence()
        presence.reserve(100)
        presence.every.newest.time_ms[1:] = 1
        for number in range(start * 10, start * 10 + 10):
            kept += len(findings._checkpoints(fixes, presence, number))
    assert kept == pytest.approx(300, rel=0.25)  # of 300,000


async def test_of_old_states_one_stays_for_each_day(connection: asyncpg.Connection) -> None:
    rows = [(asset, age_h) for asset in (1, 2) for age_h in range(0, 24 * 12, 5)]
    insert = "INSERT INTO checkpoint VALUES ($1, date_trunc('hour', now()) - $2 * interval '1 hour', 1, '{}')"
    await connection.executemany(insert, rows)
    for _ in range(2):
        await connection.execute(sql("thin_checkpoints"))
        await connection.execute(f"{insert} ON CONFLICT DO NOTHING", 1, 24 * 10 + 1)
    left = await connection.fetch(
        "SELECT asset, count(*), count(DISTINCT date_trunc('day', time, 'UTC')) AS days FROM checkpoint"
        " WHERE time < now() - interval '8 days' GROUP BY asset ORDER BY asset"
    )
    assert [row["count"] - row["days"] for row in left] == [1, 0]  # the one that came last is thinned next time
    assert all(row["days"] >= 4 for row in left)
    recent = await connection.fetchval("SELECT count(*) FROM checkpoint WHERE time >= now() - interval '8 days'")
    assert recent >= 2 * (24 * 8 // 5)


# A database of the release before -------------------------------------------------------------------------------------


@pytest.fixture
async def former(cluster: PrivateCluster, tmp_path: Path) -> AsyncIterator[str]:
    """As it was before assets were judged again: one asset that two geofences saw enter, of which one moved away."""
    (tmp_path / "sql").mkdir()
    for path in (resource_dir("sql") / "migrations").iterdir():
        if int(path.name[:4]) <= 6:
            shutil.copy(path, tmp_path / "sql" / path.name)
    admin = await asyncpg.connect(cluster.url("postgres"))
    await admin.execute("CREATE DATABASE former TEMPLATE tracker")
    connection = await connect(cluster.url("former"))
    await migrate(connection, tmp_path / "sql")
    await make_fleet(connection, assets=2, devices=4, streams=0)
    await connection.execute("UPDATE asset SET active_device = id")
    await connection.execute("INSERT INTO geofence (name, version) VALUES ('moved', 2), ('yard', 1)")
    shapes = [(1, 1, SQUARE, 1, 4), (1, 2, FAR, 4, None), (2, 1, SQUARE, 1, None)]
    for number, version, shape, since, until in shapes:
        await connection.execute(
            "INSERT INTO geofence_version VALUES ($1, $2, 'trusted', ST_GeomFromWKB($3, 4326), NULL, $4, $5)",
            *(number, version, to_wkb(shape), since, until),
        )
    for event, kind, geofence, second, cause, stored in (
        (1, "enter", 1, 60, None, 2),
        (2, "enter", 2, 60, None, 2),
        (3, "exit", 1, 120, "fence_changed", None),
    ):
        await connection.execute(
            "INSERT INTO event (id, type, asset, asset_name, geofence, geofence_version, batch, fix_time, recorded_at,"
            " lon, lat, cause) VALUES ($1, 'geofence.' || $2, 1, 'a', $3, 1, $4, $5, now(), $6, $6, $7)",
            *(event, kind, geofence, stored, to_datetime(second * 1000 * SLOWER), STEP, cause),
        )
    times = [to_datetime(second * 1000 * SLOWER) for second in (60, 120)]
    await connection.execute(
        "INSERT INTO visit (asset, geofence, geofence_version, enter_time, enter_event, exit_time, exit_event)"
        " VALUES (1, 1, 1, $1, 1, $2, 3), (1, 2, 1, $1, 2, NULL, NULL)",
        *times,
    )
    journal = Journal(cluster.url("former"))
    await journal.open()
    for number, fix in ((1, at(0, -1)), (2, at(60, 1)), (3, at(120, 1)), (5, at(180, 1))):
        await commit(journal, number, [stored_of(fix)])
    await journal.close()
    await connection.close()
    yield cluster.url("former")
    await admin.execute("DROP DATABASE former WITH (FORCE)")
    await admin.close()


def stored_of(fix: FixRow) -> Stored:
    return Stored(1, 1, fix.time_ms * SLOWER, fix.lon, fix.lat)


async def test_the_history_of_the_release_before_stays_as_it_was_told(former: str) -> None:
    history = History(former)
    history.connection = await connect(former)
    await migrate(history.connection)
    before = await history.connection.fetch("SELECT * FROM event ORDER BY id")
    await history.start()
    try:
        for step in (batch(at(240, -1)), batch(at(30, 1), at(90, 9)), batch(at(300, -1)), batch(at(270, 1), at(10, 1))):
            await history.step(step)
            await history.revise()
        after = await history.connection.fetch("SELECT * FROM event ORDER BY id")
        assert after[: len(before)] == before
        told = [(row["type"], row["geofence"], row["status"]) for row in after[len(before) :]]
        assert told == [
            ("geofence.exit", 2, "live"),
            ("geofence.enter", 2, "late"),
            ("geofence.exit", 2, "late"),
        ]
        assert {row[4] is None for row in await history.visits()} == {False}
        assert await history.unlike_a_start() == []
    finally:
        await history.close()
