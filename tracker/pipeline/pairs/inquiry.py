"""Why two assets came near, or parted: where each of them was at the instant of an event, by the fixes stored now."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracker.domain.batch import DEGREE
from tracker.domain.geodesy import distances_m
from tracker.domain.proximity import Proximity, Tracks
from tracker.store import proximity as store
from tracker.store.database import Database
from tracker.wire.times import to_ms


@dataclass(frozen=True, slots=True)
class Place:
    """A fix that says where an asset is; places in degrees."""

    asset: int
    time_ms: int
    lon: float
    lat: float


@dataclass(frozen=True, slots=True)
class Apart:
    """Two assets at an instant: the fixes that say where they are, None where nobody knows, and the distance."""

    fence: Proximity
    asset: Place | None
    other: Place | None
    distance_m: float | None


async def apart(database: Database, event: Mapping[str, Any]) -> Apart:
    """What the event of a geofence around assets follows from."""
    at_ms = to_ms(event["fix_time"])
    pair = np.array([event["asset"], event["near"]])
    async with database.connection() as connection:
        fence = await store.version(connection, event["geofence"], event["geofence_version"])
        spans = np.full(2, at_ms - fence.max_gap_ms), np.full(2, at_ms)
        tracks = Tracks.of(await store.read_fixes(connection, pair, fence.quality, *spans), fence.max_gap_ms)
    rows = tracks.places(pair, np.full(2, at_ms)).tolist()
    asset, other = (_place(tracks, row) if row >= 0 else None for row in rows)
    metres = None
    if min(rows) >= 0:
        lon, lat = tracks.lon[rows] / DEGREE, tracks.lat[rows] / DEGREE
        metres = float(distances_m(lon[:1], lat[:1], lon[1:], lat[1:])[0])
    return Apart(fence, asset, other, metres)


def _place(tracks: Tracks, row: int) -> Place:
    lon, lat = int(tracks.lon[row]) / DEGREE, int(tracks.lat[row]) / DEGREE
    return Place(int(tracks.asset[row]), int(tracks.time_ms[row]), lon, lat)
