import heapq
import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.fleet.streets import Arc, Mode, Network, Streets, directions, largest_part, speed_mps


def cost_s(streets: Streets, mode: Mode, path: list[int]) -> float:
    arcs = [streets.networks[mode][a][b] for a, b in pairwise(path)]
    return sum(arc.length_m / arc.speed_mps for arc in arcs)


def cheapest_s(network: Network, start: int, goal: int) -> float:
    """Dijkstra, without any bound to be wrong about."""
    frontier, done = [(0.0, start)], set()
    while frontier:
        cost, node = heapq.heappop(frontier)
        if node == goal:
            return cost
        if node not in done:
            done.add(node)
            for following, arc in network[node].items():
                heapq.heappush(frontier, (cost + arc.length_m / arc.speed_mps, following))
    return math.inf


@pytest.mark.parametrize("mode", Mode)
def test_routes_are_the_quickest_there_are(streets: Streets, mode: Mode) -> None:
    rng = Random(7)
    for _ in range(20):
        start, goal = (rng.choice(streets.shops[mode])[0] for _ in range(2))
        path = streets.route(mode, start, goal)
        assert (path[0], path[-1]) == (start, goal)
        assert cost_s(streets, mode, path) == pytest.approx(cheapest_s(streets.networks[mode], start, goal))


@pytest.mark.parametrize("mode", Mode)
def test_every_place_can_be_reached_and_left(streets: Streets, mode: Mode) -> None:
    rng = Random(8)
    hub = streets.shops[mode][0][0]
    for node, _ in rng.sample(streets.doors[mode] + streets.shops[mode], 40):
        assert streets.route(mode, hub, node)[-1] == node
        assert streets.route(mode, node, hub)[-1] == hub


def test_most_of_downtown_belongs_to_one_network(streets: Streets) -> None:
    assert {mode: len(network) > 1200 for mode, network in streets.networks.items()} == dict.fromkeys(Mode, True)
    assert all(len(places) > 500 for places in (*streets.shops.values(), *streets.doors.values()))


@pytest.mark.parametrize(
    ("mode", "tags", "expected"),
    [
        (Mode.CAR, {"highway": "footway"}, None),
        (Mode.CAR, {"highway": "residential"}, 8.0),
        (Mode.CAR, {"highway": "residential", "maxspeed": "20"}, 5.0),
        (Mode.CAR, {"highway": "residential", "maxspeed": "walk"}, 8.0),
        (Mode.CAR, {"highway": "service", "access": "private"}, None),
        (Mode.CAR, {"highway": "service", "access": "no", "motor_vehicle": "yes"}, 4.5),
        (Mode.CAR, {"highway": "service", "layer": "-3"}, None),
        (Mode.BIKE, {"highway": "footway"}, None),
        (Mode.BIKE, {"highway": "footway", "bicycle": "designated"}, 3.5),
        (Mode.BIKE, {"highway": "primary", "bicycle": "use_sidepath"}, None),
        (Mode.FOOT, {"highway": "steps"}, 0.7),
        (Mode.FOOT, {"highway": "primary", "maxspeed": "3"}, 1.35),
        (Mode.FOOT, {"highway": "construction"}, None),
    ],
)
def test_who_may_go_where_and_how_fast(mode: Mode, tags: dict[str, str], expected: float | None) -> None:
    assert speed_mps(mode, tags) == expected


@pytest.mark.parametrize(
    ("mode", "tags", "expected"),
    [
        (Mode.CAR, {}, (True, True)),
        (Mode.CAR, {"oneway": "yes"}, (True, False)),
        (Mode.CAR, {"oneway": "-1"}, (False, True)),
        (Mode.CAR, {"junction": "roundabout"}, (True, False)),
        (Mode.BIKE, {"oneway": "yes"}, (True, False)),
        (Mode.BIKE, {"oneway": "yes", "oneway:bicycle": "no"}, (True, True)),
        (Mode.BIKE, {"oneway": "yes", "cycleway": "opposite_lane"}, (True, True)),
        (Mode.FOOT, {"oneway": "yes"}, (True, True)),
    ],
)
def test_one_way_streets_bind_those_whom_they_concern(
    mode: Mode, tags: dict[str, str], expected: tuple[bool, bool]
) -> None:
    assert directions(mode, tags) == expected


def test_the_sky_is_narrow_between_houses_and_wide_on_squares(streets: Streets) -> None:
    assert all(0.0 <= value <= 1.0 for value in streets.obstruction)
    aleksanterinkatu = streets.plane.to_xy(24.9462, 60.1689)
    kaisaniemi_field = streets.plane.to_xy(24.9455, 60.1741)
    xs, ys = zip(aleksanterinkatu, kaisaniemi_field, strict=True)
    narrow, wide = streets.obstruction_at(list(xs), list(ys))
    assert narrow > 0.4 > wide


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8))))
def test_the_largest_part_is_the_largest_that_is_connected_both_ways(n: int, edges: set[tuple[int, int]]) -> None:
    network: Network = {node: {} for node in range(n)}
    for a, b in edges:
        network[a % n][b % n] = Arc(1.0, 1.0, covered=False)
    reach = {node: reachable(network, node) for node in network}
    parts = {frozenset(other for other in reach[node] if node in reach[other]) for node in network}
    part = largest_part(network)
    assert frozenset(part) in parts
    assert len(part) == max(map(len, parts))
    assert all(following in part for arcs in part.values() for following in arcs)


def reachable(network: Network, start: int) -> set[int]:
    found, stack = {start}, [start]
    while stack:
        for following in network[stack.pop()]:
            if following not in found:
                found.add(following)
                stack.append(following)
    return found
