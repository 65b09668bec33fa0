"""Cells cover boxes, and ranges of the curve find who is in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.domain.batch import UNKNOWN_INT32
from tracker.live import cells
from tracker.live.cells import FINEST, NOWHERE, assets_of, cover, keys
from tracker.live.latest import Bounds
from tracker.live.places import Ground, Places, distinct

HALF = 1_800_000_000
WORLD = Bounds(-HALF, -HALF // 2, HALF, HALF // 2)
longitudes = st.one_of(st.sampled_from([-HALF, 0, HALF]), st.integers(-HALF, HALF))
latitudes = st.one_of(st.sampled_from([-HALF // 2, 0, HALF // 2]), st.integers(-HALF // 2, HALF // 2))
spots = st.lists(st.tuples(longitudes, latitudes), min_size=1, max_size=20)
corners = st.tuples(longitudes, latitudes, longitudes, latitudes)


def box(west: int, one: int, east: int, other: int) -> Bounds:
    return Bounds(west, min(one, other), east, max(one, other))


def placed(at: list[tuple[int, int]]) -> tuple[Places, np.ndarray, np.ndarray]:
    lon, lat = (np.array(each, np.int32) for each in zip(*at, strict=True))
    return Places.of(keys(np.arange(len(at)), lon, lat)), lon, lat


@settings(deadline=None)
@given(spots, corners, st.integers(0, FINEST), st.integers(1, 2_000))
def test_who_is_in_a_box_is_in_its_cells(
    at: list[tuple[int, int]], given_box: tuple[int, int, int, int], finest: int, most: int
) -> None:
    bounds = box(*given_box)
    touched = cover(bounds, finest, most)
    assert 1 <= len(touched.codes) <= most
    assert touched.level <= finest
    assert len(np.unique(touched.codes)) == len(touched.codes)
    there, lon, lat = placed(at)
    found = there.within(touched.ranges)
    assert len(distinct(found)) == len(found) == there.count(touched.ranges)
    assert set(np.flatnonzero(bounds.hold(lon, lat)).tolist()) <= set(found.tolist())


@settings(deadline=None)
@given(spots, corners, st.integers(0, FINEST))
def test_everybody_in_the_cells_is_counted_in_one_of_them(
    at: list[tuple[int, int]], given_box: tuple[int, int, int, int], finest: int
) -> None:
    touched = cover(box(*given_box), finest, 500)
    there, lon, lat = placed(at)
    ground = Ground.of(7, keys(np.arange(len(at)), lon, lat), lon, lat)
    clusters = ground.clusters(touched)
    assert clusters.count.sum() == there.count(touched.ranges)
    for cell in np.flatnonzero(clusters.count):
        alone = cells.Cover(touched.level, touched.codes[cell : cell + 1])
        members = there.within(alone.ranges)
        assert len(members) == clusters.count[cell]
        assert clusters.lon[cell] == lon[members].astype(np.int64).sum() // len(members)


def test_a_view_of_the_world_holds_everybody_also_beyond_the_plane() -> None:
    there, _, _ = placed([(HALF, 900_000_000), (-HALF, -900_000_000), (0, 0), (HALF - 1, 899_000_000)])
    for level in (0, 1, 5):
        touched = cover(WORLD, level, 2_048)
        assert touched.level == level
        assert len(touched.codes) == 4**level
        assert there.count(touched.ranges) == 4
    assert there.count(cover(WORLD, FINEST, 2_048).ranges) == 4


@pytest.mark.parametrize(("east", "columns"), [(-1_790_000_000, 2), (1_780_000_000, 256)])
def test_a_box_over_the_antimeridian_touches_the_columns_on_both_sides(east: int, columns: int) -> None:
    touched = cover(Bounds(1_790_000_000, -1, east, 1), 8, 10_000)
    assert len(set(touched.columns.tolist())) == columns
    assert set(touched.rows.tolist()) == {127, 128}


def test_a_cell_says_where_it_is() -> None:
    there = cover(Bounds(249_440_000, 601_716_000, 249_440_000, 601_716_000), 12, 9)
    assert (there.level, there.columns.tolist(), there.rows.tolist()) == (12, [2331], [1185])


def test_who_is_nowhere_is_in_no_cell() -> None:
    lost = keys(np.array([3]), np.array([0], np.int32), np.array([UNKNOWN_INT32], np.int32))
    assert lost.tolist() == [NOWHERE]
    assert len(Places.of(lost).keys) == 0
    assert Places.of(lost).within(cover(WORLD, 3, 100).ranges).tolist() == []


def test_a_key_names_its_asset() -> None:
    assets = np.array([0, 1, 2**28 - 1])
    assert assets_of(keys(assets, np.array([-HALF, 5, HALF], np.int32), np.array([9, -9, 0], np.int32))).tolist() == [
        *assets
    ]
