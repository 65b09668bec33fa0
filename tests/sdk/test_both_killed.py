"""The real server and the device's process are killed in turn; what the device recorded is in the database, once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.integration.api import Api, until
from tests.integration.served import Served
from tests.sdk.test_killed import live_and_die
from tracker.sdk import Device

LIVES = 3


@pytest_asyncio.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as http:
        yield http


@pytest.mark.parametrize("order", ["in-order", "newest-first"])
async def test_exactly_what_was_recorded_is_stored(
    served: Served, http: ClientSession, tmp_path: Path, order: str
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    device = await api.new_device()
    buffer = tmp_path / "buffer.db"
    safe: list[int] = []
    for life in range(LIVES):
        first = 1_000_000 * (life + 1)
        living = asyncio.create_task(live_and_die(served.url, buffer, order, first, fixes=150, token=device.token))
        if life % 2 == 0:
            before = await durable(api)
            await until(partial(more_durable, api, before))
            served.kill()
        safe += await living
        if life % 2 == 0:
            await served.start(http)

    async with Device(served.url, token=device.token, buffer=buffer, newest_first=order == "newest-first") as again:
        await again.drain()

    stored = Counter(fix.time_ms for fix in await api.track(device.asset))
    assert max(stored.values()) == 1
    assert set(safe) <= set(stored)
    assert len(set(stored) - set(safe)) <= LIVES


async def durable(api: Api) -> float:
    return (await api.metrics())["tracker_fixes_durable_total"]


async def more_durable(api: Api, before: float) -> bool:
    return await durable(api) > before
