"""`POST /v1/backtests`: what a geofence would have reported on stored history. Nothing is written.

Answers are sent as they are made, so that memory is that of a window of fixes, however long the history. A caller who
leaves ends the work.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType, field

from tracker.access.roles import Role, require
from tracker.domain.backtest import Finding, Span
from tracker.domain.geofence import Geofence
from tracker.doors.fields import Body
from tracker.doors.keys import DATABASE, FLEET, WRITER
from tracker.doors.paging import number_of, only
from tracker.doors.problems import body, problem
from tracker.doors.stream import stream
from tracker.errors import InvalidField, NotFound, RequestError, TooManyRequests
from tracker.pipeline.backtest import Progress, backtest
from tracker.pipeline.record import TYPES
from tracker.wire import ids
from tracker.wire.backtest import TriedEvent, TriedFence, csv_of, tried_event
from tracker.wire.geojson import Feature, properties_of
from tracker.wire.geometry import asked_shape_of
from tracker.wire.times import parse_when, rfc3339

AT_ONCE: Final = 2
EVENTS_AT_ONCE: Final = 500
LOOK_EVERY_S: Final = 0.5  # whether the caller is still there
_NEW: Final = 1  # the number of a geofence that is not made: it is alone

T = TypeVar("T")

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
_BY_ACCEPT: Final = ((NDJSON, NDJSON), ("text/csv", CSV), ("application/json", JSON), ("*/*", JSON))


class Runs:
    """How many backtests are under way, and which of them judges. One per server."""

    def __init__(self) -> None:
        self.now = 0
        self.judging = asyncio.Lock()


RUNS: Final = web.AppKey("backtests", Runs)


class Asked(Body):
    """A geofence as a Feature or by its id, a span of time, and the assets to try it on: all, if none are named."""

    from_: str | int = field(name="from")
    to: str | int
    geofence: Feature | UnsetType = UNSET
    geofence_id: str | UnsetType = UNSET
    assets: list[str] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class _Trial:
    """What was asked for, checked."""

    fence: Geofence
    shown: TriedFence
    assets: dict[int, str]  # their names
    span: Span


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/backtests", run)]


@require(Role.DISPATCHER)
async def run(request: web.Request) -> web.StreamResponse:
    """As one JSON document, as lines with progress, or as CSV."""
    only(request)
    media_type = _media_type(request.headers.get("Accept"))
    if media_type is None:
        return problem(406, "not_acceptable", f"A backtest comes as {JSON}, {NDJSON} or {CSV}; choose by Accept.")
    trial, runs = await _trial(request, await body(request, Asked)), request.app[RUNS]
    if runs.now >= AT_ONCE:
        raise TooManyRequests(f"{AT_ONCE} backtests are under way, which is all that run at once; try again soon.")
    runs.now += 1
    try:
        async with aclosing(_found(request, trial)) as found:
            writing = {JSON: _document, NDJSON: _lines, CSV: _csv}[media_type]
            return await stream(request, media_type, writing(trial, found), {"X-Accel-Buffering": "no"})
    finally:
        runs.now -= 1


def _media_type(accept: str | None) -> str | None:
    """The first that we have of those accepted, JSON for whoever does not say."""
    if not accept:
        return JSON
    asked = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((ours for each in asked for name, ours in _BY_ACCEPT if each == name), None)


# What is asked for ---------------------------------------------------------------------------------------------------


async def _trial(request: web.Request, asked: Asked) -> _Trial:
    span = parse_when(asked.from_, "from"), parse_when(asked.to, "to")
    if span[0] > span[1]:
        raise InvalidField("from must not be after to.", field="from")
    if (asked.geofence is UNSET) == (asked.geofence_id is UNSET):
        raise InvalidField("geofence: give either geofence, a Feature, or geofence_id.", field="geofence")
    if isinstance(asked.geofence, Feature):
        fence = await asyncio.to_thread(_drafted, asked.geofence)
        shown = TriedFence(fence.name)
    else:
        fence = _existing(request, str(asked.geofence_id))
        shown = TriedFence(fence.name, ids.public_id(ids.GEOFENCE, fence.id))
    return _Trial(fence, shown, _assets(request, fence, asked.assets), span)


def _drafted(feature: Feature) -> Geofence:
    """A geofence that is not made."""
    try:
        wishes = properties_of(feature.properties)
        if wishes.around is not None:
            raise InvalidField("a geofence around assets cannot be tried on history", field="properties.near")
        shape, _ = asked_shape_of(feature.geometry, wishes.known, repair=False)
    except RequestError as error:
        raise type(error)(error.message, field=f"geofence.{error.field}" if error.field else "geofence") from None
    known = wishes.known
    return Geofence(_NEW, 1, known.name, shape, known.quality, 0, rule=wishes.rule, options=wishes.options)


def _existing(request: web.Request, text: str) -> Geofence:
    fence = request.app[WRITER].index.fences.get(number_of(ids.GEOFENCE, text, "geofence_id"))
    if fence is None:
        raise NotFound(f"There is no geofence {text}.", field="geofence_id")
    return fence


def _assets(request: web.Request, fence: Geofence, named: list[str] | UnsetType) -> dict[int, str]:
    """Those that the geofence judges, by the tags that they have now."""
    fleet = request.app[FLEET]
    numbers = list(fleet.assets) if isinstance(named, UnsetType) else _numbers(named)
    missing = [number for number in numbers if number not in fleet.assets]
    if missing:
        raise InvalidField(f"assets: there is no asset {ids.public_id(ids.ASSET, missing[0])}.", field="assets")
    return {number: fleet.assets[number].name for number in numbers if fleet.judged_by(number, fence)}


def _numbers(named: Sequence[str]) -> list[int]:
    if not named:
        raise InvalidField("assets: name some, or leave it out to try all.", field="assets")
    return [number_of(ids.ASSET, each, "assets") for each in named]


# What is found -------------------------------------------------------------------------------------------------------


async def _found(request: web.Request, trial: _Trial) -> AsyncGenerator[tuple[Progress, list[TriedEvent]], None]:
    """Events in parts that hold nobody up, until the end or until the caller has left."""
    judging = request.app[RUNS].judging
    async with aclosing(
        backtest(request.app[DATABASE], trial.fence, list(trial.assets), trial.span, judging)
    ) as rounds:
        while (following := await _while_there(request, anext(rounds, None))) is not None:
            progress, found = following
            for first in range(0, len(found), EVENTS_AT_ONCE):
                yield progress, [_told(trial, each) for each in found[first : first + EVENTS_AT_ONCE]]
                await asyncio.sleep(0)
            yield progress, []


async def _while_there(request: web.Request, coming: Awaitable[T]) -> T:
    """What is coming, unless the caller leaves first: nothing may have to be written for long."""
    task = asyncio.ensure_future(coming)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_EVERY_S)
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the caller has left")
        return task.result()
    finally:
        if task.cancel():
            await asyncio.gather(task, return_exceptions=True)


def _told(trial: _Trial, found: Finding) -> TriedEvent:
    return tried_event(found, TYPES[found.kind], trial.assets[found.asset], trial.shown)


def _sums(trial: _Trial, progress: Progress) -> dict[str, object]:
    return {
        **asdict(progress),
        "from": rfc3339(trial.span[0]),
        "to": rfc3339(trial.span[1]),
    }


async def _document(trial: _Trial, found: AsyncIterator[tuple[Progress, list[TriedEvent]]]) -> AsyncIterator[bytes]:
    """`{"events":[…],"visits":…,"fixes":…,"assets":…}`, sums last."""
    head, last = b'{"events":[', Progress(len(trial.assets))
    async for progress, events in found:
        last = progress
        if events:
            yield head + b",".join(map(msgspec.json.encode, events))
            head = b","
    sums = msgspec.json.encode({name: value for name, value in _sums(trial, last).items() if name != "events"})
    yield (head if head != b"," else b"") + b"]," + sums[1:]


async def _lines(trial: _Trial, found: AsyncIterator[tuple[Progress, list[TriedEvent]]]) -> AsyncIterator[bytes]:
    """`{"progress":…}` and `{"event":…}`, and `{"done":…}` as the last, without which it is not all."""
    last = Progress(len(trial.assets))
    yield msgspec.json.encode({"progress": asdict(last)}) + b"\n"
    async for progress, events in found:
        last = progress
        if events:
            yield b"".join(b'{"event":' + msgspec.json.encode(each) + b"}\n" for each in events)
        else:
            yield msgspec.json.encode({"progress": asdict(progress)}) + b"\n"
    yield msgspec.json.encode({"done": _sums(trial, last)}) + b"\n"


async def _csv(_: _Trial, found: AsyncIterator[tuple[Progress, list[TriedEvent]]]) -> AsyncIterator[bytes]:
    yield csv_of([], head=True)
    async for _progress, events in found:
        yield csv_of(events, head=False)
