"""The crossing model against the rule as it is written down: one asset, one geofence, one fix after the other."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import scenes
from tests.domain.scenes import Mark, box, columns, contains, fence, judge
from tracker.domain.geofence import Geofence
from tracker.domain.index import FenceIndex
from tracker.domain.presence import ENTER, EXIT, NEVER, Judgement, Presence, Sight
from tracker.domain.shape import polygon

LARGEST_ASSET = 40
QUALITIES = ("trusted", "all")


@dataclass(frozen=True)
class Crossing:
    """What happened, by the fix that revealed it."""

    asset: int
    key: tuple[int, int, int]
    kind: int
    fence: int
    initial: bool


@dataclass
class Rule:
    """The reference. It remembers of each geofence whom it has seen, and nothing of batches."""

    fences: dict[int, Geofence] = field(default_factory=dict)
    newest: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)  # (quality, asset) -> fix
    seen: set[tuple[int, int]] = field(default_factory=set)  # (geofence, asset)
    inside: set[tuple[int, int]] = field(default_factory=set)

    def judge(self, batch: list[Mark]) -> list[Crossing]:
        found = []
        # What is not after the newest is seen, though it decides nothing at once.
        behind, known = set(), dict(self.newest)
        for quality in QUALITIES:
            for asset in sorted({mark.asset for mark in batch}):
                mine = [mark for mark in batch if mark.asset == asset and (quality == "all" or mark.flags == 0)]
                for mark in sorted(mine, key=lambda mark: mark.key):
                    newest = self.newest.get((quality, asset))
                    if newest is None or mark.key > newest:
                        self.newest[quality, asset] = mark.key
                        found += self.cross(mark, quality)
                    elif (quality, asset) in known and mark.key <= known[quality, asset]:
                        behind |= {(each.id, asset) for each in self.fences.values() if each.quality == quality}
        self.seen |= behind
        return found

    def cross(self, mark: Mark, quality: str) -> list[Crossing]:
        found = []
        for each in self.fences.values():
            if each.quality != quality:
                continue
            pair = each.id, mark.asset
            is_first, was_inside = pair not in self.seen, pair in self.inside
            self.seen.add(pair)
            if contains(each.shape, mark.lon, mark.lat):
                self.inside.add(pair)
                if not was_inside:
                    found.append(Crossing(mark.asset, mark.key, ENTER, each.id, is_first))
            elif was_inside:
                self.inside.discard(pair)
                found.append(Crossing(mark.asset, mark.key, EXIT, each.id, False))
        return found

    def remove(self, fence_id: int) -> None:
        del self.fences[fence_id]
        self.inside = {pair for pair in self.inside if pair[0] != fence_id}


def crossings(judgement: Judgement, batch: list[Mark]) -> list[Crossing]:
    found = judgement.transitions
    return [
        Crossing(batch[row].asset, batch[row].key, kind, number, initial)
        for row, number, kind, initial in zip(
            found.row.tolist(), found.fence.tolist(), found.kind.tolist(), found.initial.tolist(), strict=True
        )
    ]


def order(crossing: Crossing) -> tuple[object, ...]:
    """Event time; at one fix exits first."""
    return crossing.asset, crossing.key, crossing.kind, crossing.fence


def by_asset(found: list[Crossing]) -> dict[int, list[Crossing]]:
    return {asset: [each for each in found if each.asset == asset] for asset in {each.asset for each in found}}


def check_state(presence: Presence, rule: Rule) -> None:
    for quality in QUALITIES:
        sight = presence.sight(quality == "all")
        known = {asset for of, asset in rule.newest if of == quality}
        assert set(np.flatnonzero(sight.newest.time_ms != NEVER).tolist()) == known
        for asset in known:
            newest = sight.newest
            at = int(newest.time_ms[asset]), int(newest.lon[asset]), int(newest.lat[asset])
            assert at == rule.newest[quality, asset]
        pairs = {(number, asset) for asset, members in sight.inside.items() for number in members}
        assert pairs == {pair for pair in rule.inside if rule.fences[pair[0]].quality == quality}
        assert all(sight.inside.values()), "an asset that is nowhere inside takes no room"
    assets = {asset for _, asset in rule.newest}
    assert {(number, asset) for asset in assets for number in presence.fences_of(asset)} == set(rule.inside)


def check_rows(judgement: Judgement, batch: list[Mark], index: FenceIndex) -> None:
    """Of equal fixes the first that is admitted stands for all of them."""
    found = judgement.transitions
    decided = [
        (row, index.fences[number].quality)
        for row, number in zip(found.row.tolist(), found.fence.tolist(), strict=True)
    ]
    newest = [(row, "trusted") for row in judgement.trusted.rows.tolist()]
    newest += [(row, "all") for row in judgement.every.rows.tolist()]
    for row, quality in decided + newest:
        like_it = [
            i
            for i, mark in enumerate(batch)
            if (mark.asset, mark.key) == (batch[row].asset, batch[row].key) and (quality == "all" or mark.flags == 0)
        ]
        assert row == like_it[0]


def stored_and_read_again(presence: Presence) -> Presence:
    """What is left when only the newest fixes and the memberships were kept."""
    again = Presence()
    for quality in (False, True):
        old, new = presence.sight(quality), again.sight(quality)
        known = np.flatnonzero(old.newest.time_ms != NEVER)
        new.newest.reserve(int(known.max(initial=0)))
        for name in ("time_ms", "lon", "lat", "alt", "speed", "course", "accuracy", "batch", "seen"):
            getattr(new.newest, name)[known] = getattr(old.newest, name)[known]
        new.inside = dict(old.inside)
    return again


def reserved(presence: Presence, batch: list[Mark]) -> Presence:
    presence.reserve(max((mark.asset for mark in batch), default=0))
    return presence


@st.composite
def fence_lists(draw: st.DrawFn, max_size: int = 5, since_batch: int = 1) -> list[Geofence]:
    drawn = draw(st.lists(st.tuples(scenes.shapes, scenes.qualities), max_size=max_size))
    return [fence(i, shape, quality, since_batch) for i, (shape, quality) in enumerate(drawn, 1)]


batches = st.lists(st.lists(scenes.marks(), max_size=10), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(fences=fence_lists(), arriving=batches, restarts=st.integers(0, 31))
def test_a_batch_changes_what_the_rule_says(fences: list[Geofence], arriving: list[list[Mark]], restarts: int) -> None:
    """Any fixes in any order and batches: late ones decide nothing. Sometimes the state is stored and read again."""
    rule, presence, index = Rule({each.id: each for each in fences}), Presence(), FenceIndex(fences)
    for number, batch in enumerate(arriving, 1):
        if restarts >> number & 1:
            presence, index = stored_and_read_again(presence), FenceIndex(fences)
        expected = rule.judge(batch)

        judgement = judge(reserved(presence, batch), index, columns(batch), number)
        found = crossings(judgement, batch)

        assert sorted(found, key=order) == sorted(expected, key=order)
        assert all(mine == sorted(mine, key=order) for mine in by_asset(found).values())
        assert [each.key[0] for each in found] == sorted(each.key[0] for each in found)
        check_rows(judgement, batch, index)
        presence.apply(judgement)
        check_state(presence, rule)


@settings(max_examples=60, deadline=None)
@given(
    fences=fence_lists(),
    track=st.lists(scenes.marks(), max_size=25),
    seed=st.integers(0, 2**32),
    cuts=st.sets(st.integers(1, 24), max_size=6),
)
def test_batches_may_be_cut_anywhere_and_shuffled_within(
    fences: list[Geofence], track: list[Mark], seed: int, cuts: set[int]
) -> None:
    chance = random.Random(seed)
    in_order = sorted(track, key=lambda mark: mark.key)
    whole = crossings(judge(reserved(Presence(), track), FenceIndex(fences), columns(in_order), 1), in_order)

    presence, index, found = Presence(), FenceIndex(fences), list[Crossing]()
    edges = [0, *sorted(cut for cut in cuts if cut < len(in_order)), len(in_order)]
    for number, (start, end) in enumerate(pairwise(edges), 1):
        batch = chance.sample(in_order[start:end], end - start)
        judgement = judge(reserved(presence, batch), index, columns(batch), number)
        presence.apply(judgement)
        found += crossings(judgement, batch)

    assert sorted(found, key=order) == sorted(whole, key=order)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), arriving=batches)
def test_a_geofence_made_between_batches_sees_only_later_ones(data: st.DataObject, arriving: list[list[Mark]]) -> None:
    rule, presence, index = Rule(), Presence(), FenceIndex()
    number = 0
    for batch_number, batch in enumerate(arriving, 1):
        for shape, quality in data.draw(st.lists(st.tuples(scenes.shapes, scenes.qualities), max_size=2)):
            number += 1
            made = fence(number, shape, quality, since_batch=batch_number)
            rule.fences[number] = made
            index.put(made)
        if data.draw(st.booleans()) and rule.fences:
            gone = data.draw(st.sampled_from(sorted(rule.fences)))
            rule.remove(gone)
            index.remove(gone)
            presence.forget(gone)
        expected = rule.judge(batch)

        judgement = judge(reserved(presence, batch), index, columns(batch), batch_number)

        assert sorted(crossings(judgement, batch), key=order) == sorted(expected, key=order)
        presence.apply(judgement)
        check_state(presence, rule)


def test_judging_changes_nothing_until_it_is_applied() -> None:
    batch = [Mark(1, 0, 0), Mark(2, 5_000_000, 0)]
    presence, index = reserved(Presence(), batch), FenceIndex([fence(1, polygon([[box(-1, -1, 1, 1)]]))])
    first = judge(presence, index, columns(batch), 1)
    second = judge(presence, index, columns(batch), 1)
    assert crossings(first, batch) == crossings(second, batch)
    assert len(first.transitions) == 2
    check_state(presence, Rule({1: index.fences[1]}))


IN, OUT = (0, 0), (5_000_000, 0)
AROUND = polygon([[box(-1, -1, 1, 1)]])


def told(
    batches_of_places: list[list[tuple[int, int, int, int]]], quality: str = "trusted"
) -> list[tuple[int, int, bool]]:
    """(time, kind, initial) of one asset and one geofence, from batches of (time, lon, lat, flags)."""
    presence, found = Presence(), []
    index = FenceIndex([Geofence(1, 1, "", AROUND, "all" if quality == "all" else "trusted", 1)])
    for number, places in enumerate(batches_of_places, 1):
        batch = [Mark(time_ms, lon, lat, flags=flags) for time_ms, lon, lat, flags in places]
        judgement = judge(reserved(presence, batch), index, columns(batch), number)
        presence.apply(judgement)
        found += [(each.key[0], each.kind, each.initial) for each in crossings(judgement, batch)]
    return found


FIRST, ENTERS, EXITS = (ENTER, True), (ENTER, False), (EXIT, False)
NEAR, FAR = (1_000_000, 0), (1_000_001, 0)  # on the edge, and a centimetre outside
CASES = {
    "in after out": ([[(1, *OUT, 0)], [(2, *IN, 0)]], "trusted", [(2, *ENTERS)]),
    "first seen inside": ([[(1, *IN, 0)]], "trusted", [(1, *FIRST)]),
    "first seen outside": ([[(1, *OUT, 0)]], "trusted", []),
    "stays": ([[(1, *IN, 0)], [(2, *IN, 0)]], "trusted", [(1, *FIRST)]),
    "in one batch": ([[(1, *IN, 0), (2, *OUT, 0)]], "trusted", [(1, *FIRST), (2, *EXITS)]),
    "in one batch, wrong way round": ([[(2, *OUT, 0), (1, *IN, 0)]], "trusted", [(1, *FIRST), (2, *EXITS)]),
    "late: decides nothing": ([[(2, *OUT, 0)], [(1, *IN, 0)]], "trusted", []),
    "equal: judged once": ([[(1, *IN, 0)], [(1, *IN, 0)]], "trusted", [(1, *FIRST)]),
    "flagged: decides nothing": ([[(1, *OUT, 0)], [(2, *IN, 2)]], "trusted", []),
    "flagged: judged by quality all": ([[(1, *OUT, 0)], [(2, *IN, 2)]], "all", [(2, *ENTERS)]),
    "a flagged fix makes nothing late": ([[(9, *OUT, 8)], [(2, *IN, 0)]], "trusted", [(2, *FIRST)]),
    "equal but trusted": ([[(9, *OUT, 8)], [(9, *OUT, 0), (10, *IN, 0)]], "trusted", [(10, *ENTERS)]),
    "the edge": ([[(1, *NEAR, 0)], [(2, *FAR, 0)]], "trusted", [(1, *FIRST), (2, *EXITS)]),
    "same time, further east": ([[(1, *IN, 0)], [(1, *OUT, 0)]], "trusted", [(1, *FIRST), (1, *EXITS)]),
    "same time, further west: late": ([[(1, *OUT, 0)], [(1, *IN, 0)]], "trusted", []),
}


@pytest.mark.parametrize(("places", "quality", "expected"), CASES.values(), ids=CASES)
def test_the_rule_in_cases(
    places: list[list[tuple[int, int, int, int]]], quality: str, expected: list[tuple[int, int, bool]]
) -> None:
    assert told(places, quality) == expected


def test_exits_come_before_enters_at_one_fix() -> None:
    west, east = polygon([[box(-4, -1, 0, 1)]]), polygon([[box(1, -1, 4, 1)]])
    index = FenceIndex([fence(1, east), fence(2, west)])
    batch = [Mark(1, -2_000_000, 0), Mark(2, 2_000_000, 0)]
    found = crossings(judge(reserved(Presence(), batch), index, columns(batch), 1), batch)
    assert [(each.kind, each.fence) for each in found] == [(ENTER, 2), (EXIT, 2), (ENTER, 1)]


def test_an_asset_tracked_before_the_geofence_was_made_enters_it_with_initial() -> None:
    presence, old = Presence(), [Mark(1, 0, 0), Mark(1, 0, 0, asset=2)]
    presence.apply(judge(reserved(presence, old), FenceIndex(), columns(old), 1))
    index = FenceIndex([fence(1, AROUND, since_batch=2)])
    new = [Mark(2, 0, 0), Mark(2, 5_000_000, 0, asset=2), Mark(3, 0, 0, asset=2)]
    found = crossings(judge(presence, index, columns(new), 2), new)
    assert [(each.asset, each.initial) for each in found] == [(1, True), (2, False)]


def test_asset_numbers_may_be_large_and_sparse() -> None:
    presence = Presence()
    batch = [Mark(1, 0, 0, asset=LARGEST_ASSET), Mark(1, 0, 0, asset=3)]
    presence.reserve(LARGEST_ASSET)
    presence.apply(judge(presence, FenceIndex([fence(1, AROUND)]), columns(batch), 1))
    presence.reserve(100_000)
    assert [asset for asset in (3, 4, LARGEST_ASSET) if presence.fences_of(asset)] == [3, LARGEST_ASSET]
    assert presence.trusted.newest.batch[[3, 4, LARGEST_ASSET, 100_000]].tolist() == [1, -1, 1, -1]


def test_leaving_a_geofence_keeps_the_others() -> None:
    presence, batch = Presence(), [Mark(1, 0, 0), Mark(1, 0, 0, asset=2, flags=2)]
    index = FenceIndex([fence(1, AROUND), fence(2, AROUND), fence(3, AROUND, "all")])
    presence.apply(judge(reserved(presence, batch), index, columns(batch), 1))
    presence.forget(1)
    assert [presence.fences_of(asset).keys() for asset in (1, 2)] == [{2, 3}, {3}]
    presence.forget(2)
    presence.forget(3)
    assert (presence.trusted.inside, presence.every.inside) == ({}, {})


def test_nobody_is_remembered_to_be_nowhere() -> None:
    sight = Sight()
    sight.put_inside(7, {1: 5})
    sight.put_inside(7, {})
    assert sight.inside == {}
