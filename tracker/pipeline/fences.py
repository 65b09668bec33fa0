"""Changes of geofences, each one transaction between two batches, with the events that it brings about itself.

A new geofence judges what is stored from the next batch on and says nothing of before. A changed one makes a version:
assets inside that are no longer, and those inside now that it had seen outside, get events with cause `fence_changed`.
Deleting one closes its visits with cause `fence_deleted`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import shapely

from tracker.domain.batch import DEGREE
from tracker.domain.geofence import Geofence, Quality
from tracker.domain.presence import ENTER, EXIT, NEVER, Newest
from tracker.domain.shape import Circle, Shape, holds
from tracker.errors import NotFound
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.record import Happening
from tracker.store.database import translated
from tracker.store.sql import sql
from tracker.wire import ids

CHANGED: Final = "fence_changed"
DELETED: Final = "fence_deleted"


@dataclass(frozen=True, slots=True)
class Draft:
    """A geofence as it is asked for."""

    name: str
    shape: Shape
    quality: Quality = "trusted"
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


def _wkb(shape: Shape) -> bytes:
    return bytes(shapely.to_wkb(shapely.Point(shape.lon, shape.lat) if isinstance(shape, Circle) else shape))


def _radius_m(shape: Shape) -> float | None:
    return shape.radius_m if isinstance(shape, Circle) else None


async def create(writer: Writer, drafts: Sequence[Draft]) -> list[Geofence]:
    """Make geofences, all or none, in order."""

    async def change(writer: Writer) -> list[Geofence]:
        since, connection = writer.batch + 1, writer.journal.connection
        with translated():
            async with connection.transaction():
                texts = [{"name": d.name, "tags": d.tags, "attributes": d.attributes} for d in drafts]
                rows = await connection.fetch(sql("insert_geofences"), texts)
                numbers = sorted(row["id"] for row in rows)
                await _insert_versions(writer, numbers, [1] * len(drafts), drafts, since)
        made = [
            Geofence(number, 1, d.name, d.shape, d.quality, since, d.tags, d.attributes)
            for number, d in zip(numbers, drafts, strict=True)
        ]
        for fence in made:
            writer.index.put(fence)
        return made

    return await writer.between_batches(change)  # type: ignore[no-any-return]


async def _insert_versions(
    writer: Writer, numbers: list[int], versions: list[int], drafts: Sequence[Draft], since: int
) -> None:
    await writer.journal.connection.execute(
        sql("insert_geofence_versions"),
        numbers,
        versions,
        [d.quality for d in drafts],
        [_wkb(d.shape) for d in drafts],
        [_radius_m(d.shape) for d in drafts],
        since,
    )


def _current(writer: Writer, fence_id: int) -> Geofence:
    fence = writer.index.fences.get(fence_id)
    if fence is None:
        raise NotFound(f"There is no geofence {ids.public_id(ids.GEOFENCE, fence_id)}.")
    return fence


def _happening(kind: int, asset: int, fence: Geofence, newest: Newest, cause: str) -> Happening:
    """An event at the newest fix of an asset that the geofence's quality admits."""
    return Happening(
        kind,
        asset,
        fence,
        None,
        int(newest.time_ms[asset]),
        int(newest.lon[asset]),
        int(newest.lat[asset]),
        cause=cause,
    )


def _moved(writer: Writer, old: Geofence, new: Geofence) -> tuple[list[Happening], list[int]]:
    """What the change of shape or quality brings about, exits first, and who is inside afterwards."""
    before = writer.presence.assets_inside(old.id)
    newest = writer.presence.sight(new.quality == "all").newest
    seen = np.flatnonzero((newest.time_ms != NEVER) & (newest.batch >= old.since_batch))
    seen = np.union1d(seen, np.array(before, np.int64))
    seen = seen[newest.time_ms[seen] != NEVER] if len(seen) else seen
    inside = seen[holds(new.shape, newest.lon[seen] / DEGREE, newest.lat[seen] / DEGREE)].tolist()
    left, entered = sorted(set(before) - set(inside)), sorted(set(inside) - set(before))
    old_newest = writer.presence.sight(old.quality == "all").newest
    found = [_happening(EXIT, asset, old, old_newest, CHANGED) for asset in left]
    return found + [_happening(ENTER, asset, new, newest, CHANGED) for asset in entered], inside


async def replace_fence(writer: Writer, fence_id: int, wanted: Callable[[Geofence], Draft]) -> Geofence:
    """Make the geofence what `wanted` makes of the one in force then; a new shape or quality is a new version, other
    properties are not.
    """

    async def change(writer: Writer) -> Geofence:
        old, connection, recorded_ms = _current(writer, fence_id), writer.journal.connection, now_ms()
        draft = wanted(old)
        same = (
            _wkb(old.shape) == _wkb(draft.shape)
            and _radius_m(old.shape) == _radius_m(draft.shape)
            and old.quality == draft.quality
        )
        new = replace(
            old,
            name=draft.name,
            tags=draft.tags,
            attributes=draft.attributes,
            quality=draft.quality,
            shape=old.shape if same else draft.shape,
            version=old.version + (not same),
        )
        found, inside = ([], []) if same else _moved(writer, old, new)
        told = writer.tell(found, recorded_ms)
        with translated():
            async with connection.transaction():
                await connection.execute(
                    sql("update_geofence"), new.id, new.version, new.name, list(new.tags), new.attributes
                )
                if not same:
                    await connection.execute(sql("close_geofence_version"), new.id, old.version, writer.batch + 1)
                    await _insert_versions(writer, [new.id], [new.version], [draft], writer.batch + 1)
                    await writer.journal.record(recorded_ms, told.rows)
        writer.index.put(new)
        if not same:
            _settle(writer, new, inside)
            writer.told(told)
        return new

    return await writer.between_batches(change)  # type: ignore[no-any-return]


def _settle(writer: Writer, fence: Geofence, inside: list[int]) -> None:
    writer.presence.leave(fence.id)
    sight = writer.presence.sight(fence.quality == "all")
    for asset in inside:
        sight.inside[asset] = sight.inside.get(asset, frozenset()) | {fence.id}


async def delete(writer: Writer, fence_id: int) -> None:
    """End a geofence, and the visits in it."""

    async def change(writer: Writer) -> None:
        fence, connection, recorded_ms = _current(writer, fence_id), writer.journal.connection, now_ms()
        newest = writer.presence.sight(fence.quality == "all").newest
        found = [_happening(EXIT, asset, fence, newest, DELETED) for asset in writer.presence.assets_inside(fence_id)]
        told = writer.tell(found, recorded_ms)
        with translated():
            async with connection.transaction():
                await connection.execute(sql("close_geofence_version"), fence_id, fence.version, writer.batch + 1)
                await connection.execute(sql("delete_geofence"), fence_id)
                await writer.journal.record(recorded_ms, told.rows)
        writer.index.remove(fence_id)
        writer.presence.leave(fence_id)
        writer.told(told)

    await writer.between_batches(change)
