"""Trams on the tracks of their real lines, there and back, with a halt at every stop.

The extract holds only the middle of each line; where it ends the tram waits a moment and comes back on the other track.
"""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from random import Random
from typing import Final

from tracker.fleet.extract import Extract, TramRoute
from tracker.fleet.mover import Truth
from tracker.fleet.profile import Limits
from tracker.fleet.ride import Line, Ride
from tracker.fleet.streets import Streets

LIMITS: Final = Limits(9.5, 0.8, 0.9, sideways_mps2=0.9, corner_m=12.0, slowest_mps=2.5)
PLATFORM_M: Final = 8.0  # a stop belongs to the track whose right-hand side it stands on, this near
STOP_S: Final = 22.0
TURN_S: Final = 75.0
CROSSOVER_M: Final = 120.0  # the ends of the two directions lie this near each other, or the line is not used
SHORTEST_M: Final = 600.0
TURN_MPS: Final = 2.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Direction:
    """One way along a line: the ride, and what is called out when."""

    towards: str
    ride: Ride


class Tram:
    """A mover on one line's two directions, `shift_s` later than the timetable's zero."""

    def __init__(self, streets: Streets, line: str, directions: tuple[Direction, ...], shift_s: float) -> None:
        self.line = line
        self._streets = streets
        self._directions = directions
        self._shift_s = shift_s
        self._round_s = sum(direction.ride.duration_s + TURN_S for direction in directions)

    def at(self, time_s: float) -> Truth:
        since_s = (time_s - self._shift_s) % self._round_s
        for direction in self._directions:
            if since_s < direction.ride.duration_s + TURN_S:
                break
            since_s -= direction.ride.duration_s + TURN_S
        spot = direction.ride.at(since_s)
        lon, lat = self._streets.plane.to_lonlat(spot.x, spot.y)
        attributes: dict[str, object] = {"line": self.line, "towards": direction.towards}
        return Truth(lon, lat, spot.speed_mps, spot.course_deg, None, spot.obstruction, spot.covered, attributes)


def tram_lines(extract: Extract, streets: Streets) -> dict[str, tuple[Direction, Direction]]:
    """Every line whose two directions the extract holds in one piece each, and which can turn where they end."""
    tracks: dict[str, list[tuple[TramRoute, list[Point]]]] = {}
    for route in extract.routes:
        track = _track(extract, streets, route)
        if track:
            tracks.setdefault(route.line, []).append((route, track))
    stops = [streets.plane.to_xy(stop.lon, stop.lat) for stop in extract.tram_stops]
    lines: dict[str, tuple[Direction, Direction]] = {}
    for line, found in sorted(tracks.items()):
        if len(found) == 2:
            (out, there), (back, home) = found
            if math.dist(there[-1], home[0]) < CROSSOVER_M and math.dist(home[-1], there[0]) < CROSSOVER_M:
                lines[line] = (
                    Direction(out.towards, _ride(streets, there, home[0], stops)),
                    Direction(back.towards, _ride(streets, home, there[0], stops)),
                )
    return lines


def trams(extract: Extract, streets: Streets, count: int, seed: str) -> list[Tram]:
    """So many trams, dealt out over the lines; those of one line keep an even distance."""
    lines = tram_lines(extract, streets)
    dealt = Counter(islice(cycle(lines), count))
    fleet: list[Tram] = []
    for line, directions in lines.items():
        round_s = sum(direction.ride.duration_s + TURN_S for direction in directions)
        first_s = Random(f"{seed}/{line}").uniform(0.0, round_s)
        fleet.extend(Tram(streets, line, directions, first_s + round_s * n / dealt[line]) for n in range(dealt[line]))
    return fleet


def _track(extract: Extract, streets: Streets, route: TramRoute) -> list[Point] | None:
    """The route's vertices on the plane; None if the ways do not join, or hardly begin."""
    nodes: list[int] = []
    for way in route.ways:
        run = extract.tracks[way].nodes
        if nodes and nodes[-1] != run[0]:
            return None
        nodes.extend(run[1:] if nodes else run)
    track = [streets.plane.to_xy(*extract.nodes[node]) for node in nodes]
    return track if sum(math.dist(a, b) for a, b in pairwise(track)) >= SHORTEST_M else None


def _ride(streets: Streets, track: list[Point], crossover: Point, stops: list[Point]) -> Ride:
    """Along the track with its halts, then across to where the other direction begins."""
    vertices, halts = _with_halts(track, stops)
    vertices.append(crossover)
    xs, ys = [x for x, _ in vertices], [y for _, y in vertices]
    stretches = len(vertices) - 1
    speeds = [LIMITS.cruise_mps] * (stretches - 1) + [TURN_MPS]
    line = Line(xs, ys, streets.obstruction_at(xs, ys), speeds, [False] * stretches)
    return Ride(line, halts, LIMITS)


def _with_halts(track: list[Point], stops: list[Point]) -> tuple[list[Point], dict[int, float]]:
    """The track with a vertex where the tram stands beside each of its stops, and the seconds that it stands there."""
    vertices = [track[0]]
    halts: dict[int, float] = {}
    for a, b in pairwise(track):
        beside = [share for stop in stops if (share := _share_beside(a, b, stop)) is not None]
        for share in sorted(beside):
            vertices.append((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])))
            halts[len(vertices) - 1] = STOP_S
        vertices.append(b)
    return vertices, halts


def _share_beside(a: Point, b: Point, stop: Point) -> float | None:
    """How far along the stretch the stop stands on its right, near enough to board; None if it does not."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length_m = math.hypot(dx, dy)
    sx, sy = stop[0] - a[0], stop[1] - a[1]
    share = (sx * dx + sy * dy) / max(length_m, 0.01) ** 2
    right_m = (sx * dy - sy * dx) / max(length_m, 0.01)
    return share if 0.0 <= share < 1.0 and 0.0 <= right_m <= PLATFORM_M else None
