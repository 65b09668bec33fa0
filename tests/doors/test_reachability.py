"""What the API shows of who is heard of, and how long a device may say nothing."""

import time
from typing import Any

import pytest

from tests.doors.conftest import Api
from tracker.doors.keys import REACHABILITY


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def fleet(api: Api, count: int) -> None:
    """Assets and devices 1 to count: each third was never heard of, each third is online, each third is offline."""
    await api.call("POST", "/v1/devices", [{"name": f"cab {n}"} for n in range(1, count + 1)], expect=201)
    for number in range(1, count + 1):
        if number % 3:
            api.app[REACHABILITY].hear_word(number, now_ms() - (number % 3 - 1) * 3_600_000)


@pytest.mark.parametrize(("state", "remainder"), [("never", 0), ("online", 1), ("offline", 2)])
async def test_assets_are_listed_by_state_page_by_page(api: Api, state: str, remainder: int) -> None:
    await fleet(api, 20)
    found = await api.pages(f"/v1/assets?state={state}", "assets", 3)
    assert [each["id"] for each in found] == [f"ast_{n}" for n in range(1, 21) if n % 3 == remainder]
    assert {each["connection"]["state"] for each in found} == {state}


async def test_a_state_that_nobody_is_in_lists_nobody(api: Api) -> None:
    await fleet(api, 3)
    assert await api.call("GET", "/v1/assets?state=silent") == {"assets": [], "next": None}


async def test_a_state_that_there_is_not_is_refused(api: Api) -> None:
    problem = await api.problem("GET", "/v1/assets?state=asleep", expect=422)
    assert problem["field"] == "state"
    assert "never, online, silent, offline" in problem["detail"]


async def test_what_was_changed_shows_its_connection_too(api: Api) -> None:
    await fleet(api, 1)
    online = (await api.call("GET", "/v1/assets/ast_1"))["connection"]
    assert (await api.call("PATCH", "/v1/devices/dev_1", {"name": "x"}))["connection"] == online
    made = await api.call("POST", "/v1/assets", {"name": "new"}, expect=201)
    assert made["connection"]["state"] == "never"


async def test_a_device_may_be_allowed_to_say_nothing_for_longer(api: Api) -> None:
    await fleet(api, 2)
    assert (await api.call("GET", "/v1/assets/ast_2"))["connection"]["state"] == "offline"
    patch = {"config": {"silent_after_s": 7_200, "interval_s": 3_600}}
    changed = await api.call("PATCH", "/v1/devices/dev_2", patch)
    assert changed["config"] == patch["config"], "the device is told, too"
    assert changed["connection"]["state"] == "online"
    changed = await api.call("PATCH", "/v1/devices/dev_2", {"config": {}})
    assert changed["connection"]["state"] == "offline"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"silent_after_s": 0.9}, "config.silent_after_s"),
        ({"silent_after_s": "120"}, "config.silent_after_s"),
        ({"silent_after_s": None}, "config.silent_after_s"),
        ({"silent_after_s": True}, "config.silent_after_s"),
        ({"silent_after_s": 2_592_001}, "config.silent_after_s"),
        ({"offline_after_s": -5}, "config.offline_after_s"),
        ({"offline_after_s": [600]}, "config.offline_after_s"),
        ({"offline_after_s": 119}, "config.offline_after_s"),
        ({"silent_after_s": 300, "offline_after_s": 299}, "config.offline_after_s"),
    ],
)
async def test_a_bad_length_of_time_is_named(api: Api, config: dict[str, Any], field: str) -> None:
    await fleet(api, 1)
    problem = await api.problem("PATCH", "/v1/devices/dev_1", {"config": config}, expect=422)
    assert problem["field"] == field
    assert (await api.call("GET", "/v1/devices/dev_1"))["config"] == {}
