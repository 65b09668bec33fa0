"""What a change of a geofence costs among many while fixes stream: its answer, and how long acks wait for it."""

import asyncio
import time
from typing import Final

import numpy as np

from tracker.bench import world
from tracker.bench.figures import Figure, Section
from tracker.bench.figures import latency as summary
from tracker.bench.plan import Load
from tracker.bench.stand import Stand, Streaming
from tracker.bench.tally import Acked

LOAD: Final = Load("json", 10)
CHANGE_GOAL_MS: Final = 2
STALL_GOAL_MS: Final = 20
CORNERS: Final = 32
RADIUS_M: Final = 500.0


async def fences(stand: Stand) -> Section:
    """Few and many geofences, one after the other."""
    plan = stand.plan
    stand.bar.steps(1 + 3 * len(plan.geofence_counts))
    stand.bar.step("making devices")
    tokens, _ = await stand.new_devices(plan.devices)
    section = Section(
        f"fences: one is added, moved and deleted again {plan.changes} times, "
        f"while {plan.streaming_fixes_per_s:,.0f} fixes/s stream"
    )
    made = 0
    for count in plan.geofence_counts:
        stand.bar.step(f"making {count:,} geofences")
        began = time.perf_counter()
        await stand.new_geofences(count - made, plan.many_vertices if count > plan.geofences else plan.vertices)
        section.notes.append(f"Making {count - made:,} geofences took {time.perf_counter() - began:.1f} s.")
        made = count
        async with stand.devices(tokens, LOAD) as devices:
            await _measure(stand, count, devices, section)
    return section


async def _measure(stand: Stand, count: int, devices: Streaming, section: Section) -> None:
    plan, frames_per_s = stand.plan, stand.plan.streaming_fixes_per_s / LOAD.fixes_per_frame
    stand.bar.step(f"{count:,} geofences: fixes alone")
    await devices.paced(1.0, frames_per_s)  # trees and prepared polygons are made when they are first asked
    alone = await devices.paced(plan.seconds, frames_per_s)
    stand.bar.step(f"{count:,} geofences: changes")
    streaming = asyncio.create_task(devices.paced(plan.seconds, frames_per_s), name="fixes")
    try:
        added, moved, deleted = await _change(stand, plan.changes, plan.seconds)
        meanwhile: Acked = await streaming
    finally:
        streaming.cancel()
    among = f"among {count:,}"
    for name, took in (("add one", added), ("move one", moved), ("delete one", deleted)):
        seen, goal = summary(took), plan.goal(None if name == "delete one" else CHANGE_GOAL_MS)
        section.figures.append(Figure(f"{name} {among}: p50 of the answer", [seen.p50_ms], "ms", "less", goal))
        section.figures.append(Figure(f"{name} {among}: p95", [seen.p95_ms], "ms", "less"))
    for name, during, before in (
        ("longest wait for an ack meanwhile", meanwhile.latency.max_ms, alone.latency.max_ms),
        ("longest time without any ack", meanwhile.longest_gap_ms, alone.longest_gap_ms),
    ):
        section.figures.append(
            Figure(f"{name}, {among}", [during], "ms", "less", plan.goal(STALL_GOAL_MS), before, "without changes")
        )


async def _change(stand: Stand, changes: int, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each answer, spread over the time."""
    rng, took = np.random.default_rng(11), (list[float](), list[float](), list[float]())
    begin = time.perf_counter()
    for number in range(changes):
        await asyncio.sleep(max(0.0, begin + seconds * (0.2 + 0.8 * number / changes) - time.perf_counter()))
        first, second = (world.geofence(world.place(rng), RADIUS_M, CORNERS, each) for each in (number, number + 1))
        times = [time.perf_counter()]
        made = await stand.new_geofence(first)
        times.append(time.perf_counter())
        await stand.target.call("PATCH", f"/v1/geofences/{made}", {"geometry": second["geometry"]})
        times.append(time.perf_counter())
        await stand.target.call("DELETE", f"/v1/geofences/{made}")
        times.append(time.perf_counter())
        for each, seen in zip(took, np.diff(times).tolist(), strict=True):
            each.append(seen)
    return took
