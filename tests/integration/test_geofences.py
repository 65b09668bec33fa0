"""Geofences that come, change and go while fixes stream, by the rules of the contract."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.integration import town
from tests.integration.api import Api, Json, ms_of
from tests.integration.ledger import check_visits, feature_of
from tests.integration.link import START_MS, Device, cab
from tests.integration.oracle import UNIT, Point, distance_m
from tests.integration.planner import Planner, check_changes, judged_of
from tracker.app import Server
from tracker.settings import Settings


def square(west: float, south: float, size: float = 1.0) -> Json:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


HERE = square(10, 50)
IN, OUT, FAR = (10.5, 50.5), (12.5, 50.5), (30.5, 50.5)


def told(events: Sequence[Json]) -> list[tuple[Any, ...]]:
    """Type, initial and cause of each."""
    return [
        (event["type"].removeprefix("geofence."), event.get("initial", False), event.get("cause")) for event in events
    ]


ENTER, EXIT, INITIAL = ("enter", False, None), ("exit", False, None), ("enter", True, None)


# The crossing model --------------------------------------------------------------------------------------------------


async def test_the_first_fix_inside_enters_and_the_first_outside_exits(api: Api) -> None:
    fence = await api.new_fence(HERE, name="depot")
    async with cab(api, "bus") as bus:
        await bus.to(OUT, IN, IN, OUT, FAR)
        events = await api.events()
        assert told(events) == [ENTER, EXIT]
        enter, exit_ = events
        assert enter["asset"] == {"id": bus.asset, "name": "bus"}
        assert enter["geofence"] == {"id": fence, "name": "depot"}
        assert [ms_of(event["fix_time"]) - START_MS for event in events] == [2000, 4000]
        assert (enter["lon"], enter["lat"]) == IN
        assert (exit_["lon"], exit_["lat"], exit_["status"]) == (*OUT, "live")


async def test_a_first_fix_inside_is_an_initial_enter(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as bus:
        await bus.to(IN, OUT, IN)
    assert told(await api.events()) == [INITIAL, EXIT, ENTER]


async def test_a_new_fence_greets_an_asset_that_was_tracked_before_with_an_initial_enter(api: Api) -> None:
    async with cab(api) as bus, cab(api, "van") as van:
        await bus.to(IN)
        await van.to(OUT)
        await api.new_fence(HERE)
        assert await api.events() == []  # it judges nothing of what was stored before
        await bus.to(IN)
        await van.to(OUT, IN)
    assert told(await api.events()) == [INITIAL, ENTER]


@pytest.mark.parametrize("place", [(10, 50.5), (11, 50.5), (10.5, 51), (10, 50), (11, 51), (10.3, 50.3), (10.3, 50.4)])
async def test_edges_and_corners_and_the_edge_of_a_hole_are_inside(api: Api, place: tuple[float, float]) -> None:
    hole = square(10.3, 50.3, 0.4)["coordinates"][0][::-1]
    await api.new_fence({"type": "Polygon", "coordinates": [HERE["coordinates"][0], hole]})
    async with cab(api) as bus:
        await bus.to(OUT, place, (10.5, 50.5))
    assert told(await api.events()) == [ENTER, EXIT]


async def test_exits_come_before_enters_of_the_same_fix(api: Api) -> None:
    later = await api.new_fence(square(20, 50))
    earlier = await api.new_fence(HERE)
    async with cab(api) as bus:
        await bus.to(IN, (20.5, 50.5), IN)
    events = await api.events()
    assert [(event["geofence"]["id"], event["type"]) for event in events[1:]] == [
        (earlier, "geofence.exit"), (later, "geofence.enter"), (later, "geofence.exit"), (earlier, "geofence.enter"),
    ]  # fmt: skip


async def test_order_is_that_of_the_fixes_and_not_of_their_arrival(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as bus:
        fixes = [{"lon": lon, "lat": 50.5, "time": START_MS + 1000 * i} for i, lon in enumerate((12, 10.5, 12, 10.5))]
        await bus.send(fixes[3], fixes[0], fixes[2], fixes[1])
    assert [ms_of(event["fix_time"]) - START_MS for event in await api.events()] == [1000, 2000, 3000]


async def test_of_fixes_at_one_instant_the_west_comes_first_and_equal_ones_count_once(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as bus:
        places = [(12.5, 50.5), (10.5, 50.5), (9, 50.5), (10.5, 50.5)]
        await bus.send(*({"lon": lon, "lat": lat, "time": START_MS} for lon, lat in places))
        assert len(await api.track(bus.asset)) == 4
    events = await api.events()
    assert told(events) == [ENTER, EXIT]
    assert [event["lon"] for event in events] == [10.5, 12.5]


async def test_doubtful_fixes_decide_only_in_fences_that_judge_all(api: Api) -> None:
    trusting = await api.new_fence(HERE, quality="all")
    careful = await api.new_fence(HERE)
    async with cab(api) as bus:
        await bus.to(OUT)
        await bus.to(IN, accuracy_m=5000)
        assert [event["geofence"]["id"] for event in await api.events()] == [trusting]
        await bus.to(IN)
        assert [event["geofence"]["id"] for event in await api.events()] == [trusting, careful]
        await bus.to(OUT, accuracy_m=5000)
        assert told((await api.events())[2:]) == [EXIT]


async def test_a_circle_is_exact_on_the_ellipsoid(api: Api) -> None:
    centre: Point = (249_000_000, 601_500_000)
    edge: list[Point] = [(249_000_000 + 89_000, 601_500_000), (249_000_000, 601_500_000 + 45_000)]
    for number, place in enumerate(edge):
        async with cab(api, f"cab {number}") as bus:
            metres = distance_m(centre, place)
            spot = (place[0] / UNIT, place[1] / UNIT)
            within = await api.new_fence(_point(centre), radius_m=metres + 0.001)
            await api.new_fence(_point(centre), radius_m=metres - 0.001)
            await bus.to(spot)
            assert [event["geofence"]["id"] for event in await api.events(f"asset={bus.asset}")] == [within]


def _point(place: Point) -> Json:
    return {"type": "Point", "coordinates": [place[0] / UNIT, place[1] / UNIT]}


async def test_a_circle_reaches_across_the_antimeridian_and_over_the_pole(api: Api) -> None:
    fiji = await api.new_fence({"type": "Point", "coordinates": [179.99, -17]}, radius_m=5000)
    pole = await api.new_fence({"type": "Point", "coordinates": [0, 89.99]}, radius_m=5000)
    async with cab(api) as ship:
        await ship.to((-179.98, -17), (-179.9, -17), (180, -17), (-180, -17), (179, -17))
        ship.time_ms += 86_400_000  # the pole is far
        await ship.to((179.3, 89.99), (100, 89))
    crossed = [(event["geofence"]["id"], event["type"].removeprefix("geofence.")) for event in await api.events()]
    assert crossed == [
        (fiji, "enter"),
        (fiji, "exit"),
        (fiji, "enter"),
        (fiji, "exit"),
        (pole, "enter"),
        (pole, "exit"),
    ]


# Changes -------------------------------------------------------------------------------------------------------------


async def test_a_changed_shape_moves_out_and_in_who_is_concerned(api: Api) -> None:
    fence = await api.new_fence(HERE)
    async with cab(api, "stays") as stays, cab(api, "left") as left, cab(api, "comes") as comes, cab(api, "far") as far:
        await stays.to((10.9, 50.5))
        await left.to((10.1, 50.5))
        await comes.to((11.5, 50.5))
        await far.to(FAR)
        before = await api.events()
        changed = await api.call("PATCH", f"/v1/geofences/{fence}", {"geometry": square(10.8, 50)})
        assert changed["properties"]["version"] == 2
        events = (await api.events())[len(before) :]
        assert [(event["asset"]["name"], *told([event])[0]) for event in events] == [
            ("left", "exit", False, "fence_changed"), ("comes", "enter", False, "fence_changed"),
        ]  # fmt: skip
        assert [ms_of(event["fix_time"]) for event in events] == [left.time_ms, comes.time_ms]
        await comes.to(FAR)
        await left.to((10.9, 50.5))
        await stays.to((10.1, 50.5))
    ends = (await api.events())[len(before) + 2 :]
    assert [(event["asset"]["name"], *told([event])[0]) for event in ends] == [
        ("comes", *EXIT), ("left", *ENTER), ("stays", *EXIT),
    ]  # fmt: skip


async def test_a_changed_fence_stays_silent_about_an_asset_that_it_has_never_seen(api: Api) -> None:
    async with cab(api) as bus:
        await bus.to(IN)
        fence = await api.new_fence(square(20, 50))
        await api.call("PATCH", f"/v1/geofences/{fence}", {"geometry": HERE})
        assert await api.events() == []
        await bus.to(IN)
    assert told(await api.events()) == [INITIAL]


async def test_a_changed_radius_is_a_changed_shape(api: Api) -> None:
    fence = await api.new_fence({"type": "Point", "coordinates": [10, 50]}, radius_m=1000)
    async with cab(api) as bus:
        await bus.to((10.02, 50))  # 1,434 m away
        for radius_m in (2000, 1000):
            await api.call("PATCH", f"/v1/geofences/{fence}", {"properties": {"radius_m": radius_m}})
    assert told(await api.events()) == [("enter", False, "fence_changed"), ("exit", False, "fence_changed")]


async def test_a_changed_quality_looks_at_the_newest_fix_that_it_admits(api: Api) -> None:
    fence = await api.new_fence(HERE)
    async with cab(api) as bus:
        await bus.to(OUT)
        await bus.to(IN, accuracy_m=5000)
        for quality in ("all", "trusted"):
            await api.call("PATCH", f"/v1/geofences/{fence}", {"properties": {"quality": quality}})
    assert told(await api.events()) == [("enter", False, "fence_changed"), ("exit", False, "fence_changed")]


async def test_a_new_name_or_the_same_shape_again_makes_no_version_and_no_event(api: Api) -> None:
    fence = await api.new_fence(HERE, name="old", colour="red", tags=["a"])
    async with cab(api) as bus:
        await bus.to(IN)
        change = {"properties": {"name": "new", "tags": ["b"], "colour": None, "floor": 2}, "geometry": HERE}
        changed = await api.call("PATCH", f"/v1/geofences/{fence}", change)
        assert changed["properties"] == {"name": "new", "tags": ["b"], "floor": 2, "quality": "trusted", "version": 1}
        assert await api.call("GET", f"/v1/geofences/{fence}") == changed
        await bus.to(OUT)
        assert [event["geofence"]["name"] for event in await api.events()] == ["old", "new"]
        [visit] = (await api.call("GET", f"/v1/assets/{bus.asset}/visits"))["visits"]
        assert visit["geofence"] == {"id": fence, "name": "new"}


async def test_a_deleted_fence_closes_its_visits_and_judges_no_more(api: Api) -> None:
    fence, other = await api.new_fence(HERE, name="gone"), await api.new_fence(HERE)
    async with cab(api) as inside, cab(api, "outside") as outside:
        await inside.to(IN)
        await outside.to(OUT)
        await api.call("DELETE", f"/v1/geofences/{fence}", expect=204)
        events = await api.events(f"geofence={fence}")
        assert told(events) == [INITIAL, ("exit", False, "fence_deleted")]
        assert ms_of(events[1]["fix_time"]) == inside.time_ms
        await inside.to(OUT, IN)
        await outside.to(IN)
        assert len(await api.events(f"geofence={fence}")) == 2
        assert len(await api.events(f"geofence={other}")) == 4
        visits = (await api.call("GET", f"/v1/assets/{inside.asset}/visits?geofence={fence}"))["visits"]
        assert [visit["exit_time"] is not None for visit in visits] == [True]
    assert (await api.problem("GET", f"/v1/geofences/{fence}", expect=404))["code"] == "not_found"
    await api.problem("PATCH", f"/v1/geofences/{fence}", {"properties": {"name": "x"}}, expect=404)
    await api.problem("DELETE", f"/v1/geofences/{fence}", expect=404)
    listed = await api.call("GET", "/v1/geofences")
    assert [feature["id"] for feature in listed["features"]] == [other]


# Many at once, and refusals ------------------------------------------------------------------------------------------


def feature(geometry: Json, **properties: Any) -> Json:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


async def test_those_that_a_map_shows_are_listed_by_its_box_also_over_the_antimeridian(api: Api) -> None:
    depot = await api.new_fence(HERE)
    strait = await api.new_fence({"type": "Point", "coordinates": [179.99, 65.0]}, radius_m=5_000)
    near = {"tags": ["bus"]}
    await api.new_fence(None, near=near, within_m=50)  # around assets: nowhere in particular

    async def listed(bbox: str) -> list[str]:
        return [each["id"] for each in (await api.call("GET", f"/v1/geofences?bbox={bbox}"))["features"]]

    assert await listed("-180,-90,180,90") == [depot, strait]
    assert await listed("11,51,12,52") == [depot], "a corner is enough"
    assert await listed("11.001,50,12,52") == []
    for over in ("170,60,-170,70", "-180,60,-179.9,70", "179.9,60,190,70", "-185,60,-179.95,70"):
        assert await listed(over) == [strait], over


@pytest.mark.parametrize("form", ["collection", "array"])
async def test_many_fences_are_made_in_order_and_in_force_together(api: Api, form: str) -> None:
    features = [feature(square(10 + number, 50), name=f"n{number}", tags=[f"t{number}"]) for number in range(300)]
    features = [
        each if number < 150 else feature(HERE, name=f"n{number}", tags=[]) for number, each in enumerate(features)
    ]
    body = {"type": "FeatureCollection", "features": features} if form == "collection" else features
    made = (await api.call("POST", "/v1/geofences", body, expect=201))["geofences"]
    assert [fence["properties"]["name"] for fence in made] == [f"n{number}" for number in range(300)]
    named = await api.call("GET", "/v1/geofences?q=N29&limit=4")
    assert [fence["properties"]["name"] for fence in named["features"]] == ["n29", "n290", "n291", "n292"]
    tagged = await api.pages("/v1/geofences?q=t7", "features")
    assert [fence["properties"]["name"] for fence in tagged] == ["n7", *(f"n{number}" for number in range(70, 80))]
    async with cab(api) as bus:
        await bus.to(IN)
    expected = [made[0]["id"], *(fence["id"] for fence in made[150:])]
    assert sorted(event["geofence"]["id"] for event in await api.events()) == sorted(expected)


@pytest.mark.parametrize("form", ["collection", "array"])
async def test_one_bad_fence_among_many_stops_them_all_and_is_named_by_its_place(api: Api, form: str) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    features = [feature(HERE), feature(HERE), feature(bow_tie)]
    body = {"type": "FeatureCollection", "features": features} if form == "collection" else features
    problem = await api.problem("POST", "/v1/geofences", body, expect=422)
    assert (problem["code"], problem["field"]) == ("invalid_geometry", "features[2].geometry.coordinates")
    assert (await api.call("GET", "/v1/geofences"))["features"] == []


# The whole ------------------------------------------------------------------------------------------------------------


async def test_presence_survives_a_restart(settings: Settings, http: ClientSession) -> None:
    async with Server(settings) as server:
        api = Api(server.url, http)
        await api.new_fence(HERE, name="seen")
        await api.new_fence(HERE, name="all", quality="all")
        async with cab(api, "bus") as bus, cab(api, "tracked before") as other:
            await bus.to(IN)
            await other.to(IN)
            await api.new_fence(square(10, 50, 0.9), name="new")
            time_ms, devices = bus.time_ms, (bus, other)
    async with Server(settings) as server:
        api = Api(server.url, http)
        token = await api.call("POST", "/v1/tokens", {"name": "gateway", "kind": "gateway"}, expect=201)
        for device in devices:
            for seq, (lon, lat) in enumerate((IN, OUT), 2):
                message = {"type": "fixes", "device": device.id, "stream": "S", "seq": seq}
                fix = {"lon": lon, "lat": lat, "time": time_ms + seq}
                await api.call("POST", "/v1/ingest", {**message, "fixes": [fix]}, token=token["token"])
        events = await api.events()
        for name, expected in {"seen": [INITIAL, EXIT], "all": [INITIAL, EXIT], "new": [INITIAL, EXIT]}.items():
            for device in devices:
                of_pair = [e for e in events if e["geofence"]["name"] == name and e["asset"]["id"] == device.asset]
                assert told(of_pair) == expected


@pytest.mark.timeout(240)
async def test_fences_that_change_while_fixes_stream_judge_exactly_what_was_stored_while_they_were_in_force(
    api: Api, http: ClientSession, connection: asyncpg.Connection
) -> None:
    random_ = random.Random(5)
    devices = []
    for number in range(6):
        made = await api.new_device(f"cab {number}")
        fixes = [step.fix() for step in town.walk(number, 250)]
        devices.append(Device(api.url, made.token, fixes, "S", random_.randint(1, 4), 2))
    planner = Planner(api, town.fences(5), random_)
    streaming = asyncio.gather(*(device.run(http) for device in devices))
    await asyncio.gather(planner.run_until(streaming), streaming)
    judged = await judged_of(connection)
    assert sum(map(len, judged.values())) == 6 * 250
    assert await check_changes(api, connection, judged) > 100
    await check_visits(api, list(judged))


async def test_visits_tell_what_the_events_tell(api: Api, http: ClientSession) -> None:
    fences = town.fences(9)
    body = [feature_of(fence) for fence in fences]
    await api.call("POST", "/v1/geofences", body, expect=201)
    assets = []
    async with AsyncExitStack() as stack:
        for number in range(3):
            bus = await stack.enter_async_context(cab(api, f"cab {number}"))
            await bus.send(*(step.fix() for step in town.walk(number, 200)))
            assets.append(bus.asset)
    await check_visits(api, assets)
