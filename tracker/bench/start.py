"""How long a start takes with much to read: geofences, assets, and fixes that are not filed yet."""

import signal
from typing import Final

from tracker.bench.figures import Figure, Section
from tracker.bench.plan import Load
from tracker.bench.stand import Stand

LOAD: Final = Load("json", 100)
GOAL_S: Final = 10
DEVICES: Final = 500  # that send what is not filed
UNFILED_EACH: Final = 20  # frames: fewer than the filer waits for, and sent faster than it looks


async def start(stand: Stand) -> Section:
    """Needs a server of our own: it is ended, and killed, and started again."""
    plan, bar = stand.plan, stand.bar
    section = Section(f"start: {plan.known_geofences:,} geofences and {plan.known_assets:,} assets known")
    if stand.own is None:
        section.notes.append("Only a server of the benchmark's own is ended and started again: leave --url out.")
        return section
    bar.steps(5)
    bar.step("starting it empty")
    await stand.own.stop()
    empty_s = await stand.own.start()
    bar.step("making geofences")
    await stand.new_geofences(plan.known_geofences, plan.many_vertices)
    bar.step("making devices")
    tokens, _ = await stand.new_devices(plan.known_assets)
    bar.step("streaming, killing, starting")
    async with stand.devices(tokens[: min(DEVICES, len(tokens))], LOAD) as devices:
        await devices.exactly(UNFILED_EACH, plan.in_flight)
    await stand.own.stop(signal.SIGKILL)
    killed_s = await stand.own.start()
    unfiled = (await stand.target.metrics())["tracker_journal_fixes"]
    bar.step("ending, starting")
    await stand.own.stop()
    ended_s = await stand.own.start()
    goal, limit = plan.goal(GOAL_S), "it started empty"
    section.figures += [
        Figure("ready again after a kill, its database still up", [killed_s], "s", "less", goal),
        Figure(
            "ready after an ordinary end, database included", [ended_s], "s", "less", plan.goal(GOAL_S), empty_s, limit
        ),
    ]
    section.notes.append(f"{unfiled:,.0f} fixes were not filed when it was killed.")
    return section
