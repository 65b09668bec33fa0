"""The unit of everything: a batch of fixes as parallel columns, in the integers that the journal stores.

Lon and lat are 1e-7 degrees, lengths 0.1 m, speeds 0.01 m/s, courses 0.1 degrees; the smallest value of a type means
"not known". Conversion from and to SI units happens here and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN_INT32: Final = -(2**31)
UNKNOWN_INT16: Final = -(2**15)
DEGREE: Final = 10_000_000

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(slots=True, frozen=True)
class Columns:
    """n fixes. asset, device (n,) int32; time_ms (n,) int64 UTC; lon, lat, alt, speed, accuracy (n,) int32; course,
    flags (n,) int16.
    """

    asset: NDArray[np.int32]
    device: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    lon: NDArray[np.int32]
    lat: NDArray[np.int32]
    alt: NDArray[np.int32]
    speed: NDArray[np.int32]
    course: NDArray[np.int16]
    accuracy: NDArray[np.int32]
    flags: NDArray[np.int16]
    attributes: Sequence[bytes | None] | None  # JSON objects; None when no fix of the batch has any

    def __len__(self) -> int:
        return len(self.asset)

    def take(self, rows: Any) -> "Columns":
        """These rows: an index array, a mask or a slice."""
        attributes = self.attributes
        if attributes is not None:
            attributes = [attributes[i] for i in np.arange(len(self))[rows].tolist()]
        return Columns(**{name: getattr(self, name)[rows] for name in NUMBERS}, attributes=attributes)

    def as_asset(self, asset: int) -> "Columns":
        """The same fixes under one asset number."""
        return replace(self, asset=np.full(len(self), asset, np.int32))


NUMBERS: Final = ("asset", "device", "time_ms", "lon", "lat", "alt", "speed", "course", "accuracy", "flags")


def to_units(values: Floats, per_unit: Floats | float) -> NDArray[np.int32]:
    """SI values to stored integers, NaN to "not known"; the caller has checked the range."""
    units = values * per_unit
    np.rint(units, out=units)  # large arrays are made anew as pages, which costs more than the arithmetic
    units[np.isnan(units)] = UNKNOWN_INT32
    return units.astype(np.int32)


def to_course(tenths: NDArray[np.int32]) -> NDArray[np.int16]:
    """Tenths of degrees 0…3600 to 0…3599 (360 degrees are 0), "not known" to that of the smaller type."""
    return np.where(tenths == UNKNOWN_INT32, UNKNOWN_INT16, tenths % 3600).astype(np.int16)


def from_units(value: int, per_unit: float) -> float | None:
    """One stored integer back to its SI value."""
    return None if value in (UNKNOWN_INT32, UNKNOWN_INT16) else value / per_unit
