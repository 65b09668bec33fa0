"""Opening a numbered stream: who speaks for it from now on, and where it stands.

A newer socket takes the stream over; it hears its welcome only when nothing that the older one sent is under way any
more.
"""

import asyncio
import secrets
from collections.abc import Iterable
from typing import Final, TypeAlias

from tracker.domain.fleet import Device
from tracker.errors import StoreUnavailable, Superseded
from tracker.pipeline.commit import Writer
from tracker.pipeline.stream import Lane, Source
from tracker.store.database import Database, Record

AT_ONCE: Final = 1_000  # streams opened in one statement
NAMED_BY_SERVER: Final = "server-"  # no device may take such a name: nothing of these streams outlives their socket


def open_unnamed(writer: Writer, device: Device, source: Source) -> Lane:
    """A stream for a client that keeps no numbers: it counts from 1 and ends with its socket."""
    lane = Lane(device, NAMED_BY_SERVER + secrets.token_hex(8), None, source=source)
    writer.lanes.add(lane)
    source.open(lane)
    return lane


_Key: TypeAlias = tuple[int, str]  # device, name


class Openings:
    """Rows of streams, for as many devices at once as ask: after a restart they all come back, and a commit for each
    would take longer than all else that they need.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[_Key, list[asyncio.Future[Record]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def row(self, device_id: int, name: str) -> Record:
        """The stream's row, as no one else has it: with a session number of its own.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((device_id, name), []).append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="open-streams")
        return await future

    async def _run(self) -> None:
        while self._waiting:
            chosen = self._next()
            try:
                await self._open(chosen)
            except StoreUnavailable as error:
                _fail(chosen.values(), error)
            except Exception:  # noqa: BLE001 - one of them is to blame, and hears of it
                for key, future in chosen.items():
                    try:
                        await self._open({key: future})
                    except Exception as error:  # noqa: BLE001
                        _fail([future], error)

    def _next(self) -> "dict[_Key, asyncio.Future[Record]]":
        """One for each stream: the others that ask for the same come in the next rounds."""
        chosen = {}
        for key in list(self._waiting)[:AT_ONCE]:
            chosen[key] = self._waiting[key].pop(0)
            if not self._waiting[key]:
                del self._waiting[key]
        return chosen

    async def _open(self, chosen: "dict[_Key, asyncio.Future[Record]]") -> None:
        devices, names = [device for device, _ in chosen], [name for _, name in chosen]
        for row in await self._database.rows("open_streams", devices, names):
            future = chosen[row["device"], row["name"]]
            if not future.done():
                future.set_result(row)


def _fail(futures: "Iterable[asyncio.Future[Record]]", error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


async def _stream(writer: Writer, openings: Openings, device: Device, name: str) -> Record:
    """The row of the stream, not older than memory: what was filed and forgotten meanwhile is in a newer row only."""
    while True:
        forgotten = writer.lanes.forgotten
        row = await openings.row(device.id, name)
        if forgotten == writer.lanes.forgotten or writer.lanes.get(device.id, name) is not None:
            return row


async def open_named(
    writer: Writer, openings: Openings, device: Device, name: str, source: Source, *, take_over: bool = True
) -> Lane:
    """The stream that a device names.

    Args:
        take_over: False for a POST, which uses the stream without ending the socket that speaks for it.

    Raises:
        Superseded: a still newer socket took the stream meanwhile.
        StoreUnavailable: the database does not answer.
    """
    row = await _stream(writer, openings, device, name)
    lane = writer.lanes.get(device.id, name)
    if lane is None:
        durable = max(row["seq"], writer.unfiled.get(row["id"], 0))
        lane = Lane(device, name, row["id"], prepared=durable, durable=durable)
        writer.lanes.add(lane)
    lane.device = device
    lane.session = max(lane.session, row["session"])
    source.open(lane)
    if not take_over:
        return lane
    previous, lane.source = lane.source, source
    if previous is not None and previous is not source:
        previous.on_superseded()
    for other in [user for user in lane.users if user is not source]:  # also one that was superseded before, or a POST
        await other.quiet()
    if lane.source is not source:
        raise Superseded("a newer socket took this stream over")
    return lane
