"""What breaks around the server, and what must not break with it."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import ClientError, ClientSession, WSServerHandshakeError

from tests.integration import town
from tests.integration.api import ADMIN, Api, until
from tests.integration.deaf import deaf
from tests.integration.ledger import Convoy, check_visits
from tests.integration.link import START_MS, Closed, Device, Link, cab, link, welcomed
from tests.integration.network import Network
from tests.integration.oracle import UNIT
from tests.integration.planner import Planner, check_changes, judged_of
from tests.integration.receiver import Receiver
from tests.integration.served import Served
from tests.integration.viewer import viewing
from tracker.app import Server
from tracker.errors import LockLost
from tracker.settings import Settings
from tracker.store.journal import Journal
from tracker.store.private import PrivateCluster

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


@pytest_asyncio.fixture
async def superuser(cluster: PrivateCluster, database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection outside of the test's database, which survives what is done to it."""
    connection = await asyncpg.connect(cluster.url("postgres"))
    yield connection
    await connection.close()


def name_of(database: str) -> str:
    return urlsplit(database).path.removeprefix("/")


async def cut_connections(superuser: asyncpg.Connection, database: str) -> int:
    """End every connection to a database; returns how many."""
    rows = await superuser.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name_of(database)
    )
    return len(rows)


@asynccontextmanager
async def hooked(api: Api, receiver: Receiver) -> AsyncIterator[None]:
    """A receiver of all events; at the end it must have them all, in order, once."""
    hook = {"url": receiver.url, "types": ["geofence.enter", "geofence.exit"]}
    receiver.secret = (await api.call("POST", "/v1/hooks", hook, expect=201))["secret"]
    yield
    events = await api.events()

    async def all_delivered() -> bool:
        return len(receiver.events) >= len(events)

    await until(all_delivered, within_s=60)
    receiver.check(events)


@asynccontextmanager
async def serving(served: Served, http: ClientSession) -> AsyncIterator[Served]:
    try:
        await served.start(http)
        yield served
    finally:
        served.close()


# The database --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
async def test_a_killed_postgresql_comes_back_by_itself_and_nothing_acked_is_lost(
    private: Served, http: ClientSession, receiver: Receiver
) -> None:
    await private.start(http)
    api = Api(private.url, http)
    convoy = Convoy(api, town.fences(11))
    await convoy.make(cabs=8, fixes=150, random_=random.Random(11))

    async def kill() -> None:
        for part, deed in enumerate((_kill_postmaster, _kill_postmaster, _kill_both), 1):
            while convoy.acked < part * 8 * 150 / 4:
                await asyncio.sleep(0.001)
            await deed(private, http)

    async with hooked(api, receiver):
        await asyncio.gather(kill(), convoy.drive(http))
        await convoy.check()
    assert await private.stop() < 10
    assert private.running.returncode == 0


async def _kill_postmaster(private: Served, http: ClientSession) -> None:
    os.kill(private.postmaster(), signal.SIGKILL)
    await private.wait_ready(http)


async def _kill_both(private: Served, http: ClientSession) -> None:
    postmaster = private.postmaster()
    private.kill()
    os.kill(postmaster, signal.SIGKILL)
    await private.start(http)


async def test_connections_cut_under_load_cost_neither_a_fix_nor_an_event(
    api: Api, http: ClientSession, server: Server, superuser: asyncpg.Connection, database: str, receiver: Receiver
) -> None:
    convoy = Convoy(api, town.fences(12))
    await convoy.make(cabs=8, fixes=150, random_=random.Random(12))
    async with hooked(api, receiver):

        async def cut() -> None:
            for part in range(1, 7):
                while convoy.acked < part * 8 * 150 / 7:
                    await asyncio.sleep(0.001)
                recoveries = server.writer.recoveries
                assert await cut_connections(superuser, database) > 1
                while server.writer.recoveries == recoveries or not server.writer.ready:
                    await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            group.create_task(cut(), name="cut")
            group.create_task(convoy.drive(http), name="convoy")
        await convoy.check()
    assert server.writer.recoveries >= 6


