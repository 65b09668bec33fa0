"""An asset's stops and trips, and whether it moves now: computed when asked, from what is stored.

`docs/motion.md` is the definition.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from tracker.access.roles import Role, require
from tracker.domain.fix import OLDEST_MS
from tracker.domain.motion.rule import RANGES, Rule
from tracker.domain.motion.state import Evidence
from tracker.domain.motion.stops import Stop
from tracker.domain.motion.trips import Point, Span, Trip
from tracker.doors.assets import FLEET_STORE
from tracker.doors.keys import DATABASE
from tracker.doors.paging import limit_of, only, path_id, time_of
from tracker.doors.problems import answer
from tracker.errors import InvalidField
from tracker.store.motion import LAST_MS, Asked, Page, Reading
from tracker.wire import ids
from tracker.wire.times import rfc3339

DAY_MS: Final = 24 * 3600 * 1000
GEOJSON: Final = "application/geo+json"
_LIST: Final = ("from", "to", "after", "limit", "format", *RANGES)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/assets/{id}/stops", stops),
        web.get("/v1/assets/{id}/trips", trips),
        web.get("/v1/assets/{id}/motion", motion),
    ]


@require(Role.VIEWER)
async def stops(request: web.Request) -> web.StreamResponse:
    """The stops that overlap a time, whole, in the order of beginning."""
    only(request, *_LIST)
    as_geojson, asked = _as_geojson(request), _asked(request)
    page = await (await _reading(request)).stops(asked)
    if as_geojson:
        return _collection([_feature(_stop_point(stop), _stop(stop)) for stop in page.shown], page)
    return answer({"stops": [_stop(stop) for stop in page.shown], "next": _next(page)})


@require(Role.VIEWER)
async def trips(request: web.Request) -> web.StreamResponse:
    """The trips that overlap a time, whole, and how far they led within it."""
    only(request, *_LIST, "geometry")
    as_geojson, asked = _as_geojson(request), _asked(request)
    lines = _flag(request, "geometry") or as_geojson
    page = await (await _reading(request)).trips(asked, lines=lines)
    distance = {"distance_m": _metres(sum(trip.asked_m for trip in page.shown))}
    if as_geojson:
        return _collection([_feature(_line(trip.line), _trip(trip)) for trip in page.shown], page, distance)
    listed = [{**_trip(trip), **({"geometry": _line(trip.line)} if lines else {})} for trip in page.shown]
    return answer({"trips": listed, **distance, "next": _next(page)})


@require(Role.VIEWER)
async def motion(request: web.Request) -> web.StreamResponse:
    """Whether it moves, and what says so."""
    only(request, *RANGES)
    found = await (await _reading(request)).now(_now_ms())
    return answer(
        {
            "state": found.state,
            "reason": found.reason,
            "since": None if found.since_ms is None else rfc3339(found.since_ms),
            "evidence": None if found.evidence is None else _evidence(found.evidence),
        }
    )


# What is asked -------------------------------------------------------------------------------------------------------


async def _reading(request: web.Request) -> Reading:
    rule, asset = _rule(request), path_id(request, ids.ASSET)
    await request.app[FLEET_STORE].asset(asset)
    return Reading(request.app[DATABASE], asset, rule)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _asked(request: web.Request) -> Asked:
    limit = limit_of(request)
    return Asked(_span(request), time_of(request, "after"), limit, _now_ms())


def _span(request: web.Request) -> Span:
    """Like a track's: without `from` and `to`, the last 24 hours."""
    from_ms, to_ms = time_of(request, "from"), time_of(request, "to")
    if to_ms is None:
        to_ms = max(_now_ms(), from_ms or 0) + DAY_MS
        from_ms = _now_ms() - DAY_MS if from_ms is None else from_ms
    from_ms = to_ms - DAY_MS if from_ms is None else from_ms
    if from_ms > to_ms:
        raise InvalidField("from must not be after to.", field="from")
    return max(from_ms, OLDEST_MS), min(to_ms, LAST_MS)


