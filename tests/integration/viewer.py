"""A map client of `/v1/live`: what it holds at the end must be what the fleet is."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse

from tests.integration.api import ADMIN, WITHIN_S
from tests.integration.link import RETRY_S, Json, Listener
from tracker.wire.live import Frame, read

Box = tuple[float, float, float, float]  # west, south, east, north
ROUNDING_DEG: Final = 1e-6


class Viewer(Listener):
    """One of a map; `held` is what each subscription shows now, by asset."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        super().__init__(ws)
        self.held: dict[int, dict[str, Json]] = {}
        self.clusters: dict[int, dict[str, int]] = {}

    async def send(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def view(self, id_: int, bbox: Box, **more: Any) -> Json:
        """Asks for a view, or moves it; returns its snapshot."""
        await self.send(type="view", id=id_, bbox=bbox, **more)
        return await self.next("snapshot", id_)

    async def receive(self, within_s: float | None = WITHIN_S) -> Json:
        """The next message, applied."""
        heard = await super().receive(within_s)
        if heard["type"] in ("snapshot", "update"):
            self._apply(heard)
        return heard

    async def frame(self) -> Frame:
        """The next message, which is binary."""
        return read(await self.ws.receive_bytes(timeout=WITHIN_S))

    def _apply(self, message: Json) -> None:
        held = self.held.setdefault(message["id"], {})
        clusters = self.clusters.setdefault(message["id"], {})
        if message["type"] == "snapshot":
            held.clear()
            clusters.clear()
        for each in message["clusters"]:
            clusters[each["id"]] = each["count"]
            if not each["count"]:
                del clusters[each["id"]]
        held.update({asset["id"]: asset for asset in message["assets"]})
        for gone in message["remove"]:
            del held[gone]  # only what was shown can leave

    async def next(self, kind: str, id_: int) -> Json:
        """Reads on until a message of this type for this subscription."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = await self.receive()
                if message["type"] == kind and message.get("id") == id_:
                    return message

    async def shows(self, id_: int, **places: tuple[float, float]) -> None:
        """Reads on until a subscription shows just these assets, at these places."""
        async with asyncio.timeout(WITHIN_S):
            while self.places(id_) != places:
                await self.receive()

    async def counts(self, id_: int, count: int) -> None:
        """Reads on until the clusters of a view count so many assets, and it shows none by itself."""
        async with asyncio.timeout(WITHIN_S):
            while sum(self.clusters.get(id_, {}).values()) != count or self.held[id_]:
                await self.receive()

    def places(self, id_: int) -> dict[str, tuple[float, float]]:
        return {name: (asset["lon"], asset["lat"]) for name, asset in self.held.get(id_, {}).items()}


@asynccontextmanager
async def viewing(
    http: ClientSession,
    url: str,
    token: str | None = ADMIN,
    headers: dict[str, str] | None = None,
    protocols: tuple[str, ...] = (),
) -> AsyncIterator[Viewer]:
    """A socket of a viewer."""
    given = {**(headers or {}), **({} if token is None else {"Authorization": f"Bearer {token}"})}
    address = f"{url.replace('http', 'ws', 1)}/v1/live"
    async with http.ws_connect(address, headers=given, protocols=protocols, max_msg_size=0) as ws:
        yield Viewer(ws)


class MapClient:
    """Watches one box, through every loss of the server, until it is told that all is over."""

    def __init__(self, url: str, bbox: Box) -> None:
        self.url = url
        self.bbox = bbox
        self.places: dict[str, tuple[float, float]] = {}
        self.snapshots = 0
        self.outside: list[Json] = []

    async def run(self, http: ClientSession) -> None:
        while True:
            try:
                async with viewing(http, self.url) as viewer:
                    await self._watch(viewer)
            except (ClientError, ConnectionError):
                await asyncio.sleep(RETRY_S)

    async def _watch(self, viewer: Viewer) -> None:
        await viewer.send(type="view", id=1, bbox=self.bbox, max_hz=10)
        while True:
            message = await viewer.receive()
            self.snapshots += message["type"] == "snapshot"
            self.outside += [asset for asset in message["assets"] if not self._within(asset)]
            self.places = viewer.places(1)

    def _within(self, asset: Json) -> bool:
        (west, south, east, north), lon, lat = self.bbox, float(asset["lon"]), float(asset["lat"])
        return west - ROUNDING_DEG <= lon <= east + ROUNDING_DEG and south - ROUNDING_DEG <= lat <= north + ROUNDING_DEG
