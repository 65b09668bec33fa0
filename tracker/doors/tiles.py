"""`/v1/tiles/{z}/{x}/{y}.mvt`: geofences, tracks and density for maps, as vector tiles.

What a tile costs goes with what can be seen in it; what would be too much is refused with the remedy, never cut.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import numpy as np
from aiohttp import web

from tracker.access.roles import Role, require
from tracker.domain.batch import Ints
from tracker.domain.fleet import Fleet
from tracker.domain.stroke import Trace, strokes
from tracker.domain.tile import BUFFER, CELLS, EXTENT, Tile
from tracker.doors.history import span_of
from tracker.doors.keys import DATABASE, FLEET, WRITER
from tracker.doors.paging import number_of, only
from tracker.errors import InvalidField, TooLarge, TooManyRequests
from tracker.store import tiles
from tracker.store.sealer import first_open_day
from tracker.wire import ids, mvt
from tracker.wire.fence_tile import Near, encoded
from tracker.wire.times import rfc3339, to_ms

AT_ONCE: Final = 2
MAX_WAITING: Final = 200  # a few maps, each of which asks for a screen of tiles
MAX_NAMED: Final = 1_000
MAX_SPAN_MS: Final = 366 * 24 * 3_600_000
MAX_POINTS: Final = 500_000
GZIP_LEVEL: Final = 5
# Of a past span a tile is as good as final. Not for ever: a device may bring a fix of a day long past.
PAST: Final = "private, max-age=86400"
PRESENT: Final = "private, max-age=10"
GEOFENCES: Final = "private, no-cache"  # asked again each time, by its ETag
LAYERS: Final = ("tracks", "geofences", "density")


class Tiles:
    """How many tiles are made and how many wait. One per server."""

    def __init__(self) -> None:
        self.working = asyncio.Semaphore(AT_ONCE)
        self.drawing = asyncio.Lock()  # geofences, which need not wait for history
        self.asked = 0


TILES: Final = web.AppKey("tiles", Tiles)


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/tiles/{z}/{x}/{y}.mvt", tile, allow_head=False)]


@require(Role.VIEWER)
async def tile(request: web.Request) -> web.StreamResponse:
    """One layer of one tile."""
    wanted = Tile.of(*(request.match_info[name] for name in ("z", "x", "y")))
    layer = request.query.get("layer")
    turns = request.app[TILES]
    if layer == "geofences":
        only(request, "layer")
        near = _near(request, wanted)
        mark = await asyncio.to_thread(near.mark)
        return await _answer(
            request, GEOFENCES, turns.drawing, lambda: asyncio.to_thread(encoded, wanted, near), mark=mark
        )
    if layer not in LAYERS:
        raise InvalidField(f"layer must be one of {', '.join(LAYERS)}.", field="layer")
    only(request, "layer", "assets", "from", "to", "quality")
    asked = _asked(request)
    draw = _tracks if layer == "tracks" else _density
    return await _answer(request, _lifetime(asked), turns.working, lambda: draw(request, wanted, asked))


async def _answer(
    request: web.Request,
    lifetime: str,
    turn: asyncio.Semaphore | asyncio.Lock,
    make: Callable[[], Awaitable[bytes]],
    *,
    mark: str | None = None,
) -> web.StreamResponse:
    """A tile when its turn has come. Of whoever has left meanwhile, as maps do that move on, nothing is made.

    Args:
        mark: what it is known by, where that is known before it is made: then nothing is made of what the caller has.
    """
    turns, headers = request.app[TILES], {"Cache-Control": lifetime, "Vary": "Accept-Encoding"}
    if mark is not None and _has(request, headers, mark):
        return web.Response(status=304, headers=headers)
    if turns.asked >= MAX_WAITING:
        raise TooManyRequests(f"{MAX_WAITING} tiles wait to be made already; try again soon.")
    turns.asked += 1
    try:
        async with turn:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the caller has left")
            body = await make()
            if _has(request, headers, mark or hashlib.blake2b(body, digest_size=12).hexdigest()):
                return web.Response(status=304, headers=headers)
            if body and "gzip" in request.headers.get("Accept-Encoding", ""):
                body = await asyncio.to_thread(gzip.compress, body, GZIP_LEVEL, mtime=0)
                headers["Content-Encoding"] = "gzip"
    finally:
        turns.asked -= 1
    return web.Response(body=body, content_type=mvt.MEDIA_TYPE, headers=headers)


def _has(request: web.Request, headers: dict[str, str], mark: str) -> bool:
    """Whether the caller has what is known by this mark, which is told in the headers."""
    headers["ETag"] = f'W/"{mark}"'
    return headers["ETag"] in (each.strip() for each in request.headers.get("If-None-Match", "").split(","))


# Geofences -----------------------------------------------------------------------------------------------------------


def _near(request: web.Request, tile: Tile) -> Near:
    """Those in force."""
    index = request.app[WRITER].index
    owner, boxes = index.meeting([tile.box(BUFFER)])
    numbers, begin = np.unique(owner, return_index=True)
    return Near([index.fences[number] for number in numbers.tolist()], boxes, begin)


# History -------------------------------------------------------------------------------------------------------------


def _asked(request: web.Request) -> tiles.Asked:
    from_ms, to_ms_ = span_of(request)
    if to_ms_ - from_ms > MAX_SPAN_MS:
        raise InvalidField("from and to may be at most 366 days apart in a tile.", field="from")
    quality = request.query.get("quality") or "trusted"
    if quality not in ("all", "trusted"):
        raise InvalidField("quality must be all or trusted.", field="quality")
    fleet = request.app[FLEET]
    named = _named(request.query.get("assets"), fleet)
    shown = np.array(list(fleet.assets) if named is None else named, np.int64)
    return tiles.Asked(from_ms, to_ms_, named, shown, quality == "trusted")


def _named(text: str | None, fleet: Fleet) -> list[int] | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) > MAX_NAMED:
        raise InvalidField(f"assets may name at most {MAX_NAMED:,}; leave it out for all.", field="assets")
    numbers = [number_of(ids.ASSET, part, "assets") for part in parts]
    missing = next((number for number in numbers if number not in fleet.assets), None)
    if missing is not None:
        raise InvalidField(f"assets: there is no asset {ids.public_id(ids.ASSET, missing)}.", field="assets")
    return numbers


def _lifetime(asked: tiles.Asked) -> str:
    open_ms = to_ms(datetime.combine(first_open_day(datetime.now(UTC)), datetime.min.time(), UTC))
    return PAST if asked.to_ms < open_ms else PRESENT


async def _tracks(request: web.Request, tile: Tile, asked: tiles.Asked) -> bytes:
    trace, pixels = await tiles.trace(request.app[DATABASE], tile, asked)
    assets = request.app[FLEET].assets
    names = {number: assets[number].name for number in asked.shown.tolist() if number in assets}
    return await asyncio.to_thread(_drawn, tile, trace, names, pixels)


def _drawn(tile: Tile, trace: Trace, names: Mapping[int, str], pixels: float) -> bytes:
    found = strokes(tile, trace)
    points = sum(len(part) for stroke in found for part in stroke.parts)
    if points > MAX_POINTS:
        raise TooLarge(
            f"{points:,} points of tracks would be in this tile, over {MAX_POINTS:,}: ask for a shorter time,"
            " name fewer assets, or look at density."
        )
    layer = mvt.Layer("tracks", EXTENT)
    for stroke in found:
        properties: dict[str, mvt.Value] = {
            "asset": ids.public_id(ids.ASSET, stroke.asset),
            "name": names.get(stroke.asset, ""),
            "from": rfc3339(stroke.from_ms),
            "to": rfc3339(stroke.to_ms),
            **_off(pixels),
        }
        layer.add(mvt.POINT if stroke.still else mvt.LINE, stroke.parts, properties)
    return layer.encode()


async def _density(request: web.Request, tile: Tile, asked: tiles.Asked) -> bytes:
    cells, pixels = await tiles.density(request.app[DATABASE], tile, asked)
    return await asyncio.to_thread(_counted, cells, pixels)


def _off(pixels: float) -> dict[str, int]:
    """How far from the truth a tile may be that shows more history than is read for one; nothing for any other."""
    return {} if pixels == tiles.SIZES[0] else {"off_px": round(pixels)}


def _counted(cells: Ints, pixels: float) -> bytes:
    """A point in the middle of each cell in which fixes are."""
    layer, side = mvt.Layer("density", EXTENT), EXTENT // CELLS
    rows, columns = np.nonzero(cells)
    middles = np.stack([columns, rows], axis=1) * side + side // 2
    for middle, fixes in zip(middles[:, None], cells[rows, columns].tolist(), strict=True):
        layer.add(mvt.POINT, [middle], {"fixes": fixes, **_off(pixels)})
    return layer.encode()
