"""Where and when the chord between two fixes crossed an edge, or touched a geofence on its way past it.

A chord is believed if it bridges no longer gap than the geofence's `max_gap_s`, and none from before it was made.
"""

import numpy as np

from tracker.domain.batch import DEGREE, Floats, Ints, Mask
from tracker.domain.chord import between
from tracker.domain.evidence import OUT, barred, evidence
from tracker.domain.index import FenceIndex
from tracker.domain.presence import Crossed
from tracker.domain.steps import Steps, among


def crossings(index: FenceIndex, steps: Steps, at: Ints, fence: Ints, held: Mask) -> list[Crossed | None]:
    """For pairs of a step and a geofence whose edge the step crossed: where and when, if the chord is believed.

    Args:
        held: whether the shape holds the step's fix; that before it was on the other side.
    """
    found: list[Crossed | None] = [None] * len(at)
    believed = (steps.gap_ms(at) <= index.max_gap_ms(fence)) & (steps.prev_batch[at] >= index.since_batch(fence))
    mine = np.flatnonzero(believed)
    ends = steps.chords(at[mine])
    # One of the ends is inside and the other is not: the same place told twice crosses nothing.
    apart = index.hold(fence[mine], ends[0], ends[1]) != held[mine]
    mine, inward = mine[apart], held[mine[apart]]
    lon0, lat0, lon1, lat1 = (end[apart] for end in ends)
    # From outside inwards, whichever way it went: what lies between the outermost touch and the fix inside is one stay.
    fraction = index.touched_at(
        fence[mine],
        np.where(inward, lon0, lon1),
        np.where(inward, lat0, lat1),
        np.where(inward, lon1, lon0),
        np.where(inward, lat1, lat0),
    )
    fraction = np.where(inward, fraction, 1 - fraction)
    for i, crossed in zip(mine.tolist(), _crossed(steps, at[mine], fraction), strict=True):
        found[i] = crossed
    return found


def passes(
    index: FenceIndex, steps: Steps, at: Ints, fence: Ints, touches: tuple[Ints, Ints, Floats]
) -> list[Crossed | None]:
    """The first touch of the chord to each step, where it is believed, and both ends lie outside: neither hour nor
    altitude makes an asset pass through.
    """
    found: list[Crossed | None] = [None] * len(at)
    step, of, fraction = touches
    if len(step) == 0:
        return found
    code, asked = (step << 32) | of, (at << 32) | fence
    order = np.argsort(code)
    where = np.flatnonzero(among(asked, code[order]))
    touch = order[np.searchsorted(code[order], asked[where])]
    step, of, fraction = step[touch], of[touch], fraction[touch]
    held = index.hold(of, steps.prev_lon[step] / DEGREE, steps.prev_lat[step] / DEGREE)
    says = evidence(
        index,
        of,
        steps.prev_time_ms[step],
        steps.prev_lon[step],
        steps.prev_lat[step],
        steps.prev_alt[step],
        steps.prev_accuracy[step],
        held,
    )
    believed = (
        (says == OUT) & (steps.gap_ms(step) <= index.max_gap_ms(of)) & (steps.prev_batch[step] >= index.since_batch(of))
    )
    believed &= ~barred(index, of, steps.time_ms[step], steps.alt[step])
    believed &= ~barred(index, of, steps.prev_time_ms[step], steps.prev_alt[step])
    places = _crossed(steps, step, fraction)
    for i, place, kept in zip(where.tolist(), places, believed.tolist(), strict=True):
        if kept:
            found[i] = place
    return found


def _crossed(steps: Steps, at: Ints, fraction: Floats) -> list[Crossed]:
    lon, lat = between(*steps.chords(at), fraction)
    time_ms = np.rint(steps.prev_time_ms[at] + fraction * (steps.time_ms[at] - steps.prev_time_ms[at]))
    return [
        Crossed(int(t), int(x), int(y))
        for t, x, y in zip(time_ms, np.rint(lon * DEGREE), np.rint(lat * DEGREE), strict=True)
    ]
