"""Real areas and other projects' test cases, from the folder that TRACKER_TEST_DATA names: what we say, beside them."""

import gzip
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import shapely

from tracker.domain.batch import Floats, Mask
from tracker.domain.geodesy import distances_m
from tracker.domain.shape import Shape, Shapes, holds, polygon
from tracker.errors import InvalidGeometry
from tracker.wire.geometry import Geometry, asked_shape_of

AREAS = {  # how many features there are, and how many are refused
    "austin_neighborhoods": (70, 0),
    "marine_areas_110m": (31, 0),
    "nyc_taxi_zones": (263, 1),
    "sf_geofences": (533, 3),
    "switzerland_areas": (197, 0),
    "ugly_real": (215, 128),
    "world_countries_110m": (177, 1),
    "world_states_50m": (100, 1),
}


@dataclass
class NoSizes:
    radius_m: float | None = None
    buffer_m: float | None = None


def features(test_data: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(test_data / "polygons" / f"{name}.geojson.gz", "rt", encoding="utf-8") as file:
        return list(json.load(file)["features"])


def cases(test_data: Path, name: str) -> list[dict[str, Any]]:
    text = (test_data / "reference" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def read(geometry: dict[str, Any], *, repair: bool) -> tuple[Shape, list[str]]:
    return asked_shape_of(msgspec.convert(geometry, Geometry), NoSizes(), repair=repair)


def rings_of(geometry: dict[str, Any]) -> list[Floats]:
    if geometry["type"] == "GeometryCollection":
        return [ring for each in geometry["geometries"] for ring in rings_of(each)]
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    closed = ([*ring, ring[0]] for rings in parts for ring in rings)
    return [np.array([at[:2] for at in ring], dtype=np.float64) for ring in closed]


def crossed_oddly(rings: list[Floats], x: Floats, y: Floats) -> Mask:
    """Even-odd ray casting: which points have an odd number of edges to their right."""
    odd = np.zeros(len(x), dtype=np.bool_)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True):
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd


def points_around(rings: list[Floats], count: int = 500) -> tuple[Floats, Floats]:
    every = np.concatenate(rings)
    (west, south), (east, north) = every.min(axis=0), every.max(axis=0)
    drawn = np.random.default_rng(7)
    return drawn.uniform(west, east, count), drawn.uniform(south, north, count)


@pytest.mark.parametrize("name", AREAS)
def test_real_areas_hold_what_ray_casting_says_and_the_rest_is_repaired(name: str, test_data: Path) -> None:
    every, refused = features(test_data, name), 0
    for feature in every:
        rings = rings_of(feature["geometry"])
        lon, lat = points_around(rings)
        mended, notes = read(feature["geometry"], repair=True)
        ours = holds(mended, lon, lat)
        shape = unrepaired(feature["geometry"])
        if shape is None:
            refused += 1
        else:
            assert (ours == holds(shape, lon, lat)).all(), feature["id"]
        if not any("nested shells" in note for note in notes):  # parts in parts are united, not holes
            assert (ours == crossed_oddly(rings, lon, lat)).all(), feature["id"]
    assert (len(every), refused) == AREAS[name]


def unrepaired(geometry: dict[str, Any]) -> Shape | None:
    """The shape as it is, None if it is refused in favour of a repair."""
    try:
        return read(geometry, repair=False)[0]
    except InvalidGeometry as error:
        if error.message.endswith("; with ?repair=true it would be accepted"):
            return None
        raise


def test_the_ends_of_the_world_are_in_the_shapes_that_go_over_them(test_data: Path) -> None:
    countries = {each["properties"]["name"]: each["geometry"] for each in features(test_data, "world_countries_110m")}
    seas = {each["properties"]["name"]: each["geometry"] for each in features(test_data, "marine_areas_110m")}
    for geometry, lat in ((countries["Russia"], 68.0), (countries["Fiji"], -16.4), (seas["SOUTHERN OCEAN"], -65.0)):
        shape, _ = read(geometry, repair=False)
        at = np.full(4, lat)
        lon = np.array([180.0, -180.0, 179.99, -179.99])
        assert holds(shape, lon, at).tolist() == [True] * 4
    antarctica, _ = read(countries["Antarctica"], repair=False)
    lon = np.array([-180.0, -90.0, 0.0, 123.0, 180.0])
    assert holds(antarctica, lon, np.full(5, -90.0)).all()
    assert holds(antarctica, lon, np.full(5, -85.0)).all()
    assert not holds(antarctica, lon, np.full(5, -60.0)).any()


def test_a_point_is_in_a_polygon_or_on_its_edge_where_turf_says_so(test_data: Path) -> None:
    every, overlapping = cases(test_data, "turf_point_in_polygon"), 0
    for case in every:
        lon, lat = (np.array([value]) for value in np.array(case["point"], dtype=np.float64) / 2)
        geometry = shapely.geometry.mapping(
            shapely.affinity.scale(shapely.geometry.shape(case["polygon"]), 0.5, 0.5, origin=(0, 0))
        )
        shape, notes = read(msgspec.to_builtins(geometry), repair=True)
        overlapping += any("nested shells" in note for note in notes)
        assert bool(holds(shape, lon, lat)[0]) is (case["expected"] != "outside"), case
    assert (len(every), overlapping) == (46, 1)  # a part within another is accepted only repaired


def test_distances_are_those_of_karney(test_data: Path) -> None:
    every = cases(test_data, "geodesic_wgs84")
    lon1, lat1, lon2, lat2, metres = (
        np.array([case[key] for case in every]) for key in ("lon1", "lat1", "lon2", "lat2", "s12_m")
    )
    assert np.abs(distances_m(lon1, lat1, lon2, lat2) - metres).max() < 1e-7
    assert len(every) == 100


# For what share of the earth the other answer differs, at most. It cuts where great circles go, we where straight edges
# do.
ANTIMERIDIAN = {
    "both-poles": 1.0,  # wound clockwise, it is taken for all the rest of the earth there; no winding tells us anything
    "extra-crossing": 0.0001,
    "force-north-pole": 0.001,  # covers itself at the pole: united there, even-odd here
    "issues-164": 0.001,
    "issues-171": 0.0002,
    "issues-201": 0.0,
    "latitude-band": 0.0,
    "multi-no-antimeridian": 0.0,
    "north-pole": 0.01,
    "over-180": 0.0002,
    "overlap": 0.002,  # covers itself
    "point-on-antimeridian": 0.0,
    "simple": 0.0,
    "split": 0.0002,
}


def test_what_goes_over_the_antimeridian_or_a_pole_holds_what_another_project_makes_of_it(test_data: Path) -> None:
    drawn_from, count = np.random.default_rng(3), 100_000
    lon, lat = drawn_from.uniform(-180, 180, count), np.degrees(np.arcsin(drawn_from.uniform(-1, 1, count)))
    compared = 0
    for case in cases(test_data, "antimeridian_fix"):
        name, theirs = case["name"], case.get(f"{case['name']}.json")
        if name in ANTIMERIDIAN:
            shape, _ = read(case["input"], repair=True)
            other = shapely.make_valid(shapely.geometry.shape(theirs))
            differ = float((holds(shape, lon, lat) != shapely.intersects_xy(other, lon, lat)).mean())
            assert differ <= ANTIMERIDIAN[name], (name, differ)
            compared += 1
    assert compared == len(ANTIMERIDIAN)


def on_the_map(*texts: str | None) -> list[shapely.Geometry]:
    """Geometries of the plane made so small, by a power of two and thus exactly, that they lie on the map."""
    with np.errstate(invalid="ignore"):  # some of these have no numbers for coordinates
        some = [shapely.from_wkt(text) for text in texts if text]
    largest = np.nanmax(np.abs(shapely.get_coordinates(some)), initial=1.0)
    scale = 2.0 ** -math.ceil(math.log2(largest / 64)) if 64 < largest < 1e300 else 1.0
    return [shapely.transform(each, lambda at: at * scale) for each in some]


def drawn(area: shapely.Geometry) -> Shape | None:
    """As a geofence, None if it is refused."""
    try:
        return polygon(
            [
                [shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(part)]
                for part in shapely.get_parts(area)
            ]
        )
    except InvalidGeometry:
        return None


def test_shapes_are_valid_where_jts_says_so(test_data: Path) -> None:
    told: Counter[tuple[str, bool]] = Counter()
    for case in cases(test_data, "jts_predicates"):
        if case["op"] == "isValid" and case["a"].startswith(("POLYGON", "MULTIPOLYGON")):
            told[case["expected"], drawn(*on_the_map(case["a"])) is not None] += 1
    assert told == {("true", True): 23, ("false", False): 42, ("true", False): 3}  # these have empty rings or parts


def met(area: Shape, other: shapely.Geometry) -> list[bool]:
    """Whether each point, or each edge, touches the area."""
    shapes = Shapes([area])
    coords, line = shapely.get_coordinates(shapely.get_parts(other), return_index=True)
    if other.geom_type.endswith("Point"):
        return list(shapes.hold(np.zeros(len(coords), np.int64), *coords.T).tolist())
    edges = np.flatnonzero(line[1:] == line[:-1])
    ends = np.hstack([coords[edges], coords[edges + 1]]).T
    return [not math.isnan(each) for each in shapes.touched_at(np.zeros(len(edges), np.int64), *ends)]


def test_points_and_chords_meet_areas_where_jts_says_so(test_data: Path) -> None:
    asked: Counter[str] = Counter()
    for case in cases(test_data, "jts_predicates"):
        if case["op"] not in ("intersects", "covers", "coveredBy", "disjoint"):
            continue
        a, b = on_the_map(case["a"], case["b"])
        area, other = (a, b) if a.geom_type.endswith("Polygon") else (b, a)
        shape = drawn(area) if area.geom_type.endswith("Polygon") else None
        if (
            shape is None
            or other.is_empty
            or other.geom_type not in ("Point", "MultiPoint", "LineString", "MultiLineString")
        ):
            continue
        touches = met(shape, other)
        if case["op"] in ("intersects", "disjoint"):
            assert any(touches) is (case["expected"] == ("true" if case["op"] == "intersects" else "false")), case
        elif other.geom_type.endswith("Point") and (case["op"] == "covers") is (area is a):
            assert all(touches) is (case["expected"] == "true"), case
        asked[other.geom_type] += 1
    assert asked == {"Point": 26, "MultiPoint": 47, "LineString": 41, "MultiLineString": 4}
