"""How soon the past is there: one asset's last minutes and day, a place and the whole fleet at an instant."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from tracker.bench import world
from tracker.bench.figures import Figure, Section
from tracker.bench.figures import latency as summary
from tracker.bench.plan import Load
from tracker.bench.stand import Stand, instant
from tracker.bench.target import OwnServer
from tracker.store.database import connect
from tracker.store.sql import sql

LOAD: Final = Load("json", 100)
DAY_MS: Final = 24 * 3600 * 1000
MOSTLY_FILED: Final = 0.8
AT_REST_GOAL_BYTES: Final = 40


async def history(stand: Stand) -> Section:
    """A day of a fleet is sent as if it had been offline, filed, and asked for."""
    plan, bar = stand.plan, stand.bar
    frames = DAY_MS // plan.history_step_ms // LOAD.fixes_per_frame
    bar.steps(4)
    bar.step("making devices")
    tokens, assets = await stand.new_devices(plan.history_devices)
    bytes_before, end_ms = await database_bytes(stand.own), time.time() * 1000
    bar.step("sending a day")
    async with stand.devices(tokens, LOAD, step_ms=plan.history_step_ms, begin_ms=int(end_ms) - DAY_MS) as devices:
        sent = await devices.exactly(frames, plan.in_flight)
    section = Section(
        f"history: {plan.history_devices:,} assets, a fix every {plan.history_step_ms / 1000:.0f} s for a day, "
        f"{sent.fixes:,} fixes"
    )
    section.figures.append(Figure("the day is sent, in frames of 100", [sent.fixes_per_s], "fixes/s", "more"))
    queries = _queries(assets, end_ms, plan.history_step_ms)
    bar.step("asking at once")
    unfiled = (await stand.target.metrics())["tracker_journal_fixes"]
    await _ask(stand, queries, "", section)
    bar.step("filing")
    left = await stand.unfiled()
    bar.step("asking again")
    if left < unfiled or not unfiled:
        await _ask(stand, queries, ", filed", section)
    if bytes_before is not None and left < sent.fixes * (1 - MOSTLY_FILED):
        grown = (await database_bytes(stand.own) or 0) - bytes_before
        section.figures.append(
            Figure(
                "the database has grown by", [grown / sent.fixes], "bytes/fix", "less", plan.goal(AT_REST_GOAL_BYTES)
            )
        )
    section.notes.append(
        f"At first {unfiled:,.0f} fixes were not filed yet, later {left:,.0f}. Answers are read to the last byte. "
        "The limit is the answer of /healthz."
    )
    return section


Query = tuple[str, float, Callable[[np.random.Generator], str]]  # name, goal for p95 in ms, path


def _queries(assets: list[str], end_ms: float, step_ms: int) -> list[Query]:
    def asset(rng: np.random.Generator) -> str:
        return assets[int(rng.integers(len(assets)))]

    def moment(rng: np.random.Generator) -> str:
        return instant(end_ms - rng.uniform(0.02, 0.98) * DAY_MS)

    def box(rng: np.random.Generator) -> str:
        lon, lat = world.town(int(rng.integers(world.TOWNS)))
        return f"{lon - 0.1:.4f},{lat - 0.07:.4f},{lon + 0.1:.4f},{lat + 0.07:.4f}"

    last_ms = end_ms - step_ms
    return [
        ("one asset's last 10 minutes", 2, lambda rng: _track(asset(rng), last_ms - 600_000, last_ms)),
        ("its day", 10, lambda rng: _track(asset(rng), end_ms - DAY_MS, end_ms)),
        ("a town at an instant", 100, lambda rng: f"/v1/positions?bbox={box(rng)}&at={moment(rng)}"),
        ("the whole fleet at an instant", 150, lambda rng: f"/v1/positions?at={moment(rng)}"),
    ]


def _track(asset: str, from_ms: float, to_ms: float) -> str:
    return f"/v1/assets/{asset}/track?from={instant(from_ms)}&to={instant(to_ms)}"


async def _ask(stand: Stand, queries: list[Query], when: str, section: Section) -> None:
    """All kinds in turn, so that a bad moment of the machine meets all of them."""
    rng, took = np.random.default_rng(5), {name: list[float]() for name, _, _ in queries}
    alive: list[float] = []
    for number in range(stand.plan.queries):
        alive.append(await _seconds(stand, "/healthz"))
        for name, _, path in queries:
            took[name].append(await _seconds(stand, path(rng)))
        stand.bar.at(f"{number + 1} of {stand.plan.queries}")
    limit = summary(alive)
    for name, goal, _ in queries:
        seen = summary(took[name])
        section.figures.append(
            Figure(f"{name}{when}: p50", [seen.p50_ms], "ms", "less", None, limit.p50_ms, "an empty answer")
        )
        section.figures.append(
            Figure(
                f"{name}{when}: p95",
                [seen.p95_ms],
                "ms",
                "less",
                stand.plan.goal(goal),
                limit.p95_ms,
                "an empty answer",
            )
        )


async def _seconds(stand: Stand, path: str) -> float:
    begin = time.perf_counter()
    await stand.target.read("GET", path)
    return time.perf_counter() - begin


async def database_bytes(server: OwnServer | None) -> int | None:
    """What the database of a server of our own takes on the disk, its log left out."""
    if server is None or server.database_url is None:
        return None
    connection = await connect(server.database_url)
    try:
        return int(await connection.fetchval(sql("bench_database_bytes")))
    finally:
        await connection.close()
