"""Messages that skip aiohttp's queue: in use, in order, and dead peers are still noticed."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from tracker.doors.shortcut import DeviceSocket


class Door:
    """`heard` has every message in the order in which it was dealt with, and whether it was taken at once."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, bool]] = []
        self.takes: Callable[[bytes], bool] = lambda data: True
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.ended: asyncio.Future[WSMsgType] = asyncio.get_running_loop().create_future()
        self.heartbeat_s = 30.0

    def take(self, kind: WSMsgType, data: bytes) -> bool:
        if kind is not WSMsgType.BINARY or not self.takes(data):
            return False
        self.heard.append((data, True))
        return True

    async def stream(self, request: web.Request) -> web.StreamResponse:
        ws = DeviceSocket(self.take, max_msg_size=2**18, heartbeat_s=self.heartbeat_s, protocols=())
        await ws.prepare(request)
        await self.may_read.wait()
        while True:
            message = await ws.next()
            if message.type is not WSMsgType.BINARY:
                self.ended.set_result(message.type)
                return ws
            await asyncio.sleep(0)  # more arrives while it is dealt with
            self.heard.append((message.data, False))


@asynccontextmanager
async def opened(door: Door, autoping: bool = True) -> AsyncIterator[ClientWebSocketResponse]:
    app = web.Application()
    app.router.add_get("/", door.stream)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with (
        ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{runner.addresses[0][1]}/", autoping=autoping) as ws,
    ):
        yield ws
    await runner.cleanup()


async def test_messages_are_taken_at_once_with_the_aiohttp_that_is_installed() -> None:
    """If this fails after an update of aiohttp: look whether `shortcut` fits the new version, and let it know it."""
    door = Door()
    async with opened(door) as ws:
        for number in range(100):
            await ws.send_bytes(b"%d" % number)
    await door.ended
    assert [data for data, _ in door.heard] == [b"%d" % number for number in range(100)]
    assert sum(at_once for _, at_once in door.heard) > 50


async def test_an_aiohttp_that_is_not_known_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    for name in ("_post_start", "_on_data_received"):
        monkeypatch.delattr(DeviceSocket, name)
    async with opened(door) as ws:
        for number in range(100):
            await ws.send_bytes(b"%d" % number)
    await door.ended
    assert door.heard == [(b"%d" % number, False) for number in range(100)]


@pytest.mark.parametrize("seed", range(4))
async def test_no_message_overtakes_another(seed: int) -> None:
    """Whatever was sent before anybody read, however large, and whichever are not taken."""
    chance, door = random.Random(seed), Door()
    door.takes = lambda data: chance.random() < 0.9
    door.may_read.clear()
    sent = [b"%d:" % number + b"x" * chance.choice((10, 10, 10, 2_000, 100_000)) for number in range(600)]
    async with opened(door) as ws:
        sending = asyncio.ensure_future(asyncio.gather(*(ws.send_bytes(message) for message in sent)))
        await asyncio.wait([sending], timeout=0.05)
        door.may_read.set()
        await sending
        await ws.close()
    assert await door.ended is WSMsgType.CLOSE
    assert [data for data, _ in door.heard] == sent


@pytest.mark.parametrize(("answers", "heartbeat_s", "within_s"), [(True, 1.0, 2.2), (False, 0.2, 30.0)])
async def test_a_peer_that_answers_no_ping_is_left(answers: bool, heartbeat_s: float, within_s: float) -> None:
    door = Door()
    door.heartbeat_s = heartbeat_s
    async with opened(door, autoping=answers) as ws:
        await ws.send_bytes(b"here")
        reading = asyncio.ensure_future(ws.receive())
        await asyncio.wait([door.ended], timeout=within_s)
        assert door.ended.done() is not answers
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
