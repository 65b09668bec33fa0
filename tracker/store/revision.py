"""What is read to judge an asset again: states to begin from, places of changes, tags, events and visits that stand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tracker.domain.fix import OLDEST_MS
from tracker.domain.fold import FullKey, Tags, Turning
from tracker.domain.presence import AssetState, Crossed, Span
from tracker.domain.revision import Standing, Visit
from tracker.store.database import Connection, Record, translated
from tracker.store.filer import BUCKET_LOCK
from tracker.store.sql import sql
from tracker.store.states import state_from_json
from tracker.wire.times import to_datetime, to_ms


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of an asset after one of its fixes. changes: the turnings right after that fix that are in it, by
    batch.
    """

    time_ms: int
    changes: int
    state: AssetState


@dataclass(frozen=True, slots=True)
class Late:
    """What a batch brought late, and the span of the fixes."""

    batch: int
    span: Span


async def late(connection: Connection, asset: int, until_batch: int) -> list[Late]:
    """What waits for an asset, by time."""
    with translated():
        rows = await connection.fetch(sql("late_of_asset"), asset, until_batch)
    return [Late(row["batch"], (to_ms(row["first_time"]), to_ms(row["last_time"]))) for row in rows]


async def checkpoint_before(connection: Connection, asset: int, time_ms: int) -> Checkpoint | None:
    """The last one before an instant that knows all that is stored up to its place."""
    with translated():
        found = _checkpoint(await connection.fetchrow(sql("checkpoint_before"), asset, to_datetime(time_ms)))
        while found is not None and await _is_overtaken(connection, asset, found):
            found = _checkpoint(await connection.fetchrow(sql("checkpoint_before"), asset, to_datetime(found.time_ms)))
    return found


async def _is_overtaken(connection: Connection, asset: int, checkpoint: Checkpoint) -> bool:
    """Whether fixes were stored since with a place between the newest trusted fix of a state and its newest of any.
    Those are not late, so that nobody judged again from before it.
    """
    trusted, every = checkpoint.state.trusted.newest, checkpoint.state.every.newest
    if every is None or (trusted is not None and trusted.key == every.key):
        return False
    span = OLDEST_MS if trusted is None else trusted.time_ms, every.time_ms
    return bool(await connection.fetchval(sql("any_between"), asset, *map(to_datetime, span), checkpoint.changes))


async def floor(connection: Connection, asset: int) -> Checkpoint | None:
    """The state that nothing before is judged again from; None: everything is."""
    with translated():
        return _checkpoint(await connection.fetchrow(sql("checkpoint_floor"), asset))


async def checkpoint_from(connection: Connection, asset: int, time_ms: int) -> Checkpoint | None:
    """The first one at or after an instant."""
    with translated():
        return _checkpoint(await connection.fetchrow(sql("checkpoint_from"), asset, to_datetime(time_ms)))


def _checkpoint(row: Record | None) -> Checkpoint | None:
    if row is None:
        return None
    return Checkpoint(to_ms(row["time"]), row["changes"], state_from_json(row["state"]))


async def turnings(connection: Connection, asset: int, from_ms: int) -> list[Turning]:
    """The places of changes, in order."""
    with translated():
        rows = await connection.fetch(sql("turnings_of_asset"), asset, to_datetime(from_ms))
    return [
        Turning(
            (
                to_ms(row["time"]),
                *(row[name] for name in ("lon", "lat", "alt", "speed", "course", "accuracy", "stored")),
            ),
            row["batch"],
            row["geofence"],
        )
        for row in rows
    ]


async def place_changes(connection: Connection, asset: int, places: Mapping[tuple[int, int], FullKey]) -> None:
    """The places of changes, by geofence and batch, that are not stored yet."""
    if places:
        columns = zip(*((*change, *key) for change, key in places.items()), strict=True)
        await connection.execute(sql("place_changes"), asset, *columns)


async def held_buckets(connection: Connection, buckets: Iterable[int]) -> set[int]:
    """Those of the buckets that nobody moves fixes of, until the end of the transaction."""
    return {row["b"] for row in await connection.fetch(sql("held_buckets"), BUCKET_LOCK, sorted(buckets))}


async def tags(connection: Connection, asset: int, now: frozenset[str]) -> list[Tags]:
    """The tags of an asset over the batches; those that it has now from the beginning, if they never changed."""
    with translated():
        rows = await connection.fetch(sql("tags_of_asset"), asset)
    return [Tags(row["from_batch"], frozenset(row["tags"])) for row in rows] or [Tags(0, now)]


async def standing_events(
    connection: Connection, asset: int, span: Span, changes: set[int], kinds: dict[str, int]
) -> list[tuple[Standing, Any]]:
    """The events of fixes in a span of time, and of changes by the first batch that each judges, that stand: each with
    the batch that it was recorded with, by the asset's fixes.
    """
    with translated():
        rows = await connection.fetch(
            sql("standing_events"), asset, *map(to_datetime, span), [each - 1 for each in changes]
        )
    return [(_standing(row, kinds), row["batch"]) for row in rows]


def _standing(row: Record, kinds: dict[str, int]) -> Standing:
    crossed = None
    if row["crossed_at"] is not None:
        crossed = Crossed(to_ms(row["crossed_at"]), row["crossed_lon"], row["crossed_lat"])
    return Standing(
        row["id"],
        kinds[row["type"]],
        row["geofence"],
        row["geofence_version"],
        row["device"],
        to_ms(row["fix_time"]),
        row["lon"],
        row["lat"],
        row["initial"],
        row["cause"],
        crossed,
    )


async def visits(connection: Connection, asset: int, geofences: list[int], span: Span) -> list[Visit]:
    """Those that overlap a span of time."""
    with translated():
        rows = await connection.fetch(sql("visits_to_revise"), asset, geofences, *map(to_datetime, span))
    return [
        Visit(
            row["id"],
            row["geofence"],
            row["geofence_version"],
            to_ms(row["enter_time"]),
            row["enter_event"],
            row["initial"],
            None if row["exit_time"] is None else to_ms(row["exit_time"]),
            row["exit_event"],
        )
        for row in rows
    ]