@pytest.mark.timeout(240)
async def test_a_network_that_breaks_under_load_costs_neither_a_fix_nor_an_event(
    data_dir: Path, database: str, http: ClientSession, receiver: Receiver
) -> None:
    async with Network(database) as network, serving(Served(data_dir, network.url), http) as served:
        api = Api(served.url, http)
        convoy = Convoy(api, town.fences(14))
        await convoy.make(cabs=8, fixes=150, random_=random.Random(14))

        async def cut() -> None:
            for part in range(1, 13):
                while convoy.acked < part * 8 * 150 / 13:
                    await asyncio.sleep(0.001)
                await network.cut()
                await network.mend()

        async with hooked(api, receiver):
            async with asyncio.TaskGroup() as group:
                group.create_task(cut(), name="cut")
                group.create_task(convoy.drive(http), name="convoy")
            await convoy.check()
        assert (await api.metrics())["tracker_recoveries_total"] >= 12


async def test_while_the_database_is_gone_nothing_is_acked_and_everybody_is_told_so(
    settings: Settings, database: str, http: ClientSession
) -> None:
    async with Network(database) as network, Server(replace(settings, database=network.url)) as server:
        api = Api(server.url, http)
        device = await api.new_device()
        async with welcomed(http, api.url, device.token, "S") as socket, viewing(http, api.url) as viewer:
            await viewer.view(1, (-180, -90, 180, 90))
            await socket.fixes(1, [{"lon": 1, "lat": 1, "time": START_MS}])
            await socket.acked(1)
            await network.cut()
            await socket.fixes(2, [{"lon": 2, "lat": 2, "time": START_MS + 1}])

            async def is_away() -> bool:
                return not server.writer.ready

            await until(is_away)
            await _everybody_is_told(api, device.token)
            assert len(socket.of_type("ack")) == 1
            assert await api.call("GET", "/healthz") == {"ok": True}

            await network.mend()
            await socket.acked(2)
            await viewer.shows(1, **{device.asset: (2, 2)})
        await until(api.ready)
        assert len(await api.track(device.asset)) == 2


async def _everybody_is_told(api: Api, token: str) -> None:
    readiness = await api.send("GET", "/readyz")
    assert readiness.status == 503
    assert (await readiness.json())["reasons"]
    posted = await api.problem("POST", "/v1/ingest", {"lon": 1, "lat": 1}, token=token, expect=503)
    assert posted["code"] == "unavailable"
    await api.problem("GET", "/v1/devices", expect=503)
    feature = {"type": "Feature", "geometry": SQUARE, "properties": {}}
    await api.problem("POST", "/v1/geofences", feature, expect=503)
    with pytest.raises(WSServerHandshakeError) as refusal:
        async with link(api.http, api.url, token, "S"):
            pass
    assert refusal.value.status == 503


async def test_a_fence_whose_answer_was_lost_is_there_or_not_but_never_half(
    api: Api, http: ClientSession, superuser: asyncpg.Connection, database: str
) -> None:
    device = await api.new_device()
    feature = {"type": "Feature", "geometry": SQUARE, "properties": {}}
    async with welcomed(http, api.url, device.token, "S") as socket:
        await socket.fixes(1, [{"lon": 5, "lat": 5, "time": START_MS}])
        await socket.acked(1)  # by then the socket asks nothing of the database any more, and is not closed with it
        answered = 0
        for round_ in range(1, 11):
            asked = [asyncio.create_task(api.send("POST", "/v1/geofences", json=feature)) for _ in range(5)]
            await socket.fixes(round_ + 1, [{"lon": 5, "lat": 5, "time": START_MS + round_}])
            await cut_connections(superuser, database)
            statuses = [(await each).status for each in asked]
            assert set(statuses) <= {201, 503}
            answered += statuses.count(201)
            await socket.acked(round_ + 1)
        fences = {feature["id"] for feature in await api.pages("/v1/geofences", "features")}
        assert answered <= len(fences) <= 50
        await socket.fixes(12, [{"lon": 0.5, "lat": 0.5, "time": START_MS + 1000}])
        await socket.acked(12)
    events = await api.events()
    assert {event["geofence"]["id"] for event in events} == fences
    assert len(events) == len(fences)


