"""Where the fleet is and was: `/v1/positions`, and an asset's track and visits."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
from aiohttp import web

from tracker.access.roles import Role, require
from tracker.domain.batch import DEGREE, Columns
from tracker.domain.fix import OLDEST_MS
from tracker.domain.geodesy import enclosing
from tracker.doors.assets import FLEET_STORE
from tracker.doors.keys import DATABASE, HUB
from tracker.doors.live import bounds_of
from tracker.doors.paging import id_of, limit_of, only, path_id, time_of
from tracker.doors.problems import answer, problem
from tracker.doors.stream import stream
from tracker.errors import InvalidField, RequestError
from tracker.live.latest import Bounds
from tracker.store import history, moment
from tracker.wire import ids
from tracker.wire.times import parse_when, rfc3339, to_ms
from tracker.wire.track_export import (
    MEASURES,
    CsvTrack,
    Encoder,
    GeoJsonTrack,
    GpxTrack,
    KmlTrack,
    Subject,
    measured,
    rfc3339_texts,
)
from tracker.wire.track_parquet import ParquetTrack

DEFAULT_TRACK_MS: Final = 24 * 3600 * 1000
LAST_MS: Final = 253_402_300_799_999  # of the year 9999
MAX_ID_DIGITS: Final = 18
MAX_TOLERANCE_M: Final = 1e6
FEATURES_AT_ONCE: Final = 500
FIXES_AT_ONCE: Final = 3_000  # encoding so many holds up nobody for long
PART_BYTES: Final = 256 * 1024
GEOJSON: Final = "application/geo+json"

FORMATS: Final[Mapping[str, str]] = {
    GeoJsonTrack.extension: GeoJsonTrack.media_type,
    CsvTrack.extension: CsvTrack.media_type,
    GpxTrack.extension: GpxTrack.media_type,
    KmlTrack.extension: KmlTrack.media_type,
    ParquetTrack.extension: ParquetTrack.media_type,
}
_BY_MEDIA_TYPE: Final = {
    **{media_type: name for name, media_type in FORMATS.items()},
    "application/json": "geojson",
    "application/*": "geojson",
    "text/*": "csv",
    "*/*": "geojson",
}


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/positions", positions, allow_head=False),
        web.get("/v1/positions/extent", extent),
        web.get("/v1/assets/{id}/track", track, allow_head=False),
        web.get("/v1/assets/{id}/visits", visits),
    ]


# Positions -----------------------------------------------------------------------------------------------------------


@require(Role.VIEWER)
async def positions(request: web.Request) -> web.StreamResponse:
    """The fleet now, from memory, or at a moment, from history."""
    only(request, "bbox", "at")
    bounds = _bounds(request.query.get("bbox"))
    at_ms = time_of(request, "at")
    if at_ms is None:
        return await stream(request, GEOJSON, _collection(map(_feature, _now(request, bounds))))
    box = (
        None
        if bounds is None
        else (bounds.west / DEGREE, bounds.south / DEGREE, bounds.east / DEGREE, bounds.north / DEGREE)
    )
    then = await moment.positions_at(request.app[DATABASE], at_ms, box)
    return await stream(request, GEOJSON, _collection(_then(then)))


@require(Role.VIEWER)
async def extent(request: web.Request) -> web.StreamResponse:
    """The smallest box around the fleet now, and how many assets are in it."""
    only(request)
    lon, lat = request.app[HUB].latest.places()
    return answer({"bbox": await asyncio.to_thread(enclosing, lon, lat), "assets": len(lon)})


def _bounds(text: str | None) -> Bounds | None:
    if not text:
        return None
    try:
        return bounds_of([float(part) for part in text.split(",")])
    except ValueError:
        raise RequestError("bbox must be four finite numbers: west,south,east,north.", field="bbox") from None
    except InvalidField as error:
        raise RequestError(error.message, field="bbox") from error


def _now(request: web.Request, bounds: Bounds | None) -> Iterable[dict[str, Any]]:
    latest = request.app[HUB].latest
    assets = np.array([number for number in latest.fleet.assets if latest.known(number)], dtype=np.int64)
    shown = assets if bounds is None else latest.within(assets, bounds)
    # One that is deleted while this is being sent is left out.
    return (latest.state(number) for number in shown.tolist() if latest.known(number))


def _then(then: moment.Moment) -> Iterator[dict[str, Any]]:
    """The features of a moment, as those of now are."""
    for first in range(0, len(then.fixes), FEATURES_AT_ONCE):
        fixes = then.fixes.take(slice(first, first + FEATURES_AT_ONCE))
        columns = [fixes.asset.tolist(), fixes.device.tolist(), rfc3339_texts(fixes.time_ms)]
        columns += [(places / DEGREE).tolist() for places in (fixes.lon, fixes.lat)]
        columns += [measured(name, fixes) for name in MEASURES]
        extras = fixes.attributes or [None] * len(fixes)
        for number, device, when, lon, lat, alt_m, speed_mps, course_deg, accuracy_m, extra in zip(
            *columns, extras, strict=True
        ):
            asset, (name, tags) = ids.public_id(ids.ASSET, number), then.names[number]
            state = {
                "id": asset,
                "name": name,
                "tags": sorted(tags),
                "device": ids.public_id(ids.DEVICE, device),
                "fix_time": when,
                "alt_m": alt_m,
                "speed_mps": speed_mps,
                "course_deg": course_deg,
                "accuracy_m": accuracy_m,
            }
            if extra is not None:
                state["attributes"] = msgspec.Raw(extra)
            yield {
                "type": "Feature",
                "id": asset,
                "geometry": {"type": "Point", "coordinates": (lon, lat)},
                "properties": state,
            }


async def _collection(features: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    lead, rest = b'{"type":"FeatureCollection","features":[', iter(features)
    while some := list(islice(rest, FEATURES_AT_ONCE)):
        yield lead + msgspec.json.encode(some)[1:-1]
        lead = b","
    yield (b"" if lead == b"," else lead) + b"]}"


def _feature(state: dict[str, Any]) -> dict[str, Any]:
    lon, lat = state.pop("lon"), state.pop("lat")
    return {
        "type": "Feature",
        "id": state["id"],
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": state,
    }


# Tracks --------------------------------------------------------------------------------------------------------------


@require(Role.VIEWER)
async def track(request: web.Request) -> web.StreamResponse:
    """Every fix between two instants, both inclusive; without them, of the last 24 hours."""
    only(request, "from", "to", "tolerance_m", "quality", "format")
    wanted = _format(request)
    if wanted is None:
        return problem(406, "not_acceptable", f"A track comes as {', '.join(FORMATS)}; choose by ?format= or Accept.")
    from_ms, to_ms_ = span_of(request)
    tolerance_m = _tolerance_m(request, wanted)
    trusted = _trusted(request)
    asset = await request.app[FLEET_STORE].asset(path_id(request, ids.ASSET))
    subject = Subject(asset["id"], asset["name"])
    headers = {"Content-Disposition": f'inline; filename="{subject.id}.{wanted}"'}
    fixes = history.track(request.app[DATABASE], subject.asset, from_ms, to_ms_, trusted=trusted)
    if wanted == ParquetTrack.extension:
        return await stream(request, FORMATS[wanted], _file(fixes), headers)
    encoder = _encoder(wanted, subject, tolerance_m)
    return await stream(request, FORMATS[wanted], _document(encoder, fixes), headers)


def _encoder(wanted: str, subject: Subject, tolerance_m: float) -> Encoder:
    if wanted == CsvTrack.extension:
        return CsvTrack()
    if wanted == GpxTrack.extension:
        return GpxTrack(subject)
    if wanted == KmlTrack.extension:
        return KmlTrack(subject)
    return GeoJsonTrack(subject, tolerance_m)


async def _document(encoder: Encoder, fixes: AsyncIterator[Columns]) -> AsyncIterator[bytes]:
    head, count = encoder.begin(), 0
    async for window in fixes:
        count += len(window)
        for first in range(0, len(window), FIXES_AT_ONCE):
            yield head + encoder.fixes(window.take(slice(first, first + FIXES_AT_ONCE)))
            head = b""
    if count <= FIXES_AT_ONCE:
        yield head + b"".join(encoder.end())
        return
    yield head
    parts = iter(encoder.end())
    # In a thread: what a whole track takes to simplify and encode must not hold up the fleet.
    while part := await asyncio.to_thread(_some, parts):
        yield part


def _some(parts: Iterator[bytes]) -> bytes:
    """The next parts together; a way to the thread and back for each would cost more than most of them."""
    found, size = list[bytes](), 0
    for part in parts:
        found.append(part)
        size += len(part)
        if size >= PART_BYTES:
            break
    return b"".join(found)


async def _file(columns: AsyncIterator[Columns]) -> AsyncIterator[bytes]:
    encoder = ParquetTrack()
    head = encoder.begin()
    async for fixes in columns:
        yield head + await asyncio.to_thread(encoder.fixes, fixes)
        head = b""
    yield head + encoder.end()


def _format(request: web.Request) -> str | None:
    """By `?format=`, else the best of Accept that there is; None when there is none."""
    asked = request.query.get("format")
    if asked:
        return asked if asked in FORMATS else None
    accepted = request.headers.get("Accept", "*/*")
    wishes = sorted(
        (_quality(wish), -place, wish.partition(";")[0].strip())
        for place, wish in enumerate(accepted.lower().split(","))
    )
    return next(
        (_BY_MEDIA_TYPE[media] for quality, _, media in reversed(wishes) if quality > 0 and media in _BY_MEDIA_TYPE),
        None,
    )


def _quality(wish: str) -> float:
    _, found, text = wish.replace(" ", "").partition(";q=")
    try:
        return float(text.partition(";")[0]) if found else 1.0
    except ValueError:
        return 0.0


def span_of(request: web.Request) -> tuple[int, int]:
    """`from` and `to`, both inclusive: the last 24 hours, unless they are given."""
    from_ms, to_ms_ = time_of(request, "from"), time_of(request, "to")
    now_ms = int(time.time() * 1000)
    if to_ms_ is None:
        # A device's clock may be ahead by up to a day; what it said is stored, with a flag.
        to_ms_ = max(now_ms, from_ms or 0) + DEFAULT_TRACK_MS
        from_ms = now_ms - DEFAULT_TRACK_MS if from_ms is None else from_ms
    from_ms = to_ms_ - DEFAULT_TRACK_MS if from_ms is None else from_ms
    if from_ms > to_ms_:
        raise InvalidField("from must not be after to.", field="from")
    return max(from_ms, OLDEST_MS), min(to_ms_, LAST_MS)


def _tolerance_m(request: web.Request, wanted: str) -> float:
    text = request.query.get("tolerance_m")
    if not text:
        return 0.0
    try:
        tolerance_m = float(text)
    except ValueError:
        tolerance_m = math.nan
    if not 0 <= tolerance_m <= MAX_TOLERANCE_M:
        raise InvalidField(f"tolerance_m must be a number from 0 to {MAX_TOLERANCE_M:.0f}.", field="tolerance_m")
    if wanted != GeoJsonTrack.extension:
        raise InvalidField("tolerance_m is for geojson; the other formats have every fix.", field="tolerance_m")
    return tolerance_m


def _trusted(request: web.Request) -> bool:
    quality = request.query.get("quality") or "all"
    if quality not in ("all", "trusted"):
        raise InvalidField("quality must be all or trusted.", field="quality")
    return quality == "trusted"


# Visits --------------------------------------------------------------------------------------------------------------


@require(Role.VIEWER)
async def visits(request: web.Request) -> web.StreamResponse:
    """The stays that overlap a time, in the order of entering."""
    only(request, "from", "to", "geofence", "after", "limit")
    limit, after = limit_of(request), _place(request.query.get("after"))
    from_ms, to_ms_, geofence = (
        time_of(request, "from"),
        time_of(request, "to"),
        id_of(request, ids.GEOFENCE, "geofence"),
    )
    asset = path_id(request, ids.ASSET)
    await request.app[FLEET_STORE].asset(asset)
    rows = await history.visits(request.app[DATABASE], asset, after, from_ms, to_ms_, geofence, limit + 1)
    following = f"{to_ms(rows[limit - 1]['enter_time'])}.{rows[limit - 1]['id']}" if len(rows) > limit else None
    return answer({"visits": [_visit(row) for row in rows[:limit]], "next": following})


def _place(after: str | None) -> tuple[int, int]:
    """The last entering shown and its id: where the next page goes on."""
    if not after:
        return OLDEST_MS, 0
    when, _, number = after.partition(".")
    if not number.isascii() or not number.isdigit() or len(number) > MAX_ID_DIGITS:
        raise InvalidField("after must be the value of next from the page before.", field="after")
    return parse_when(when, "after"), int(number)


def _visit(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.VISIT, row["id"]),
        "geofence": {"id": ids.public_id(ids.GEOFENCE, row["geofence"]), "name": row["geofence_name"]},
        "enter_time": rfc3339(row["enter_time"]),
        "exit_time": None if row["exit_time"] is None else rfc3339(row["exit_time"]),
        **({"initial": True} if row["initial"] else {}),
        **(
            {}
            if row["near"] is None
            else {"near": {"id": ids.public_id(ids.ASSET, row["near"]), "name": row["near_name"]}}
        ),
    }
