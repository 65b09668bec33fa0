from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar

from tests.integration.api import ADMIN, Api, Json, ms_of
from tests.integration.link import START_MS, Cab, cab
from tests.integration.test_late import settled
from tracker.app import Server
from tracker.settings import Settings

WEST, SOUTH, SIZE = 10.0, 50.0, 0.01
IN, OUT = (WEST + SIZE / 2, SOUTH + SIZE / 2), (WEST + 2 * SIZE, SOUTH + SIZE / 2)
FAR = (WEST + 10 * SIZE, SOUTH)
EDGE = (WEST + SIZE + 0.0001, SOUTH + SIZE / 2)  # 7 m outside


@pytest_asyncio.fixture
async def api(database: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The whole server, for an event needs a journey."""
    settings = Settings("127.0.0.1", 0, tmp_path, database, ADMIN)
    async with Server(settings) as server, ClientSession(cookie_jar=DummyCookieJar()) as http:
        yield Api(server.url, http)


def square(size: float = SIZE) -> Json:
    east, north = WEST + size, SOUTH + size
    return {
        "type": "Polygon",
        "coordinates": [[[WEST, SOUTH], [east, SOUTH], [east, north], [WEST, north], [WEST, SOUTH]]],
    }


async def go(taxi: Cab, *stations: tuple[float, tuple[float, float]], **more: Any) -> None:
    """Fixes at (seconds after the start, place), one message each."""
    for seconds, (lon, lat) in stations:
        await taxi.send({"lon": lon, "lat": lat, "time": START_MS + round(seconds * 1000), **more})


async def why(api: Api, event: Json) -> Json:
    return await api.call("GET", f"/v1/events/{event['id']}/why")


async def explain(api: Api, fence: str, taxi: Cab, seconds: float, **more: Any) -> Json:
    body = {"asset": taxi.asset, "time": START_MS + round(seconds * 1000), **more}
    return await api.call("POST", f"/v1/geofences/{fence}/explain", body)


def told(found: Json) -> list[tuple[float, str | None, str | None]]:
    """Second, what it said, and its part, of each fix."""
    return [((ms_of(fix["fix_time"]) - START_MS) / 1000, fix["says"], fix["part"]) for fix in found["fixes"]]


def lines(found: Json) -> list[str]:
    return [fix["line"] for fix in found["fixes"]]


# Why there is an event -----------------------------------------------------------------------------------------------


async def test_a_plain_enter_rests_on_one_fix_and_the_one_before(api: Api) -> None:
    fence = await api.new_fence(square(), name="depot")
    async with cab(api) as taxi:
        await go(taxi, (0, FAR), (60, OUT), (120, IN), (180, IN), (240, OUT))
        enter, exit_ = await api.events()
        found = await why(api, enter)
        assert found["event"] == enter
        assert (found["stands"], found["corrections"], found["pending"]) == (True, [], False)
        assert found["geofence"] == {
            "id": fence, "name": "depot", "version": 1, "newest_version": 1, "deleted": False
        }  # fmt: skip
        assert told(found) == [(60, "out", "before"), (120, "in", "decided")]
        assert found["summary"] == "entered: the fix said in, and the asset was outside before."
        assert found["rule"]["confirm_fixes"] == 1
        assert found["rule"]["max_gap_s"] == 300
        before, decided = found["fixes"]
        assert (before["inside"], decided["inside"]) == (False, True)
        assert before["edge_m"] == pytest.approx(717, abs=5)
        assert decided["edge_m"] == pytest.approx(358, abs=5)
        assert decided["because"] == "it lies inside, 358 m from the edge"
        assert told(await why(api, exit_)) == [(180, "in", "before"), (240, "out", "decided")]


async def test_a_confirmed_enter_shows_the_run_that_turned_the_side(api: Api) -> None:
    await api.new_fence(square(), confirm_fixes=2, confirm_s=30, edge="certain")
    async with cab(api) as taxi:
        await go(taxi, (0, IN), (10, OUT), (60, OUT), (100, IN))
        await go(taxi, (110, IN), accuracy_m=900)
        await go(taxi, (120, IN), (134, IN), (150, OUT))
        (enter,) = await api.events()
        found = await why(api, enter)
    assert told(found) == [
        (60, "out", "before"), (100, "in", "run"), (110, "unsure", None), (120, "in", "run"), (134, "in", "decided")
    ]  # fmt: skip
    assert found["summary"] == ("entered: 3 fixes in a row said in, spanning 34 s; confirm_fixes 2, confirm_s 30.")
    assert found["fixes"][2]["because"] == "the edge is 358 m away, nearer than the fix's accuracy of 900 m"


async def test_every_further_kind_says_what_it_rests_on(api: Api) -> None:
    await api.new_fence(square(), cross=True, dwell_after_s=60, speed_limit_mps=10, over_for_s=5)
    async with cab(api) as taxi:
        west, east = (WEST - SIZE, IN[1]), OUT
        await go(taxi, (0, west), (60, east), (120, IN), (150, IN), speed_mps=0)
        await go(
            taxi,
            (170, (IN[0], IN[1] + 0.0001)),
            (171, (IN[0] + 0.0001, IN[1])),
            (176, (IN[0] + 0.0002, IN[1])),
            speed_mps=12,
        )
        await go(taxi, (190, IN))
        by_type = {event["type"].removeprefix("geofence."): await why(api, event) for event in await api.events()}
    assert by_type["cross"]["summary"].startswith("crossed: this fix and the one before it said out")
    assert told(by_type["cross"]) == [(0, "out", "before"), (60, "out", "decided")]
    assert "at least dwell_after_s 60 s later (70 s)" in by_type["dwell"]["summary"]
    assert told(by_type["dwell"])[-1] == (190, "in", "decided")
    assert by_type["speeding"]["summary"] == (
        "too fast: inside and faster than speed_limit_mps 10 m/s for 6 s; over_for_s 5."
    )
    assert [fix[0] for fix in told(by_type["speeding"])] == [150, 170, 171, 176]


async def test_the_schedule_and_absence_explain_themselves(api: Api) -> None:
    hours = {"time_zone": "UTC", "weekly": [{"days": ["sun"], "from": "15:10", "to": "24:00"}]}  # the start is 15:06:40
    await api.new_fence(square(), schedule=hours, name="open")
    await api.new_fence(square(), schedule=hours, absence=True, name="duty")
    async with cab(api) as taxi:
        await go(taxi, (0, IN), (180, OUT), (250, OUT), (300, IN), (310, IN))
        await go(taxi, (360, IN))
        by_name = {(event["geofence"]["name"], event["type"]): event for event in await api.events()}
        missing = await why(api, by_name["duty", "geofence.absent"])
        assert missing["summary"].startswith("absent: the schedule holds")
        assert told(missing)[-1] == (250, "out", "decided")
        entered = await why(api, by_name["open", "geofence.enter"])
        assert entered["rule"]["schedule"] == hours
    async with cab(api, "another") as other:
        await go(other, (0, IN), (198, IN), (202, IN))
        (enter,) = [e for e in await api.events(f"asset={other.asset}") if e["geofence"]["name"] == "open"]
        found = await why(api, enter)
        assert found["summary"].endswith("not the asset that moved over the edge.")
        assert lines(found) == ["schedule", "inside"]


async def test_events_of_changes_say_which_change(api: Api) -> None:
    fence = await api.new_fence(square())
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (60, IN))
        await api.call("PATCH", f"/v1/geofences/{fence}", {"geometry": square(SIZE / 4)})
        left = (await api.events())[-1]
        assert left["cause"] == "fence_changed"
        found = await why(api, left)
        assert "the geofence was changed" in found["summary"]
        assert (found["geofence"]["version"], found["geofence"]["newest_version"]) == (1, 2)
        await api.call("PATCH", f"/v1/geofences/{fence}", {"geometry": square()})
        await api.call("DELETE", f"/v1/geofences/{fence}", expect=204)
        events = await api.events()
        assert [event["cause"] for event in events[2:]] == ["fence_changed", "fence_deleted"]
        gone = await why(api, events[-1])
        assert gone["summary"] == "left: the geofence was deleted, which closes the visits in it."
        assert gone["geofence"]["deleted"] is True
        # What was told before the changes is explained by the version that judged it, as it was.
        first = await why(api, events[0])
        assert first["summary"] == "entered: the fix said in, and the asset was outside before."
        assert first["geofence"]["version"] == 1
        assert told(first) == [(0, "out", "before"), (60, "in", "decided")]


async def test_tags_that_made_an_asset_leave_are_named(api: Api) -> None:
    await api.new_fence(square(), assets={"tags": ["bus"]})
    async with cab(api) as taxi:
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"tags": ["bus"]})
        await go(taxi, (0, OUT), (60, IN))
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"tags": []})
        enter, exit_ = await api.events()
        assert "tags were changed" in (await why(api, exit_))["summary"]
        assert told(await why(api, enter)) == [(0, "out", "before"), (60, "in", "decided")]


async def test_a_corrected_event_is_explained_as_it_was_and_names_its_corrections(api: Api) -> None:
    await api.new_fence(square())
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (100, IN))
        await go(taxi, (60, IN))
        await settled(api)
        first, second = await api.events()
        old, new = await why(api, first), await why(api, second)
        assert (old["stands"], new["stands"]) == (False, True)
        assert [each["id"] for each in old["corrections"]] == [second["id"]]
        assert [each["id"] for each in new["corrections"]] == [first["id"]]
        assert told(old) == [(0, "out", "before"), (100, "in", "decided")]  # what was known when it was told
        assert told(new) == [(0, "out", "before"), (60, "in", "decided")]
        assert old["summary"] == new["summary"] == "entered: the fix said in, and the asset was outside before."


async def test_a_retraction_says_so(api: Api) -> None:
    await api.new_fence(square(), confirm_fixes=2)
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (100, IN), (140, IN), (200, OUT))
        await go(taxi, (120, OUT))
        await settled(api)
        enter, retraction = await api.events()
        assert retraction["status"] == "retracted"
        found = await why(api, retraction)
        assert found["stands"] is False
        assert found["summary"].startswith("Retracted: late fixes show")
        assert told(await why(api, enter))[1:] == [(100, "in", "run"), (140, "in", "decided")]


async def test_long_histories_are_explained_from_the_last_checkpoint(api: Api, connection: asyncpg.Connection) -> None:
    await api.new_fence(square(), confirm_fixes=3, name="ruled")
    async with cab(api) as taxi:
        fixes = [
            {"lon": (IN if i // 700 % 2 else OUT)[0], "lat": IN[1], "time": START_MS + 60_000 * i} for i in range(7000)
        ]
        for first in range(0, len(fixes), 500):
            await taxi.send(*fixes[first : first + 500])
        assert await connection.fetchval("SELECT count(*) FROM checkpoint") > 0
        events = await api.events()
        assert len(events) == 9
        for event in events:
            found = await why(api, event)
            assert [each[2] for each in told(found)] == ["before", "run", "run", "decided"]
            assert "3 fixes in a row" in found["summary"]


async def test_many_fixes_are_cut_in_the_middle_and_the_answer_says_so(api: Api) -> None:
    await api.new_fence(square(), dwell_after_s=3600)
    async with cab(api) as taxi:
        await go(taxi, (0, OUT))
        await taxi.send(*({"lon": IN[0], "lat": IN[1], "time": START_MS + 10_000 * i} for i in range(1, 500)))
        dwell = next(event for event in await api.events() if event["type"] == "geofence.dwell")
        found = await why(api, dwell)
    assert found["fixes_left_out"] is True
    assert len(found["fixes"]) == 200
    assert told(found)[0] == (0, "out", "before")
    assert told(found)[-1] == (3610, "in", "decided")


async def test_unknown_events_and_events_of_assets_alone(api: Api) -> None:
    await api.problem("GET", "/v1/events/evt_999/why", expect=404)
    await api.problem("GET", "/v1/events/gf_1/why", expect=404)
    await api.problem("GET", "/v1/events/evt_1/why?x=1", expect=422)


# Why there is none ---------------------------------------------------------------------------------------------------


async def test_an_asset_that_passed_by_is_told_how_near_it_was(api: Api) -> None:
    fence = await api.new_fence(square())
    async with cab(api) as taxi:
        await go(taxi, (0, FAR), (60, OUT), (120, EDGE), (180, OUT))
        found = await explain(api, fence, taxi, 100)
    assert found["summary"] == (
        "The asset was outside all the time: none of the 4 fixes that the geofence saw said in. The nearest, at "
        f"{found['fixes'][2]['fix_time']}, was 7.2 m from the edge; what lies between two fixes counts only with the "
        "option cross."
    )
    assert [fix["side"] for fix in found["fixes"]] == ["outside"] * 4
    assert found["before"] == {"side": "outside", "run": 0}
    assert (found["told"], found["changes"], found["pending"]) == ([], [], False)


async def test_a_run_that_was_not_confirmed_is_shown_fix_by_fix(api: Api) -> None:
    fence = await api.new_fence(square(), confirm_fixes=3)
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (60, IN), (70, IN), (130, OUT), (200, OUT))
        found = await explain(api, fence, taxi, 65)
    assert [fix["run"] for fix in found["fixes"]] == [0, 1, 2, 0, 0]
    assert "2 fixes in a row said in at most" in found["summary"]
    assert "confirm_fixes 3" in found["summary"]


@pytest.mark.parametrize(
    ("options", "fix", "line", "says"),
    [
        ({"edge": "certain"}, {"accuracy_m": 500}, "accuracy", "accuracy of 500 m"),
        ({"alt_max_m": 100}, {"alt_m": 250}, "altitude", "altitude of 250 m lies outside the ground to 100 m"),
        ({"alt_min_m": 100}, {}, "altitude_unknown", "no altitude"),
        (
            {"schedule": {"time_zone": "UTC", "weekly": [{"days": ["mon"], "from": "08:00", "to": "09:00"}]}},
            {},
            "schedule",
            "the schedule does not hold",
        ),
    ],
)
async def test_a_fix_inside_that_does_not_count_names_the_line(
    api: Api, options: Json, fix: Json, line: str, says: str
) -> None:
    fence = await api.new_fence(square(), **options)
    async with cab(api) as taxi:
        await go(taxi, (0, OUT))
        await go(taxi, (60, IN), **fix)
        assert await api.events() == []
        found = await explain(api, fence, taxi, 60)
    here = found["fixes"][1]
    assert (here["inside"], here["line"]) == (True, line)
    assert says in here["because"]
    assert says in found["summary"]


async def test_a_margin_keeps_an_asset_inside_and_says_so(api: Api) -> None:
    fence = await api.new_fence(square(), exit_margin_m=20)
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (60, IN), (120, EDGE), (180, EDGE))
        found = await explain(api, fence, taxi, 150, window_s=40)
    assert lines(found) == ["exit_margin", "exit_margin"]
    assert found["before"]["side"] == "inside"
    assert found["summary"].startswith("The asset was inside all the time: none of the 2 fixes that the geofence saw")
    assert "2 were unsure: they are outside but within exit_margin_m" in found["summary"]


async def test_what_the_geofence_did_not_see_says_why(api: Api) -> None:
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (60, IN))
        fence = await api.new_fence(square())
        buses = await api.new_fence(square(), assets={"tags": ["bus"]})
        found = await explain(api, fence, taxi, 60)
        assert found["summary"] == (
            "None of the 2 fixes was seen by the geofence: 2 stored before the geofence was made."
        )
        assert [fix["because"] for fix in found["fixes"]] == ["not seen: stored before the geofence was made"] * 2
        await go(taxi, (120, OUT))
        await go(taxi, (180, IN), accuracy_m=5000)
        await go(taxi, (240, OUT), (240, OUT))
        found = await explain(api, fence, taxi, 180)
        assert lines(found) == ["stored_before"] * 2 + ["outside", "flagged", "outside", "repeat"]
        assert found["fixes"][3]["because"] == "not seen: flagged poor_accuracy"
        assert found["fixes"][3]["inside"] is True
        assert found["summary"].endswith("4 more were not seen.")
        found = await explain(api, buses, taxi, 180)
        assert set(lines(found)) == {"stored_before", "flagged", "other_asset"}
        assert "the asset does not match the geofence's assets filter" in found["summary"]


async def test_jumps_are_named(api: Api) -> None:
    fence = await api.new_fence(square())
    async with cab(api) as taxi:
        await api.call("PATCH", f"/v1/assets/{taxi.asset}", {"thresholds": {"max_speed_mps": 350}})
        await go(taxi, (0, (12.0, 52.0)), (10, IN), (20, (12.0, 52.0)))
        found = await explain(api, fence, taxi, 10)
    assert found["fixes"][1]["because"] == "not seen: flagged jump"
    assert "1 more were not seen" in found["summary"]


async def test_silence_names_the_fixes_around(api: Api) -> None:
    fence = await api.new_fence(square())
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (7200, OUT))
        found = await explain(api, fence, taxi, 3600)
    assert found["fixes"] == []
    assert found["summary"].startswith("No fix of the asset is stored from ")
    assert found["summary"].endswith(
        "The last before: 2025-06-15T15:06:40.000Z; the first after: 2025-06-15T17:06:40.000Z."
    )


async def test_if_there_is_an_event_it_is_named_and_changes_have_their_place(api: Api) -> None:
    fence = await api.new_fence(square())
    async with cab(api) as taxi:
        await go(taxi, (0, OUT), (60, IN))
        await api.call("PATCH", f"/v1/geofences/{fence}", {"geometry": square(SIZE / 4)})
        await go(taxi, (120, IN), (180, OUT))
        found = await explain(api, fence, taxi, 61)
        again = await explain(api, fence, taxi, 150, window_s=45)
    assert found["summary"].startswith("There is one: enter at 2025-06-15T15:07:40.000Z; 2 events")
    assert [(each["type"], each.get("cause")) for each in found["told"]] == [
        ("geofence.enter", None), ("geofence.exit", "fence_changed"),
    ]  # fmt: skip
    assert [(change["version"], change["side"]) for change in found["changes"]] == [(2, "outside")]
    assert [fix["version"] for fix in found["fixes"]] == [1, 1, 2, 2]
    assert again["told"] == []
    assert again["before"]["side"] == "outside"


async def test_a_question_that_makes_no_sense_is_refused(api: Api) -> None:
    fence = await api.new_fence(square())
    body = {"asset": "ast_99", "time": START_MS}
    assert (await api.problem("POST", f"/v1/geofences/{fence}/explain", body, expect=422))["field"] == "asset"
    assert (await api.problem("POST", f"/v1/geofences/{fence}/explain", {"asset": "ast_1"}, expect=422))[
        "field"
    ] == "time"
    await api.problem("POST", "/v1/geofences/gf_99/explain", body, expect=404)
    async with cab(api) as taxi:
        body = {"asset": taxi.asset, "time": START_MS, "window_s": 1e9}
        assert (await api.problem("POST", f"/v1/geofences/{fence}/explain", body, expect=422))["field"] == "window_s"
