"""The outline of a geofence as a tile shows it: polygons in the tile's units, whatever the shape is.

Polygons are straight in lon/lat, circles and corridors geodesic; what is cut at ±180 is made one again before it is cut
at the tile.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.batch import Floats
from tracker.domain.geodesy import WGS84, Box, distances_m
from tracker.domain.path import Legs
from tracker.domain.ring import Polygonal
from tracker.domain.shape import Circle, Corridor, Shape
from tracker.domain.tile import BUFFER, EXTENT, HALF_PIXEL, Tile

Ring = NDArray[np.int64]

_MEAN_RADIUS_M: Final = 6_371_009.0
_CORNERS: Final = (16, 512)  # of a circle, by how many pixels it has
_TURNS: Final = (-360.0, 0.0, 360.0)


def outlines(tile: Tile, shape: Shape) -> list[Ring]:
    """Rings in units, each exterior before its holes: exteriors clockwise as they are seen, holes the other way."""
    parts = [part for whole in _in_degrees(tile, shape) for part in _within(whole, tile.box(BUFFER))]
    if not parts:
        return []
    seen = shapely.segmentize(parts[0] if len(parts) == 1 else shapely.union_all(parts), _longest_deg(tile))
    placed = shapely.transform(seen, lambda at: np.column_stack(tile.unwrapped(at[:, 0], at[:, 1])))
    whole_numbers = shapely.set_precision(shapely.make_valid(placed), 1.0)
    polygons = [part for part in shapely.get_parts([whole_numbers]) if isinstance(part, shapely.Polygon)]
    return [ring for polygon in polygons if not polygon.is_empty for ring in _rings(polygon)]


def specks(tile: Tile, boxes: Floats) -> NDArray[np.int64]:
    """Squares of a pixel (n, 4, 2) in the middle of boxes (n, 4), for what is too small to be seen."""
    west, south, east, north = boxes.T
    # Each box met the tile's surroundings, so that none sticks out by more than a pixel.
    corner = np.rint(np.stack(tile.places((west + east) / 2, (south + north) / 2), axis=1) - HALF_PIXEL)
    side = round(2 * HALF_PIXEL)
    return corner.astype(np.int64)[:, None] + np.array([[0, 0], [side, 0], [side, side], [0, side]], np.int64)


def few_pixels(tile: Tile, shapes: Sequence[Polygonal | Circle]) -> list[list[Ring]]:
    """The same as outlines of each, for many that are small and lie in the tile as a whole, none of them over ±180."""
    circles = [nth for nth, shape in enumerate(shapes) if isinstance(shape, Circle)]
    lon, lat, radius_m = (
        np.array([(c.lon, c.lat, c.radius_m) for c in shapes if isinstance(c, Circle)]).reshape(-1, 3).T
    )
    azimuth = np.tile(np.arange(_CORNERS[0]) * 360 / _CORNERS[0], len(circles))
    each = np.repeat(np.stack([lon, lat, radius_m]), _CORNERS[0], axis=1)
    around_lon, around_lat, _ = WGS84.fwd(each[0], each[1], azimuth, each[2])
    places = np.rint(np.column_stack(tile.unwrapped(around_lon, around_lat))).astype(np.int64)
    found: list[list[Ring]] = [[] for _ in shapes]
    for nth, ring in zip(circles, places.reshape(-1, _CORNERS[0], 2), strict=True):
        found[nth].append(ring)
    areas = [nth for nth, shape in enumerate(shapes) if not isinstance(shape, Circle)]
    for nth, ring in _small_rings(tile, [shapes[nth] for nth in areas]):
        found[areas[nth]].append(ring)
    return found


def _small_rings(tile: Tile, shapes: Sequence[Polygonal]) -> Iterator[tuple[int, Ring]]:
    """Whose each is, and the ring, as it is but for rounding."""
    parts, owner = shapely.get_parts(shapes, return_index=True)  # copies, as below
    rings, part = shapely.get_rings(shapely.orient_polygons(parts, exterior_cw=True), return_index=True)
    at, ring = shapely.get_coordinates(rings, return_index=True)
    places = np.rint(np.column_stack(tile.unwrapped(at[:, 0], at[:, 1]))).astype(np.int64)
    again = (np.diff(places, axis=0, prepend=places[:1] - 1) == 0).all(axis=1) & (np.diff(ring, prepend=-1) == 0)
    places, ring = places[~again], ring[~again]
    size = np.bincount(ring, minlength=len(rings))
    end = np.cumsum(size)
    for nth, first, last in zip(owner[part].tolist(), (end - size).tolist(), end.tolist(), strict=True):
        if last - first > 3:  # the last place is the first one again
            yield nth, places[first : last - 1]


def summit(shape: Shape) -> tuple[float, float]:
    """Lon and lat of a northernmost place, of its largest part: where its name covers little of what goes on inside."""
    if isinstance(shape, Circle):
        lon, lat, _ = WGS84.fwd(shape.lon, shape.lat, 0, shape.radius_m)
        return (float(lon), float(lat)) if lat > shape.lat else (shape.lon, 90.0)  # beyond the pole it goes south again
    if isinstance(shape, Corridor):
        lon, lat = max(shape.path, key=lambda place: place[1])
        return lon, min(90.0, lat + math.degrees(shape.buffer_m / _MEAN_RADIUS_M))
    largest = max(shapely.get_parts([shape]), key=shapely.area)  # copies, as below
    places = shapely.get_coordinates(largest)
    lon, lat = places[places[:, 1].argmax()].tolist()
    return lon, lat


def _within(shape: Polygonal, box: Box) -> Iterator[Polygonal]:
    """What of it is in a box, by each name that its longitudes have."""
    west, south, east, north = shapely.bounds(shape).tolist()
    for turn in _TURNS:
        if west + turn <= box[2] and east + turn >= box[0] and south <= box[3] and north >= box[1]:
            yield shapely.intersection(_turned(shape, turn), shapely.box(*box))


def _turned(shape: Polygonal, turn: float) -> Polygonal:
    return shapely.transform(shape, lambda at: at + np.array([turn, 0.0])) if turn else shape


def _longest_deg(tile: Tile) -> float:
    """How long an edge may be to look straight: on the map a straight line in lon/lat is a curve."""
    _, south, _, north = tile.box(BUFFER)
    lat = np.radians(min(max(abs(south), abs(north)), 85))
    bend = np.sin(lat) / np.cos(lat) ** 2  # of the map's y over latitude
    half_pixel = 2 * np.pi / 2**tile.z * HALF_PIXEL / EXTENT
    return float(np.degrees(np.sqrt(8 * half_pixel / max(bend, 1e-3))))


def _rings(polygon: shapely.Polygon) -> list[Ring]:
    oriented = shapely.orient_polygons(polygon)  # exteriors counter-clockwise where y grows upwards: here it grows down
    rings = [oriented.exterior, *oriented.interiors]
    return [np.rint(shapely.get_coordinates(ring)).astype(np.int64)[:-1] for ring in rings]


# Shapes in degrees, whose longitudes may reach beyond ±180 -----------------------------------------------------------


def _in_degrees(tile: Tile, shape: Shape) -> Sequence[Polygonal]:
    if isinstance(shape, Circle):
        return _discs(np.array([shape.lon]), np.array([shape.lat]), shape.radius_m, tile.half_pixel_m)
    if isinstance(shape, Corridor):
        return _capsules(tile, shape)
    # Parts are copies, so this may run in a thread: the geofence's own polygon is asked by the index meanwhile, and two
    # threads must not ask one (see backtest.copied).
    return list(shapely.get_parts([shape]))


def _discs(lon: Floats, lat: Floats, radius_m: float, off_m: float) -> list[Polygonal]:
    """Every place within radius_m of each centre; a circle over a pole reaches all around."""
    corners = int(np.clip(np.pi * np.sqrt(radius_m / (2 * off_m)), *_CORNERS))
    count = len(lon)
    azimuth = np.tile(np.arange(corners) * 360 / corners, count)
    around_lon, around_lat, _ = WGS84.fwd(
        np.repeat(lon, corners), np.repeat(lat, corners), azimuth, np.full(corners * count, radius_m)
    )
    pole = np.where(lat >= 0, 90.0, -90.0)
    polar = distances_m(lon, lat, lon, pole) <= radius_m
    found: list[Polygonal] = []
    for nth in range(count):
        of_one = slice(nth * corners, (nth + 1) * corners)
        ring_lon, ring_lat = around_lon[of_one], around_lat[of_one]
        if polar[nth]:
            found.append(_cap(ring_lon, ring_lat, pole[nth]))
        else:
            turned = (ring_lon - lon[nth] + 180) % 360 - 180 + lon[nth]
            found.append(shapely.Polygon(np.column_stack([turned, ring_lat])))
    return found


def _cap(lon: Floats, lat: Floats, pole: float) -> shapely.Polygon:
    """What lies between a line all around and a pole."""
    order = np.argsort(lon)
    lon, lat = lon[order], lat[order]
    seam = np.interp(180.0, [lon[-1], lon[0] + 360], [lat[-1], lat[0]])
    ring = np.column_stack([[-180, *lon, 180, 180, -180], [seam, *lat, seam, pole, pole]])
    return shapely.Polygon(ring)


def _capsules(tile: Tile, shape: Corridor) -> list[Polygonal]:
    """The surroundings of those pieces of its path that are near: hulls of the circles around their ends."""
    legs = Legs([(shape.path, shape.buffer_m)])
    west, south, east, north = tile.box(BUFFER)
    turn = np.array(_TURNS)
    nobody = np.zeros(len(turn), np.int64)
    _, piece = legs.near(nobody, west + turn, np.full(3, south), east + turn, np.full(3, north))
    found: list[Polygonal] = []
    for nth in np.unique(piece).tolist():
        length_m = float(legs.length_m[nth])
        steps = max(1, int(np.ceil(length_m / np.sqrt(_MEAN_RADIUS_M * tile.half_pixel_m))))
        along_m = np.linspace(0, length_m, steps + 1)
        same = np.full(steps + 1, 1.0)
        lon, lat, _ = WGS84.fwd(legs.lon[nth] * same, legs.lat[nth] * same, legs.azimuth[nth] * same, along_m)
        discs = _discs((lon - lon[0] + 180) % 360 - 180 + lon[0], lat, shape.buffer_m, tile.half_pixel_m)
        bounds = shapely.bounds(discs)
        if np.ptp(bounds[:, ::2], axis=1).max() >= 360:  # over a pole a hull would be no corridor
            found += discs
        else:
            found += [shapely.convex_hull(shapely.GeometryCollection(pair)) for pair in pairwise(discs)]
    return found
