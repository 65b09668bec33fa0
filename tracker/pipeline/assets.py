"""Changes of assets that geofences notice: other tags, the end of an asset, and judging it again on request.

Each runs between two batches, in one transaction with the events that it brings about.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np

from tracker.domain.geofence import Geofence, Matches
from tracker.domain.turn import ASSET_CHANGED, ASSET_DELETED, Turned, ended, turned
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.fences import happening_of, keep_standing, settle, settled
from tracker.pipeline.record import Record
from tracker.store.database import Connection, translated
from tracker.store.sql import sql
from tracker.wire.times import to_datetime

ALL_GEOFENCES: Final = 0  # of a turning: whichever has a filter
_LAST_MS: Final = 253_402_300_799_999  # of the year 9999

Row = Any
Within = Callable[[Connection], Awaitable[None]]
Change = Callable[[Connection, Within], Awaitable[Row]]


async def retag(writer: Writer, asset: int, tags: Sequence[str], change: Change) -> Row:
    """Change an asset whose tags become others: geofences judge it from now on by these.

    Args:
        change: makes the change of the tables and of memory over a connection, and awaits within its transaction what
        it
            is given.
    """

    async def step(writer: Writer) -> Row:
        writer.presence.reserve(asset)
        before, after = _tags_of(writer, asset), frozenset(tags)
        found = _noticed(writer, asset, before, after)
        recorded_ms, judged_from = now_ms(), writer.batch + 1
        told: list[Record] = []

        async def within(connection: Connection) -> None:
            await connection.execute(sql("record_tags"), asset, judged_from, sorted(before), sorted(after))
            told.append(await settle(writer, found, recorded_ms, judged_from, ALL_GEOFENCES))
            await keep_standing(writer, found)

        row = await change(writer.journal.connection, within)
        writer.proximities.retag(asset, before, after, judged_from)
        settled(writer, found, told[0])
        return row

    return await writer.between_batches(step)


def _tags_of(writer: Writer, asset: int) -> frozenset[str]:
    known = writer.fleet.assets.get(asset)
    return known.tags if known is not None else frozenset()


def _noticed(writer: Writer, asset: int, before: frozenset[str], after: frozenset[str]) -> list[Turned]:
    """What geofences with a filter make of it: those that judged the asset before or do from now on, but not both."""
    found = []
    for fence in writer.index.fences.values():
        wanted = fence.rule.assets
        if wanted is not None and wanted.admits(asset, before) != wanted.admits(asset, after):
            found += turned(writer.presence, fence, fence, np.array([asset]), _by_tags(after), ASSET_CHANGED)
    return sorted(found, key=lambda each: (each.kind != 0, each.old.id))


def _by_tags(tags: frozenset[str]) -> Matches:
    def matches(asset: int, fence: Geofence) -> bool:
        return fence.rule.assets is None or fence.rule.assets.admits(asset, tags)

    return matches


async def end(writer: Writer, asset: int, change: Change) -> None:
    """Delete an asset; its visits end."""

    async def step(writer: Writer) -> None:
        writer.presence.reserve(asset)
        before = _tags_of(writer, asset)
        fences = (writer.index.fences[number] for number in _inside(writer, asset))
        found = [each for fence in fences for each in ended(writer.presence, fence, ASSET_DELETED, [asset])]
        recorded_ms = now_ms()
        told: list[Record] = []

        async def within(connection: Connection) -> None:
            told.append(writer.tell([happening_of(each) for each in found if each.kind is not None], recorded_ms))
            await writer.journal.record(recorded_ms, told[0].rows)
            await keep_standing(writer, found)
            await connection.execute(sql("forget_late"), asset)

        await change(writer.journal.connection, within)
        writer.late.discard(asset)
        writer.proximities.retag(asset, before, None, writer.batch + 1)
        settled(writer, found, told[0])

    await writer.between_batches(step)


def _inside(writer: Writer, asset: int) -> list[int]:
    return sorted({fence for sight in writer.presence.sights for fence in sight.fences_of(asset)})


async def judge_again(writer: Writer, asset: int, from_ms: int) -> None:
    """Have an asset judged again from an instant on, by what its thresholds are now."""

    async def step(writer: Writer) -> None:
        with translated():
            await writer.journal.connection.execute(
                sql("mark_late"), asset, writer.committed, to_datetime(from_ms), to_datetime(_LAST_MS)
            )
        writer.late.add(asset)

    await writer.between_batches(step)
