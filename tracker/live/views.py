"""What one viewer watches: a box, some assets, the feed. Each builds its next message when asked, from what changed
since the last one it built; nothing is queued.

A box that holds more than DENSITY assets is shown as clusters, so that a message is bounded by the screen, not by the
fleet. What is not sent as an asset is counted in a cluster.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from tracker.domain.batch import Ints
from tracker.live import cells
from tracker.live.cells import Cover
from tracker.live.hub import Hub
from tracker.live.latest import Bounds
from tracker.live.places import NOBODY, Clusters
from tracker.wire import live
from tracker.wire.live import CLUSTER, SNAPSHOT, UPDATE, Shown

DENSITY: Final = 3_000  # assets in one view, above which it shows clusters
SPARSE: Final = 2_400  # assets at which it shows assets again, so that it does not change to and fro
MOST_ASSETS: Final = 10_000  # in a view that refuses clusters
COUNTED_EXACTLY: Final = 50_000  # above so many in the cells that a box touches, it is not asked who is in the box
MOST_CLUSTERS: Final = 2_048
WITHOUT_ZOOM: Final = 512  # clusters for who does not say how large the screen is
NEAR_CELLS: Final = 64  # by which the assets of a box are searched
CLUSTER_PERIOD_S: Final = 1.0  # at least, between two looks at clusters
FINER_THAN_ZOOM: Final = 3  # a cluster is 64 to 128 pixels wide
STEADY: Final = 32  # a cluster whose middle moves less than this part of its cell is not sent again


@dataclass(slots=True)
class View:
    """A box on somebody's map."""

    id: int
    bounds: Bounds
    tags: frozenset[str]
    period_s: float
    zoom: float | None = None
    may_cluster: bool = True
    binary: bool = False
    seen: int = -1  # the last change shown; -1: a snapshot is due
    due: float = 0.0
    over: bool = False  # it was refused, and shows nothing more
    _members: Ints = field(default_factory=lambda: NOBODY)  # in no order
    _near: Cover = field(init=False)
    _clusters: "_ShownClusters | None" = None

    def __post_init__(self) -> None:
        self._near = cells.cover(self.bounds, cells.FINEST, NEAR_CELLS)

    @property
    def clustered(self) -> bool:
        """Whether it shows clusters now."""
        return self._clusters is not None

    @property
    def pause_s(self) -> float:
        """How long after a look the next may follow."""
        return self.period_s if self._clusters is None else max(self.period_s, CLUSTER_PERIOD_S)

    def message(self, hub: Hub) -> bytes | None:
        """The next snapshot or update, or None when there is nothing to show."""
        hub.chart.refresh()
        if self.seen < 0:
            shown: Shown | None = self._begin(hub)
        elif self._clusters is None:
            shown = self._update(hub)
        else:
            shown = self._update_clusters(hub, self._clusters)
        if self.over:
            return self._refusal()
        return None if shown is None else self._encoded(hub, shown)

    # Assets

    def _begin(self, hub: Hub) -> Shown:
        """Assets if they are not too many, else clusters."""
        few = hub.most_near(self._near.ranges, self.tags) <= COUNTED_EXACTLY
        inside = self._inside(hub) if few else None
        if inside is None or len(inside) > self._most:
            self.over = not self.may_cluster
            return self._begin_clusters(hub)
        return self._begin_assets(hub, inside)

    def _begin_assets(self, hub: Hub, inside: Ints) -> Shown:
        self._members, self._clusters, self.seen = inside, None, hub.latest.now
        return Shown(SNAPSHOT, self.id, inside, NOBODY)

    def _inside(self, hub: Hub) -> Ints:
        """Who is in the box now."""
        return self._held(hub, hub.near(self._near.ranges, self.tags))

    def _held(self, hub: Hub, assets: Ints) -> Ints:
        columns = hub.latest.columns
        return assets[self.bounds.hold(columns["lon"][assets], columns["lat"][assets])]

    @property
    def _most(self) -> int:
        return DENSITY if self.may_cluster else MOST_ASSETS

    def _update(self, hub: Hub) -> Shown | None:
        inside = self._held(hub, hub.changed_near(self._near.ranges, self.tags, self.seen))
        stays = hub.latest.change[self._members] <= self.seen
        stays |= hub.chart.among(self._members, inside)
        left = self._members[~stays]
        new = inside[~hub.chart.among(inside, self._members)]
        if len(left) or len(new):
            self._members = np.concatenate([self._members[stays], new])
        if len(self._members) > self._most:
            return self._begin(hub)
        self.seen = hub.latest.now
        return Shown(UPDATE, self.id, inside, left) if len(inside) or len(left) else None

    # Clusters

    def _begin_clusters(self, hub: Hub) -> Shown:
        if self.zoom is None:
            cover = cells.cover(self.bounds, cells.FINEST, WITHOUT_ZOOM)
        else:
            cover = cells.cover(self.bounds, int(self.zoom) + FINER_THAN_ZOOM, MOST_CLUSTERS)
        self._members, self._clusters = NOBODY, _ShownClusters(cover)
        ground = hub.ground(self.tags)
        self.seen = ground.as_of
        records = self._clusters.news(ground.clusters(self._clusters.cover))
        return Shown(SNAPSHOT, self.id, NOBODY, NOBODY, records, self._clusters.cover.level)

    def _update_clusters(self, hub: Hub, clusters: "_ShownClusters") -> Shown | None:
        ground = hub.ground(self.tags)
        if ground.as_of == self.seen:
            return None
        self.seen = ground.as_of
        if ground.places.count(self._near.ranges) <= DENSITY:
            inside = self._inside(hub)
            if len(inside) <= SPARSE:
                return self._begin_assets(hub, inside)
        records = clusters.news(ground.clusters(clusters.cover))
        return Shown(UPDATE, self.id, NOBODY, NOBODY, records, clusters.cover.level) if len(records) else None

    # Words

    def _encoded(self, hub: Hub, shown: Shown) -> bytes:
        if self.binary:
            return live.binary(shown, hub.chart.packed(shown.assets))
        return live.text(shown, map(hub.latest.entry, shown.assets.tolist()))

    def _refusal(self) -> bytes:
        text = f"more than {MOST_ASSETS:,} assets are in this view: ask for a smaller box, a filter, or clusters"
        return msgspec.json.encode({"type": "error", "code": "view_too_dense", "message": text, "id": self.id})


