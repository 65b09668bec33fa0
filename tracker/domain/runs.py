"""Columns that hold, one after the other, the items of many owners: which are whose, and all pairs at once."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tracker.domain.batch import Ints

_ROWS: Final = 500_000  # of a table at a time: 4 MB for each of its columns


class Runs:
    """size[i] items of owner i stand from start[i] on."""

    def __init__(self, sizes: Sequence[int] | Ints) -> None:
        self.size: Ints = np.array(sizes, dtype=np.int64)
        self.start: Ints = np.cumsum(self.size) - self.size


def expand(runs: Runs, owner: Ints) -> tuple[Ints, Ints]:
    """(i, item) for every item of each owner[i]."""
    return spread(runs.start[owner], runs.size[owner])


def spread(begin: Ints, size: Ints) -> tuple[Ints, Ints]:
    """(i, item) for begin[i], begin[i] + 1, … of each of these runs, size[i] items long, one run after the other."""
    which = np.repeat(np.arange(len(size)), size)
    return which, np.arange(len(which)) + np.repeat(begin - (np.cumsum(size) - size), size)


def chunks(at: Ints, rows: Ints) -> list[Ints]:
    """Split `at`, of which the i-th makes rows[i], so that few make more than a table's rows together."""
    if len(at) == 0:
        return []
    table = np.cumsum(rows) // _ROWS
    return np.split(at, np.flatnonzero(np.diff(table)) + 1)
