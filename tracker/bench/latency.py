"""How soon a fix is durable and acked: open loop, so a stall counts for every frame that would have come meanwhile."""

from collections.abc import Callable
from typing import Final

from tracker.bench.bare import bare
from tracker.bench.figures import Figure, Section
from tracker.bench.plan import Load
from tracker.bench.stand import Stand, Streaming
from tracker.bench.tally import Acked

IDLE_FRAMES_PER_S: Final = 20.0
P50_GOAL_MS: Final = 15
P99_GOAL_MS: Final = 50
IDLE_GOAL_MS: Final = 2
OVERLOADED: Final = 0.98  # of what was sent was acked in time; below it latencies only tell how long it went on

Percentile = Callable[[Acked], float]
SHOWN: Final[tuple[tuple[str, Percentile, int | None], ...]] = (
    ("p50", lambda acked: acked.latency.p50_ms, P50_GOAL_MS),
    ("p90", lambda acked: acked.latency.p90_ms, None),
    ("p99", lambda acked: acked.latency.p99_ms, P99_GOAL_MS),
    ("max", lambda acked: acked.latency.max_ms, None),
)


async def latency(stand: Stand) -> Section:
    """Each load at its rate, then one device alone; the rounds of the bare server at the same rates alternate."""
    plan = stand.plan
    stand.bar.steps(1 + len(plan.loads) * (1 + plan.rounds) + 1)
    stand.bar.step("making geofences and devices")
    await stand.new_geofences(plan.geofences, plan.vertices)
    tokens, _ = await stand.new_devices(plan.devices)
    section = Section(f"latency of acks: {plan.devices:,} devices, {plan.geofences:,} polygons, open loop")
    async with bare() as limit:
        for load, fixes_per_s in zip(plan.loads, plan.latency_fixes_per_s, strict=True):
            stand.bar.step(f"{load.name}: opening sockets")
            async with (
                stand.beside(limit.address, load, len(tokens)) as beside,
                stand.devices(tokens, load) as devices,
            ):
                await _measure(stand, load, fixes_per_s, devices, beside, section)
    stand.bar.step("one device alone")
    async with stand.devices(tokens[:1], plan.loads[0]) as devices:
        alone = await devices.paced(plan.seconds, IDLE_FRAMES_PER_S)
        section.figures.append(
            Figure("one device, 20 frames/s: p50", [alone.latency.p50_ms], "ms", "less", plan.goal(IDLE_GOAL_MS))
        )
        section.figures.append(Figure("one device, 20 frames/s: p99", [alone.latency.p99_ms], "ms", "less"))
    return section


async def _measure(
    stand: Stand, load: Load, fixes_per_s: float, devices: Streaming, beside: Streaming, section: Section
) -> None:
    plan, ours, theirs = stand.plan, list[Acked](), list[Acked]()
    frames_per_s = fixes_per_s / load.fixes_per_frame
    for number in range(1, plan.rounds + 1):
        stand.bar.step(f"{load.name} at {fixes_per_s:,.0f} fixes/s: round {number}")
        ours.append(await devices.paced(plan.seconds, frames_per_s))
        theirs.append(await beside.paced(plan.seconds / 2, frames_per_s))
    for name, value, goal in SHOWN:
        limit = sorted(map(value, theirs))[len(theirs) // 2]
        section.figures.append(
            Figure(f"{load.name} at {fixes_per_s:,.0f}/s: {name}", [value(each) for each in ours], "ms", "less",
                   plan.goal(goal), limit, "a server that only acks")
        )  # fmt: skip
    kept = min(each.fixes_per_s for each in ours) / fixes_per_s
    if kept < OVERLOADED:
        section.notes.append(
            f"{load.name}: only {kept:.0%} of {fixes_per_s:,.0f} fixes/s were acked in time: this machine is too slow "
            "for that rate now, and the latencies tell how long the run was."
        )
