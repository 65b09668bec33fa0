"""`/v1/events/{id}/why` and `/v1/geofences/{id}/explain`: what an event follows from, and why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from tracker.access.roles import Role, require
from tracker.domain.evidence import IN, OUT
from tracker.domain.fold import Fact
from tracker.domain.presence import ENTER, EXIT, OUTSIDE, Entry
from tracker.domain.proximity import Proximity
from tracker.domain.ruled import SCHEDULE
from tracker.domain.why import Life
from tracker.doors.fields import Body
from tracker.doors.keys import DATABASE, FLEET, WRITER
from tracker.doors.paging import number_of, only, path_id
from tracker.doors.problems import answer, body
from tracker.errors import InvalidField, NotFound, RequestError
from tracker.pipeline import inquiry
from tracker.pipeline.inquiry import Account, Why
from tracker.pipeline.pairs.inquiry import Apart, Place, apart
from tracker.pipeline.record import KINDS, TYPES
from tracker.store import why as reading
from tracker.wire import ids
from tracker.wire import why as telling
from tracker.wire.events import event_of
from tracker.wire.times import parse_when, rfc3339, to_ms

WINDOW_S: Final = 900.0
MAX_WINDOW_S: Final = 86_400.0

Row = Mapping[str, Any]


class Question(Body):
    """An event that is missed: of which asset, and when."""

    asset: str
    time: str | int
    window_s: float = WINDOW_S


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/events/{id}/why", why, allow_head=False),
        web.post("/v1/geofences/{id}/explain", explain),
    ]


def _tags(request: web.Request, asset: int) -> frozenset[str]:
    known = request.app[FLEET].assets.get(asset)
    return frozenset() if known is None else known.tags


# Why there is an event -----------------------------------------------------------------------------------------------


@require(Role.VIEWER)
async def why(request: web.Request) -> web.StreamResponse:
    """The fixes, the rule and the sentence that an event follows from, and what became of it."""
    only(request)
    number, database = path_id(request, ids.EVENT), request.app[DATABASE]
    async with database.connection() as connection:
        corrections = await reading.corrections(connection, number)
    event = next((row for row in corrections if row["id"] == number), None)
    if event is None:
        raise NotFound(f"There is no event {ids.public_id(ids.EVENT, number)}.")
    stands = corrections[-1]["id"] == number and event["status"] != "retracted"
    told: dict[str, Any] = {
        "event": event_of(event),
        "stands": stands,
        "corrections": [event_of(row) for row in corrections if row["id"] != number],
    }
    if event["geofence"] is None:
        cause = f"; its cause is {event['cause']}" if event["cause"] else ""
        return answer(
            told | {"summary": f"This event is about the asset alone, and no geofence has part in it{cause}."}
        )
    if event["near"] is not None:
        return answer(told | _near_form(event, await apart(database, event), request.app[WRITER].proximities.current))
    corrected = corrections[-1]["id"] != number
    found = await inquiry.why(database, event, _tags(request, event["asset"]), corrected=corrected)
    assert found is not None, "a geofence is never removed from the tables"
    return answer(told | _why_form(event, found, corrected=corrected))


def _why_form(event: Row, found: Why, *, corrected: bool) -> dict[str, Any]:
    fence = next(each.fence for each in found.life.versions if each.fence.version == event["geofence_version"])
    return {
        "summary": _sentence(event, found, corrected=corrected),
        "pending": found.waits,
        "geofence": _fence_form(found.life, fence.version, event["geofence_name"]),
        "rule": telling.rule_form(fence),
        "fixes": [
            {**telling.fix_form(found.shown.stored.columns, row, said), "part": part}
            for (row, said), part in zip(enumerate(found.shown.said), _parts(event, found), strict=True)
        ],
        "fixes_left_out": found.shown.left_out,
    }


def _near_form(event: Row, found: Apart, current: Mapping[int, Proximity]) -> dict[str, Any]:
    """Of an event about two assets: where each of them was."""
    fence, newest = found.fence, current.get(found.fence.id)
    return {
        "summary": _near_sentence(event, found),
        "geofence": {
            "id": ids.public_id(ids.GEOFENCE, fence.id),
            "name": event["geofence_name"],
            "version": fence.version,
            "newest_version": fence.version if newest is None else newest.version,
            "deleted": newest is None,
        },
        "rule": {
            "quality": fence.quality,
            "within_m": fence.shape.within_m,
            "exit_margin_m": fence.exit_margin_m,
            "max_gap_s": fence.max_gap_s,
        },
        "distance_m": None if found.distance_m is None else round(found.distance_m, 2),
        "places": [_place(each) for each in (found.asset, found.other)],
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    asset = ids.public_id(ids.ASSET, place.asset)
    return {"asset": asset, "fix_time": rfc3339(place.time_ms), "lon": place.lon, "lat": place.lat}


def _near_sentence(event: Row, found: Apart) -> str:
    kind, fence = KINDS[event["type"]], found.fence
    if event["status"] == "retracted":
        return "Retracted: late fixes show that the event that it names did not happen."
    if event["cause"] is not None:
        return telling.change_sentence(kind, event["cause"], event["geofence_version"])
    if found.distance_m is None:
        unknown = event["asset_name"] if found.asset is None else event["near_name"]
        return (
            f"Nobody knew any more where {unknown} was: its last fix was older than max_gap_s of {fence.max_gap_s:g} s."
        )
    apart_by, within = telling.metres(found.distance_m), telling.metres(fence.shape.within_m)
    if kind == ENTER:
        return f"The two were {apart_by} apart, which is within {within}."
    margin = f" and exit_margin_m of {telling.metres(fence.exit_margin_m)}" if fence.exit_margin_m else ""
    return f"The two were {apart_by} apart, which is more than within_m of {within}{margin}."


def _fence_form(life: Life, version: int, name: str) -> dict[str, Any]:
    return {
        "id": ids.public_id(ids.GEOFENCE, life.number),
        "name": name,
        "version": version,
        "newest_version": life.versions[-1].fence.version,
        "deleted": life.until_batch is not None,
    }


def _sentence(event: Row, found: Why, *, corrected: bool) -> str:
    kind, at_ms, cause = KINDS[event["type"]], to_ms(event["fix_time"]), event["cause"]
    fence = next(each.fence for each in found.life.versions if each.fence.version == event["geofence_version"])
    if event["status"] == "retracted":
        return "Retracted: late fixes show that the event that it names did not happen."
    if cause is not None and cause != SCHEDULE:
        return telling.change_sentence(kind, cause, event["geofence_version"])
    if found.fact is None:
        return telling.lost_sentence(waits=found.waits, corrected=corrected)
    if kind in {ENTER, EXIT}:
        return telling.turned_sentence(kind, fence.rule, found.before, at_ms, cause)
    return telling.other_sentence(kind, fence.rule, found.before, at_ms)


def _parts(event: Row, found: Why) -> list[str | None]:
    """What part each fix has in it: the one `before`, those of the `run`, the one that `decided`."""
    kind, columns, said = KINDS[event["type"]], found.shown.stored.columns, found.shown.said
    place = to_ms(event["fix_time"]), event["lon"], event["lat"]
    began_ms = found.before.run_start_ms if found.before.run else place[0]
    wanted = {ENTER: IN, EXIT: OUT}.get(kind)
    parts: list[str | None] = []
    for row, each in enumerate(said):
        here = int(columns.time_ms[row]), int(columns.lon[row]), int(columns.lat[row])
        if each.unseen is None and here == place:
            parts.append("decided")
        elif each.unseen is None and each.says == wanted and here[0] >= began_ms:
            parts.append("run")
        else:
            parts.append("before" if row == 0 and each.unseen is None else None)
    return parts


# Why there is none ---------------------------------------------------------------------------------------------------


@require(Role.VIEWER)
async def explain(request: web.Request) -> web.StreamResponse:
    """What a geofence made of an asset's fixes around a time, and why it told nothing there, or what."""
    number, database = path_id(request, ids.GEOFENCE), request.app[DATABASE]
    asked = await body(request, Question)
    asset, at_ms = number_of(ids.ASSET, asked.asset, "asset"), parse_when(asked.time, "time")
    if not 0 < asked.window_s <= MAX_WINDOW_S:
        raise InvalidField(f"window_s must be over 0 and at most {MAX_WINDOW_S:,.0f}", field="window_s")
    if number in request.app[WRITER].proximities.current:
        raise RequestError(
            "Only geofences with a geometry can be asked about a time; of one around assets ask /v1/events/{id}/why.",
            field="id",
        )
    async with database.connection() as connection:
        life = await reading.life(connection, number, asset, _tags(request, asset))
        name = await reading.asset_name(connection, asset)
    if life is None:
        raise NotFound(f"There is no geofence {request.match_info['id']}.")
    if name is None:
        raise InvalidField(f"asset: there is no asset {asked.asset}.", field="asset")
    found = await inquiry.account(database, life, at_ms, round(asked.window_s * 1000))
    fence = life.versions[-1].fence
    return answer(
        {
            "summary": _summary(found, at_ms),
            "asset": {"id": asked.asset, "name": name},
            "geofence": _fence_form(life, fence.version, fence.name),
            "from": rfc3339(found.span[0]),
            "to": rfc3339(found.span[1]),
            "pending": found.waits,
            "rule": telling.rule_form(fence),
            "before": _side(found.before),
            "fixes": _fixes(found),
            "fixes_left_out": found.shown.left_out,
            "changes": [
                {
                    "after": rfc3339(step.turning.key[0]),
                    "cause": "asset_changed" if step.turning.geofence == 0 else "fence_changed",
                    "version": life.version(step.turning.batch).version,
                    **_side(step.entry),
                }
                for step in found.steps
                if step.turning is not None
            ],
            "told": [_told(fact) for fact in _facts(found)],
        }
    )


