"""History as tiles see it: where assets were, read as far as it can be seen and no further.

Rows that lie within half a pixel, or for density within one cell, are not opened. Journal, pieces and sealed days are
read at one moment.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import asyncpg
import numpy as np

from tracker.domain.batch import DEGREE, Ints, Mask
from tracker.domain.stroke import MAX_GAP_MS, Trace
from tracker.domain.tile import BUFFER, CELLS, PIXELS, Tile
from tracker.errors import StoreUnavailable, TooLarge
from tracker.store.copy import rows_of, time_ms_of, tuple_dtype
from tracker.store.database import Connection, Database
from tracker.store.rows import Fixes, copied
from tracker.store.sql import sql
from tracker.wire.times import to_datetime

PATIENCE_S: Final = 8  # of one statement
MAX_HEADS: Final = 500_000
MAX_FIXES: Final = 1_000_000
# How large, in pixels, what is not opened may be: more, only where otherwise more than MAX_FIXES would have to be read.
SIZES: Final = (0.5, 4.0, 8.0, 16.0, 32.0)
_LESS: Final = "ask for a shorter time, or name fewer assets"
_PIECE, _SEALED, _UNFILED = 0, 1, 2

Box = tuple[int, int, int, int]  # west, south, east, north in 1e-7 degrees
_WORLD: Final[Box] = (-180 * DEGREE, -90 * DEGREE, 180 * DEGREE, 90 * DEGREE)

_HEAD: Final = tuple_dtype(
    [
        ("kind", ">i2"),
        ("asset", ">i4"),
        *((name, ">i8") for name in ("t0", "t1")),
        *((name, ">i4") for name in ("n", "west", "south", "east", "north", "sure")),
    ]
)
_FIX: Final = tuple_dtype([("asset", ">i4"), ("time", ">i8"), ("lon", ">i4"), ("lat", ">i4"), ("flags", ">i2")])


@dataclass(frozen=True, slots=True)
class Asked:
    """A span of time, both ends of it included, and whose history. named: these assets and no others; None: all of
    `shown`, which are those that are there today.
    """

    from_ms: int
    to_ms: int
    named: Sequence[int] | None
    shown: Ints
    trusted: bool

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Of every query here."""
        return self.named, to_datetime(self.from_ms), to_datetime(self.to_ms)


@dataclass(frozen=True, slots=True)
class Heads:
    """Where stretches of fixes lie: columns (n,), sorted by asset and t0. Of the journal each fix is a stretch."""

    kind: Ints
    asset: Ints
    t0: Ints
    t1: Ints
    n: Ints
    west: Ints
    south: Ints
    east: Ints
    north: Ints
    sure: Mask  # none of its fixes has a flag

    def __len__(self) -> int:
        return len(self.asset)

    def take(self, rows: Any) -> "Heads":
        return Heads(**{name: getattr(self, name)[rows] for name in _HEAD_COLUMNS})


_HEAD_COLUMNS: Final = [each.name for each in fields(Heads)]


@dataclass(frozen=True, slots=True)
class _Doubts:
    """What neighbours say: columns (n,), sorted by asset and time."""

    asset: Ints
    time_ms: Ints
    lon: Ints
    lat: Ints
    flags: Ints


Places = tuple[Ints, Ints, Ints, Ints]  # asset, time_ms, lon, lat of fixes, in no order


@dataclass(frozen=True, slots=True)
class _Seen:
    """Which stretches are seen whole, of so many pixels at the most, and the fixes of those that were opened."""

    whole: Mask
    opened: Places
    pixels: float


# Which stretches are to be opened, and which are seen whole from outside, as they have no more than so many pixels.
Plan = Callable[[Heads, float], tuple[Mask, Mask]]


# What is asked -------------------------------------------------------------------------------------------------------


async def trace(database: Database, tile: Tile, asked: Asked) -> tuple[Trace, float]:
    """The tracks in a tile and a little beyond: all fixes of which more can be seen than so many pixels.

    Raises:
        TooLarge: it would be too much work.
    """
    heads, seen = await _read(database, asked, _WORLD, lambda heads, pixels: _tracks(tile, asked, heads, pixels))
    return await asyncio.to_thread(_trace, heads, seen), seen.pixels


