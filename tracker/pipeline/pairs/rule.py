"""Which pairs of assets a geofence around assets judges, and from which batch on."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from tracker.domain.batch import Ints, Mask
from tracker.domain.geofence import AssetFilter
from tracker.domain.proximity import Proximity

_NONE: Final = -1
History: TypeAlias = Sequence[
    tuple[int, frozenset[str]]
]  # from which batch on an asset has had which tags; empty: there is none


class Rule:
    """A geofence in force, and from which batch on it admits which assets: -1 where it does not."""

    def __init__(self, fence: Proximity) -> None:
        self.fence = fence
        self.asset_since = np.full(256, _NONE, np.int64)
        self.near_since = np.full(256, _NONE, np.int64)

    def admit(self, asset: int, history: History) -> None:
        """Which tags the asset has had, from which batch on; the last are those of now."""
        if asset >= len(self.asset_since):
            grown = max(asset + 1, 2 * len(self.asset_since)) - len(self.asset_since)
            self.asset_since = np.concatenate([self.asset_since, np.full(grown, _NONE)])
            self.near_since = np.concatenate([self.near_since, np.full(grown, _NONE)])
        self.asset_since[asset] = _since(self.fence.assets, asset, history)
        self.near_since[asset] = _since(self.fence.shape.near, asset, history)

    def involves(self, asset: Ints) -> Mask:
        return (self._at(self.asset_since, asset) >= 0) | (self._at(self.near_since, asset) >= 0)

    def involved(self) -> Ints:
        return np.flatnonzero((self.asset_since >= 0) | (self.near_since >= 0))

    def since(self, asset: Ints, other: Ints) -> Ints:
        """The first batch that judges each of these pairs, -1 where none does."""
        mine, its = self._at(self.asset_since, asset), self._at(self.near_since, other)
        return np.where((mine >= 0) & (its >= 0), np.maximum(np.maximum(mine, its), self.fence.from_batch), _NONE)

    @staticmethod
    def _at(column: Ints, asset: Ints) -> Ints:
        return np.where(asset < len(column), column[np.minimum(asset, len(column) - 1)], _NONE)


def _since(wanted: AssetFilter | None, asset: int, history: History) -> int:
    if wanted is None:
        return 0 if history else _NONE
    since = _NONE
    for from_batch, tags in history:
        since = _NONE if not wanted.admits(asset, tags) else from_batch if since == _NONE else since
    return since
