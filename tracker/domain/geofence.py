"""Geofences with their options, and an index that says which of them hold which points."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import shapely

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.schedule import Schedule
from tracker.domain.shape import Shape, Shapes, boxes

Quality = Literal["trusted", "all"]
DEFAULT_MAX_GAP_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Which assets a geofence judges: those with one of the ids or one of the tags."""

    ids: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()

    def admits(self, asset: int, tags: frozenset[str]) -> bool:
        return asset in self.ids or not self.tags.isdisjoint(tags)


@dataclass(frozen=True, slots=True)
class Rule:
    """The options of the crossing model; without any a geofence is exact. docs/geofences.md defines them."""

    edge: Literal["exact", "certain"] = "exact"
    exit_margin_m: float = 0.0
    confirm_fixes: int = 1
    confirm_s: float = 0.0
    dwell_after_s: float | None = None
    cross: bool = False
    max_gap_s: float = DEFAULT_MAX_GAP_S
    alt_min_m: float | None = None
    alt_max_m: float | None = None
    schedule: Schedule | None = None
    absence: bool = False
    speed_limit_mps: float | None = None
    over_for_s: float = 0.0
    assets: AssetFilter | None = None

    @property
    def plain(self) -> bool:
        """Whether membership alone decides: every fix counts at once, and nothing but enter and exit is told."""
        return self in (PLAIN, Rule(max_gap_s=self.max_gap_s))


PLAIN: Final = Rule()


@dataclass(frozen=True, slots=True)
class Geofence:
    """One version of a geofence. since_batch: the first batch that its first version judged, so that an asset of which
    no fix was stored since was never seen.
    """

    id: int
    version: int
    name: str
    shape: Shape
    quality: Quality
    since_batch: int
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    rule: Rule = PLAIN
    options: dict[str, Any] = field(default_factory=dict)  # the rule as it was given
    once_ruled: bool = False  # another version had options: what is known of a visit outlives the change

    @property
    def ruled(self) -> bool:
        """Whether more than membership may have to be remembered."""
        return self.once_ruled or not self.rule.plain

    def judges_like(self, other: "Geofence") -> bool:
        """Whether both would decide the same about every fix."""
        return (self.shape, self.quality, self.rule) == (other.shape, other.quality, other.rule)


@dataclass(frozen=True, slots=True)
class Version:
    """A geofence as it judges the fixes stored in batches from from_batch on, until its next version."""

    from_batch: int
    fence: Geofence


