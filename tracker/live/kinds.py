"""The tags of assets as small numbers, so that a filter is asked once for each distinct set of tags."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

NONE: Final = 0  # the kind of what is not in the fleet; no filter admits it


class Kinds:
    """By asset number, which of the distinct sets of tags it has. A set that nobody has gives its number away."""

    def __init__(self) -> None:
        self.of: NDArray[np.int32] = np.zeros(1, np.int32)
        self._number: dict[frozenset[str], int] = {}
        self._sets: list[frozenset[str] | None] = [None]
        self._having: list[int] = [0]
        self._free: list[int] = []
        self._admitted: dict[frozenset[str], NDArray[np.bool_]] = {}

    def reserve(self, size: int) -> None:
        self.of = np.concatenate([self.of, np.zeros(size - len(self.of), np.int32)])

    def put(self, asset: int, tags: frozenset[str] | None) -> None:
        """An asset has these tags now; None: it is not in the fleet."""
        before = int(self.of[asset])
        self.of[asset] = NONE if tags is None else self._take(tags)
        self._give_back(before)

    def _take(self, tags: frozenset[str]) -> int:
        number = self._number.get(tags)
        if number is None:
            number = self._free.pop() if self._free else len(self._sets)
            if number == len(self._sets):
                self._sets.append(tags)
                self._having.append(0)
            self._sets[number] = tags
            self._number[tags] = number
            self._admitted.clear()
        self._having[number] += 1
        return number

    def _give_back(self, number: int) -> None:
        tags = self._sets[number]
        if tags is None:
            return
        self._having[number] -= 1
        if not self._having[number]:
            self._sets[number] = None
            del self._number[tags]
            self._free.append(number)
            self._admitted.clear()

    def admitted(self, tags: frozenset[str]) -> NDArray[np.bool_]:
        """By kind, whether a filter of these tags admits it; no tags admit everything that is in the fleet."""
        if tags not in self._admitted:
            self._admitted[tags] = np.array(
                [each is not None and (not tags or not tags.isdisjoint(each)) for each in self._sets], np.bool_
            )
        return self._admitted[tags]
