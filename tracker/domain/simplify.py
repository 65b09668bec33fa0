"""Fewer points for the same line: Douglas-Peucker in metres on the globe, where no pole or antimeridian is special."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_M: Final = 6_371_008.8
# The last point of each run is kept, so that the worst case stays linear in the length of the line.
RUN: Final = 1_024

Floats = NDArray[np.float64]


def simplified(lon_deg: Floats, lat_deg: Floats, tolerance_m: float) -> NDArray[np.intp]:
    """The indices of the points to keep: all others are within the tolerance of the line between kept neighbours."""
    if tolerance_m <= 0 or len(lon_deg) <= 2:
        return np.arange(len(lon_deg))
    points = _on_globe(lon_deg, lat_deg)
    keep = np.zeros(len(points), dtype=bool)
    keep[::RUN] = keep[-1] = True
    edges = np.flatnonzero(keep)
    pending = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        off_m = _distances_m(points[first + 1 : last], points[first], points[last])
        farthest = int(off_m.argmax())
        if off_m[farthest] > tolerance_m:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return np.flatnonzero(keep)


def _on_globe(lon_deg: Floats, lat_deg: Floats) -> Floats:
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    around = np.cos(lat)
    return EARTH_RADIUS_M * np.column_stack([around * np.cos(lon), around * np.sin(lon), np.sin(lat)])


def _distances_m(points: Floats, start: Floats, end: Floats) -> Any:
    """From each point to the chord between two others, which runs below the surface: too far sooner than too near."""
    along = end - start
    length_squared = float(along @ along)
    offset = points - start
    share = np.clip(offset @ along / length_squared, 0.0, 1.0) if length_squared > 0 else np.zeros(len(points))
    return np.linalg.norm(offset - share[:, None] * along, axis=1)
