"""How it is told, with a real writer and real tables: in the feed, once, also when the database goes away."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.pipeline.node import Node
from tests.pipeline.world import Socket, World, numbered
from tracker.domain.reachability import LOST, NEVER, OFFLINE
from tracker.live.reachability import Reachability
from tracker.pipeline import reachability as pipeline
from tracker.pipeline.commit import now_ms
from tracker.pipeline.reachability import AT_ONCE, Teller, hear, restore
from tracker.resources import resource_dir
from tracker.store import reachability as store
from tracker.store.migrate import migrate
from tracker.store.private import PrivateCluster

FLEET = """
    WITH assets AS (INSERT INTO asset (name) SELECT 'asset ' || n FROM generate_series(1, $1) AS n RETURNING id),
    devices AS (
        INSERT INTO device (name, asset, config)
        SELECT 'device ' || id, id, '{"silent_after_s": 1, "offline_after_s": 2}' FROM assets ORDER BY id
        RETURNING id
    )
    SELECT count(*) FROM devices
"""


class Roll(Node):
    """A node that tells when it is asked to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reachability = Reachability(self.writer.fleet)
        self.teller = Teller(self.writer, self.reachability)

    async def start(self) -> None:
        await super().start()
        await restore(self.writer, self.reachability, self.database, self.last_heard)

    def heard(self, count: int, ago_s: float) -> None:
        """Of devices 1 to count, that long ago."""
        for device in range(1, count + 1):
            self.reachability.hear_word(device, now_ms() - round(ago_s * 1000))


@pytest_asyncio.fixture
async def fleet(connection: asyncpg.Connection) -> int:
    """Assets 1, 2, … with a device each."""
    count = 2_500
    await connection.fetchval(FLEET, count)
    await connection.execute("UPDATE asset SET active_device = id")
    return count


async def told(connection: asyncpg.Connection) -> list[tuple[int, str, str | None]]:
    rows = await connection.fetch("SELECT asset, type, cause FROM event ORDER BY id")
    return [tuple(row) for row in rows]


async def stands(connection: asyncpg.Connection) -> list[tuple[int, str, str | None]]:
    rows = await connection.fetch("SELECT asset, state, reason FROM reachability ORDER BY asset")
    return [tuple(row) for row in rows]


async def test_assets_of_before_are_taken_for_offline_until_they_are_heard_of(
    cluster: PrivateCluster, tmp_path: Path
) -> None:
    """A first start with this schema tells nothing of the past."""
    for path in (resource_dir("sql") / "migrations").iterdir():
        if path.name < "0009":
            shutil.copy(path, tmp_path)
    admin = await asyncpg.connect(cluster.url("postgres"))
    await admin.execute("CREATE DATABASE before_reachability TEMPLATE tracker")
    url = cluster.url("before_reachability")
    connection = await asyncpg.connect(url)
    await migrate(connection, tmp_path)
    await connection.fetchval(FLEET, 2)
    await connection.execute(
        "UPDATE asset SET active_device = id;"
        "INSERT INTO latest (asset, any_time, any_lon, any_lat, any_batch, any_seen,"
        " time, lon, lat, batch, seen, device, alt, speed, course, accuracy)"
        "VALUES (1, now() - interval '1 hour', 0, 0, 1, 1, now() - interval '1 hour', 0, 0, 1, 1, 1, 0, 0, 0, 0)"
    )
    await migrate(connection)
    async with Roll(url) as roll:
        assert [each.state for each in roll.reachability.of_assets([1, 2], now_ms())] == [OFFLINE, NEVER]
        await roll.teller.look()
        assert await told(connection) == []
        roll.heard(2, ago_s=0)
        await roll.teller.look()
        assert await told(connection) == [(1, "asset.online", None)]
    await connection.close()
    await admin.execute("DROP DATABASE before_reachability WITH (FORCE)")
    await admin.close()


async def until_ready(roll: Roll) -> None:
    async with asyncio.timeout(30):
        while not roll.writer.ready:
            await asyncio.sleep(0.01)


async def test_a_fleet_that_goes_all_at_once_is_told_in_few_transactions(
    database: str, fleet: int, connection: asyncpg.Connection
) -> None:
    async with Roll(database) as roll:
        roll.heard(fleet, ago_s=5)
        await roll.teller.look()
        assert [(asset, kind) for asset, kind, _ in await told(connection)] == [
            (asset, "asset.offline") for asset in range(1, fleet + 1)
        ]
        sizes = await connection.fetch("SELECT count(*) AS n FROM event GROUP BY recorded_at, xmin ORDER BY min(id)")
        assert [row["n"] for row in sizes] == [AT_ONCE, AT_ONCE, fleet - 2 * AT_ONCE]
        assert roll.writer.publisher.feed.last_id == roll.writer.event == fleet
        assert roll.writer.publisher.latest.unreachable == dict.fromkeys(range(1, fleet + 1), "offline")
        await roll.teller.look()
        assert len(await told(connection)) == fleet


async def test_ten_thousand_devices_cost_little(database: str, connection: asyncpg.Connection) -> None:
    count = 10_000
    await connection.fetchval(FLEET, count)
    await connection.execute("UPDATE asset SET active_device = id")
    async with Roll(database) as roll:

        async def took_ms(action: Callable[[], Awaitable[None]]) -> float:
            begun = time.process_time()
            await action()
            return (time.process_time() - begun) * 1000

        roll.heard(count, ago_s=5)
        told_ms = await took_ms(roll.teller.look)
        idle_ms = await took_ms(roll.teller.look)
        assert len(await told(connection)) == count
    begun = time.perf_counter()
    async with Roll(database):
        start_s = time.perf_counter() - begun
    print(f"{count} devices: all offline at once {told_ms:.0f} ms, idle look {idle_ms:.2f} ms, a start {start_s:.2f} s")
    assert idle_ms < 250


