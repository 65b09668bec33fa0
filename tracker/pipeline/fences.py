"""Changes of geofences, each one transaction between two batches, with the events that it brings about itself.

A new geofence judges what is stored from the next batch on and says nothing of before. A changed one makes a version:
assets inside that are no longer, and those inside now that it had seen outside, get events with cause `fence_changed`.
Deleting one closes its visits with cause `fence_deleted`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from tracker.domain.geofence import PLAIN, Geofence, Quality, Rule, Version
from tracker.domain.proximity import Around, Proximity
from tracker.domain.shape import Shape, buffer_m, radius_m, to_wkb
from tracker.domain.turn import FENCE_DELETED, Turned, ended, turned
from tracker.errors import NotFound
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.record import Happening, Record
from tracker.store.database import translated
from tracker.store.journal import Findings
from tracker.store.sql import sql
from tracker.store.states import standing_of
from tracker.wire import ids

_Fence = TypeVar("_Fence", Geofence, Proximity)


@dataclass(frozen=True, slots=True)
class Draft:
    """A geofence as it is asked for."""

    name: str
    shape: Shape | Around
    quality: Quality = "trusted"
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    rule: Rule = PLAIN
    options: dict[str, Any] = field(default_factory=dict)  # the rule as it was given


async def create(writer: Writer, drafts: Sequence[Draft]) -> list[Geofence | Proximity]:
    """Make geofences, all or none, in order."""

    async def change(writer: Writer) -> list[Geofence | Proximity]:
        since, connection = writer.batch + 1, writer.journal.connection
        with translated():
            async with connection.transaction():
                texts = [{"name": d.name, "tags": d.tags, "attributes": d.attributes} for d in drafts]
                rows = await connection.fetch(sql("insert_geofences"), texts)
                numbers = sorted(row["id"] for row in rows)
                await _insert_versions(writer, numbers, [1] * len(drafts), drafts, since)
        made = [_made(number, draft, since) for number, draft in zip(numbers, drafts, strict=True)]
        for fence in made:
            if isinstance(fence, Proximity):
                writer.proximities.put(fence)
            else:
                writer.index.put(fence)
                writer.chronicle.put(Version(since, fence))
        return made

    return await writer.between_batches(change)  # type: ignore[no-any-return]


def _made(number: int, draft: Draft, since: int) -> Geofence | Proximity:
    described = draft.tags, draft.attributes
    if isinstance(draft.shape, Around):
        return Proximity(
            number,
            1,
            draft.name,
            draft.shape,
            draft.quality,
            since,
            *described,
            draft.rule.exit_margin_m,
            draft.rule.max_gap_s,
            draft.rule.assets,
            draft.options,
        )
    return Geofence(number, 1, draft.name, draft.shape, draft.quality, since, *described, draft.rule, draft.options)


async def _insert_versions(
    writer: Writer, numbers: list[int], versions: list[int], drafts: Sequence[Draft], since: int
) -> None:
    await writer.journal.connection.execute(
        sql("insert_geofence_versions"),
        numbers,
        versions,
        [d.quality for d in drafts],
        [None if isinstance(d.shape, Around) else to_wkb(d.shape) for d in drafts],
        [None if isinstance(d.shape, Around) else radius_m(d.shape) for d in drafts],
        [None if isinstance(d.shape, Around) else buffer_m(d.shape) for d in drafts],
        [d.options for d in drafts],
        since,
    )


def _current(known: Mapping[int, _Fence], fence_id: int) -> _Fence:
    """The one in force.

    Raises:
        NotFound
    """
    fence = known.get(fence_id)
    if fence is None:
        raise NotFound(f"There is no geofence {ids.public_id(ids.GEOFENCE, fence_id)}.")
    return fence


def happening_of(each: Turned) -> Happening:
    """The event of a side that turned, at the newest fix that was asked about."""
    assert each.kind is not None
    assert each.fix is not None
    fix = each.fix
    return Happening(each.kind, each.asset, each.fence, None, fix.time_ms, fix.lon, fix.lat, cause=each.cause)


async def settle(writer: Writer, found: Sequence[Turned], recorded_ms: int, judged_from: int, fence: int) -> Record:
    """Write what a change brought about, within the change's own transaction.

    Args:
        judged_from: the first batch that the change judges; with `fence` it names the places of the change.
    """
    told = writer.tell([happening_of(each) for each in found if each.kind is not None], recorded_ms)
    await writer.journal.record(recorded_ms, told.rows, judged_from - 1)
    places = [
        {"asset": each.asset, **asdict(fix)}
        for each in found
        if (fix := writer.presence.every.newest.get(each.asset)) is not None
    ]
    await writer.journal.connection.execute(sql("record_turnings"), fence, judged_from, places)
    return told


def settled(writer: Writer, found: Sequence[Turned], told: Record) -> None:
    """The change is durable."""
    for each in found:
        each.apply(writer.presence)
    writer.batch += 1  # two changes have two places, also when nothing comes between them
    writer.told(told)


async def keep_standing(writer: Writer, found: Sequence[Turned]) -> None:
    """Store what will stand of the assets after the change, within its transaction."""
    before = {each.asset: writer.presence.get(each.asset) for each in found}
    for each in found:
        each.apply(writer.presence)
    states = [{"asset": asset, "state": standing_of(writer.presence.get(asset))} for asset in before]
    for asset, state in before.items():
        writer.presence.put(asset, state)
    await writer.journal.record_findings(Findings(standing=states))


async def replace_fence(writer: Writer, fence_id: int, wanted: Callable[[Geofence], Draft]) -> Geofence:
    """Make the geofence what `wanted` makes of the one in force then; a new shape, quality or option is a new version,
    other properties are not.
    """

    async def change(writer: Writer) -> Geofence:
        old, connection, recorded_ms = _current(writer.index.fences, fence_id), writer.journal.connection, now_ms()
        draft, since = wanted(old), writer.batch + 1
        assert not isinstance(draft.shape, Around)
        new = replace(
            old,
            name=draft.name,
            tags=draft.tags,
            attributes=draft.attributes,
            quality=draft.quality,
            shape=draft.shape,
            rule=draft.rule,
            options=draft.options,
        )
        if old.judges_like(new):
            new = replace(new, shape=old.shape)  # prepared already
            with translated():
                await connection.execute(sql("update_geofence"), *_described(new))
            writer.index.put(new)
            writer.chronicle.rename(new)
            return new
        new = replace(new, version=old.version + 1, once_ruled=old.ruled, once_all=old.sees_all)
        found = turned(writer.presence, old, new, None, writer.fleet.judged_by)
        with translated():
            async with connection.transaction():
                await connection.execute(sql("update_geofence"), *_described(new))
                await connection.execute(sql("close_geofence_version"), new.id, old.version, since)
                await _insert_versions(writer, [new.id], [new.version], [draft], since)
                told = await settle(writer, found, recorded_ms, since, new.id)
                await keep_standing(writer, found)
        writer.index.put(new)
        writer.chronicle.put(Version(since, new))
        settled(writer, found, told)
        return new

    return await writer.between_batches(change)  # type: ignore[no-any-return]


async def replace_proximity(writer: Writer, fence_id: int, wanted: Callable[[Proximity], Draft]) -> Proximity:
    """The same for a geofence around assets. Whoever judges pairs ends the visits of the version before."""

    async def change(writer: Writer) -> Proximity:
        old, connection = _current(writer.proximities.current, fence_id), writer.journal.connection
        draft, since = wanted(old), writer.batch + 1
        made = _made(old.id, draft, since)
        assert isinstance(made, Proximity)
        same = old.judges_like(made)
        new = replace(made, version=old.version + (not same), from_batch=old.from_batch if same else since)
        with translated():
            async with connection.transaction():
                await connection.execute(sql("update_geofence"), *_described(new))
                if not same:
                    await connection.execute(sql("close_geofence_version"), new.id, old.version, since)
                    await _insert_versions(writer, [new.id], [new.version], [draft], since)
        writer.proximities.put(new)
        writer.batch += not same  # two changes have two places, also when nothing comes between them
        return new

    return await writer.between_batches(change)  # type: ignore[no-any-return]


async def delete_proximity(writer: Writer, fence_id: int) -> None:
    """End a geofence around assets; whoever judges pairs ends its visits."""

    async def change(writer: Writer) -> None:
        fence, connection = _current(writer.proximities.current, fence_id), writer.journal.connection
        with translated():
            async with connection.transaction():
                await connection.execute(sql("close_geofence_version"), fence_id, fence.version, writer.batch + 1)
                await connection.execute(sql("delete_geofence"), fence_id)
        writer.proximities.remove(fence_id)
        writer.batch += 1

    await writer.between_batches(change)


def _described(fence: Geofence | Proximity) -> tuple[int, int, str, list[str], dict[str, Any]]:
    return fence.id, fence.version, fence.name, list(fence.tags), fence.attributes


async def delete(writer: Writer, fence_id: int) -> None:
    """End a geofence, and the visits in it."""

    async def change(writer: Writer) -> None:
        fence, connection, recorded_ms = _current(writer.index.fences, fence_id), writer.journal.connection, now_ms()
        found = ended(writer.presence, fence, FENCE_DELETED)
        with translated():
            async with connection.transaction():
                await connection.execute(sql("close_geofence_version"), fence_id, fence.version, writer.batch + 1)
                await connection.execute(sql("delete_geofence"), fence_id)
                told = writer.tell([happening_of(each) for each in found if each.kind is not None], recorded_ms)
                await writer.journal.record(recorded_ms, told.rows)
                await keep_standing(writer, found)
        writer.index.remove(fence_id)
        writer.chronicle.remove(fence_id)
        settled(writer, found, told)

    await writer.between_batches(change)
