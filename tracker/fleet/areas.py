"""The geofences that the demonstration begins with: squares, parks and terminals of Helsinki, a depot, and airports."""

from typing import Any, Final

from tracker.fleet.lanes import AIRPORTS, Point

AIRPORT_RADIUS_M: Final = 4000.0

# Corners in order; the ring is closed when it is sent. Edges run through blocks and cross streets at an angle: beside a
# street a receiver's error alone would take its bearer in and out.
# fmt: off
POLYGONS: Final[dict[str, tuple[Point, ...]]] = {
    "Central Station": (
        (24.9400, 60.1697), (24.9415, 60.1697), (24.9415, 60.1727), (24.9393, 60.1727), (24.9386, 60.1713),
        (24.9392, 60.1706),
    ),
    "Railway Square": ((24.9415, 60.1701), (24.9457, 60.1701), (24.9457, 60.1724), (24.9415, 60.1724)),
    "Kamppi": ((24.9348, 60.1682), (24.9366, 60.1683), (24.9376, 60.1690), (24.9367, 60.1702), (24.9348, 60.1709)),
    "Esplanadi": ((24.9441, 60.1664), (24.9502, 60.1665), (24.9502, 60.1684), (24.9441, 60.1683)),
    "Senate Square": ((24.9501, 60.1685), (24.9536, 60.1685), (24.9536, 60.1704), (24.9501, 60.1704)),
    "Kauppatori": ((24.9503, 60.1661), (24.9550, 60.1661), (24.9552, 60.1683), (24.9503, 60.1683)),
    "Kaisaniemi": ((24.9437, 60.1736), (24.9478, 60.1736), (24.9489, 60.1746), (24.9489, 60.1753), (24.9437, 60.1753)),
    "Hakaniemi": ((24.9440, 60.1765), (24.9535, 60.1765), (24.9535, 60.1792), (24.9440, 60.1792)),
    "Punavuori": ((24.9348, 60.1640), (24.9425, 60.1640), (24.9404, 60.1662), (24.9372, 60.1656), (24.9348, 60.1646)),
    "West Harbour": ((24.9080, 60.1440), (24.9220, 60.1440), (24.9220, 60.1500), (24.9080, 60.1500)),
    "Suomenlinna quay": ((24.9838, 60.1484), (24.9860, 60.1484), (24.9860, 60.1497), (24.9838, 60.1497)),
    "Tallinn Old City Harbour": ((24.7550, 59.4430), (24.7750, 59.4430), (24.7750, 59.4520), (24.7550, 59.4520)),
}
# fmt: on
CIRCLES: Final[dict[str, tuple[Point, float]]] = {
    "Depot Vuorikatu": ((24.9473, 60.1719), 90.0),
    "Depot Kasarmitori": ((24.9480, 60.1655), 90.0),
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
