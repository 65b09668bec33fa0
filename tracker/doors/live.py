"""The door for viewers: `/v1/live`. One task reads what a viewer asks for, one writes; nobody else awaits a socket."""

import asyncio
import contextlib
import logging
import math
import socket as sockets
import time
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Meta, Struct

from tracker.access.roles import CALLER, Caller, Kind, Role, require
from tracker.domain.batch import DEGREE
from tracker.doors.goodbye import Goodbye, say_to_all
from tracker.doors.identity import check_origin
from tracker.doors.keys import DATABASE, HUB
from tracker.errors import InvalidField, SlowClient, TrackerError, edge
from tracker.live.hub import TICK_S, Hub, Sleeper
from tracker.live.latest import Bounds
from tracker.live.views import Events, Follow, View
from tracker.memory import Closings
from tracker.store.database import Database
from tracker.wire import ids
from tracker.wire import live as wire
from tracker.wire.events import event_of

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 16 * 1024
MAX_SUBSCRIPTIONS: Final = 16
MAX_FOLLOWED: Final = 1_000
MAX_NAMES: Final = 1_000  # in one answer
MAX_ZOOM: Final = 30
DEFAULT_HZ: Final = 2.0
MAX_HZ: Final = 20.0
HEARTBEAT_S: Final = 25.0
SEND_TIMEOUT_S: Final = 15.0  # twice without progress is 30 s
GOODBYE_WITHIN_S: Final = 2.0
EVENTS_AT_ONCE: Final = 200
# Without this the kernel hides megabytes of lag from us, and "newest" would be old.
NOTSENT_LOWAT_BYTES: Final = 16 * 1024
WRITER_LIMIT_BYTES: Final = 32 * 1024
BUFFER_LIMIT_BYTES: Final = 16 * 1024  # one message may be above it, none is written while it is
READS_AGAIN_S: Final = 0.25  # how often it is asked whether somebody slow has read on
NEVER: Final = 2**62

Hz = Annotated[float, Meta(gt=0, le=MAX_HZ)]


class _Filter(Struct, forbid_unknown_fields=True):
    tags: list[str] = []


class _AskView(Struct, tag="view", forbid_unknown_fields=True):
    id: int
    bbox: list[float]
    zoom: Annotated[float, Meta(ge=0, le=MAX_ZOOM)] | None = None
    filter: _Filter = msgspec.field(default_factory=_Filter)
    max_hz: Hz = DEFAULT_HZ
    clusters: bool = True


class _AskFollow(Struct, tag="follow", forbid_unknown_fields=True):
    id: int
    assets: list[str]
    max_hz: Hz = DEFAULT_HZ


class _AskEvents(Struct, tag="events", forbid_unknown_fields=True):
    id: int
    after: str | None = None


class _AskNames(Struct, tag="names", forbid_unknown_fields=True):
    assets: list[str]


class _AskClose(Struct, tag="close", forbid_unknown_fields=True):
    id: int


_Ask = _AskView | _AskFollow | _AskEvents | _AskNames | _AskClose
_asks = msgspec.json.Decoder(_Ask)


class Viewers:
    """The open sockets of viewers, to close those whose credential ends. One per server."""

    def __init__(self, closings: Closings) -> None:
        self._viewers: set[_Viewer] = set()
        self._closings = closings

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, viewer: "_Viewer") -> None:
        self._viewers.add(viewer)

    def discard(self, viewer: "_Viewer") -> None:
        self._viewers.discard(viewer)
        self._closings.count(len(self._viewers))

    def revoked(self, token_id: int) -> None:
        self._end([viewer for viewer in self._viewers if viewer.caller.token_id == token_id])

    def session_ended(self, session: bytes) -> None:
        self._end([viewer for viewer in self._viewers if viewer.caller.session == session])

    def _end(self, viewers: "list[_Viewer]") -> None:
        for viewer in viewers:
            viewer.goodbye.say(4401, "the session or token has ended")

    async def close(self) -> None:
        goodbyes = [viewer.goodbye for viewer in self._viewers]
        await say_to_all(goodbyes, WSCloseCode.GOING_AWAY, "the server stops; come again", GOODBYE_WITHIN_S)


VIEWERS: Final = web.AppKey("viewers", Viewers)


def bounds_of(bbox: list[float]) -> Bounds:
    """A box in the integers of positions.

    Raises:
        InvalidField: not four finite numbers in range.
    """
    if len(bbox) != 4 or not all(map(math.isfinite, bbox)):
        raise InvalidField("bbox must be four finite numbers: west, south, east, north", field="bbox")
    west, south, east, north = bbox
    if not (-90 <= south <= north <= 90):
        raise InvalidField("bbox: south and north must be within ±90 and in this order", field="bbox")
    if east - west >= 360:
        west, east = -180.0, 180.0
    west, east = _wrapped(west), _wrapped(east)
    # Rounded outwards by less than a centimetre, so that an asset on the edge is in.
    return Bounds(
        *(
            int(fn(v * DEGREE))
            for fn, v in ((math.floor, west), (math.floor, south), (math.ceil, east), (math.ceil, north))
        )
    )


