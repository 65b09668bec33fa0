"""The simulated fleet at work: enrols it, brings in its recent past, then streams it through the device SDK.

The only module here that touches the clock and sockets. Prints nothing: `on_progress` hears what happens.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import aiohttp

from tracker.fleet.carriers import Carrier, carrier
from tracker.fleet.enrol import Registrar
from tracker.fleet.roster import Member, roster
from tracker.fleet.unit import Unit
from tracker.sdk import DeviceStopped

PROGRESS_EVERY_S: Final = 1.0
FORGET_AFTER_S: Final = 120.0  # a machine that slept does not make up for the night
FAREWELL_S: Final = 5.0  # what was recorded gets so long to arrive at the end

Stage = Literal["streets", "devices", "geofences", "history", "streaming", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the simulation is. `stopped` names devices refused for good since the last progress, with the reason."""

    stage: Stage
    members: int = 0
    recorded: int = 0
    acked: int = 0
    pending: int = 0
    out_of_reach: int = 0
    stopped: tuple[str, ...] = ()


OnProgress = Callable[[Progress], None]


def unheard(_: Progress) -> None:
    """For callers who want no progress."""


@dataclass(frozen=True, slots=True)
class World:
    """The simulated time and the clock; at `speed` 1 they are one, so a restart finds the fleet where it would be."""

    began_s: float
    speed: float

    def time_s(self, clock_s: float) -> float:
        return self.began_s + (clock_s - self.began_s) * self.speed

    def clock_s(self, world_s: float) -> float:
        return self.began_s + (world_s - self.began_s) / self.speed


async def simulate(
    url: str,
    admin_token: str,
    *,
    couriers: int = 40,
    seed: int = 1,
    speed: float = 1.0,
    duration_s: float | None = None,
    backfill_s: float = 0.0,
    on_progress: OnProgress = unheard,
) -> Progress:
    """Drive the fleet until `duration_s` is over, or until cancelled.

    `speed` is how fast the world runs: fixes carry the clock's time, so at 10 a bicycle is seen to ride ten times as
    fast. `backfill_s` of the past is brought in first for devices that are new, as one uploads a backlog.

    Raises:
        SetupError: the street extract or its reader is not installed.
        TrackerError: the server cannot be reached or refuses the set-up.
    """
    on_progress(Progress("streets"))
    members = await asyncio.to_thread(roster, couriers, seed)
    on_progress(Progress("devices", len(members)))
    registrar = Registrar(url, admin_token)
    try:
        tokens, new = await registrar.devices(members)
        on_progress(Progress("geofences", len(members)))
        await registrar.geofences()
    finally:
        await registrar.close()
    async with AsyncExitStack() as stack:
        fleet = await _Fleet.open(stack, url, members, tokens, World(time.time(), speed), seed, on_progress)
        await fleet.bring_in_history(new, backfill_s)
        reporter = asyncio.create_task(fleet.report(), name="fleet-progress")
        try:
            await fleet.stream(duration_s)
        finally:
            reporter.cancel()
            on_progress(fleet.progress("done"))
            await fleet.farewell()
        return fleet.progress("done")


