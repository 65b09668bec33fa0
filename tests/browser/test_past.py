"""History on the map comes from tiles: a page asks for what can be seen, however much there is."""

import time
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.screen import ONE_LOOP, Screen
from tests.browser.test_page import HERE, send
from tests.integration.api import Api, NewDevice, ms_of, until
from tracker.doors import tiles

pytestmark = ONE_LOOP

DAY_MS: Final = 86_400_000
EAST: Final = 0.0012  # of HERE: some 56 pixels
ASSETS: Final = "assets?limit=50"
FENCES: Final = "geofences?limit=5"


async def walked(api: Api, device: NewDevice, days_ago: int) -> int:
    """A thousand fixes of one hour, up and down a street that lies EAST of HERE; when the first one was."""
    began_ms = round(time.time() * 1000) - days_ago * DAY_MS
    body = [
        {"lon": HERE[0] + EAST, "lat": HERE[1] + (step % 100 - 50) * 2e-5, "time": began_ms + step * 3_600}
        for step in range(1_000)
    ]
    assert (await api.send("POST", "/v1/ingest", json=body, token=device.token)).status == 200
    return began_ms


async def test_a_long_way_is_drawn_from_tiles_that_say_when_and_what_is_too_much(
    screen: Screen, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await api.new_device("Cab 7")
    for days_ago in (20, 10):
        await walked(api, device, days_ago)
    await send(api, device, *HERE)
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    await screen.sign_in()
    await screen.page.get_by_role("button", name="Cab 7").first.click()
    panel = screen.page.get_by_role("region", name="Asset")
    await expect(screen.page.locator(".label-selected")).to_be_visible()

    async def street_is_blue() -> bool:
        x, y = await screen.label("Cab 7")
        red, _, blue = await screen.pixel(x + EAST / 360 * 512 * 2**15.5, y + 30)
        return blue > red + 40

    assert not await street_is_blue(), "nobody was there today"
    await panel.get_by_role("button", name="30 days").click()
    await until(street_is_blue)
    x, y = await screen.label("Cab 7")
    await screen.page.mouse.click(x + EAST / 360 * 512 * 2**15.5, y + 30)
    await expect(screen.page.get_by_role("tooltip")).to_contain_text("and 1 other time")

    spans = [parse_qs(urlsplit(url).query) for url in asked if "/track?" in url]
    assert spans
    for span in spans:  # the trail of the last half hour, and never more
        assert ms_of(span["to"][0]) - ms_of(span["from"][0]) <= 1_800_000

    monkeypatch.setattr(tiles, "MAX_POINTS", 1)
    await panel.get_by_role("button", name="Year").click()
    await expect(panel).to_contain_text("ask for a shorter time")
    screen.complaints.clear()  # the browser's about the answer


async def test_where_the_fleet_has_been_is_dots_that_count_fixes(screen: Screen, api: Api) -> None:
    device = await api.new_device("Cab 7")
    await walked(api, device, 3)
    await send(api, device, *HERE)
    await screen.sign_in()
    await expect(screen.page.locator(".label")).to_be_visible()
    x, y = await screen.label("Cab 7")
    place = x + EAST / 360 * 512 * 2**15.5, y + 30
    await screen.page.get_by_role("button", name="Where the fleet has been").click()
    card = screen.page.get_by_role("region", name="Where the fleet has been")
    await expect(card).to_contain_text("Fixes of all assets")
    await card.get_by_role("button", name="7 days").click()

    async def warm() -> bool:
        red, _, blue = await screen.pixel(*place)
        return red > blue + 60

    await until(warm)
    await card.get_by_role("button", name="Close").click()

    async def plain() -> bool:
        return not await warm()

    await until(plain)


async def test_no_list_of_everything_is_asked_for(screen: Screen, api: Api) -> None:
    await send(api, await api.new_device("Cab 7"), *HERE)
    await api.new_fence({"type": "Point", "coordinates": list(HERE)}, name="Ring", radius_m=400)
    asked: set[str] = set()
    screen.page.on("request", lambda request: asked.add(request.url.removeprefix(screen.url)))
    await screen.sign_in()
    await send(api, await api.new_device("MV Pelagia"), -9.5, 42.5)
    await screen.page.get_by_role("searchbox").fill("PELAG")
    await expect(screen.page.get_by_role("button", name="MV Pelagia")).to_contain_text("online")
    await screen.page.get_by_role("searchbox").fill("ring")
    await screen.page.get_by_role("list", name="Geofences").get_by_role("button").click()
    await expect(screen.page.get_by_role("region", name="Geofence")).to_contain_text("400 m")
    await screen.page.get_by_role("button", name="Close the geofence").click()
    await screen.page.get_by_role("button", name="Show the whole fleet").click()
    await until(lambda: whole_fleet(screen))
    lists = {url for url in asked if urlsplit(url).path in ("/v1/assets", "/v1/geofences", "/v1/positions")}
    assert lists == {f"/v1/{what}&q={words}" for what in (ASSETS, FENCES) for words in ("pelag", "ring")}


async def whole_fleet(screen: Screen) -> bool:
    return "2 in view" in await screen.page.locator(".summary").inner_text()
