"""Tiles of a Web Mercator map: where each lies, and where places lie in it. Places beyond 85.05° lie in no tile."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from tracker.domain.batch import Floats, Ints
from tracker.domain.geodesy import Box
from tracker.errors import InvalidField

MAX_ZOOM: Final = 20
EXTENT: Final = 4096  # units along a side
PIXELS: Final = 512  # along a side, as maps show it
HALF_PIXEL: Final = EXTENT / PIXELS / 2  # in units
BUFFER: Final = 64  # units beyond each side, so that what is drawn in two tiles meets
CELLS: Final = 64  # along a side, of density
EQUATOR_M: Final = 40_075_016.686

_MOST_LAT_DEG: Final = 89.99  # the poles are infinitely far away


@dataclass(frozen=True, slots=True)
class Tile:
    """x counts from 180° west, y from 85.05° north; 2**z of each."""

    z: int
    x: int
    y: int

    @classmethod
    def of(cls, z: str, x: str, y: str) -> Self:
        """From the numbers of a path.

        Raises:
            InvalidField: one is no number, or there is no such tile.
        """
        zoom = _number("z", z, MAX_ZOOM)
        return cls(zoom, _number("x", x, 2**zoom - 1), _number("y", y, 2**zoom - 1))

    def box(self, buffer: float = 0) -> Box:
        """West, south, east, north in degrees; with units beyond each side it may reach beyond ±180."""
        sides, beyond = 2**self.z, buffer / EXTENT
        west, east = (360 * (self.x + at) / sides - 180 for at in (-beyond, 1 + beyond))
        north, south = (_lat_deg((self.y + at) / sides) for at in (-beyond, 1 + beyond))
        return west, south, east, north

    def places(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """X and y in units, from the north-west corner, of each place by its name nearest to the tile's middle."""
        middle = (self.x + 0.5) / 2**self.z
        turn = (lon / 360 + 0.5 - middle + 0.5) % 1 - 0.5
        return self.unwrapped(360 * (turn + middle - 0.5), lat)

    def unwrapped(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """The same for longitudes as they are, also beyond ±180."""
        sides = 2**self.z
        return ((lon / 360 + 0.5) * sides - self.x) * EXTENT, (_down(lat) * sides - self.y) * EXTENT

    def cells(self, lon: Ints, lat: Ints) -> tuple[Ints, Ints]:
        """Column and row of density, 0 to 63 in this tile, of places in 1e-7 degrees: each lies in one cell."""
        across = CELLS << self.z
        column = np.floor((lon / 3.6e9 + 0.5) * across).astype(np.int64) % across
        row = np.floor(_down(lat / 1e7) * across).astype(np.int64)
        return column - self.x * CELLS, row - self.y * CELLS

    @property
    def half_pixel_deg(self) -> tuple[float, float]:
        """Of longitude, and of latitude where that is least."""
        lon = 360 / 2**self.z / PIXELS / 2
        _, south, _, north = self.box(BUFFER)
        return lon, lon * float(np.cos(np.radians(min(max(abs(south), abs(north)), 86))))

    @property
    def half_pixel_m(self) -> float:
        """On the ground, where that is least."""
        return self.half_pixel_deg[1] / 360 * EQUATOR_M


def _number(name: str, text: str, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= most:
        return int(text)
    raise InvalidField(f"{name} must be a whole number from 0 to {most}.", field=name)


def _down(lat: Floats) -> Floats:
    """How far south of 85.05° north, as a part of the world's height."""
    sine = np.sin(np.radians(np.clip(lat, -_MOST_LAT_DEG, _MOST_LAT_DEG)))
    down: Floats = 0.5 - np.arctanh(sine) / (2 * np.pi)
    return down


def _lat_deg(down: float) -> float:
    return float(np.degrees(np.arcsin(np.tanh((0.5 - down) * 2 * np.pi))))
