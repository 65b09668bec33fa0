"""What one fix says to a geofence: that its asset is inside, outside, or nothing for sure. Vectorised over pairs."""

from typing import Final

import numpy as np

from tracker.domain.batch import DEGREE, UNKNOWN_INT32, Ints, Mask
from tracker.domain.geofence import Rule
from tracker.domain.index import FenceIndex

IN: Final = 1
OUT: Final = 0
UNSURE: Final = -1


def evidence(
    index: FenceIndex, fence: Ints, time_ms: Ints, lon: Ints, lat: Ints, alt: Ints, accuracy: Ints, held: Mask
) -> Ints:
    """What each fix says to its geofence: IN, OUT or UNSURE. (n,) parallel; held: whether the shape holds the fix."""
    says = np.where(held, IN, OUT)
    for fence_id in np.unique(fence).tolist():
        rule, mine = index.fences[fence_id].rule, np.flatnonzero(fence == fence_id)
        here = says[mine]
        known = accuracy[mine] != UNKNOWN_INT32
        asked = np.zeros(len(mine), np.bool_)
        if rule.edge == "certain":
            asked |= known
        if rule.exit_margin_m > 0:
            asked |= ~held[mine]
        if asked.any():
            at = mine[asked]
            away_m = index.edge_distances_m(fence[at], lon[at] / DEGREE, lat[at] / DEGREE)
            unsure = np.zeros(len(at), np.bool_)
            if rule.edge == "certain":
                unsure |= known[asked] & (away_m < accuracy[at] / 10)
            if rule.exit_margin_m > 0:
                unsure |= ~held[at] & (away_m <= rule.exit_margin_m)
            here[np.flatnonzero(asked)[unsure]] = UNSURE
        if rule.alt_min_m is not None or rule.alt_max_m is not None:
            here = np.where(_beyond(rule, alt[mine]), OUT, here)
            here = np.where(alt[mine] == UNKNOWN_INT32, UNSURE, here)
        if rule.schedule is not None and not rule.absence:
            here = np.where(rule.schedule.holds(time_ms[mine]), here, OUT)
        says[mine] = here
    return says


def _beyond(rule: Rule, alt: Ints) -> Mask:
    """Which altitudes lie outside of the band; what is not known is below it."""
    low, high, alt_m = rule.alt_min_m, rule.alt_max_m, alt / 10
    beyond = np.zeros(len(alt), np.bool_)
    if low is not None:
        beyond |= alt_m < low
    if high is not None:
        beyond |= alt_m > high
    return beyond


def barred(index: FenceIndex, fence: Ints, time_ms: Ints, alt: Ints) -> Mask:
    """Which fixes say OUT wherever they are: by the hour or by their altitude."""
    found = np.zeros(len(fence), np.bool_)
    for fence_id in np.unique(fence).tolist():
        rule, mine = index.fences[fence_id].rule, np.flatnonzero(fence == fence_id)
        if rule.schedule is not None and not rule.absence:
            found[mine] |= ~rule.schedule.holds(time_ms[mine])
        found[mine] |= _beyond(rule, alt[mine])
    return found
