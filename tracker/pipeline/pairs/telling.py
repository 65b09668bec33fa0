"""Telling of pairs: the events and visits of one judging as one transaction, run by the writer between two batches."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tracker.domain.presence import EXIT
from tracker.domain.proximity import Change, Told
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.pairs.outcome import Outcome, visits_of
from tracker.pipeline.record import TYPES, Record
from tracker.store import proximity as store
from tracker.store.journal import EventRows
from tracker.store.proximity import OpenStay, Pair
from tracker.wire.events import Event, event_of
from tracker.wire.times import to_datetime


class Ended(NamedTuple):
    """A visit of a pair that is judged no more."""

    stay: OpenStay
    cause: str
    time_ms: int  # of the newest fix of the two


async def tell(writer: Writer, outcome: Outcome) -> None:
    """What is to be told of pairs by one geofence."""
    fence, recorded_ms = outcome.rule.fence, now_ms()
    changes = sorted(outcome.changes, key=lambda each: _order(each[0], each[1]))
    rows = []
    numbered: dict[tuple[Pair, Told], int] = {}
    for event, (pair, change, late) in enumerate(changes, writer.event + 1):
        told = change.new or change.old
        assert told is not None
        if change.new is not None:
            numbered[pair, change.new] = event
        rows.append(
            {
                **_row(writer, event, pair, told),
                "status": _status(change, late=late),
                "geofence": fence.id,
                "geofence_name": fence.name,
                "version": fence.version,
                "cause": None,
                "revises": None if change.old is None else change.old.event,
            }
        )
    gone, visits = visits_of(outcome, numbered)
    await _write(writer, recorded_ms, rows, gone, visits)


def _status(change: Change, *, late: bool) -> str:
    if change.old is None:
        return "late" if late else "live"
    return "retracted" if change.new is None else "revised"


async def close(writer: Writer, ended: Sequence[Ended]) -> None:
    """The visits of pairs that are judged no more end."""
    rows, visits = [], []
    for event, (stay, cause, time_ms) in enumerate(ended, writer.event + 1):
        lon, lat = writer.publisher.latest.place(stay.pair[0]) or (None, None)
        told = Told(EXIT, max(stay.enter_ms, time_ms), lon, lat)
        rows.append(
            {
                **_row(writer, event, stay.pair, told),
                "status": "live",
                "geofence": stay.fence,
                "geofence_name": stay.fence_name,
                "version": stay.version,
                "cause": cause,
                "revises": None,
            }
        )
        entered = {"enter_ms": stay.enter_ms, "enter_event": stay.enter_event}
        visits.append({"id": stay.id, **entered, "exit_ms": told.time_ms, "exit_event": event})
    await _write(writer, now_ms(), rows, [], visits)


async def forget_marks(writer: Writer, marks: Sequence[int]) -> None:
    """What these marks of doubts ask for was judged."""
    await store.record(writer.journal.connection, now_ms(), {"events": [], "gone": [], "visits": [], "marks": marks})


def _row(writer: Writer, event: int, pair: Pair, told: Told) -> dict[str, Any]:
    names = [known.name if (known := writer.fleet.assets.get(asset)) is not None else "" for asset in pair]
    return {
        "id": event,
        "type": TYPES[told.kind],
        "asset": pair[0],
        "asset_name": names[0],
        "time_ms": told.time_ms,
        "lon": told.lon,
        "lat": told.lat,
        "near": pair[1],
        "near_name": names[1],
        "near_m": told.distance_m,
    }


async def _write(
    writer: Writer, recorded_ms: int, rows: list[dict[str, Any]], gone: list[int], visits: list[dict[str, Any]]
) -> None:
    outcome = {"events": rows, "gone": gone, "visits": visits, "marks": []}
    await store.record(writer.journal.connection, recorded_ms, outcome)
    shown = [_shown(row, recorded_ms) for row in rows]
    writer.told(Record(EventRows((), (), ()), shown, writer.event + len(rows)))


def _shown(row: Mapping[str, Any], recorded_ms: int) -> Event:
    times = {"fix_time": to_datetime(row["time_ms"]), "recorded_at": to_datetime(recorded_ms)}
    return event_of({**row, **times, "initial": False, "crossed_at": None, "crossed_lon": None, "crossed_lat": None})


def _order(pair: Pair, change: Change) -> tuple[int, int, Pair]:
    told = change.new or change.old
    assert told is not None
    return told.time_ms, told.kind, pair
