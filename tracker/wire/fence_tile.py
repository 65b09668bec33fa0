"""Geofences as a tile shows them: outlines, and the names of those that are wide enough.

What is smaller than a pixel is a square of one, and any number of them costs what their pixels do.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from tracker import __version__
from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.geofence import Geofence
from tracker.domain.outline import Ring, few_pixels, outlines, specks, summit
from tracker.domain.shape import Corridor
from tracker.domain.tile import BUFFER, EXTENT, HALF_PIXEL, Tile
from tracker.errors import TooLarge
from tracker.wire import ids, mvt

MAX_GEOFENCES: Final = 20_000
FEW_PX: Final = 24  # what is no larger is outlined with others at once
NAMED_FROM_PX: Final = 36
PIXEL: Final = round(2 * HALF_PIXEL)  # in units


class Near(NamedTuple):
    """The geofences in force that are near a tile, in the order of their numbers.

    Args:
        boxes: (n, 4) west, south, east, north, those of a geofence one after the other.
        begin: where in them each geofence's begin.
    """

    fences: Sequence[Geofence]
    boxes: Floats
    begin: Ints

    def mark(self) -> str:
        """Changes with what the tile shows, and is known before it is drawn."""
        told = "\n".join(f"{fence.id} {fence.version} {fence.name}" for fence in self.fences)
        return hashlib.blake2b(f"{__version__}\n{told}".encode(), digest_size=12).hexdigest()


def encoded(tile: Tile, near: Near) -> bytes:
    """The layers `geofences` and `geofence_names`."""
    if not near.fences:
        return b""
    size = near.boxes[:, 2:] - near.boxes[:, :2]
    pixel_deg = 2 * np.array(tile.half_pixel_deg)
    tiny = np.logical_and.reduceat((size < pixel_deg).all(axis=1), near.begin)
    seen = np.flatnonzero(~tiny)
    if len(seen) > MAX_GEOFENCES:
        raise TooLarge(
            f"{len(seen):,} geofences would have to be outlined in this tile, over {MAX_GEOFENCES:,}:"
            " ask for a higher zoom."
        )
    layer, names = mvt.Layer("geofences", EXTENT), mvt.Layer("geofence_names", EXTENT)
    _add_tiny(layer, tile, near, tiny)
    wide = np.maximum.reduceat(size.max(axis=1), near.begin) >= NAMED_FROM_PX * pixel_deg[0]
    for nth, rings in zip(seen.tolist(), _rings(tile, near, seen), strict=True):
        fence = near.fences[nth]
        if rings:
            layer.add(mvt.POLYGON, rings, _about(fence))
        if rings and wide[nth] and fence.name:
            _add_name(names, tile, fence)
    return layer.encode() + names.encode()


def _about(fence: Geofence) -> dict[str, mvt.Value]:
    return {"id": ids.public_id(ids.GEOFENCE, fence.id), "name": fence.name, "version": fence.version}


def _add_tiny(layer: mvt.Layer, tile: Tile, near: Near, tiny: Mask) -> None:
    """Those smaller than a pixel; where they are too many, each pixel in which one lies is told once."""
    count = np.diff(near.begin, append=len(near.boxes))
    squares = specks(tile, near.boxes[np.repeat(tiny, count)])
    if np.count_nonzero(tiny) > MAX_GEOFENCES:
        pixels = np.unique(squares // PIXEL * PIXEL, axis=0)
        layer.add(mvt.POLYGON, list(pixels), {"geofences": int(np.count_nonzero(tiny))})
        return
    end = np.cumsum(count[tiny])
    for nth, last, own in zip(np.flatnonzero(tiny).tolist(), end.tolist(), count[tiny].tolist(), strict=True):
        layer.add(mvt.POLYGON, list(squares[last - own : last]), _about(near.fences[nth]))


def _rings(tile: Tile, near: Near, seen: Ints) -> list[list[Ring]]:
    """The outlines of some; of those that are small and whole in the tile, all at once."""
    west, south, east, north = tile.box(BUFFER)
    boxes = near.boxes[near.begin[seen]]
    whole = (boxes[:, :2] >= [west, south]).all(axis=1) & (boxes[:, 2:] <= [east, north]).all(axis=1)
    small = ((boxes[:, 2:] - boxes[:, :2]) <= FEW_PX * 2 * np.array(tile.half_pixel_deg)).all(axis=1)
    alone = np.diff(near.begin, append=len(near.boxes))[seen] == 1  # over ±180 it would have two boxes
    shapes = [near.fences[nth].shape for nth in seen.tolist()]
    at_once = whole & small & alone & np.array([not isinstance(shape, Corridor) for shape in shapes], np.bool_)
    found = iter(few_pixels(tile, [shapes[nth] for nth in np.flatnonzero(at_once).tolist()]))
    return [next(found) if easy else outlines(tile, shape) for easy, shape in zip(at_once, shapes, strict=True)]


def _add_name(names: mvt.Layer, tile: Tile, fence: Geofence) -> None:
    """At its summit, if that is in this tile."""
    x, y = (float(at[0]) for at in tile.places(*np.array([summit(fence.shape)]).T))
    if 0 <= x < EXTENT and 0 <= y < EXTENT:
        names.add(mvt.POINT, [np.array([[x, y]]).astype(np.int64)], _about(fence))
