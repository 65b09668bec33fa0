"""Geofences around assets: who comes near whom, told and corrected, through changes, late fixes and a restart."""

from contextlib import AsyncExitStack
from typing import Any

from tests.integration.api import Api, Json, until
from tests.integration.link import cab
from tests.integration.test_late import at, settled, standing, told

METRE = 1 / 111_319.49  # of longitude at the equator, in degrees


def east(metres: float) -> tuple[float, float]:
    return (10 + metres * METRE, 0.0)


def around(*tags: str, within_m: float = 100, **more: Any) -> Json:
    return {"type": "Feature", "geometry": None, "properties": {"near": {"tags": tags}, "within_m": within_m, **more}}


async def judged(api: Api) -> None:
    """Nothing waits to be judged."""
    await settled(api)

    async def nothing_waits() -> bool:
        return (await api.metrics())["tracker_pairs_behind"] == 0

    await until(nothing_waits)


async def tag(api: Api, asset: str, *tags: str) -> None:
    await api.call("PATCH", f"/v1/assets/{asset}", {"tags": tags})


async def test_two_meet_and_part_and_late_fixes_correct_it(api: Api) -> None:
    async with AsyncExitStack() as stack:
        taxi, bus = [await stack.enter_async_context(cab(api)) for _ in range(2)]
        await tag(api, bus.asset, "bus")
        fence = await api.call("POST", "/v1/geofences", around("bus", name="By the bus"), expect=201)
        assert fence["geometry"] is None
        assert fence["properties"]["within_m"] == 100
        await at(bus, 0, east(0))
        await at(taxi, 10, east(5_000))
        await at(taxi, 20, east(60))
        await at(bus, 30, east(-50))
        await judged(api)
        events = await api.events()
        assert told(events) == [("enter", 20_000), ("exit", 30_000)]
        enter, leave = events
        assert (enter["asset"]["id"], enter["near"]["id"], enter["near"]["distance_m"]) == (taxi.asset, bus.asset, 60.0)
        assert (enter["geofence"]["name"], round(leave["near"]["distance_m"])) == ("By the bus", 110)
        assert [event["status"] for event in events] == ["live", "live"]
        visits = await api.pages(f"/v1/assets/{taxi.asset}/visits", "visits")
        assert [(each["near"]["id"], each["exit_time"]) for each in visits] == [(bus.asset, leave["fix_time"])]
        await at(taxi, 15, east(90))
        await at(bus, 25, east(500))
        await judged(api)
        assert told(standing(await api.events())) == [("enter", 15_000), ("exit", 25_000)]
        assert {event["status"] for event in (await api.events())[2:]} == {"revised"}
        visits = await api.pages(f"/v1/assets/{taxi.asset}/visits", "visits")
        assert len(visits) == 1


async def test_changes_end_what_was_near(api: Api) -> None:
    async with AsyncExitStack() as stack:
        taxi, bus, tram = [await stack.enter_async_context(cab(api)) for _ in range(3)]
        await tag(api, bus.asset, "bus")
        await tag(api, tram.asset, "bus")
        fence = await api.call("POST", "/v1/geofences", around("bus", assets={"ids": [taxi.asset]}), expect=201)
        path = f"/v1/geofences/{fence['id']}"
        for each, place in ((bus, 0.0), (tram, 50.0), (taxi, 20.0)):
            await at(each, 0, east(place))
        await judged(api)
        assert [each["near"]["id"] for each in await api.events()] == [bus.asset, tram.asset]
        await tag(api, tram.asset, "tram")
        await judged(api)
        assert (await api.events())[-1]["cause"] == "asset_changed"
        await at(taxi, 10, east(30))
        await api.call("PATCH", path, {"properties": {"name": "Renamed"}})
        await judged(api)
        assert len(await api.events()) == 3
        changed = await api.call("PATCH", path, {"properties": {"within_m": 10}})
        assert changed["properties"]["version"] == 2
        await judged(api)
        assert (await api.events())[-1]["cause"] == "fence_changed"
        await at(taxi, 20, east(5))
        await judged(api)
        assert len(await api.events()) == 5
        await api.call("DELETE", path, expect=204)
        await until(lambda: closed(api))
        events = await api.events()
        assert (events[-1]["cause"], len(events)) == ("fence_deleted", 6)
        visits = await api.pages(f"/v1/assets/{taxi.asset}/visits", "visits")
        assert all(each["exit_time"] for each in visits)
        await api.problem("GET", path, expect=404)


async def test_a_tag_beside_the_one_that_counts_ends_nothing(api: Api) -> None:
    async with AsyncExitStack() as stack:
        made = await api.call("POST", "/v1/assets", {"name": "Bus 7", "tags": ["bus"]}, expect=201)
        taxi = await stack.enter_async_context(cab(api))
        bus = await stack.enter_async_context(cab(api, asset=made["id"]))
        await api.call("POST", "/v1/geofences", around("bus"), expect=201)
        await at(bus, 0, east(0))
        await at(taxi, 0, east(20))
        await judged(api)
        await tag(api, made["id"], "bus", "red")
        await judged(api)
        assert [(event["type"], event.get("cause")) for event in await api.events()] == [("geofence.enter", None)]


async def closed(api: Api) -> bool:
    return any(event.get("cause") == "fence_deleted" for event in await api.events())


async def test_what_a_geofence_around_assets_cannot_be_is_refused_with_the_remedy(api: Api) -> None:
    point = {"type": "Point", "coordinates": [0, 0]}
    for properties, geometry, field in (
        ({"near": {"tags": ["bus"]}}, None, "properties.near"),
        ({"within_m": 5}, None, "properties.within_m"),
        ({"near": {"tags": []}, "within_m": 5}, None, "properties.near"),
        ({"near": {"tags": ["bus"]}, "within_m": 0}, None, "properties.within_m"),
        ({"near": {"tags": ["bus"]}, "within_m": 5, "cross": True}, None, "properties.cross"),
        ({"near": {"tags": ["bus"]}, "within_m": 5, "radius_m": 3}, None, "properties.radius_m"),
        ({"near": {"tags": ["bus"]}, "within_m": 5}, point, "properties.near"),
        ({"near": {"ids": ["dev_1"]}, "within_m": 5}, None, "properties.near.ids"),
    ):
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        assert (await api.problem("POST", "/v1/geofences", feature, expect=422))["field"] == field
    tried = {"geofence": around("bus"), "from": 0, "to": 1}
    assert (await api.problem("POST", "/v1/backtests", tried, expect=422))["field"] == "geofence.properties.near"
