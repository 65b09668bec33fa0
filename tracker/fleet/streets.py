"""Downtown as a graph: who may use which street in which direction, how fast, and what stands beside it.

Built once from the extract; afterwards it only answers. Each mode keeps its largest strongly connected part, so that
whatever it may reach it may also leave.
"""

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np
import shapely

from tracker.fleet.extract import Extract, Place, Run
from tracker.fleet.plane import Plane

OPEN_SKY_FROM_M: Final = 25.0  # farther than this from any wall nothing hides the satellites
SNAP_M: Final = 60.0


class Mode(StrEnum):
    """A way of getting along the streets."""

    BIKE = "bike"
    CAR = "car"
    FOOT = "foot"


# fmt: off
_CAR_MPS: Final = {
    "primary": 11.0, "primary_link": 9.0, "secondary": 10.0, "tertiary": 9.0, "tertiary_link": 8.0,
    "unclassified": 8.0, "residential": 8.0, "living_street": 4.0, "service": 4.5,
}
_BIKE_MPS: Final = dict.fromkeys(_CAR_MPS, 5.5) | {"cycleway": 5.8, "path": 4.5, "service": 4.5, "pedestrian": 2.6}
_FOOT_MPS: Final = dict.fromkeys(_CAR_MPS, 1.35) | {
    "footway": 1.4, "pedestrian": 1.4, "path": 1.35, "cycleway": 1.35, "steps": 0.7, "corridor": 1.2, "crossing": 1.4,
}
# fmt: on
SPEEDS_MPS: Final[dict[Mode, dict[str, float]]] = {Mode.CAR: _CAR_MPS, Mode.BIKE: _BIKE_MPS, Mode.FOOT: _FOOT_MPS}
# The keys that may forbid a mode, the most specific last.
ACCESS_KEYS: Final[dict[Mode, tuple[str, ...]]] = {
    Mode.CAR: ("access", "vehicle", "motor_vehicle", "motorcar"),
    Mode.BIKE: ("access", "vehicle", "bicycle"),
    Mode.FOOT: ("access", "foot"),
}
FORBIDDEN: Final = frozenset({"no", "private", "use_sidepath"})
COVERS: Final = frozenset({"yes", "building_passage", "covered"})


@dataclass(frozen=True, slots=True)
class Arc:
    """One street from one node to the next, in the direction of travel."""

    length_m: float
    speed_mps: float
    covered: bool


Network = dict[int, dict[int, Arc]]


def speed_mps(mode: Mode, tags: Mapping[str, str]) -> float | None:
    """How fast this mode goes here; None where it may not."""
    highway = tags.get("highway", "")
    allowed = SPEEDS_MPS[mode].get(highway)
    verdicts = [tags[key] for key in ACCESS_KEYS[mode] if key in tags]
    if verdicts and verdicts[-1] in FORBIDDEN:
        return None
    if mode is Mode.BIKE and allowed is None and highway == "footway" and tags.get("bicycle") in ("yes", "designated"):
        allowed = 3.5
    if allowed is None or (mode is Mode.CAR and _below_ground(tags)):
        return None  # what is below ground for cars here are garages and their feeders
    limit = tags.get("maxspeed", "")
    return min(0.9 * int(limit) / 3.6, allowed) if limit.isdecimal() and mode is not Mode.FOOT else allowed


