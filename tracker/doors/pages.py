"""The pages of a browser: the live map, and the built files that it loads."""

import mimetypes
from functools import cache
from typing import Any, Final

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from tracker import __version__
from tracker.access.roles import CALLER, Role, require
from tracker.doors.keys import DATABASE, HUB
from tracker.resources import resource_dir
from tracker.wire import ids
from tracker.wire.events import event_of

RECENT_EVENTS: Final = 50
STATIC: Final = "/static/"
IMMUTABLE: Final = "public, max-age=31536000, immutable"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_APP: Final = "src/entries/app.tsx"
_PAGES: Final = "src/entries/pages.css"


class _Chunk(msgspec.Struct):
    file: str
    css: list[str] = []
    imports: list[str] = []


@cache
def _manifest() -> dict[str, _Chunk]:
    """What the build of the page made."""
    return msgspec.json.decode((resource_dir("web/dist") / "manifest.json").read_bytes(), type=dict[str, _Chunk])


def _styles(entry: str) -> list[str]:
    """The style sheets of an entry and of what it imports, those of the imports first."""
    chunk = _manifest()[entry]
    found = [url for part in chunk.imports for url in _styles(part)] + [STATIC + css for css in chunk.css]
    return list(dict.fromkeys(found))


@require(Role.VIEWER)
async def live_map(request: web.Request) -> web.StreamResponse:
    """The map, with what it needs to begin."""
    caller, hub = request[CALLER], request.app[HUB]
    recent = await request.app[DATABASE].rows("newest_events", RECENT_EVENTS)
    cursor = recent[-1]["id"] if recent else 0
    streets = sorted(
        path.name for path in (resource_dir("web/dist") / "basemap").glob("*.pmtiles") if path.name != "world.pmtiles"
    )
    boot: dict[str, Any] = {
        "version": __version__,
        "user": {"name": caller.name, "role": caller.role.label if caller.role else None},
        "event_cursor": ids.public_id(ids.EVENT, cursor),
        "recent_events": [msgspec.to_builtins(event_of(row)) for row in recent],
        "bounds": hub.latest.bounds(),
        "basemap": {
            "world": f"{STATIC}basemap/world.pmtiles",
            "streets": [f"{STATIC}basemap/{name}" for name in streets],
        },
    }
    assets = {"js": STATIC + _manifest()[_APP].file, "css": _styles(_APP)}
    return aiohttp_jinja2.render_template("app.html", request, {"boot": boot, "assets": assets})


@web.middleware
async def headers_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What every answer says about itself; nothing but our own files may run in a page."""
    response = await handler(request)
    if response.prepared:
        return response
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    if request.path.startswith(f"{STATIC}assets/"):
        response.headers["Cache-Control"] = IMMUTABLE
    elif request.path.startswith(STATIC):
        response.headers.setdefault("Cache-Control", "public, max-age=3600")
    else:
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def setup(app: web.Application) -> None:
    """Templates and built files."""
    mimetypes.add_type("application/vnd.pmtiles", ".pmtiles")
    mimetypes.add_type("text/javascript", ".mjs")
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(resource_dir("web/templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    # Not by a context processor: that would run at every request, those of devices and scripts included.
    environment.globals["page_css"] = STATIC + _manifest()[_PAGES].file
    app.router.add_static(STATIC, resource_dir("web/dist"))
    app.router.add_get("/", live_map)
