"""How often an address may fail to sign in: a token bucket for each, in a table of bounded size."""

import time
from collections.abc import Callable
from typing import Final

BURST: Final = 20
PER_S: Final = 0.2
TABLE_SIZE: Final = 10_000


class Attempts:
    """Failures by address. When the table is full, the address that failed longest ago is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[float, float]] = {}  # address: failures not yet forgiven, when that was counted

    def failed(self, address: str) -> None:
        """Counts one failure."""
        count = self._count(address) + 1
        self._failures.pop(address, None)
        while len(self._failures) >= TABLE_SIZE:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = (count, self._clock())

    def wait_s(self, address: str) -> float:
        """Seconds until the address may try again; 0 when it may now."""
        return max(0.0, (self._count(address) + 1 - BURST) / PER_S)

    def _count(self, address: str) -> float:
        count, since = self._failures.get(address, (0.0, 0.0))
        return max(0.0, count - (self._clock() - since) * PER_S)