class _ShownClusters:
    """The clusters that a view has told of, by cell."""

    def __init__(self, cover: Cover) -> None:
        self.cover = cover
        size = len(cover.codes)
        self._told = Clusters(np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.int32))
        # Degrees of longitude that a cell is wide; it is no higher than that.
        self._steady = (3_600_000_000 >> cover.level) // STEADY

    def news(self, now: Clusters) -> live.Records:
        """Those that differ from what was told. A count of 0: the cell is empty again."""
        told = self._told
        moved = np.abs(now.lon.astype(np.int64) - told.lon) + np.abs(now.lat.astype(np.int64) - told.lat)
        new = np.flatnonzero((now.count != told.count) | ((now.count > 0) & (moved > self._steady)))
        for before, after in ((told.count, now.count), (told.lon, now.lon), (told.lat, now.lat)):
            before[new] = after[new]
        records = np.zeros(len(new), CLUSTER)
        records["column"], records["row"] = self.cover.columns[new], self.cover.rows[new]
        records["lon"], records["lat"], records["count"] = now.lon[new], now.lat[new], now.count[new]
        return records


@dataclass(slots=True)
class Follow:
    """Some assets, wherever they go; always as text, with all that is known of them."""

    id: int
    assets: Ints
    period_s: float
    seen: int = -1
    due: float = 0.0

    @property
    def pause_s(self) -> float:
        return self.period_s

    def message(self, hub: Hub) -> bytes | None:
        """The next snapshot or update, or None when there is nothing to show."""
        latest, first = hub.latest, self.seen < 0
        there = self.assets[self.assets < len(latest.change)]
        changed = there[latest.change[there] > max(self.seen, 0)]
        self.seen = latest.now
        known = [asset for asset in changed.tolist() if latest.known(asset)]
        gone = [asset for asset in changed.tolist() if not latest.known(asset)]
        if not first and not known and not gone:
            return None
        shown = Shown(
            SNAPSHOT if first else UPDATE,
            self.id,
            np.array(known, np.int64),
            np.array([] if first else gone, np.int64),
        )
        return live.text(shown, map(latest.entry, known))


@dataclass(slots=True)
class Events:
    """The feed from a place on; `after` is the last event shown."""

    id: int
    after: int

    def frame(self, event: bytes) -> bytes:
        return b'{"type":"event","id":%d,"event":%b}' % (self.id, event)
