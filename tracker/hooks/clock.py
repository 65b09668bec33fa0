"""The clock that decides when attempts are made, handed in so that tests can have three days in a moment."""

import time
from collections.abc import Callable

Clock = Callable[[], int]  # epoch milliseconds


def system_ms() -> int:
    """The time of this machine."""
    return time.time_ns() // 1_000_000
