"""Everything the writer keeps in memory, read in one snapshot of tables and journal."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Columns, Ints
from tracker.domain.fleet import Asset, Device, Fleet
from tracker.domain.geofence import Geofence, Version
from tracker.domain.presence import Newest, Presence
from tracker.domain.proximity import Proximity
from tracker.domain.shape import from_wkb
from tracker.store.database import Connection, Record, translated
from tracker.store.fleet import asset_of
from tracker.store.proximity import load as load_proximities
from tracker.store.sql import sql
from tracker.store.states import standing_from
from tracker.wire.rules import rule_of
from tracker.wire.times import to_ms

LOAD_TIMEOUT_S: Final = 120.0


@dataclass(slots=True)
class Snapshot:
    """The durable state of the journey."""

    stored: int  # the last batch
    batch: int  # the last number that is taken: one that never came to be may have been given to a change
    event: int
    streams: dict[int, int]  # stream -> last durable number, of the streams with entries in the journal
    presence: Presence
    positions: tuple[Ints, Columns]  # newest trusted fix of each asset
    fences: list[Version] = field(default_factory=list)  # in force
    assets: list[Asset] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    late: set[int] = field(default_factory=set)  # assets to be judged again
    earlier: list[Version] = field(default_factory=list)  # of the geofences that are there
    proximities: list[Proximity] = field(default_factory=list)


async def load(connection: Connection) -> Snapshot:
    """Read it all, in one REPEATABLE READ transaction."""
    with translated():
        async with asyncio.timeout(LOAD_TIMEOUT_S), connection.transaction(isolation="repeatable_read", readonly=True):
            feed = await connection.fetchrow(sql("load_positions_in_feed"))
            streams = {row["stream"]: row["seq"] for row in await connection.fetch(sql("load_unfiled_streams"))}
            current = [
                Version(row["from_batch"], fence_of(row)) for row in await connection.fetch(sql("load_geofences"))
            ]
            earlier = [
                Version(row["from_batch"], fence_of(row)) for row in await connection.fetch(sql("earlier_versions"))
            ]
            ruled = {version.fence.id for version in earlier if not version.fence.rule.plain}
            every = {version.fence.id for version in earlier if version.fence.quality == "all"}
            current = [
                replace(
                    each, fence=replace(each.fence, once_ruled=each.fence.id in ruled, once_all=each.fence.id in every)
                )
                for each in current
            ]
            newest = _newest(
                await connection.fetch(sql("load_latest")), await connection.fetch(sql("load_unfiled_newest"))
            )
            presence = _presence(
                newest,
                await connection.fetch(sql("load_open_visits")),
                await connection.fetch(sql("load_standing")),
                {version.fence.id: version.fence for version in current},
            )
            proximities = await load_proximities(connection)
            late = {row["asset"] for row in await connection.fetch(sql("load_late"))}
            trusted = [row for row in newest[True].values() if row["device"] is not None]
            assets = [asset_of(row) for row in await connection.fetch(sql("load_assets"))]
            devices = [
                Device(row["id"], row["name"], row["asset"], row["config"])
                for row in await connection.fetch(sql("load_devices"))
            ]
    assert feed is not None
    return Snapshot(
        feed["stored"],
        feed["batch"],
        feed["event"],
        streams,
        presence,
        latest_columns(trusted),
        current,
        assets,
        devices,
        late,
        earlier,
        proximities,
    )


def restore_fleet(fleet: Fleet, snapshot: Snapshot) -> None:
    """Make the snapshot's assets and devices the registry's."""
    fleet.assets = {asset.id: asset for asset in snapshot.assets}
    fleet.devices = {device.id: device for device in snapshot.devices}
    fleet.version += 1


def fence_of(row: Record) -> Geofence:
    return Geofence(
        row["id"],
        row["version"],
        row["name"],
        from_wkb(row["geom"], row["radius_m"], row["buffer_m"]),
        row["quality"],
        row["since_batch"],
        tuple(row["tags"]),
        row["attributes"],
        rule_of(row["options"]),
        row["options"],
    )


_REST: Final = ("alt", "speed", "course", "accuracy")  # the fields that event order looks at after time and place


def _key(row: dict[str, Any]) -> tuple[int, ...]:
    """Greatest: the newest fix; of those equal in time and place the first by the remaining fields, then by batch."""
    return row["time_ms"], row["lon"], row["lat"], *(-row[name] for name in _REST), -row["batch"]


def _newest(filed: list[Record], unfiled: list[Record]) -> dict[bool, dict[int, dict[str, Any]]]:
    """By "trusted only", by asset: the newest fix in event order, with the highest batch of all."""
    found: dict[bool, dict[int, dict[str, Any]]] = {False: {}, True: {}}

    def offer(trusted: bool, row: dict[str, Any]) -> None:  # noqa: FBT001 - the key of `found`
        have = found[trusted].get(row["asset"], row)
        newest = row if _key(row) > _key(have) else have
        found[trusted][row["asset"]] = {**newest, "seen": max(row["seen"], have["seen"])}

    for record in filed:
        row = dict(record)
        every = {name.removeprefix("any_"): value for name, value in row.items() if name.startswith("any_")}
        offer(False, {"asset": row["asset"], **every, "time_ms": to_ms(row["any_time"])})
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
    for name in ("time_ms", "lon", "lat", *_REST, "batch", "seen"):
        getattr(newest, name)[asset] = [row[name] for row in rows.values()]


def _presence(
    newest: dict[bool, dict[int, dict[str, Any]]],
    open_visits: list[Record],
    standing: list[Record],
    fences: dict[int, Geofence],
) -> Presence:
    presence = Presence()
    presence.reserve(max([*newest[False], *newest[True], 0]))
    _fill(presence.trusted.newest, newest[True])
    _fill(presence.every.newest, newest[False])
    for row in open_visits:
        fence = fences[row["geofence"]]
        if not fence.ruled:
            sight = presence.sight(fence.quality == "all")
            sight.inside.setdefault(row["asset"], {})[fence.id] = to_ms(row["enter_time"])
    for row in standing:
        state = standing_from(row["state"])
        for sight, entries in ((presence.trusted, state.trusted), (presence.every, state.every)):
            sight.put_entries(row["asset"], {fence: entry for fence, entry in entries.items() if fence in fences})
        if state.suspect is not None:
            presence.suspects[row["asset"]] = state.suspect
        if state.doubted is not None:
            presence.doubted[row["asset"]] = state.doubted
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
