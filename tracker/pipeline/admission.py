"""Opening a numbered stream: who speaks for it from now on, and where it stands.

A newer socket takes the stream over; it hears its welcome only when nothing that the older one sent is under way any
more.
"""

import secrets
from typing import Final

from tracker.domain.fleet import Device
from tracker.errors import Superseded
from tracker.pipeline.commit import Writer
from tracker.pipeline.stream import Lane, Source
from tracker.store.database import Database, Record

NAMED_BY_SERVER: Final = "server-"  # no device may take such a name: nothing of these streams outlives their socket


def open_unnamed(writer: Writer, device: Device, source: Source) -> Lane:
    """A stream for a client that keeps no numbers: it counts from 1 and ends with its socket."""
    lane = Lane(device, NAMED_BY_SERVER + secrets.token_hex(8), None, source=source)
    writer.lanes.add(lane)
    source.open(lane)
    return lane


async def _stream(writer: Writer, database: Database, device: Device, name: str) -> Record:
    """The row of the stream, not older than memory: what was filed and forgotten meanwhile is in a newer row only."""
    while True:
        forgotten = writer.lanes.forgotten
        row = await database.row("open_stream", device.id, name)
        if row is not None and (forgotten == writer.lanes.forgotten or writer.lanes.get(device.id, name) is not None):
            return row


async def open_named(
    writer: Writer, database: Database, device: Device, name: str, source: Source, *, take_over: bool = True
) -> Lane:
    """The stream that a device names.

    Args:
        take_over: False for a POST, which uses the stream without ending the socket that speaks for it.

    Raises:
        Superseded: a still newer socket took the stream meanwhile.
        StoreUnavailable: the database does not answer.
    """
    row = await _stream(writer, database, device, name)
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
