"""Rings of GeoJSON as a geofence may have them: their positions, their ends, and edges that mean one thing only."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import shapely

from tracker.domain.batch import Floats, Mask
from tracker.errors import InvalidGeometry

MAX_VERTICES: Final = 10_000
Position: TypeAlias = Sequence[float]
Ring: TypeAlias = Sequence[Position]
Polygonal: TypeAlias = shapely.Polygon | shapely.MultiPolygon


def place_of(position: Position) -> str:
    """As people write it, to a micrometre."""
    return f"[{', '.join(f'{number:.12g}' for number in position[:2])}]"


def check_count(positions: int, where: str) -> None:
    """Not more than a geofence may have.

    Raises:
        InvalidGeometry
    """
    if positions > MAX_VERTICES:
        raise InvalidGeometry(
            f"the geometry has {positions:,} positions; at most {MAX_VERTICES:,} are accepted", field=where
        )


def check_position(position: Position, where: str) -> None:
    """Two to four numbers, of which the first two are a place on the map.

    Raises:
        InvalidGeometry
    """
    if not 2 <= len(position) <= 4:
        raise InvalidGeometry(f"{where} must be [lon, lat]", field=where)
    lon, lat = position[0], position[1]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise InvalidGeometry(
            f"{where} is {place_of(position)}: lon must be within ±180 and lat within ±90, in this order", field=where
        )


def checked(ring: Ring, where: str) -> Floats:
    """The (n, 2) positions of a ring that is closed, on the map, and goes one way only.

    Raises:
        InvalidGeometry: with the place of the fault.
    """
    if len(ring) < 4:
        raise InvalidGeometry(
            f"{where} has {len(ring)} positions; a ring needs at least 4, the last equal to the first", field=where
        )
    for i, position in enumerate(ring):
        check_position(position, f"{where}[{i}]")
    if list(ring[0][:2]) != list(ring[-1][:2]):
        raise InvalidGeometry(f"{where} is not closed: its last position must equal its first", field=where)
    xy = np.array([position[:2] for position in ring], dtype=np.float64)
    unclear = np.flatnonzero(is_ambiguous(xy))
    if len(unclear):
        at = f"{where}[{unclear[0] + 1}]"
        raise InvalidGeometry(
            f"{at} is {place_of(xy[unclear[0] + 1].tolist())}, over 180° of longitude from the position before: the"
            " short way over the antimeridian must be cut at ±180, for the long way add a position in between",
            field=at,
        )
    return xy


def is_ambiguous(xy: Floats) -> Mask:
    """Which edges may go either way round: those over 180° of longitude, unless once round or along a pole."""
    east, north = np.abs(np.diff(xy[:, 0])), xy[:, 1]
    along_pole = (np.abs(north[1:]) == 90) & (north[1:] == north[:-1])
    return np.asarray((east > 180) & (east != 360) & ~along_pole, dtype=np.bool_)


def fault(shape: Polygonal) -> str | None:
    """What is wrong with a shape and where, None if nothing is."""
    if shapely.is_valid(shape):
        return None
    what, _, place = shapely.is_valid_reason(shape).partition("[")  # "Self-intersection[13.4 52.5]"
    return f"{what.lower()} at [{', '.join(place.rstrip(']').split())}]" if place else str(what.lower())