class _Tree:
    """A static tree over the boxes of some geofences."""

    def __init__(self, fences: Iterable[Geofence]) -> None:
        entries = [(fence, box) for fence in fences for box in boxes(fence.shape)]
        self.ids = np.array([fence.id for fence, _ in entries], dtype=np.int64)
        self.versions = np.array([fence.version for fence, _ in entries], dtype=np.int64)
        self.shapes = Shapes([fence.shape for fence, _ in entries])
        corners = np.array([box for _, box in entries], dtype=np.float64).reshape(-1, 4)
        self.tree = shapely.STRtree(shapely.box(*corners.T)) if entries else None
        self._entry = np.full(int(self.ids.max(initial=-1)) + 1, -1, np.int64)
        self._entry[self.ids] = np.arange(len(self.ids))

    def entry(self, fence: Ints, version: Ints) -> Ints:
        """An entry of each of these versions, -1 where it is not here."""
        found = np.full(len(fence), -1, np.int64)
        here = np.flatnonzero(fence < len(self._entry))
        found[here] = self._entry[fence[here]]
        return np.where((found >= 0) & (self.versions[found] == version), found, -1) if len(self.ids) else found

    def candidates(self, geometries: Sequence[Any]) -> tuple[Ints, Ints]:
        """(position, entry) of every entry whose box meets the geometry's."""
        if self.tree is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        found, entry = self.tree.query(geometries)
        return found, entry

    def pairs(self, points: Sequence[shapely.Point], lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """(point, entry) for every entry that holds the point."""
        point, entry = self.candidates(points)
        inside = self.shapes.hold(entry, lon[point], lat[point])
        return point[inside], entry[inside]


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is asked of many geofences at once, by fence id. version 0: none is in force."""

    version: Ints
    judges_every_fix: Mask
    since_batch: Ints
    ruled: Mask
    max_gap_ms: Ints


class FenceIndex:
    """The geofences in force. A large static tree and a small one of what changed since, so that a change costs little.

    Owned by the writer: changed between batches only. `partial`: assets may be inside of geofences that are not in this
    index, of which nothing is to be decided.
    """

    _REBUILD_AT_LEAST = 256

    def __init__(self, fences: Iterable[Geofence] = (), *, partial: bool = False) -> None:
        self.fences: dict[int, Geofence] = {fence.id: fence for fence in fences}
        self.partial = partial
        self._recent: set[int] = set()
        self._large = _Tree(self.fences.values())
        self._small: _Tree | None = None
        self._crossed: _Tree | None = None
        self._traits: _Traits | None = None

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
        self._small = self._crossed = self._traits = None

    def _current(self) -> _Traits:
        if self._traits is None:
            size = max(self.fences, default=0) + 1
            numbers = [np.zeros(size, np.int64) for _ in range(3)]
            masks = [np.zeros(size, np.bool_) for _ in range(2)]
            traits = _Traits(numbers[0], masks[0], numbers[1], masks[1], numbers[2])
            for fence in self.fences.values():
                traits.version[fence.id] = fence.version
                traits.judges_every_fix[fence.id] = fence.quality == "all"
                traits.since_batch[fence.id] = fence.since_batch
                traits.ruled[fence.id] = fence.ruled
                traits.max_gap_ms[fence.id] = round(fence.rule.max_gap_s * 1000)
            self._traits = traits
        return self._traits

    def judges_every_fix(self, fence_ids: Ints) -> Mask:
        """Which of these geofences are of quality `all`."""
        return self._current().judges_every_fix[fence_ids]

    def since_batch(self, fence_ids: Ints) -> Ints:
        """The first batch that each of these geofences judged in any version."""
        return self._current().since_batch[fence_ids]

    def ruled(self, fence_ids: Ints) -> Mask:
        """Which of these geofences have options, or had."""
        return self._current().ruled[fence_ids]

    def max_gap_ms(self, fence_ids: Ints) -> Ints:
        """The longest gap between two fixes over which each of these geofences believes in a chord."""
        return self._current().max_gap_ms[fence_ids]

    @property
    def has_every_fix(self) -> bool:
        """Whether any geofence is of quality `all`."""
        return bool(self._current().judges_every_fix.any())

    @property
    def has_ruled(self) -> bool:
        """Whether any geofence has options, or had."""
        return bool(self._current().ruled.any())

    def newest_since(self) -> int:
        """The first batch of the geofence that was made last."""
        return int(self._current().since_batch.max())

    def _shapes_of(self, fence: Ints) -> Iterator[tuple[Shapes, Ints, Ints]]:
        """The columns in which the shapes of these geofences stand, whose they are, and their places there."""
        version = self._current().version[fence]
        missing = np.ones(len(fence), np.bool_)
        for tree in self._trees():
            entry = tree.entry(fence, version)
            at = np.flatnonzero(missing & (entry >= 0))
            missing[at] = False
            if len(at):
                yield tree.shapes, at, entry[at]

    def hold(self, fence: Ints, lon: Floats, lat: Floats) -> Mask:
        """Whether geofence fence[i] holds the i-th point, its edge included. Degrees."""
        inside = np.zeros(len(fence), np.bool_)
        for shapes, at, which in self._shapes_of(fence):
            inside[at] = shapes.hold(which, lon[at], lat[at])
        return inside

    def edge_distances_m(self, fence: Ints, lon: Floats, lat: Floats) -> Floats:
        """How far the edge of geofence fence[i] is from the i-th point, on either side of it."""
        metres = np.full(len(fence), np.inf)
        for shapes, at, which in self._shapes_of(fence):
            metres[at] = shapes.edge_distances_m(which, lon[at], lat[at])
        return metres

    def touched_at(self, fence: Ints, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
        """The fraction of the i-th chord at which it first touches geofence fence[i], NaN where it never does."""
        first = np.full(len(fence), np.nan)
        for shapes, at, which in self._shapes_of(fence):
            first[at] = shapes.touched_at(which, lon0[at], lat0[at], lon1[at], lat1[at])
        return first

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
        points, version = shapely.points(lon, lat), self._current().version
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

    def near(self, lon: Floats, lat: Floats) -> set[int]:
        """The geofences whose boxes meet one of the points or, for those with `cross`, a chord between two that follow
        one another; those that notice absence, too.
        """
        found = {fence.id for fence in self.fences.values() if fence.rule.absence}
        if self.fences and len(lon):
            for tree in self._trees():
                found.update(tree.ids[tree.candidates(shapely.points(lon, lat))[1]].tolist())
        if len(lon) > 1:
            found.update(self.touched(lon[:-1], lat[:-1], lon[1:], lat[1:])[1].tolist())
        return found & self.fences.keys()

    def touched(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> tuple[Ints, Ints, Floats]:
        """(chord, fence id, fraction of the first touch) for geofences with `cross` that a chord touches.

        Args:
            lon0, lat0, lon1, lat1: degrees, (n,); chords go the short way round.
        """
        if self._crossed is None:
            self._crossed = _Tree(fence for fence in self.fences.values() if fence.rule.cross)
        tree = self._crossed
        if tree.tree is None or len(lon0) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        west, east = np.minimum(lon0, lon1), np.maximum(lon0, lon1)
        over = east - west > 180
        wide = [(np.where(over, -180.0, west), np.where(over, west, east))]
        wide.append((np.where(over, east, west), np.where(over, 180.0, east)))
        codes = []
        for left, right in wide:
            chord, entry = tree.candidates(shapely.box(left, np.minimum(lat0, lat1), right, np.maximum(lat0, lat1)))
            codes.append((chord << 32) | entry)
        code = np.unique(np.concatenate(codes))
        chord, entry = code >> 32, code & 0xFFFFFFFF
        fraction = tree.shapes.touched_at(entry, lon0[chord], lat0[chord], lon1[chord], lat1[chord])
        touched = ~np.isnan(fraction)
        chord, fence, fraction = chord[touched], tree.ids[entry[touched]], fraction[touched]
        # A shape with several boxes has several entries: one touch each, the first.
        order = np.lexsort((fraction, fence, chord))
        chord, fence, fraction = chord[order], fence[order], fraction[order]
        first = np.ones(len(chord), np.bool_)
        first[1:] = (chord[1:] != chord[:-1]) | (fence[1:] != fence[:-1])
        return chord[first], fence[first], fraction[first]
