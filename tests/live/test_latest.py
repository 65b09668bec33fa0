"""Where every asset is now."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scenes import Mark, columns
from tracker.domain.batch import Columns
from tracker.domain.fleet import Asset, Fleet
from tracker.live.latest import Bounds, Latest

HALF = 1_800_000_000


def latest(*numbers: int) -> Latest:
    fleet = Fleet()
    for number in numbers:
        fleet.put_asset(Asset(number, f"asset {number}"))
    return Latest(fleet)


def batch(*marks: Mark, **fields: Any) -> Columns:
    made = columns(list(marks))
    typed: dict[str, Any] = {
        name: value if name == "attributes" else np.array(value, getattr(made, name).dtype)
        for name, value in fields.items()
    }
    return replace(made, **typed)


def put(state: Latest, moved: Columns) -> None:
    state.put(moved.asset.astype(np.int64), moved, np.arange(len(moved)))


def entry(state: Latest, number: int) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(state.entry(number))
    return value


def test_an_entry_is_complete() -> None:
    state = latest(3)
    state.fleet.put_asset(Asset(3, "Van", frozenset({"b", "a"})))
    put(
        state,
        batch(
            Mark(1_500, -1_300_000_001, 0, asset=3, device=8),
            alt=[-120],
            speed=[0],
            course=[3599],
            accuracy=[44],
            attributes=[b'{"fuel":0.5}'],
        ),
    )
    assert entry(state, 3) == {
        "id": "ast_3",
        "name": "Van",
        "tags": ["a", "b"],
        "lon": -130.0000001,
        "lat": 0.0,
        "course_deg": 359.9,
        "speed_mps": 0.0,
        "alt_m": -12.0,
        "accuracy_m": 4.4,
        "fix_time": "1970-01-01T00:00:01.500Z",
        "device": "dev_8",
        "attributes": {"fuel": 0.5},
    }


def test_what_is_not_known_is_null_and_attributes_go_with_their_fix() -> None:
    state = latest(1, 2)
    put(state, batch(Mark(1, 0, 0), Mark(1, 0, 0, asset=2), attributes=[b'{"n":1}', b'{"n":2}']))
    put(state, batch(Mark(2, 0, 0)))
    shown = entry(state, 1)
    assert "attributes" not in shown
    assert [shown[name] for name in ("course_deg", "speed_mps", "alt_m", "accuracy_m")] == [None] * 4
    assert entry(state, 2)["attributes"] == {"n": 2}
    put(state, batch(Mark(3, 0, 0, asset=2), attributes=[None]))
    assert "attributes" not in entry(state, 2)


def test_an_entry_is_encoded_once_for_each_change() -> None:
    state = latest(1)
    put(state, batch(Mark(1, 0, 0)))
    first = state.entry(1)
    assert state.entry(1) is first
    state.fleet.put_asset(Asset(1, "renamed"))
    assert entry(state, 1)["name"] == "renamed"


def test_changes_are_numbered_and_found() -> None:
    state = latest(1, 2, 3)
    put(state, batch(Mark(1, 0, 0), Mark(1, 0, 0, asset=2)))
    seen = state.now
    put(state, batch(Mark(2, 0, 0, asset=2)))
    assert state.changed_since(seen).tolist() == [2]
    seen = state.now
    state.touch(1)
    state.touch(3)  # has no position yet
    assert state.changed_since(seen).tolist() == [1]
    seen = state.now
    put(state, batch())
    assert state.now == seen


def test_a_deleted_asset_is_nowhere() -> None:
    state = latest(1)
    put(state, batch(Mark(1, 0, 0), attributes=[b"{}"]))
    state.fleet.remove_asset(1)
    state.forget(1)
    state.forget(1)
    state.forget(500)
    everywhere = Bounds(-HALF, -HALF // 2, HALF, HALF // 2)
    assert state.within(np.array([1]), everywhere).tolist() == []
    assert not state.known(1)
    assert state.attributes == {}
    assert state.bounds() is None


@pytest.mark.parametrize(("number", "known"), [(1, True), (2, False), (3, False), (10_000, False), (10**18, False)])
def test_an_asset_is_known_when_it_has_a_position_and_is_there(number: int, known: bool) -> None:
    state = latest(1, 2)
    put(state, batch(Mark(1, 0, 0), Mark(1, 0, 0, asset=3)))
    assert bool(state.known(number)) is known


def test_large_numbers_make_room() -> None:
    state = latest(70_000)
    put(state, batch(Mark(5, 7, 9, asset=70_000), Mark(5, 7, 9, asset=2)))
    assert state.changed_since(0).tolist() == [2, 70_000]
    assert entry(state, 70_000)["lon"] == 7e-7


@given(
    st.tuples(*[st.integers(-3, 3)] * 4),
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=10),
)
def test_a_box_holds_its_edges_and_may_cross_the_antimeridian(
    box: tuple[int, int, int, int], at: list[tuple[int, int]]
) -> None:
    west, south, east, north = box
    lon, lat = (np.array(each, np.int32) for each in zip(*at, strict=True))
    for (x, y), held in zip(at, Bounds(*box).hold(lon, lat).tolist(), strict=True):
        # Eastwards from the west edge, around the world if need be, one comes by before the east edge.
        within = (x - west) % 7 <= (east - west) % 7
        assert held == (within and south <= y <= north)


def test_a_look_begins_at_the_whole_fleet() -> None:
    state = latest(1, 2)
    put(state, batch(Mark(1, -10_000_000, 20_000_000), Mark(1, 30_000_000, -40_000_000, asset=2)))
    assert state.bounds() == [-1.0, -4.0, 3.0, 2.0]
    put(state, batch(Mark(2, 30_000_000, 0)))
    assert state.bounds() == [3.0, -4.0, 3.0, 0.0]


def test_a_look_at_nothing_begins_nowhere() -> None:
    assert latest(1).bounds() is None


@given(st.lists(st.tuples(st.integers(-HALF, HALF), st.integers(-HALF // 2, HALF // 2)), min_size=1, max_size=30))
def test_wherever_the_fleet_is_a_look_begins_somewhere_in_it(at: list[tuple[int, int]]) -> None:
    state = latest()
    put(state, batch(*[Mark(1, lon, lat, asset=number) for number, (lon, lat) in enumerate(at, 1)]))
    box = state.bounds()
    assert box is not None
    west, south, east, north = box
    lons, lats = ([each / 1e7 for each in axis] for axis in zip(*at, strict=True))
    assert min(lons) - 1e-9 <= west <= east <= max(lons) + 1e-9
    assert min(lats) - 1e-9 <= south <= north <= max(lats) + 1e-9
