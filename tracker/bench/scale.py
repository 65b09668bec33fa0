"""How cost grows: CPU of the server and its PostgreSQL per fix against devices, geofences and maps; the time of answers
against the length of history. Each becomes a curve.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracker.bench import world
from tracker.bench.chart import Line, chart
from tracker.bench.figures import Figure, Section
from tracker.bench.figures import latency as summary
from tracker.bench.history import DAY_MS
from tracker.bench.ingest import used
from tracker.bench.plan import Load
from tracker.bench.stand import Stand, Streaming, instant

LOAD: Final = Load("json", 10)
DAYS_LOAD: Final = Load("json", 100)
DEVICES: Final = 500  # of the other curves
HISTORY_ASSETS: Final = 100
HISTORY_STEP_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU per fix."""

    server: float
    database: float


async def scale(stand: Stand) -> Section:
    """Each curve changes one thing; what the others need is there already."""
    plan = stand.plan
    stand.bar.steps(
        len(plan.scale_devices) + len(plan.scale_geofences) + len(plan.scale_viewers) + len(plan.scale_days)
    )
    section = Section("scale: how cost grows")
    if await stand.target.cpu_s() is None:
        section.notes.append("This server does not tell its CPU time (process_cpu_seconds_total in /metrics).")
        return section
    most = max(*plan.scale_devices, DEVICES)
    stand.bar.step("making devices")
    tokens, _ = await stand.new_devices(most)
    await _devices(stand, tokens, section)
    await _geofences(stand, tokens[:DEVICES], section)
    await _viewers(stand, tokens[:DEVICES], section)
    await _days(stand, section)
    return section


async def _cost(stand: Stand, devices: Streaming) -> Cost:
    before = await used(stand)
    acked = await devices.closed(stand.plan.seconds / 2, stand.plan.in_flight)
    after = await used(stand)
    return Cost(*((b - a) / acked.fixes * 1e6 for a, b in zip(before, after, strict=True)))


async def _devices(stand: Stand, tokens: Sequence[str], section: Section) -> None:
    costs = []
    for count in stand.plan.scale_devices:
        stand.bar.step(f"{count:,} devices")
        async with stand.devices(tokens[:count], LOAD) as devices:
            costs.append(await _cost(stand, devices))
    _curve(stand, section, "devices", stand.plan.scale_devices, costs)


async def _geofences(stand: Stand, tokens: Sequence[str], section: Section) -> None:
    costs, made = [], 0
    for count in stand.plan.scale_geofences:
        stand.bar.step(f"{count:,} geofences")
        if count > made:
            await stand.new_geofences(count - made, stand.plan.many_vertices)
        made = count
        async with stand.devices(tokens, LOAD) as devices:
            costs.append(await _cost(stand, devices))
    _curve(stand, section, "geofences", stand.plan.scale_geofences, costs)


async def _viewers(stand: Stand, tokens: Sequence[str], section: Section) -> None:
    """Each fix of a device a second, as maps are looked at; so many devices at that rate cost little themselves."""
    costs, plan = [], stand.plan
    async with stand.devices(tokens, Load("json", 1)) as devices, AsyncExitStack() as stack:
        there = 0
        for count in plan.scale_viewers:
            stand.bar.step(f"{count:,} maps")
            looks = world.looks(count)[there:]
            there = count
            await stack.enter_async_context(stand.maps(looks, "binary"))
            before = await used(stand)
            acked = await devices.paced(plan.seconds / 2, len(tokens), live=True)
            after = await used(stand)
            costs.append(Cost(*((b - a) / acked.fixes * 1e6 for a, b in zip(before, after, strict=True))))
    _curve(stand, section, "maps", plan.scale_viewers, costs)


async def _days(stand: Stand, section: Section) -> None:
    """The same assets, more and more days; asked for one of them."""
    plan, bar = stand.plan, stand.bar
    tokens, assets = await stand.new_devices(HISTORY_ASSETS)
    begin_ms, per_day = max(plan.scale_days) * DAY_MS, DAY_MS // HISTORY_STEP_MS
    now_ms, sent_days, fixes = time.time() * 1000, 0, list[int]()
    minutes, fleet = list[float](), list[float]()
    async with stand.devices(tokens, DAYS_LOAD, step_ms=HISTORY_STEP_MS, begin_ms=int(now_ms) - begin_ms) as devices:
        for days in plan.scale_days:
            bar.step(f"{days} days of history")
            await devices.exactly((days - sent_days) * per_day // DAYS_LOAD.fixes_per_frame, plan.in_flight)
            sent_days = days
            fixes.append(days * per_day * len(tokens))
            await stand.unfiled()
            noon_ms = now_ms - begin_ms + DAY_MS / 2
            from_, to = instant(noon_ms), instant(noon_ms + 600_000)
            paths = [f"/v1/assets/{asset}/track?from={from_}&to={to}" for asset in assets[: plan.queries]]
            minutes.append(await _median_ms(stand, paths))
            fleet.append(await _median_ms(stand, [f"/v1/positions?at={from_}"] * plan.queries))
    for name, values in (("10 minutes of one asset", minutes), ("the fleet at an instant", fleet)):
        section.figures += [
            Figure(f"{name} among {count:,} fixes: p50", [value], "ms", "less")
            for count, value in zip(fixes, values, strict=True)
        ]
    lines = [Line("10 minutes of one asset", minutes), Line("the fleet at an instant", fleet)]
    _write(stand, "history", chart("Answers against history", "fixes stored", "ms", fixes, lines))


async def _median_ms(stand: Stand, paths: Sequence[str]) -> float:
    took = []
    for path in paths:
        begin = time.perf_counter()
        await stand.target.read("GET", path)
        took.append(time.perf_counter() - begin)
    return summary(took).p50_ms


def _curve(stand: Stand, section: Section, of: str, at: Sequence[int], costs: Sequence[Cost]) -> None:
    for count, cost in zip(at, costs, strict=True):
        section.figures.append(Figure(f"{count:,} {of}: CPU of the server", [cost.server], "µs/fix", "less"))
    lines = [Line("server", [each.server for each in costs])]
    if any(each.database for each in costs):
        lines.append(Line("PostgreSQL", [each.database for each in costs]))
    _write(stand, of, chart(f"CPU per fix against {of}", of, "µs/fix", at, lines))


def _write(stand: Stand, name: str, svg: str) -> None:
    folder = stand.plan.charts
    if folder is not None:
        Path(folder, f"bench-{name}.svg").write_text(svg, encoding="utf-8")
