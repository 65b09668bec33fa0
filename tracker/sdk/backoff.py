"""How long to stay away after a failure: full jitter, so that a fleet cut off together does not return together."""

from collections.abc import Callable
from typing import Final

BASE_S: Final = 0.5
CAP_S: Final = 60.0


class Backoff:
    """A delay drawn between nothing and a bound that doubles with every failure in a row."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def next_s(self) -> float:
        bound_s = min(CAP_S, BASE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._random() * bound_s

    def reset(self) -> None:
        self._failures = 0
