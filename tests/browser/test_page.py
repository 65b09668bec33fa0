from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, expect

from tests.browser.screen import ONE_LOOP, PHONE, Screen
from tests.integration.api import Api, NewDevice, until
from tests.integration.served import Served
from tracker.live import views

pytestmark = ONE_LOOP

HERE: Final = (24.9440, 60.1716)  # in the middle of the streets that the base map has
SQUARE: Final = [[24.943, 60.1711], [24.945, 60.1711], [24.945, 60.1721], [24.943, 60.1721], [24.943, 60.1711]]
AXE: Final = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


async def send(api: Api, device: NewDevice, lon: float, lat: float, **more: Any) -> None:
    """One fix, taken now and committed when this returns."""
    answer = await api.send("POST", "/v1/ingest", json=[{"lon": lon, "lat": lat, **more}], token=device.token)
    assert answer.status == 200
    assert (await answer.json())["rejects"] == []


async def cab_in_view(screen: Screen, api: Api, **more: Any) -> NewDevice:
    """Signed in, with a Cab 7 that is seen HERE and chosen."""
    device = await api.new_device("Cab 7")
    await send(api, device, *HERE, **more)
    await screen.sign_in()
    await screen.page.get_by_role("button", name="Cab 7").click()
    await expect(screen.page.locator(".label-selected")).to_be_visible()
    return device


