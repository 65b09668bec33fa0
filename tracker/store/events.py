"""The feed of events as it is read: rows after an id, in the order of commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tracker.store.database import Database


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader asks for; None is no condition. Times are of the fix, both inclusive."""

    types: Sequence[str] | None = None
    asset: int | None = None
    geofence: int | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(database: Database, wanted: Wanted, after: int, limit: int) -> Sequence[Mapping[str, Any]]:
    """Up to `limit` of them after this id, by the index that fits."""
    given = (after, wanted.types, wanted.geofence, wanted.since, wanted.until, limit)
    rows: list[Mapping[str, Any]]
    if wanted.asset is not None:
        rows = await database.rows("events_of_asset", *given, wanted.asset)
    elif wanted.geofence is not None:
        rows = await database.rows("events_of_geofence", *given)
    else:
        rows = await database.rows("events_of_all", *given)
    return rows