async def density(database: Database, tile: Tile, asked: Asked) -> tuple[Ints, float]:
    """How many fixes lie in each cell of a tile: (64, 64), rows from the north; and within how many pixels of it.

    Raises:
        TooLarge: it would be too much work.
    """
    west, south, east, north = (round(side * DEGREE) for side in tile.box())
    # The antimeridian has two names, and both are in the first tile.
    box = (west - 1, south - 1, east + 1 if tile.x else _WORLD[2], north + 1)
    heads, seen = await _read(database, asked, box, lambda heads, pixels: _cells(tile, asked, heads, pixels))
    return await asyncio.to_thread(_counts, tile, heads, seen), seen.pixels


# Reading -------------------------------------------------------------------------------------------------------------


async def _read(database: Database, asked: Asked, box: Box, plan: Plan) -> tuple[Heads, _Seen]:
    """Where history lies, and what is seen of it."""
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute(sql("tile_patience"), str(PATIENCE_S * 1000))
        with _patience():
            filed = await copied(connection, "tile_heads", *asked.arguments, *box, MAX_HEADS + 1)
            unfiled = await copied(connection, "tile_journal", *asked.arguments, MAX_HEADS + 1)
            doubted = await copied(connection, "tile_doubts", *asked.arguments, MAX_HEADS + 1)
            heads, doubts = await asyncio.to_thread(_heads, asked, filed, unfiled, doubted)
            opens, whole, pixels = await asyncio.to_thread(_plan, plan, heads)
            data = await _fixes(connection, heads.take(opens))
    return heads, _Seen(whole, await asyncio.to_thread(_opened, asked, data, doubts), pixels)


@contextmanager
def _patience() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            raise TooLarge(f"This tile takes longer than {PATIENCE_S} s to find: {_LESS}.") from error
        raise


async def _fixes(connection: Connection, heads: Heads) -> bytes:
    keys: list[list[Any]] = []
    for kind in (_PIECE, _SEALED):
        asset, t0 = np.unique(np.stack([heads.asset, heads.t0])[:, heads.kind == kind], axis=1).tolist()
        keys += [asset, list(map(to_datetime, t0))]
    return await copied(connection, "tile_fixes", *keys)


def _heads(asked: Asked, filed: bytes, unfiled: bytes, doubted: bytes) -> tuple[Heads, _Doubts]:
    rows, loose, doubt = rows_of(filed, _HEAD), rows_of(unfiled, _FIX), rows_of(doubted, _FIX)
    if max(len(rows), len(loose), len(doubt)) > MAX_HEADS:
        raise TooLarge(f"More than {MAX_HEADS:,} stretches of history would have to be looked at: {_LESS}.")
    doubts = _Doubts(*_columns(doubt))
    asset, time_ms, lon, lat, flags = _columns(loose)
    counts = _shown(asked, asset) & ((not asked.trusted) | (flags | _doubted(doubts, asset, time_ms, lon, lat) == 0))
    asset, time_ms, lon, lat = (values[counts] for values in (asset, time_ms, lon, lat))
    ones = np.ones(len(asset), np.int64)
    own = Heads(_UNFILED * ones, asset, time_ms, time_ms, ones, lon, lat, lon, lat, ones > 0)
    found: dict[str, Any] = {name: rows[name].astype(np.int64) for name in _HEAD_COLUMNS}
    for name in ("t0", "t1"):
        found[name] = time_ms_of(rows[name])
    heads = Heads(**{name: np.concatenate([found[name], getattr(own, name)]) for name in _HEAD_COLUMNS})
    heads = heads.take(_shown(asked, heads.asset))
    heads = heads.take(np.lexsort((heads.kind, heads.t0, heads.asset)))
    sure = (heads.sure > 0) & (_between(doubts, heads) == 0) | (heads.kind == _UNFILED) | (not asked.trusted)
    return replace(heads, sure=sure), doubts


def _columns(rows: Any) -> tuple[Ints, ...]:
    """Asset, time, lon, lat, flags, sorted by asset and time."""
    time_ms = time_ms_of(rows["time"])
    order = np.lexsort((time_ms, rows["asset"]))
    columns = rows["asset"], time_ms, rows["lon"], rows["lat"], rows["flags"]
    return tuple(values[order].astype(np.int64) for values in columns)


def _shown(asked: Asked, asset: Ints) -> Mask:
    return np.isin(asset, asked.shown)