def _rule(request: web.Request) -> Rule:
    return Rule(**{name: _number(request, name) for name in RANGES if request.query.get(name)})


def _number(request: web.Request, name: str) -> float:
    least, most = RANGES[name]
    try:
        value = float(request.query[name])
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise InvalidField(f"{name} must be a number from {least:.0f} to {most:.0f}.", field=name)
    return value


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name) or "false"
    if text not in ("true", "false"):
        raise InvalidField(f"{name} must be true or false.", field=name)
    return text == "true"


def _as_geojson(request: web.Request) -> bool:
    wanted = request.query.get("format") or "json"
    if wanted not in ("json", "geojson"):
        raise InvalidField("format must be json or geojson.", field="format")
    return wanted == "geojson"


# What is answered ----------------------------------------------------------------------------------------------------


def _metres(value: float) -> float:
    return round(value, 1)


def _degrees(value: float) -> float:
    return round(value, 7)


def _next(page: Page[Any]) -> str | None:
    return None if page.next_ms is None else str(page.next_ms)


def _times(found: Stop | Trip) -> dict[str, Any]:
    """`to` is null while it goes on; the duration is that between its fixes."""
    return {
        "from": rfc3339(found.from_ms),
        "to": None if found.open else rfc3339(found.to_ms),
        "last_fix_time": rfc3339(found.to_ms),
        "duration_s": (found.to_ms - found.from_ms) / 1000,
        "fixes": found.fixes,
        **({} if found.whole else {"whole": False}),
    }


def _stop(stop: Stop) -> dict[str, Any]:
    return {
        **_times(stop),
        "lon": _degrees(stop.lon),
        "lat": _degrees(stop.lat),
        "radius_m": _metres(stop.radius_m),
        "silent_s": stop.silent_s,
    }


def _trip(trip: Trip) -> dict[str, Any]:
    lasts_s = (trip.to_ms - trip.from_ms) / 1000
    return {
        **_times(trip),
        "from_lon": trip.start[0],
        "from_lat": trip.start[1],
        "to_lon": trip.end[0],
        "to_lat": trip.end[1],
        "distance_m": _metres(trip.distance_m),
        "mean_speed_mps": round(trip.distance_m / lasts_s, 2) if lasts_s else None,
        "max_speed_mps": round(trip.max_speed_mps, 2),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "fix_time": rfc3339(evidence.newest_ms),
        "lon": evidence.lon,
        "lat": evidence.lat,
        "speed_mps": evidence.speed_mps,
        "age_s": evidence.age_s,
        "fixes": evidence.fixes,
        "span_s": evidence.span_s,
        "spread_m": _metres(evidence.spread_m),
    }


def _stop_point(stop: Stop) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [_degrees(stop.lon), _degrees(stop.lat)]}


def _line(points: Sequence[Point]) -> dict[str, Any]:
    """A line, cut at the antimeridian as GeoJSON wants it."""
    parts: list[list[Point]] = [[points[0]]]
    for (lon, lat), (to_lon, to_lat) in itertools.pairwise(points):
        if abs(to_lon - lon) > 180:
            edge = 180.0 if lon > 0 else -180.0
            away, rest = abs(edge - lon), abs(-edge - to_lon)
            crossing = lat + (to_lat - lat) * (away / (away + rest) if away + rest else 0.0)
            parts[-1].append((edge, _degrees(crossing)))
            parts.append([(-edge, _degrees(crossing))])
        parts[-1].append((to_lon, to_lat))
    if len(parts) == 1:
        return {"type": "LineString", "coordinates": parts[0]}
    return {"type": "MultiLineString", "coordinates": parts}


def _feature(geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _collection(
    features: Sequence[Mapping[str, Any]], page: Page[Any], more: Mapping[str, Any] | None = None
) -> web.Response:
    """The `next` of the list and what else it tells are foreign members, which GeoJSON allows."""
    content = {"type": "FeatureCollection", "features": features, **(more or {}), "next": _next(page)}
    return web.Response(body=msgspec.json.encode(content), content_type=GEOJSON)