def _wrapped(lon: float) -> float:
    """A map that was panned around the world names longitudes beyond 180."""
    return lon if -180 <= lon <= 180 else (lon + 180) % 360 - 180


@dataclass(slots=True, eq=False)
class _Viewer:
    """One socket and what it is subscribed to."""

    ws: web.WebSocketResponse
    caller: Caller
    hub: Hub
    database: Database
    goodbye: Goodbye
    subscriptions: dict[int, View | Follow | Events] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # something was asked for, or is there to see

    # Reading

    async def read(self) -> None:
        async for message in self.ws:
            if message.type is not WSMsgType.TEXT:
                await self.say_error("malformed", "send JSON text", None)
                continue
            try:
                ask = _asks.decode(message.data)
                if isinstance(ask, _AskNames):
                    await self._send(self._names(ask), WSMsgType.TEXT)
                else:
                    self._ask(ask)
            except TrackerError as error:
                await self.say_error(getattr(error, "code", "bad_request"), error.message, None)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                await self.say_error("malformed", str(error)[:200], None)

    def _ask(self, ask: _AskView | _AskFollow | _AskEvents | _AskClose) -> None:
        if isinstance(ask, _AskClose):
            self.subscriptions.pop(ask.id, None)
            return
        if ask.id not in self.subscriptions and len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise InvalidField(f"one socket has at most {MAX_SUBSCRIPTIONS} subscriptions; close one", field="id")
        subscription, before = self._subscription(ask), self.subscriptions.get(ask.id)
        if not isinstance(subscription, Events) and before is not None and not isinstance(before, Events):
            subscription.due = before.due  # a map that is dragged asks again and again, and is answered at its max_hz
        self.subscriptions[ask.id] = subscription
        self.wake.set()

    def _subscription(self, ask: _AskView | _AskFollow | _AskEvents) -> View | Follow | Events:
        if isinstance(ask, _AskView):
            return self._view(ask)
        if isinstance(ask, _AskFollow):
            if len(ask.assets) > MAX_FOLLOWED:
                raise InvalidField(f"at most {MAX_FOLLOWED:,} assets can be followed; use a view", field="assets")
            return Follow(ask.id, np.array(_numbers(ask.assets), np.int64), 1 / ask.max_hz)
        after = self.hub.feed.last_id if ask.after is None else ids.number_of(ids.EVENT, ask.after, "after")
        return Events(ask.id, after)

    def _view(self, ask: _AskView) -> View:
        binary = self.ws.ws_protocol == wire.PROTOCOL
        if binary and not 0 <= ask.id <= wire.MAX_VIEW_ID:
            raise InvalidField(f"in binary frames the id of a view is 0 to {wire.MAX_VIEW_ID}", field="id")
        tags = frozenset(ask.filter.tags)
        return View(ask.id, bounds_of(ask.bbox), tags, 1 / ask.max_hz, ask.zoom, ask.clusters, binary)

    def _names(self, ask: _AskNames) -> bytes:
        """What binary records leave out because it seldom changes."""
        if len(ask.assets) > MAX_NAMES:
            raise InvalidField(f"at most {MAX_NAMES:,} names at once", field="assets")
        return self.hub.latest.names(_numbers(ask.assets))

    async def say_error(self, code: str, text: str, about: int | None) -> None:
        body = {"type": "error", "code": code, "message": text, **({} if about is None else {"id": about})}
        await self._send(msgspec.json.encode(body), WSMsgType.TEXT)

    # Writing

    def unread_bytes(self) -> int:
        """What the viewer has not taken off our hands."""
        transport = self.goodbye.transport
        return 0 if transport is None else transport.get_write_buffer_size()

    async def write(self) -> None:
        """Show each subscription what is new, when it is due and the socket has room."""
        loop = asyncio.get_running_loop()
        while True:
            self.wake.clear()
            await self._show_due(loop.time())
            sleeper = self._sleeper()
            self.hub.park(sleeper)
            try:
                await self.wake.wait()
            finally:
                self.hub.unpark(sleeper)

    def _sleeper(self) -> Sleeper:
        places = [each for each in self.subscriptions.values() if not isinstance(each, Events)]
        feeds = [each.after for each in self.subscriptions.values() if isinstance(each, Events)]
        return Sleeper(
            self.wake,
            min((each.due for each in places), default=0.0),
            min((each.seen for each in places), default=NEVER),
            min(feeds, default=None),
        )

    async def _show_due(self, now: float) -> None:
        """Send what is due."""
        for subscription in list(self.subscriptions.values()):
            if isinstance(subscription, Events):
                await self._show_events(subscription)
            elif subscription.due <= now and (subscription.seen < self.hub.latest.now or subscription.seen < 0):
                await self._show(subscription, now)

    async def _show(self, subscription: View | Follow, now: float) -> None:
        message = subscription.message(self.hub)
        # On the grid of ticks, so that those who come equally often look at the same time.
        subscription.due = math.floor((now + subscription.pause_s) / TICK_S + 0.5) * TICK_S
        if message is None or self.subscriptions.get(subscription.id) is not subscription:
            return
        binary = isinstance(subscription, View) and subscription.binary and not subscription.over
        await self._send(message, WSMsgType.BINARY if binary else WSMsgType.TEXT)
        if isinstance(subscription, View) and subscription.over:
            self.subscriptions.pop(subscription.id, None)

    async def _show_events(self, subscription: Events) -> None:
        while self.subscriptions.get(subscription.id) is subscription:
            found = self.hub.feed.after(subscription.after, EVENTS_AT_ONCE)
            if found is None:
                rows = await self.database.rows("events_after", subscription.after, EVENTS_AT_ONCE)
                found = [(row["id"], msgspec.json.encode(event_of(row))) for row in rows]
            if not found:
                return
            for event_id, event in found:
                await self._send(subscription.frame(event), WSMsgType.TEXT)
                subscription.after = event_id

    async def _send(self, message: bytes, kind: Literal[WSMsgType.TEXT, WSMsgType.BINARY]) -> None:
        """Write one message, however long it takes, as long as the viewer reads on."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self.ws.send_frame(message, kind)  # hands all of it to the transport, then waits for room
        except TimeoutError:
            await self._until_read()

    async def _until_read(self) -> None:
        """Somebody slow has room again.

        Raises:
            SlowClient: for this long nothing was read.
        """
        loop = asyncio.get_running_loop()
        unread, since = self.unread_bytes(), loop.time()
        while unread > BUFFER_LIMIT_BYTES:
            await asyncio.sleep(READS_AGAIN_S)
            now = self.unread_bytes()
            if now < unread:
                unread, since = now, loop.time()
            elif loop.time() - since > SEND_TIMEOUT_S:
                raise SlowClient(f"too slow: nothing was read for {2 * SEND_TIMEOUT_S:.0f} s")


def _numbers(assets: list[str]) -> list[int]:
    return sorted({ids.number_of(ids.ASSET, each, "assets") for each in assets})


def _bound_lag(request: web.Request) -> None:
    transport = request.transport
    if transport is not None:
        transport.set_write_buffer_limits(BUFFER_LIMIT_BYTES)
    raw = transport.get_extra_info("socket") if transport is not None else None
    if raw is not None and hasattr(sockets, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):  # not every kernel has it; then lag is merely less visible
            raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)


@require(Role.VIEWER)
async def live(request: web.Request) -> web.StreamResponse:
    """The socket of one viewer."""
    caller = request[CALLER]
    if caller.kind is Kind.SESSION:
        check_origin(request)
    ws = web.WebSocketResponse(
        protocols=(wire.PROTOCOL,),
        max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,  # it would save a quarter of a frame of records, for 25 times what making it costs
        heartbeat=HEARTBEAT_S,
        writer_limit=WRITER_LIMIT_BYTES,
    )
    _bound_lag(request)
    viewer = _Viewer(ws, caller, request.app[HUB], request.app[DATABASE], Goodbye(request))
    viewers = request.app[VIEWERS]
    viewers.add(viewer)  # before the next await: its session may end at any moment
    try:
        await ws.prepare(request)
        await _serve(viewer)
    finally:
        viewers.discard(viewer)
    return ws


async def _serve(viewer: _Viewer) -> None:
    writing = asyncio.create_task(viewer.write(), name="viewer-writer")
    writing.add_done_callback(lambda task: _writer_ended(task, viewer))
    expiry = None
    if viewer.caller.expires_at is not None:
        left_s = max(0.0, viewer.caller.expires_at - time.time())
        expiry = asyncio.get_running_loop().call_later(
            left_s, viewer.goodbye.say, 4401, "the session or token has expired"
        )
    try:
        async with viewer.goodbye.heeded(viewer.ws):
            await viewer.read()
    finally:
        if expiry is not None:
            expiry.cancel()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


def _writer_ended(task: "asyncio.Task[None]", viewer: _Viewer) -> None:
    """A writer ends only by failing: the viewer must not stay connected and see nothing."""
    error = None if task.cancelled() else task.exception()
    if error is None or isinstance(error, ConnectionError):
        return
    if isinstance(error, SlowClient):
        viewer.goodbye.say(edge(error).close_code, error.message)
    elif isinstance(error, TrackerError):
        viewer.goodbye.say(edge(error).close_code, "the database is away; come again")
    else:
        log.error("action=viewer_failed", exc_info=error)
        viewer.goodbye.say(1011, "the server failed; come again")


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/live", live, allow_head=False)]
