"""From the outbox to a receiver: order, retries, dead letters, failures of everything. Real PostGIS, real sockets."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from tests.hooks.outbox import Clock, Outbox
from tests.hooks.receiver import Message, Receiver
from tracker.errors import StoreUnavailable
from tracker.hooks.dispatcher import Dispatcher
from tracker.hooks.lanes import IN_FLIGHT_PER_HOOK, LANES_PER_HOOK
from tracker.store.database import Database

HOUR_MS = 3_600_000
CUT_EVERY_CONNECTION = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def asset_of(message: Message) -> int:
    return int(message["data"]["asset"]["id"].removeprefix("ast_"))


def statuses(default: int, **of_asset: int) -> Any:
    """An answer for each asset, as a1=503."""
    return lambda message: of_asset.get(f"a{asset_of(message)}", default)


async def to_the_next_attempt(clocked: Dispatcher, clock: Clock, receiver: Receiver) -> None:
    """Lets time pass until a retry is due, and waits for what comes of it."""
    await receiver.until(lambda: at_rest(clocked) and clocked.stats().next_due_ms)
    made = clocked.stats().failed + clocked.stats().delivered
    clock.ms = clocked.stats().next_due_ms or 0
    clocked.wake()
    await receiver.until(lambda: clocked.stats().failed + clocked.stats().delivered > made)
    await receiver.until(lambda: at_rest(clocked))


def at_rest(dispatcher: Dispatcher) -> bool:
    stats = dispatcher.stats()
    return stats.lanes == stats.in_flight == stats.unsaved == 0


async def test_every_event_comes_once_signed_and_in_the_order_of_its_asset(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    hook = await outbox.hook(receiver.url)
    await dispatcher.start()
    for _ in range(5):
        await outbox.events([1, 2, 3, 2, 1, 1] * 20)
        dispatcher.wake()
    await outbox.until_states(delivered=600)
    assert all(events == sorted(events) for events in receiver.accepted.values())
    assert Counter({asset: len(events) for asset, events in receiver.accepted.items()}) == {1: 300, 2: 200, 3: 100}
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == len(receiver.requests) == 600
    for headers, body in receiver.requests:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(outbox.keys[hook], signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


async def test_the_body_is_the_event(outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher) -> None:
    await outbox.hook(receiver.url)
    await outbox.events([7])
    await dispatcher.start()
    await outbox.until_states(delivered=1)
    message = json.loads(receiver.requests[0][1])
    assert message["type"] == "geofence.enter"
    assert message["timestamp"] == message["data"]["recorded_at"] == "2026-01-31T12:00:01.000Z"
    assert message["data"]["id"] == "evt_1"
    assert message["data"]["asset"] == {"id": "ast_7", "name": "cab 7"}
    assert message["data"]["geofence"] == {"id": "gf_1", "name": "Kamppi"}
    assert (message["data"]["lon"], message["data"]["lat"]) == (24.932, 60.169)


async def test_a_retry_has_the_same_id_and_body_and_a_fresh_timestamp(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    await outbox.hook(receiver.url)
    await outbox.events([1])
    receiver.answer = lambda message: 204 if len(receiver.requests) == 3 else 503
    await clocked.start()
    for _ in range(2):
        await to_the_next_attempt(clocked, clock, receiver)
    await outbox.until_states(delivered=1)
    headers = [headers for headers, _ in receiver.requests]
    assert {h["webhook-id"] for h in headers} == {"dlv_1"}
    assert len({body for _, body in receiver.requests}) == 1
    times = [int(h["webhook-timestamp"]) for h in headers]
    assert times == sorted(times)
    assert times[2] - times[0] >= 5
    assert len({h["webhook-signature"] for h in headers}) > 1


async def test_the_first_retry_comes_within_a_second_and_a_little(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    await outbox.hook(receiver.url)
    times: list[float] = []

    def answer(message: Message) -> int:
        times.append(asyncio.get_running_loop().time())
        return 503 if len(times) == 1 else 204

    receiver.answer = answer
    await outbox.events([1])
    await dispatcher.start()
    await outbox.until_states(delivered=1)
    assert 0.5 <= times[1] - times[0] < 2


async def test_a_failing_asset_waits_in_order_and_does_not_delay_the_other_forty_nine(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    await outbox.hook(receiver.url)
    await clocked.start()
    receiver.answer = statuses(204, a7=503)
    for _ in range(4):
        await outbox.events(list(range(1, 51)))
        clocked.wake()
    await outbox.until_states(delivered=196, pending=4)
    await receiver.until(lambda: at_rest(clocked))
    assert receiver.accepted[7] == []
    assert sum(asset_of(json.loads(body)) == 7 for _, body in receiver.requests) == 1
    receiver.answer = statuses(204)
    await to_the_next_attempt(clocked, clock, receiver)
    await outbox.until_states(delivered=200)
    assert receiver.accepted[7] == [7, 57, 107, 157]


async def test_a_hook_that_hangs_does_not_delay_another(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    released = asyncio.Event()

    async def hang(message: Message) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    receiver.answer = lambda message: hang(message) if receiver.paths[-1] == "/hang" else 204
    await outbox.hook(receiver.url.replace("/hook", "/hang"))
    await outbox.hook(receiver.url)
    await dispatcher.start()
    await outbox.events(list(range(1, 101)))
    dispatcher.wake()
    await outbox.until_states(delivered=100, pending=100)
    assert dispatcher.stats().in_flight == IN_FLIGHT_PER_HOOK
    released.set()
    await outbox.until_states(delivered=200)


async def test_more_lanes_than_fit_take_turns(outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher) -> None:
    assets = 3 * LANES_PER_HOOK
    await outbox.hook(receiver.url)
    await outbox.events([asset for _ in range(3) for asset in range(1, assets + 1)])
    most = 0

    def answer(message: Message) -> int:
        nonlocal most
        most = max(most, dispatcher.stats().lanes)
        return 204

    receiver.answer = answer
    await dispatcher.start()
    await outbox.until_states(delivered=3 * assets)
    assert most == LANES_PER_HOOK
    assert receiver.most_open <= IN_FLIGHT_PER_HOOK
    assert all(events == sorted(events) for events in receiver.accepted.values())


async def test_a_refused_event_is_put_aside_after_five_attempts_and_the_next_goes_on(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    await outbox.hook(receiver.url)
    receiver.answer = lambda message: 400 if message["data"]["id"] == "evt_1" else 204
    await outbox.events([1, 1])
    await clocked.start()
    for _ in range(4):
        assert await outbox.states() == {"pending": 2}
        await to_the_next_attempt(clocked, clock, receiver)
    await outbox.until_states(dead=1, delivered=1)
    row = await outbox.connection.fetchrow("SELECT * FROM delivery WHERE state = 'dead'")
    assert (row["attempts"], row["last_status"], row["last_error"]) == (5, 400, "the receiver answered 400")


async def test_after_three_days_an_event_is_dead_and_the_next_goes_on_where_other_assets_get_through(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    await outbox.hook(receiver.url)
    receiver.answer = statuses(204, a1=503)
    await outbox.events([1, 1])
    await clocked.start()
    started_ms = clock.ms
    while (await outbox.states()).get("dead", 0) == 0:
        await to_the_next_attempt(clocked, clock, receiver)
        await outbox.events([2])
        clocked.wake()
        await receiver.until(lambda: len(receiver.accepted[2]) and at_rest(clocked))
    assert clock.ms - started_ms == 72 * HOUR_MS
    await receiver.until(lambda: at_rest(clocked))
    rows = await outbox.connection.fetch("SELECT state, attempts FROM delivery WHERE asset = 1 ORDER BY event")
    assert [row["state"] for row in rows] == ["dead", "pending"]
    assert rows[1]["attempts"] == 1
    assert await outbox.connection.fetchval("SELECT disabled_at FROM hook") is None


async def test_a_hook_where_nothing_got_through_for_three_days_is_disabled_and_what_waits_is_kept(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    await outbox.hook(receiver.url)
    receiver.answer = statuses(503)
    await outbox.events([1, 1])
    await clocked.start()
    await to_the_next_attempt(clocked, clock, receiver)
    await outbox.events([2])  # its three days begin later
    clocked.wake()
    await receiver.until(lambda: clocked.stats().failed == 3)
    while (await outbox.states()).get("dead", 0) == 0:
        await to_the_next_attempt(clocked, clock, receiver)
    assert await outbox.states() == {"dead": 1, "pending": 2}
    assert await outbox.connection.fetchval("SELECT disabled_reason FROM hook") == "nothing was delivered for 72 hours"
    await enable(outbox, clocked, receiver)
    await outbox.until_states(dead=1, delivered=2)


async def enable(outbox: Outbox, dispatcher: Dispatcher, receiver: Receiver) -> None:
    """As PATCH enabled: true does."""
    receiver.answer = statuses(204)
    await outbox.connection.execute("UPDATE hook SET disabled_at = NULL, disabled_reason = NULL")
    await outbox.connection.execute(
        "UPDATE delivery SET attempts = 0, refusals = 0, first_attempt_at = NULL WHERE state = 'pending'"
    )
    dispatcher.refresh()


async def test_410_disables_the_hook_and_what_waits_goes_out_when_it_is_enabled_again(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    await outbox.hook(receiver.url)
    receiver.answer = statuses(410)
    await outbox.events([1, 1, 1])
    await dispatcher.start()
    async with asyncio.timeout(30):
        while await outbox.connection.fetchval("SELECT disabled_reason FROM hook") != "the receiver answered 410 Gone":
            await asyncio.sleep(0.01)
    dispatcher.refresh()
    await receiver.until(lambda: at_rest(dispatcher))
    assert await outbox.states() == {"pending": 3}
    assert len(receiver.requests) == 1
    await enable(outbox, dispatcher, receiver)
    await outbox.until_states(delivered=3)
    assert receiver.accepted[1] == [1, 2, 3]


async def test_a_redelivery_keeps_its_id_and_holds_up_nothing(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    await outbox.hook(receiver.url)
    await outbox.events([1, 1])
    await clocked.start()
    await outbox.until_states(delivered=2)
    await receiver.until(lambda: at_rest(clocked))
    receiver.answer = lambda message: 503 if message["data"]["id"] == "evt_1" else 204
    await outbox.connection.execute(
        "UPDATE delivery SET state = 'pending', redelivery = true, attempts = 0, due_at = $1 WHERE event = 1",
        await outbox.connection.fetchval("SELECT recorded_at FROM event LIMIT 1"),
    )
    clock.ms += 60_000
    clocked.refresh()
    await receiver.until(lambda: len(receiver.requests) == 3)
    assert receiver.requests[2][0]["webhook-id"] == "dlv_1"
    await outbox.events([1])
    clocked.wake()
    await outbox.until_states(delivered=2, pending=1)
    receiver.answer = statuses(204)
    await to_the_next_attempt(clocked, clock, receiver)
    await outbox.until_states(delivered=3)


async def test_a_new_url_is_used_from_the_next_attempt_on(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock
) -> None:
    hook = await outbox.hook("http://127.0.0.1:1/")
    await outbox.events([1])
    await clocked.start()
    await receiver.until(lambda: clocked.stats().failed == 1)
    await outbox.connection.execute("UPDATE hook SET url = $2 WHERE id = $1", hook, receiver.url)
    clocked.refresh()
    await to_the_next_attempt(clocked, clock, receiver)
    await outbox.until_states(delivered=1)


async def test_a_hook_made_while_it_runs_gets_what_comes_and_a_deleted_one_gets_no_more(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    await dispatcher.start()
    await receiver.until(lambda: dispatcher.stats().lanes == 0)
    hook = await outbox.hook(receiver.url)
    await outbox.events([1])
    dispatcher.wake()
    await outbox.until_states(delivered=1)
    await outbox.events([1])
    await outbox.connection.execute("UPDATE hook SET deleted_at = now() WHERE id = $1", hook)
    dispatcher.refresh()
    await outbox.hook(receiver.url)
    await outbox.events([2])
    dispatcher.wake()
    await outbox.until_states(delivered=2, pending=1)
    assert len(receiver.requests) == 2


async def test_an_address_that_is_not_listed_is_not_reached_and_the_log_says_so(
    outbox: Outbox, receiver: Receiver, store: Database
) -> None:
    await outbox.hook(receiver.url)
    await outbox.events([1])
    guarded = Dispatcher(store)
    await guarded.start()
    await receiver.until(lambda: guarded.stats().failed)
    await guarded.stop()
    assert await outbox.connection.fetchval("SELECT last_error FROM delivery") == "address not allowed"
    assert receiver.requests == []


async def test_lost_connections_to_the_database_lose_and_repeat_nothing_that_was_saved(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    await outbox.hook(receiver.url)
    await dispatcher.start()
    for _ in range(5):
        await outbox.events([1, 2, 3, 4] * 25)
        dispatcher.wake()
        await outbox.connection.execute(CUT_EVERY_CONNECTION)
    await outbox.until_states(delivered=500)
    assert all(events == sorted(events) for events in receiver.accepted.values())
    assert sum(len(events) for events in receiver.accepted.values()) == 500


async def test_stop_cuts_what_hangs_within_two_seconds_and_the_next_start_repeats_it(
    outbox: Outbox, receiver: Receiver, store: Database, dispatcher: Dispatcher
) -> None:
    async def hang(message: Message) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    await outbox.hook(receiver.url)
    await outbox.events([1, 1, 2])
    receiver.answer = lambda message: hang(message) if asset_of(message) == 1 else 204
    await dispatcher.start()
    await dispatcher.start()
    await receiver.until(lambda: receiver.accepted[2] and receiver.open == 1)
    async with asyncio.timeout(30):
        await dispatcher.stop()
    assert await outbox.states() == {"delivered": 1, "pending": 2}
    await dispatcher.stop()
    receiver.answer = statuses(204)
    await dispatcher.start()
    await outbox.until_states(delivered=3)
    assert [headers["webhook-id"] for headers, _ in receiver.requests].count("dlv_1") == 2


async def test_stop_before_start_is_no_mistake(dispatcher: Dispatcher) -> None:
    await dispatcher.stop()


async def test_a_test_message_is_signed_and_says_what_it_met(
    outbox: Outbox, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    hook = await outbox.hook(receiver.url)
    await outbox.connection.execute("UPDATE hook SET disabled_at = now()")
    result = await dispatcher.test(hook)
    assert (result.ok, result.status, result.error) == (True, 204, None)
    headers, body = receiver.requests[0]
    assert json.loads(body)["type"] == "hook.test"
    assert json.loads(body)["data"] == {"hook": f"hook_{hook}"}
    digest = hmac.new(
        outbox.keys[hook], f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body, "sha256"
    ).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    receiver.answer = lambda message: 500
    result = await dispatcher.test(hook)
    assert (result.ok, result.status, result.error) == (False, 500, "the receiver answered 500")


@pytest.mark.parametrize(
    "fault", ["hooks_save", "hooks_page", "hooks_fresh", "hooks_due", "hooks_endpoints", "hooks_lanes"]
)
async def test_a_query_that_fails_once_is_made_again(
    outbox: Outbox,
    receiver: Receiver,
    dispatcher: Dispatcher,
    store: Database,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = False

    def failing(real: Any) -> Any:
        async def call(name: str, *args: Any) -> Any:
            nonlocal failed
            if name == fault and not failed:
                failed = True
                raise StoreUnavailable("the database does not answer")
            return await real(name, *args)

        return call

    monkeypatch.setattr(store, "rows", failing(store.rows))
    monkeypatch.setattr(store, "execute", failing(store.execute))
    await outbox.hook(receiver.url)
    await outbox.events([1, 2])
    await dispatcher.start()
    await outbox.until_states(delivered=2)
    await outbox.events([1, 2])
    dispatcher.wake()
    await outbox.until_states(delivered=4)
    assert failed
    assert receiver.accepted == {1: [1, 3], 2: [2, 4]}
