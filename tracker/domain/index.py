"""An index of the geofences in force: which of them hold which points, and which are touched on the way between two.

It is made of trees that never change, each larger than the next: a change makes a small one, and small ones are joined.
So a change costs little, however many geofences there are, and each is joined as often as their number can be halved.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from tracker.domain.batch import Floats, Ints, Mask
from tracker.domain.geodesy import Box
from tracker.domain.geofence import Geofence
from tracker.domain.shape import Shapes, all_boxes


class _Tree:
    """A static tree over the boxes of some geofences, which stand in the order of their numbers, each once."""

    def __init__(self, ids: Ints, versions: Ints, crossed: Mask, shapes: Shapes, owner: Ints, corners: Floats) -> None:
        """Args: owner: the geofence, by its place, of each of the boxes `corners` (n, 4)."""
        self.ids, self.versions, self.crossed = ids, versions, crossed
        self.shapes = shapes
        self.owner, self.corners = owner, corners
        self._boxes = shapely.STRtree(shapely.box(*corners.T))
        self._boxes.query(shapely.Point(0, 0))  # the first question builds it: better now than under a batch
        cross = np.flatnonzero(crossed[owner])
        self._cross_owner = owner[cross]
        self._cross_boxes = shapely.STRtree(shapely.box(*corners[cross].T)) if len(cross) else None

    @classmethod
    def of(cls, fences: Iterable[Geofence]) -> "_Tree":
        some = sorted(fences, key=lambda fence: fence.id)
        owner, corners = all_boxes([fence.shape for fence in some])
        return cls(
            np.array([fence.id for fence in some], np.int64),
            np.array([fence.version for fence in some], np.int64),
            np.array([fence.rule.cross for fence in some], np.bool_),
            Shapes([fence.shape for fence in some]),
            owner,
            corners,
        )

    def joined(self, other: "_Tree", version: Ints) -> "_Tree":
        """What is still in force of both. version: the one in force, by fence id, 0 for none."""
        ids = np.concatenate([self.ids, other.ids])
        versions = np.concatenate([self.versions, other.versions])
        rows = np.flatnonzero(version[ids] == versions)
        _, once = np.unique(ids[rows], return_index=True)
        rows = rows[once]
        place = np.full(len(ids), -1, np.int64)
        place[rows] = np.arange(len(rows))
        owner = place[np.concatenate([self.owner, other.owner + len(self.ids)])]
        crossed = np.concatenate([self.crossed, other.crossed])
        corners = np.concatenate([self.corners, other.corners])[owner >= 0]
        shapes = self.shapes.joined(other.shapes).take(rows)
        return _Tree(ids[rows], versions[rows], crossed[rows], shapes, owner[owner >= 0], corners)

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, fence: Ints, version: Ints) -> Ints:
        """The place of each of these versions, -1 where it is not here."""
        if len(self.ids) == 0:
            return np.full(len(fence), -1, np.int64)
        found = np.minimum(np.searchsorted(self.ids, fence), len(self.ids) - 1)
        return np.where((self.ids[found] == fence) & (self.versions[found] == version), found, -1)

    def candidates(self, geometries: Any) -> tuple[Ints, Ints]:
        """(position, place) of every geofence one of whose boxes meets the geometry's, each pair once."""
        return _pairs(self._boxes.query(geometries), self.owner)

    def meeting(self, geometries: Any) -> tuple[Ints, Ints]:
        """(row in corners, place) of every box of the geofences one of whose boxes meets one of the geometries."""
        meets = np.zeros(len(self), np.bool_)
        meets[self.owner[self._boxes.query(geometries)[1]]] = True
        row = np.flatnonzero(meets[self.owner])
        return row, self.owner[row]

    def may_cross(self, geometries: Any) -> tuple[Ints, Ints]:
        """The same as candidates of geofences with `cross`."""
        if self._cross_boxes is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return _pairs(self._cross_boxes.query(geometries), self._cross_owner)


_NONE: Final = np.empty(0, np.int64)


def _pairs(found: Any, owner: Ints) -> tuple[Ints, Ints]:
    if not found.size:
        return _NONE, _NONE
    code = np.unique((found[0] << 32) | owner[found[1]])
    return code >> 32, code & 0xFFFFFFFF


class _Summary(NamedTuple):
    """What is asked of all geofences in force at every batch."""

    has_every_fix: bool
    has_seen_all: bool
    has_ruled: bool
    newest_since: int


