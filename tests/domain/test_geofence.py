"""The index of geofences against plain looking."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import scenes
from tests.domain.scenes import box, fence
from tracker.domain.geodesy import Box
from tracker.domain.geofence import Geofence, Quality
from tracker.domain.index import FenceIndex
from tracker.domain.shape import Shape, boxes, circle, holds, polygon

QUALITIES: list[Quality] = ["trusted", "all"]
SQUARE = box(0, 0, 40, 40)  # 0…4 degrees


def world_circle(draw: st.DrawFn) -> Shape:
    lon = draw(st.sampled_from([-180.0, -179.99, -10.0, 0.0, 24.9, 179.999, 180.0]))
    lat = draw(st.sampled_from([-90.0, -89.99, -45.0, 0.0, 60.1, 89.0, 90.0]))
    return circle([lon, lat], draw(st.sampled_from([1.0, 5_000.0, 300_000.0, 1_000_000.0])))


@st.composite
def points_of_the_world(draw: st.DrawFn) -> tuple[float, float]:
    lon = draw(st.one_of(st.sampled_from([-180.0, -179.995, 0.0, 24.9, 179.995, 180.0]), st.floats(-180, 180)))
    lat = draw(st.one_of(st.sampled_from([-90.0, -89.995, 0.0, 60.1, 89.0, 90.0]), st.floats(-90, 90)))
    return lon, lat


def found_plainly(fences: dict[int, Geofence], lon: np.ndarray, lat: np.ndarray) -> list[tuple[int, int]]:
    pairs = [
        (int(point), number)
        for number, each in fences.items()
        for point in np.flatnonzero(holds(each.shape, lon, lat)).tolist()
    ]
    return sorted(pairs)


def meeting_plainly(fences: dict[int, Geofence], asked: Box) -> list[tuple[int, Box]]:
    west, south, east, north = asked
    return [
        (number, own)
        for number in sorted(fences)
        for own in boxes(fences[number].shape)
        if any(
            w + turn <= east and e + turn >= west and s <= north and n >= south
            for w, s, e, n in boxes(fences[number].shape)
            for turn in (-360, 0, 360)
        )
    ]


@settings(max_examples=75, deadline=None)
@given(data=st.data())
def test_the_index_finds_what_plain_looking_finds(data: st.DataObject) -> None:
    shape = st.one_of(scenes.shapes, st.composite(world_circle)())
    fences = {i: fence(i, each) for i, each in enumerate(data.draw(st.lists(shape, max_size=8)), 1)}
    near = st.tuples(scenes.steps, scenes.steps).map(lambda at: (at[0] / 10, at[1] / 10))
    points = data.draw(st.lists(st.one_of(points_of_the_world(), near), max_size=15))
    lon, lat = np.array(points, dtype=np.float64).reshape(-1, 2).T

    point, number = FenceIndex(fences.values()).query(lon, lat)

    assert list(zip(point.tolist(), number.tolist(), strict=True)) == found_plainly(fences, lon, lat)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    pool=st.lists(scenes.shapes, min_size=6, max_size=6),
)
def test_an_index_that_was_changed_equals_a_fresh_one(seed: int, pool: list[Shape]) -> None:
    chance = random.Random(seed)
    here = np.array([(x / 10, y / 10) for x in range(-8, 9, 2) for y in range(-8, 9, 2)])
    lon, lat = here.T.copy()
    fences: dict[int, Geofence] = {}
    index = FenceIndex()
    index.query(np.zeros(1), np.zeros(1))
    for number in range(1, 31):
        if fences and chance.random() < 0.3:
            gone = chance.choice(list(fences))
            assert index.remove(gone) == fences.pop(gone)
        elif fences and chance.random() < 0.4:
            old = fences[chance.choice(list(fences))]
            quality: Quality = chance.choice(QUALITIES)
            fences[old.id] = Geofence(old.id, old.version + 1, "", chance.choice(pool), quality, old.since_batch)
            index.put(fences[old.id])
        else:
            fences[number] = Geofence(number, 1, "", chance.choice(pool), chance.choice(QUALITIES), number * 3)
            index.put(fences[number])
        if chance.random() < 0.6:
            check(index, fences, lon, lat)
    check(index, fences, lon, lat)


def check(index: FenceIndex, fences: dict[int, Geofence], lon: np.ndarray, lat: np.ndarray) -> None:
    point, number = index.query(lon, lat)
    assert list(zip(point.tolist(), number.tolist(), strict=True)) == found_plainly(fences, lon, lat)
    for asked in ((-0.3, -0.3, 0.1, 0.2), (359.7, -0.3, 360.1, 0.2), (-361.0, 0.4, -359.0, 0.4)):
        owner, corners = index.meeting([asked])
        assert list(zip(owner.tolist(), map(tuple, corners.tolist()), strict=True)) == meeting_plainly(fences, asked)
    known = np.array(sorted(fences), np.int64)
    assert index.judges_every_fix(known).tolist() == [fences[each].quality == "all" for each in known.tolist()]
    assert index.since_batch(known).tolist() == [fences[each].since_batch for each in known.tolist()]
    assert index.has_every_fix == any(each.quality == "all" for each in fences.values())


def test_an_older_version_judges_no_more() -> None:
    """Also while it stands in a large tree, which is not made anew for one change."""
    elsewhere = polygon([[box(-90, -90, -80, -80)]])
    index = FenceIndex([fence(1, polygon([[SQUARE]])), *(fence(number, elsewhere) for number in range(2, 9))])
    moved = Geofence(1, 2, "", polygon([[box(100, 0, 140, 40)]]), "trusted", 1)
    index.put(moved)
    assert index.query(np.array([1.0, 11.0]), np.array([1.0, 1.0]))[0].tolist() == [1]
    assert index.meeting([(-1, -1, 2, 2)])[0].tolist() == []
    index.remove(1)
    index.put(moved)  # now in two trees
    owner, corners = index.meeting([(9, 0, 15, 5), (11, 1, 12, 2)])
    assert (owner.tolist(), corners.tolist()) == ([1], [[10.0, 0.0, 14.0, 4.0]])


def test_removing_what_is_not_there_changes_nothing() -> None:
    index = FenceIndex([fence(1, polygon([[SQUARE]]))])
    assert index.remove(7) is None
    assert index.query(np.array([1.0]), np.array([1.0]))[1].tolist() == [1]


def test_an_empty_index_and_no_points_find_nothing() -> None:
    nothing = np.empty(0)
    assert len(FenceIndex().query(np.array([1.0]), np.array([1.0]))[0]) == 0
    assert len(FenceIndex([fence(1, polygon([[SQUARE]]))]).query(nothing, nothing)[0]) == 0
