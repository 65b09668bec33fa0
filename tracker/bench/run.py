"""Runs the benchmarks that were asked for, each on a fresh server of its own, or all on the one that was named."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from tracker.app import raise_open_files
from tracker.bench.backlog import backlog
from tracker.bench.bar import BenchBar
from tracker.bench.fanout import fanout
from tracker.bench.figures import Section
from tracker.bench.geofences import fences
from tracker.bench.history import history
from tracker.bench.ingest import ingest
from tracker.bench.latency import latency
from tracker.bench.machine import Machine, disk, machine, postgresql
from tracker.bench.memory import memory
from tracker.bench.plan import Plan
from tracker.bench.scale import scale
from tracker.bench.stand import Stand
from tracker.bench.start import start
from tracker.bench.target import OwnServer, Target, own_server
from tracker.errors import TrackerError

Benchmark = Callable[[Stand], Awaitable[Section]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "ingest": ingest,
    "latency": latency,
    "fences": fences,
    "backlog": backlog,
    "fanout": fanout,
    "history": history,
    "memory": memory,
    "start": start,
    "scale": scale,
}


async def bench(
    names: Sequence[str], plan: Plan, bar: BenchBar, named: tuple[str, str] | None
) -> tuple[Machine, list[Section]]:
    """named: (URL, admin's token) of a server that runs already."""
    raise_open_files()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # nothing of ours may stay behind
    where, sections = machine(), list[Section]()
    for name in names:
        bar.begin(name)
        try:
            async with _target(named) as target:
                if isinstance(target, OwnServer):
                    where = replace(where, postgresql=await postgresql(target), disk=disk())
                async with Stand(target, plan, bar) as stand:
                    sections.append(await BENCHMARKS[name](stand))
        except TrackerError as error:  # the others may tell what they have found
            sections.append(Section(name, notes=[f"It failed: {error.message}"], failed=True))
        bar.done()
    return where, sections


@asynccontextmanager
async def _target(named: tuple[str, str] | None) -> AsyncIterator[Target]:
    if named is None:
        async with own_server() as server:
            yield server
        return
    target = Target(*named)
    try:
        yield target
    finally:
        await target.close()
