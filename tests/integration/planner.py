"""Fences that are made, moved and deleted while fixes stream, and their events by what was stored when."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import shapely

from tests.integration import town
from tests.integration.api import Api, Json, ms_of
from tests.integration.ledger import feature_of
from tests.integration.oracle import UNIT, Area, Fence, Point, Round

Told = tuple[int, str, bool, str | None]  # fix time, type, initial, cause


class Planner:
    """Knows no more of a fence than the API does, so it can go on after the server was killed."""

    def __init__(self, api: Api, fences: Sequence[Fence], random_: random.Random) -> None:
        self.api = api
        self.random = random_
        self.waiting = list(fences)
        self.random.shuffle(self.waiting)

    async def run_until(self, streaming: "asyncio.Future[Any]") -> None:
        while not streaming.done():
            await self.step()

    async def step(self) -> None:
        """One change, whatever it is."""
        present = await self.api.pages("/v1/geofences", "features")
        chance = self.random.random()
        if self.waiting and (chance < 0.4 or not present):
            await self._expect(201, "POST", "/v1/geofences", feature_of(self.waiting.pop()))
        elif present:
            fence = self.random.choice(present)
            path = f"/v1/geofences/{fence['id']}"
            if chance < 0.85 or len(present) < 5:
                await self._expect(200, "PATCH", path, {"geometry": _moved(fence["geometry"], self.random)})
            else:
                await self._expect(204, "DELETE", path, None)

    async def _expect(self, status: int, method: str, path: str, body: Json) -> None:
        await self.api.call(method, path, body, expect=status)


def _moved(geometry: Json, random_: random.Random) -> Json:
    """The same shape somewhere else, mostly over where it was."""
    dx, dy = (random_.randint(-town.BLOCK // 2, town.BLOCK // 2) for _ in range(2))

    def move(coordinates: Any) -> Any:
        if isinstance(coordinates[0], list):
            return [move(each) for each in coordinates]
        return [(round(coordinates[0] * UNIT) + dx) / UNIT, (round(coordinates[1] * UNIT) + dy) / UNIT]

    return {**geometry, "coordinates": move(geometry["coordinates"])}


@dataclass(frozen=True)
class Version:
    """A fence as it was in force for the batches from `first` to before `end`."""

    shape: Fence
    first: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A stored fix as the database has it."""

    batch: int
    time_ms: int
    place: Point
    trusted: bool


async def judged_of(connection: asyncpg.Connection) -> dict[str, list[Judged]]:
    """Every stored fix in event order, by asset."""
    rows = await connection.fetch(
        "SELECT asset, batch, fix_time, lon, lat, flags FROM position ORDER BY asset, fix_time, lon, lat, batch"
    )
    found: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        place = round(row["lon"] * UNIT), round(row["lat"] * UNIT)
        time_ms = round(row["fix_time"].timestamp() * 1000)
        found[f"ast_{row['asset']}"].append(Judged(row["batch"], time_ms, place, row["flags"] == 0))
    return found


async def _versions(connection: asyncpg.Connection) -> dict[str, list[Version]]:
    rows = await connection.fetch(
        """SELECT geofence, from_batch, to_batch, quality, radius_m, ST_AsBinary(geom) AS geom
           FROM geofence_version ORDER BY geofence, version"""
    )
    found: dict[str, list[Version]] = defaultdict(list)
    for row in rows:
        found[f"gf_{row['geofence']}"].append(Version(_shape(row), row["from_batch"], row["to_batch"]))
    return found


def _shape(row: Mapping[str, Any]) -> Fence:
    geometry, trusted_only = shapely.from_wkb(row["geom"]), row["quality"] == "trusted"
    if row["radius_m"] is not None:
        return Round("", (round(geometry.x * UNIT), round(geometry.y * UNIT)), row["radius_m"], trusted_only)
    rings = [
        [(round(x * UNIT), round(y * UNIT)) for x, y in ring.coords]
        for part in getattr(geometry, "geoms", [geometry])
        for ring in (part.exterior, *part.interiors)
    ]
    return Area("", rings, [], trusted_only)


def _expected(versions: Sequence[Version], fixes: Sequence[Judged]) -> list[Told]:
    """The events of one asset and one fence, by what was stored under which version."""
    out: list[Told] = []
    inside = seen = False
    newest: Judged | None = None
    for number, version in enumerate(versions):
        if number and newest is not None:
            now = version.shape.holds(newest.place)
            if now != inside:
                out.append((newest.time_ms, "enter" if now else "exit", False, "fence_changed"))
            inside = now
        for fix in fixes:
            if fix.batch < version.first or (version.end is not None and fix.batch >= version.end):
                continue
            if version.shape.trusted_only and not fix.trusted:
                continue
            now = version.shape.holds(fix.place)
            if now != inside:
                out.append((fix.time_ms, "enter" if now else "exit", now and not seen, None))
            inside, seen, newest = now, True, fix
    if inside and newest is not None and versions[-1].end is not None:
        out.append((newest.time_ms, "exit", False, "fence_deleted"))
    return out


async def check_changes(api: Api, connection: asyncpg.Connection, judged: Mapping[str, Sequence[Judged]]) -> int:
    """The feed has just the events that it must have, in order; returns how many."""
    got: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for event in await api.events():
        kind = event["type"].removeprefix("geofence.")
        told = ms_of(event["fix_time"]), kind, event.get("initial", False), event.get("cause")
        got[event["asset"]["id"], event["geofence"]["id"]].append(told)
    count = 0
    for fence, versions in (await _versions(connection)).items():
        for asset, fixes in judged.items():
            expected = _expected(versions, fixes)
            assert got.pop((asset, fence), []) == expected
            count += len(expected)
    assert got == {}
    return count
