"""How many fixes a second become durable: closed loop, geofences in force, beside the two limits: a server that stores
nothing, and a COPY that nobody sends.
"""

import asyncio
import io
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from tracker.bench import world
from tracker.bench.bare import FIRST_MS, Bare, bare
from tracker.bench.figures import Figure, Section
from tracker.bench.plan import Load
from tracker.bench.stand import Stand
from tracker.bench.tally import Acked
from tracker.store import copy
from tracker.store.database import connect
from tracker.store.sql import sql

GOALS: Final = {Load("json", 1): 90_000, Load("json", 10): 430_000, Load("binary", 10): 600_000}
COPY_ROWS: Final = 10_000
BUSY: Final = 0.9  # of a core: then the load itself may have been what ended it


async def ingest(stand: Stand) -> Section:
    """One load after another; the rounds of ours and of the bare server alternate."""
    plan = stand.plan
    stand.bar.steps(2 + len(plan.loads) * (1 + 2 * plan.rounds))
    stand.bar.step("making geofences and devices")
    await stand.new_geofences(plan.geofences, plan.vertices)
    tokens, _ = await stand.new_devices(plan.devices)
    section = Section(
        f"ingest: {plan.devices:,} devices, {plan.geofences:,} polygons, closed loop, "
        f"{plan.in_flight} frames under way per device"
    )
    async with bare() as limit:
        for load in plan.loads:
            await _measure(stand, load, tokens, limit, section)
    stand.bar.step("a bare COPY into PostgreSQL")
    if stand.own is not None and stand.own.database_url is not None:
        rates = [await rows_copied_per_s(stand.own.database_url, plan.seconds / 4) for _ in range(plan.rounds)]
        section.figures.append(Figure("bare rows by COPY, without an index, sent by nobody", rates, "rows/s", "more"))
    return section


async def _measure(stand: Stand, load: Load, tokens: Sequence[str], limit: Bare, section: Section) -> None:
    plan, bar = stand.plan, stand.bar
    bar.step(f"{load.name}: opening sockets")
    ours: list[Acked] = []
    theirs: list[Acked] = []
    cpu: list[tuple[float, float, int]] = []
    events = -(await stand.target.metrics())["tracker_last_event_id"]
    async with stand.beside(limit.address, load, len(tokens)) as beside, stand.devices(tokens, load) as devices:
        for number in range(1, plan.rounds + 1):
            bar.step(f"{load.name}: round {number}")
            before = await used(stand)
            ours.append(await devices.closed(plan.seconds, plan.in_flight))
            after = await used(stand)
            cpu.append((after[0] - before[0], after[1] - before[1], ours[-1].fixes))
            bar.step(f"{load.name}: limit {number}")
            theirs.append(await beside.closed(plan.seconds, plan.in_flight))
    events += (await stand.target.metrics())["tracker_last_event_id"]
    bare_rate = float(np.median([each.fixes_per_s for each in theirs]))
    section.figures.append(
        Figure(f"{load.name}: durable", [each.fixes_per_s for each in ours], "fixes/s", "more",
               plan.goal(GOALS.get(load)), bare_rate, "a server that only acks")
    )  # fmt: skip
    section.figures += cpu_figures(load, cpu)
    share = events / sum(each.fixes for each in ours)
    section.notes.append(f"{load.name}: {share:.1%} of the fixes caused an event.")
    _warn(section, load, ours, theirs)


async def used(stand: Stand) -> tuple[float, float]:
    """CPU seconds so far of the server and of its PostgreSQL; 0 where they cannot be known."""
    database = None if stand.own is None else stand.own.database_cpu_s()
    return await stand.target.cpu_s() or 0.0, database or 0.0


def cpu_figures(load: Load, cpu: Sequence[tuple[float, float, int]]) -> list[Figure]:
    """(server's, database's, fixes) of each round, as microseconds a fix."""
    figures = []
    for who, place in (("server", 0), ("PostgreSQL", 1)):
        values = [each[place] / each[2] * 1e6 for each in cpu if each[2]]
        if any(values):
            figures.append(Figure(f"{load.name}: CPU of the {who}", values, "µs/fix", "less"))
    return figures


def _warn(section: Section, load: Load, ours: Sequence[Acked], theirs: Sequence[Acked]) -> None:
    said = sorted({each for acked in ours for each in acked.said})
    if said:
        section.notes.append(f"{load.name}: the server said {'; '.join(said)}.")
    busiest = max(each.load_cpu for each in ours)
    section.notes.append(
        f"{load.name}: the load took {busiest:.2f} of a core"
        + (", so it may have been the limit itself" if busiest > BUSY else "")
        + f", {max(each.load_cpu for each in theirs):.2f} beside the bare server."
    )


async def rows_copied_per_s(url: str, seconds: float) -> float:
    """Rows a second of one connection, a transaction for each 10,000."""
    rows = await asyncio.to_thread(_rows)
    connection = await connect(url)
    try:
        await connection.execute(sql("bench_drop_copy"))
        await connection.execute(sql("bench_make_copy"))
        begin, copied = time.perf_counter(), 0
        while time.perf_counter() < begin + seconds:
            await connection.copy_to_table("bench_copy", source=io.BytesIO(rows), format="binary")
            copied += COPY_ROWS
        took_s = time.perf_counter() - begin
        await connection.execute(sql("bench_drop_copy"))
    finally:
        await connection.close()
    return copied / took_s


def _rows() -> bytes:
    """A course of one device, as COPY takes it."""
    course = world.courses(0, 1, COPY_ROWS)
    lon, lat = (np.rint(each[0] * 1e7).astype(int).tolist() for each in (course.lon, course.lat))
    rows = [
        copy.row(
            [copy.int4(1), copy.int4(1), copy.timestamp(FIRST_MS + at * 1000), copy.int4(lon[at]), copy.int4(lat[at]),
             copy.int4(1500), copy.int2(900), copy.int4(50)]
        )
        for at in range(COPY_ROWS)
    ]  # fmt: skip
    return b"".join([copy.HEADER, *rows, copy.TRAILER])
