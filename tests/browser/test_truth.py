"""What the page tells of events that were corrected, of reasons, of geofences, and of an asset's day."""

import time
from typing import Any, Final

from playwright.async_api import expect

from tests.browser.screen import ONE_LOOP, Screen
from tests.browser.test_page import HERE, SQUARE, cab_in_view
from tests.integration.api import Api, NewDevice, until

pytestmark = ONE_LOOP

OUTSIDE: Final = HERE[0] + 0.004


async def send_old(
    api: Api, device: NewDevice, *fixes: tuple[float, float], now_ms: float | None = None, **more: Any
) -> None:
    """Fixes as (seconds ago, lon), all on one parallel, committed when this returns."""
    now_ms = now_ms or time.time() * 1000
    body = [{"lon": lon, "lat": HERE[1], "time": round(now_ms - ago_s * 1000), **more} for ago_s, lon in fixes]
    answer = await api.send("POST", "/v1/ingest", json=body, token=device.token)
    assert (await answer.json())["rejects"] == []


async def test_a_correction_takes_the_place_of_what_it_corrects(screen: Screen, api: Api) -> None:
    await api.new_fence({"type": "Polygon", "coordinates": [SQUARE]}, name="Station square")
    device = await api.new_device("Cab 7")
    await screen.sign_in()
    now_ms = time.time() * 1000
    await send_old(api, device, (600, OUTSIDE), (300, HERE[0]), now_ms=now_ms)
    feed = screen.page.get_by_role("log").get_by_role("listitem")
    await expect(feed).to_have_count(1)
    await expect(feed).not_to_contain_text("corrected")
    await send_old(api, device, (400, HERE[0]), now_ms=now_ms)  # so it came earlier
    await expect(feed).to_contain_text("corrected")
    await expect(feed).to_contain_text("1 min 15 s earlier")  # between the fixes lies the crossing of the edge
    await expect(feed.locator("s")).to_have_count(1)
    await expect(feed).to_have_count(1)
    await send_old(api, device, (350, OUTSIDE), now_ms=now_ms)  # and was away in between
    await expect(feed).to_have_count(3)
    await expect(feed.first).to_contain_text("late")


async def test_why_shows_the_fixes_that_decided_and_gives_the_keyboard_back(screen: Screen, api: Api) -> None:
    await api.new_fence({"type": "Polygon", "coordinates": [SQUARE]}, name="Station square", confirm_fixes=2)
    device = await api.new_device("Cab 7")
    await send_old(api, device, (60, OUTSIDE), (40, HERE[0]), (20, HERE[0] + 0.0002), accuracy_m=5)
    await screen.sign_in()
    button = screen.page.get_by_role("button", name="Why? Cab 7 entered Station square")
    await button.focus()
    await screen.page.keyboard.press("Enter")
    panel = screen.page.get_by_role("region", name="Explanation")
    await expect(panel.get_by_role("heading", name="Why?")).to_be_focused()
    fixes = panel.locator(".fix")
    await expect(fixes).to_have_count(3)
    await expect(fixes.first).to_contain_text("Out")
    await expect(fixes.last).to_contain_text("decided")
    await expect(panel).to_contain_text("Believes 2 fixes in a row")
    await screen.page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await expect(panel).to_be_hidden()


async def test_a_corridor_is_drawn_as_wide_as_it_is_and_told_in_words(screen: Screen, api: Api) -> None:
    await cab_in_view(screen, api)
    x, y = await screen.label("Cab 7")
    beside = (x, y + 60)  # some 70 m south of the path that follows
    before = await screen.pixel(*beside)
    weekly = [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "17:30"}]
    await api.new_fence(
        {"type": "LineString", "coordinates": [[HERE[0] - 0.004, HERE[1]], [HERE[0] + 0.004, HERE[1]]]},
        name="Tram works",
        buffer_m=150,
        exit_margin_m=30,
        schedule={"time_zone": "Europe/Helsinki", "weekly": weekly},
    )
    await screen.page.reload()
    await screen.live()
    await screen.page.get_by_role("searchbox").fill("tram works")
    await screen.page.get_by_role("list", name="Geofences").get_by_role("button").focus()
    await screen.page.keyboard.press("Enter")
    panel = screen.page.get_by_role("region", name="Geofence")
    for words in (
        "Corridor, 150 m to each side",
        "Mon\u2013Fri 08:00\u201317:30",
        "Europe/Helsinki",
        "over 30 m from the edge",
    ):
        await expect(panel).to_contain_text(words)

    async def tinted() -> bool:
        at_x, at_y = await screen.label("Cab 7")
        return await screen.pixel(at_x, at_y + 60) != before

    await until(tinted)


async def test_an_asset_shows_its_day_and_whether_it_is_heard_of(screen: Screen, api: Api) -> None:
    fence = await api.new_fence({"type": "Polygon", "coordinates": [SQUARE]}, name="Station square")
    device = await api.new_device("Cab 7")
    stood = [(1500 - 30 * step, OUTSIDE) for step in range(30)]
    drove = [(600 - 20 * step, OUTSIDE - 0.0004 * step) for step in range(12)]
    await send_old(api, device, *stood, *drove)
    await screen.sign_in()
    await screen.page.get_by_role("button", name="Cab 7").first.click()
    panel = screen.page.get_by_role("region", name="Asset")
    await expect(panel).to_contain_text("Online since")
    day = panel.get_by_role("region", name="Today")
    await expect(day).to_contain_text("1 stop")
    await expect(day.get_by_role("list", name="Stops and trips")).to_contain_text("Stop, 15 min")
    visit = day.get_by_role("list", name="Visits").get_by_role("button", name="Station square")
    await visit.first.click()
    await expect(screen.page.get_by_role("region", name="Geofence")).to_contain_text("No options")
    await screen.page.keyboard.press("Escape")
    await expect(panel.get_by_role("heading", name="Cab 7")).to_be_visible()
    await api.send("DELETE", f"/v1/geofences/{fence}")
