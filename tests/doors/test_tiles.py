"""Tiles on a real database, read by the specification; what they show is compared with the fixes themselves."""

import gzip
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest
import pytest_asyncio
import shapely
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from tests import vector_tile
from tests.doors.conftest import Api, Told, application
from tests.doors.test_history import NOON, Fix, asset_of, filed, fix, journal, ms
from tests.vector_tile import Feature
from tracker.domain.fix import Flag
from tracker.domain.tile import CELLS, EXTENT, Tile
from tracker.doors import geofences, tiles
from tracker.store import tiles as reading
from tracker.store.database import Database
from tracker.store.sealer import seal
from tracker.wire import fence_tile

SPAN = f"&from={ms(-86_400)}&to={ms(172_800)}"
TILES = [Tile(0, 0, 0), Tile(7, 72, 37), Tile(12, 2331, 1185)]


@pytest_asyncio.fixture
async def api(store: Database) -> AsyncIterator[Api]:
    told = Told()
    app = application(store, told, [*tiles.routes(), *geofences.routes()])
    app[tiles.TILES] = tiles.Tiles()
    async with TestServer(app) as server, ClientSession() as http:
        yield Api(app, server, http, told)


async def features(api: Api, tile: Tile, query: str, layer: str | None = None) -> list[Feature]:
    """Those of the layer that is asked for, or of another one that comes with it."""
    layer = layer or query.partition("&")[0]
    response = await api.send("GET", f"/v1/tiles/{tile.z}/{tile.x}/{tile.y}.mvt?layer={query}")
    data = await response.read()
    assert response.status == 200, data
    assert response.content_type == "application/vnd.mapbox-vector-tile"
    layers = vector_tile.read(data)
    return layers[layer].features if layer in layers else []


