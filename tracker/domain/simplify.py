"""Fewer points for the same line, as it is drawn: straight in lon/lat between the points, the tolerance in metres.

Douglas-Peucker by GEOS on plane stretches of the line; where the plane is wrong, it keeps a point too many.
"""

from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.runs import spread

METRES_PER_DEGREE: Final = 111_195.0
# The ends of each stretch are kept. So a stretch is small enough to be plane, and the worst case stays linear.
STRETCH: Final = 512

Floats = NDArray[np.float64]


def simplified(lon_deg: Floats, lat_deg: Floats, tolerance_m: float) -> NDArray[Any]:
    """The indices of the points to keep of a line that does not cross the antimeridian."""
    count = len(lon_deg)
    if tolerance_m <= 0 or count <= 2:
        return np.arange(count)
    ends = np.append(np.arange(0, count - 1, STRETCH), count - 1)
    stretch, point = spread(ends[:-1], np.diff(ends) + 1)  # each begins with the point that the one before ended with
    # A degree of longitude is as long as at the point nearest the equator: distances come out too large, not too small.
    away_deg = np.abs(lat_deg)
    across = np.cos(np.radians(np.minimum(np.minimum.reduceat(away_deg, ends[:-1]), away_deg[ends[1:]])))
    plane = np.column_stack([lon_deg[point] * across[stretch], lat_deg[point], point])
    lines = shapely.simplify(
        shapely.linestrings(plane, indices=stretch), tolerance_m / METRES_PER_DEGREE, preserve_topology=False
    )
    kept = shapely.get_coordinates(lines, include_z=True)[:, 2].astype(np.int64)
    return np.unique(np.concatenate([kept, ends]))
