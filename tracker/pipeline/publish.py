"""After the commit: acks to devices, positions and events to whoever watches, a word to the hooks. No await: nothing
here may wait.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from tracker.live.feed import Feed
from tracker.live.latest import Latest
from tracker.pipeline.prepare import Prepared, Rejected
from tracker.pipeline.stream import Source
from tracker.store.snapshot import Snapshot, latest_columns
from tracker.wire import ids
from tracker.wire.device import Error, Reject
from tracker.wire.events import Event

TOLD_REJECTS: Final = 1_000  # by one batch to one source; the newest are listed at /v1/devices/{id}/rejects


class Publisher:
    """Owns what the world sees: Latest and Feed change only here."""

    def __init__(
        self,
        latest: Latest,
        feed: Feed,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_events: Callable[[], None] = lambda: None,
        on_batch: Callable[[Prepared], None] = lambda _: None,
    ) -> None:
        """Args: on_change: viewers may have something new to see; on_events: hooks may have something to carry out."""
        self.latest = latest
        self.feed = feed
        self._on_change = on_change
        self._on_events = on_events
        self._on_batch = on_batch

    def restore(self, snapshot: Snapshot) -> None:
        """What was durable before this process began."""
        asset, columns = snapshot.positions
        self.feed.restart(snapshot.event)
        rows = np.flatnonzero(np.isin(asset, np.fromiter(self.latest.fleet.assets, np.int64)))
        self.latest.put(asset[rows], columns, rows)

    def publish(self, prepared: Prepared, events: Sequence[Event]) -> None:
        """Tell the world of a durable batch."""
        for lane, (last, _) in prepared.cursors.items():
            lane.durable = max(lane.durable, last)
            lane.last_batch = prepared.number
        seen = prepared.judgement.trusted
        self.latest.put(seen.asset, prepared.columns, seen.rows)
        self._on_batch(prepared)
        self.tell(events)
        answer(prepared)

    def correct(self, asset: int, newest: Mapping[str, Any]) -> None:
        """Another fix of an asset is the newest trusted one, as judging it again has shown."""
        row = {"asset": asset, **newest}
        self.latest.put(*latest_columns([row]), np.zeros(1, np.int64))
        self._on_change()

    def reached(self, states: Mapping[int, str]) -> None:
        """Assets that are silent, offline or online again, as was told durably; `tell` of it follows."""
        self.latest.reach(states)

    def tell(self, events: Sequence[Event]) -> None:
        """Events that are durable, and whatever else viewers and hooks should look at."""
        if events:
            self.feed.append(events)
            self._on_events()
        self._on_change()

    def catch_up(self, event: int) -> None:
        """After a recovery: events up to this one are durable, told or not."""
        self.feed.catch_up(event)
        self._on_events()
        self._on_change()


def answer(prepared: Prepared) -> None:
    """Errors, then rejects, then one cumulative ack per stream, in one write per source."""
    messages: dict[Source, list[bytes]] = {}
    if prepared.errors or prepared.rejected:
        messages = _complaints(prepared)
    for source, lane in prepared.heard:
        ack = lane.ack(gateway=source.gateway)
        told = messages.get(source)
        if told is None:
            messages[source] = [ack]
        else:
            told.append(ack)
    for source, told in messages.items():
        source.send(told)
    for source, frames in prepared.frames.items():
        source.settled(frames)


def _complaints(prepared: Prepared) -> dict[Source, list[bytes]]:
    """What is told before the acks."""
    messages = {
        source: [msgspec.json.encode(Error(each.code, each.message)) for each in errors]
        for source, errors in prepared.errors.items()
    }
    rejects: Counter[Source] = Counter()
    for each in prepared.rejected:
        rejects[each.source] += 1
        if rejects[each.source] <= TOLD_REJECTS:
            messages.setdefault(each.source, []).append(msgspec.json.encode(_reject(each)))
    return messages


def _reject(each: Rejected) -> Reject:
    reject = Reject(each.lane.name, each.seq, each.refusal.code, each.refusal.message)
    if each.source.gateway:
        reject.device = ids.public_id(ids.DEVICE, each.lane.device.id)
    return reject
