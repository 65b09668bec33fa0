"""The public API as a script calls it, with what most stories need of it."""

import asyncio
import csv
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiohttp import ClientResponse, ClientSession

Json = Any
ADMIN: Final = "an-admin-token-for-tests-0123456789"
WITHIN_S: Final = 30.0  # for whatever must come true by itself, on a busy machine


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What POST /v1/devices answers."""

    id: str
    token: str
    asset: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A fix as the CSV of a track has it."""

    time_ms: int
    lon: float
    lat: float
    flags: tuple[str, ...]
    device: str


def ms_of(when: str) -> int:
    """Epoch milliseconds of an RFC 3339 time."""
    return round(datetime.fromisoformat(when).timestamp() * 1000)


async def until(claim: Callable[[], Awaitable[object]], within_s: float = WITHIN_S) -> None:
    """Waits for a condition that has to be asked for; it is asked again and again."""
    async with asyncio.timeout(within_s):
        while not await claim():
            await asyncio.sleep(0.02)


class Api:
    """Calls with the administrator's token unless said otherwise."""

    def __init__(self, url: str, http: ClientSession) -> None:
        self.url = url
        self.http = http

    async def send(self, method: str, path: str, *, token: str | None = ADMIN, **options: Any) -> ClientResponse:
        """Any answer, read."""
        headers = dict(options.pop("headers", None) or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = await self.http.request(method, self.url + path, headers=headers, allow_redirects=False, **options)
        await response.read()
        return response

    async def call(self, method: str, path: str, json: Json = None, *, expect: int = 200, **options: Any) -> Json:
        """The JSON of the answer, or else its text; it must have this status."""
        response = await self.send(method, path, json=json, **options)
        text = await response.text()
        assert response.status == expect, f"{method} {path}: {response.status} {text[:500]}"
        return await response.json(content_type=None) if "json" in response.content_type else text

    async def problem(self, method: str, path: str, json: Json = None, *, expect: int, **options: Any) -> Json:
        """The problem document of the answer, which must have this status."""
        response = await self.send(method, path, json=json, **options)
        assert response.status == expect, f"{method} {path}: {response.status} {(await response.text())[:500]}"
        assert response.content_type == "application/problem+json"
        found = await response.json(content_type=None)
        assert found["status"] == expect
        assert found["code"]
        assert found["detail"]
        return found

    async def pages(self, path: str, name: str) -> list[Json]:
        """Every item of a list, page by page."""
        found: list[Json] = []
        after = ""
        while True:
            page = await self.call("GET", f"{path}{'&' if '?' in path else '?'}limit=1000{after}")
            found += page[name]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    # What most stories need

    async def new_device(self, name: str = "cab", asset: str | None = None) -> NewDevice:
        """A device, and its asset if none is named, which is so fast that no step of a story is a jump."""
        body = {"name": name} if asset is None else {"name": name, "asset": asset}
        made = await self.call("POST", "/v1/devices", body, expect=201)
        if asset is None:
            await self.call("PATCH", f"/v1/assets/{made['asset']['id']}", {"thresholds": {"max_speed_mps": 100_000}})
        return NewDevice(made["id"], made["token"], made["asset"]["id"])

    async def new_fence(self, geometry: Json, **properties: Any) -> str:
        """The id of a geofence, in force by now."""
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        made = await self.call("POST", "/v1/geofences", feature, expect=201)
        return str(made["id"])

    async def events(self, query: str = "") -> list[Json]:
        """The whole feed, or what of it the query chooses."""
        return await self.pages(f"/v1/events?{query}" if query else "/v1/events", "events")

    async def position(self, asset: str) -> Json:
        """Where an asset is, or None."""
        return (await self.call("GET", f"/v1/assets/{asset}"))["position"]

    async def track(self, asset: str) -> list[Stored]:
        """Every fix of an asset, from the CSV."""
        path = f"/v1/assets/{asset}/track?format=csv&from=1900-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
        text = await self.call("GET", path)
        return [
            Stored(
                ms_of(row["fix_time"]), float(row["lon"]), float(row["lat"]), tuple(row["flags"].split()), row["device"]
            )
            for row in csv.DictReader(text.splitlines())
        ]

    async def metrics(self) -> dict[str, float]:
        text = await self.call("GET", "/metrics")
        lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    async def ready(self) -> bool:
        return (await self.send("GET", "/readyz")).status == 200
