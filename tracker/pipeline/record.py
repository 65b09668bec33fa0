"""From transitions to what is stored and told: events with their place in the feed, and the visits they close and
open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tracker.domain.batch import Columns
from tracker.domain.fleet import Fleet
from tracker.domain.geofence import Geofence
from tracker.domain.index import FenceIndex
from tracker.domain.presence import ABSENT, CROSS, DWELL, ENTER, EXIT, SPEEDING, Crossed, Judgement
from tracker.store.journal import EventRows
from tracker.wire.events import Event, event_of
from tracker.wire.times import to_datetime

TYPES = {
    EXIT: "geofence.exit",
    ENTER: "geofence.enter",
    CROSS: "geofence.cross",
    DWELL: "geofence.dwell",
    SPEEDING: "geofence.speeding",
    ABSENT: "geofence.absent",
}
KINDS = {name: kind for kind, name in TYPES.items()}
EVENT_TYPES: Final = (*TYPES.values(), "asset.online", "asset.silent", "asset.offline")

EVENT_COLUMNS: Final = 18  # that record_events takes

Status = Literal["live", "late", "revised", "retracted"]


@dataclass(frozen=True, slots=True)
class Happening:
    """An event before it has a place in the feed. Places in 1e-7 degrees."""

    kind: int
    asset: int
    fence: Geofence
    device: int | None
    time_ms: int
    lon: int | None
    lat: int | None
    initial: bool = False
    cause: str | None = None
    crossed: Crossed | None = None
    status: Status = "live"
    revises: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """An event about an asset alone, before it has a place in the feed."""

    type: str
    asset: int
    device: int | None
    time_ms: int
    lon: int | None
    lat: int | None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What one transaction writes of happenings, and the same as the world will see it, in feed order."""

    rows: EventRows
    events: Sequence[Event]
    last_id: int


def happenings(judgement: Judgement, columns: Columns, index: FenceIndex) -> list[Happening]:
    """The transitions of a batch, in feed order."""
    found = judgement.transitions
    row = found.row
    return [
        Happening(kind, asset, index.fences[fence], device, time_ms, lon, lat, initial, cause, crossed)
        for kind, fence, initial, cause, crossed, asset, device, time_ms, lon, lat in zip(
            found.kind.tolist(),
            found.fence.tolist(),
            found.initial.tolist(),
            found.cause,
            found.crossed,
            columns.asset[row].tolist(),
            columns.device[row].tolist(),
            columns.time_ms[row].tolist(),
            columns.lon[row].tolist(),
            columns.lat[row].tolist(),
            strict=True,
        )
    ]


def record(found: Sequence[Happening], fleet: Fleet, *, after_id: int, recorded_ms: int) -> Record:
    """Number the happenings from after_id + 1 on and pair those that are told at once into visits; visits that are
    revised are written by whoever judged again.
    """
    rows = [_event(event_id, happening, fleet) for event_id, happening in enumerate(found, after_id + 1)]
    return _record(rows, *_visits(found, after_id), after_id=after_id, recorded_ms=recorded_ms)


def record_notices(found: Sequence[Notice], fleet: Fleet, *, after_id: int, recorded_ms: int) -> Record:
    """Number the notices from after_id + 1 on."""
    rows = [_event_of_asset(event_id, notice, fleet) for event_id, notice in enumerate(found, after_id + 1)]
    return _record(rows, *_visits((), after_id), after_id=after_id, recorded_ms=recorded_ms)


def _record(
    rows: Sequence[dict[str, Any]],
    closed: tuple[list[object], ...],
    opened: tuple[list[object], ...],
    *,
    after_id: int,
    recorded_ms: int,
) -> Record:
    events: list[list[object]] = [[] for _ in range(EVENT_COLUMNS)]
    for row in rows:
        for column, value in zip(events, row.values(), strict=True):
            column.append(value)
    shown = [_shown(row, recorded_ms) for row in rows]
    return Record(EventRows(tuple(events), closed, opened), shown, after_id + len(rows))


def _event(event_id: int, happening: Happening, fleet: Fleet) -> dict[str, Any]:
    """The columns of one event, in the order that record_events takes them."""
    asset = fleet.assets.get(happening.asset)
    crossed = happening.crossed
    return {
        "id": event_id,
        "type": TYPES[happening.kind],
        "status": happening.status,
        "asset": happening.asset,
        "asset_name": asset.name if asset is not None else "",
        "geofence": happening.fence.id,
        "geofence_name": happening.fence.name,
        "geofence_version": happening.fence.version,
        "device": happening.device,
        "time_ms": happening.time_ms,
        "lon": happening.lon,
        "lat": happening.lat,
        "initial": happening.initial,
        "cause": happening.cause,
        "revises": happening.revises,
        "crossed_ms": None if crossed is None else crossed.time_ms,
        "crossed_lon": None if crossed is None else crossed.lon,
        "crossed_lat": None if crossed is None else crossed.lat,
    }


def _event_of_asset(event_id: int, notice: Notice, fleet: Fleet) -> dict[str, Any]:
    """The same columns of an event that no geofence has part in."""
    asset = fleet.assets.get(notice.asset)
    return {
        "id": event_id,
        "type": notice.type,
        "status": "live",
        "asset": notice.asset,
        "asset_name": asset.name if asset is not None else "",
        "geofence": None,
        "geofence_name": None,
        "geofence_version": None,
        "device": notice.device,
        "time_ms": notice.time_ms,
        "lon": notice.lon,
        "lat": notice.lat,
        "initial": False,
        "cause": notice.cause,
        "revises": None,
        "crossed_ms": None,
        "crossed_lon": None,
        "crossed_lat": None,
    }


def _shown(row: dict[str, Any], recorded_ms: int) -> Event:
    return event_of(
        {
            **row,
            "fix_time": to_datetime(row["time_ms"]),
            "recorded_at": to_datetime(recorded_ms),
            "crossed_at": None if row["crossed_ms"] is None else to_datetime(row["crossed_ms"]),
        }
    )


def _visits(found: Sequence[Happening], after_id: int) -> tuple[tuple[list[object], ...], tuple[list[object], ...]]:
    """An exit closes the visit that began earlier in the same run of events, or else the one that was open before."""
    closed: tuple[list[object], ...] = ([], [], [], [])
    opened: tuple[list[object], ...] = ([], [], [], [], [], [], [], [])
    began: dict[tuple[int, int], int] = {}
    for event_id, happening in enumerate(found, after_id + 1):
        if happening.status != "live":
            continue
        pair = (happening.asset, happening.fence.id)
        if happening.kind == ENTER:
            began[pair] = len(opened[0])
            values = (*pair, happening.fence.version, happening.time_ms, event_id, happening.initial, None, None)
            for column, value in zip(opened, values, strict=True):
                column.append(value)
        elif happening.kind == EXIT and pair in began:
            position = began.pop(pair)
            opened[6][position], opened[7][position] = happening.time_ms, event_id
        elif happening.kind == EXIT:
            for column, value in zip(closed, (*pair, happening.time_ms, event_id), strict=True):
                column.append(value)
    return closed, opened
