"""`/v1/events`: the feed as pages, and as a stream (SSE) that goes on from any event without a gap.

A follower pulls from the table at its own pace; the signal only wakes it. So a slow one costs a page of memory, and is
cut when it has not read for a minute.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from tracker.access.roles import CALLER, Caller, Role, require
from tracker.doors.keys import DATABASE, HUB
from tracker.doors.paging import id_of, number_of, only, page_of, path_id, time_of
from tracker.doors.problems import answer
from tracker.doors.stream import stream
from tracker.errors import InvalidField, NotFound
from tracker.live.feed import Feed
from tracker.pipeline.record import EVENT_TYPES
from tracker.store import events
from tracker.store.database import Database
from tracker.wire import ids
from tracker.wire.events import event_of
from tracker.wire.times import to_datetime

KNOWN_TYPES: Final = frozenset(EVENT_TYPES)
EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 1_000
EVENTS_AT_ONCE: Final = 500
_FILTERS: Final = ("type", "asset", "geofence", "from", "to")


class Follower:
    """One open stream of events."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.ended = False
        self._pause: asyncio.Timeout | None = None

    def end(self) -> None:
        """Lets the stream finish what it is sending, and no more."""
        self.ended = True
        if self._pause is not None:
            self._pause.reschedule(asyncio.get_running_loop().time())

    async def wait(self, feed: Feed, after: int) -> None:
        """Until there are events after this one, or a sign of life is due, or the stream is to end."""
        if self.caller.expires_at is not None and time.time() >= self.caller.expires_at:
            self.ended = True
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self.ended else HEARTBEAT_S) as self._pause:
                await feed.wait(after)
        self._pause = None


class Followers:
    """The open streams, to end those whose credential ends. One per server."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    def __len__(self) -> int:
        return len(self._followers)

    def add(self, follower: Follower) -> None:
        self._followers.add(follower)

    def discard(self, follower: Follower) -> None:
        self._followers.discard(follower)

    def revoked(self, token_id: int) -> None:
        self._end(lambda caller: caller.token_id == token_id)

    def session_ended(self, session: bytes) -> None:
        self._end(lambda caller: caller.session == session)

    def close(self) -> None:
        self._end(lambda _: True)

    def _end(self, concerns: Callable[[Caller], bool]) -> None:
        for follower in self._followers:
            if concerns(follower.caller):
                follower.end()


FOLLOWERS: Final = web.AppKey("followers", Followers)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/events", list_events, allow_head=False),
        web.get("/v1/events/{id}", show_event),
    ]


@require(Role.VIEWER)
async def list_events(request: web.Request) -> web.StreamResponse:
    """A page in feed order, or with `Accept: text/event-stream` the feed itself: from now on unless told where."""
    page = page_of(request, ids.EVENT, *_FILTERS)
    wanted = _wanted(request)
    if EVENT_STREAM in request.headers.get("Accept", ""):
        return await _follow(request, wanted)
    rows = await events.page(request.app[DATABASE], wanted, page.after, page.fetch)
    return page.answer("events", rows, event_of)


@require(Role.VIEWER)
async def show_event(request: web.Request) -> web.StreamResponse:
    only(request)
    number = path_id(request, ids.EVENT)
    row: Mapping[str, Any] | None = await request.app[DATABASE].row("event_by_id", number)
    if row is None:
        raise NotFound(f"There is no event {ids.public_id(ids.EVENT, number)}.")
    return answer(event_of(row))


def _wanted(request: web.Request) -> events.Wanted:
    return events.Wanted(
        _types(request.query.get("type")),
        id_of(request, ids.ASSET, "asset"),
        id_of(request, ids.GEOFENCE, "geofence"),
        _time(request, "from"),
        _time(request, "to"),
    )


def _types(text: str | None) -> list[str] | None:
    if not text:
        return None
    types = text.split(",")
    for each in types:
        if each not in KNOWN_TYPES:
            raise InvalidField(f"type: {each[:60]} is none of {', '.join(sorted(KNOWN_TYPES))}.", field="type")
    return types


def _time(request: web.Request, name: str) -> datetime | None:
    ms = time_of(request, name)
    return None if ms is None else to_datetime(ms)


# The stream ----------------------------------------------------------------------------------------------------------


async def _follow(request: web.Request, wanted: events.Wanted) -> web.StreamResponse:
    follower, followers, feed = Follower(request[CALLER]), request.app[FOLLOWERS], request.app[HUB].feed
    last = request.headers.get("Last-Event-ID") or request.query.get("after")
    after = feed.last_id if last is None else _place(last)
    followers.add(follower)
    try:
        frames = _frames(request.app[DATABASE], feed, follower, wanted, after)
        return await stream(request, EVENT_STREAM, frames, headers={"X-Accel-Buffering": "no"})
    finally:
        followers.discard(follower)


def _place(text: str) -> int:
    """An event id; `evt_0` is the place before the first."""
    return 0 if text == ids.public_id(ids.EVENT, 0) else number_of(ids.EVENT, text, "Last-Event-ID")


async def _frames(
    database: Database, feed: Feed, follower: Follower, wanted: events.Wanted, after: int
) -> AsyncIterator[bytes]:
    # An id without data moves a browser's place without an event, so that it resumes here even if nothing ever came.
    yield f"retry: {RETRY_MS}\nid: {ids.public_id(ids.EVENT, after)}\n\n".encode()
    while not follower.ended:
        # All events up to this one are committed, so the query below sees those that match.
        horizon = feed.last_id
        rows = await events.page(database, wanted, after, EVENTS_AT_ONCE)
        if rows:
            yield b"".join(map(_frame, rows))
            after = rows[-1]["id"]
        if len(rows) < EVENTS_AT_ONCE:
            after = max(after, horizon)
            await follower.wait(feed, after)
            if feed.last_id <= after and not follower.ended:
                yield b": \n\n"


def _frame(row: Mapping[str, Any]) -> bytes:
    event = event_of(row)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.type.encode(), msgspec.json.encode(event))
