"""Batches for tests of the store: fixes with every column, put into the journal by the real connection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Columns, from_units
from tracker.domain.fix import OLDEST_MS
from tracker.pipeline.record import EVENT_COLUMNS
from tracker.store.journal import Cursors, EventRows, Journal, journal_rows
from tracker.wire.times import to_datetime

DAY_MS = 86_400_000
NOTHING_HAPPENED = EventRows(
    tuple([] for _ in range(EVENT_COLUMNS)), tuple([] for _ in range(4)), tuple([] for _ in range(8))
)

# One database serves all examples of a test, which clear it themselves.
store_settings = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass(frozen=True)
class Stored:
    """One fix in the integers of the journal."""

    asset: int = 1
    device: int = 1
    time_ms: int = 0
    lon: int = 0
    lat: int = 0
    alt: int = UNKNOWN_INT32
    speed: int = UNKNOWN_INT32
    course: int = UNKNOWN_INT16
    accuracy: int = UNKNOWN_INT32
    flags: int = 0
    attributes: bytes | None = None

    @property
    def key(self) -> tuple[int, int, int]:
        return self.time_ms, self.lon, self.lat

    def seen(self) -> tuple[Any, ...]:
        """As the view `position` shows it, without asset and batch."""
        attributes = None if self.attributes is None else msgspec.json.decode(self.attributes)
        return (
            *(self.device, to_datetime(self.time_ms), self.lon / 1e7, self.lat / 1e7),
            *(from_units(self.alt, 10), from_units(self.speed, 100), from_units(self.course, 10)),
            *(from_units(self.accuracy, 10), self.flags, attributes),
        )


SEEN = "device, fix_time, lon, lat, alt_m, speed_mps, course_deg, accuracy_m, flags, attributes"


def unknown_or(low: int, high: int, unknown: int) -> st.SearchStrategy[int]:
    return st.one_of(st.just(unknown), st.just(low), st.just(high), st.integers(low, high))


numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e15, 1e15))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
attributes = st.one_of(st.none(), st.dictionaries(texts, json_values, max_size=3).map(msgspec.json.encode))


anywhere = st.tuples(unknown_or(-1_800_000_000, 1_800_000_000, 0), unknown_or(-900_000_000, 900_000_000, 0))
nearby = st.tuples(st.integers(0, 1), st.integers(0, 1))


def stored(
    assets: st.SearchStrategy[int], times: st.SearchStrategy[int], places: st.SearchStrategy[tuple[int, int]]
) -> st.SearchStrategy[Stored]:
    return st.builds(
        lambda place, **others: Stored(lon=place[0], lat=place[1], **others),
        place=places,
        asset=assets,
        device=st.integers(1, 3),
        time_ms=times,
        alt=unknown_or(-120_000, 1_000_000, UNKNOWN_INT32),
        speed=unknown_or(0, 10_000_000, UNKNOWN_INT32),
        course=unknown_or(0, 3_599, UNKNOWN_INT16),
        accuracy=unknown_or(0, 100_000_000, UNKNOWN_INT32),
        flags=st.sampled_from([0, 0, 0, 1, 2, 4, 8, 15]),
        attributes=attributes,
    )


any_time = st.one_of(st.integers(OLDEST_MS, 4_000_000_000_000), st.sampled_from([OLDEST_MS, -1, 0, 946_684_799_999]))


def columns_of(fixes: Sequence[Stored]) -> Columns:
    """A batch of them, in this order."""
    columns = {name: np.array([getattr(fix, name) for fix in fixes], kind) for name, kind in KINDS.items()}
    extras = [fix.attributes for fix in fixes]
    return Columns(**columns, attributes=extras if any(extras) else None)


KINDS: dict[str, Any] = {
    **dict.fromkeys(("asset", "device", "lon", "lat", "alt", "speed", "accuracy"), np.int32),
    **dict.fromkeys(("course", "flags"), np.int16),
    "time_ms": np.int64,
}


def fix_in(columns: Columns, row: int) -> Stored:
    values: dict[str, Any] = {name: int(getattr(columns, name)[row]) for name in KINDS}
    return Stored(**values, attributes=None if columns.attributes is None else columns.attributes[row])


def cursors_of(entries: Sequence[tuple[int, int, int]] = ()) -> Cursors:
    """From (stream, seq, gaps); the stream's number picks the bucket."""
    stream, seq, gaps = [list(each) for each in zip(*entries, strict=True)] if entries else ([], [], [])
    return Cursors(stream, stream, seq, [1] * len(stream), gaps)


async def commit(
    journal: Journal,
    number: int,
    fixes: Sequence[Stored],
    entries: Sequence[tuple[int, int, int]] = (),
    recorded_ms: int = 1_790_000_000_000,
) -> None:
    rows = journal_rows(number, recorded_ms, columns_of(fixes), cursors_of(entries))
    await journal.commit(rows, recorded_ms, number, NOTHING_HAPPENED, [])


async def make_fleet(connection: asyncpg.Connection, assets: int = 3, devices: int = 3, streams: int = 4) -> None:
    """Assets, devices and streams 1, 2, …; a device's stream is its own number in turn."""
    await connection.execute("INSERT INTO asset (name) SELECT 'asset ' || n FROM generate_series(1, $1) AS n", assets)
    await connection.execute(
        "INSERT INTO device (name, asset) SELECT 'device ' || n, (n - 1) % $2 + 1 FROM generate_series(1, $1) AS n",
        devices,
        assets,
    )
    await connection.execute(
        "INSERT INTO stream (device, name) SELECT (n - 1) % $2 + 1, 's' || n FROM generate_series(1, $1) AS n",
        streams,
        devices,
    )


async def clear(connection: asyncpg.Connection) -> None:
    """As if nothing had ever been stored; the fleet stays."""
    await connection.execute(
        "DELETE FROM journal; DELETE FROM piece; DELETE FROM sealed; DELETE FROM latest; DELETE FROM fix_reject;"
        "DELETE FROM delivery; DELETE FROM event; DELETE FROM visit; UPDATE filed SET batch = 0;"
        "UPDATE stream SET seq = 0, gaps = 0"
    )


async def positions(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """(asset, batch, what is seen of it) of every durable fix, sorted."""
    rows = await connection.fetch(f"SELECT asset, batch, {SEEN} FROM position")
    return sorted((tuple(row) for row in rows), key=repr)


def expected_positions(batches: dict[int, Sequence[Stored]]) -> list[tuple[Any, ...]]:
    return sorted(((fix.asset, number, *fix.seen()) for number, fixes in batches.items() for fix in fixes), key=repr)
