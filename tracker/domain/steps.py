"""Fixes as steps, each from the fix before it: what the crossing model looks at, as columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Columns, Floats, Ints, Mask
from tracker.domain.presence import NEVER, Newest


@dataclass(frozen=True, slots=True)
class Steps:
    """m fixes that geofences of one quality see, sorted by asset and event order, each with the one before it in that
    quality (prev_time_ms is NEVER where there is none). Integers as in Columns.
    """

    asset: Ints
    time_ms: Ints
    lon: Ints
    lat: Ints
    alt: Ints
    speed: Ints
    accuracy: Ints
    first: Mask  # of its asset
    follows: Mask  # the one before it is the step before it
    seen_before: Ints  # the highest batch of all fixes before it in that quality
    prev_time_ms: Ints
    prev_lon: Ints
    prev_lat: Ints
    prev_alt: Ints
    prev_accuracy: Ints
    prev_batch: Ints

    def gap_ms(self, at: Ints) -> Ints:
        """From the fix before; endless where there is none."""
        known = self.prev_time_ms[at] != NEVER
        return np.where(known, self.time_ms[at] - np.where(known, self.prev_time_ms[at], 0), np.iinfo(np.int64).max)

    def chords(self, at: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """From the fix before, in degrees."""
        return (
            self.prev_lon[at] / DEGREE,
            self.prev_lat[at] / DEGREE,
            self.lon[at] / DEGREE,
            self.lat[at] / DEGREE,
        )


def steps_of(columns: Columns, rows: Ints, newest: Newest, batch: Ints) -> Steps:
    """The rows of a batch as steps from fix to fix."""
    asset = columns.asset[rows].astype(np.int64)
    first = np.ones(len(rows), np.bool_)
    first[1:] = asset[1:] != asset[:-1]
    previous = np.concatenate([[-1], rows[:-1]])[: len(rows)]
    seen = newest.seen[asset]
    return steps_after(
        columns,
        rows,
        newest,
        batch,
        np.where(first, -1, previous),
        np.where(first, seen, np.maximum(seen, batch[rows])),
    )


def steps_after(columns: Columns, rows: Ints, newest: Newest, batch: Ints, previous: Ints, seen_before: Ints) -> Steps:
    """Rows as steps from the fixes before them.

    Args:
        previous: (m,) the row of the fix before each, -1 where that is its asset's newest.
        seen_before: (m,) as Steps has it.
    """
    asset = columns.asset[rows].astype(np.int64)
    first = np.ones(len(rows), np.bool_)
    first[1:] = asset[1:] != asset[:-1]
    follows = np.zeros(len(rows), np.bool_)
    follows[1:] = ~first[1:] & (previous[1:] == rows[:-1])
    fresh = previous < 0

    known = newest.records[asset[fresh]]

    def before(name: str, values: NDArray[np.generic]) -> Ints:
        found = values[previous].astype(np.int64)
        found[fresh] = known[name]
        return found

    return Steps(
        asset,
        columns.time_ms[rows],
        columns.lon[rows],
        columns.lat[rows],
        columns.alt[rows],
        columns.speed[rows],
        columns.accuracy[rows],
        first,
        follows,
        seen_before,
        before("time_ms", columns.time_ms),
        before("lon", columns.lon),
        before("lat", columns.lat),
        before("alt", columns.alt),
        before("accuracy", columns.accuracy),
        before("batch", batch),
    )


def among(codes: Ints, sorted_codes: Ints) -> Mask:
    """Which pairs of a step and a geofence, as one number each, are among those that are sorted."""
    if len(sorted_codes) == 0:
        return np.zeros(len(codes), np.bool_)
    place = np.minimum(np.searchsorted(sorted_codes, codes), len(sorted_codes) - 1)
    return np.asarray(sorted_codes[place] == codes)
