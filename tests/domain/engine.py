"""The engine and the reference side by side: worlds as the engine takes them, and what it tells as the reference
does.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.domain import reference
from tests.domain.reference import KINDS, FixRow, TagsChange, Told, Version
from tests.domain.test_plausibility import Point
from tests.domain.test_plausibility import Rule as Plausible
from tests.domain.worlds import Arrival, Batch, Change, Deleted, arrive, epochs
from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Columns
from tracker.domain.chronicle import Chronicle
from tracker.domain.fold import Fact, Fold, FullKey, Tags, Turning
from tracker.domain.geofence import AssetFilter, Geofence, Rule
from tracker.domain.geofence import Version as Since
from tracker.domain.index import FenceIndex
from tracker.domain.judge import judge
from tracker.domain.presence import (
    ABSENT,
    CROSS,
    DWELL,
    ENTER,
    EXIT,
    SPEEDING,
    AssetState,
    Crossed,
    Judgement,
    Presence,
)
from tracker.domain.turn import ASSET_CHANGED, FENCE_DELETED, Turned, ended, turned
from tracker.store.states import state_from_json, state_to_json

NUMBER: Final = {
    "exit": EXIT,
    "enter": ENTER,
    "cross": CROSS,
    "dwell": DWELL,
    "speeding": SPEEDING,
    "absent": ABSENT,
}
NAME: Final = {number: kind for kind in KINDS for number in [NUMBER[kind]]}

# -------------------------------------
# Worlds as the engine takes them
# -------------------------------------


def columns(fixes: Sequence[FixRow]) -> Columns:
    """A batch of them, in this order."""

    def of(name: str, kind: Any, unknown: int = UNKNOWN_INT32) -> Any:
        values = [getattr(fix, name) for fix in fixes]
        return np.array([unknown if value is None else value for value in values], kind)

    return Columns(
        of("asset", np.int32),
        of("asset", np.int32),
        of("time_ms", np.int64),
        of("lon", np.int32),
        of("lat", np.int32),
        of("alt", np.int32),
        of("speed", np.int32),
        of("course", np.int16, UNKNOWN_INT16),
        of("accuracy", np.int32),
        of("flags", np.int16),
        None,
    )


def rule_of(version: Version) -> Rule:
    return Rule(
        edge=version.edge,
        exit_margin_m=version.exit_margin_m,
        confirm_fixes=version.confirm_fixes,
        confirm_s=version.confirm_s,
        dwell_after_s=version.dwell_after_s,
        cross=version.cross,
        max_gap_s=version.max_gap_s,
        alt_min_m=version.alt_min_m,
        alt_max_m=version.alt_max_m,
        schedule=version.schedule,  # type: ignore[arg-type] # a Timetable answers what the engine asks
        absence=version.absence,
        speed_limit_mps=version.speed_limit_mps,
        over_for_s=version.over_for_s,
        assets=AssetFilter(version.ids, version.tags) if version.ids or version.tags else None,
    )


def geofence_of(version: Version, since_batch: int, *, once_ruled: bool = False) -> Geofence:
    rule, name = rule_of(version), f"fence {version.fence}"
    named = version.fence, version.version, name, version.shape, version.quality, since_batch
    return Geofence(*named, rule=rule, once_ruled=once_ruled)


# -------------------------------------
# What it tells
# -------------------------------------


def told_at(kind: int, asset: int, fence: Geofence, fix: Any, initial: bool, cause: str | None, at: Any) -> Told:
    crossed = at or Crossed(None, None, None)  # type: ignore[arg-type]
    where = fix.time_ms, fix.lon, fix.lat, bool(initial), cause, *crossed
    return Told(NAME[kind], asset, fence.id, fence.version, *where)


def told_of_batch(judgement: Judgement, fixes: Sequence[FixRow], fences: FenceIndex) -> list[Told]:
    found = judgement.transitions
    return [
        told_at(kind, fixes[row].asset, fences.fences[fence], fixes[row], initial, cause, crossed)
        for row, fence, kind, initial, cause, crossed in zip(
            found.row.tolist(),
            found.fence.tolist(),
            found.kind.tolist(),
            found.initial.tolist(),
            found.cause,
            found.crossed,
            strict=True,
        )
    ]


def told_of_turn(each: Turned) -> Told:
    assert each.kind is not None
    return told_at(each.kind, each.asset, each.fence, each.fix, False, each.cause, None)


def told_of_fact(fact: Fact, asset: int) -> Told:
    return told_at(fact.kind, asset, fact.fence, fact, fact.initial, fact.cause, fact.crossed)


class Life:
    """An engine that lives through an arrival as the writer does, but for what is late."""

    def __init__(self) -> None:
        self.presence, self.index = Presence(), FenceIndex()
        self.chronicle = Chronicle(self.index)
        self.tags: dict[int, frozenset[str]] = {}
        self.told: list[Told] = []
        self.late: set[int] = set()
        self.doubts: dict[tuple[int, reference.Key], int] = {}

    def live(self, steps: Iterable[Batch | Change]) -> None:
        for step in steps:
            if isinstance(step, Batch):
                self.batch(step)
            else:
                self.apply(self.change(step))

    def matches(self, asset: int, fence: Geofence) -> bool:
        return fence.rule.assets is None or fence.rule.assets.admits(asset, self.tags.get(asset, frozenset()))

    def batch(self, batch: Batch) -> None:
        self.presence.reserve(max(fix.asset for fix in batch.fixes))
        found = judge(self.presence, self.index, columns(batch.fixes), batch.number, matches=self.matches)
        for fix, flag in zip(batch.fixes, found.doubt.tolist(), strict=True):
            if flag:
                self.doubts[fix.asset, fix.key] = flag
        self.told += told_of_batch(found, batch.fixes, self.index)
        self.presence.apply(found)
        self.late |= found.late.keys()

    def change(self, change: Change) -> list[Turned]:
        if isinstance(change, TagsChange):
            return self.retag(change)
        old = self.index.fences.get(change.fence)
        if isinstance(change, Deleted):
            assert old is not None
            self.index.remove(change.fence)
            self.chronicle.remove(change.fence)
            return ended(self.presence, old, FENCE_DELETED)
        new = geofence_of(change, change.from_batch)
        if old is not None:
            new = geofence_of(change, old.since_batch, once_ruled=old.ruled)
        found = [] if old is None else turned(self.presence, old, new, None, self.matches)
        self.index.put(new)
        self.chronicle.put(Since(change.from_batch, new))
        return found

    def retag(self, change: TagsChange) -> list[Turned]:
        self.presence.reserve(change.asset)
        filtered = [fence for fence in self.index.fences.values() if fence.rule.assets is not None]
        before = {fence.id: self.matches(change.asset, fence) for fence in filtered}
        self.tags[change.asset] = change.tags
        concerned = [fence for fence in filtered if self.matches(change.asset, fence) != before[fence.id]]
        only = np.array([change.asset])
        return [
            each
            for fence in concerned
            for each in turned(self.presence, fence, fence, only, self.matches, ASSET_CHANGED)
        ]

    def apply(self, found: list[Turned]) -> None:
        self.told += [told_of_turn(each) for each in found if each.kind is not None]
        for each in found:
            each.apply(self.presence)


# -------------------------------------
# What should be told
# -------------------------------------


def doubts_of(fixes: Sequence[FixRow]) -> dict[tuple[int, reference.Key], int]:
    """What their neighbours say against fixes that have nothing against themselves, by the plain rule."""
    found: dict[tuple[int, reference.Key], int] = {}
    for asset in {fix.asset for fix in fixes}:
        rule, last = Plausible(), None
        for fix in sorted((f for f in fixes if f.asset == asset and not f.flags), key=lambda fix: fix.event_order):
            if fix.key == last:
                continue
            last = fix.key
            accuracy, speed = (UNKNOWN_INT32 if v is None else v for v in (fix.accuracy, fix.speed))
            flag = rule.take(Point(*fix.key, accuracy, speed))
            if flag:
                found[asset, fix.key] = flag
    return found


def doubted(fixes: Sequence[FixRow]) -> list[FixRow]:
    """Fixes with all of their flags."""
    found = doubts_of(fixes)
    return [fix if fix.flags else replace(fix, flags=found.get((fix.asset, fix.key), 0)) for fix in fixes]


def expected(arrival: Arrival) -> list[Told]:
    return reference.events(doubted(arrival.fixes), arrival.versions, arrival.tag_history, arrival.deleted)


def plainly(told: Told) -> tuple[Any, ...]:
    """Without the version and the crossing: which version a change names is the engine's business."""
    return told.asset, told.fence, told.time_ms, told.lon, told.lat, KINDS.index(told.kind), told.cause or ""


