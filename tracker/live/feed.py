"""The newest events, encoded once and kept in memory in feed order, so that followers read them without asking the
database.

Bounded: a follower that is further behind than the tail reaches reads the table until it has caught up.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from tracker.wire import ids
from tracker.wire.events import Event

TAIL: Final = 20_000


class Feed:
    """Appended to by the publisher, after the commit."""

    def __init__(self, last_id: int = 0) -> None:
        self.last_id = last_id
        self._tail: deque[tuple[int, bytes]] = deque(maxlen=TAIL)
        self._first_id = last_id + 1  # of the tail
        self._grown = asyncio.Event()

    def restart(self, last_id: int) -> None:
        """Begin after this event: what is older stands in the table."""
        self.last_id, self._first_id = last_id, last_id + 1
        self._tail.clear()

    def catch_up(self, last_id: int) -> None:
        """Events up to this one are durable, though the answer to their commit was lost: the table tells of them."""
        if last_id > self.last_id:
            self.restart(last_id)
            self._wake()

    def append(self, events: Sequence[Event]) -> None:
        """Durable events, in feed order."""
        if not events:
            return
        if ids.number_of(ids.EVENT, events[0].id) != self.last_id + 1:
            self._tail.clear()  # those between stand in the table only, and the tail has no holes
        for event in events:
            self.last_id = ids.number_of(ids.EVENT, event.id)
            self._tail.append((self.last_id, msgspec.json.encode(event)))
        self._first_id = self._tail[0][0]
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def after(self, event_id: int, limit: int) -> list[tuple[int, bytes]] | None:
        """Up to `limit` events after this one, as (id, JSON); None when the tail does not reach back so far."""
        if event_id >= self.last_id:
            return []
        if event_id + 1 < self._first_id:
            return None
        skip = max(0, len(self._tail) - (self.last_id - event_id))
        return list(islice(self._tail, skip, skip + limit))

    async def wait(self, after: int) -> None:
        """Until an event with a greater id is durable."""
        while self.last_id <= after:
            await self._grown.wait()
