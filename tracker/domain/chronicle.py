"""The versions of the geofences that are there: which of them judges what was stored in a batch."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import shapely

from tracker.domain.batch import Floats
from tracker.domain.geofence import Geofence, Version
from tracker.domain.index import FenceIndex
from tracker.domain.presence import AssetState, Entry, SightState
from tracker.domain.shape import all_boxes

INDEXES_KEPT: Final = 64  # by `at`: where versions alternate from fix to fix, each would be built again for every fix
LARGEST_KEPT: Final = 1_000  # geofences in one of them


class Chronicle:
    """Current and earlier versions. Owned by the writer, changed with its index; whoever judges again reads it
    without changing it.
    """

    def __init__(self, index: FenceIndex, versions: Iterable[Version] = ()) -> None:
        self._index = index
        self._versions: dict[int, list[Version]] = {}
        self._earlier: tuple[shapely.STRtree | None, list[int]] | None = None
        self._absences: set[int] = set()  # geofences of which an earlier version noticed absence
        self._filtered: set[int] = set()  # geofences of which some version judges certain assets only
        self._made: list[int] | None = None
        self._kept: dict[tuple[int, ...], FenceIndex] = {}
        for version in versions:
            self._versions.setdefault(version.fence.id, []).append(version)
            self._mark_filtered(version.fence)
        for mine in self._versions.values():
            mine.sort(key=lambda each: each.from_batch)
            self._mark_ruled(mine)

    def put(self, version: Version) -> None:
        """A new version, which is in force from its batch on; versions of one geofence come in any order."""
        mine = self._versions.setdefault(version.fence.id, [])
        mine.append(version)
        mine.sort(key=lambda each: each.from_batch)
        self._mark_ruled(mine)
        self._mark_filtered(version.fence)
        self._earlier = self._made = None

    def _mark_filtered(self, fence: Geofence) -> None:
        if fence.rule.assets is not None:
            self._filtered.add(fence.id)

    @staticmethod
    def _mark_ruled(mine: list[Version]) -> None:
        """What has options in one version is known as entries in all."""
        if any(each.fence.ruled for each in mine):
            mine[:] = [
                each if each.fence.once_ruled else Version(each.from_batch, replace(each.fence, once_ruled=True))
                for each in mine
            ]

    def remove(self, fence_id: int) -> None:
        self._versions.pop(fence_id, None)
        self._filtered.discard(fence_id)
        self._earlier = self._made = None

    def rename(self, fence: Geofence) -> None:
        """The current version with another name, tags or attributes."""
        mine = self._versions[fence.id]
        mine[-1] = Version(mine[-1].from_batch, fence)

    def current(self, fence_id: int) -> Geofence | None:
        mine = self._versions.get(fence_id)
        return mine[-1].fence if mine else None

    def versions(self, fence_id: int) -> list[Version]:
        """All of a geofence that is there, ascending."""
        return self._versions[fence_id]

    def numbered(self, fence_id: int, version: int) -> Geofence:
        """A version by its number."""
        return next(each.fence for each in self._versions[fence_id] if each.fence.version == version)

    def classified(self, state: AssetState) -> AssetState:
        """A state for comparison: as it is known, and of the batches no more than how many geofences were made
        before.
        """

        def counted(sight: SightState) -> SightState:
            newest = sight.newest
            if newest is not None:
                newest = replace(newest, seen=bisect_right(self._sinces(), newest.seen))
            return replace(sight, newest=newest)

        state = self.known(state)
        return replace(state, trusted=counted(state.trusted), every=counted(state.every))

    def known(self, state: AssetState) -> AssetState:
        """A state as the current versions keep it: nothing of geofences that are no longer there, each under its
        quality, and as entries what has options now or had.
        """
        sights = state.trusted, state.every
        inside = {fence: ms for sight in sights for fence, ms in sight.inside.items() if fence in self._versions}
        entries = {
            fence: entry for sight in sights for fence, entry in sight.entries.items() if fence in self._versions
        }
        entries |= {fence: Entry(inside=True, enter_ms=ms) for fence, ms in inside.items() if self._last(fence).ruled}
        trusted, every = (
            SightState(
                sight.newest,
                {n: ms for n, ms in inside.items() if self._last(n).quality == quality and n not in entries},
                {n: entry for n, entry in entries.items() if self._last(n).quality == quality},
            )
            for sight, quality in zip(sights, ("trusted", "all"), strict=True)
        )
        return replace(state, trusted=trusted, every=every)

    def _last(self, fence_id: int) -> Geofence:
        return self._versions[fence_id][-1].fence

    def _sinces(self) -> list[int]:
        if self._made is None:
            self._made = sorted(mine[0].from_batch for mine in self._versions.values())
        return self._made

    def version(self, fence_id: int, batch: int) -> Geofence | None:
        """The version that judges what is stored in a batch; None before the first."""
        mine = self._versions.get(fence_id, [])
        place = bisect_right(mine, batch, key=lambda each: each.from_batch)
        return mine[place - 1].fence if place else None

    def with_filter(self) -> list[int]:
        """The geofences of which some version judges certain assets only, ascending."""
        return sorted(self._filtered)

    def changed_at(self, fence_ids: Iterable[int]) -> list[int]:
        """The batches from which on some of these geofences judge, or judge otherwise, ascending."""
        return sorted({each.from_batch for number in fence_ids for each in self._versions.get(number, ())})

    def at(self, fence_ids: Iterable[int], batch: int) -> FenceIndex:
        """An index of those of these geofences that judge what is stored in a batch."""
        found = [each for each in (self.version(number, batch) for number in fence_ids) if each is not None]
        key = tuple(map(id, found))  # an index that is kept keeps its geofences, so that no other has their identity
        index = self._kept.get(key)
        if index is None:
            index = FenceIndex(found, partial=True)
            if len(self._kept) >= INDEXES_KEPT:
                self._kept.clear()
            if len(found) <= LARGEST_KEPT:
                self._kept[key] = index
        return index

    def near(self, lon: Floats, lat: Floats) -> set[int]:
        """The geofences of which some version may hold one of the places, or be touched by a chord between two of them.

        Args:
            lon, lat: degrees, (n,), in event order.
        """
        found = self._index.near(lon, lat)
        tree, numbers = self._earlier_tree()
        if tree is not None and len(lon):
            west, south, east, north = lon.min(), lat.min(), lon.max(), lat.max()
            found |= {numbers[i] for i in tree.query(shapely.box(west, south, east, north)).tolist()}
        return found | self._absences

    def _earlier_tree(self) -> tuple[shapely.STRtree | None, list[int]]:
        if self._earlier is None:
            fences = [version.fence for mine in self._versions.values() for version in mine[:-1]]
            owner, corners = all_boxes([fence.shape for fence in fences])
            tree = shapely.STRtree(shapely.box(*corners.T)) if fences else None
            self._earlier = tree, [fences[nth].id for nth in owner.tolist()]
            self._absences = {n for n, mine in self._versions.items() if any(v.fence.rule.absence for v in mine[:-1])}
        return self._earlier