class _Traits:
    """What is asked of many geofences at once, by fence id. version 0: none is in force."""

    def __init__(self) -> None:
        self.version = np.zeros(1, np.int64)
        self.judges_every_fix = np.zeros(1, np.bool_)
        self.sees_all = np.zeros(1, np.bool_)
        self.since_batch = np.zeros(1, np.int64)
        self.ruled = np.zeros(1, np.bool_)
        self.max_gap_ms = np.zeros(1, np.int64)
        self._summary: _Summary | None = None

    @property
    def summary(self) -> _Summary:
        if self._summary is None:
            self._summary = _Summary(
                bool(self.judges_every_fix.any()),
                bool(self.sees_all.any()),
                bool(self.ruled.any()),
                int(self.since_batch.max()),
            )
        return self._summary

    def put(self, fence: Geofence) -> None:
        if fence.id >= len(self.version):
            for name, column in self._columns():
                grown = max(fence.id + 1, 2 * len(column)) - len(column)
                setattr(self, name, np.concatenate([column, np.zeros(grown, column.dtype)]))
        at = fence.id
        self.version[at], self.since_batch[at] = fence.version, fence.since_batch
        self.judges_every_fix[at], self.sees_all[at] = fence.quality == "all", fence.sees_all
        self.ruled[at], self.max_gap_ms[at] = fence.ruled, round(fence.rule.max_gap_s * 1000)
        self._summary = None

    def remove(self, fence_id: int) -> None:
        for _, column in self._columns():
            column[fence_id] = 0
        self._summary = None

    def _columns(self) -> list[tuple[str, NDArray[Any]]]:
        return [(name, column) for name, column in vars(self).items() if isinstance(column, np.ndarray)]