def walk(count: int, since_s: float = 0, lon: float = 24.90, **more: Any) -> list[Fix]:
    """About 20 m every two seconds, with a rest in the middle."""
    turn = np.cumsum(np.sin(np.arange(count) / 40) / 9)
    moving = np.where(np.arange(count) // 200 == 2, 0, 1)
    east, north = np.cumsum(np.cos(turn) * moving) * 0.0004, np.cumsum(np.sin(turn) * moving) * 0.0002
    places = enumerate(zip(east.tolist(), north.tolist(), strict=True))
    return [fix(since_s + 2 * i, lon + x, 60.15 + y, **more) for i, (x, y) in places]


def cells(tile: Tile, fixes: Sequence[Fix]) -> Counter[tuple[int, int]]:
    """How many of them are in each cell, by their places in the tile."""
    places = np.array([(each["lon"] / 1e7, each["lat"] / 1e7) for each in fixes]).reshape(-1, 2).T
    x, y = tile.places(places[0], places[1])
    middle = EXTENT // CELLS
    found = zip(*((np.floor(at / middle) * middle + middle // 2).astype(int).tolist() for at in (x, y)), strict=True)
    return Counter(place for place in found if 0 <= place[0] < EXTENT and 0 <= place[1] < EXTENT)


def drawn(found: Sequence[Feature]) -> shapely.Geometry:
    lines = [shapely.LineString(part) for each in found if each.kind == 2 for part in each.parts]
    dots = [shapely.Point(each.parts[0][0]) for each in found if each.kind == 1]
    return shapely.union_all([*lines, *dots])


async def test_history_is_the_same_in_the_journal_in_pieces_sealed_and_with_what_comes_late(
    api: Api, connection: asyncpg.Connection, database: str
) -> None:
    bus, tram = await asset_of(api), await asset_of(api, "Tram")
    walks = {1: walk(900), 2: walk(500, 100, 24.95)}
    poor = [fix(500 + i, 24.7, 60.2, flags=int(Flag.POOR_ACCURACY)) for i in range(5)]
    late = fix(1, 24.9002, 60.1501)
    doubted = walks[1][700]
    await connection.execute(
        "INSERT INTO doubt (asset, time, lon, lat, flags) VALUES (1, $1, $2, $3, $4)",
        *(doubted[name] for name in ("time", "lon", "lat")), int(Flag.JUMP),
    )  # fmt: skip
    trusted = [*(each for each in walks[1] if each is not doubted), *walks[2]]
    for stage in ("journal", "pieces", "sealed", "late"):
        if stage == "journal":
            await journal(connection, 1, walks[1] + poor)
            await journal(connection, 2, walks[2])
        elif stage == "pieces":
            for asset in (1, 2):
                await filed(connection, asset, [fix(-80_000, 0, 0)])
            trusted += [fix(0, 0, 0)] * 2
        elif stage == "sealed":
            await seal(database, NOON.date() + timedelta(days=3), lambda _done, _of: None)
            assert await connection.fetchval("SELECT count(*) = 0 FROM piece")
        else:
            await journal(connection, 1, [late])
            trusted.append(late)
        for tile in TILES:
            seen = await features(api, tile, "density" + SPAN)
            counted = {each.parts[0][0]: each.properties["fixes"] for each in seen}
            assert counted == cells(tile, trusted), (stage, tile)
            everything = await features(api, tile, "density&quality=all" + SPAN)
            counted = {each.parts[0][0]: each.properties["fixes"] for each in everything}
            assert counted == cells(tile, [*trusted, *poor, doubted]), (stage, tile)
            for number, name in ((1, bus), (2, tram)):
                found = await features(api, tile, f"tracks&assets={name}{SPAN}")
                x, y = tile.places(*np.array([(f["lon"] / 1e7, f["lat"] / 1e7) for f in walks[number]]).T)
                way = shapely.clip_by_rect(shapely.LineString(np.column_stack([x, y])), 0, 0, EXTENT, EXTENT)
                points = shapely.points(shapely.get_coordinates(shapely.segmentize(way, 50)))
                assert (shapely.distance(drawn(found), points) < 9).all(), (stage, tile)
                assert {each.properties["name"] for each in found} == {"Bus 1" if number == 1 else "Tram"}


async def test_a_way_between_pieces_that_both_lie_elsewhere_is_drawn(api: Api, connection: asyncpg.Connection) -> None:
    await asset_of(api)
    await filed(connection, 1, [fix(0, 24.80), fix(1, 24.81)])
    await filed(connection, 1, [fix(600, 25.10), fix(601, 25.11)])
    await filed(connection, 1, [fix(1602, 24.80)])  # after a gap in which nobody knows where it was
    tile = Tile(12, 2331, 1185)
    [line] = await features(api, tile, "tracks" + SPAN)
    assert line.kind == 2
    assert [place[0] for place in line.parts[0]] == [-64, EXTENT + 64]
    assert line.properties == {
        "asset": "ast_1", "name": "Bus 1", "from": "2026-01-31T12:00:01.000Z", "to": "2026-01-31T12:10:00.000Z",
    }  # fmt: skip
    assert await features(api, tile, f"tracks&from={ms(0)}&to={ms(599)}") == []


async def test_where_too_many_fixes_would_be_read_small_stretches_are_drawn_through_their_middle(
    api: Api, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asset_of(api)
    fixes = walk(900)
    for first in range(0, 900, 60):
        await filed(connection, 1, fixes[first : first + 60])
    monkeypatch.setattr(reading, "MAX_FIXES", 100)
    tile = Tile(7, 72, 37)
    lines = await features(api, tile, "tracks" + SPAN)
    off = {each.properties["off_px"] for each in lines}
    assert off <= {4, 8, 16}
    x, y = tile.places(*np.array([(each["lon"] / 1e7, each["lat"] / 1e7) for each in fixes]).T)
    assert (shapely.distance(drawn(lines), shapely.points(x, y)) <= 8 * max(map(int, off))).all()
    cells_ = await features(api, tile, "density" + SPAN)
    assert sum(int(each.properties["fixes"]) for each in cells_) == 900


async def test_a_tile_that_would_be_too_much_says_what_to_do(
    api: Api, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asset_of(api)
    await filed(connection, 1, walk(300))
    path = "/v1/tiles/12/2331/1185.mvt?layer="
    for name, most in (("MAX_FIXES", 299), ("MAX_HEADS", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(reading, name, most)
            for layer in ("tracks", "density"):
                refused = await api.problem("GET", f"{path}{layer}{SPAN}", expect=413)
                assert "shorter time" in refused["detail"]
    monkeypatch.setattr(tiles, "MAX_POINTS", 3)
    assert "density" in (await api.problem("GET", f"{path}tracks{SPAN}", expect=413))["detail"]
    monkeypatch.setattr(reading, "PATIENCE_S", 0.001)
    async with connection.transaction():
        await connection.execute("LOCK TABLE piece IN ACCESS EXCLUSIVE MODE")
        assert "takes longer" in (await api.problem("GET", f"{path}density{SPAN}", expect=413))["detail"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("21/0/0.mvt?layer=tracks", "z"), ("3/8/0.mvt?layer=tracks", "x"), ("3/0/-1.mvt?layer=tracks", "y"),
        ("0/0/0.mvt", "layer"), ("0/0/0.mvt?layer=roads", "layer"), ("0/0/0.mvt?layer=geofences&from=1", "from"),
        ("0/0/0.mvt?layer=tracks&quality=best", "quality"), ("0/0/0.mvt?layer=tracks&assets=ast_9", "assets"),
        ("0/0/0.mvt?layer=density&assets=bus", "assets"), ("0/0/0.mvt?layer=tracks&from=5&to=4", "from"),
        ("0/0/0.mvt?layer=tracks&from=2020-01-01T00:00:00Z&to=2021-06-01T00:00:00Z", "from"),
    ],
)  # fmt: skip
async def test_a_mistake_is_named(api: Api, path: str, field: str) -> None:
    assert (await api.problem("GET", f"/v1/tiles/{path}", expect=422))["field"] == field


async def test_a_tile_is_kept_by_its_mark_and_packed_for_whoever_can_unpack(
    api: Api, connection: asyncpg.Connection
) -> None:
    await asset_of(api)
    await filed(connection, 1, walk(300))
    path = f"/v1/tiles/12/2331/1185.mvt?layer=tracks{SPAN}"
    plain = await api.send("GET", path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Cache-Control"] == "private, max-age=86400"
    async with ClientSession(auto_decompress=False) as http:
        headers = {"Authorization": f"Bearer {api.token}", "Accept-Encoding": "gzip"}
        async with http.get(api.origin + path, headers=headers) as packed:
            assert gzip.decompress(await packed.read()) == await plain.read()
        assert packed.headers["ETag"] == plain.headers["ETag"]
    again = await api.send("GET", path, headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    await journal(connection, 1, [fix(700, 24.95)])
    assert (await api.send("GET", path, headers={"If-None-Match": plain.headers["ETag"]})).status == 200
    today = await api.send("GET", "/v1/tiles/0/0/0.mvt?layer=tracks")
    assert (today.status, await today.read(), today.headers["Cache-Control"]) == (200, b"", "private, max-age=10")


async def test_geofences_are_shown_as_they_are_in_force(api: Api) -> None:
    depot = {"type": "Point", "coordinates": [179.99, 10]}
    feature = {"type": "Feature", "geometry": depot, "properties": {"name": "Hafen", "radius_m": 3000}}
    made = await api.call("POST", "/v1/geofences", feature, expect=201)
    for tile in (Tile(8, 255, 120), Tile(8, 0, 120)):
        [found] = await features(api, tile, "geofences")
        assert (found.kind, found.properties) == (3, {"id": made["id"], "name": "Hafen", "version": 1})
    assert await features(api, Tile(8, 128, 120), "geofences") == []
    [speck] = await features(api, Tile(0, 0, 0), "geofences")
    assert [len(part) for part in speck.parts] == [5, 5]  # at both ends of the world
    await api.call("PATCH", f"/v1/geofences/{made['id']}", {"properties": {"radius_m": 30_000}})
    [found] = await features(api, Tile(8, 255, 120), "geofences")
    assert found.properties["version"] == 2
    [name] = await features(api, Tile(8, 255, 120), "geofences", "geofence_names")
    assert (name.kind, name.properties) == (1, found.properties)
    top = max(place[1] for part in found.parts for place in part)
    [[(x, y)]] = name.parts
    assert y == pytest.approx(min(place[1] for part in found.parts for place in part), abs=2) != top
    assert x == pytest.approx(Tile(8, 255, 120).places(np.array([179.99]), np.array([10.0]))[0][0], abs=2)
    for tile in (Tile(8, 0, 120), Tile(3, 7, 3)):  # its top is in the other one, or it is too small for a name
        assert await features(api, tile, "geofences")
        assert await features(api, tile, "geofences", "geofence_names") == []
    await api.call("DELETE", f"/v1/geofences/{made['id']}", expect=204)
    assert await features(api, Tile(8, 255, 120), "geofences") == []


async def test_very_many_geofences_that_are_smaller_than_a_pixel_are_the_pixels_that_they_lie_in(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence_tile, "MAX_GEOFENCES", 2)
    places = [(lon, 10.0) for lon in (20.0, 20.01, 20.02, 80.0)]
    made = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": {"radius_m": 500}}
        for place in places
    ]
    await api.call("POST", "/v1/geofences", made, expect=201)
    [speck] = await features(api, Tile(0, 0, 0), "geofences")
    assert (speck.properties, len(speck.parts)) == ({"geofences": 4}, 2)
    [alone] = await features(api, Tile(5, 23, 15), "geofences")
    assert alone.properties["id"] == "gf_4"
    assert (await api.problem("GET", "/v1/tiles/9/284/241.mvt?layer=geofences", expect=413))["detail"] != ""
