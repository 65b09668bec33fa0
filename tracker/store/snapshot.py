"""Everything the writer keeps in memory, read in one snapshot of tables and journal."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Columns, Ints
from tracker.domain.geofence import Geofence, Version
from tracker.domain.presence import Presence
from tracker.domain.proximity import Proximity
from tracker.domain.shape import Shape, all_from_wkb
from tracker.memory import uncollected
from tracker.store.database import Connection, Record, translated
from tracker.store.newest import NOTHING_HEARD, Heard, LastSeen, load_newest, load_streams
from tracker.store.proximity import load as load_proximities
from tracker.store.sql import sql
from tracker.store.states import standing_from
from tracker.wire.rules import rule_of
from tracker.wire.times import to_ms

LOAD_TIMEOUT_S: Final = 120.0


@dataclass(slots=True)
class Snapshot:
    """The durable state of the journey, but for the fleet."""

    stored: int  # the last batch
    batch: int  # the last number that is taken: one that never came to be may have been given to a change
    event: int
    streams: dict[int, int]  # stream -> last durable number, of the streams with entries in the journal
    presence: Presence
    positions: tuple[Ints, Columns]  # newest trusted fix of each asset
    fences: list[Version] = field(default_factory=list)  # in force
    late: set[int] = field(default_factory=set)  # assets to be judged again
    earlier: list[Version] = field(default_factory=list)  # of the geofences that are there
    proximities: list[Proximity] = field(default_factory=list)
    heard: Heard = NOTHING_HEARD


async def load(connection: Connection) -> Snapshot:
    """Read it all, in one REPEATABLE READ transaction."""
    with translated(), uncollected():
        async with asyncio.timeout(LOAD_TIMEOUT_S), connection.transaction(isolation="repeatable_read", readonly=True):
            feed = await connection.fetchrow(sql("load_positions_in_feed"))
            assert feed is not None
            current, earlier = await _geofences(connection)
            newest, heard = await load_newest(connection)
            return Snapshot(
                feed["stored"],
                feed["batch"],
                feed["event"],
                await load_streams(connection),
                _presence(
                    newest,
                    await connection.fetch(sql("load_open_visits")),
                    await connection.fetch(sql("load_standing")),
                    {version.fence.id: version.fence for version in current},
                ),
                newest.positions(),
                current,
                {row["asset"] for row in await connection.fetch(sql("load_late"))},
                earlier,
                await load_proximities(connection),
                heard,
            )


async def _geofences(connection: Connection) -> tuple[list[Version], list[Version]]:
    """The versions in force, and those of the same geofences that were before."""
    current = versions_of(await connection.fetch(sql("load_geofences")))
    earlier = versions_of(await connection.fetch(sql("earlier_versions")))
    ruled = {version.fence.id for version in earlier if not version.fence.rule.plain}
    every = {version.fence.id for version in earlier if version.fence.quality == "all"}
    for nth, each in enumerate(current):
        number = each.fence.id
        if number in ruled or number in every:
            fence = replace(each.fence, once_ruled=number in ruled, once_all=number in every)
            current[nth] = replace(each, fence=fence)
    return current, earlier


def versions_of(rows: Sequence[Record]) -> list[Version]:
    """Of geofences with a shape of their own."""
    shapes = all_from_wkb([(row["geom"], row["radius_m"], row["buffer_m"]) for row in rows])
    return [Version(row["from_batch"], _fence_of(row, shape)) for row, shape in zip(rows, shapes, strict=True)]


def _fence_of(row: Record, shape: Shape) -> Geofence:
    return Geofence(
        row["id"],
        row["version"],
        row["name"],
        shape,
        row["quality"],
        row["since_batch"],
        tuple(row["tags"]),
        row["attributes"],
        rule_of(row["options"]),
        row["options"],
    )


def _presence(
    newest: LastSeen,
    open_visits: list[Record],
    standing: list[Record],
    fences: dict[int, Geofence],
) -> Presence:
    presence = Presence()
    presence.reserve(int(newest.every["asset"].max(initial=0)))
    newest.fill(presence.trusted.newest, presence.every.newest)
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
