"""Tells what has become of assets that are heard of no longer, or again: events in the feed, between batches.

Once a second whatever changed is told, in transactions of at most 1,000 events, each with what was told in it: so a
restart tells nothing twice. Being heard of for the first time is no event.
"""

import asyncio
import logging
from typing import Final

import numpy as np

from tracker.domain.reachability import NAMES, ONLINE
from tracker.errors import TrackerError
from tracker.live.reachability import Change, Reachability
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.prepare import Prepared
from tracker.pipeline.record import Notice, record_notices
from tracker.store import reachability as store
from tracker.store.database import Database, translated
from tracker.store.newest import Heard

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
AT_ONCE: Final = 1_000
DEAF_AFTER_MS: Final = 5_000  # looks further apart than this: the server, or its database, was away


async def restore(writer: Writer, reachability: Reachability, database: Database, heard: Heard) -> None:
    """As it stood when the last writer of this database stopped. The registry holds the fleet by now.

    Args:
        heard: what the writer found of it.
    """
    async with database.connection() as connection:
        traces = await store.traces(connection, heard)
        tellings = await store.told(connection)
    reachability.restore(traces, tellings, now_ms())
    writer.publisher.reached(reachability.unreachable())


def hear(reachability: Reachability, prepared: Prepared) -> None:
    """Whoever sent something of a durable batch, also if it was known already or is no good."""
    devices = [lane.device.id for _, lane in prepared.heard]
    without_socket = [lane.device.id for source, lane in prepared.heard if source.gateway]
    reachability.hear(
        np.array(devices, np.int64), np.array(without_socket, np.int64), prepared.columns.device, prepared.recorded_ms
    )


class Teller:
    """Looks once a second, as long as it runs."""

    def __init__(self, writer: Writer, reachability: Reachability) -> None:
        self._writer = writer
        self._reachability = reachability
        self._looked_ms = now_ms()
        self._unsure = False  # whether the last telling may be durable though its commit was never answered

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Tell all that has changed, if there is a database to tell it in; else at the next look."""
        if not self._writer.ready:
            return
        if now_ms() - self._looked_ms > DEAF_AFTER_MS:
            self._reachability.pardon(self._looked_ms, now_ms())
        self._looked_ms = now_ms()
        try:
            await self._tell_all()
        except TrackerError as error:
            self._unsure = True
            log.warning("action=reachability_untold cause=%s", error)

    async def _tell_all(self) -> None:
        while self._unsure or self._reachability.changes(now_ms(), 1):
            await self._writer.between_batches(self._tell_some)
            self._looked_ms = now_ms()

    async def _tell_some(self, writer: Writer) -> None:
        """One transaction, run by the writer."""
        connection, recorded_ms = writer.journal.connection, now_ms()
        if self._unsure:
            self._told(writer, await store.told(connection))
            self._unsure = False
        changes = self._reachability.changes(recorded_ms, AT_ONCE)
        if not changes:
            return
        notices = [_notice(writer, each) for each in changes]
        told = record_notices(notices, writer.fleet, after_id=writer.event, recorded_ms=recorded_ms)
        tellings = [each.told for each in changes]
        with translated():
            async with connection.transaction():
                await writer.journal.record(recorded_ms, told.rows)
                await store.record(connection, tellings)
        self._told(writer, store.Tellings.of(tellings))
        writer.told(told)

    def _told(self, writer: Writer, tellings: store.Tellings) -> None:
        self._reachability.told(tellings)
        states = zip(tellings.asset.tolist(), tellings.state.tolist(), strict=True)
        writer.publisher.reached({asset: NAMES[state] for asset, state in states})


def _notice(writer: Writer, change: Change) -> Notice:
    """An event at the time when the asset was heard of last, and at the place where it was seen last."""
    assert change.now.heard_ms is not None
    place = writer.publisher.latest.place(change.asset)
    lon, lat = (None, None) if place is None else place
    cause = None if change.now.state == ONLINE else change.now.reason
    return Notice(f"asset.{NAMES[change.now.state]}", change.asset, change.device, change.now.heard_ms, lon, lat, cause)
