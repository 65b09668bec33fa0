"""The geofences that the demonstration begins with: squares, parks and terminals of Helsinki, a depot, and airports."""

from typing import Any, Final

from tracker.fleet.lanes import AIRPORTS, Point

AIRPORT_RADIUS_M: Final = 4000.0

# Corners in order; the ring is closed when it is sent. Drawn around the streets beside a place, not its paving alone.
# fmt: off
POLYGONS: Final[dict[str, tuple[Point, ...]]] = {
    "Central Station": (
        (24.9393, 60.1699), (24.9435, 60.1702), (24.9429, 60.1728), (24.9398, 60.1728), (24.9391, 60.1712),
    ),
    "Railway Square": ((24.9425, 60.1704), (24.9450, 60.1705), (24.9449, 60.1722), (24.9424, 60.1722)),
    "Kamppi": ((24.9351, 60.1655), (24.9381, 60.1676), (24.9376, 60.1702), (24.9351, 60.1708)),
    "Esplanadi": ((24.9436, 60.1668), (24.9512, 60.1669), (24.9513, 60.1681), (24.9436, 60.1679)),
    "Senate Square": ((24.9508, 60.1687), (24.9536, 60.1688), (24.9536, 60.1702), (24.9508, 60.1701)),
    "Kauppatori": ((24.9513, 60.1664), (24.9550, 60.1662), (24.9552, 60.1679), (24.9513, 60.1680)),
    "Kaisaniemi": ((24.9437, 60.1731), (24.9480, 60.1727), (24.9505, 60.1752), (24.9495, 60.1768), (24.9440, 60.1765)),
    "Hakaniemi": ((24.9445, 60.1776), (24.9532, 60.1774), (24.9532, 60.1791), (24.9445, 60.1791)),
    "Punavuori": ((24.9351, 60.1642), (24.9440, 60.1642), (24.9436, 60.1657), (24.9385, 60.1665), (24.9351, 60.1655)),
    "West Harbour": ((24.9080, 60.1440), (24.9220, 60.1440), (24.9220, 60.1500), (24.9080, 60.1500)),
    "Suomenlinna quay": ((24.9838, 60.1484), (24.9860, 60.1484), (24.9860, 60.1497), (24.9838, 60.1497)),
    "Tallinn Old City Harbour": ((24.7550, 59.4430), (24.7750, 59.4430), (24.7750, 59.4520), (24.7550, 59.4520)),
}
# fmt: on
CIRCLES: Final[dict[str, tuple[Point, float]]] = {
    "Depot Vuorikatu": ((24.9466, 60.1716), 120.0),
    "Depot Simonkatu": ((24.9365, 60.1697), 100.0),
}


def areas() -> list[dict[str, Any]]:
    """All of them as GeoJSON features."""
    polygons = [_polygon(name, corners) for name, corners in POLYGONS.items()]
    circles = [_circle(name, centre, radius_m, "depot") for name, (centre, radius_m) in CIRCLES.items()]
    airports = [_circle(f"Airport {a.code}", (a.lon, a.lat), AIRPORT_RADIUS_M, "airport") for a in AIRPORTS]
    return polygons + circles + airports


def _polygon(name: str, corners: tuple[Point, ...]) -> dict[str, Any]:
    ring = [list(corner) for corner in (*corners, corners[0])]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": {"name": name, "tags": ["city"]}}


def _circle(name: str, centre: Point, radius_m: float, tag: str) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": list(centre)}
    properties = {"name": name, "tags": [tag], "radius_m": radius_m}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
