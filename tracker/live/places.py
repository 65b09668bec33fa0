"""Assets in the order of the curve: who is in these cells, and how many are in each. Never changed once made."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints
from tracker.domain.runs import spread
from tracker.live.cells import NOWHERE, Cover, Keys, assets_of

NOBODY = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Places:
    """Some assets by where they are; `keys` is sorted and holds nobody who is nowhere."""

    keys: Keys

    @classmethod
    def of(cls, keys: Keys) -> Self:
        ordered = np.sort(keys)
        return cls(ordered[: np.searchsorted(ordered, NOWHERE)])

    def count(self, ranges: Keys) -> int:
        starts, ends = np.searchsorted(self.keys, ranges)
        return int((ends - starts).sum())

    def within(self, ranges: Keys) -> Ints:
        starts, ends = np.searchsorted(self.keys, ranges)
        return assets_of(self.keys[spread(starts, ends - starts)[1]])


@dataclass(frozen=True, slots=True)
class Clusters:
    """How many assets each cell of a cover holds, and their middle in 1e-7 degrees (0 for none)."""

    count: NDArray[np.int64]
    lon: NDArray[np.int32]
    lat: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where all assets were at change number `as_of`."""

    as_of: int
    places: Places
    _lon_sums: Ints  # of the first n assets in order
    _lat_sums: Ints
    _parts: dict[frozenset[str], "Ground"] = field(default_factory=dict)

    @classmethod
    def of(cls, as_of: int, keys: Keys, lon: NDArray[np.int32], lat: NDArray[np.int32]) -> "Ground":
        """Of columns by asset number. It takes a while for very many, and touches nothing that others change."""
        places = Places.of(keys)
        assets = assets_of(places.keys)
        return cls(as_of, places, _sums(lon[assets]), _sums(lat[assets]))

    def part(self, tags: frozenset[str], kinds: NDArray[np.int32], admitted: NDArray[np.bool_]) -> "Ground":
        """Those of the assets that a filter of these tags admits, picked out once."""
        if not tags:
            return self
        if tags not in self._parts:
            chosen = admitted[kinds[assets_of(self.places.keys)]]
            self._parts[tags] = Ground(
                self.as_of,
                Places(self.places.keys[chosen]),
                _sums(np.diff(self._lon_sums)[chosen]),
                _sums(np.diff(self._lat_sums)[chosen]),
            )
        return self._parts[tags]

    def clusters(self, cover: Cover) -> Clusters:
        starts, ends = np.searchsorted(self.places.keys, cover.edges)
        count = ends - starts
        some = np.maximum(count, 1)
        lon = (self._lon_sums[ends] - self._lon_sums[starts]) // some
        lat = (self._lat_sums[ends] - self._lat_sums[starts]) // some
        return Clusters(count, lon.astype(np.int32), lat.astype(np.int32))


def distinct(assets: Ints) -> Ints:
    """Sorted, each once."""
    ordered = np.sort(assets)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _sums(values: NDArray[np.int32] | Ints) -> Ints:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, dtype=np.int64, out=sums[1:])
    return sums


UNKNOWN_GROUND = Ground(-1, Places(np.zeros(0, np.uint64)), _sums(NOBODY), _sums(NOBODY))
