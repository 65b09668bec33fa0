import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.doors.conftest import Api
from tracker.domain.fleet import Thresholds
from tracker.doors.keys import FLEET, HUB
from tracker.store.snapshot import latest_columns


async def test_an_asset_is_made_read_changed_and_deleted(api: Api) -> None:
    made = await api.call(
        "POST", "/v1/assets", {"name": "Ferry", "tags": ["sea"], "attributes": {"deck": 2}}, expect=201
    )
    assert made["id"] == "ast_1"
    assert (made["tags"], made["attributes"], made["devices"]) == (["sea"], {"deck": 2}, [])
    changed = await api.call("PATCH", "/v1/assets/ast_1", {"name": "Ferry 2", "attributes": {}})
    assert (changed["name"], changed["tags"], changed["attributes"]) == ("Ferry 2", ["sea"], {})
    memory = api.app[FLEET].assets[1]
    assert (memory.name, memory.tags, memory.attributes) == ("Ferry 2", frozenset({"sea"}), {})
    await api.call("DELETE", "/v1/assets/ast_1", expect=204)
    assert api.app[FLEET].assets == {}
    await api.problem("GET", "/v1/assets/ast_1", expect=404)
    await api.problem("PATCH", "/v1/assets/ast_1", {"name": "x"}, expect=404)
    await api.problem("DELETE", "/v1/assets/ast_1", expect=404)
    assert api.told.changed == [({1}, set())] * 4 + [({1}, set())]


async def test_an_asset_has_thresholds_of_its_own(api: Api) -> None:
    default = {"max_speed_mps": 350, "max_accuracy_m": 1000}
    made = await api.call("POST", "/v1/assets", {"name": "Plain"}, expect=201)
    assert made["thresholds"] == default
    made = await api.call("POST", "/v1/assets", {"name": "Cab", "thresholds": {"max_speed_mps": 60}}, expect=201)
    assert made["thresholds"] == {**default, "max_speed_mps": 60}
    changed = await api.call("PATCH", "/v1/assets/ast_2", {"thresholds": {"max_accuracy_m": 99.5}})
    assert changed["thresholds"] == {"max_speed_mps": 60, "max_accuracy_m": 99.5}, "what is left out stays"
    assert api.app[FLEET].thresholds(2) == Thresholds(60, 99.5)
    await api.call("PATCH", "/v1/assets/ast_2", {"name": "Taxi"})
    assert (await api.call("GET", "/v1/assets/ast_2"))["thresholds"] == changed["thresholds"]
    changed = await api.call("PATCH", "/v1/assets/ast_2", {"thresholds": {"max_speed_mps": None}})
    assert changed["thresholds"] == {**default, "max_accuracy_m": 99.5}
    await api.call("PATCH", "/v1/assets/ast_2", {"thresholds": None})
    assert [each["thresholds"] for each in (await api.call("GET", "/v1/assets"))["assets"]] == [default, default]
    assert api.app[FLEET].thresholds(2) == Thresholds()


async def test_assets_are_found_by_words_in_the_name_or_a_tag_page_by_page(api: Api) -> None:
    for name, tags in (("Bus 7", ["Night"]), ("Tram 7", []), ("100% Äyri_bus", ["x"]), ("Cab", ["nightly"])):
        await api.call("POST", "/v1/assets", {"name": name, "tags": tags}, expect=201)

    async def found(query: str) -> list[str]:
        return [each["name"] for each in (await api.call("GET", f"/v1/assets?{query}"))["assets"]]

    assert await found("q=BUS") == ["Bus 7", "100% Äyri_bus"]
    assert await found("q=night") == ["Bus 7", "Cab"]
    assert await found("q=%20tram%207%20") == ["Tram 7"], "spaces around it are none of the words"
    assert await found("q=0%25") == await found("q=i_b") == ["100% Äyri_bus"], "no character means any other"
    assert await found("q=nobody") == await found("q=bus&state=online") == []
    assert await found("q=bus&state=never&after=ast_1") == ["100% Äyri_bus"]
    page = await api.call("GET", "/v1/assets?q=7&limit=1")
    assert ([each["name"] for each in page["assets"]], page["next"]) == (["Bus 7"], "ast_1")
    assert await found("q=") == await found("")
    assert (await api.problem("GET", f"/v1/assets?q={'x' * 201}", expect=422))["field"] == "q"


@pytest.mark.parametrize(
    ("thresholds", "field"),
    [
        ({"max_speed_mps": 0.9}, "thresholds.max_speed_mps"),
        ({"max_speed_mps": -60}, "thresholds.max_speed_mps"),
        ({"max_speed_mps": 100_001}, "thresholds.max_speed_mps"),
        ({"max_speed_mps": "60"}, "thresholds.max_speed_mps"),
        ({"max_accuracy_m": 0}, "thresholds.max_accuracy_m"),
        ({"max_accuracy_m": 1.1e7}, "thresholds.max_accuracy_m"),
        ({"max_speed_kmh": 200}, "thresholds.max_speed_kmh"),
        (60, "thresholds"),
    ],
)
async def test_a_bad_threshold_is_named(api: Api, thresholds: object, field: str) -> None:
    await api.call("POST", "/v1/assets", {"name": "a"}, expect=201)
    for method, path in (("POST", "/v1/assets"), ("PATCH", "/v1/assets/ast_1")):
        found = await api.problem(method, path, {"name": "a", "thresholds": thresholds}, expect=422)
        assert found["field"] == field