async def test_a_page_without_a_session_leads_to_signing_in_and_back(screen: Screen, api: Api) -> None:
    await screen.page.goto(screen.url + "/sign-in")
    await screen.page.get_by_label("Token").fill("not-a-token-that-anybody-has")
    await screen.page.get_by_role("button", name="Sign in").click()
    await expect(screen.page.get_by_role("alert")).to_be_visible()
    screen.complaints.clear()  # the refusal's status
    await screen.sign_in()
    await screen.page.get_by_role("button", name="Sign out").click()
    await expect(screen.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_newcomer_makes_a_device_with_a_click_and_sees_its_first_fix(screen: Screen, api: Api) -> None:
    await screen.sign_in()
    await expect(screen.page.get_by_role("heading", name="Nothing on the map yet")).to_be_visible()
    await screen.page.get_by_role("button", name="Make a device").click()
    line = screen.page.locator(".empty pre")
    await expect(line).not_to_contain_text("DEVICE_TOKEN")
    token = (await line.inner_text()).partition("Bearer ")[2].partition("'")[0]
    await send(api, NewDevice("", token, ""), *HERE)
    await expect(screen.page.get_by_role("button", name="My first device")).to_be_visible()
    await expect(screen.page.get_by_role("heading", name="Nothing on the map yet")).to_be_hidden()


async def test_a_click_on_a_marker_shows_what_is_known_and_its_way(screen: Screen, api: Api) -> None:
    device = await api.new_device("Cab 7")
    for step in range(4):
        await send(api, device, HERE[0] - 0.0012 + step * 0.0004, HERE[1], speed_mps=8.5, course_deg=90, accuracy_m=4)
    await screen.sign_in()
    await expect(screen.page.locator(".label", has_text="Cab 7")).to_be_visible()
    x, y = await screen.label("Cab 7")
    await screen.page.mouse.click(x, y)
    panel = screen.page.get_by_role("region", name="Asset")
    await expect(panel.get_by_role("heading", name="Cab 7")).to_be_visible()
    await expect(panel).to_contain_text("31 km/h")
    await expect(panel).to_contain_text("90° E")
    await expect(panel).to_contain_text("± 4 m")
    await expect(panel).to_contain_text("Travelled")

    async def trail_is_blue() -> bool:
        at_x, at_y = await screen.label("Cab 7")
        red, _, blue = await screen.pixel(at_x - 40, at_y)
        return blue > red + 60

    await until(trail_is_blue)


async def test_a_fix_that_is_not_believed_is_a_hollow_point_that_says_why(screen: Screen, api: Api) -> None:
    device = await api.new_device("Cab 7")
    await send(api, device, HERE[0] + 0.0015, HERE[1], accuracy_m=5_000)
    await send(api, device, *HERE, speed_mps=5)
    await screen.sign_in()
    await screen.page.get_by_role("button", name="Cab 7").click()
    tip = screen.page.get_by_role("tooltip")

    async def says_why() -> bool:
        x, y = await screen.label("Cab 7")
        await screen.page.mouse.move(x, y + 50)  # a mouse that rests says nothing
        await screen.page.mouse.move(x + 0.0015 / 360 * 512 * 2**15.5, y)
        return await tip.is_visible() and "poor accuracy" in await tip.inner_text()

    await until(says_why)


async def test_a_marker_glides_to_its_next_fix_instead_of_jumping(screen: Screen, api: Api) -> None:
    device = await cab_in_view(screen, api, speed_mps=5)
    await screen.page.evaluate(
        """() => {
            window.places = new Set();
            const look = () => {
              const label = document.querySelector('.label-selected');
              if (label) window.places.add(label.style.transform);
              requestAnimationFrame(look);
            };
            look();
        }"""
    )
    await screen.frames(30)
    await screen.page.evaluate("window.places.clear()")
    await send(api, device, HERE[0] + 0.001, HERE[1], speed_mps=5)

    async def glided() -> bool:
        return bool(await screen.page.evaluate("window.places.size > 4"))

    await until(glided)


async def test_nothing_is_drawn_while_nothing_moves(screen: Screen, api: Api) -> None:
    device = await api.new_device("Cab 7")
    await send(api, device, *HERE)
    await screen.sign_in()
    await expect(screen.page.get_by_role("button", name="Cab 7")).to_be_visible()

    async def at_rest() -> bool:
        before = await screen.page.evaluate("window.drawn")
        await screen.frames(90)
        return bool(await screen.page.evaluate("window.drawn") == before)

    await until(at_rest)


async def test_the_feed_grows_on_top_and_the_fence_is_drawn(screen: Screen, api: Api) -> None:
    fence = await api.new_fence({"type": "Polygon", "coordinates": [SQUARE]}, name="Station square")
    device = await api.new_device("Cab 7")
    await send(api, device, HERE[0] + 0.004, HERE[1])
    await screen.sign_in()
    feed = screen.page.get_by_role("log").get_by_role("listitem")
    await expect(screen.page.get_by_text("No events yet")).to_be_visible()
    await send(api, device, *HERE)
    await expect(feed).to_have_count(1)
    await send(api, device, HERE[0] + 0.004, HERE[1])
    await expect(feed).to_have_count(2)
    await expect(feed.first).to_contain_text("Cab 7 left Station square")
    await expect(feed.last).to_contain_text("Cab 7 entered Station square")

    await feed.last.locator(".event-main").click()  # brings the map to the fence
    await screen.page.reload()  # and what was read before is still there
    await expect(feed).to_have_count(2)
    await api.send("DELETE", f"/v1/geofences/{fence}")


async def test_a_geofence_that_is_made_while_one_looks_appears_with_its_first_event(screen: Screen, api: Api) -> None:
    device = await cab_in_view(screen, api)
    x, y = await screen.label("Cab 7")
    before = await screen.pixel(x, y + 60)
    circle = {"type": "Point", "coordinates": list(HERE)}
    await api.new_fence(circle, name="Ring", radius_m=400)
    await send(api, device, *HERE)
    panel = screen.page.get_by_role("region", name="Asset")
    await expect(panel.get_by_label("In these geofences")).to_contain_text("Ring")

    async def tinted() -> bool:
        return await screen.pixel(x, y + 60) != before

    await until(tinted)


async def test_the_server_goes_and_comes_back_and_the_page_goes_on_without_a_flash(
    browser: Browser, served: Served, http: ClientSession
) -> None:
    await served.start(http)
    api = Api(served.url, http)
    await api.new_fence({"type": "Polygon", "coordinates": [SQUARE]}, name="Station square")
    device = await api.new_device("Cab 7")
    await send(api, device, HERE[0] + 0.004, HERE[1])
    async with Screen(browser, served.url) as screen:
        await screen.sign_in()
        row = screen.page.get_by_role("button", name="Cab 7")
        await expect(row).to_be_visible()
        await screen.page.evaluate(
            """() => {
                window.emptied = 0;
                const list = document.querySelector('.panel-left');
                new MutationObserver(() => { if (!list.querySelector('.row')) window.emptied += 1; })
                  .observe(list, { childList: true, subtree: true });
            }"""
        )
        screen.server_gone = True
        served.kill()
        await expect(screen.page.locator(".connection")).to_have_text("Reconnecting")
        await expect(row).to_be_visible()
        await served.start(http)
        sockets = list[str]()
        screen.page.on("websocket", lambda socket: sockets.append(socket.url))
        await send(api, device, *HERE)
        await screen.live()
        assert len(sockets) <= 2, "one that was under way when the server came back, and the next"
        await expect(screen.page.get_by_role("log")).to_contain_text("Cab 7 entered Station square")
        assert await screen.page.evaluate("window.emptied") == 0


async def test_a_session_that_ends_elsewhere_is_said_and_not_retried(screen: Screen, api: Api) -> None:
    await screen.sign_in()
    cookies = await screen.page.context.cookies()
    cookie = "; ".join(f"{each['name']}={each['value']}" for each in cookies)
    headers = {"Cookie": cookie, "Origin": screen.url}
    assert (await api.send("POST", "/sign-out", token=None, headers=headers)).status == 303
    await expect(screen.page.get_by_role("alert")).to_contain_text("Your session has ended")
    await expect(screen.page.locator(".connection")).to_have_text("Signed out")
    screen.complaints.clear()


async def test_the_list_is_worked_with_the_keyboard_alone(screen: Screen, api: Api) -> None:
    for name in ("Cab 7", "Cab 8", "Van 1"):
        await send(api, await api.new_device(name), *HERE)
    await screen.sign_in()
    await expect(screen.page.locator(".row")).to_have_count(3)
    await screen.page.keyboard.press("/")
    await screen.page.keyboard.type("cab")
    await expect(screen.page.locator(".row")).to_have_count(2)
    await screen.page.locator(".row").first.focus()
    await screen.page.keyboard.press("ArrowDown")
    await screen.page.keyboard.press("Enter")
    await expect(screen.page.get_by_role("heading", name="Cab 8")).to_be_visible()
    await screen.page.keyboard.press("Escape")
    await expect(screen.page.get_by_role("heading", name="Cab 8")).to_be_hidden()


async def test_a_search_finds_what_is_outside_the_view_and_flies_there(screen: Screen, api: Api) -> None:
    await send(api, await api.new_device("Cab 7"), *HERE)
    await screen.sign_in()
    await expect(screen.page.get_by_role("button", name="Cab 7")).to_be_visible()
    await send(api, await api.new_device("MV Pelagia"), -9.5, 42.5)
    await screen.page.get_by_role("searchbox").fill("pelagia")
    await screen.page.get_by_role("button", name="MV Pelagia").click()
    await expect(screen.page.locator(".label-selected")).to_have_text("MV Pelagia")


async def test_a_crowd_is_bubbles_and_a_list_that_leads_into_them(
    screen: Screen, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "DENSITY", 3)
    monkeypatch.setattr(views, "SPARSE", 3)
    for number in range(3):
        await send(api, await api.new_device(f"Cab {number}"), HERE[0] + number / 1000, HERE[1])
    for number in range(2):
        await send(api, await api.new_device(f"Van {number}"), 13.4 + number / 1000, 52.5)
    await screen.sign_in()
    crowds = screen.page.get_by_role("list", name="Clusters").get_by_role("button")
    await expect(crowds).to_have_count(2)
    await expect(crowds.first).to_contain_text("3 assets")
    await expect(screen.page.locator(".bubble")).to_have_count(2)
    await expect(screen.page.locator(".summary")).to_contain_text("About 5 in view")
    await crowds.first.focus()
    await screen.page.keyboard.press("Enter")
    await expect(screen.page.get_by_role("list", name="Assets").get_by_role("button")).to_have_count(3)
    await screen.page.get_by_role("searchbox").fill("van 1")
    await screen.page.get_by_role("button", name="Van 1").click()
    await expect(screen.page.locator(".label-selected")).to_have_text("Van 1")


async def test_on_a_phone_everything_is_in_a_sheet_from_below(browser: Browser, screen: Screen, api: Api) -> None:
    await send(api, await api.new_device("Cab 7"), *HERE, speed_mps=3)
    async with Screen(browser, screen.url, size=PHONE, theme="dark") as phone:
        await phone.sign_in()
        await phone.page.get_by_role("tab", name="Events").tap()
        await expect(phone.page.get_by_text("No events yet")).to_be_visible()
        await phone.page.get_by_role("tab", name="Fleet").tap()
        await phone.page.get_by_role("button", name="Cab 7").tap()
        await expect(phone.page.get_by_role("button", name="Follow")).to_be_visible()
        wide = await phone.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_rule_of_accessibility_is_broken(browser: Browser, screen: Screen, api: Api, theme: str) -> None:
    circle = {"type": "Point", "coordinates": list(HERE)}
    await api.new_fence(circle, name="Ring", radius_m=400, exit_margin_m=30, assets={"tags": ["bus"]}, quality="all")
    await api.new_fence(circle, name="Yard", radius_m=200)
    await send(api, await api.new_device("Cab 7"), *HERE, speed_mps=3)
    async with Screen(browser, screen.url, theme=theme, bypass_csp=True) as seen:  # the judge is a script of its own
        await seen.page.goto(seen.url + "/sign-in")
        await judge(seen)
        await seen.sign_in()
        row = seen.page.get_by_role("list", name="Assets").get_by_role("button", name="Cab 7")
        await expect(row).to_be_visible()
        await judge(seen)
        await row.click()
        await expect(seen.page.get_by_role("button", name="Follow")).to_be_visible()
        await seen.page.get_by_role("button", name="Where the fleet has been", exact=True).click()
        await seen.page.get_by_role("button", name="Dates").first.click()
        await judge(seen)
        await seen.page.get_by_role("button", name="Close where the fleet has been").click()
        await seen.page.get_by_role("button", name="Why? Cab 7 entered Yard").click()
        await expect(seen.page.locator(".fix").first).to_be_visible()
        await judge(seen)
        await seen.page.keyboard.press("Escape")
        await seen.page.keyboard.press("Escape")
        await seen.page.get_by_role("searchbox").fill("ring")
        await seen.page.get_by_role("list", name="Geofences").get_by_role("button").click()
        await expect(seen.page.get_by_role("region", name="Geofence")).to_contain_text("Only tagged bus")
        await judge(seen)


async def judge(seen: Screen) -> None:
    await seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await seen.page.evaluate("axe.run(document)")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
