"""Shapes as the reference of the geofence engine sees them: what they hold, how far their edge is, what chords meet.

Plain and slow: rational numbers for polygons, geodesics by PROJ for distances; nothing of the engine's geometry.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, pairwise
from math import hypot
from typing import Any, Final, Protocol

import pyproj
import shapely

from tracker.domain.shape import Circle, Corridor

WGS84: Final = pyproj.Geod(ellps="WGS84")
Degrees = float | Fraction
Place = tuple[Degrees, Degrees]  # lon, lat
Part = float | Fraction  # 0 … 1 of a chord
Stretch = tuple[Part, Part]  # of a chord, both ends included


@dataclass(frozen=True, slots=True)
class Chord:
    """The straight line in lon and lat between two places, the short way around. Parts of it are 0 … 1."""

    begin: tuple[Fraction, Fraction]
    end: tuple[Fraction, Fraction]  # its lon may be beyond ±180

    @classmethod
    def between(cls, a: Place, b: Place) -> "Chord":
        begin, (lon, lat) = (Fraction(a[0]), Fraction(a[1])), (Fraction(b[0]), Fraction(b[1]))
        if lon - begin[0] > 180:
            lon -= 360
        elif lon - begin[0] < -180:
            lon += 360
        return cls(begin, (lon, lat))

    def at(self, fraction: Part) -> tuple[Fraction, Fraction]:
        part = Fraction(fraction)
        (x1, y1), (x2, y2) = self.begin, self.end
        return x1 + part * (x2 - x1), y1 + part * (y2 - y1)

    def floating(self) -> Callable[[float], tuple[float, float]]:
        """The same as `at`, in floating numbers: exact at both ends."""
        (x1, y1), (x2, y2) = ((float(x), float(y)) for x, y in (self.begin, self.end))
        return lambda part: (x1 + part * (x2 - x1), y1 + part * (y2 - y1)) if part < 1 else (x2, y2)


class Area(Protocol):
    """What the reference asks of a shape. Longitudes may be beyond ±180."""

    def holds(self, place: Place) -> bool:
        """Whether it holds the place, its edge included."""
        ...

    def edge_m(self, place: Place) -> float:
        """How far away the nearest point of its edge is."""
        ...

    def stretches(self, chord: Chord) -> Sequence[Stretch]:
        """The parts of the chord that it holds, in order; a touch is a stretch of no length."""
        ...


class Polygons:
    """A polygon or multipolygon: even-odd ray casting in rational numbers, so that edges and corners are exact."""

    def __init__(self, shape: shapely.Polygon | shapely.MultiPolygon) -> None:
        polygons = shape.geoms if isinstance(shape, shapely.MultiPolygon) else [shape]
        self.parts = [
            [[(float(x), float(y)) for x, y in ring.coords] for ring in (part.exterior, *part.interiors)]
            for part in polygons
        ]
        self.box: tuple[float, float, float, float] = shape.bounds

    def holds(self, place: Place) -> bool:
        return any(self._hold(x, place[1]) for x in (place[0], place[0] - 360, place[0] + 360))

    def _hold(self, x: Degrees, y: Degrees) -> bool:
        west, south, east, north = self.box
        if not (west <= x <= east and south <= y <= north):
            return False
        return any(_in_rings(rings, x, y) for rings in self.parts)

    def edge_m(self, place: Place) -> float:
        return min(_to_edges_m(self._edges(), float(place[0]) + turn, float(place[1])) for turn in (-360, 0, 360))

    def stretches(self, chord: Chord) -> list[Stretch]:
        """Between two neighbouring points where the chord meets edges, all of it is inside or nothing."""
        (x1, _), (x2, _) = chord.begin, chord.end
        turns = [
            turn for turn in (-360, 0, 360) if min(x1, x2) + turn <= self.box[2] and max(x1, x2) + turn >= self.box[0]
        ]
        meetings = {Fraction(0), Fraction(1)}
        for turn in turns:
            meetings |= {at for edge in self._edges() for at in _meetings(chord, edge, turn)}
        stretches: list[Stretch] = []
        for at in sorted(meetings):
            if not self.holds(chord.at(at)):
                continue
            begun = stretches[-1] if stretches else None
            if begun and self._between_meetings(chord, begun[1], at, meetings):
                stretches[-1] = begun[0], at
            else:
                stretches.append((at, at))
        return stretches

    def _between_meetings(self, chord: Chord, a: Part, b: Part, meetings: set[Fraction]) -> bool:
        return not any(a < at < b for at in meetings) and self.holds(chord.at((Fraction(a) + Fraction(b)) / 2))

    def _edges(self) -> Iterator[tuple[Place, Place]]:
        return (edge for rings in self.parts for ring in rings for edge in pairwise(ring))


def _in_rings(rings: Sequence[Sequence[tuple[float, float]]], x: Degrees, y: Degrees) -> bool:
    inside = False
    for ring in rings:
        for (x1, y1), (x2, y2) in pairwise(ring):
            if not (min(y1, y2) <= y <= max(y1, y2)):
                continue
            side = _side(x1, y1, x2, y2, x, y)
            if side == 0 and min(x1, x2) <= x <= max(x1, x2):
                return True
            if (y1 > y) != (y2 > y) and (side > 0) == (y2 > y1):
                inside = not inside
    return inside


def _side(x1: float, y1: float, x2: float, y2: float, x: Degrees, y: Degrees) -> int:
    """On which side of the line a point lies, exactly: 1 left, -1 right, 0 on it."""
    ax, ay, px, py = Fraction(x1), Fraction(y1), Fraction(x), Fraction(y)
    cross = (Fraction(x2) - ax) * (py - ay) - (Fraction(y2) - ay) * (px - ax)
    return (cross > 0) - (cross < 0)


def _meetings(chord: Chord, edge: tuple[Place, Place], turn: int) -> list[Fraction]:
    """Where a chord, turned around the earth, meets an edge. Where it runs along one, the next edges say how far."""
    (px, py), (qx, qy) = chord.begin, chord.end
    (ax, ay), (bx, by) = ((Fraction(x) - turn, Fraction(y)) for x, y in edge)
    rx, ry, sx, sy = qx - px, qy - py, bx - ax, by - ay
    across = rx * sy - ry * sx
    if across == 0:
        return []
    on_chord = ((ax - px) * sy - (ay - py) * sx) / across
    on_edge = ((ax - px) * ry - (ay - py) * rx) / across
    return [on_chord] if 0 <= on_chord <= 1 and 0 <= on_edge <= 1 else []


def _to_edges_m(edges: Iterator[tuple[Place, Place]], x: float, y: float) -> float:
    """The geodesic distance to the nearest edge. A flat earth says which edges may be it, and where about."""
    east_m, north_m = distance_m((x, y), (x + 0.001, y)) * 1000, 111_000.0
    guesses = []
    for (ax, ay), (bx, by) in edges:
        px, py, qx, qy = (
            (float(ax) - x) * east_m,
            (float(ay) - y) * north_m,
            (float(bx) - x) * east_m,
            (float(by) - y) * north_m,
        )
        dx, dy = qx - px, qy - py
        part = min(1.0, max(0.0, -(px * dx + py * dy) / (dx * dx + dy * dy))) if dx or dy else 0.0
        guesses.append((hypot(px + part * dx, py + part * dy), part, (float(ax), float(ay)), (float(bx), float(by))))
    near = min(guess[0] for guess in guesses) * 1.1 + 1
    return min(_to_edge_m(part, a, b, (x, y)) for guess, part, a, b in guesses if guess <= near)


def _to_edge_m(guess: float, a: tuple[float, float], b: tuple[float, float], place: Place) -> float:
    def to(part: float) -> float:
        return distance_m(place, (a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])))

    return to(_lowest(to, guess, max(0.0, guess - 0.1), min(1.0, guess + 0.1)))


def _lowest(of: Callable[[float], float], guess: float, low: float, high: float) -> float:
    """Where a function with one hollow is lowest: by thirds. Never worse than the guess."""
    for _ in range(45):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if of(left) <= of(right):
            high = right
        else:
            low = left
    return min(guess, (low + high) / 2, key=of)


class Sampled:
    """Any shape that can say how far outside a place is (0 or less: not at all). Its stretches are found by looking."""

    def __init__(self, outside_m: Callable[[Place], float], looks: int = 32) -> None:
        self._outside_m, self._looks = outside_m, looks

    def outside_m(self, place: Place) -> float:
        return self._outside_m(_wrapped(place))

    def holds(self, place: Place) -> bool:
        return self.outside_m(place) <= 0

    def edge_m(self, place: Place) -> float:
        return abs(self.outside_m(place))

    def stretches(self, chord: Chord) -> list[Stretch]:
        """Looks are evenly spaced, and one more is where the shape comes nearest between them."""
        at = chord.floating()
        looks = self._looks_along(at)
        stretches: list[Stretch] = []
        for inside, group in groupby(range(len(looks)), key=lambda i: self.holds(at(looks[i]))):
            if inside:
                run = list(group)
                first, last = run[0], run[-1]
                begin = self._edge(at, looks[first], looks[first - 1]) if first else 0.0
                end = self._edge(at, looks[last], looks[last + 1]) if last + 1 < len(looks) else 1.0
                stretches.append((begin, end))
        return stretches

    def nearest_m(self, chord: Chord) -> float:
        """How far outside the chord stays; less than 0 if it goes in. Roughly, where that is far."""
        at = chord.floating()
        roughly = min(self.outside_m(at(i / self._looks)) for i in range(self._looks + 1))
        if roughly < 0 or roughly > distance_m(at(0), at(1)) / self._looks:
            return roughly
        return min(self.outside_m(at(look)) for look in self._looks_along(at))

    def _looks_along(self, at: Callable[[float], Place]) -> list[float]:
        def outside_m(part: float) -> float:
            return self.outside_m(at(part))

        n = self._looks
        looks = [i / n for i in range(n + 1)]
        far = [outside_m(part) for part in looks]
        for i in range(n + 1):
            left, right = max(i - 1, 0), min(i + 1, n)
            if 0 < far[i] == min(far[left : right + 1]):
                looks.append(_lowest(outside_m, i / n, left / n, right / n))
        return sorted(looks)

    def _edge(self, at: Callable[[float], Place], inside: float, outside: float) -> float:
        """The last part inside, on the way to one outside."""
        for _ in range(50):
            middle = (inside + outside) / 2
            if self.holds(at(middle)):
                inside = middle
            else:
                outside = middle
        return inside


def _wrapped(place: Place) -> Place:
    lon, lat = place
    return (lon - 360 if lon > 180 else lon + 360 if lon < -180 else lon), lat


def distance_m(a: Place, b: Place) -> float:
    return float(WGS84.inv(float(a[0]), float(a[1]), float(b[0]), float(b[1]))[2])


def round_area(circle: Circle) -> Sampled:
    return Sampled(lambda place: distance_m(place, (circle.lon, circle.lat)) - circle.radius_m)


def corridor_area(corridor: Corridor) -> Sampled:
    """Its edge is taken to be where the distance to the path is the buffer: within, where it meets itself, too near."""
    return Sampled(lambda place: min(_to_leg_m(*leg, place) for leg in pairwise(corridor.path)) - corridor.buffer_m)


def _to_leg_m(a: tuple[float, float], b: tuple[float, float], place: Place) -> float:
    """The distance to a geodesic."""
    azimuth, _, length_m = WGS84.inv(*a, *b)

    def to(part: float) -> float:
        lon, lat, _ = WGS84.fwd(*a, azimuth, part * length_m)
        return distance_m(place, (lon, lat))

    looks = [i / 16 for i in range(17)]
    near = min(looks, key=to)
    return to(_lowest(to, near, max(0.0, near - 1 / 16), min(1.0, near + 1 / 16)))


def plain_area(shape: Any) -> Area:
    """For shapes that geofences do not have yet give `events` a function of your own that ends in this."""
    if isinstance(shape, Corridor):
        return corridor_area(shape)
    return round_area(shape) if isinstance(shape, Circle) else Polygons(shape)


class Remembered:
    """An area that is asked the same often."""

    def __init__(self, area: Area) -> None:
        self.holds = lru_cache(None)(area.holds)
        self.edge_m = lru_cache(None)(area.edge_m)
        self.stretches = lru_cache(None)(area.stretches)