async def test_an_asset_with_devices_goes_only_when_they_are_to_go_too(api: Api) -> None:
    made = await api.call("POST", "/v1/devices", [{"name": "a"}, {"name": "b"}], expect=201)
    found = await api.problem("DELETE", "/v1/assets/ast_1", expect=409)
    assert "devices=true" in found["detail"]
    await api.call("DELETE", "/v1/assets/ast_1?devices=true", expect=204)
    assert (await api.call("GET", "/v1/devices"))["devices"][0]["id"] == made["devices"][1]["id"]
    assert list(api.app[FLEET].devices) == [2]
    await api.problem("GET", "/v1/devices/dev_1", expect=404)


async def test_an_asset_shows_where_it_is(api: Api) -> None:
    await api.call("POST", "/v1/devices", {"name": "Bus"}, expect=201)
    row = {
        "asset": 1, "device": 1, "time_ms": 1_700_000_000_000, "lon": 249_400_000, "lat": 601_700_000, "alt": None,
        "speed": 420, "course": 900, "accuracy": None, "attributes": None,
    }  # fmt: skip
    assets, columns = latest_columns([row])
    api.app[HUB].latest.put(assets, columns, assets - 1)
    position = (await api.call("GET", "/v1/assets/ast_1"))["position"]
    assert (position["lon"], position["lat"], position["speed_mps"], position["course_deg"]) == (24.94, 60.17, 4.2, 90)
    assert position["fix_time"] == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a\x00"}, "name"),
        ({"tags": ["ok", "bad\x00"], "name": "a"}, "tags[...]"),
        ({"tags": "bus", "name": "a"}, "tags"),
        ({"tags": [""], "name": "a"}, "tags[...]"),
        ({"attributes": {"x": {"y": "\x00"}}, "name": "a"}, "attributes.x.y"),
        ({"attributes": {"\x00": 1}, "name": "a"}, "attributes"),
        ({"attributes": {"x": "y" * 17_000}, "name": "a"}, "attributes"),
        ({"attributes": [], "name": "a"}, "attributes"),
        ({"nmae": "a"}, "nmae"),
    ],
)
async def test_a_bad_field_of_an_asset_is_named(api: Api, body: dict[str, object], field: str) -> None:
    for method, path in (("POST", "/v1/assets"), ("PATCH", "/v1/assets/ast_1")):
        found = await api.problem(method, path, body, expect=422)
        assert found["field"].partition("[")[0] == field.partition("[")[0]


async def test_only_a_device_of_the_asset_can_be_its_active_one(api: Api) -> None:
    await api.call("POST", "/v1/devices", [{"name": "a"}, {"name": "b"}], expect=201)
    for device in ("dev_2", "dev_9", "dev_99999999999", "ast_1", ""):
        found = await api.problem("PATCH", "/v1/assets/ast_1", {"active_device": device}, expect=422)
        assert found["field"] == "active_device"
    assert (await api.call("GET", "/v1/assets/ast_1"))["active_device"] == "dev_1"


@pytest.mark.parametrize(
    "asset", ["ast_0", "ast_-1", "ast_x", "dev_1", "1", "ast_99999999999", "ast_999999999999999999999", "%00"]
)
async def test_an_id_of_nothing_is_not_found(api: Api, asset: str) -> None:
    await api.problem("GET", f"/v1/assets/{asset}", expect=404)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 12))
async def test_pages_together_are_the_list(api: Api, limit: int) -> None:
    if not api.app[FLEET].assets:
        await api.call("POST", "/v1/devices", [{"name": f"d{i}"} for i in range(24)], expect=201)
        for gone in (3, 4, 12, 24):
            await api.call("DELETE", f"/v1/assets/ast_{gone}?devices=true", expect=204)
    found = [asset["id"] for asset in await api.pages("/v1/assets", "assets", limit)]
    assert found == [f"ast_{number}" for number in range(1, 25) if number not in (3, 4, 12, 24)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=٣", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=dev_1", "after"),
        ("after=1", "after"),
        ("tag=bus", "tag"),
    ],
)
async def test_a_list_refuses_what_it_would_ignore(api: Api, query: str, field: str) -> None:
    assert (await api.problem("GET", f"/v1/assets?{query}", expect=422))["field"] == field


async def test_empty_parameters_are_as_if_left_out(api: Api) -> None:
    assert await api.call("GET", "/v1/assets?limit=&after=") == {"assets": [], "next": None}
