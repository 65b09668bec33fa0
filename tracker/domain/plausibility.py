"""Whether a fix can be true, seen from the fix before it: the flags JUMP and STALE_REPEAT.

A pure fold over the fixes of an asset in event order. Its state is the newest trusted fix and the Suspect: the newest
of a chain of implausible fixes that are plausible with one another. For each fix the first line that fits decides:

    it says that it moves, but has the very place of newest or suspect    STALE_REPEAT   nothing changes
    there is no newest, or it is plausible after newest                   trusted        it is newest, no suspect
    it is the third fix of the chain that it continues                    trusted        it is newest, no suspect
    otherwise                                                             JUMP           it is the suspect

`doubts` looks at all pairs of neighbours at once; only assets with a doubtful pair or a suspect are folded one by one.
It judges no fix by later ones, and knows nothing of fixes that came late: who re-judges them brings the state that
was.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Columns, Floats, Ints, Mask
from tracker.domain.fix import MAX_SPEED_MPS, Flag

BELIEVED_AFTER: Final = 3  # fixes of a chain: a receiver's burst of errors is seldom longer, and nobody waits long
MOVING_OVER_MPS: Final = 1.0  # below it a receiver at rest may say that it moves
AGE_S: Final = 15.0  # a place may be so much older than its fix says: receivers and networks repeat what they have
CREDITED_ACCURACY_M: Final = 1_000.0  # at most so much of what a fix says of its error speaks for it

_MOVING_OVER: Final = MOVING_OVER_MPS * 100
_NEVER: Final = np.iinfo(np.int64).min  # the time of an asset's newest trusted fix while there is none
# The smallest radius of curvature of WGS84, at the equator along the meridian. On a sphere of this radius no way is
# longer than on the ellipsoid, and none is over 1.1 % shorter: the error speaks for the fix.
_RADIUS_M: Final = 6_335_439.0
_RADIANS: Final = math.pi / 180 / DEGREE  # of one unit of lon or lat
_TURN: Final = 360 * DEGREE
_ROUNDING: Final = 1 + 1e-6  # of a squared length, far more than the arithmetic can err


class Trusted(Protocol):
    """The newest trusted fix of each asset, by asset number; time_ms is the smallest int64 where there is none."""

    time_ms: NDArray[np.int64]
    lon: NDArray[np.int32]
    lat: NDArray[np.int32]
    accuracy: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Suspect:
    """An implausible place that may yet turn out to be true: the newest fix of a chain, and the chain's length."""

    time_ms: int
    lon: int
    lat: int
    accuracy: int
    count: int


class _Fix(NamedTuple):
    time_ms: int
    lon: int
    lat: int
    accuracy: int


def doubts(
    columns: Columns,
    rows: Ints,
    newest: Trusted,
    suspects: Mapping[int, Suspect],
    max_speed_mps: Floats | float = MAX_SPEED_MPS,
) -> tuple[NDArray[np.int16], dict[int, Suspect | None]]:
    """What speaks against fixes that have nothing against themselves.

    Args:
        rows: (m,) sorted by asset, then event order; each after the newest trusted fix of its asset, no two equal in
            asset, time and place.
        newest, suspects: the state before.
        max_speed_mps: one for all, or (m,).

    Returns:
        (m,) the flags that are added, and the suspects that changed (None: there is none any more).
    """
    flags = np.zeros(len(rows), np.int16)
    changed: dict[int, Suspect | None] = {}
    if not len(rows):
        return flags, changed
    asset = columns.asset[rows]
    starts = np.concatenate([[0], np.flatnonzero(asset[1:] != asset[:-1]) + 1])
    limits = np.asarray(max_speed_mps, np.float64)
    doubtful = _doubtful(columns, rows, newest, starts, limits)
    groups = set(np.flatnonzero(np.logical_or.reduceat(doubtful, starts)).tolist()) if doubtful.any() else set()
    numbers = asset[starts].tolist()
    if suspects:
        groups.update(group for group, number in enumerate(numbers) if number in suspects)
    ends = [*starts[1:].tolist(), len(rows)] if groups else []
    for group in sorted(groups):
        number, part = numbers[group], slice(int(starts[group]), ends[group])
        before = suspects.get(number)
        flags[part], after = _fold(
            _steps(columns, rows[part], doubtful[part], limits[part] if limits.ndim else limits),
            _fix_of(newest, number),
            before,
        )
        if after != before:
            changed[number] = after
    return flags, changed