async def test_what_was_committed_though_its_answer_was_lost_is_told_to_everybody_once(
    settings: Settings, database: str, connection: asyncpg.Connection, http: ClientSession, receiver: Receiver
) -> None:
    async with Network(database) as network, Server(replace(settings, database=network.url)) as server:
        api = Api(server.url, http)
        fences = [await api.new_fence(SQUARE) for _ in range(3)]

        async def stored(events: int) -> None:
            """Until the database has so many; then the way to it breaks, and is mended."""
            await until(lambda: connection.fetchval("SELECT count(*) = $1 FROM event", events))
            await network.cut()
            await network.mend()

        async with hooked(api, receiver), cab(api) as bus, viewing(http, api.url) as viewer:
            await viewer.send(type="events", id=1)
            await viewer.send(type="view", id=2, bbox=[-180, -90, 180, 90])
            await viewer.next("snapshot", 2)
            network.lose_answer_to(b"COMMIT")  # of a batch
            await asyncio.gather(bus.to((0.5, 0.5)), stored(3))
            network.lose_answer_to(b"COMMIT")  # of a deleted fence
            deleted, _ = await asyncio.gather(api.send("DELETE", f"/v1/geofences/{fences[0]}"), stored(4))
            assert deleted.status == 503
            await until(api.ready)
            await api.problem("DELETE", f"/v1/geofences/{fences[0]}", expect=404)
            heard = [(await viewer.next("event", 1))["event"] for _ in range(4)]
            await bus.to((5, 5))
            heard += [(await viewer.next("event", 1))["event"] for _ in range(2)]
            assert heard == await api.events()
            await viewer.shows(2, **{bus.asset: (5, 5)})


POISON = 130_000_000  # a longitude that this test's database refuses


async def refuse_poison(connection: asyncpg.Connection) -> None:
    await connection.execute(f"ALTER TABLE journal ADD CHECK (NOT {POISON} = ANY (lon))")


