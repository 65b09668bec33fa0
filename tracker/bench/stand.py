"""What every benchmark has at hand: the server, the plan, the bar; the objects that it makes there and takes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

import msgspec

from tracker.bench import websocket, world
from tracker.bench.bar import BenchBar
from tracker.bench.bare import unlimited_fleet
from tracker.bench.devices import Devices, Fleet
from tracker.bench.frames import STREAM, Encoding
from tracker.bench.plan import Load, Plan
from tracker.bench.process import Helper, Work
from tracker.bench.tally import Acked
from tracker.bench.target import OwnServer, Target
from tracker.bench.viewers import Audience, Viewers
from tracker.bench.world import Look
from tracker.errors import TrackerError
from tracker.wire.times import rfc3339

DEVICES_AT_ONCE: Final = 1_000
GEOFENCE_BYTES_AT_ONCE: Final = 2_000_000
REMOVED_AT_ONCE: Final = 8
LOOK_EVERY_S: Final = 0.25
STILL_S: Final = 2.5  # the filer looks once a second
REST_MS: Final = 60_000  # between two loads, as they begin their round where it began
PATH: Final = f"/v1/ingest?stream={STREAM}"
BEGIN_BEFORE_MS: Final = (
    12 * 3600 * 1000
)  # a fast load lives through hours in seconds, and must not get ahead of the clock


class Stand:
    """One benchmark's."""

    def __init__(self, target: Target, plan: Plan, bar: BenchBar) -> None:
        self.target, self.plan, self.bar = target, plan, bar
        self._made: dict[str, list[str]] = {"geofences": [], "devices": [], "assets": []}
        self._geofences = 0
        self._helpers: dict[str, Helper] = {}  # processes take long to start: they stay for the next load
        self._stack = AsyncExitStack()
        self._clock_ms = int(time.time() * 1000) - BEGIN_BEFORE_MS

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        if not self.target.own:
            await self._clear()

    @property
    def own(self) -> OwnServer | None:
        return self.target if isinstance(self.target, OwnServer) else None

    # Objects

    async def new_devices(self, count: int) -> tuple[list[str], list[str]]:
        """(tokens, assets) of new devices."""
        tokens: list[str] = []
        assets: list[str] = []
        for at in range(0, count, DEVICES_AT_ONCE):
            names = [{"name": f"bench {number}"} for number in range(at, min(at + DEVICES_AT_ONCE, count))]
            made = (await self.target.call("POST", "/v1/devices", names))["devices"]
            tokens += [each["token"] for each in made]
            assets += [each["asset"]["id"] for each in made]
            self._made["devices"] += [each["id"] for each in made]
            self.bar.at(f"{len(tokens):,} of {count:,} devices")
        self._made["assets"] += assets
        return tokens, assets

    async def new_geofences(self, count: int, vertices: tuple[int, int]) -> list[str]:
        """The ids of new geofences, in force."""
        ids: list[str] = []
        some: list[msgspec.Raw] = []
        size = 0
        first, self._geofences = self._geofences, self._geofences + count
        for feature in world.geofences(first, count, vertices):
            some.append(msgspec.Raw(msgspec.json.encode(feature)))
            size += len(some[-1])
            if size >= GEOFENCE_BYTES_AT_ONCE or len(ids) + len(some) == count:
                ids += await self._post_geofences(some)
                some, size = [], 0
                self.bar.at(f"{len(ids):,} of {count:,} geofences")
        return ids

    async def _post_geofences(self, features: Sequence[msgspec.Raw]) -> list[str]:
        made = await self.target.call("POST", "/v1/geofences", {"type": "FeatureCollection", "features": features})
        ids = [str(each["id"]) for each in made["geofences"]]
        self._made["geofences"] += ids
        return ids

    async def new_geofence(self, feature: dict[str, Any]) -> str:
        made = await self.target.call("POST", "/v1/geofences", feature)
        self._made["geofences"].append(made["id"])
        return str(made["id"])

    async def _clear(self) -> None:
        """Take away from somebody's server what was made there; the fixes go with their assets."""
        turns = asyncio.Semaphore(REMOVED_AT_ONCE)

        async def remove(path: str) -> None:
            async with turns:
                try:
                    await self.target.call("DELETE", path)
                except TrackerError as error:
                    if "answered 404" not in error.message:
                        raise

        self.bar.at("taking away what was made")
        for kind, ids in self._made.items():
            await asyncio.gather(*(remove(f"/v1/{kind}/{each}") for each in ids))
            ids.clear()

    # Loads

    @asynccontextmanager
    async def devices(
        self,
        tokens: Sequence[str],
        load: Load,
        *,
        step_ms: int = 1000,
        begin_ms: int | None = None,
        stamped: bool = False,
    ) -> AsyncIterator["Streaming"]:
        """A process with a socket for each of these tokens. Its clock goes on where the last one's stopped: fixes that
        come late are another matter.
        """
        fleet = Fleet(
            address=self.target.address,
            path=PATH,
            tokens=tokens,
            first=0,  # the same places again: who stands elsewhere a moment later has jumped
            fixes_per_frame=load.fixes_per_frame,
            encoding=load.encoding,
            first_ms=self._clock_ms if begin_ms is None else begin_ms,
            step_ms=step_ms,
            stamped=stamped,
        )
        async with self._opened("ours", fleet) as streaming:
            yield streaming
            self._clock_ms = max(self._clock_ms, await streaming.clock_ms() + REST_MS)

    @asynccontextmanager
    async def returning(self, token: str, load: Load, begin_ms: int, step_ms: int) -> AsyncIterator["Streaming"]:
        """A device in a process of its own, beside those that are open, with fixes from an instant on."""
        fleet = Fleet(
            address=self.target.address,
            path=PATH,
            tokens=[token],
            first=self.plan.devices,
            fixes_per_frame=load.fixes_per_frame,
            encoding=load.encoding,
            first_ms=begin_ms,
            step_ms=step_ms,
        )
        async with self._opened("returning", fleet) as streaming:
            yield streaming

    @asynccontextmanager
    async def beside(self, address: websocket.Address, load: Load, devices: int) -> AsyncIterator["Streaming"]:
        """As many devices that speak alike, with the server that is the limit."""
        async with self._opened("beside", unlimited_fleet(address, load, devices)) as streaming:
            yield streaming

    @asynccontextmanager
    async def maps(
        self, looks: Sequence[Look], encoding: Encoding = "json", *, probes: int = 0, slow: bool = False
    ) -> AsyncIterator[Helper]:
        """A process with a socket for each of these looks, beside those that are open; they close together."""
        maps, bar, count = await self._helper("maps", Viewers), self.bar, len(looks)
        audience = Audience(
            self.target.address, self.target.token, looks, self.plan.viewer_hz, encoding, probes=probes, slow=slow
        )
        await maps.call("open", audience, report=lambda opened: bar.at(f"{opened:,.0f} of {count:,} maps"))
        yield maps
        await maps.call("close")

    async def _helper(self, name: str, kind: type[Work]) -> Helper:
        if name not in self._helpers:
            self._helpers[name] = await self._stack.enter_async_context(Helper(kind))
        return self._helpers[name]

    @asynccontextmanager
    async def _opened(self, name: str, fleet: Fleet) -> AsyncIterator["Streaming"]:
        helper, bar, count = await self._helper(name, Devices), self.bar, len(fleet.tokens)
        await helper.call("open", fleet, report=lambda opened: bar.at(f"{opened:,.0f} of {count:,} sockets"))
        yield Streaming(helper, bar)
        await helper.call("close")

    # Waiting

    async def unfiled(self) -> float:
        """How many fixes are not filed, when that has not changed for a while: the rest is too little or too new."""
        still_since, before = time.monotonic(), -1.0
        while time.monotonic() - still_since < STILL_S:
            left = (await self.target.metrics())["tracker_journal_fixes"]
            if left != before:
                still_since, before = time.monotonic(), left
                self.bar.at(f"{left:,.0f} fixes are not filed yet")
            await asyncio.sleep(LOOK_EVERY_S)
        return before


class Streaming:
    """Open devices."""

    def __init__(self, helper: Helper, bar: BenchBar) -> None:
        self._helper, self._bar = helper, bar

    async def closed(self, seconds: float, in_flight: int) -> Acked:
        return await self._run("closed", seconds, in_flight)

    async def paced(self, seconds: float, frames_per_s: float, *, live: bool = False) -> Acked:
        return await self._run("paced_live" if live else "paced", seconds, frames_per_s)

    async def exactly(self, frames_each: int, in_flight: int) -> Acked:
        return await self._run("exactly", frames_each, in_flight)

    async def clock_ms(self) -> int:
        """Later than every fix that was sent."""
        return int(await self._helper.call("clock_ms"))

    async def _run(self, *call: Any) -> Acked:
        acked: Acked = await self._helper.call(*call, report=lambda fixes: self._bar.at(f"{fixes:,.0f} fixes acked"))
        if acked.rejects:
            raise TrackerError(f"the server rejected {acked.rejects} fixes of the load: {acked.said[0]}")
        return acked


def instant(ms: float) -> str:
    return rfc3339(int(ms))
