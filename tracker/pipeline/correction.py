"""Corrections: what judging assets again found, set against what stands, and written by the writer between two batches
in one transaction for some assets.

Events of the stretch that stand are compared with those that should; what differs is told as `late`, `revised` or
`retracted`, and visits, doubts and states follow.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from tracker.domain.fold import Fact
from tracker.domain.presence import ENTER, EXIT, AssetState, LastFix
from tracker.domain.revision import Comparison, Difference, Standing, Turn, Visit, compare, settled, visits
from tracker.domain.turn import ASSET_CHANGED, FENCE_CHANGED
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.record import KINDS, Happening, Record
from tracker.pipeline.review import catch_up
from tracker.pipeline.stretch import Stretch
from tracker.store import revision
from tracker.store.database import Connection, translated
from tracker.store.journal import BUCKETS
from tracker.store.sql import sql
from tracker.store.states import standing_of
from tracker.wire.times import to_datetime

TURNED: Final = (FENCE_CHANGED, ASSET_CHANGED)
ASSET: Final = 0  # stands for the geofence of a change of an asset's tags


@dataclass(slots=True)
class Outcome:
    """told: events; held_up: stretches of which fixes are being moved now, to be tried again; stale: those to be judged
    anew, as the writer began anew meanwhile or the asset's thresholds are others.
    """

    told: int = 0
    held_up: list[Stretch] = field(default_factory=list)
    stale: list[Stretch] = field(default_factory=list)


@dataclass(slots=True)
class _Correction:
    """A stretch beside what stands."""

    stretch: Stretch
    compared: Comparison
    differences: list[Difference]
    kept: list[tuple[Fact, int]]  # that are told already, with their events
    replaced: frozenset[int]
    happenings: list[Happening]
    before: dict[int, list[Visit]]  # of the geofences of which something differs
    newest: dict[str, Any] | None = None


async def correct(writer: Writer, stretches: list[Stretch]) -> Outcome:
    """A change for the writer: write and tell what was found, all or nothing."""
    outcome, recorded_ms = Outcome(), now_ms()
    outcome.stale = [each for each in stretches if _is_stale(writer, each)]
    found = [each for each in stretches if each not in outcome.stale and each.asset in writer.fleet.assets]
    if not found:
        return outcome
    connection, corrections = writer.journal.connection, list[_Correction]()
    with translated():
        async with connection.transaction():
            held = await revision.held_buckets(connection, {each.asset & (BUCKETS - 1) for each in found})
            for each in found:
                if each.asset & (BUCKETS - 1) in held:
                    corrections.append(await _compared(connection, writer, each))
                else:
                    outcome.held_up.append(each)
            record = writer.tell([told for each in corrections for told in each.happenings], recorded_ms)
            await writer.journal.record(recorded_ms, record.rows)
            number = writer.event
            for correction in corrections:
                number = await _write(connection, correction, number)
            await connection.execute(sql("place_events"), *_changes(corrections, writer.event))
    _settle(writer, corrections, record)
    outcome.told = len(record.events)
    return outcome


async def tell_newest(writer: Writer, assets: list[int]) -> None:
    """A change for the writer: the map shows the newest trusted fix of each asset, whatever it showed before."""
    with translated():
        for asset in assets:
            fix = writer.presence.trusted.newest.get(asset)
            row = None if fix is None else await _row_of(writer.journal.connection, asset, fix)
            if row is not None:
                writer.publisher.correct(asset, row)


def _is_stale(writer: Writer, each: Stretch) -> bool:
    limit = writer.fleet.thresholds(each.asset).max_speed_mps
    return each.fold.chronicle is not writer.chronicle or each.fold.max_speed_mps != limit


def _settle(writer: Writer, corrections: list[_Correction], record: Record) -> None:
    """All of it is durable."""
    for each in corrections:
        if each.stretch.at_end:
            writer.presence.put(each.stretch.asset, _present(writer, each.stretch))
        each.stretch.is_told(each.compared)
    writer.told(record)
    for each in corrections:
        if each.newest is not None:
            writer.publisher.correct(each.stretch.asset, each.newest)


def _present(writer: Writer, stretch: Stretch) -> AssetState:
    """The state after everything. A fix with flags that came meanwhile, from before the newest trusted one, was not
    read: it is not late where no geofence judges it, and yet the asset was seen.
    """
    state = stretch.fold.state
    newest = state.every.newest
    if newest is None:
        return state
    seen = int(writer.presence.every.newest.seen[stretch.asset])
    return replace(state, every=replace(state.every, newest=replace(newest, seen=max(newest.seen, seen))))


# Comparing -----------------------------------------------------------------------------------------------------------


async def _compared(connection: Connection, writer: Writer, stretch: Stretch) -> _Correction:
    if stretch.at_end:
        await catch_up(connection, writer, stretch, writer.batch)
    from_ms = stretch.from_ms if stretch.on_top_ms is None else min(stretch.from_ms, stretch.on_top_ms)
    span = from_ms, stretch.until_ms
    rows = await revision.standing_events(
        connection, stretch.asset, span, {batch for _, batch in stretch.turned}, KINDS
    )
    old = [*stretch.left, *(each for each, batch in rows if _is_within(each, batch, stretch))]
    old = [each for each in old if writer.chronicle.current(each.fence) is not None]
    facts = [fact for fact in stretch.fold.facts if writer.chronicle.current(fact.fence.id) is not None]
    differences, same = compare(old, facts)
    # Of a part all that it tells of, as it ends where the visits are whole.
    fences = {_fence_of(each) for each in differences}
    if not stretch.complete:
        fences = {each.fence for each in old} | {fact.fence.id for fact in facts}
    first_ms = min([span[0], *(each.time_ms for each in old), *(fact.time_ms for fact in facts)])
    stays = await revision.visits(connection, stretch.asset, sorted(fences), (first_ms, span[1])) if fences else []
    entered = {**_entered(stretch.before), **stretch.entered}
    compared = settled(old, facts, stays, entered, complete=stretch.complete)
    if not stretch.complete:
        differences, same = compare(compared.old, compared.new)
    before: dict[int, list[Visit]] = {_fence_of(each): [] for each in differences}
    for visit in stays:
        if visit.geofence in before:
            before[visit.geofence].append(visit)
    return _Correction(
        stretch,
        compared,
        differences,
        [(each.fact, each.old.id) for each in same if each.old is not None],
        frozenset(each.id for each in compared.old),
        [_happening(writer, stretch.asset, each) for each in differences],
        before,
        await _newest(connection, writer, stretch) if stretch.at_end else None,
    )


def _entered(state: AssetState) -> dict[int, int | None]:
    """Of the geofences that an asset is inside of: since when."""
    found: dict[int, int | None] = {**state.trusted.inside, **state.every.inside}
    for sight in (state.trusted, state.every):
        found |= {fence: entry.enter_ms for fence, entry in sight.entries.items() if entry.inside}
    return found


def _is_within(each: Standing, batch: int | None, stretch: Stretch) -> bool:
    """Whether an event has its place in the stretch. Those of changes name the last batch before the change.

    Fixes that came after all was read, and were judged at once, may lie before its edge: where that is a fix with flags
    that is ahead of what is trusted. What they brought about is compared when they are judged on top, at the end.
    """
    if each.cause in TURNED:
        change = 0 if batch is None else batch + 1
        return (each.fence if each.cause == FENCE_CHANGED else ASSET, change) in stretch.turned
    if batch is not None and batch > stretch.batch:
        return stretch.at_end
    key, edge = (each.time_ms, each.lon, each.lat), stretch.edge
    return (stretch.told is None or key > stretch.told) and (edge is None or key <= edge)


async def _newest(connection: Connection, writer: Writer, stretch: Stretch) -> dict[str, Any] | None:
    """The row of the newest trusted fix, if that is another than the world has been told of."""
    fix, known = stretch.fold.state.trusted.newest, writer.presence.trusted.newest.get(stretch.asset)
    if fix is None or (known is not None and fix.key == known.key):
        return None
    return await _row_of(connection, stretch.asset, fix)


async def _row_of(connection: Connection, asset: int, fix: LastFix) -> dict[str, Any] | None:
    row = await connection.fetchrow(sql("fix_of_asset"), asset, fix.time_ms, fix.lon, fix.lat)
    return None if row is None else {**dict(row), "time_ms": fix.time_ms, "seen": fix.seen}


def _fence_of(each: Difference) -> int:
    if each.fact is not None:
        return each.fact.fence.id
    assert each.old is not None
    return each.old.fence


def _happening(writer: Writer, asset: int, each: Difference) -> Happening:
    """The correction that tells of a difference."""
    fact, old = each.fact, each.old
    if fact is not None:
        status = "late" if old is None else "revised"
        what = (fact.kind, asset, fact.fence, fact.device, fact.time_ms, fact.lon, fact.lat)
        rest = (fact.initial, fact.cause, fact.crossed)
        return Happening(*what, *rest, status=status, revises=None if old is None else old.id)  # type: ignore[arg-type]
    assert old is not None
    fence = writer.chronicle.numbered(old.fence, old.version)
    where = (old.device, old.time_ms, old.lon, old.lat)
    rest = (old.initial, old.cause, old.crossed)
    return Happening(old.kind, asset, fence, *where, *rest, status="retracted", revises=old.id)


# Writing -------------------------------------------------------------------------------------------------------------


async def _write(connection: Connection, correction: _Correction, number: int) -> int:
    """Everything but the events; returns the last event number that is used up."""
    stretch, last = correction.stretch, number + len(correction.differences)
    gone, made = _visits(correction, list(range(number + 1, last + 1)))
    trusted = stretch.fold.state.trusted.newest
    document = {
        "done": [{"batch": each.batch, "first_ms": each.span[0], "last_ms": each.span[1]} for each in stretch.done],
        "read_until": stretch.batch,
        "doubts": [
            {"time_ms": time_ms, "lon": lon, "lat": lat, "flags": flags}
            for (time_ms, lon, lat), flags in stretch.doubts.items()
        ],
        "from_ms": stretch.from_ms,
        "until_ms": stretch.until_ms,
        "visits_gone": gone,
        "visits": [asdict(each) for each in made],
        "checkpoints": stretch.checkpoints,
        "at_end": stretch.at_end,
        "standing": standing_of(stretch.fold.state) if stretch.at_end else None,
        "newest": correction.newest,
        "seen": None if trusted is None else trusted.seen,
    }
    await connection.execute(sql("record_revision"), stretch.asset, document)
    if stretch.at_end and trusted is not None:
        await connection.execute(sql("see_believed"), stretch.asset, trusted.seen)
    turned = {_change_of(fact) for fact in correction.compared.new}
    await revision.place_changes(
        connection, stretch.asset, {each: key for each, key in stretch.places.items() if each in turned}
    )
    if not stretch.complete:
        await connection.execute(sql("widen_late"), stretch.asset, stretch.batch, to_datetime(stretch.until_ms))
    return last


def _change_of(fact: Fact) -> tuple[int, int] | None:
    """The change that brought it about: geofence, batch."""
    if fact.change is None:
        return None
    return (fact.fence.id if fact.cause == FENCE_CHANGED else ASSET, fact.change)


def _changes(corrections: list[_Correction], number: int) -> tuple[list[int], list[int]]:
    """Of the events that changes brought about: their numbers, and the last batch before each change."""
    told = enumerate((each.fact for correction in corrections for each in correction.differences), number + 1)
    found = [(event, fact.change - 1) for event, fact in told if fact is not None and fact.change is not None]
    return [event for event, _ in found], [batch for _, batch in found]


def _visits(correction: _Correction, numbers: list[int]) -> tuple[list[int], list[Visit]]:
    """The ids of the visits that give way, and those in their place."""
    told = zip(correction.differences, numbers, strict=True)
    events = {
        id(each.fact): (number, None if each.old is None else each.old.id)
        for each, number in told
        if each.fact is not None
    }
    events |= {id(fact): (event, None) for fact, event in correction.kept}
    turns: dict[int, list[Turn]] = {fence: [] for fence in correction.before}
    for fact in correction.compared.new:
        if fact.kind in {ENTER, EXIT} and fact.fence.id in turns:
            place = fact.time_ms, fact.lon, fact.lat
            turns[fact.fence.id].append(Turn(place, fact.kind, *events[id(fact)], fact.fence.version, fact.initial))
    gone: list[int] = []
    made: list[Visit] = []
    for fence, before in correction.before.items():
        entered_ms, at_end = correction.compared.entered.get(fence), correction.stretch.at_end
        old, new = visits(fence, before, turns[fence], correction.replaced, entered_ms, at_end=at_end)
        gone += old
        made += new
    return gone, made
