"""What viewers are shown of where every asset is, packed once per change and by asset number: the records of binary
frames, the keys that sort assets by place, and the kinds that filters ask for.

Derived from Latest, and brought up to date when viewers look, in bulk: the journey of a fix pays nothing for it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, Ints, Mask
from tracker.live import cells
from tracker.live.cells import NOWHERE, Keys
from tracker.live.kinds import NONE, Kinds
from tracker.live.latest import Latest
from tracker.wire.live import COURSES, RECORD, REVISIONS, UNKNOWN_COURSE, UNKNOWN_SPEED, Records

_NEVER: Final = np.iinfo(np.uint32).max
_WHOLE: Final = np.dtype((np.void, RECORD.itemsize))


class Chart:
    """Everybody reads; only `refresh` writes."""

    def __init__(self, latest: Latest) -> None:
        self.latest = latest
        self.as_of = 0
        self.records: Records = np.zeros(1, RECORD)
        self.keys: Keys = np.full(1, NOWHERE, np.uint64)
        self.kinds = Kinds()
        self._marks: Mask = np.zeros(1, np.bool_)  # all False, except within `among`
        self._revision: NDArray[np.uint32] = np.full(1, _NEVER, np.uint32)  # of an asset, when its kind was looked up

    def refresh(self) -> None:
        """Catch up with Latest."""
        latest = self.latest
        if self.as_of == latest.now:
            return
        self._reserve(len(latest.change))
        changed = np.flatnonzero(latest.change > self.as_of)
        self.as_of = latest.now
        self._look_up(changed[self._revision[changed] != latest.revision[changed]])
        self._pack(changed)

    def _reserve(self, size: int) -> None:
        more = size - len(self.keys)
        if more <= 0:
            return
        self.records = np.concatenate([self.records, np.zeros(more, RECORD)])
        self.keys = np.concatenate([self.keys, np.full(more, NOWHERE, np.uint64)])
        self._revision = np.concatenate([self._revision, np.full(more, _NEVER, np.uint32)])
        self._marks = np.zeros(size, np.bool_)
        self.kinds.reserve(size)

    def _look_up(self, assets: Ints) -> None:
        """Those that are new, or whose name, tags or being there have changed."""
        fleet = self.latest.fleet.assets
        for asset in assets.tolist():
            about = fleet.get(asset)
            self.kinds.put(asset, None if about is None else about.tags)
        self._revision[assets] = self.latest.revision[assets]

    def _pack(self, assets: Ints) -> None:
        latest, records = self.latest, self.records
        lon, lat, speed, course = (latest.columns[name][assets] for name in ("lon", "lat", "speed", "course"))
        time_s = np.clip(latest.columns["time_ms"][assets] // 1000, 0, 2**32 - 1)
        records["asset"][assets] = assets
        records["lon"][assets], records["lat"][assets] = lon, lat
        records["time_s"][assets] = time_s
        fast = np.minimum((speed.astype(np.int64) + 5) // 10, UNKNOWN_SPEED - 1)
        records["speed_dmps"][assets] = np.where(speed == UNKNOWN_INT32, UNKNOWN_SPEED, fast)
        turned = np.rint(course * (COURSES / 3600)).astype(np.int64) % COURSES
        records["course"][assets] = np.where(course == UNKNOWN_INT16, UNKNOWN_COURSE, turned)
        records["look"][assets] = latest.reach_code[assets] | (latest.revision[assets] % REVISIONS << 2)
        self.keys[assets] = np.where(self.kinds.of[assets] == NONE, NOWHERE, cells.keys(assets, lon, lat))

    def packed(self, assets: Ints) -> bytes:
        """Their records, side by side."""
        # As rows of bytes: copying them field by field takes ten times as long.
        return self.records.view(_WHOLE)[assets].tobytes()

    def among(self, assets: Ints, others: Ints) -> Mask:
        """Which of the assets are among the others."""
        self._marks[others] = True
        found = self._marks[assets]
        self._marks[others] = False
        return found

    def admitted(self, assets: Ints, tags: frozenset[str]) -> Mask:
        """Which of these are in the fleet and have one of the tags, if there are any."""
        return self.kinds.admitted(tags)[self.kinds.of[assets]]
