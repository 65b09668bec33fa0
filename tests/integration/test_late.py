"""Fixes that come late, assets that change: what was told is corrected, and the visits are what happened."""

from typing import Any

from tests.integration.api import Api, Json, ms_of, until
from tests.integration.link import START_MS, Cab, cab
from tests.integration.test_geofences import HERE, IN, OUT, square


def standing(events: list[Json]) -> list[Json]:
    """Those that no later one revises or retracts, by the time of their fixes."""
    gone = {event.get("revises") for event in events}
    kept = [event for event in events if event["id"] not in gone and event["status"] != "retracted"]
    return sorted(kept, key=lambda event: (event["fix_time"], event["type"] == "geofence.enter"))


def told(events: list[Json]) -> list[tuple[str, int]]:
    return [(event["type"].removeprefix("geofence."), ms_of(event["fix_time"]) - START_MS) for event in events]


async def settled(api: Api) -> None:
    """Nothing is late any more."""

    async def nothing_late() -> bool:
        return (await api.metrics())["tracker_late_assets"] == 0

    await until(nothing_late)


async def at(taxi: Cab, seconds: float, place: tuple[float, float], **more: Any) -> None:
    """One fix, so many seconds after the start, whatever came before."""
    taxi.time_ms = START_MS + round(seconds * 1000) - 1000
    await taxi.to(place, **more)


async def visits(api: Api, asset: str) -> list[tuple[int, int | None]]:
    found = await api.pages(f"/v1/assets/{asset}/visits", "visits")
    return [
        (ms_of(each["enter_time"]) - START_MS, each["exit_time"] and ms_of(each["exit_time"]) - START_MS)
        for each in found
    ]


async def test_a_late_fix_tells_of_the_stay_that_nobody_knew(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as taxi:
        await at(taxi, 0, OUT)
        await at(taxi, 100, OUT)
        assert await api.events() == []
        await at(taxi, 50, IN)
        await settled(api)
        events = await api.events()
        assert told(events) == [("enter", 50_000), ("exit", 100_000)]
        assert [event["status"] for event in events] == ["late", "late"]
        assert await visits(api, taxi.asset) == [(50_000, 100_000)]


async def test_a_late_fix_moves_an_event_and_says_which(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as taxi:
        await at(taxi, 0, OUT)
        await at(taxi, 100, IN)
        await at(taxi, 60, IN)
        await settled(api)
        first, second = await api.events()
        assert (first["status"], second["status"], second["revises"]) == ("live", "revised", first["id"])
        assert told([second]) == [("enter", 60_000)]
        assert await visits(api, taxi.asset) == [(60_000, None)]
        await at(taxi, 200, OUT)
        assert await visits(api, taxi.asset) == [(60_000, 200_000)]


async def test_a_first_fix_that_was_not_the_first_is_no_initial_enter(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as taxi:
        await at(taxi, 100, IN)
        assert (await api.events())[0]["initial"] is True
        await at(taxi, 50, OUT)
        await settled(api)
        events = await api.events()
        assert [(event["status"], event.get("initial")) for event in events] == [("live", True), ("revised", None)]


async def test_what_did_not_happen_is_retracted(api: Api) -> None:
    await api.new_fence(HERE, confirm_fixes=2)
    async with cab(api) as taxi:
        await at(taxi, 0, OUT)
        await at(taxi, 10, IN)
        await at(taxi, 30, IN)
        assert told(await api.events()) == [("enter", 30_000)]
        await at(taxi, 20, OUT)  # so they were not two in a row
        await settled(api)
        events = await api.events()
        assert [event["status"] for event in events] == ["live", "retracted"]
        assert events[1]["revises"] == events[0]["id"]
        assert standing(events) == []
        assert await visits(api, taxi.asset) == []
        await at(taxi, 40, IN)
        assert told(standing(await api.events())) == [("enter", 40_000)]


async def test_a_repeat_of_an_old_fix_is_judged_by_a_geofence_made_since(api: Api) -> None:
    async with cab(api) as taxi:
        await at(taxi, 0, IN)
        await at(taxi, 100, OUT)
        await api.new_fence(HERE)
        assert await api.events() == []
        await at(taxi, 0, IN)
        await settled(api)
        events = await api.events()
        assert [(*told([event])[0], event["status"], event.get("initial")) for event in events] == [
            ("enter", 0, "late", True)
        ]
        await at(taxi, 200, OUT)
        assert await visits(api, taxi.asset) == [(0, 200_000)]


async def test_other_tags_move_an_asset_in_and_out_of_what_judges_it(api: Api) -> None:
    fence = await api.new_fence(HERE, assets={"tags": ["bus"]})
    async with cab(api) as taxi:
        await at(taxi, 0, IN)
        assert await api.events() == []
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"tags": ["bus"]})
        (entered,) = await api.events()
        assert (entered["type"], entered["cause"], entered["geofence"]["id"]) == (
            "geofence.enter",
            "asset_changed",
            fence,
        )
        await at(taxi, 10, IN)
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"tags": []})
        events = await api.events()
        assert [(event["type"], event["cause"]) for event in events[1:]] == [("geofence.exit", "asset_changed")]
        assert await visits(api, taxi.asset) == [(0, 10_000)]
        await at(taxi, 5, OUT)  # stored without the tag: the stay goes on over it
        await settled(api)
        assert await visits(api, taxi.asset) == [(0, 10_000)]
        assert len(await api.events()) == 2


async def test_a_deleted_asset_leaves_every_geofence(api: Api) -> None:
    await api.new_fence(HERE)
    await api.new_fence(square(10, 50, 2.0), exit_margin_m=10)
    async with cab(api) as taxi:
        await at(taxi, 0, IN)
    await api.call("DELETE", f"/v1/assets/{taxi.asset}?devices=true", expect=204)
    events = await api.events()
    assert sorted((event["type"], event.get("cause")) for event in events) == [
        ("geofence.enter", None),
        ("geofence.enter", None),
        ("geofence.exit", "asset_deleted"),
        ("geofence.exit", "asset_deleted"),
    ]


async def test_a_jump_is_believed_again_when_the_asset_is_known_to_be_fast(api: Api) -> None:
    await api.new_fence(HERE)
    async with cab(api) as taxi:
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"thresholds": {"max_speed_mps": 50}})
        await at(taxi, 0, OUT)
        await at(taxi, 60, IN)
        await at(taxi, 120, OUT)
        assert await api.events() == []
        assert [fix.flags for fix in await api.track(taxi.asset)] == [(), ("jump",), ()]
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"thresholds": {"max_speed_mps": 50_000}})
        path = f"/v1/assets/{taxi.asset}/revisions"
        answer = await api.call("POST", path, {"from": START_MS}, expect=202)
        assert ms_of(answer["from"]) == START_MS
        await settled(api)
        assert [fix.flags for fix in await api.track(taxi.asset)] == [(), (), ()]
        assert told(standing(await api.events())) == [("enter", 60_000), ("exit", 120_000)]


async def test_an_outlier_that_a_late_fix_unmasks_no_longer_stands_for_the_asset(api: Api) -> None:
    async with cab(api) as taxi:
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"thresholds": {"max_speed_mps": 50}})
        await at(taxi, 0, OUT)
        await at(taxi, 10_000, IN)  # far, but there was time
        assert (await api.position(taxi.asset))["lon"] == IN[0]
        await at(taxi, 9_990, OUT)
        await settled(api)
        assert [fix.flags for fix in await api.track(taxi.asset)] == [(), (), ("jump",)]
        assert (await api.position(taxi.asset))["lon"] == OUT[0]
