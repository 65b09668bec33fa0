"""Polygons as the world writes them, made into ones that a geofence may have, and words for what was changed.

Only where it is asked for: otherwise no position of a shape is ever changed. What may mean two things is taken in the
small way, and said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.batch import Floats, Ints
from tracker.domain.chord import span_deg
from tracker.domain.ring import Polygonal, Position, Ring, check_count, fault, is_ambiguous, place_of
from tracker.errors import InvalidGeometry

MAX_CROSSINGS: Final = 10_000  # of edges: each would become a position
_MAX_NEIGHBOURS: Final = 2_000_000  # pairs of edges whose boxes meet: so the search for crossings ends within a second
_AT_ONCE: Final = 100
_FARTHEST_DEG: Final = 540.0  # once round more than the map
_SLIVER_DEG2: Final = 1e-14  # about a square centimetre
_MOST_NOTES: Final = 100
_COORDINATES: Final = "geometry.coordinates"


@dataclass(frozen=True, slots=True)
class Part:
    """The rings of one polygon, and where they stand in what was sent."""

    where: str
    rings: Sequence[Ring]


@dataclass(slots=True)
class Notes:
    """What was changed, one sentence each; of very many the number only."""

    texts: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, text: str) -> None:
        if len(self.texts) < _MOST_NOTES:
            self.texts.append(text)
        else:
            self.more += 1

    def all(self) -> list[str]:
        return [*self.texts, f"and {self.more:,} more"] if self.more else self.texts


def repaired(parts: Sequence[Part], notes: Notes) -> Polygonal:
    """A valid polygon or multipolygon that covers what the parts cover, its outer rings counterclockwise.

    Raises:
        InvalidGeometry: if nothing with an area is left, or it cannot be mended.
    """
    check_count(sum(len(ring) for part in parts for ring in part.rings), _COORDINATES)
    cleaned = [(part.where, _cleaned(part, notes)) for part in parts]
    _check_crossings([_unrolled(ring) for _, rings in cleaned for ring in rings])
    _note_winding([rings for _, rings in cleaned], notes)
    try:
        areas = [_area(where, rings, notes) for where, rings in cleaned if rings]
        shape = shapely.orient_polygons(_joined(_polygons(areas), notes))
        if any(
            is_ambiguous(shapely.get_coordinates(ring)).any() for ring in shapely.get_rings(shapely.get_parts(shape))
        ):
            shape = shapely.segmentize(shape, 180)  # the long way round, said so that it is understood
    except shapely.errors.GEOSException as error:
        raise InvalidGeometry("the geometry cannot be repaired; draw it anew", field=_COORDINATES) from error
    if shape.is_empty:
        raise InvalidGeometry("the geometry has no area, not even when repaired", field=_COORDINATES)
    wrong = fault(shape)
    if wrong is not None:
        raise InvalidGeometry(f"the geometry cannot be repaired: {wrong}; draw it anew", field=_COORDINATES)
    check_count(shapely.get_num_coordinates(shape), _COORDINATES)
    shapely.prepare(shape)
    return shape


def wrapped(position: Position, where: str, notes: Notes) -> list[float]:
    """The place of a position that may lie beyond ±180.

    Raises:
        InvalidGeometry
    """
    if len(position) < 2 or not (abs(position[0]) <= _FARTHEST_DEG and abs(position[1]) <= 90):
        raise InvalidGeometry(
            f"{where} is {place_of(position)}: lat must be within ±90 and lon a longitude, in this order", field=where
        )
    lon, lat = float(position[0]), float(position[1])
    if abs(lon) > 180:
        lon += -360 if lon > 0 else 360
        notes.add(f"{where}: {place_of(position)} wrapped to {place_of([lon, lat])}")
    return [lon, lat]


def _cleaned(part: Part, notes: Notes) -> list[Floats]:
    """The closed rings of a polygon, (n, 2) each, that may have an area; none without the outer one."""
    found = []
    for i, ring in enumerate(part.rings):
        where = f"{part.where}[{i}]"
        xy = _positions(ring, where, notes)
        if len(np.unique(xy, axis=0)) >= 3:
            found.append(xy)
            continue
        notes.add(f"{where} has no area: dropped{' with its holes' if i == 0 and len(part.rings) > 1 else ''}")
        if i == 0:
            return []
    return found


def _positions(ring: Ring, where: str, notes: Notes) -> Floats:
    """The positions of a ring, closed, none twice in a row."""
    for i, position in enumerate(ring):
        wrapped(position, f"{where}[{i}]", Notes())  # refuses what is no position; the ring is unrolled as a whole
    if any(len(position) > 2 for position in ring):
        notes.add(f"{where}: heights dropped, which geofences have as alt_min_m and alt_max_m")
    xy = np.array([position[:2] for position in ring], dtype=np.float64).reshape(-1, 2)
    again = np.flatnonzero((xy[1:] == xy[:-1]).all(axis=1)) + 1
    if len(again):
        notes.add(f"{where}: positions that repeat the one before dropped, {where}[{again[0]}] first of {len(again)}")
        xy = np.delete(xy, again, axis=0)
    if len(xy) and (xy[0] != xy[-1]).any():
        notes.add(f"{where} closed: its last position {place_of(xy[-1].tolist())} was not its first")
        xy = np.vstack([xy, xy[:1]])
    return xy


def _check_crossings(rings: Sequence[Floats]) -> None:
    """Mending costs as much as edges cross, which may be the square of their number: so far and no farther."""
    edges = np.concatenate([np.empty((0, 4)), *(np.hstack([xy[:-1], xy[1:]]) for xy in rings)])
    low, high = np.minimum(edges[:, :2], edges[:, 2:]), np.maximum(edges[:, :2], edges[:, 2:])
    boxes = shapely.box(*low.T, *high.T)
    tree, neighbours, crossings = shapely.STRtree(boxes), 0, 0
    for start in range(0, len(boxes), _AT_ONCE):
        a, b = tree.query(boxes[start : start + _AT_ONCE])
        a, b = a[a + start < b] + start, b[a + start < b]
        neighbours += len(a)
        crossings += _crossings(edges[a], edges[b])
        if crossings > MAX_CROSSINGS or neighbours > _MAX_NEIGHBOURS:
            raise InvalidGeometry(
                "the geometry cannot be repaired: its edges cross or near each other too often; draw it anew",
                field=_COORDINATES,
            )


def _crossings(a: Floats, b: Floats) -> int:
    """How many pairs of edges cross each other within both."""

    def side(edge: Floats, x: Floats, y: Floats) -> Floats:
        return np.sign((edge[:, 2] - edge[:, 0]) * (y - edge[:, 1]) - (edge[:, 3] - edge[:, 1]) * (x - edge[:, 0]))

    apart = side(a, b[:, 0], b[:, 1]) * side(a, b[:, 2], b[:, 3]) < 0
    return int((apart & (side(b, a[:, 0], a[:, 1]) * side(b, a[:, 2], a[:, 3]) < 0)).sum())


def _note_winding(polygons: Sequence[Sequence[Floats]], notes: Notes) -> None:
    wrong = total = 0
    for rings in polygons:
        for i, ring in enumerate(rings):
            x, y = (_unrolled(ring) - ring[0]).T
            total += 1
            wrong += (float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) > 0) != (i == 0)
    if wrong:
        notes.add(f"{wrong} of {total} rings turned: outer ones go counterclockwise, holes clockwise")


def _area(where: str, rings: list[Floats], notes: Notes) -> Polygonal:
    """What the outer ring holds and the others do not, valid and on the map."""
    if any(is_ambiguous(xy).any() or (np.abs(xy[:, 0]) > 180).any() for xy in rings):
        return _nested([_folded(xy, f"{where}[{i}]", notes) for i, xy in enumerate(rings)])
    shape = shapely.Polygon(rings[0], rings[1:])
    wrong = fault(shape)
    if wrong is None:
        return shape
    notes.add(f"{where} mended: {wrong}")
    return _nested([_valid(shapely.Polygon(xy)) for xy in rings])


def _valid(shape: Polygonal) -> Polygonal:
    return shapely.make_valid(shape, method="structure", keep_collapsed=False)


def _nested(areas: list[Polygonal]) -> Polygonal:
    """Every second one inside another is a hole, wherever in the list it stands; one that is outside is a part."""
    rings = np.array([area for area in areas if not area.is_empty], dtype=object)
    check_count(int(shapely.get_num_coordinates(rings).sum()), _COORDINATES)
    if areas[0].is_empty or len(rings) == 1:
        return areas[0]
    shape = shapely.Polygon()
    depth = _depths(rings)
    for level in range(int(depth.max()) + 1):
        combine = shapely.difference if level % 2 else shapely.union
        shape = combine(shape, shapely.union_all(rings[depth == level]))
    return shape


def _depths(rings: NDArray[np.object_]) -> Ints:
    """In how many others each ring lies for the most part."""
    size = shapely.area(rings)
    small, large = shapely.STRtree(rings).query(rings, predicate="intersects")
    nests = size[small] < size[large]
    small, large = small[nests], large[nests]
    if len(small) > MAX_CROSSINGS:
        raise InvalidGeometry("the geometry cannot be repaired: too many rings meet; draw it anew", field=_COORDINATES)
    shared = shapely.area(shapely.intersection(rings[small], rings[large]))
    return np.bincount(small[shared > size[small] / 2], minlength=len(rings))


def _folded(xy: Floats, where: str, notes: Notes) -> Polygonal:
    """The area of a ring that leaves the map or goes over its rim: unrolled, cut where the map ends, put back. What it
    covers twice it does not hold, so that a band may come back beside itself a turn farther on.
    """
    area = shapely.Polygon(_with_cuts(_around_pole(_unrolled(xy), where, notes)))
    if not shapely.is_valid(area):
        notes.add(f"{where} mended: it crosses or touches itself")
        area = shapely.make_valid(area)
    west, _, east, _ = area.bounds if not area.is_empty else (0, 0, 0, 0)
    turns = range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360)))
    if len(turns) > 1:
        notes.add(f"{where} cut at the antimeridian, each edge taken the short way round")
    elif turns != range(1):
        notes.add(f"{where}: longitudes beyond ±180 wrapped")
    found = shapely.Polygon()
    for turn in turns:
        piece = shapely.intersection(area, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        parts = _polygons([shapely.transform(piece, partial(_shifted, by=-360.0 * turn))])
        found = shapely.symmetric_difference(found, shapely.union_all(parts))
    return found


def _unrolled(xy: Floats) -> Floats:
    """Longitudes that go on beyond ±180, each edge the short way round unless it can mean one thing only."""
    lon, lat = xy.T
    step = np.where(is_ambiguous(xy), span_deg(lon[:-1] % 360, lon[1:] % 360), np.diff(lon))
    return np.column_stack([np.concatenate([lon[:1], lon[0] + np.cumsum(step)]), lat])


def _around_pole(xy: Floats, where: str, notes: Notes) -> Floats:
    """A ring that ends a turn farther on holds a pole: that on its smaller side, whichever way it is wound."""
    turns = round((xy[-1, 0] - xy[0, 0]) / 360)
    xy[-1, 0] = xy[0, 0] + 360 * turns
    if turns == 0:
        return xy
    if abs(turns) > 1:
        raise InvalidGeometry(f"{where} goes round a pole {abs(turns)} times", field=where)
    height = np.sin(np.radians((xy[1:, 1] + xy[:-1, 1]) / 2)) @ np.diff(xy[:, 0]) / turns
    pole = 90.0 if height >= 0 else -90.0
    notes.add(f"{where} goes round the {'north' if pole > 0 else 'south'} pole: taken to hold it")
    return np.vstack([xy, [xy[-1, 0], pole], [xy[0, 0], pole], xy[0]])


def _with_cuts(xy: Floats) -> Floats:
    """With a position wherever an edge goes over an end of the map, so that it is cut exactly there."""
    found = [xy[:1]]
    for (x0, y0), (x1, y1) in zip(xy[:-1].tolist(), xy[1:].tolist(), strict=True):
        west, east = min(x0, x1), max(x0, x1)
        ends = np.arange(np.floor((west + 180) / 360) + 1, np.ceil((east + 180) / 360)) * 360 - 180
        ends = ends if x0 < x1 else ends[::-1]
        found += [np.column_stack([ends, y0 + (ends - x0) / (x1 - x0) * (y1 - y0)])] if len(ends) else []
        found.append(np.array([[x1, y1]]))
    return np.concatenate(found)


def _shifted(at: Floats, *, by: float) -> Floats:
    return np.column_stack([np.clip(at[:, 0] + by, -180, 180), at[:, 1]])


def _polygons(areas: Sequence[shapely.Geometry]) -> list[shapely.Polygon]:
    """All that have an area; overlays leave lines and points, too, where areas touch."""
    parts = shapely.get_parts(shapely.get_parts(np.array(areas, dtype=object)))
    return [part for part in parts.tolist() if isinstance(part, shapely.Polygon) and not part.is_empty]


def _joined(polygons: list[shapely.Polygon], notes: Notes) -> Polygonal:
    """One shape of all parts, without the slivers that mending may leave."""
    kept = [part for part in polygons if part.area > _SLIVER_DEG2] or polygons
    if len(kept) < len(polygons):
        notes.add(f"{len(polygons) - len(kept)} parts of less than a square centimetre dropped")
    if len(kept) == 1:
        return kept[0]
    shape = shapely.MultiPolygon(kept)
    wrong = fault(shape)
    if wrong is None:
        return shape
    notes.add(f"parts that overlap, hold each other or share an edge united: {wrong}")
    return shapely.union_all(kept)
