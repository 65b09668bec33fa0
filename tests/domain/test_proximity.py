"""Who is near whom, against a slow program written from the definition in docs/geofences.md."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.engine import some
from tracker.domain.geodesy import WGS84
from tracker.domain.presence import ENTER, EXIT
from tracker.domain.proximity import Change, Pairs, Told, Tracks, compare, meetings, turns

GAP_MS: Final = 60_000


class Seen(NamedTuple):
    """One fix of an asset, in event order."""

    time_ms: int
    lon: int
    lat: int
    batch: int = 1


World = dict[int, list[Seen]]


def tracks_of(world: World) -> Tracks:
    rows = [(asset, *fix) for asset, fixes in world.items() for fix in fixes]
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Tracks.of(columns, GAP_MS)


def place(fixes: Sequence[Seen], at_ms: int) -> Seen | None:
    """Where an asset is: its newest fix up to then, unless that is too old."""
    known = [fix for fix in sorted(fixes) if fix.time_ms <= at_ms]
    return known[-1] if known and at_ms - known[-1].time_ms <= GAP_MS else None


def metres(a: Seen, b: Seen) -> float:
    return float(WGS84.inv(a.lon / 1e7, a.lat / 1e7, b.lon / 1e7, b.lat / 1e7)[2])


def expected(
    world: World, asset: int, other: int, from_ms: int, within_m: float, margin_m: float, since: int = 0
) -> list[tuple[int, int]]:
    """(kind, time_ms), one instant after the other."""
    told, near = [], False
    deciding = [fix for fix in world[asset] + world[other] if fix.batch >= since and fix.time_ms >= from_ms]
    for at_ms in sorted({fix.time_ms for fix in deciding}):
        mine, its = place(world[asset], at_ms), place(world[other], at_ms)
        apart = float("inf") if mine is None or its is None else metres(mine, its)
        now = apart <= within_m or (near and apart <= within_m + margin_m)
        if now != near:
            told.append((ENTER if now else EXIT, at_ms))
        near = now
    return told


@st.composite
def worlds(draw: st.DrawFn, assets: int = 4) -> World:
    """Fixes a few metres and seconds apart, around a place that may be the antimeridian or a pole."""
    lon, lat = draw(
        st.sampled_from([(0, 0), (1_800_000_000, 100_000_000), (300_000_000, 899_999_000), (0, -600_000_000)])
    )
    fix = st.tuples(st.integers(0, 30), st.integers(-6, 6), st.integers(-6, 6), st.integers(1, 3))
    world = {}
    for asset in range(1, assets + 1):
        seen = draw(st.lists(fix, min_size=1, max_size=8))
        world[asset] = [
            Seen(
                t * 5_000,
                (lon + x * 300 + 1_800_000_000) % 3_600_000_000 - 1_800_000_000,
                min(lat + y * 300, 900_000_000),
                batch,
            )
            for t, x, y, batch in seen
        ]
    return world


@some(150)
@given(worlds(), st.sampled_from([3.0, 10.0, 25.0]), st.sampled_from([0.0, 8.0]), st.integers(0, 3))
def test_pairs_turn_as_the_definition_says(world: World, within_m: float, margin_m: float, since: int) -> None:
    tracks = tracks_of(world)
    pairs = [(a, b) for a in world for b in world if a != b]
    asset, other = np.array(pairs, np.int64).T
    zeros = np.zeros(len(pairs), np.int64)
    found = turns(tracks, Pairs(asset, other, zeros, zeros.astype(bool), zeros + since), within_m, margin_m)
    told = list(zip(found.pair.tolist(), found.kind.tolist(), found.time_ms.tolist(), strict=True))
    wanted = [
        (i, *each) for i, (a, b) in enumerate(pairs) for each in expected(world, a, b, 0, within_m, margin_m, since)
    ]
    assert told == wanted


@some(100)
@given(worlds(), st.sampled_from([3.0, 10.0, 25.0]))
def test_whoever_meets_is_found_by_any_of_the_two(world: World, within_m: float) -> None:
    tracks = tracks_of(world)
    for asset in world:
        found = meetings(tracks, np.flatnonzero(tracks.asset == asset), within_m)
        near = {
            other
            for other in world
            if other != asset and any(k == ENTER for k, _ in expected(world, asset, other, 0, within_m, 0))
        }
        assert set(found[0].tolist()) <= {asset}
        assert near <= set(found[1].tolist())
        for other in set(found[1].tolist()) - near:  # nobody is named who was nowhere near
            assert min(metres(a, b) for a in world[asset] for b in world[other]) <= within_m + 1e-3


@some(100)
@given(worlds(assets=2), st.integers(0, 150_000))
def test_a_pair_may_be_judged_from_any_instant_on(world: World, from_ms: int) -> None:
    tracks, one = tracks_of(world), np.array([1])
    none = np.zeros(1, np.int64)

    def told(start_ms: int, near: bool) -> list[tuple[int, int]]:
        found = turns(tracks, Pairs(one, one + 1, none + start_ms, np.array([near]), none), 10.0, 8.0)
        return list(zip(found.kind.tolist(), found.time_ms.tolist(), strict=True))

    whole = told(0, near=False)
    before = [each for each in whole if each[1] < from_ms]
    near = bool(before) and before[-1][0] == ENTER
    assert before + told(from_ms, near) == whole


def told(kind: int, time_ms: int, event: int | None = None) -> Told:
    return Told(kind, time_ms, 0, 0, event)


@pytest.mark.parametrize(
    ("old", "new", "same", "changes"),
    [
        ([], [told(ENTER, 1)], 0, [(None, 1)]),
        ([told(ENTER, 1, 7)], [told(ENTER, 1)], 1, []),
        ([told(ENTER, 5, 7)], [told(ENTER, 3)], 0, [(7, 3)]),
        ([told(ENTER, 5, 7), told(EXIT, 9, 8)], [], 0, [(7, None), (8, None)]),
        ([told(ENTER, 5, 7)], [told(ENTER, 1), told(EXIT, 2), told(ENTER, 5)], 1, [(None, 1), (None, 2)]),
    ],
)
def test_what_stands_is_left_alone_and_the_rest_is_paired(
    old: list[Told], new: list[Told], same: int, changes: list[tuple[int | None, int | None]]
) -> None:
    kept, found = compare(old, new)
    assert len(kept) == same

    def shown(change: Change) -> tuple[int | None, int | None]:
        return change.old and change.old.event, change.new and change.new.time_ms

    assert [shown(each) for each in found] == changes
