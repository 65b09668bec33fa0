"""A writer with its journal, its filer and real tables, without doors."""

from collections.abc import Callable
from typing import Any, Self

from tests.pipeline.world import Socket
from tests.store.batches import make_fleet
from tracker.domain.fleet import Fleet
from tracker.live.feed import Feed
from tracker.live.latest import Latest
from tracker.pipeline.admission import Openings, open_named
from tracker.pipeline.commit import Writer
from tracker.pipeline.intake import Intake
from tracker.pipeline.publish import Publisher
from tracker.pipeline.stream import Lane, Lanes
from tracker.store.database import Database
from tracker.store.filer import Filer
from tracker.store.journal import Journal


class Slow(Database):
    """A database whose answers are a while on their way; what happens meanwhile is up to the test."""

    meanwhile: Callable[[], Any] | None = None

    async def rows(self, name: str, *args: Any) -> Any:
        found = await super().rows(name, *args)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found


class Node:
    """A writer and its filer; running within `async with`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Slow(url)
        self.openings = Openings(self.database)
        self.writer = self._new_writer()
        self.filer = Filer(url, lambda: self.writer.committed, self._forget_filed)

    def _forget_filed(self, batch: int) -> None:
        self.writer.lanes.forget_filed(batch)

    def _new_writer(self) -> Writer:
        fleet = Fleet()
        return Writer(Journal(self.url), fleet, Intake(), Lanes(), Publisher(Latest(fleet), Feed()))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        await self.database.open()
        self.last_heard = await self.writer.start()
        await self.filer._open()
        await self.filer._keep_house()

    async def restart(self) -> None:
        """A writer that knows nothing; pool and filer remember nothing, and stay."""
        await self.writer.stop()
        self.writer = self._new_writer()
        self.last_heard = await self.writer.start()

    async def stop(self) -> None:
        await self.filer.stop()
        await self.writer.stop()
        await self.database.close()

    async def open(self, socket: Socket, name: str = "live", device: int = 1, *, take_over: bool = True) -> Lane:
        about = self.writer.fleet.devices[device]
        lane = await open_named(self.writer, self.openings, about, name, socket.source, take_over=take_over)
        socket.source.default = lane
        return lane

    async def send(self, socket: Socket, frame: bytes) -> None:
        self.writer.intake.put(socket.source, frame)
        await socket.source.quiet()

    async def file(self) -> None:
        await self.filer.file_due(at_fixes=0)


async def settle(url: str) -> None:
    """Three assets, each with a device."""
    database = Database(url)
    await database.open()
    async with database.connection() as connection:
        await make_fleet(connection, streams=0)
    await database.close()
