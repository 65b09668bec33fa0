import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.integration.api import WITHIN_S, Api, NewDevice
from tracker.fleet.carriers import Carrier, LateCarrier, RestartingCarrier, carrier
from tracker.fleet.roster import Habit
from tracker.sdk import DeviceStopped

T0_MS = 1_760_000_000_000


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


def fixes(first: int, count: int) -> list[dict[str, object]]:
    return [{"lon": 24.94, "lat": 60.17, "time": T0_MS + 1000 * i} for i in range(first, first + count)]


def stays(reason: DeviceStopped) -> None:
    pytest.fail(str(reason))


async def drained(carries: Carrier) -> None:
    async with asyncio.timeout(WITHIN_S):
        await carries.drain()


async def times(api: Api, device: NewDevice) -> list[int]:
    return [(stored.time_ms - T0_MS) // 1000 for stored in await api.track(device.asset)]


@pytest.mark.parametrize("habit", Habit)
async def test_nothing_is_lost_or_doubled_by_any_habit(
    habit: Habit, api: Api, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    device = await api.new_device()
    stopped: list[DeviceStopped] = []
    carries = carrier(habit, api.url, device.token, session, stopped.append, tmp_path / "buffer.db")
    await carries.open()
    await carries.record(fixes(0, 10))
    await drained(carries)
    await carries.set_reach(in_reach=False)
    await carries.set_reach(in_reach=False)
    await carries.record(fixes(10, 40))
    await carries.set_reach(in_reach=True)
    await carries.record(fixes(50, 5))
    await drained(carries)
    # What is switched off records nothing; all others catch up.
    away = [] if habit is Habit.REBOOTS else list(range(10, 50))
    assert await times(api, device) == [*range(10), *away, *range(50, 55)]
    assert carries.counts() == (15 + len(away), 0)
    assert not stopped
    await carries.close()


async def test_out_of_reach_fixes_stay_in_the_device(api: Api) -> None:
    device = await api.new_device()
    carries = LateCarrier(api.url, device.token, stays, newest_first=True)
    await carries.open()
    await carries.record(fixes(0, 1))
    await drained(carries)
    await carries.set_reach(in_reach=False)
    await carries.record(fixes(1, 20))
    assert carries.counts() == (1, 20)
    assert await times(api, device) == [0]
    await carries.set_reach(in_reach=True)
    await drained(carries)
    assert await times(api, device) == list(range(21))
    await carries.close()


async def test_a_restart_finds_what_the_device_had_not_sent(
    api: Api, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    device = await api.new_device()
    carries = RestartingCarrier(api.url, device.token, session, stays, tmp_path / "buffer.db")
    await carries.open()
    await carries.record(fixes(0, 30))  # switched off before an ack can have come
    await carries.set_reach(in_reach=False)
    acked, pending = carries.counts()
    assert acked + pending == 30
    await carries.set_reach(in_reach=True)
    await drained(carries)
    assert await times(api, device) == list(range(30))
    await carries.close()
