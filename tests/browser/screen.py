"""What a person does and sees in the browser, and what must never happen while they do."""

import base64
from types import TracebackType
from typing import Any, Final, Self

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.integration.api import ADMIN

ONE_LOOP: Final = pytest.mark.asyncio(loop_scope="session")  # that of the browser
DESKTOP: Final = (1280, 800)
PHONE: Final = (390, 844)

# Frames are counted where they are made: each begins by clearing its canvas.
_COUNT_FRAMES: Final = """
window.drawn = 0;
const clear = WebGL2RenderingContext.prototype.clear;
WebGL2RenderingContext.prototype.clear = function (...mask) { window.drawn += 1; return clear.apply(this, mask); };
window.violations = [];
document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
  window.violations.push(`${violatedDirective} ${blockedURI}`);
});
"""
_PIXEL: Final = """
async ([png, x, y]) => {
  const image = new Image();
  image.src = 'data:image/png;base64,' + png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
  canvas.drawImage(image, 0, 0);
  return [...canvas.getImageData(x, y, 1, 1).data].slice(0, 3);
}
"""
_FRAMES: Final = """
(count) => new Promise((done) => {
  const next = () => (count-- > 0 ? requestAnimationFrame(next) : done());
  next();
})
"""
_NO_SERVER: Final = ("net::", "WebSocket", "Failed to fetch")
_NOT_OURS: Final = ("GPU stall", "GL Driver Message", "Password forms should have")
_MENDED: Final = ("map: Failed to fetch",)  # on a busy machine a tile may fail: the page asks for it again


class Screen:
    """One window of one person; leaving it fails the test if the page complained."""

    page: Page

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        size: tuple[int, int] = DESKTOP,
        theme: Any = "light",
        bypass_csp: bool = False,
    ) -> None:
        self.url = url
        self._browser = browser
        self._options: dict[str, Any] = {
            "viewport": {"width": size[0], "height": size[1]},
            "color_scheme": theme,
            "bypass_csp": bypass_csp,
            "has_touch": size == PHONE,
            "is_mobile": size == PHONE,
        }
        self._context: BrowserContext | None = None
        self.complaints: list[str] = []
        self.server_gone = False  # while it is, failed requests are no complaint

    async def __aenter__(self) -> Self:
        self._context = await self._browser.new_context(**self._options)
        self.page = await self._context.new_page()
        await self.page.add_init_script(_COUNT_FRAMES)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        violations = [] if self.page.url == "about:blank" else await self.page.evaluate("window.violations")
        complaints = list(self.complaints)  # closing breaks off what is being fetched, which is heard, too
        assert self._context is not None
        await self._context.close()
        if error is None:
            assert not violations, violations
            assert not complaints, complaints

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning") or any(part in message.text for part in _NOT_OURS + _MENDED):
            return
        if not (self.server_gone and any(part in message.text for part in _NO_SERVER)):
            self.complaints.append(message.text)

    async def sign_in(self) -> None:
        """By pasting the token; ends when the page is live."""
        await self.page.goto(self.url + "/sign-in")
        await self.page.get_by_label("Token").fill(ADMIN)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.live()

    async def live(self) -> None:
        await expect(self.page.locator(".connection")).to_have_text("Live", timeout=30_000)

    async def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour of a point of what is to be seen now."""
        png = base64.b64encode(await self.page.screenshot()).decode()
        red, green, blue = await self.page.evaluate(_PIXEL, [png, round(x), round(y)])
        return red, green, blue

    async def label(self, name: str) -> tuple[float, float]:
        """Where an asset's marker is on the screen, by the name beside it."""
        box = await self.page.locator(".label", has_text=name).bounding_box()
        assert box is not None
        return box["x"] - 17, box["y"] + box["height"] / 2

    async def frames(self, count: int) -> None:
        """Lets the browser come to so many chances to draw."""
        await self.page.evaluate(_FRAMES, count)