class _Fleet:
    """Owns the units, their carriers, and the order in which they look."""

    def __init__(self, units: Sequence[Unit], world: World, on_progress: OnProgress) -> None:
        self._units = units
        self._world = world
        self._on_progress = on_progress
        self._carriers: list[Carrier] = []
        self._stopped: set[str] = set()
        self._to_tell: list[str] = []
        self._recorded = 0
        # Spread over the first second, so that devices with the same interval do not speak all at once for ever.
        self._due_s = [world.began_s + world.speed * number / len(units) for number in range(len(units))]

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        url: str,
        members: Sequence[Member],
        tokens: dict[str, str],
        world: World,
        seed: int,
        on_progress: OnProgress,
    ) -> "_Fleet":
        """With every carrier open; `stack` closes them."""
        fleet = cls([Unit(member, seed) for member in members], world, on_progress)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        buffers = Path(stack.enter_context(TemporaryDirectory(prefix="tracker-fleet-")))
        for number, member in enumerate(members):
            on_stop = fleet._stop_noted(member.name)
            buffer = buffers / f"{number}.db"
            carries = carrier(member.habit, url, tokens[member.name], session, on_stop, buffer)
            await carries.open()
            stack.push_async_callback(carries.close)
            fleet._carriers.append(carries)
        return fleet

    async def bring_in_history(self, new: set[str], backfill_s: float) -> None:
        """What the new devices would have recorded before now."""
        self._on_progress(self.progress("history"))
        if backfill_s <= 0:
            return
        for number, unit in enumerate(self._units):
            if unit.member.name in new:
                past = await asyncio.to_thread(self._past, number, self._world.began_s - backfill_s)
                await self._carriers[number].record(past)
                self._recorded += len(past)
                self._on_progress(self.progress("history"))

    def _past(self, number: int, from_s: float) -> list[dict[str, Any]]:
        """A unit's fixes from this time of the clock until the world began; it goes on looking from there."""
        fixes = []
        due_s = self._world.time_s(from_s)
        while (clock_s := self._world.clock_s(due_s)) < self._world.began_s:
            fix, due_s = self._units[number].look(due_s, int(clock_s * 1000), self._world.speed)
            if fix:
                fixes.append(fix)
        self._due_s[number] = due_s
        return fixes

    async def stream(self, duration_s: float | None) -> None:
        """Each unit looks when it wants to; returns after `duration_s`."""
        end_s = None if duration_s is None else time.time() + duration_s
        queue = [(due_s, number) for number, due_s in enumerate(self._due_s)]
        heapq.heapify(queue)
        while queue:
            due_s, number = queue[0]
            clock_s = self._world.clock_s(due_s)
            if end_s is not None and clock_s >= end_s:
                break
            await asyncio.sleep(max(0.0, clock_s - time.time()))
            if self._units[number].member.name in self._stopped:
                heapq.heappop(queue)
                continue
            heapq.heapreplace(queue, (await self._look(number, due_s), number))
        if end_s is not None:
            await asyncio.sleep(max(0.0, end_s - time.time()))

    async def _look(self, number: int, due_s: float) -> float:
        """One look of one unit; when it wants the next."""
        now_s = self._world.time_s(time.time())
        if now_s - due_s > FORGET_AFTER_S * self._world.speed:
            due_s = now_s
        unit, carries = self._units[number], self._carriers[number]
        await carries.set_reach(in_reach=not unit.out_of_reach(due_s))
        fix, next_s = unit.look(due_s, int(self._world.clock_s(due_s) * 1000), self._world.speed)
        if fix:
            await carries.record([fix])
            self._recorded += 1
        return next_s

    async def farewell(self) -> None:
        """Everyone in reach, and a moment for what is under way; then whoever is left is left."""
        for carries in self._carriers:
            await carries.set_reach(in_reach=True)
        drains = [asyncio.create_task(carries.drain(), name="fleet-drain") for carries in self._carriers]
        _, late = await asyncio.wait(drains, timeout=FAREWELL_S)
        for drain in late:
            drain.cancel()
        await asyncio.gather(*drains, return_exceptions=True)

    async def report(self) -> None:
        while True:
            self._on_progress(self.progress("streaming"))
            await asyncio.sleep(PROGRESS_EVERY_S)

    def progress(self, stage: Stage) -> Progress:
        stopped, self._to_tell = self._to_tell, []
        counts = [carries.counts() for carries in self._carriers]
        world_s = self._world.time_s(time.time())
        return Progress(
            stage,
            len(self._units),
            self._recorded,
            sum(acked for acked, _ in counts),
            sum(pending for _, pending in counts),
            sum(unit.out_of_reach(world_s) for unit in self._units) if stage == "streaming" else 0,
            tuple(stopped),
        )

    def _stop_noted(self, name: str) -> Callable[[DeviceStopped], None]:
        def note(reason: DeviceStopped) -> None:
            self._stopped.add(name)
            self._to_tell.append(f"{name}: {reason}")

        return note
