"""Histories that arrive anyhow, on real tables: in the end all is as if everything had come in order."""

import gzip
import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.engine import patient, some
from tests.domain.reference import UNIT, FixRow, TagsChange, Version
from tests.domain.test_reference import SURE_M, rows
from tests.domain.worlds import STEP, Arrival, Batch, Deleted, box, is_close_call, worlds
from tests.pipeline.history import ASSETS, POOR, STANDBY, Chore, History, Moved, Race, Step
from tests.pipeline.world import Socket
from tracker.domain.shape import circle, polygon
from tracker.pipeline.fences import Draft, create

SMALL = {
    "tracker.pipeline.findings.CHECKPOINT_EVERY": 3,
    "tracker.pipeline.review.CHECKPOINT_EVERY": 3,
    "tracker.pipeline.review.WINDOW_FIXES": 4,
    "tracker.pipeline.review.MAX_FOUND": 3,
    "tracker.pipeline.revise.EVERY_S": 0.0,
    "tracker.pipeline.revise.MOVED_S": 0.0,
}
SQUARE = polygon([[box(0, 0, 4, 4)]])
BUS = frozenset(["bus"])


@pytest.fixture
async def history(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[History]:
    """States are kept every few fixes and read a few at a time, so that small worlds have all that large ones have."""
    for name, value in SMALL.items():
        monkeypatch.setattr(name, value)
    made = History(database)
    await made.prepare()
    yield made
    await made.close()


@st.composite
def histories(draw: st.DrawFn) -> tuple[Arrival, list[Step]]:
    """A world as it arrived, with chores at any moment, and batches that come while assets are judged again."""
    arrived = draw(worlds(assets=ASSETS)).arrived
    steps: list[Step] = []
    for step in arrived.steps:
        if isinstance(step, Deleted) and draw(st.booleans()):
            steps.append("revise")
        steps.append(Race(step) if isinstance(step, Batch) and draw(st.integers(0, 4)) == 0 else step)
        if draw(st.integers(0, 2)) == 0:
            steps.append(draw(st.sampled_from(["revise", "file", "restart", Moved()])))
    return arrived, steps


@patient
@some(15)
@given(histories())
async def test_what_comes_anyhow_ends_as_what_happened(history: History, drawn: tuple[Arrival, list[Step]]) -> None:
    arrived, steps = drawn
    await history.live(steps)
    assert await history.faults() == [] or is_close_call(arrived)


# Stories that went wrong once -----------------------------------------------------------------------------------------


def at(time_s: float, x: float, y: float = 1, **fields: int) -> FixRow:
    """A fix at a place in grid steps; histories are slower by a factor of six."""
    return FixRow(round(time_s * 1000), round(x * STEP), round(y * STEP), **fields)


def batch(*fixes: FixRow) -> Batch:
    return Batch(0, fixes)


def fence(version: int = 1, number: int = 1, shape: shapely.Polygon = SQUARE, **options: object) -> Version:
    return Version(number, version, 0, shape, **options)  # type: ignore[arg-type]


IN_AND_OUT = batch(at(0, -1), at(10, 1), at(20, 9))
FAR = polygon([[box(100, 100, 101, 101)]])
STORIES: dict[str, list[Step]] = {
    "a late visit": [fence(), batch(at(0, -1), at(100, -1)), batch(at(50, 1))],
    "what is told twice while it is doubted": [
        batch(at(100, -2), at(170, 0, 6)),
        batch(at(100, 1, 5)),
        batch(at(100, 1, 5)),
    ],
    "a flagged fix at the place of a doubted one": [
        batch(at(100, -2), at(170, 0, 6)),
        batch(at(100, 1, 5), at(100, 1, 5, flags=STANDBY)),
        batch(at(90, 1, 5)),
    ],
    "a change at a place that was stored twice, with flags and without": [
        fence(shape=polygon([[box(0, -1, 4, 4)]])),
        batch(at(0, 0, 0), at(10, 0, -1, accuracy=5000), at(10, 0, -1, flags=STANDBY)),
        fence(2),
        batch(at(0, 0, 1)),
    ],
    "several geofences notice one change of an asset": [
        *(fence(number=number, confirm_fixes=2, tags=BUS) for number in (1, 2)),
        batch(at(0, 1)),
        TagsChange(1, 0, BUS),
        batch(at(10, 1), at(20, 1)),
        TagsChange(1, 0, frozenset()),
    ],
    "a change whose place was elsewhere when it was made": [
        fence(tags=BUS),
        batch(at(80, -5)),
        TagsChange(1, 0, BUS),
        batch(at(60, 1)),
    ],
    "a geofence that changed while the asset was elsewhere": [
        fence(),
        batch(at(80, -5)),
        fence(2, confirm_fixes=2),
        batch(at(60, 1), at(50, 1)),
    ],
    "changes at one place, one after the other": [
        fence(tags=BUS),
        batch(at(180, 1)),
        TagsChange(1, 0, BUS),
        batch(at(140, 5), at(130, 1), at(10, 1)),
        TagsChange(1, 0, frozenset()),
        TagsChange(1, 0, BUS),
        batch(at(120, 5)),
    ],
    "a change at a flagged fix asks the trusted one before it": [
        fence(tags=BUS),
        batch(at(150, 1)),
        batch(at(150, 2, flags=POOR), at(50, 9)),
        TagsChange(1, 0, BUS),
    ],
    "late at the instant of a kept state": [
        fence(),
        batch(at(70, 9), at(80, -5, flags=STANDBY), at(80, -5, 2, flags=STANDBY)),
        batch(at(90, 1)),
        batch(at(80, 5)),
    ],
    "a place stored before and after the geofence was made": [
        batch(at(60, -1, flags=STANDBY), at(80, 0, 9), at(20, 9), at(120, -2)),
        fence(quality="all"),
        batch(at(70, 1), at(60, -1, flags=STANDBY)),
    ],
    "a place stored before and after the geofence was made, where a state is kept": [
        batch(at(10, 0, -1), at(20, 0, -1), at(30, 9)),
        fence(),
        batch(at(10, 0, 1), at(20, 0, -1, alt=500)),
    ],
    "filed before it was doubted": [batch(at(50, -1, 5), at(50, -5, 8)), fence(), batch(at(50, -1, -3)), "file"],
    "a geofence ends, and then the server": [
        fence(),
        fence(number=2),
        batch(at(100, 9)),
        Deleted(2, 0),
        Deleted(1, 0),
        "restart",
        batch(at(60, 1)),
    ],
    "a visit outlives the options that it was told by": [
        fence(dwell_after_s=5.0),
        batch(at(0, 1), at(10, 1)),
        fence(2),
        batch(at(20, 1)),
        "restart",
        fence(3, dwell_after_s=5.0),
        batch(at(40, 1)),
        batch(at(5, 1)),
    ],
    "a quality that becomes stricter": [
        fence(quality="all"),
        batch(at(50, 9), at(90, 1, flags=POOR)),
        fence(2),
        batch(at(95, 9)),
        batch(at(40, 1)),
    ],
    "stored while it was judged again": [
        fence(confirm_fixes=2),
        IN_AND_OUT,
        batch(at(15, 1)),
        Race(batch(at(17, 1), at(30, 1))),
        Race(replace(batch(at(31, 1)), number=1)),
    ],
    "before a flagged fix, while it was judged again": [
        fence(),
        batch(at(0, -1), at(5, -1), at(80, -5, flags=POOR)),
        batch(at(2, -1)),
        Race(batch(at(20, 1), at(30, -1))),
    ],
    "a flagged fix from before, while it was judged again": [
        batch(at(100, -1)),
        batch(at(50, -1)),
        fence(),
        Race(batch(at(10, 1, flags=POOR))),
        fence(2, quality="all"),
        batch(at(110, 1)),
    ],
    "a flagged fix from before, of a geofence that once judged all": [
        fence(quality="all"),
        batch(at(100, 1, flags=POOR)),
        fence(2),
        batch(at(50, 1, flags=POOR)),
    ],
    "entered at a flagged fix, and left at a trusted one before it": [
        fence(quality="all"),
        fence(number=2, shape=polygon([[box(8, 0, 10, 4)]])),
        batch(at(100, 1, flags=POOR)),
        fence(2),
        batch(*(at(time_s, 9 if time_s % 20 else 20) for time_s in range(10, 140, 10))),
    ],
    "entered at a flagged fix where another visit ended, and left at a trusted one before it": [
        fence(shape=polygon([[box(0, 0, 5, 2)]]), quality="all"),
        batch(
            *(at(time_s, 0, 1) for time_s in (70, 90)),
            *(at(time_s, 2, 2) for time_s in (100, 110, 120, 130, 130)),
            at(150, 4, 3, flags=POOR),
            at(0, 0, 0),
        ),
        fence(2, shape=polygon([[[[0, 0], [4 / 128, 2 / 128], [0, 2 / 128], [0, 0]]]])),
        batch(*(at(time_s, -4, 0) for time_s in (130, 140, 150, 150, 160))),
    ],
    "changes at a place that was stored twice, of which one had none yet": [
        fence(),
        batch(at(100, -1)),
        batch(at(100, -1, alt=500)),
        fence(2, shape=FAR),
        batch(at(50, -1), at(60, -1), at(70, -1)),
        fence(3, shape=polygon([[box(-2, 0, 4, 4)]])),
    ],
    "filed while it was doubted, and believed later": [
        batch(at(0, -1), at(1000, -1)),
        fence(),
        batch(at(50, 500), at(55, 500)),
        "file",
        "revise",
        batch(at(45, 500)),
        "revise",
        "file",
    ],
    "made and changed at once, while a run is under way": [
        batch(at(100, 9)),
        fence(shape=FAR),
        fence(2, confirm_fixes=2),
        batch(at(90, 1), at(110, 1), at(120, 1)),
    ],
    "trusted fixes before a flagged one where a state is kept": [
        fence(),
        batch(at(0, 1), at(30, 2)),
        batch(*(at(time_s, 2) for time_s in (10, 15, 20)), at(40, 2, flags=POOR)),
        "revise",
        batch(at(35, 9), at(45, 9)),
        batch(at(60, 9), at(70, 9)),
        batch(at(50, 9)),
    ],
    "a kept state that agrees before anything late": [
        fence(),
        batch(at(0, 1), at(10, 1), at(40, 1, flags=POOR)),
        batch(at(20, 1, flags=POOR)),
        batch(at(60, 1), at(70, 1)),
        batch(at(65, 1)),
    ],
    "the server ends when a part is told": [
        fence(),
        batch(
            *(at(30, 1, -1, flags=POOR) for _ in range(3)),
            *(at(time_s, 1, -1) for time_s in (40, 50, 60, 70)),
        ),
        Race(batch(at(0, 1), at(10, 1), at(20, 1))),
        Moved(),
        TagsChange(1, 0, BUS),
        "restart",
    ],
    "a change that turned a visit which is retracted later": [
        fence(confirm_fixes=5),
        batch(*(at(time_s, 20) for time_s in (110, 120, 220))),
        fence(2),
        batch(at(-10, 1)),
        "revise",
        batch(at(0, 20)),
    ],
    "a chord past a flagged fix": [
        fence(shape=circle([1 / 128, 0], 400.5), cross=True),
        batch(at(0, 0, 0), at(10, 0, -1), at(10, 0, 0), at(10, 1, 1)),
        batch(at(0, 0, 1)),
    ],
    "a late fix that lies open at the end": [fence(), IN_AND_OUT, batch(at(5, 1)), "restart", batch(at(2, 1))],
}


CHORES: dict[str, tuple[Chore, ...]] = {
    "as it is": (),
    "always judged": ("revise",),
    "filed, and restarted": ("file", "restart"),
}


@pytest.mark.parametrize("chores", CHORES.values(), ids=CHORES)
async def test_stories_end_as_it_happened(history: History, chores: tuple[Chore, ...]) -> None:
    """Also with chores after every step."""
    found: dict[str, list[str]] = {}
    for name, steps in STORIES.items():
        await history.live([each for step in steps for each in (step, *chores)])
        found[name] = await history.faults()
    assert {name: faults for name, faults in found.items() if faults} == {}


async def test_what_is_moved_waits_to_be_corrected(history: History) -> None:
    """The filer knows what was trusted when it began; what it writes must not be older than a correction."""
    steps: list[Step] = [fence(), batch(at(100, -2), at(170, 0, 6)), "revise", batch(at(90, 1, 5), at(100, 1, 5))]
    await history.live(steps, at_end=Moved())
    assert history.reviser.waiting == 1
    await history.revise()
    assert await history.faults() == []


# Real cabs ------------------------------------------------------------------------------------------------------------


def tracts(test_data: Path) -> dict[str, shapely.Geometry]:
    with gzip.open(test_data / "polygons" / "sf_geofences.geojson.gz", "rt", encoding="utf-8") as file:
        features = json.load(file)["features"]
    layers = ("sf_tract_2010", "sf_find_neighborhood")
    return {f["id"]: shapely.geometry.shape(f["geometry"]) for f in features if f["properties"]["layer"] in layers}


def positions(fixes: Sequence[FixRow]) -> bytes:
    said = [{"lon": fix.lon / UNIT, "lat": fix.lat / UNIT, "time": fix.time_ms} for fix in fixes]
    return json.dumps({"type": "fixes", "fixes": said}).encode()


@pytest.fixture
def larger(monkeypatch: pytest.MonkeyPatch) -> None:
    """For histories of hundreds of fixes."""
    for name in ("findings", "review"):
        monkeypatch.setattr(f"tracker.pipeline.{name}.CHECKPOINT_EVERY", 40)
    monkeypatch.setattr("tracker.pipeline.review.WINDOW_FIXES", 100)
    monkeypatch.setattr("tracker.pipeline.review.MAX_FOUND", 50)


@pytest.mark.usefixtures("history", "larger")
@pytest.mark.parametrize("order", ["sorted", "shuffled and doubled", "reversed"])
async def test_cabs_are_told_of_alike_in_any_order(history: History, test_data: Path, order: str) -> None:
    """The first fixes of two cabs, against answers that neither this program nor GEOS had part in."""
    answers = rows(test_data / "reference" / "sf_fence_events_10cabs.csv.gz")
    cabs = sorted({row["device"] for row in answers})[:ASSETS]
    track = rows(test_data / "tracks" / "sf_cabs_4days.csv.gz")
    await history.begin()
    areas = tracts(test_data)
    made = await create(history.writer, [Draft(name, area) for name, area in areas.items()])
    names, last_ms = {each.id: each.name for each in made}, dict[str, int]()
    for device, cab in enumerate(cabs, 1):
        mine = [row for row in track if row["device"] == cab]
        fixes = {
            fix.key: fix
            for row in mine
            for fix in [FixRow(int(row["time_ms"]), round(float(row["lon"]) * UNIT), round(float(row["lat"]) * UNIT))]
        }
        first = [fixes[key] for key in sorted(fixes)[:120]]
        last_ms[cab] = first[-1].time_ms
        chance = random.Random(device)
        arriving = {"sorted": first, "reversed": first[::-1]}.get(order) or chance.sample([*first, *first], 240)
        for start, end in pairwise([*range(0, len(arriving), 20), len(arriving)]):
            history.writer.intake.put(history.sockets[device].source, positions(arriving[start:end]))
            await history.sockets[device].source.quiet()
            if start % 100 == 0:
                await history.revise()
    await history.revise()
    await history.check_always()
    found = {
        (cabs[told.asset - 1], told.time_ms, "initial" if told.initial else told.kind, names[told.fence])
        for told in await history.standing()
    }
    wanted = {(row["device"], int(row["time_ms"]), row["event"], row["fence"]) for row in answers}
    wanted = {each for each in wanted if each[0] in cabs and each[1] <= last_ms[each[0]]}
    membership = rows(test_data / "reference" / "sf_fence_membership_10cabs.csv.gz")
    close = {(row["device"], row["fence"]) for row in membership if float(row["boundary_m"]) < SURE_M}
    assert len(wanted) > 100
    assert {each for each in found ^ wanted if (each[0], each[3]) not in close} == set()
    assert isinstance(history.sockets[1], Socket)