def directions(mode: Mode, tags: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether the way may be travelled along its nodes, and against them."""
    oneway = tags.get("oneway", "yes" if tags.get("junction") == "roundabout" else "no")
    if mode is Mode.FOOT or (mode is Mode.BIKE and _contraflow(tags)):
        return True, True
    return oneway != "-1", oneway not in ("yes", "1", "true")


def _contraflow(tags: Mapping[str, str]) -> bool:
    return tags.get("oneway:bicycle") == "no" or tags.get("cycleway", "").startswith("opposite")


def _below_ground(tags: Mapping[str, str]) -> bool:
    return tags.get("layer", "").startswith("-") and tags.get("highway") == "service"


def _covered(tags: Mapping[str, str]) -> bool:
    return tags.get("tunnel") in COVERS or tags.get("covered") == "yes" or tags.get("highway") == "corridor"


class Streets:
    """The nodes of all streets on one plane, and one network of arcs per mode."""

    def __init__(self, extract: Extract) -> None:
        used = sorted({node for run in extract.streets for node in run.nodes})
        lons, lats = zip(*(extract.nodes[node] for node in used), strict=True)
        self.plane = Plane(sum(lons) / len(lons), sum(lats) / len(lats))
        places = [self.plane.to_xy(lon, lat) for lon, lat in zip(lons, lats, strict=True)]
        self.xs = [x for x, _ in places]
        self.ys = [y for _, y in places]
        self._walls = shapely.STRtree(
            [shapely.LineString([self.plane.to_xy(*extract.nodes[node]) for node in wall]) for wall in extract.walls]
        )
        self.obstruction = self.obstruction_at(self.xs, self.ys)
        index = {node: i for i, node in enumerate(used)}
        self.signals = frozenset(index[node] for node in extract.signals if node in index)
        self.networks = {mode: largest_part(self._network(mode, extract.streets, index)) for mode in Mode}
        self.shops = {mode: self._snap(mode, extract.shops) for mode in Mode}
        self.doors = {mode: self._snap(mode, extract.doors) for mode in Mode}

    def obstruction_at(self, xs: list[float], ys: list[float]) -> list[float]:
        """For each place, 0 (nothing near) to 1 (at a wall)."""
        points = shapely.points(xs, ys)
        (found, _), distances = self._walls.query_nearest(
            points, max_distance=OPEN_SKY_FROM_M, return_distance=True, all_matches=False
        )
        near = np.zeros(len(points))
        near[found] = 1.0 - distances / OPEN_SKY_FROM_M
        return [float(value) for value in near]

    def route(self, mode: Mode, start: int, goal: int) -> list[int]:
        """The quickest way, as nodes: A* with the crow's flight at the mode's best speed as its bound."""
        network, xs, ys = self.networks[mode], self.xs, self.ys
        best_mps = max(SPEEDS_MPS[mode].values())
        goal_x, goal_y = xs[goal], ys[goal]
        cost_s = {start: 0.0}
        came_from: dict[int, int] = {}
        frontier = [(0.0, start)]
        done: set[int] = set()
        while frontier:
            _, node = heapq.heappop(frontier)
            if node == goal:
                return _unwind(came_from, goal)
            if node in done:
                continue
            done.add(node)
            for following, arc in network[node].items():
                candidate_s = cost_s[node] + arc.length_m / arc.speed_mps
                if candidate_s < cost_s.get(following, math.inf):
                    cost_s[following] = candidate_s
                    came_from[following] = node
                    bound_s = math.hypot(xs[following] - goal_x, ys[following] - goal_y) / best_mps
                    heapq.heappush(frontier, (candidate_s + bound_s, following))
        raise LookupError(f"no way for {mode} from node {start} to node {goal}")

    def _network(self, mode: Mode, runs: list[Run], index: Mapping[int, int]) -> Network:
        network: Network = {}
        for run in runs:
            speed = speed_mps(mode, run.tags)
            if speed is None:
                continue
            along, against = directions(mode, run.tags)
            nodes = [index[node] for node in run.nodes]
            for a, b in pairwise(nodes):
                length_m = math.hypot(self.xs[b] - self.xs[a], self.ys[b] - self.ys[a])
                arc = Arc(max(length_m, 0.01), speed, _covered(run.tags))
                for start, end in [(a, b)] * along + [(b, a)] * against:
                    network.setdefault(start, {})[end] = arc
                    network.setdefault(end, {})
        return network

    def _snap(self, mode: Mode, places: list[Place]) -> list[tuple[int, str]]:
        """Places with the street node where this mode stops for them; those too far off are left out."""
        nodes = sorted(self.networks[mode])
        tree = shapely.STRtree(shapely.points([self.xs[n] for n in nodes], [self.ys[n] for n in nodes]))
        points = shapely.points([self.plane.to_xy(place.lon, place.lat) for place in places])
        found, nearest = tree.query_nearest(points, max_distance=SNAP_M, all_matches=False)
        return [(nodes[n], places[p].name) for p, n in zip(found.tolist(), nearest.tolist(), strict=True)]


def _unwind(came_from: Mapping[int, int], goal: int) -> list[int]:
    path = [goal]
    while path[-1] in came_from:
        path.append(came_from[path[-1]])
    return path[::-1]


def largest_part(network: Network) -> Network:
    """The largest set of nodes that can all reach each other (Kosaraju's two walks), with the arcs among them."""
    backwards: dict[int, list[int]] = {node: [] for node in network}
    for node, arcs in network.items():
        for following in arcs:
            backwards[following].append(node)
    left: set[int] = set(network)
    largest: set[int] = set()
    for root in reversed(_finishing_order(network)):
        if root in left:
            part = set(_reach(root, backwards, left))
            largest = max(largest, part, key=len)
    return {
        node: {following: arc for following, arc in network[node].items() if following in largest}
        for node in sorted(largest)
    }


def _finishing_order(network: Network) -> list[int]:
    order: list[int] = []
    seen: set[int] = set()
    for root in network:
        stack = [(root, iter(network[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            node, followers = stack[-1]
            following = next((f for f in followers if f not in seen), None)
            if following is None:
                order.append(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(network[following])))
    return order


def _reach(root: int, backwards: Mapping[int, list[int]], left: set[int]) -> Iterator[int]:
    """Everything in `left` that leads to the root; taken out of `left`."""
    stack = [root]
    left.discard(root)
    while stack:
        node = stack.pop()
        yield node
        for before in backwards[node]:
            if before in left:
                left.discard(before)
                stack.append(before)
