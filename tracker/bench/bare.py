"""The limit of ingest: a server that reads frames and acks them, and looks at nothing and stores nothing.

It is what aiohttp and uvloop can do on this machine: the same handshake, the same answers, one write per socket for all
that was read of it in a turn of the loop.
"""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

import uvloop
from aiohttp import WSMsgType, web

from tracker import memory
from tracker.bench.devices import Fleet
from tracker.bench.frames import STREAM
from tracker.bench.plan import Load
from tracker.bench.websocket import Address
from tracker.errors import TrackerError
from tracker.wire.websocket import text_frame

FIRST_MS: Final = 1_700_000_000_000

_WELCOME: Final = '{"type":"welcome","device":"dev_1","asset":"ast_1","stream":"bench","seq":0,"config":{}}'
_ACK: Final = b'{"type":"ack","stream":"%s","seq":%%d}' % STREAM.encode()


@dataclass(frozen=True, slots=True)
class Bare:
    """Where it listens, and its process."""

    address: Address
    pid: int


@asynccontextmanager
async def bare() -> AsyncIterator[Bare]:
    """For as long as it is compared with."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        port = await asyncio.to_thread(ours.recv)
        assert process.pid is not None
        yield Bare(Address("127.0.0.1", port), process.pid)
    except EOFError as error:
        raise TrackerError("the bare server did not start; its error stands above") from error
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()


def unlimited_fleet(address: Address, load: Load, devices: int) -> Fleet:
    """As many devices as there are of ours, speaking as they do."""
    return Fleet(
        address=address,
        path=f"/bare?fixes_per_frame={load.fixes_per_frame}",
        tokens=["-"] * devices,
        first=0,
        fixes_per_frame=load.fixes_per_frame,
        encoding=load.encoding,
        first_ms=FIRST_MS,
        alike=True,
    )


def _main(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    app = web.Application()
    app.add_routes([web.get("/bare", partial(_ingest, _Acks()))])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    memory.tune()
    pipe.send(runner.addresses[0][1])
    await asyncio.Event().wait()


class _Acks:
    """Those of one turn of the loop."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Transport, int] = {}

    def add(self, transport: asyncio.Transport, seq: int) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._write)
        self._due[transport] = seq

    def _write(self) -> None:
        due, self._due = self._due, {}
        for transport, seq in due.items():
            transport.write(text_frame(_ACK % seq))


async def _ingest(acks: _Acks, request: web.Request) -> web.WebSocketResponse:
    fixes_per_frame, seq = int(request.query["fixes_per_frame"]), 0
    ws = web.WebSocketResponse(compress=False, decode_text=False, heartbeat=30.0)
    await ws.prepare(request)
    await ws.send_str(_WELCOME)
    transport = request.transport
    assert transport is not None
    async for message in ws:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            seq += fixes_per_frame
            acks.add(transport, seq)
    return ws
