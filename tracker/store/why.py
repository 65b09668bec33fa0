"""What is read to explain an event beside the fixes: its corrections, a geofence's life, a state to begin from."""

from collections.abc import Mapping, Sequence
from typing import Any

from tracker.domain.fold import Tags, Turning
from tracker.domain.why import Life
from tracker.store import revision
from tracker.store.database import Connection
from tracker.store.revision import Checkpoint
from tracker.store.snapshot import versions_of
from tracker.store.sql import sql
from tracker.store.states import state_from_json
from tracker.wire.times import to_datetime, to_ms


async def corrections(connection: Connection, event: int) -> Sequence[Mapping[str, Any]]:
    """An event with those that it corrects and those that correct it, in the order of the feed."""
    rows: list[Mapping[str, Any]] = await connection.fetch(sql("event_chain"), event)
    return rows


async def life(connection: Connection, geofence: int, asset: int, tags: frozenset[str]) -> Life | None:
    """Of a geofence, also of a deleted one, with the tags that the asset had. None: there was never such a one."""
    rows = await connection.fetch(sql("versions_of_geofence"), geofence)
    if not rows:
        return None
    had: list[Tags] = await revision.tags(connection, asset, tags)
    return Life(versions_of(rows), rows[-1]["until_batch"], asset, had)


async def checkpoint(connection: Connection, asset: int, before_ms: int, as_of: int | None) -> Checkpoint | None:
    """The last state before an instant; with as_of one that knows of nothing stored later."""
    if as_of is None:
        return await revision.checkpoint_before(connection, asset, before_ms)
    row = await connection.fetchrow(sql("checkpoint_known_by"), asset, to_datetime(before_ms), as_of)
    return None if row is None else Checkpoint(to_ms(row["time"]), row["changes"], state_from_json(row["state"]))


async def turnings(connection: Connection, asset: int, geofence: int, from_ms: int, as_of: int | None) -> list[Turning]:
    """The places of changes of a geofence and of the asset's tags, in order."""
    return [
        each
        for each in await revision.turnings(connection, asset, from_ms)
        if each.geofence in (0, geofence) and (as_of is None or each.batch <= as_of)
    ]


async def waits(connection: Connection, asset: int) -> bool:
    """Whether something late of an asset waits to be judged."""
    found: bool = await connection.fetchval(sql("is_late"), asset)
    return found


async def nearest(connection: Connection, asset: int, at_ms: int) -> tuple[int | None, int | None]:
    """When an asset's last fix before an instant is, and its first after it; None: not within 60 days."""
    row = await connection.fetchrow(sql("nearest_fixes"), asset, to_datetime(at_ms))
    return tuple(None if row[name] is None else to_ms(row[name]) for name in ("before", "after"))  # type: ignore[return-value]


async def asset_name(connection: Connection, asset: int) -> str | None:
    """Of an asset, also of a deleted one; None: there was never such a one."""
    name: str | None = await connection.fetchval(sql("asset_name"), asset)
    return name
