"""How soon after a fix was due its bytes are at a map; what a map costs in bytes, and the server for all of them."""

import asyncio
from typing import Final

from tracker.bench import world
from tracker.bench.figures import Figure, Section
from tracker.bench.frames import ENCODINGS, Encoding
from tracker.bench.ingest import used
from tracker.bench.plan import Load
from tracker.bench.process import Helper
from tracker.bench.stand import Stand, Streaming
from tracker.bench.tally import Acked
from tracker.bench.viewers import Seen

LOAD: Final = Load("json", 1)
PROBES: Final = 10
P50_GOAL_MS: Final = 120
P99_GOAL_MS: Final = 300
WORLD_GOAL_BYTES_PER_S: Final = 50_000


async def fanout(stand: Stand) -> Section:
    """Everything that moves sends a fix a second; the viewers look at towns, regions, and the whole."""
    plan, bar = stand.plan, stand.bar
    bar.steps(3 + len(ENCODINGS) * (1 + plan.rounds))
    bar.step("making devices")
    tokens, _ = await stand.new_devices(plan.moving)
    section = Section(
        f"fanout: {plan.moving:,} assets move at 1 Hz, {plan.viewers:,} maps look at {plan.viewer_hz:.0f} Hz "
        "(7 of 10 at a town, 2 at a region, 1 at everything)"
    )
    bar.step("opening the devices' sockets")
    async with stand.devices(tokens, LOAD, stamped=True) as devices:
        bar.step("fixes alone")
        await devices.paced(1.0, plan.moving, live=True)
        alone = await _cost(stand, devices, plan.seconds)
        for encoding in ENCODINGS:
            bar.step(f"{encoding}: opening the maps")
            async with stand.maps(world.looks(plan.viewers), encoding, probes=PROBES) as maps:
                rounds = []
                for number in range(1, plan.rounds + 1):
                    bar.step(f"{encoding}: round {number}")
                    rounds.append(await _round(stand, devices, maps))
            _tell(stand, section, encoding, rounds, alone)
    return section


async def _cost(stand: Stand, devices: Streaming, seconds: float) -> float:
    """Share of a core that the server takes while everything moves."""
    before = await used(stand)
    await devices.paced(seconds, stand.plan.moving, live=True)
    return ((await used(stand))[0] - before[0]) / seconds


async def _round(stand: Stand, devices: Streaming, maps: Helper) -> tuple[Acked, Seen, float]:
    seconds, before = stand.plan.seconds, await used(stand)
    moving = asyncio.create_task(devices.paced(seconds, stand.plan.moving, live=True), name="fixes")
    try:
        # The first moment is the maps' own: what they were shown before the fixes began is old.
        await asyncio.sleep(seconds * 0.1)
        seen: Seen = await maps.call("watch", seconds * 0.8)
        acked = await moving
    finally:
        moving.cancel()
    return acked, seen, ((await used(stand))[0] - before[0]) / seconds


def _tell(
    stand: Stand, section: Section, encoding: Encoding, rounds: list[tuple[Acked, Seen, float]], alone: float
) -> None:
    plan, seen = stand.plan, [each for _, each, _ in rounds]
    period_ms, limit = 1000 / plan.viewer_hz, "the wait for the next look alone"
    for name, values, goal, share in (
        ("p50", [each.latency.p50_ms for each in seen], P50_GOAL_MS, 0.5),
        ("p99", [each.latency.p99_ms for each in seen], P99_GOAL_MS, 1.0),
    ):
        what = f"{encoding}: fix due → bytes at the map: {name}"
        section.figures.append(Figure(what, values, "ms", "less", plan.goal(goal), period_ms * share, limit))
    acks = [each.latency.p99_ms for each, _, _ in rounds]
    section.figures.append(Figure(f"{encoding}: ack meanwhile: p99", acks, "ms", "less"))
    for kind in seen[0].bytes_per_s:
        values = [each.bytes_per_s[kind] / 1000 for each in seen]
        most = plan.goal(WORLD_GOAL_BYTES_PER_S / 1000 if kind == "world" else None)
        section.figures.append(Figure(f"{encoding}: a map of a {kind}", values, "kB/s", "less", most))
    cores, without = [cpu for _, _, cpu in rounds], alone or None
    section.figures.append(Figure(f"{encoding}: CPU of the server", cores, "cores", "less", None, without, "no maps"))
    section.notes.append(
        f"{encoding}: {min(PROBES, plan.viewers)} maps were looked into and got "
        f"{sum(each.updates for each in seen):,} positions; "
        f"{sum(each.messages for each in seen):,} messages came to all."
    )
