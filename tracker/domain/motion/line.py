"""The line that a trip is measured by: simplified to what a receiver wanders by, so that standing at a light adds
nothing.

It is cut where the clock begins another stretch, so that it is the same wherever reading began.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Floats
from tracker.domain.motion.places import UNITS, Fixes, Rows
from tracker.domain.motion.rule import LINE_STEP_MS, LINE_STRETCH_MS, LINE_TOLERANCE_M
from tracker.domain.runs import spread


def stretch_ends(time_ms: NDArray[np.int64], first: Rows, last: Rows) -> Rows:
    """The rows at which stretches end, of runs `first` … `last` (inclusive): the ends of the runs, and the first fix in
    each stretch of the clock.
    """
    clock = np.flatnonzero(np.diff(time_ms // LINE_STRETCH_MS)) + 1
    run = np.searchsorted(first, clock, "right") - 1
    inside = clock[(run >= 0) & (clock <= last[run])]
    ends: Rows = np.unique(np.concatenate([first, last, inside]))
    return ends


def kept(fixes: Fixes, before: Rows, after: Rows, diameter_m: float) -> Rows:
    """The rows that remain of the stretches `before` … `after` (inclusive), each of which keeps its ends."""
    ends = np.concatenate([before, after])
    bent = after > before + 1
    if not bent.any():
        return np.unique(ends)
    before, after = before[bent], after[bent]
    stretch, row = spread(before, after - before + 1)
    second = fixes.time_ms // LINE_STEP_MS
    needed = (row == before[stretch]) | (row == after[stretch]) | (second[row] != second[row - 1])
    row, stretch = row[needed], stretch[needed]
    east, north = _plane(fixes, row, before[stretch], diameter_m)
    lines = shapely.linestrings(np.column_stack([east, north, row]), indices=stretch)
    simple = shapely.simplify(lines, LINE_TOLERANCE_M, preserve_topology=False)
    return np.unique(np.concatenate([ends, shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.intp)]))


def _plane(fixes: Fixes, row: Rows, origin: Rows, diameter_m: float) -> tuple[Floats, Floats]:
    """Metres east and north of the first fix of each one's stretch."""
    away = (fixes.place[row] - fixes.place[origin]) * (diameter_m / UNITS)
    lon, lat = np.radians(fixes.lon[origin] / DEGREE), np.radians(fixes.lat[origin] / DEGREE)
    out = away[:, 0] * np.cos(lon) + away[:, 1] * np.sin(lon)
    return away[:, 1] * np.cos(lon) - away[:, 0] * np.sin(lon), away[:, 2] * np.cos(lat) - out * np.sin(lat)
