"""How long a start takes with much to read: geofences, assets, and fixes that are not filed yet."""

from typing import Final

from tracker.bench.figures import Figure, Section
from tracker.bench.plan import Load
from tracker.bench.stand import Stand

LOAD: Final = Load("json", 100)
GOAL_S: Final = 10
SENDING: Final = 500  # devices
FRAMES_EACH: Final = 7  # in all fewer fixes than the filer waits for


async def start(stand: Stand) -> Section:
    """Needs a server of our own: it is ended, and started again."""
    plan, bar = stand.plan, stand.bar
    section = Section(f"start: {plan.known_geofences:,} geofences and {plan.known_assets:,} assets known")
    if stand.own is None:
        section.notes.append("Only a server of the benchmark's own is ended and started again: leave --url out.")
        return section
    bar.steps(5)
    bar.step("ending, starting empty")
    await stand.own.stop()
    empty_s = await stand.own.start()
    bar.step("making geofences")
    await stand.new_geofences(plan.known_geofences, plan.many_vertices)
    bar.step("making devices")
    tokens, _ = await stand.new_devices(plan.known_assets)
    bar.step("streaming")
    async with stand.devices(tokens[:SENDING], LOAD) as devices:
        sent = await devices.exactly(FRAMES_EACH, plan.in_flight)
    bar.step("ending, starting")
    await stand.own.stop()
    full_s = await stand.own.start()
    unfiled = (await stand.target.metrics())["tracker_journal_fixes"]
    section.figures.append(
        Figure(
            "until ready, its database included", [full_s], "s", "less", plan.goal(GOAL_S), empty_s, "it knew nothing"
        )
    )
    section.notes.append(f"{unfiled:,.0f} of {sent.fixes:,} fixes were not filed by then.")
    return section