def _codes(assets: Ints, asset: Ints, time_ms: Ints) -> Ints:
    """Numbers in the order of asset and time; assets: all that may occur, sorted."""
    return (np.searchsorted(assets, asset) << 43) + time_ms + (1 << 42)


def _between(doubts: _Doubts, heads: Heads) -> Ints:
    """How many doubts lie in the time of each stretch."""
    assets = np.union1d(doubts.asset, heads.asset)
    known = _codes(assets, doubts.asset, doubts.time_ms)
    first = np.searchsorted(known, _codes(assets, heads.asset, heads.t0), "left")
    return np.searchsorted(known, _codes(assets, heads.asset, heads.t1), "right") - first


def _doubted(doubts: _Doubts, asset: Ints, time_ms: Ints, lon: Ints, lat: Ints) -> Ints:
    """The flags that neighbours give to fixes; doubts are few."""
    flags = np.zeros(len(asset), np.int64)
    columns = doubts.asset, doubts.time_ms, doubts.lon, doubts.lat
    known = dict(zip(zip(*(each.tolist() for each in columns), strict=True), doubts.flags.tolist(), strict=True))
    rows = np.flatnonzero(np.isin(time_ms, doubts.time_ms))
    keys = zip(*(values[rows].tolist() for values in (asset, time_ms, lon, lat)), strict=True)
    flags[rows] = [known.get(key, 0) for key in keys]
    return flags


def _plan(plan: Plan, heads: Heads) -> tuple[Mask, Mask, float]:
    """Which stretches are opened, which are seen whole, and how many pixels those have at the most."""
    fixes = 0
    for pixels in SIZES:
        opens, whole = _of_one_key(heads, *plan(heads, pixels))
        fixes = int(heads.n[opens].sum())
        if fixes <= MAX_FIXES:
            return opens, whole, pixels
    raise TooLarge(f"{fixes:,} fixes would have to be read for this tile, over {MAX_FIXES:,}: {_LESS}.")


def _of_one_key(heads: Heads, opens: Mask, whole: Mask) -> tuple[Mask, Mask]:
    """Rows are found by asset and t0. The few that share them are opened if one of them is."""
    keys = np.stack([heads.kind, heads.asset, heads.t0])
    again = np.flatnonzero(np.append(False, (np.diff(keys, axis=1) == 0).all(axis=0)) & (heads.kind != _UNFILED))
    for row in again.tolist():
        same = (keys == keys[:, row : row + 1]).all(axis=0)
        opens[same] |= opens[same].any()
    return opens, whole & ~opens


def _opened(asked: Asked, data: bytes, doubts: _Doubts) -> Places:
    fixes = Fixes(data)
    time_ms, flags = fixes.column("time"), fixes.column("flags")
    rows = np.flatnonzero((time_ms >= asked.from_ms) & (time_ms <= asked.to_ms) & ((not asked.trusted) | (flags == 0)))
    places = tuple(values[rows] for values in (fixes.owner, time_ms, fixes.column("lon"), fixes.column("lat")))
    asset, time_ms, lon, lat = places
    if asked.trusted and len(doubts.asset):
        kept = _doubted(doubts, asset, time_ms, lon, lat) == 0
        return asset[kept], time_ms[kept], lon[kept], lat[kept]
    return asset, time_ms, lon, lat


def _within(asked: Asked, heads: Heads) -> Mask:
    return (heads.t0 >= asked.from_ms) & (heads.t1 <= asked.to_ms)


# Tracks --------------------------------------------------------------------------------------------------------------


def _groups(heads: Heads) -> tuple[Ints, Ints]:
    """Stretches of an asset that overlap in time are one group: which one each is of, and where groups begin."""
    assets = np.unique(heads.asset)
    begin = _codes(assets, heads.asset, heads.t0)
    end = np.maximum.accumulate(_codes(assets, heads.asset, heads.t1))
    first = np.ones(len(heads), np.bool_)
    first[1:] = begin[1:] > end[:-1]
    return np.cumsum(first) - 1, np.flatnonzero(first)


