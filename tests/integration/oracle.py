"""What must happen, computed as plainly as can be and by nothing that the server uses.

Polygons by even-odd ray casting in integers, so that the edge is exact; circles by Vincenty's inverse formula on WGS84.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

Point = tuple[int, int]  # lon, lat in 1e-7 degrees
Ring = Sequence[Point]
UNIT: Final = 10_000_000

_A: Final = 6_378_137.0
_F: Final = 1 / 298.257223563
_B: Final = _A * (1 - _F)


@dataclass(frozen=True)
class Area:
    """Rings of all parts and holes: even-odd makes no difference between them."""

    name: str
    rings: Sequence[Ring]
    parts: Sequence[Sequence[int]]  # indexes of rings, by polygon: the outer one first
    trusted_only: bool

    @cached_property
    def _box(self) -> tuple[int, int, int, int]:
        xs, ys = [x for ring in self.rings for x, _ in ring], [y for ring in self.rings for _, y in ring]
        return min(xs), min(ys), max(xs), max(ys)

    def holds(self, point: Point) -> bool:
        west, south, east, north = self._box
        if not (west <= point[0] <= east and south <= point[1] <= north):
            return False
        inside = False
        for ring in self.rings:
            for (ax, ay), (bx, by) in pairwise(ring):
                if _on_segment(point, ax, ay, bx, by):
                    return True
                if (ay > point[1]) != (by > point[1]):
                    # Which side of the edge, without a division.
                    side = (bx - ax) * (point[1] - ay) - (point[0] - ax) * (by - ay)
                    inside ^= (side > 0) == (by > ay)
        return inside

    def geometry(self) -> dict[str, Any]:
        polygons = [[[[x / UNIT, y / UNIT] for x, y in self.rings[i]] for i in part] for part in self.parts]
        if len(polygons) == 1:
            return {"type": "Polygon", "coordinates": polygons[0]}
        return {"type": "MultiPolygon", "coordinates": polygons}


@dataclass(frozen=True)
class Round:
    """A circle."""

    name: str
    centre: Point
    radius_m: float
    trusted_only: bool

    def holds(self, point: Point) -> bool:
        return distance_m(self.centre, point) <= self.radius_m

    def geometry(self) -> dict[str, Any]:
        return {"type": "Point", "coordinates": [self.centre[0] / UNIT, self.centre[1] / UNIT]}


Fence = Area | Round


@dataclass(frozen=True, slots=True)
class Step:
    """One fix of a walk; a doubted one has an accuracy that nobody trusts."""

    time_ms: int
    place: Point
    doubted: bool

    def fix(self) -> dict[str, Any]:
        more = {"accuracy_m": 5_000} if self.doubted else {}
        return {"lon": self.place[0] / UNIT, "lat": self.place[1] / UNIT, "time": self.time_ms, **more}


@dataclass(frozen=True, slots=True, order=True)
class Expected:
    """An event; exits sort before enters of the same fix."""

    time_ms: int
    kind: str  # 0 exit, 1 enter, 1 initial
    fence: str


EXIT, ENTER, INITIAL = "0 exit", "1 enter", "1 initial"


def events_of(walk: Sequence[Step], fences: Sequence[Fence]) -> list[Expected]:
    """The events of one asset whose fences were all there before its first fix."""
    return sorted(event for fence in fences for event in _crossings(walk, fence))


def _crossings(walk: Sequence[Step], fence: Fence) -> Iterator[Expected]:
    was_inside: bool | None = None
    for step in walk:
        if step.doubted and fence.trusted_only:
            continue
        inside = fence.holds(step.place)
        if inside and not was_inside:
            yield Expected(step.time_ms, INITIAL if was_inside is None else ENTER, fence.name)
        elif was_inside and not inside:
            yield Expected(step.time_ms, EXIT, fence.name)
        was_inside = inside


def _on_segment(point: Point, ax: int, ay: int, bx: int, by: int) -> bool:
    x, y = point
    within = min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by)
    return within and (bx - ax) * (y - ay) == (by - ay) * (x - ax)


def distance_m(a: Point, b: Point) -> float:
    """T. Vincenty, Survey Review XXIII (1975); good to a tenth of a millimetre, and never used near antipodes here."""
    if a == b:
        return 0.0
    lon = math.radians((b[0] - a[0]) / UNIT)
    u1, u2 = (math.atan((1 - _F) * math.tan(math.radians(p[1] / UNIT))) for p in (a, b))
    s1, c1, s2, c2 = math.sin(u1), math.cos(u1), math.sin(u2), math.cos(u2)
    lam = lon
    while True:
        sin_s = math.hypot(c2 * math.sin(lam), c1 * s2 - s1 * c2 * math.cos(lam))
        cos_s = s1 * s2 + c1 * c2 * math.cos(lam)
        sigma = math.atan2(sin_s, cos_s)
        sin_a = c1 * c2 * math.sin(lam) / sin_s
        cos2_a = 1 - sin_a**2
        cos_2m = cos_s - 2 * s1 * s2 / cos2_a if cos2_a else 0.0
        c = _F / 16 * cos2_a * (4 + _F * (4 - 3 * cos2_a))
        before, lam = lam, lon + (1 - c) * _F * sin_a * (sigma + c * sin_s * (cos_2m + c * cos_s * (2 * cos_2m**2 - 1)))
        if abs(lam - before) < 1e-13:
            break
    uu = cos2_a * (_A**2 - _B**2) / _B**2
    big_a = 1 + uu / 16384 * (4096 + uu * (-768 + uu * (320 - 175 * uu)))
    big_b = uu / 1024 * (256 + uu * (-128 + uu * (74 - 47 * uu)))
    turn = cos_s * (2 * cos_2m**2 - 1) - big_b / 6 * cos_2m * (4 * sin_s**2 - 3) * (4 * cos_2m**2 - 3)
    return _B * big_a * (sigma - big_b * sin_s * (cos_2m + big_b / 4 * turn))
