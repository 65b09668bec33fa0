"""Events with their place in the feed, and the visits they make, against plain bookkeeping."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import scenes
from tests.domain.scenes import Mark, columns, fence, judge
from tracker.domain.fleet import Asset, Fleet
from tracker.domain.geofence import Geofence
from tracker.domain.index import FenceIndex
from tracker.domain.presence import ENTER, EXIT, Presence
from tracker.domain.shape import Circle
from tracker.pipeline.record import Happening, Record, happenings, record

RECORDED_MS = 1_790_000_000_000
FENCES = {
    number: Geofence(number, number + 5, f"fence {number}", Circle(0, 0, 1), "trusted", 1) for number in (1, 2, 3)
}
Pair = tuple[int, int]


@dataclass
class Visit:
    """One stay, as plain bookkeeping has it."""

    pair: Pair
    version: int
    enter_ms: int
    enter_event: int
    initial: bool
    exit_ms: int | None = None
    exit_event: int | None = None


@st.composite
def stories(draw: st.DrawFn) -> tuple[set[Pair], list[Happening]]:
    """Who is inside before, and a run in which each asset enters and leaves each geofence in turn."""
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    before = draw(st.sets(pairs))
    inside, found = set(before), list[Happening]()
    for time_ms, pair in enumerate(draw(st.lists(pairs, max_size=25))):
        kind = EXIT if pair in inside else ENTER
        inside ^= {pair}
        initial = kind == ENTER and draw(st.booleans())
        found.append(Happening(kind, pair[0], FENCES[pair[1]], 9, time_ms, -time_ms, time_ms * 2, initial))
    return before, found


def rows(table: tuple[list[object], ...]) -> list[tuple[Any, ...]]:
    return list(zip(*table, strict=True))


@settings(max_examples=80)
@given(story=stories(), after_id=st.integers(0, 2**40))
def test_visits_are_those_of_plain_bookkeeping(story: tuple[set[Pair], list[Happening]], after_id: int) -> None:
    before, found = story
    there = {pair: Visit(pair, 1, -1, -1, initial=False) for pair in before}
    visits = list(there.values())
    for event_id, each in enumerate(found, after_id + 1):
        pair = each.asset, each.fence.id
        if each.kind == ENTER:
            assert pair not in there
            there[pair] = Visit(pair, each.fence.version, each.time_ms, event_id, each.initial)
            visits.append(there[pair])
        else:
            there[pair].exit_ms, there[pair].exit_event = each.time_ms, event_id
            del there[pair]

    told = record(found, fleet(), after_id=after_id, recorded_ms=RECORDED_MS).rows

    assert sorted(rows(told.closed)) == sorted(
        (*visit.pair, visit.exit_ms, visit.exit_event)
        for visit in visits
        if visit.enter_event == -1 and visit.exit_event is not None
    )
    assert rows(told.opened) == [
        (*v.pair, v.version, v.enter_ms, v.enter_event, v.initial, v.exit_ms, v.exit_event)
        for v in visits
        if v.enter_event != -1
    ]


def fleet() -> Fleet:
    made = Fleet()
    made.put_asset(Asset(1, "one"))
    made.put_asset(Asset(2, "zwei"))
    return made


@settings(max_examples=50)
@given(story=stories(), after_id=st.integers(0, 2**40))
def test_events_are_numbered_on_in_feed_order(story: tuple[set[Pair], list[Happening]], after_id: int) -> None:
    found = story[1]
    told = record(found, fleet(), after_id=after_id, recorded_ms=RECORDED_MS)
    assert told.last_id == after_id + len(found)
    assert [each.id for each in told.events] == [f"evt_{after_id + 1 + i}" for i in range(len(found))]
    assert bool(told.rows) is bool(found)
    check_rows(told, found, after_id)


def check_rows(told: Record, found: list[Happening], after_id: int) -> None:
    names = {1: "one", 2: "zwei", 3: ""}  # an asset that was deleted meanwhile has none
    for i, (row, each) in enumerate(zip(rows(told.rows.events), found, strict=True)):
        kind = "geofence.enter" if each.kind == ENTER else "geofence.exit"
        about = each.fence
        assert row == (
            *(after_id + 1 + i, kind, "live", each.asset, names[each.asset], about.id, about.name, about.version),
            *(9, each.time_ms, each.lon, each.lat, each.initial, None, None, None, None, None),
        )


def test_what_the_world_sees_is_what_is_stored() -> None:
    happening = Happening(ENTER, 2, FENCES[3], None, -1, 134_000_000, 525_000_000, initial=True, cause="fence_changed")
    told = record([happening], fleet(), after_id=4, recorded_ms=RECORDED_MS)
    assert msgspec.to_builtins(told.events[0]) == {
        "id": "evt_5",
        "type": "geofence.enter",
        "status": "live",
        "asset": {"id": "ast_2", "name": "zwei"},
        "geofence": {"id": "gf_3", "name": "fence 3"},
        "fix_time": "1969-12-31T23:59:59.999Z",
        "recorded_at": "2026-09-21T14:13:20.000Z",
        "lon": 13.4,
        "lat": 52.5,
        "initial": True,
        "cause": "fence_changed",
    }


def test_nothing_that_happened_is_nothing_to_record() -> None:
    told = record([], fleet(), after_id=4, recorded_ms=RECORDED_MS)
    assert (told.last_id, told.events, bool(told.rows)) == (4, [], False)


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(scenes.marks(), max_size=15), shapes=st.lists(scenes.shapes, max_size=3))
def test_happenings_tell_of_the_fix_that_revealed_them(batch: list[Mark], shapes: list[Any]) -> None:
    index = FenceIndex(fence(i, shape) for i, shape in enumerate(shapes, 1))
    presence = Presence()
    presence.reserve(10)
    judgement = judge(presence, index, columns(batch), 1)

    found = happenings(judgement, columns(batch), index)

    assert [each.kind for each in found] == judgement.transitions.kind.tolist()
    for each, row in zip(found, judgement.transitions.row.tolist(), strict=True):
        mark = batch[row]
        assert (each.asset, each.device, each.time_ms, each.lon, each.lat) == (mark.asset, mark.device, *mark.key)
        assert index.fences[each.fence.id] is each.fence
    assert not any(isinstance(value, np.generic) for each in found for value in (each.time_ms, each.lon, each.initial))