def _tracks(tile: Tile, asked: Asked, heads: Heads, pixels: float) -> tuple[Mask, Mask]:
    """Stretches that meet the tile, or from which the way to the next one may pass through it."""
    if not len(heads):
        return heads.sure, heads.sure.copy()
    group, begin = _groups(heads)
    least = [np.minimum.reduceat(values, begin) for values in (heads.west, heads.south, heads.t0)]
    most = [np.maximum.reduceat(values, begin) for values in (heads.east, heads.north, heads.t1)]
    near = _meets(tile, least[0], least[1], most[0], most[1])
    linked = (heads.asset[begin][1:] == heads.asset[begin][:-1]) & (least[2][1:] - most[2][:-1] <= MAX_GAP_MS)
    low = [np.minimum(values[1:], values[:-1]) for values in least[:2]]
    high = [np.maximum(values[1:], values[:-1]) for values in most[:2]]
    linked &= _meets(tile, low[0], low[1], high[0], high[1])
    near[1:] |= linked
    near[:-1] |= linked
    wide, tall = (DEGREE * 2 * pixels * half_pixel for half_pixel in tile.half_pixel_deg)
    small = (heads.east - heads.west <= wide) & (heads.north - heads.south <= tall)
    whole = near[group] & small & heads.sure & _within(asked, heads)
    return near[group] & ~whole, whole


def _meets(tile: Tile, west: Ints, south: Ints, east: Ints, north: Ints) -> Mask:
    """Whether boxes meet the tile or its surroundings; one over half the world may be a way round its other side."""
    tile_west, tile_south, tile_east, tile_north = (side * DEGREE for side in tile.box(BUFFER))
    across = east - west > 180 * DEGREE
    for turn in (-360 * DEGREE, 0, 360 * DEGREE):
        across |= (west + turn <= tile_east) & (east + turn >= tile_west)
    meets: Mask = across & (south <= tile_north) & (north >= tile_south)
    return meets


def _trace(heads: Heads, seen: _Seen) -> Trace:
    """All in event order. What is seen from outside is in its middle, from when it begins until it ends."""
    _, begin = _groups(heads)
    small = heads.take(seen.whole)
    lon, lat = (small.west + small.east) // 2, (small.south + small.north) // 2
    first, last = (small.asset, small.t0, lon, lat), (small.asset, small.t1, lon, lat)
    lasts = small.t1 > small.t0
    columns = first, tuple(values[lasts] for values in last), seen.opened
    asset, time_ms, lon, lat = (np.concatenate(values) for values in zip(*columns, strict=True))
    assets = np.unique(heads.asset)
    codes = _codes(assets, asset, time_ms)
    order = np.argsort(codes, kind="stable")
    if not np.diff(codes[order]).all():  # which is seldom, and takes five times as long
        order = np.lexsort((lat, lon, codes))
    asset, time_ms, lon, lat = (values[order] for values in (asset, time_ms, lon, lat))
    starts = _codes(assets, heads.asset[begin], heads.t0[begin])
    stretch = np.searchsorted(starts, codes[order], "right") - 1
    return Trace(asset, time_ms, lon, lat, np.diff(stretch, prepend=0) > 1)


# Density -------------------------------------------------------------------------------------------------------------


def _cells(tile: Tile, asked: Asked, heads: Heads, pixels: float) -> tuple[Mask, Mask]:
    """Stretches in the tile; those in one cell, or in cells of so many pixels, are not opened."""
    west, north = tile.cells(heads.west, heads.north)
    east, south = tile.cells(heads.east, heads.south)
    narrow = heads.east - heads.west < 180 * DEGREE
    meets = (north < CELLS) & (south >= 0) & ~(narrow & (west <= east) & ((west >= CELLS) | (east < 0)))
    cells = pixels * CELLS / PIXELS if pixels > SIZES[0] else 0
    whole = (
        meets
        & narrow
        & (east - west <= cells)
        & (west <= east)
        & (south - north <= cells)
        & heads.sure
        & _within(asked, heads)
    )
    return meets & ~whole, whole


def _counts(tile: Tile, heads: Heads, seen: _Seen) -> Ints:
    small, opened = heads.take(seen.whole), seen.opened
    lon, lat = (small.west + small.east) // 2, (small.south + small.north) // 2
    column, row = tile.cells(np.concatenate([lon, opened[2]]), np.concatenate([lat, opened[3]]))
    count = np.concatenate([small.n, np.ones(len(opened[0]), np.int64)])
    inside = (column >= 0) & (column < CELLS) & (row >= 0) & (row < CELLS)
    cells = np.zeros((CELLS, CELLS), np.int64)
    np.add.at(cells, (row[inside], column[inside]), count[inside])
    return cells
