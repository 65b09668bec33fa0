"""Chords: what is believed of the way between two fixes. Straight in lon/lat, the short way round.

Fractions go from 0 at the first end to 1 at the second. Every function works on parallel columns of n chords, in
degrees.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from tracker.domain.batch import Floats, Ints
from tracker.domain.runs import Runs, expand

_HALVINGS: Final = 32  # of a piece of a chord: a millisecond of a chord of a day needs 27
_PIECE_M: Final = 50_000.0  # a piece of a chord so short (and narrow) comes nearer to a place and then leaves, once
_PIECE_DEG: Final = 5.0
_DEGREE_M: Final = 111_700.0  # of a meridian, at most
_THIRDS: Final = 60

Distances = Callable[[Ints, Floats, Floats], Floats]


def span_deg(lon0: Floats, lon1: Floats) -> Floats:
    """How far east lon1 is of lon0 by the short way, -180 to 180."""
    span = lon1 - lon0
    return np.where(span > 180, span - 360, np.where(span < -180, span + 360, span))


def between(lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats, fraction: Floats) -> tuple[Floats, Floats]:
    """The places at these fractions; the ends are exactly those given."""
    lon = lon0 + fraction * span_deg(lon0, lon1)
    lon = np.where(lon > 180, lon - 360, np.where(lon < -180, lon + 360, lon))
    lat = lat0 + fraction * (lat1 - lat0)
    at_end = fraction == 1
    return np.where(at_end, lon1, lon), np.where(at_end, lat1, lat)


def lengths_m(lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
    """Upper bounds of how long the chords are on the ground."""
    nearest = np.where(lat0 * lat1 <= 0, 0.0, np.minimum(np.abs(lat0), np.abs(lat1)))
    east = span_deg(lon0, lon1) * np.cos(np.radians(nearest))
    return np.asarray(np.hypot(east, lat1 - lat0) * _DEGREE_M, dtype=np.float64)


def first_within(
    distances: Distances, reach_m: Floats, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats
) -> Floats:
    """The fraction at which each chord first comes within reach_m[i] of the i-th place, NaN where it never does.

    Args:
        distances: metres of points from the places with these numbers; places are convex and small against the earth.
    """
    length_m = lengths_m(lon0, lat0, lon1, lat1)
    count = np.ceil(np.maximum(length_m / _PIECE_M, np.abs(span_deg(lon0, lon1)) / _PIECE_DEG))
    pieces = Runs(np.maximum(1, count))
    chord, piece = expand(pieces, np.arange(len(lon0)))
    nth, share = piece - pieces.start[chord], 1 / pieces.size[chord]
    low, high = nth * share, (nth + 1) * share

    def gap_m(at: Ints, fraction: Floats) -> Floats:
        one = chord[at]
        return distances(one, *between(lon0[one], lat0[one], lon1[one], lat1[one], fraction)) - reach_m[one]

    touched = _nearing(gap_m, low, high, length_m[chord])
    found = np.flatnonzero(~np.isnan(touched))
    first = found[np.unique(chord[found], return_index=True)[1]]
    result = np.full(len(lon0), np.nan)
    result[chord[first]] = _first_touch(gap_m, first, low[first], touched[first])
    return result


def _nearing(gap_m: Callable[[Ints, Floats], Floats], start: Floats, end: Floats, length_m: Floats) -> Floats:
    """For each piece some fraction within reach, NaN where there is none: an end, or by thirds towards the nearest
    place. An end, too, because near a pole a piece may bend more than a circle does.
    """
    at = np.arange(len(start))
    gap_start, gap_end = gap_m(at, start), gap_m(at, end)
    found = np.where(gap_start <= 0, start, np.where(gap_end <= 0, end, np.nan))
    at = np.flatnonzero(np.isnan(found) & (gap_start + gap_end <= (end - start) * length_m))
    low, high = start[at], end[at]
    for _ in range(_THIRDS):
        if len(at) == 0:
            break
        third = (high - low) / 3
        near, far = low + third, high - third
        gap_near, gap_far = gap_m(at, near), gap_m(at, far)
        within = np.minimum(gap_near, gap_far) <= 0
        found[at[within]] = np.where(gap_near <= 0, near, far)[within]
        goes_on = ~within & (np.minimum(gap_near, gap_far) <= third * length_m[at])
        low, high = np.where(gap_near > gap_far, near, low), np.where(gap_near > gap_far, high, far)
        at, low, high = at[goes_on], low[goes_on], high[goes_on]
    return found


def _first_touch(gap_m: Callable[[Ints, Floats], Floats], at: Ints, low: Floats, high: Floats) -> Floats:
    """Between a beginning that may be out of reach and a fraction within: the first within, by halving."""
    high = np.where(gap_m(at, low) <= 0, low, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = gap_m(at, middle) <= 0
        high, low = np.where(within, middle, high), np.where(within, low, middle)
    return high
