"""The rule of docs/geofences.md for an asset and a geofence with options: what one fix after the other turns.

Pure: an entry and what a fix says become the next entry and what is told.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tracker.domain.evidence import IN, OUT, UNSURE
from tracker.domain.geofence import Geofence
from tracker.domain.presence import ABSENT, CROSS, DWELL, ENTER, EXIT, NEVER, SPEEDING, Crossed, Entry

Tell = Callable[..., None]


class Emission(NamedTuple):
    """A transition: the position of its fix in the rows, and what is told of it."""

    at: int
    fence: int
    kind: int
    initial: bool
    cause: str | None
    crossed: Crossed | None


class Said(NamedTuple):
    """What one fix brings to one geofence, ready for the rule."""

    at: int
    time_ms: int
    says: int
    first: bool  # of the asset since the geofence was made
    cause: str | None  # of a side that this fix would turn
    crossed: Crossed | None
    touched: Crossed | None
    speed_mps: float | None
    occurrence_ms: int


def stepped(entry: Entry, fence: Geofence, said: Said) -> tuple[Entry, list[Emission]]:
    """One fix, for one asset and one geofence."""
    out: list[Emission] = []

    def tell(kind: int, *, initial: bool = False, cause: str | None = None, crossed: Crossed | None = None) -> None:
        out.append(Emission(said.at, fence.id, kind, initial, cause, crossed))

    rule, untouched = fence.rule, not entry.inside and entry.run == 0
    entry = _turned(entry, rule.confirm_fixes, rule.confirm_s, said, tell)
    if rule.cross and untouched and not entry.inside and said.says == OUT and said.touched:
        tell(CROSS, crossed=said.touched)
    if rule.dwell_after_s is not None and entry.inside and not entry.dwelt and said.says == IN:
        full_ms = entry.enter_ms + round(rule.dwell_after_s * 1000)
        if said.time_ms >= full_ms:
            tell(DWELL, crossed=_dwelt_at(full_ms, said))
            entry = replace(entry, dwelt=True)
    if rule.speed_limit_mps is not None:
        entry = _hastened(entry, rule.speed_limit_mps, rule.over_for_s, said, tell)
    elif entry.haste_ms is not None:
        entry = replace(entry, haste_ms=None, hasted=False)
    if rule.absence:
        entry = _missed(entry, said, tell)
    return entry, out


def _turned(entry: Entry, confirm_fixes: int, confirm_s: float, said: Said, tell: Tell) -> Entry:
    """The side, after what the fix says."""
    if said.says == UNSURE:
        return entry
    if (said.says == IN) == entry.inside:
        return _without_run(entry) if entry.run else entry
    if entry.run == 0:
        entry = replace(
            entry,
            run_start_ms=said.time_ms,
            run_initial=said.first,
            run_cause=said.cause,
            run_crossed=said.crossed,
        )
    entry = replace(entry, run=entry.run + 1)
    if entry.run < confirm_fixes or said.time_ms - entry.run_start_ms < confirm_s * 1000:
        return entry
    kind = EXIT if entry.inside else ENTER
    tell(kind, initial=entry.run_initial and kind == ENTER, cause=entry.run_cause, crossed=entry.run_crossed)
    absent_ms = entry.absent_ms
    if kind == EXIT:
        return Entry(absent_ms=absent_ms)
    return Entry(inside=True, enter_ms=said.time_ms, absent_ms=absent_ms)


def _without_run(entry: Entry) -> Entry:
    return replace(entry, run=0, run_start_ms=0, run_initial=False, run_cause=None, run_crossed=None)


def _dwelt_at(full_ms: int, said: Said) -> Crossed | None:
    return None if full_ms > said.time_ms else Crossed(full_ms, None, None)


def _hastened(entry: Entry, limit_mps: float, over_for_s: float, said: Said, tell: Tell) -> Entry:
    if not entry.inside:
        return entry
    if said.speed_mps is None:
        return entry
    if said.speed_mps <= limit_mps:
        return replace(entry, haste_ms=None, hasted=False) if entry.haste_ms is not None else entry
    if entry.haste_ms is None:
        entry = replace(entry, haste_ms=said.time_ms)
    assert entry.haste_ms is not None
    if not entry.hasted and said.time_ms - entry.haste_ms >= over_for_s * 1000:
        tell(SPEEDING)
        entry = replace(entry, hasted=True)
    return entry


def _missed(entry: Entry, said: Said, tell: Tell) -> Entry:
    if said.occurrence_ms == NEVER or said.says != OUT or entry.inside:
        return entry
    if entry.absent_ms is not None and entry.absent_ms >= said.occurrence_ms:
        return entry
    tell(ABSENT)
    return replace(entry, absent_ms=said.time_ms)