async def test_a_restart_tells_nothing_twice(database: str, fleet: int, connection: asyncpg.Connection) -> None:
    async with Roll(database) as roll:
        roll.reachability.open(3, now_ms() - 5_000)
        roll.reachability.end(3, LOST, now_ms() - 4_000)
        roll.heard(2, ago_s=5)
        await roll.teller.look()
        roll.reachability.hear_word(2, now_ms())
        await roll.teller.look()
        before = roll.reachability.of_assets([1, 3], now_ms())
    for _ in range(2):
        async with Roll(database) as roll:
            assert roll.reachability.changes(now_ms(), 10) == []
            assert roll.reachability.of_assets([1, 3], now_ms()) == before
            assert roll.writer.publisher.latest.unreachable == {1: "offline", 3: "offline"}
    assert await told(connection) == [
        (1, "asset.offline", "no_messages"),
        (2, "asset.offline", "no_messages"),
        (3, "asset.offline", "lost"),
        (2, "asset.online", None),
    ]
    assert await stands(connection) == [(1, "offline", "no_messages"), (2, "online", None), (3, "offline", "lost")]


@pytest.mark.parametrize("durable", [True, False])
async def test_what_was_told_though_the_answer_was_lost_is_not_told_again(
    database: str, fleet: int, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    async with Roll(database) as roll:
        record, cuts = store.record, list[bool]()

        async def cut(connection: Any, tellings: Any) -> None:
            await record(connection, tellings)
            if not cuts:
                cuts.append(durable)
                if durable:
                    await connection.execute("COMMIT")
                connection.terminate()

        monkeypatch.setattr(store, "record", cut)
        roll.heard(3, ago_s=5)
        await roll.teller.look()
        assert roll.writer.publisher.latest.unreachable == {}
        await until_ready(roll)
        await roll.teller.look()
        assert cuts == [durable]
        assert roll.writer.publisher.latest.unreachable == dict.fromkeys((1, 2, 3), "offline")
    assert await told(connection) == [(asset, "asset.offline", "no_messages") for asset in (1, 2, 3)]


async def test_what_happens_while_the_database_is_away_is_told_when_it_is_back(
    database: str, fleet: int, connection: asyncpg.Connection
) -> None:
    async with Roll(database) as roll:
        roll.heard(3, ago_s=5)
        roll.writer.ready = False
        await roll.teller.look()
        roll.writer.ready = True
        assert await told(connection) == []
        await roll.teller.look()
        assert len(await told(connection)) == 3


async def test_a_server_that_was_away_accuses_nobody(
    database: str, fleet: int, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Roll(database) as roll:
        roll.heard(3, ago_s=0)
        later_ms = now_ms() + 3_600_000
        monkeypatch.setattr(pipeline, "now_ms", lambda: later_ms)
        await roll.teller.look()
        assert await told(connection) == []
        later_ms += 2_000
        await roll.teller.look()
    assert await told(connection) == [(asset, "asset.offline", "no_messages") for asset in (1, 2, 3)]


async def test_an_event_is_where_the_asset_was_seen_when_it_was_heard(
    database: str, fleet: int, connection: asyncpg.Connection
) -> None:
    async with Roll(database) as roll:
        socket = Socket()
        await roll.open(socket)
        roll.writer.publisher._on_batch = lambda prepared: hear(roll.reachability, prepared)
        await roll.send(socket, b'{"lon":13.4,"lat":52.5}')
        heard_ms = roll.reachability.of_assets([1], now_ms())[0].heard_ms
        roll.heard(2, ago_s=5)
        await roll.teller.look()
    assert heard_ms is not None
    rows = await connection.fetch("SELECT asset, lon, lat, geofence, device, batch FROM event ORDER BY asset")
    assert [tuple(row) for row in rows] == [
        (1, 134_000_000, 525_000_000, None, 1, None),
        (2, None, None, None, 2, None),
    ]


def test_whoever_sends_is_heard_also_with_what_is_known_or_no_good() -> None:
    world, own, gateway = World(), Socket(), Socket(gateway=True)
    reachability = Reachability(world.fleet)
    reachability.restore(store.Traces(), store.Tellings.of([]), 0)
    world.open(own, 1, "s1")
    world.open(gateway, 2, "s2")
    for device in (1, 2):
        reachability.open(device, now_ms() - 90_000)
        reachability.end(device, LOST, now_ms() - 90_000)
        reachability.hear_reason(device, "location_off", now_ms() - 90_000)
    world.send(own, numbered(101, 3, 1))
    world.send(gateway, numbered(202, 1, 1, device="dev_2", stream="s2"))
    world.drain()
    for prepared in world.ledger:
        hear(reachability, prepared)
    heard = reachability.of_devices([1, 2], world.now_ms)
    assert [each.heard_ms for each in heard] == [world.ledger[-1].recorded_ms] * 2
    assert heard[0].reason == "location_off", "its fix was refused"
    assert heard[1].reason is None
    gone = reachability.of_devices([1, 2], world.now_ms + 3_600_000)
    assert [each.reason for each in gone] == ["location_off", "no_messages"]
