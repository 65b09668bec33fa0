"""Where the fleet was at an instant, as `fleet_at` says it in SQL, but with the sealed rows of the whole fleet read at
once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np

from tracker.domain.batch import DEGREE, from_units
from tracker.store.copy import PG_EPOCH_MS
from tracker.store.database import Connection, Database, Record
from tracker.store.packing import Int64s, Reader
from tracker.store.rows import bits, copied, integer, jsons, rows
from tracker.store.sql import sql
from tracker.wire.times import to_datetime, to_ms

Row = Mapping[str, Any]
Box = tuple[float, float, float, float]  # west, south, east, north in degrees; west > east crosses the antimeridian

ROWS_AT_ONCE: Final = 256  # their columns stay in the processor's cache
_ROW: Final = (integer, integer, integer, bits, jsons)  # number, t0, n, bits, attributes
_EVER: Final = datetime(1, 1, 2, tzinfo=UTC)
_NUMBERS: Final = ("device", "lon", "lat", "alt", "speed", "course", "accuracy")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The newest trusted fix of an asset, in stored integers."""

    time: datetime
    device: int
    lon: int
    lat: int
    alt: int
    speed: int
    course: int
    accuracy: int
    attributes: Any

    @property
    def key(self) -> tuple[datetime, int, int]:
        return self.time, self.lon, self.lat


async def positions_at(database: Database, at_ms: int, box: Box | None) -> Sequence[Row]:
    """Where every asset was that is there today, within a box if one is given."""
    at = to_datetime(at_ms)
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        assets = await connection.fetch(sql("assets_at"), at)
        found = {row["asset"]: _sighting(row) for row in assets if row["time"] is not None}
        for asset, sighting in (await _sealed(connection, assets, at)).items():
            if asset not in found or sighting.key > found[asset].key:
                found[asset] = sighting
    return [
        _row(row, found[row["asset"]]) for row in assets if row["asset"] in found and _inside(found[row["asset"]], box)
    ]


async def _sealed(connection: Connection, assets: Sequence[Record], at: datetime) -> dict[int, Sighting]:
    """What the sealed days know, of the assets of which they know something newer."""
    numbers = [row["asset"] for row in assets]
    since = [row["time"] or _EVER for row in assets]
    data = await copied(connection, "sealed_rows_at", numbers, since, at)
    found = {numbers[nth - 1]: sighting for nth, sighting in _newest(data, at).items()}
    if not found:
        return found
    places = list(found), *zip(*(each.key for each in found.values()), strict=True)
    doubted = [list(found)[row["nth"] - 1] for row in await connection.fetch(sql("doubted_fixes"), *places)]
    for asset in doubted:
        del found[asset]
        row = await connection.fetchrow(sql("sealed_at"), asset, at, since[numbers.index(asset)])
        if row is not None:
            found[asset] = _sighting(row)
    return found


def _newest(data: bytes, at: datetime) -> dict[int, Sighting]:
    """By the number of each row its newest fix that is trusted by its own flags and not after an instant."""
    stored, found = list(rows(data, _ROW)), dict[int, Sighting]()
    for first in range(0, len(stored), ROWS_AT_ONCE):
        found.update(_newest_of(stored[first : first + ROWS_AT_ONCE], (to_ms(at) - PG_EPOCH_MS) * 1000))
    return found


def _newest_of(stored: Sequence[Sequence[Any]], at_us: int) -> Iterator[tuple[int, Sighting]]:
    reader = Reader([row[3] for row in stored], [row[2] for row in stored])
    own = reader.rows
    until_ms = own.spread(np.array([(at_us - row[1]) // 1000 for row in stored], np.int64))
    seen = (reader.column("time") <= until_ms) & (reader.column("flags") == 0)
    place: Int64s = np.maximum.reduceat(np.where(seen, own.place(), 0), own.first)
    columns = {name: reader.pick(name, place).tolist() for name in ("time", *_NUMBERS, "extra")}
    for i, row in enumerate(stored):
        extra = columns["extra"][i]
        time = to_datetime(row[1] // 1000 + PG_EPOCH_MS + columns["time"][i])
        attributes = msgspec.json.decode(row[-1][extra - 1]) if extra else None
        numbers = {name: columns[name][i] for name in _NUMBERS}
        yield row[0], Sighting(time=time, attributes=attributes, **numbers)


def _sighting(row: Record) -> Sighting:
    return Sighting(**{name: row[name] for name in ("time", *_NUMBERS, "attributes")})


def _inside(sighting: Sighting, box: Box | None) -> bool:
    if box is None:
        return True
    west, south, east, north = box
    lon, lat = sighting.lon / DEGREE, sighting.lat / DEGREE
    return south <= lat <= north and (west <= lon <= east if west <= east else lon >= west or lon <= east)


def _row(asset: Record, sighting: Sighting) -> Row:
    return {
        "asset": asset["asset"],
        "name": asset["name"],
        "tags": asset["tags"],
        "device": sighting.device,
        "fix_time": sighting.time,
        "lon": sighting.lon / DEGREE,
        "lat": sighting.lat / DEGREE,
        "alt_m": from_units(sighting.alt, 10),
        "speed_mps": from_units(sighting.speed, 100),
        "course_deg": from_units(sighting.course, 10),
        "accuracy_m": from_units(sighting.accuracy, 10),
        "attributes": sighting.attributes,
    }