def _doubtful(columns: Columns, rows: Ints, newest: Trusted, starts: Ints, max_speed_mps: Floats) -> Mask:
    """False for every fix that is surely trusted if the one before it is; a few that are true may be doubted, too."""
    first = columns.asset[rows[starts]]
    time_ms, before_ms = _with_previous(columns.time_ms[rows], newest.time_ms[first], starts)
    lon, lon_before = _with_previous(columns.lon[rows], newest.lon[first], starts)
    lat, lat_before = _with_previous(columns.lat[rows], newest.lat[first], starts)
    reach_m = (time_ms - before_ms) * (max_speed_mps / 1000) + max_speed_mps * AGE_S
    # No way is longer than the straight one on a map whose meridians are as far apart as where it is nearest to the
    # equator.
    north, east = np.abs(lat - lat_before), np.abs(lon - lon_before)
    east = np.minimum(east, _TURN - east)
    nearest = np.maximum(np.abs(lat + lat_before) - north, 0) * (_RADIANS / 2)
    way_squared = north * north + np.square(np.cos(nearest) * east)
    far = way_squared * (_ROUNDING * (_RADIUS_M * _RADIANS) ** 2) > np.square(reach_m)
    repeated = (way_squared == 0) & (columns.speed[rows] > _MOVING_OVER)
    return np.asarray(far | repeated)


def _with_previous(values: Ints, first: Ints, starts: Ints) -> tuple[Floats, Floats]:
    """The values, and beside each the one before it, where one begins at `starts` with what it had."""
    here = values.astype(np.float64)
    before = np.empty_like(here)
    before[1:] = here[:-1]
    before[starts] = first
    return here, before


def _fix_of(newest: Trusted, asset: int) -> _Fix | None:
    time_ms = int(newest.time_ms[asset])
    if time_ms == _NEVER:
        return None
    return _Fix(time_ms, int(newest.lon[asset]), int(newest.lat[asset]), int(newest.accuracy[asset]))


def _steps(
    columns: Columns, rows: Ints, doubtful: Mask, max_speed_mps: Floats
) -> Iterator[tuple[_Fix, int, bool, float]]:
    """Each fix with its speed, whether it is doubtful after the one before it, and the limit."""
    parts = (column[rows].tolist() for column in (columns.time_ms, columns.lon, columns.lat, columns.accuracy))
    limits = np.broadcast_to(max_speed_mps, len(rows)).tolist()
    return zip(map(_Fix, *parts), columns.speed[rows].tolist(), doubtful.tolist(), limits, strict=True)


def _fold(
    steps: Iterable[tuple[_Fix, int, bool, float]], newest: _Fix | None, suspect: Suspect | None
) -> tuple[list[int], Suspect | None]:
    """The rule, one fix of an asset after the other."""
    flags = []
    last = None if suspect is None else _Fix(suspect.time_ms, suspect.lon, suspect.lat, suspect.accuracy)
    count = 0 if suspect is None else suspect.count
    for fix, speed, doubtful, limit_mps in steps:
        if last is None and not doubtful:
            # The fix before it is the newest, or a stale repeat of it, which was there later still.
            newest, flag = fix, 0
        elif speed > _MOVING_OVER and (_is_same_place(fix, newest) or _is_same_place(fix, last)):
            flag = int(Flag.STALE_REPEAT)
        else:
            if newest is None or _is_plausible(newest, fix, limit_mps):
                count = 0
            else:
                count = count + 1 if last is not None and _is_plausible(last, fix, limit_mps) else 1
            if 0 < count < BELIEVED_AFTER:
                last, flag = fix, int(Flag.JUMP)
            else:
                newest, last, count, flag = fix, None, 0, 0
        flags.append(flag)
    return flags, None if last is None else Suspect(*last, count)


def _is_same_place(fix: _Fix, other: _Fix | None) -> bool:
    return other is not None and fix.lon == other.lon and fix.lat == other.lat


def _is_plausible(before: _Fix, fix: _Fix, max_speed_mps: float) -> bool:
    """Whether an asset so fast can have been at both places, given what may be wrong with times and places."""
    elapsed_s = abs(fix.time_ms - before.time_ms) / 1000
    reach_m = max_speed_mps * (elapsed_s + AGE_S) + _credited_m(before.accuracy) + _credited_m(fix.accuracy)
    return _way_m(before, fix) <= reach_m


def _credited_m(accuracy: int) -> float:
    return min(max(accuracy, 0) / 10, CREDITED_ACCURACY_M)  # not known is negative


def _way_m(a: _Fix, b: _Fix) -> float:
    """The great circle between two places, by the haversine."""
    north, east = (b.lat - a.lat) * _RADIANS, (b.lon - a.lon) * _RADIANS
    across = math.cos(a.lat * _RADIANS) * math.cos(b.lat * _RADIANS) * math.sin(east / 2) ** 2
    return 2 * _RADIUS_M * math.asin(math.sqrt(min(1.0, math.sin(north / 2) ** 2 + across)))
