"""What a connection takes of the server's memory: an idle device, an idle map, a map whose network does not keep up."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from tracker.bench import world
from tracker.bench.bare import bare
from tracker.bench.figures import Figure, Section
from tracker.bench.plan import Load
from tracker.bench.stand import Stand, Streaming
from tracker.bench.target import resident_bytes

LOAD: Final = Load("json", 1)
DEVICE_GOAL_KB: Final = 25
VIEWER_GOAL_KB: Final = 250
SETTLE_S: Final = 1.0  # for what is freed a moment after the last socket opened
SEA: Final = world.Look("sea", (-40.0, -40.0, -39.0, -39.0), 10.0)
EVERYTHING: Final = world.Look("world", (-180.0, -85.0, 180.0, 85.0), 3.0)


async def memory(stand: Stand) -> Section:
    """One kind after the other, each on top of those before; the server's resident memory before and after."""
    plan, bar = stand.plan, stand.bar
    section = Section("memory of the server's process for each connection")
    bar.steps(5)
    bar.step("making devices")
    tokens, _ = await stand.new_devices(plan.idle_devices)
    if await stand.target.rss_bytes() is None:
        section.notes.append(
            "This server does not tell what memory it uses (process_resident_memory_bytes in /metrics)."
        )
        return section
    limit_kb = await _bare_kb(stand)
    async with AsyncExitStack() as stack:
        bar.step("idle devices")
        before = await _resident(stand)
        devices = await stack.enter_async_context(stand.devices(tokens, LOAD))
        await _add(stand, section, "an idle device", before, len(tokens), DEVICE_GOAL_KB, limit_kb)
        before = await _resident(stand)
        await devices.exactly(1, 1)
        await _add(stand, section, "… after its first fix, in addition", before, len(tokens), None, None)
        bar.step("idle maps")
        before = await _resident(stand)
        await stack.enter_async_context(stand.maps([SEA] * plan.idle_viewers))
        await _add(stand, section, "an idle map", before, plan.idle_viewers, VIEWER_GOAL_KB, None)
        bar.step("slow maps")
        before = await _resident(stand)
        await stack.enter_async_context(stand.maps([EVERYTHING] * plan.slow_viewers, slow=True))
        await _stream(stand, devices)
        await _add(
            stand, section, "a map of everything that reads nothing", before, plan.slow_viewers, VIEWER_GOAL_KB, None
        )
    section.notes.append(
        f"{plan.idle_devices:,} devices, {plan.idle_viewers:,} idle and {plan.slow_viewers:,} slow maps. "
        "What the kernel holds for a socket is not in it."
    )
    return section


async def _bare_kb(stand: Stand) -> float | None:
    """The same devices at the server that only acks."""
    stand.bar.step("idle devices of the bare server")
    count = stand.plan.idle_devices
    async with bare() as limit:
        before = resident_bytes(limit.pid)
        async with stand.beside(limit.address, LOAD, count):
            after = resident_bytes(limit.pid)
    return None if before is None or after is None else (after - before) / count / 1024


async def _stream(stand: Stand, devices: Streaming) -> None:
    """Enough for every slow map to be behind."""
    await devices.paced(stand.plan.seconds, stand.plan.idle_devices, live=True)


async def _resident(stand: Stand) -> float:
    await asyncio.sleep(SETTLE_S)
    return await stand.target.rss_bytes() or 0.0


async def _add(
    stand: Stand, section: Section, what: str, before: float, count: int, goal: float | None, limit: float | None
) -> None:
    after = await _resident(stand)
    kb = max(0.0, after - before) / count / 1024
    section.figures.append(
        Figure(what, [kb], "kB", "less", stand.plan.goal(goal), limit or None, "the bare server" if limit else "")
    )
