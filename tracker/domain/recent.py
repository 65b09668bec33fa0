"""The last fixes of many assets, as columns of bounded length: what pairs of assets are judged by, without asking the
database.

Owned by whoever judges pairs. Of each asset every fix from `known_from_ms` on is here.
"""

from typing import Final

import numpy as np

from tracker.domain.batch import Ints, Mask

KEPT: Final = 32  # fixes of an asset: half a minute of one that sends every second
AT_ONCE: Final = KEPT // 2  # of an asset in one put, so that what was there before is there still
ALWAYS: Final = np.iinfo(np.int64).min  # known from the beginning: of an asset that has nothing stored
_NEVER: Final = np.iinfo(np.int64).max
_NOTHING: Final = np.iinfo(np.int64).min


class Recent:
    """Rows of a table, one of each asset; its fixes stand in event order at the end of the row."""

    def __init__(self) -> None:
        self._known_from_ms = np.empty(0, np.int64)
        self._columns = np.empty((4, 0, KEPT), np.int64)  # time_ms, lon, lat, batch; time _NOTHING: no fix stands there

    def reserve(self, asset: int) -> None:
        """Room for assets up to this number; of new ones nothing is known."""
        size = len(self._known_from_ms)
        if asset < size:
            return
        grown = max(asset + 1, 2 * size, 256) - size
        self._known_from_ms = np.concatenate([self._known_from_ms, np.full(grown, _NEVER)])
        self._columns = np.concatenate([self._columns, np.full((4, grown, KEPT), _NOTHING)], axis=1)

    def know(self, asset: int, from_ms: int) -> None:
        """Every fix of the asset from an instant on is here, or will be put here now."""
        self.reserve(asset)
        self._known_from_ms[asset] = from_ms

    def newest_ms(self, asset: int) -> int:
        """No fix of the asset is newer; 0 if there is none."""
        if asset >= len(self._known_from_ms):
            return 0
        known_from_ms = int(self._known_from_ms[asset])
        return max(0, int(self._columns[0, asset, -1]), known_from_ms - 1 if known_from_ms != _NEVER else 0)

    def newest(self, assets: Ints) -> Ints:
        """The same of several assets."""
        self.reserve(int(assets.max(initial=0)))
        known_from_ms = self._known_from_ms[assets]
        before_ms = np.where(known_from_ms == _NEVER, 0, np.maximum(known_from_ms, 1) - 1)
        newest: Ints = np.maximum(self._columns[0, assets, -1], before_ms)
        return newest

    def put(self, asset: Ints, time_ms: Ints, lon: Ints, lat: Ints, batch: Ints) -> None:
        """Add fixes in the order of assets, at most AT_ONCE of each; those before what is known are left out."""
        if len(asset):
            self.reserve(int(asset.max()))
        new = np.stack([time_ms, lon, lat, batch])
        known, once = time_ms >= self._known_from_ms[asset], np.ones(len(asset), np.bool_)
        once[1:] &= asset[1:] != asset[:-1]
        once[:-1] &= asset[1:] != asset[:-1]
        newest = once & (time_ms > self._columns[0, asset, -1])
        self._append(asset[known & newest], new[:, known & newest])
        self._insert(asset[known & ~newest], new[:, known & ~newest])

    def _append(self, asset: Ints, new: Ints) -> None:
        """One fix of each asset, the newest."""
        gone = self._columns[0, asset, 0]
        self._known_from_ms[asset] = np.where(gone == _NOTHING, self._known_from_ms[asset], gone + 1)
        self._columns[:, asset, :-1] = self._columns[:, asset, 1:]
        self._columns[:, asset, -1] = new

    def _insert(self, asset: Ints, new: Ints) -> None:
        touched = np.unique(asset)
        place = np.repeat(touched, KEPT)
        old = self._columns[:, touched].reshape(4, -1)
        there = old[0] != _NOTHING
        place = np.concatenate([place[there], asset])
        every = np.concatenate([old[:, there], new], axis=1)
        order = np.lexsort((every[3], every[2], every[1], every[0], place))
        place, every = place[order], every[:, order]
        end = np.searchsorted(place, place, side="right")
        behind = end - np.arange(len(place))  # 1 for the newest of each asset
        gone = behind > KEPT
        np.maximum.at(self._known_from_ms, place[gone], every[0, gone] + 1)
        self._columns[:, touched] = _NOTHING
        self._columns[:, place[~gone], KEPT - behind[~gone]] = every[:, ~gone]

    def forget(self, asset: int, time_ms: int) -> None:
        """What is known of an asset up to an instant may be wrong: begin after its newest fix."""
        self.reserve(asset)
        after_ms = max(self.newest_ms(asset), time_ms) + 1
        self._known_from_ms[asset] = max(int(self._known_from_ms[asset]), after_ms)
        self._columns[:, asset] = _NOTHING

    def covers(self, assets: Ints, from_ms: int, max_gap_ms: int) -> Mask:
        """Of which of these assets everything is here that says where they are from an instant on."""
        known_from, time_ms = self._known_from_ms[assets], self._columns[0, assets]
        before = ((time_ms <= from_ms) & (time_ms >= known_from[:, None])).any(axis=1)
        covered: Mask = (known_from <= from_ms - max_gap_ms) | before
        return covered

    def rows(self, assets: Ints, from_ms: int) -> Ints:
        """(5, n) asset, time_ms, lon, lat and batch of these assets from the last fix up to an instant on."""
        columns = self._columns[:, assets]
        time_ms = columns[0]
        following = np.concatenate([time_ms[:, 1:], np.full((len(assets), 1), _NEVER)], axis=1)
        wanted = (time_ms != _NOTHING) & (following >= from_ms)
        asset = np.repeat(assets, KEPT).reshape(-1, KEPT)[wanted]
        return np.concatenate([asset[None], columns[:, wanted]])