class FenceIndex:
    """The geofences in force.

    Owned by the writer: changed between batches only. `partial`: assets may be inside of geofences that are not in this
    index, of which nothing is to be decided.
    """

    def __init__(self, fences: Iterable[Geofence] = (), *, partial: bool = False) -> None:
        self.fences: dict[int, Geofence] = {}
        self.partial = partial
        self._trees: list[_Tree] = []  # each at least twice as large as the next
        self._fresh: set[int] = set()  # geofences that are in no tree
        self.absences: set[int] = set()  # of those in force, the ones that notice absence
        self._traits = _Traits()
        for fence in fences:
            self.put(fence)
        self._current()

    def put(self, fence: Geofence) -> None:
        """Add a geofence, or a new version of one."""
        old = self.fences.get(fence.id)
        self.fences[fence.id] = fence
        self._traits.put(fence)
        if old is None or old.version != fence.version:
            self._fresh.add(fence.id)
        (self.absences.add if fence.rule.absence else self.absences.discard)(fence.id)

    def remove(self, fence_id: int) -> Geofence | None:
        fence = self.fences.pop(fence_id, None)
        if fence is not None:
            self._traits.remove(fence_id)
            self._fresh.discard(fence_id)
            self.absences.discard(fence_id)
        return fence

    def _current(self) -> list[_Tree]:
        """The trees, with everything in them."""
        if self._fresh:
            self._trees.append(_Tree.of(self.fences[fence_id] for fence_id in self._fresh))
            self._fresh.clear()
            while len(self._trees) > 1 and 2 * len(self._trees[-1]) > len(self._trees[-2]):
                small, large = self._trees.pop(), self._trees.pop()
                self._trees.append(large.joined(small, self._traits.version))
        return self._trees

    def judges_every_fix(self, fence_ids: Ints) -> Mask:
        """Which of these geofences are of quality `all`."""
        return self._traits.judges_every_fix[fence_ids]

    def since_batch(self, fence_ids: Ints) -> Ints:
        """The first batch that each of these geofences judged in any version."""
        return self._traits.since_batch[fence_ids]

    def ruled(self, fence_ids: Ints) -> Mask:
        """Which of these geofences have options, or had."""
        return self._traits.ruled[fence_ids]

    def max_gap_ms(self, fence_ids: Ints) -> Ints:
        """The longest gap between two fixes over which each of these geofences believes in a chord."""
        return self._traits.max_gap_ms[fence_ids]

    @property
    def has_every_fix(self) -> bool:
        """Whether any geofence is of quality `all`."""
        return self._traits.summary.has_every_fix

    @property
    def has_seen_all(self) -> bool:
        """Whether any geofence is of quality `all`, or was."""
        return self._traits.summary.has_seen_all

    @property
    def has_ruled(self) -> bool:
        """Whether any geofence has options, or had."""
        return self._traits.summary.has_ruled

    def newest_since(self) -> int:
        """The first batch of the geofence that was made last."""
        return self._traits.summary.newest_since

    def _shapes_of(self, fence: Ints) -> Iterator[tuple[Shapes, Ints, Ints]]:
        """The columns in which the shapes of these geofences stand, whose they are, and their places there."""
        version = self._traits.version[fence]
        missing = np.ones(len(fence), np.bool_)
        for tree in self._current():
            place = tree.place(fence, version)
            at = np.flatnonzero(missing & (place >= 0))
            missing[at] = False
            if len(at):
                yield tree.shapes, at, place[at]

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

    def query(self, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """(point, fence id) for every geofence in force that holds the point, each pair once, sorted by point then
        fence.

        Args:
            lon, lat: degrees, (n,).
        """
        if not self.fences or len(lon) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        points, found = shapely.points(lon, lat), []
        for tree in self._current():
            point, place = self._in_force(tree, *tree.candidates(points))
            if not len(point):
                continue
            inside = tree.shapes.hold(place, lon[point], lat[point])
            found.append((point[inside] << 32) | tree.ids[place[inside]])
        codes = np.unique(np.concatenate(found)) if any(map(len, found)) else _NONE
        return codes >> 32, codes & 0xFFFFFFFF

    def _in_force(self, tree: _Tree, position: Ints, place: Ints) -> tuple[Ints, Ints]:
        """Those pairs whose geofence is in force as it stands in the tree."""
        current = self._traits.version[tree.ids[place]] == tree.versions[place]
        return position[current], place[current]

    def meeting(self, boxes: Sequence[Box]) -> tuple[Ints, Floats]:
        """The geofences in force that have a box which meets one of these: every box of theirs, in the order of their
        numbers, as whose each is, and (n, 4) its west, south, east and north.

        Args:
            boxes: degrees; longitudes may reach up to a turn beyond ±180.
        """
        west, south, east, north = np.array(boxes, np.float64).reshape(-1, 4).T
        asked = np.concatenate([shapely.box(west + turn, south, east + turn, north) for turn in (-360, 0, 360)])
        missing = np.ones(len(self._traits.version), np.bool_)  # one may stand in two trees
        owners: list[Ints] = [np.empty(0, np.int64)]
        corners = [np.empty((0, 4))]
        for tree in self._current():
            row, place = self._in_force(tree, *tree.meeting(asked))
            new = missing[tree.ids[place]]
            owners.append(tree.ids[place[new]])
            corners.append(tree.corners[row[new]])
            missing[owners[-1]] = False
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        return owner[order], np.concatenate(corners)[order]

    def near(self, lon: Floats, lat: Floats) -> set[int]:
        """The geofences whose boxes meet one of the points or, for those with `cross`, a chord between two that follow
        one another; those that notice absence, too.
        """
        found = set(self.absences)
        if len(lon):
            for tree in self._current():
                found.update(tree.ids[tree.candidates(shapely.points(lon, lat))[1]].tolist())
        if len(lon) > 1:
            found.update(self.touched(lon[:-1], lat[:-1], lon[1:], lat[1:])[1].tolist())
        return found & self.fences.keys()

    def touched(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> tuple[Ints, Ints, Floats]:
        """(chord, fence id, fraction of the first touch) for geofences with `cross` that a chord touches.

        Args:
            lon0, lat0, lon1, lat1: degrees, (n,); chords go the short way round.
        """
        chords: list[Ints] = [np.empty(0, np.int64)]
        fences: list[Ints] = [np.empty(0, np.int64)]
        fractions = [np.empty(0)]
        ways = _ways(lon0, lat0, lon1, lat1) if len(lon0) else []
        for tree in self._current() if len(lon0) else []:
            code = np.unique(np.concatenate([(c << 32) | p for c, p in map(tree.may_cross, ways)]))
            chord, place = self._in_force(tree, code >> 32, code & 0xFFFFFFFF)
            fraction = tree.shapes.touched_at(place, lon0[chord], lat0[chord], lon1[chord], lat1[chord])
            touched = ~np.isnan(fraction)
            chords.append(chord[touched])
            fences.append(tree.ids[place[touched]])
            fractions.append(fraction[touched])
        chord, fence, fraction = np.concatenate(chords), np.concatenate(fences), np.concatenate(fractions)
        order = np.lexsort((fence, chord))
        chord, fence, fraction = chord[order], fence[order], fraction[order]
        first = np.ones(len(chord), np.bool_)  # one that was described anew may stand in two trees
        first[1:] = (chord[1:] != chord[:-1]) | (fence[1:] != fence[:-1])
        return chord[first], fence[first], fraction[first]


def _ways(lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Sequence[Any]:
    """Boxes of chords, as many as chords twice: one that goes over ±180 has a box on either side."""
    west, east = np.minimum(lon0, lon1), np.maximum(lon0, lon1)
    south, north = np.minimum(lat0, lat1), np.maximum(lat0, lat1)
    over = east - west > 180
    left = shapely.box(np.where(over, -180.0, west), south, np.where(over, west, east), north)
    right = shapely.box(np.where(over, east, west), south, np.where(over, 180.0, east), north)
    return [left, right]
