"""The one form of an event that lists, sockets and hooks show."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from tracker.wire import ids
from tracker.wire.times import rfc3339


class Ref(Struct, frozen=True):
    """An object by id and the name it had then."""

    id: str
    name: str


class Near(Struct, frozen=True):
    """The other asset of an event about two. distance_m: how far it was, absent when nobody knew any more."""

    id: str
    name: str
    distance_m: float | UnsetType = UNSET


class Event(Struct, frozen=True):
    """A stored event; it never changes after its commit."""

    id: str
    type: str
    status: str
    asset: Ref
    fix_time: str
    recorded_at: str
    geofence: Ref | UnsetType = UNSET
    lon: float | UnsetType = UNSET
    lat: float | UnsetType = UNSET
    initial: bool | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    revises: str | UnsetType = UNSET
    crossed_at: str | UnsetType = UNSET
    crossed_lon: float | UnsetType = UNSET
    crossed_lat: float | UnsetType = UNSET
    near: Near | UnsetType = UNSET


def event_of(row: Mapping[str, Any]) -> Event:
    """From a row of the table `event`, by its column names."""
    return Event(
        id=ids.public_id(ids.EVENT, row["id"]),
        type=row["type"],
        status=row["status"],
        asset=Ref(ids.public_id(ids.ASSET, row["asset"]), row["asset_name"]),
        fix_time=rfc3339(row["fix_time"]),
        recorded_at=rfc3339(row["recorded_at"]),
        geofence=UNSET
        if row["geofence"] is None
        else Ref(ids.public_id(ids.GEOFENCE, row["geofence"]), row["geofence_name"]),
        lon=UNSET if row["lon"] is None else row["lon"] / 1e7,
        lat=UNSET if row["lat"] is None else row["lat"] / 1e7,
        initial=True if row["initial"] else UNSET,
        cause=UNSET if row["cause"] is None else row["cause"],
        revises=UNSET if row["revises"] is None else ids.public_id(ids.EVENT, row["revises"]),
        crossed_at=UNSET if row["crossed_at"] is None else rfc3339(row["crossed_at"]),
        crossed_lon=UNSET if row["crossed_lon"] is None else row["crossed_lon"] / 1e7,
        crossed_lat=UNSET if row["crossed_lat"] is None else row["crossed_lat"] / 1e7,
        near=_near(row),
    )


def _near(row: Mapping[str, Any]) -> Near | UnsetType:
    if row.get("near") is None:
        return UNSET
    metres = UNSET if row["near_m"] is None else round(row["near_m"], 2)
    return Near(ids.public_id(ids.ASSET, row["near"]), row["near_name"], metres)
