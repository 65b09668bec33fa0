"""`?repair=true`: GeoJSON as the world writes it becomes a geofence, and the answer says what was changed."""

from typing import Any

import pytest

from tests.integration.api import Api
from tests.integration.link import cab

OPEN: dict[str, Any] = {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51]]]}
CLOSED: dict[str, Any] = {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]}
OVER: dict[str, Any] = {"type": "Polygon", "coordinates": [[[179, 0], [-179, 0], [-179, 2], [179, 2], [179, 0]]]}
LINE: dict[str, Any] = {"type": "LineString", "coordinates": [[10, 50], [11, 50]]}


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


async def test_a_fault_is_refused_and_repaired_when_that_is_asked_for(api: Api) -> None:
    refused = await api.problem("POST", "/v1/geofences", feature(OPEN), expect=422)
    assert refused["field"] == "geometry.coordinates[0]"
    assert "with ?repair=true it would be accepted" in refused["detail"]
    made = await api.call("POST", "/v1/geofences?repair=true", feature(OPEN), expect=201)
    assert made["repairs"] == ["geometry.coordinates[0] closed: its last position [10, 51] was not its first"]
    assert made["geometry"] == CLOSED
    kept = await api.call("GET", f"/v1/geofences/{made['id']}")
    assert kept["geometry"] == CLOSED
    assert "repairs" not in kept


async def test_nothing_to_repair_is_said_too_and_only_where_it_was_asked_for(api: Api) -> None:
    assert (await api.call("POST", "/v1/geofences?repair=true", feature(CLOSED), expect=201))["repairs"] == []
    assert "repairs" not in await api.call("POST", "/v1/geofences?repair=false", feature(CLOSED), expect=201)
    await api.problem("POST", "/v1/geofences?repair=yes", feature(CLOSED), expect=422)


async def test_each_of_many_has_its_own_repairs(api: Api) -> None:
    many = {"type": "FeatureCollection", "features": [feature(CLOSED), feature(OPEN)]}
    refused = await api.problem("POST", "/v1/geofences", many, expect=422)
    assert refused["field"] == "features[1].geometry.coordinates[0]"
    made = await api.call("POST", "/v1/geofences?repair=true", many, expect=201)
    assert [len(each["repairs"]) for each in made["geofences"]] == [0, 1]


async def test_a_geofence_is_changed_to_a_repaired_one(api: Api) -> None:
    fence = await api.new_fence(CLOSED)
    await api.problem("PATCH", f"/v1/geofences/{fence}", {"geometry": OVER}, expect=422)
    changed = await api.call("PATCH", f"/v1/geofences/{fence}?repair=true", {"geometry": OVER})
    assert changed["geometry"]["type"] == "MultiPolygon"
    assert "cut at the antimeridian" in changed["repairs"][0]
    assert changed["properties"]["version"] == 2
    named = await api.call("PATCH", f"/v1/geofences/{fence}?repair=true", {"properties": {"name": "seam"}})
    assert (named["properties"]["version"], named["repairs"]) == (2, [])


async def test_a_corridor_keeps_its_buffer_until_it_is_another_shape(api: Api) -> None:
    fence = await api.new_fence(LINE, buffer_m=50)
    path = f"/v1/geofences/{fence}"
    assert (await api.call("GET", path))["properties"]["buffer_m"] == 50
    bent = {"type": "LineString", "coordinates": [[10, 50], [11, 51]]}
    assert (await api.call("PATCH", path, {"geometry": bent}))["properties"]["buffer_m"] == 50
    assert (await api.call("PATCH", path, {"properties": {"buffer_m": 80}}))["geometry"] == bent
    await api.problem("PATCH", path, {"properties": {"radius_m": 80}}, expect=422)
    area = await api.call("PATCH", path, {"geometry": CLOSED})
    assert "buffer_m" not in area["properties"]
    assert area["properties"]["version"] == 4
    await api.problem("PATCH", path, {"properties": {"buffer_m": 80}}, expect=422)
    await api.problem("PATCH", path, {"geometry": LINE}, expect=422)  # how wide?
    assert (await api.call("PATCH", path, feature(LINE, buffer_m=5)))["properties"]["buffer_m"] == 5


@pytest.mark.parametrize("lon", [180.0, -180.0, 179.9, -179.9])
async def test_a_ship_on_the_seam_of_a_cut_geofence_is_inside(api: Api, lon: float) -> None:
    await api.call("POST", "/v1/geofences?repair=true", feature(OVER, quality="all"), expect=201)
    async with cab(api, "ship") as ship:
        await ship.to((170.0, 1.0), (lon, 1.0), (-170.0, 1.0))
    assert [event["type"] for event in await api.events()] == ["geofence.enter", "geofence.exit"]
