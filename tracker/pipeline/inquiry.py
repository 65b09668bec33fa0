"""Inquiries: what a geofence made of the stored fixes at a place in an asset's history, judged again with that geofence
alone and written nowhere.

They begin from the last checkpoint before the place. Of an event that was corrected, or whose geofence is gone, only
what was stored by then is looked at.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from tracker.domain.batch import NUMBERS, Columns
from tracker.domain.fix import OLDEST_MS
from tracker.domain.fold import Fact, Fold, Turning, key_of, keys_of
from tracker.domain.presence import DWELL, ENTER, EXIT, SPEEDING, AssetState, Entry
from tracker.domain.why import Life, Statement, Step, entry_of, statements, steps
from tracker.pipeline.record import KINDS
from tracker.store import fixes
from tracker.store import why as reading
from tracker.store.database import Connection, Database
from tracker.store.fixes import Stored
from tracker.wire.times import to_ms

READ_AT_ONCE: Final = 20_000
MAX_SHOWN: Final = 200
HEAD_SHOWN: Final = 20  # of more than that, so many from the beginning
LOOK_BACK_MS: Final = (60_000, 3_600_000, 86_400_000, 30 * 86_400_000)
LAST_MS: Final = 253_402_300_799_999  # of the year 9999

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """Fixes in event order, their flags of both kinds in the columns, and what each said; left_out: whether there are
    more between the first ones and the last.
    """

    stored: Stored
    said: Sequence[Statement]
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Why:
    """What an event follows from. before: side and run before the fix that decided; fact: what the stored fixes tell at
    its place, None where the event does not follow from them; waits: whether late fixes are still to be judged.
    """

    life: Life
    shown: Shown
    before: Entry
    fact: Fact | None
    waits: bool


@dataclass(frozen=True, slots=True)
class Account:
    """A geofence and an asset around a time: what each fix said, and the side and run after each that was seen. steps:
    their rows are those of `shown`; before: at the beginning; nearest_ms: of the fixes around, where none is shown.
    """

    life: Life
    span: tuple[int, int]
    before: Entry
    shown: Shown
    steps: Sequence[Step]
    nearest_ms: tuple[int | None, int | None]
    waits: bool


@dataclass(slots=True)
class _Ground:
    """The engine at a place: everything before it is judged, and the changes that are still to come."""

    fold: Fold
    waiting: list[Turning]


async def why(database: Database, event: Row, tags: frozenset[str], *, corrected: bool) -> Why | None:
    """How an event about a geofence came about; None if there was never such a geofence.

    Args:
        corrected: whether a later event revises or retracts it; then it is judged with what was stored with it.
    """
    async with database.connection() as connection:
        life = await reading.life(connection, event["geofence"], event["asset"], tags)
        if life is None:
            return None
        as_of = event["batch"] if corrected else None
        if life.until_batch is not None:
            as_of = life.until_batch - 1 if as_of is None else min(as_of, life.until_batch - 1)
        at_ms = to_ms(event["fix_time"])
        ground = await _ground(connection, life, at_ms, as_of)
        here = await _read(connection, life.asset, at_ms, at_ms, as_of)
        before, fact = await asyncio.to_thread(_decided, life, ground, here, event)
        shown = await _evidence(connection, life, (_began_ms(event, before), at_ms), event, as_of)
        return Why(life, shown, before, fact, await reading.waits(connection, life.asset))


async def account(database: Database, life: Life, at_ms: int, window_ms: int) -> Account:
    """What a geofence knew of an asset around a time: of too many fixes those nearest to it."""
    as_of = None if life.until_batch is None else life.until_batch - 1
    async with database.connection() as connection:
        from_ms, until_ms = max(at_ms - window_ms, OLDEST_MS), min(at_ms + window_ms, LAST_MS)
        stored = await _read(connection, life.asset, from_ms, until_ms, None)
        found = len(stored)
        stored = _nearest(stored, at_ms)
        if len(stored) < found:
            from_ms, until_ms = int(stored.columns.time_ms[0]), int(stored.columns.time_ms[-1])
        ground = await _ground(connection, life, from_ms, as_of)
        nearest = (None, None) if len(stored) else await reading.nearest(connection, life.asset, at_ms)
        waits = await reading.waits(connection, life.asset)
    before = entry_of(ground.fold.state, life.number, life.versions[-1].fence)
    said, told = await asyncio.to_thread(_walked, life, ground, stored)
    while told and told[0].row < 0:  # changes that have their place before the first fix
        before = told.pop(0).entry
    return Account(life, (from_ms, until_ms), before, Shown(stored, said, len(stored) < found), told, nearest, waits)


# Reading and judging -------------------------------------------------------------------------------------------------


async def _read(connection: Connection, asset: int, from_ms: int, until_ms: int, as_of: int | None) -> Stored:
    """Fixes with flags of both kinds in their columns, so that nothing is doubted again."""
    stored = await fixes.read(connection, asset, from_ms, until_ms)
    if as_of is not None:
        stored = stored.take(stored.batch <= as_of)
    return Stored(replace(stored.columns, flags=stored.flags), stored.doubt, stored.batch)


async def _ground(connection: Connection, life: Life, until_ms: int, as_of: int | None) -> _Ground:
    """Everything before an instant judged, from the last state that is kept."""
    start = await reading.checkpoint(connection, life.asset, until_ms, as_of)
    fold = life.fold(start.state if start is not None else AssetState())
    begin = key_of(fold.state.every.newest)
    from_ms = begin[0] if begin is not None else OLDEST_MS
    changes = start.changes if start is not None else -1
    ground = _Ground(
        fold,
        [
            each
            for each in await reading.turnings(connection, life.asset, life.number, from_ms, as_of)
            if each.is_after(begin, changes)
        ],
    )
    while from_ms < until_ms:
        end_ms = min(await fixes.until(connection, life.asset, from_ms, until_ms - 1, READ_AT_ONCE), until_ms - 1)
        stored = await _read(connection, life.asset, from_ms, end_ms, as_of)
        if begin is not None:
            stored = stored.take(
                np.array([key[:3] > begin[:3] for key in keys_of(stored.columns, stored.batch)], np.bool_)
            )
        if len(stored):
            await asyncio.to_thread(_go_on, ground, stored)
        from_ms = end_ms + 1
    return ground


def _go_on(ground: _Ground, stored: Stored) -> None:
    last = keys_of(stored.columns.take(slice(-1, None)), stored.batch[-1:])[0]
    due = [each for each in ground.waiting if each.key < last]
    ground.waiting = ground.waiting[len(due) :]
    ground.fold.run(stored.columns, stored.batch, due)


def _decided(life: Life, ground: _Ground, here: Stored, event: Row) -> tuple[Entry, Fact | None]:
    """The side and run before an event came about, and what is told at its place."""
    wanted = (KINDS[event["type"]], event["lon"], event["lat"])
    version = next((each.fence for each in life.versions if each.fence.version == event["geofence_version"]), None)
    before = last = entry_of(ground.fold.state, life.number, version or life.versions[0].fence)
    for step in steps(life, ground.fold, here.columns, here.batch, ground.waiting):
        for fact in step.facts:
            if (fact.kind, fact.lon, fact.lat) == wanted and fact.cause == event["cause"]:
                return last, fact
        last = step.entry
        if step.row >= 0 and (int(here.columns.lon[step.row]), int(here.columns.lat[step.row])) <= wanted[1:]:
            before = last
    return before, None


def _walked(life: Life, ground: _Ground, stored: Stored) -> tuple[list[Statement], list[Step]]:
    said = statements(life, stored.columns, stored.batch)
    mine = np.arange(len(stored))
    if life.until_batch is not None:
        mine = mine[stored.batch < life.until_batch]
    part = stored.take(mine)
    found = steps(life, ground.fold, part.columns, part.batch, ground.waiting)
    return said, [replace(each, row=int(mine[each.row]) if each.row >= 0 else -1) for each in found]


# Choosing what is shown ----------------------------------------------------------------------------------------------


def _began_ms(event: Row, before: Entry) -> int:
    """When what an event is about began: the run, the visit, the haste."""
    kind, at_ms = KINDS[event["type"]], to_ms(event["fix_time"])
    began: int | None = None
    if kind in {ENTER, EXIT} and before.run:
        began = before.run_start_ms
    elif kind == DWELL and before.inside:
        began = before.enter_ms
    elif kind == SPEEDING:
        began = before.haste_ms
    return at_ms if began is None else began


async def _evidence(connection: Connection, life: Life, span: tuple[int, int], event: Row, as_of: int | None) -> Shown:
    """The fixes of a span up to the event's, with the one before them that the geofence saw."""
    end_ms = await fixes.until(connection, life.asset, *span, READ_AT_ONCE)
    stored, left_out = await _read(connection, life.asset, span[0], end_ms, as_of), end_ms < span[1]
    if left_out:
        stored = _joined(stored.take(slice(0, HEAD_SHOWN)), await _back(connection, life, span[1], as_of))
        stored = _joined(stored, await _read(connection, life.asset, span[1], span[1], as_of))
    keys = keys_of(stored.columns, stored.batch)
    place = (span[1], event["lon"], event["lat"])
    stored = stored.take(np.array([key[:3] <= place for key in keys], np.bool_))
    if len(stored) > MAX_SHOWN - 1:
        stored, left_out = (
            _joined(stored.take(slice(0, HEAD_SHOWN)), stored.take(slice(HEAD_SHOWN + 1 - MAX_SHOWN, None))),
            True,
        )
    stored = _joined((await _back(connection, life, span[0], as_of)).take(slice(-1, None)), stored)
    return Shown(stored, await asyncio.to_thread(statements, life, stored.columns, stored.batch), left_out)


