"""Devices that come back with weeks of fixes: how fast they are rid of them, and what the others notice of it."""

import asyncio
import time
from typing import Final

from tracker.bench.figures import Figure, Section
from tracker.bench.plan import Load
from tracker.bench.stand import Stand, Streaming
from tracker.bench.tally import Acked

OTHERS: Final = Load("json", 1)
LOAD: Final = Load("binary", 500)
GOAL_FIXES_PER_S: Final = 100_000
GOAL_TIMES: Final = 2  # what the others' acks may take, of what they take alone
STEP_MS: Final = 1_000  # between two fixes that were kept
AGO_MS: Final = 60_000  # the last of them
LOOK_EVERY_S: Final = 0.25


async def backlog(stand: Stand) -> Section:
    """One that was away; then one that has said where it is now: what it sends after that is late, and judged again."""
    plan, bar = stand.plan, stand.bar
    bar.steps(4)
    bar.step("making geofences and devices")
    await stand.new_geofences(plan.geofences, plan.vertices)
    tokens, _ = await stand.new_devices(plan.devices)
    (away, late), _ = await stand.new_devices(2)
    section = Section(
        f"backlog: {plan.devices:,} devices send a fix a second, {plan.geofences:,} polygons, one returns"
    )
    async with stand.devices(tokens, OTHERS) as others:
        bar.step("the others alone")
        alone = await others.paced(plan.seconds, len(tokens))
        bar.step(f"a device with {plan.backlog_fixes:,} fixes")
        await _return(stand, others, away, plan.backlog_fixes, alone, section)
        bar.step(f"a device with {plan.late_fixes:,} late fixes")
        async with stand.returning(late, OTHERS, int(time.time() * 1000), STEP_MS) as device:
            await device.exactly(1, 1)
        await _return(stand, others, late, plan.late_fixes, alone, section, late=True)
    return section


async def _return(
    stand: Stand, others: Streaming, token: str, fixes: int, alone: Acked, section: Section, *, late: bool = False
) -> None:
    frames = -(-fixes // LOAD.fixes_per_frame)
    begin_ms = int(time.time() * 1000) - AGO_MS - frames * LOAD.fixes_per_frame * STEP_MS
    began = time.monotonic()
    async with stand.returning(token, LOAD, begin_ms, STEP_MS) as device:
        upload = asyncio.create_task(_whole(stand, device, frames), name="upload")
        try:
            rounds = [await others.paced(stand.plan.seconds, stand.plan.devices)]
            while not upload.done():
                rounds.append(await others.paced(stand.plan.seconds, stand.plan.devices))
            acked = await upload
        finally:
            upload.cancel()
    p99, plan = alone.latency.p99_ms, stand.plan
    what = f"{fixes:,} {'late fixes' if late else 'fixes'}"
    section.figures += [
        Figure(f"{what}: acked", [acked.fixes_per_s], "fixes/s", "more", plan.goal(GOAL_FIXES_PER_S)),
        Figure(
            f"{what}: the others' p99",
            [each.latency.p99_ms for each in rounds],
            "ms",
            "less",
            plan.goal(GOAL_TIMES * p99),
            p99,
            "the others alone",
        ),
    ]
    if late:
        section.figures.append(Figure(f"{what}: all judged again", [time.monotonic() - began], "s", "less"))


async def _whole(stand: Stand, device: Streaming, frames: int) -> Acked:
    """Until nothing of it is late any more."""
    acked = await device.exactly(frames, stand.plan.in_flight)
    while True:
        if (await stand.target.metrics())["tracker_late_assets"] == 0:
            return acked
        await asyncio.sleep(LOOK_EVERY_S)