def differences(found: Iterable[Told], wanted: Iterable[Told]) -> list[str]:
    """What is told on one side only, as text: a plain diff says more than two long lists."""
    left, missing = sorted(found, key=plainly), []
    for each in sorted(wanted, key=plainly):
        like_it = next((i for i, other in enumerate(left) if alike(other, each)), None)
        if like_it is None:
            missing.append(f"missing {each}")
        else:
            left.pop(like_it)
    return missing + [f"wrong   {each}" for each in left]


def alike(found: Told, wanted: Told) -> bool:
    if found.cause in {"fence_changed", "fence_deleted", "asset_changed"}:
        found = replace(found, version=wanted.version)
    return reference.same(found, wanted)


# -------------------------------------
# Worlds in event order
# -------------------------------------


@st.composite
def punctual(draw: st.DrawFn, assets: int = 3) -> Arrival:
    """Nothing is late: what is equal in time and place is stored at once, and the rest comes in event order."""
    drawn = draw(epochs(assets))
    fixes = sorted((fix for epoch in drawn for fix in epoch.fixes), key=lambda fix: (*fix.key, fix.event_order))
    keys = sorted({fix.key for fix in fixes})
    cuts = sorted(draw(st.lists(st.integers(0, len(keys)), min_size=len(drawn) - 1, max_size=len(drawn) - 1)))
    plan = []
    for epoch, (start, end) in zip(drawn, pairwise([0, *cuts, len(keys)]), strict=True):
        within = sorted(draw(st.sets(st.integers(start, end), max_size=4)))
        parts = [[fix for fix in fixes if fix.key in keys[a:b]] for a, b in pairwise([start, *within, end])]
        plan.append((epoch.changes, [draw(st.permutations(part)) for part in parts if part]))
    return arrive(plan)