async def _back(connection: Connection, life: Life, until_ms: int, as_of: int | None) -> Stored:
    """The last fixes before an instant that the geofence saw; none if the last is very long ago."""
    none: Stored | None = None
    for back_ms in LOOK_BACK_MS:
        from_ms = max(until_ms - back_ms, OLDEST_MS)
        stored = await _read(connection, life.asset, from_ms, until_ms - 1, as_of)
        said = await asyncio.to_thread(statements, life, stored.columns, stored.batch)
        seen = np.array([i for i, each in enumerate(said) if each.unseen is None], np.int64)
        if len(seen):
            return stored.take(seen[HEAD_SHOWN - MAX_SHOWN :])
        none = stored.take(slice(0, 0))
    assert none is not None
    return none


def _nearest(stored: Stored, at_ms: int) -> Stored:
    """Those nearest to a time."""
    if len(stored) <= MAX_SHOWN:
        return stored
    time_ms = stored.columns.time_ms
    kept = time_ms[np.argsort(np.abs(time_ms - at_ms), kind="stable")[:MAX_SHOWN]]
    return stored.take((time_ms >= kept.min()) & (time_ms <= kept.max()))  # all of an instant, or none


def _joined(one: Stored, other: Stored) -> Stored:
    """One after the other."""
    values = {name: np.concatenate([getattr(one.columns, name), getattr(other.columns, name)]) for name in NUMBERS}
    columns = Columns(**values, attributes=None)
    return Stored(columns, np.r_[one.doubt, other.doubt], np.r_[one.batch, other.batch])
