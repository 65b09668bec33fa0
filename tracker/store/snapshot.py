"""Everything the writer keeps in memory, read in one snapshot of tables and journal."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Columns, Ints
from tracker.domain.fleet import Asset, Device, Fleet
from tracker.domain.geofence import Geofence
from tracker.domain.presence import Newest, Presence
from tracker.domain.shape import Circle, Shape
from tracker.store.database import Connection, Record, translated
from tracker.store.sql import sql
from tracker.wire.times import to_ms

LOAD_TIMEOUT_S: Final = 120.0


@dataclass(slots=True)
class Snapshot:
    """The durable state of the journey."""

    batch: int
    event: int
    streams: dict[int, int]  # stream -> last durable number, of the streams with entries in the journal
    presence: Presence
    positions: tuple[Ints, Columns]  # newest trusted fix of each asset
    fences: list[Geofence] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)


async def load(connection: Connection) -> Snapshot:
    """Read it all, in one REPEATABLE READ transaction."""
    with translated():
        async with asyncio.timeout(LOAD_TIMEOUT_S), connection.transaction(isolation="repeatable_read", readonly=True):
            feed = await connection.fetchrow(sql("load_positions_in_feed"))
            streams = {row["stream"]: row["seq"] for row in await connection.fetch(sql("load_unfiled_streams"))}
            fences = [fence_of(row) for row in await connection.fetch(sql("load_geofences"))]
            newest = _newest(
                await connection.fetch(sql("load_latest")), await connection.fetch(sql("load_unfiled_newest"))
            )
            presence = _presence(newest, await connection.fetch(sql("load_open_visits")), fences)
            trusted = [row for row in newest[True].values() if row["device"] is not None]
            assets = [
                Asset(row["id"], row["name"], frozenset(row["tags"]), row["attributes"], row["active_device"])
                for row in await connection.fetch(sql("load_assets"))
            ]
            devices = [
                Device(row["id"], row["name"], row["asset"], row["config"])
                for row in await connection.fetch(sql("load_devices"))
            ]
    assert feed is not None
    return Snapshot(feed["batch"], feed["event"], streams, presence, latest_columns(trusted), fences, assets, devices)


def restore_fleet(fleet: Fleet, snapshot: Snapshot) -> None:
    """Make the snapshot's assets and devices the registry's."""
    fleet.assets = {asset.id: asset for asset in snapshot.assets}
    fleet.devices = {device.id: device for device in snapshot.devices}
    fleet.version += 1


def shape_of(geom: bytes, radius_m: float | None) -> Shape:
    """A stored geometry; it was valid when it was stored."""
    shape = shapely.from_wkb(geom)
    if radius_m is not None:
        return Circle(shape.x, shape.y, radius_m)
    shapely.prepare(shape)
    return shape


def fence_of(row: Record) -> Geofence:
    return Geofence(
        row["id"],
        row["version"],
        row["name"],
        shape_of(row["geom"], row["radius_m"]),
        row["quality"],
        row["since_batch"],
        tuple(row["tags"]),
        row["attributes"],
    )


def _key(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["time_ms"], row["lon"], row["lat"], -row["batch"]


def _newest(filed: list[Record], unfiled: list[Record]) -> dict[bool, dict[int, dict[str, Any]]]:
    """By "trusted only", by asset: the newest fix in event order; of equal ones the first stored."""
    found: dict[bool, dict[int, dict[str, Any]]] = {False: {}, True: {}}

    def offer(trusted: bool, row: dict[str, Any]) -> None:  # noqa: FBT001 - the key of `found`
        have = found[trusted].get(row["asset"])
        if have is None or _key(row) > _key(have):
            found[trusted][row["asset"]] = row

    for record in filed:
        row = dict(record)
        offer(
            False,
            {
                "asset": row["asset"],
                "time_ms": to_ms(row["any_time"]),
                "lon": row["any_lon"],
                "lat": row["any_lat"],
                "batch": row["any_batch"],
            },
        )
        if row["time"] is not None:
            offer(True, {**row, "time_ms": to_ms(row["time"])})
    for record in unfiled:
        row = {**dict(record), "time_ms": to_ms(record["time"])}
        offer(False, row)
        if record["trusted"]:
            offer(True, row)
    return found


def _fill(newest: Newest, rows: dict[int, dict[str, Any]]) -> None:
    newest.reserve(max(rows, default=0))
    asset = np.fromiter(rows, dtype=np.int64, count=len(rows))
    for name in ("time_ms", "lon", "lat", "batch"):
        getattr(newest, name)[asset] = [row[name] for row in rows.values()]


def _presence(
    newest: dict[bool, dict[int, dict[str, Any]]], open_visits: list[Record], fences: list[Geofence]
) -> Presence:
    presence = Presence()
    presence.reserve(max([*newest[False], *newest[True], 0]))
    _fill(presence.trusted.newest, newest[True])
    _fill(presence.every.newest, newest[False])
    judges_every_fix = {fence.id: fence.quality == "all" for fence in fences}
    inside: dict[bool, dict[int, set[int]]] = {False: {}, True: {}}
    for row in open_visits:
        inside[judges_every_fix[row["geofence"]]].setdefault(row["asset"], set()).add(row["geofence"])
    for every, assets in inside.items():
        presence.sight(every).inside = {asset: frozenset(members) for asset, members in assets.items()}
    return presence


def latest_columns(rows: list[dict[str, Any]]) -> tuple[Ints, Columns]:
    """Rows of the table `latest` (times as epoch ms, attributes as values) as (asset numbers, columns)."""
    asset = np.array([row["asset"] for row in rows], dtype=np.int64)

    def column(name: str, kind: Any, unknown: int) -> NDArray[Any]:
        return np.array([unknown if row[name] is None else row[name] for row in rows], dtype=kind)

    return asset, Columns(
        asset.astype(np.int32),
        column("device", np.int32, 0),
        column("time_ms", np.int64, 0),
        column("lon", np.int32, 0),
        column("lat", np.int32, 0),
        column("alt", np.int32, UNKNOWN_INT32),
        column("speed", np.int32, UNKNOWN_INT32),
        column("course", np.int16, UNKNOWN_INT16),
        column("accuracy", np.int32, UNKNOWN_INT32),
        np.zeros(len(rows), np.int16),
        [None if row["attributes"] is None else msgspec.json.encode(row["attributes"]) for row in rows],
    )
