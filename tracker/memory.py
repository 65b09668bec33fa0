"""When garbage is collected. Reference counting frees nearly everything; cycles are left by sockets that close.

At Python's defaults the collector finds next to nothing in a batch of columns and costs a third of the throughput. With
rare collections alone a fleet that reconnects all day piles up tens of kilobytes for each closed socket. So collections
are rare, and one is made when as many sockets have closed as are open: its cost is shared by all of them.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (200_000, 10, 5)
CLOSINGS_AT_LEAST: Final = 500


def tune() -> None:
    """What stands at the start is never looked at again."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def uncollected() -> Iterator[None]:
    """For making millions of objects that stay: the collector looks at them neither meanwhile nor later."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


class Closings:
    """Counts sockets that closed, and collects when it is worth it."""

    def __init__(self) -> None:
        self._closed = 0

    def count(self, still_open: int) -> None:
        self._closed += 1
        if self._closed >= max(CLOSINGS_AT_LEAST, still_open):
            self._closed = 0
            gc.collect()
