"""Whatever a receiver answers, and whenever the process dies: in order for each asset, none lost."""

import asyncio
import json
import os
import random
import signal
import sys
from collections import defaultdict

from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hooks.outbox import Clock, Outbox
from tests.hooks.receiver import Message, Receiver
from tracker.hooks.dispatcher import Dispatcher

# Answers that an event meets one after the other, before it is taken.
Answers = st.lists(st.sampled_from([500, 503, 429, 302, 408, 404, 422]), max_size=5)


def outcome(answers: list[int]) -> tuple[str, int]:
    """What must become of an event, and with how many attempts."""
    refusals = 0
    for number, status in enumerate(answers, start=1):
        refusals += status in (404, 422)
        if refusals == 5:
            return "dead", number
    return "delivered", len(answers) + 1


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 4), Answers), min_size=1, max_size=8))
async def test_an_asset_s_events_are_tried_one_after_the_other_until_each_is_delivered_or_dead(
    outbox: Outbox, receiver: Receiver, clocked: Dispatcher, clock: Clock, plan: list[tuple[int, list[int]]]
) -> None:
    await outbox.connection.execute("TRUNCATE hook, event, delivery RESTART IDENTITY CASCADE")
    outbox.last_event = 0
    receiver.accepted.clear()
    tries: dict[int, list[int]] = defaultdict(list)  # asset -> the event of every request

    def answer(message: Message) -> int:
        event, asset = (int(id_.split("_")[1]) for id_ in (message["data"]["id"], message["data"]["asset"]["id"]))
        answers = plan[event - 1][1]
        number = tries[asset].count(event)
        tries[asset].append(event)
        return answers[number] if number < len(answers) else 200

    receiver.answer = answer
    await outbox.hook(receiver.url)
    await clocked.start()
    await outbox.events([asset for asset, _ in plan])
    clocked.wake()
    await until_all_are_over(outbox, clocked, clock)
    await clocked.stop()
    wanted: dict[int, list[int]] = defaultdict(list)
    for event, (asset, answers) in enumerate(plan, start=1):
        wanted[asset] += [event] * outcome(answers)[1]
    assert tries == wanted
    rows = await outbox.connection.fetch("SELECT state, attempts FROM delivery ORDER BY event")
    assert [(row["state"], row["attempts"]) for row in rows] == [outcome(answers) for _, answers in plan]


async def until_all_are_over(outbox: Outbox, clocked: Dispatcher, clock: Clock) -> None:
    async with asyncio.timeout(30):
        while (await outbox.states()).get("pending"):
            stats = clocked.stats()
            if stats.lanes == stats.unsaved == 0 and stats.next_due_ms:
                clock.ms = max(clock.ms, stats.next_due_ms)
                clocked.wake()
            await asyncio.sleep(0.005)


PROCESS = """
import asyncio, sys
from ipaddress import ip_network
from tracker.hooks.dispatcher import Dispatcher
from tracker.store.database import Database

async def main():
    database = Database(sys.argv[1])
    await database.open()
    dispatcher = Dispatcher(database, allow=[ip_network("127.0.0.0/8")])
    await dispatcher.start()
    while True:
        dispatcher.wake()
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


async def test_a_process_that_is_killed_again_and_again_loses_no_event_and_keeps_the_order(
    outbox: Outbox, receiver: Receiver, database: str
) -> None:
    chance = random.Random(1)
    failing: set[str] = set()

    async def answer(message: Message) -> web.StreamResponse:
        event = message["data"]["id"]
        if event not in failing and chance.random() < 0.01:
            failing.add(event)
            return web.Response(status=503)
        return web.Response(status=204)

    receiver.answer = answer
    await outbox.hook(receiver.url)
    for kill_at in (400, 900, 1_500):
        await outbox.events([chance.randint(1, 10) for _ in range(700)])
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, database)
        await receiver.until_requests(kill_at)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, database)
    try:
        await outbox.until_states(delivered=2_100)
    finally:
        process.kill()
        await process.wait()
    assert sum(len(events) for events in receiver.accepted.values()) == 2_100
    assert all(events == sorted(events) for events in receiver.accepted.values())
    pairs = {(json.loads(body)["data"]["id"], headers["webhook-id"]) for headers, body in receiver.requests}
    assert len(pairs) == 2_100  # what came twice came with the same id