@asynccontextmanager
async def commits_held(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """No batch becomes durable meanwhile, so what is sent stands in the next one together."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE journal IN EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("change", ["a geofence is made", "an asset gets tags", "nothing is changed"])
async def test_a_lost_batch_is_not_taken_for_durable_because_of_the_change_before_it(
    api: Api, http: ClientSession, superuser: asyncpg.Connection, connection: asyncpg.Connection, change: str
) -> None:
    async with cab(api) as bus:
        fence = await api.new_fence(SQUARE)
        await bus.to((5, 5))
        if change == "a geofence is made":
            await api.new_fence({"type": "Point", "coordinates": [50, 50]}, radius_m=5)
        elif change == "an asset gets tags":
            await api.call("PATCH", f"/v1/assets/{bus.asset}", {"tags": ["bus"]})
        async with commits_held(connection):
            going = asyncio.create_task(bus.to((0.5, 0.5)))
            await until(lambda: superuser.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
            cut = await superuser.fetch("SELECT pid, pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
            pids = [row["pid"] for row in cut]  # only these: the writer may be back, and wait once more, at any moment
            gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY ($1)"
            await until(lambda: superuser.fetchval(gone, pids))
        await going
        assert [(fix.lon, fix.lat) for fix in await api.track(bus.asset)] == [(5, 5), (0.5, 0.5)]
        assert [event["geofence"]["id"] for event in await api.events()] == [fence]


async def test_what_the_database_refuses_is_put_aside_and_the_rest_of_its_batch_is_acked(
    api: Api, http: ClientSession, server: Server, connection: asyncpg.Connection
) -> None:
    await refuse_poison(connection)
    devices = [await api.new_device(f"cab {number}") for number in range(6)]
    fixes = [{"lon": 1 + number / 100, "lat": 1, "time": START_MS + number} for number in range(20)]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(welcomed(http, api.url, each.token, "S")) for each in devices]
        async with commits_held(connection):
            for seq, fix in enumerate(fixes, 1):
                for number, socket in enumerate(sockets):
                    poisoned = number == 3 and seq in (5, 6, 17)
                    await socket.fixes(seq, [{**fix, "lon": POISON / UNIT} if poisoned else fix])

            async def all_read() -> bool:
                return sum(socket.source.queued for socket in server.sockets._sockets) == len(sockets) * len(fixes)

            await until(all_read)
        for socket in sockets:
            await socket.acked(len(fixes))
        rejects = [(reject["seq"], reject["code"]) for reject in sockets[3].of_type("reject")]
    assert rejects == [(seq, "refused_by_database") for seq in (5, 6, 17)]
    listed = (await api.call("GET", f"/v1/devices/{devices[3].id}/rejects"))["rejects"]
    assert [(each["seq"], each["code"]) for each in listed] == rejects
    for number, device in enumerate(devices):
        assert len(await api.track(device.asset)) == (17 if number == 3 else 20)
    async with welcomed(http, api.url, devices[3].token, "S") as socket:
        assert socket.welcome["seq"] == 20


async def test_a_device_that_sends_only_what_the_database_refuses_stops_nobody(
    api: Api, http: ClientSession, connection: asyncpg.Connection
) -> None:
    await refuse_poison(connection)
    poisoner, other = await api.new_device(), await api.new_device("other")
    async with (
        welcomed(http, api.url, poisoner.token, "S") as bad,
        welcomed(http, api.url, other.token, "S") as good,
    ):
        for seq in range(1, 11):
            await bad.fixes(seq, [{"lon": POISON / UNIT, "lat": 1, "time": START_MS + seq}])
            await good.fixes(seq, [{"lon": 1, "lat": 1, "time": START_MS + seq}])
        await good.acked(10)
        await bad.acked(10)
        assert [reject["seq"] for reject in bad.of_type("reject")] == list(range(1, 11))
    assert len(await api.track(other.asset)) == 10


# Starting and stopping -----------------------------------------------------------------------------------------------


async def test_a_port_in_use_is_one_sentence_and_exit_code_2(free_port: int, data_dir: Path) -> None:
    listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", free_port)
    served = Served(data_dir, port=free_port)
    async with listener:
        served.spawn()
        assert await served.ended() == 2
    sentence = f"tracker: Cannot listen on 127.0.0.1:{free_port}: Address already in use. "
    assert served.said().splitlines() == [sentence + "Stop what uses it, or choose another with --listen."]
    assert not (data_dir / "postgres").exists()


async def test_a_second_server_on_the_same_data_is_refused_with_a_sentence(
    private: Served, http: ClientSession
) -> None:
    await private.start(http)
    second = Served(private.data)
    second.spawn()
    assert await second.ended() in (1, 2)
    assert second.said().startswith("tracker: ")
    assert str(private.data) in second.said()
    assert "Traceback" not in second.said()
    assert await Api(private.url, http).ready()


async def test_a_second_server_on_the_same_database_waits_until_the_first_has_ended(
    settings: Settings, http: ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        async with Server(settings) as first:
            device = await Api(first.url, http).new_device()
            second = asyncio.create_task(stack.enter_async_context(Server(settings)), name="second")
            async with welcomed(http, first.url, device.token, "S") as socket:
                for seq in range(1, 20):
                    await socket.fixes(seq, [{"lon": 1, "lat": 1, "time": START_MS + seq}])
                    await socket.acked(seq)
            assert not second.done()
        server = await second
        async with welcomed(http, server.url, device.token, "S") as socket:
            assert socket.welcome["seq"] == 19
            await socket.fixes(20, [{"lon": 1, "lat": 1, "time": START_MS + 20}])
            await socket.acked(20)
        assert len(await Api(server.url, http).track(device.asset)) == 20


async def test_who_waits_in_vain_for_the_database_is_told_what_to_do(server: Server, database: str) -> None:
    journal = Journal(database)
    with pytest.raises(LockLost, match=r"^Another tracker server writes to this database; stop it, or .*\.$"):
        await journal.open(wait_s=0.1)
    await journal.close()


async def heard_until_closed(socket: Link, acked: list[int], code: list[int | None]) -> None:
    """Keeps the last number acked, and the code of the close."""
    try:
        while True:
            message = await socket.receive(within_s=None)
            if message["type"] == "ack":
                acked[:] = [message["seq"]]
    except Closed as end:
        code.append(end.code)


async def send_without_end(socket: Link, stopped: asyncio.Event) -> None:
    seq = 0
    try:
        while not stopped.is_set():
            seq += 1
            await socket.fixes(seq, [{"lon": 1, "lat": 1, "time": START_MS + seq}])
            await asyncio.sleep(0)  # what fits the buffers is sent without a turn for others
    except (ClientError, ConnectionError):
        pass


@pytest.mark.timeout(240)
async def test_sigterm_with_many_sockets_some_of_them_dead_acks_what_was_read_and_ends_in_time_with_1001(
    served: Served, http: ClientSession
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    wanted = [{"name": f"cab {number}"} for number in range(170)]
    devices = (await api.call("POST", "/v1/devices", wanted, expect=201))["devices"]
    busy, idle, dead = devices[:10], devices[10:150], devices[150:]
    codes: list[int | None] = []
    acked: dict[str, list[int]] = {device["id"]: [0] for device in busy}
    stopped = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for device in dead:
            socket = await stack.enter_async_context(deaf(api.url, "/v1/ingest?stream=S", device["token"]))
            await socket.send({"lon": 1, "lat": 1})
        for _ in range(10):
            dead_viewer = await stack.enter_async_context(deaf(api.url, "/v1/live", ADMIN))
            await dead_viewer.send({"type": "view", "id": 1, "bbox": [-180, -90, 180, 90], "max_hz": 20})
        for device in idle:
            opened = await stack.enter_async_context(welcomed(http, api.url, device["token"]))
            group.create_task(heard_until_closed(opened, [], codes), name="idle")
        for _ in range(20):
            viewer = await stack.enter_async_context(viewing(http, api.url))
            await viewer.view(1, (-180, -90, 180, 90))
            group.create_task(_closed(viewer, codes), name="viewer")
        for device in busy:
            opened = await stack.enter_async_context(welcomed(http, api.url, device["token"], "S"))
            group.create_task(heard_until_closed(opened, acked[device["id"]], codes), name="busy")
            group.create_task(send_without_end(opened, stopped), name="sender")
        while sum(last for [last] in acked.values()) < 500:
            await asyncio.sleep(0.01)
        took_s = await served.stop()
        stopped.set()
    print(f"ended after {took_s:.1f} s; {sum(last for [last] in acked.values())} acked by the busy ones")
    assert took_s < 10
    assert served.running.returncode == 0
    assert codes == [1001] * (len(busy) + len(idle) + 20)
    await served.start(http)
    for device in busy:
        async with welcomed(http, api.url, device["token"], "S") as opened:
            assert [opened.welcome["seq"]] == acked[device["id"]]


async def test_sigterm_while_the_database_is_away_ends_in_time_and_acks_nothing(
    data_dir: Path, database: str, http: ClientSession
) -> None:
    async with Network(database) as network, serving(Served(data_dir, network.url), http) as served:
        api = Api(served.url, http)
        device = await api.new_device()
        async with welcomed(http, api.url, device.token, "S") as socket:
            await socket.fixes(1, [{"lon": 1, "lat": 1}])
            await socket.acked(1)
            await network.cut()
            await socket.fixes(2, [{"lon": 1, "lat": 1}])

            async def is_away() -> bool:
                return (await api.metrics())["tracker_writer_ready"] == 0

            await until(is_away)
            posting = asyncio.create_task(_posts_in_vain(api, device.token), name="post")
            took_s, code, _ = await asyncio.gather(served.stop(), socket.closed(), posting)
            assert code == 1001
            assert len(socket.of_type("ack")) == 1
        assert took_s < 10
        await network.mend()
        await served.start(http)
        async with welcomed(http, api.url, device.token, "S") as socket:
            assert socket.welcome["seq"] == 1


async def _posts_in_vain(api: Api, token: str) -> None:
    with suppress(ClientError):
        assert (await api.send("POST", "/v1/ingest", json={"lon": 1, "lat": 1}, token=token)).status == 503


async def _closed(viewer: Any, codes: list[int | None]) -> None:
    codes.append(await viewer.closed())


# Killed while fences change ------------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
async def test_a_server_killed_while_fences_change_leaves_each_change_whole_and_its_events_exact(
    served: Served, http: ClientSession, connection: asyncpg.Connection
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    random_ = random.Random(13)
    devices = []
    for number in range(6):
        made = await api.new_device(f"cab {number}")
        fixes = [step.fix() for step in town.walk(number, 200)]
        devices.append(Device(api.url, made.token, fixes, "S", 2, 2))
    planner = Planner(api, town.fences(13), random_)

    async def plan(streaming: "asyncio.Future[Any]") -> None:
        while not streaming.done():
            with suppress(ClientError):  # killed in the middle of a change: it took effect, or it did not
                await planner.step()

    async def kill() -> None:
        for part in (1, 2):
            while sum(device.acked for device in devices) < 6 * 200 * part / 3:
                await asyncio.sleep(0.001)
            served.kill()
            await served.start(http)

    streaming = asyncio.gather(*(device.run(http) for device in devices))
    await asyncio.gather(plan(streaming), kill(), streaming)
    judged = await judged_of(connection)
    assert sum(map(len, judged.values())) == 6 * 200
    assert await check_changes(api, connection, judged) > 50
    await check_visits(api, list(judged))