# -------------------------------------
# Judged again
# -------------------------------------


def chronicle_of(arrival: Arrival) -> Chronicle:
    """The geofences that are there in the end."""
    index, made = FenceIndex(), dict[int, int]()
    chronicle = Chronicle(index)
    for version in sorted(arrival.versions, key=lambda each: each.version):
        made.setdefault(version.fence, version.from_batch)
        if version.fence not in arrival.deleted:
            fence = geofence_of(version, made[version.fence])
            index.put(fence)
            chronicle.put(Since(version.from_batch, fence))
    return chronicle


def full_key(fix: FixRow) -> FullKey:
    rest = (fix.alt, fix.speed, fix.course, fix.accuracy)
    unknown = (UNKNOWN_INT32, UNKNOWN_INT32, UNKNOWN_INT16, UNKNOWN_INT32)
    known = [u if value is None else value for value, u in zip(rest, unknown, strict=True)]
    return (*fix.key, *known, fix.batch)  # type: ignore[return-value]


def turnings_of(arrival: Arrival, asset: int) -> list[Turning]:
    """The places of all changes: right after the newest fix that was stored before."""
    found, newest = list[Turning](), None
    for step in arrival.steps:
        if isinstance(step, Batch):
            keys = [full_key(fix) for fix in step.fixes if fix.asset == asset]
            newest = max([*keys, *([newest] if newest else [])], default=None)
        elif newest is not None and isinstance(step, TagsChange) and step.asset == asset:
            found.append(Turning(newest, step.from_batch, 0))
        elif newest is not None and isinstance(step, Version) and step.version > 1:
            found.append(Turning(newest, step.from_batch, step.fence))
    return sorted(found)


def folded(arrival: Arrival, cuts: Sequence[int]) -> tuple[list[Told], dict[tuple[int, reference.Key], int]]:
    """What comes of the whole history of each asset, in stretches that are each begun from what the one before left:
    what is equal in time and place counts as one, and is not cut.
    """
    chronicle, told, doubts = chronicle_of(arrival), list[Told](), dict[tuple[int, reference.Key], int]()
    for asset in sorted({fix.asset for fix in arrival.fixes}):
        fixes = sorted((fix for fix in arrival.fixes if fix.asset == asset), key=lambda fix: fix.event_order)
        tags = [Tags(each.from_batch, each.tags) for each in arrival.tag_history if each.asset == asset]
        waiting, state = turnings_of(arrival, asset), AssetState()
        edges = sorted({0, len(fixes), *(cut for cut in cuts if 0 < cut < len(fixes))})
        edges = [edge for edge in edges if edge in (0, len(fixes)) or fixes[edge].key != fixes[edge - 1].key]
        for start, end in pairwise(edges):
            part = fixes[start:end]
            fold = Fold(chronicle, asset, tags)
            fold.begin(state_from_json(msgspec.json.decode(msgspec.json.encode(state_to_json(state)))))
            last = full_key(part[-1])
            due = [each for each in waiting if each.key < last]
            at_end = [each for each in waiting if each.key == last]
            waiting = waiting[len(due) + len(at_end) :]
            found = fold.run(columns(part), np.array([fix.batch for fix in part], np.int64), due)
            for each in at_end:
                fold.turn(each)
            doubts |= {(asset, fix.key): flag for fix, flag in zip(part, found.tolist(), strict=True) if flag}
            told += [told_of_fact(fact, asset) for fact in fold.facts]
            state = fold.state
    return told, doubts


# -------------------------------------
# How many worlds
# -------------------------------------


THOROUGH: Final = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
patient = pytest.mark.timeout(7_200 if THOROUGH else 120)


def some(examples: int) -> settings:
    """So many examples, and a hundred times as many where HYPOTHESIS_PROFILE says `thorough`."""
    unwanted = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples * (100 if THOROUGH else 1), deadline=None, suppress_health_check=unwanted)