def _side(entry: Entry) -> dict[str, Any]:
    since = {"since": rfc3339(entry.enter_ms)} if entry.inside else {}
    return {"side": "inside" if entry.inside else "outside", **since, "run": entry.run}


def _told(fact: Fact) -> dict[str, Any]:
    return {
        "type": TYPES[fact.kind],
        "fix_time": rfc3339(fact.time_ms),
        **({"cause": fact.cause} if fact.cause else {}),
        **({"crossed_at": rfc3339(fact.crossed.time_ms)} if fact.crossed is not None else {}),
    }


def _facts(found: Account) -> list[Fact]:
    return [fact for step in found.steps for fact in step.facts]


def _fixes(found: Account) -> list[dict[str, Any]]:
    after = {step.row: step for step in found.steps if step.turning is None}
    entry, out = found.before, []
    for row, said in enumerate(found.shown.said):
        step = after.get(row)
        entry = entry if step is None else step.entry
        told = [] if step is None else [TYPES[fact.kind] for fact in step.facts]
        out.append({**telling.fix_form(found.shown.stored.columns, row, said), **_side(entry), "told": told})
    return out


def _summary(found: Account, at_ms: int) -> str:
    shown, facts = found.shown, _facts(found)
    if not shown.said:
        return _silent(found)
    if facts:
        nearest = min(facts, key=lambda fact: abs(fact.time_ms - at_ms))
        kind = TYPES[nearest.kind].removeprefix("geofence.")
        more = f"; {len(facts)} events in this time" if len(facts) > 1 else ""
        waits = " Late fixes wait to be judged: it may not have been told yet." if found.waits else ""
        return f"There is one: {kind} at {rfc3339(nearest.time_ms)}{more}.{waits}"
    if all(each.unseen is not None for each in shown.said):
        return telling.unseen_sentence(shown.said, shown.stored.columns)
    runs, longest = _runs(found)
    return telling.quiet_sentence(shown.stored.columns, shown.said, found.before, runs, longest)


def _runs(found: Account) -> tuple[int, Entry]:
    """How many runs there were, and side and run when the longest was."""
    entries: Sequence[Entry] = [found.before, *(step.entry for step in found.steps)]
    started = {each.run_start_ms for each in entries if each.run}
    return len(started), max(entries, key=lambda each: each.run, default=OUTSIDE)


def _silent(found: Account) -> str:
    """Of a time without fixes."""
    start, end = map(rfc3339, found.span)
    before, after = ("none within 60 days" if ms is None else rfc3339(ms) for ms in found.nearest_ms)
    return f"No fix of the asset is stored from {start} to {end}. The last before: {before}; the first after: {after}."
