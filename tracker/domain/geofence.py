"""Geofences, and an index that says which of them hold which points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.geodesy import distances_m
from tracker.domain.shape import Circle, Shape, boxes

Quality = Literal["trusted", "all"]


@dataclass(frozen=True, slots=True)
class Geofence:
    """One version of a geofence. since_batch: the first batch that its first version judged, so that an asset whose
    newest fix
    is older than that was never seen.
    """

    id: int
    version: int
    name: str
    shape: Shape
    quality: Quality
    since_batch: int
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


class _Tree:
    """A static tree over the boxes of some geofences."""

    def __init__(self, fences: Iterable[Geofence]) -> None:
        entries = [(fence, box) for fence in fences for box in boxes(fence.shape)]
        self.ids = np.array([fence.id for fence, _ in entries], dtype=np.int64)
        self.versions = np.array([fence.version for fence, _ in entries], dtype=np.int64)
        self.shapes = np.array([None if isinstance(f.shape, Circle) else f.shape for f, _ in entries], dtype=object)
        circles = [f.shape if isinstance(f.shape, Circle) else Circle(np.nan, np.nan, np.nan) for f, _ in entries]
        self.circles = np.array([(c.lon, c.lat, c.radius_m) for c in circles], dtype=np.float64).reshape(-1, 3)
        corners = np.array([box for _, box in entries], dtype=np.float64).reshape(-1, 4)
        self.tree = shapely.STRtree(shapely.box(*corners.T)) if entries else None

    def pairs(self, points: Sequence[shapely.Point], lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """(point, entry) for every entry that holds the point."""
        if self.tree is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        point, entry = self.tree.query(points)
        x, y = lon[point], lat[point]
        inside = np.zeros(len(point), dtype=np.bool_)
        round_ = ~np.isnan(self.circles[entry, 2])
        inside[~round_] = shapely.intersects_xy(self.shapes[entry[~round_]], x[~round_], y[~round_])
        centre = self.circles[entry[round_]]
        inside[round_] = distances_m(x[round_], y[round_], centre[:, 0], centre[:, 1]) <= centre[:, 2]
        return point[inside], entry[inside]


class FenceIndex:
    """The geofences in force. A large static tree and a small one of what changed since, so that a change costs little.

    Owned by the writer: changed between batches only.
    """

    _REBUILD_AT_LEAST = 256

    def __init__(self, fences: Iterable[Geofence] = ()) -> None:
        self.fences: dict[int, Geofence] = {fence.id: fence for fence in fences}
        self._recent: set[int] = set()
        self._large = _Tree(self.fences.values())
        self._small: _Tree | None = None
        self._by_id: tuple[Ints, Mask, Ints] | None = None

    def put(self, fence: Geofence) -> None:
        """Add a geofence, or a new version of one."""
        self.fences[fence.id] = fence
        self._recent.add(fence.id)
        self._stale()

    def remove(self, fence_id: int) -> Geofence | None:
        self._recent.discard(fence_id)
        fence = self.fences.pop(fence_id, None)
        self._stale()
        return fence

    def _stale(self) -> None:
        self._small = self._by_id = None

    def _current(self) -> tuple[Ints, Mask, Ints]:
        """By fence id: its version in force (0: none), whether it judges every fix, its since_batch."""
        if self._by_id is None:
            size = max(self.fences, default=0) + 1
            version, every, since = np.zeros(size, np.int64), np.zeros(size, np.bool_), np.zeros(size, np.int64)
            for fence in self.fences.values():
                version[fence.id], every[fence.id], since[fence.id] = (
                    fence.version,
                    fence.quality == "all",
                    fence.since_batch,
                )
            self._by_id = version, every, since
        return self._by_id

    def judges_every_fix(self, fence_ids: Ints) -> Mask:
        """Which of these geofences are of quality `all`."""
        return self._current()[1][fence_ids]

    def since_batch(self, fence_ids: Ints) -> Ints:
        """The first batch that each of these geofences judged in any version."""
        return self._current()[2][fence_ids]

    @property
    def has_every_fix(self) -> bool:
        """Whether any geofence is of quality `all`."""
        return bool(self._current()[1].any())

    def _trees(self) -> list[_Tree]:
        if len(self._recent) > max(self._REBUILD_AT_LEAST, len(self.fences) // 8):
            self._large, self._small = _Tree(self.fences.values()), None
            self._recent.clear()
        if self._small is None:
            self._small = _Tree(self.fences[fence_id] for fence_id in self._recent)
        return [self._large, self._small]

    def query(self, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """(point, fence id) for every geofence in force that holds the point, each pair once, sorted by point then
        fence.

        Args:
            lon, lat: degrees, (n,).
        """
        if not self.fences or len(lon) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        points, version = shapely.points(lon, lat), self._current()[0]
        found = []
        for tree in self._trees():
            point, entry = tree.pairs(points, lon, lat)
            fence = tree.ids[entry]
            known = fence < len(version)
            current = np.zeros(len(fence), dtype=np.bool_)
            current[known] = version[fence[known]] == tree.versions[entry[known]]
            found.append((point[current] << 32) | fence[current])
        codes = np.unique(np.concatenate(found))
        return codes >> 32, codes & 0xFFFFFFFF
