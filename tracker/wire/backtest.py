"""What a backtest tells: events in the form of the feed but for what only a stored event has, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from tracker.domain.backtest import Finding
from tracker.wire import ids
from tracker.wire.events import Ref
from tracker.wire.times import rfc3339

STATUS: Final = "backtest"
CSV_HEAD: Final = (
    "type", "fix_time", "asset_id", "asset", "geofence", "lon", "lat", "initial", "cause", "crossed_at", "crossed_lon",
    "crossed_lat",
)  # fmt: skip


class TriedFence(Struct, frozen=True):
    """A geofence that may have no id yet."""

    name: str
    id: str | UnsetType = UNSET


class TriedEvent(Struct, frozen=True):
    """An event that there would have been: never stored, so it has no id and no recorded_at."""

    type: str
    status: str
    asset: Ref
    geofence: TriedFence
    fix_time: str
    lon: float
    lat: float
    initial: bool | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    crossed_at: str | UnsetType = UNSET
    crossed_lon: float | UnsetType = UNSET
    crossed_lat: float | UnsetType = UNSET


def tried_event(found: Finding, kind: str, asset_name: str, fence: TriedFence) -> TriedEvent:
    """As it is told; kind is the type's name."""
    crossed = found.crossed
    return TriedEvent(
        type=kind,
        status=STATUS,
        asset=Ref(ids.public_id(ids.ASSET, found.asset), asset_name),
        geofence=fence,
        fix_time=rfc3339(found.time_ms),
        lon=found.lon / 1e7,
        lat=found.lat / 1e7,
        initial=True if found.initial else UNSET,
        cause=UNSET if found.cause is None else found.cause,
        crossed_at=UNSET if crossed is None else rfc3339(crossed.time_ms),
        crossed_lon=UNSET if crossed is None or crossed.lon is None else crossed.lon / 1e7,
        crossed_lat=UNSET if crossed is None or crossed.lat is None else crossed.lat / 1e7,
    )


def csv_of(events: Iterable[TriedEvent], *, head: bool) -> bytes:
    """Rows, after the names of the columns if those are to stand there."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    if head:
        rows.writerow(CSV_HEAD)
    for each in events:
        optional = (each.cause, each.crossed_at, each.crossed_lon, each.crossed_lat)
        rows.writerow(
            [
                each.type, each.fix_time, each.asset.id, each.asset.name, each.geofence.name, each.lon, each.lat,
                "true" if each.initial is True else "",
                *("" if value is UNSET else value for value in optional),
            ]
        )  # fmt: skip
    return text.getvalue().encode()
