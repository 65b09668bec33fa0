"""Where every asset is now: the newest trusted fix of each, as arrays by asset number, and when each last changed.

Changed only after a commit. `change[asset]` is a number that grows with every batch, so that a viewer asks for what has
changed since it last looked; nothing is queued per viewer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, UNKNOWN_INT32, Columns, Ints, Mask, from_units
from tracker.domain.fleet import Fleet
from tracker.wire import ids
from tracker.wire.live import REVISIONS, STATES
from tracker.wire.times import rfc3339

_FIELDS: Final = {
    "device": np.int32,
    "time_ms": np.int64,
    "lon": np.int32,
    "lat": np.int32,
    "alt": np.int32,
    "speed": np.int32,
    "course": np.int16,
    "accuracy": np.int32,
}

FAR_SMALLER: Final = 0.001  # in area


@dataclass(frozen=True, slots=True)
class Bounds:
    """A box in 1e-7 degrees, edges included; west > east crosses the antimeridian."""

    west: int
    south: int
    east: int
    north: int

    def hold(self, lon: NDArray[np.int32], lat: NDArray[np.int32]) -> Mask:
        rows = (lat >= self.south) & (lat <= self.north)
        if self.west <= self.east:
            return np.asarray(rows & (lon >= self.west) & (lon <= self.east))
        return np.asarray(rows & ((lon >= self.west) | (lon <= self.east)))


class Latest:
    """One owner, the publisher; everybody else reads."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.columns: dict[str, NDArray[Any]] = {name: np.zeros(1, kind) for name, kind in _FIELDS.items()}
        self.change: NDArray[np.int64] = np.zeros(1, np.int64)  # 0: no position
        self.revision: NDArray[np.uint32] = np.zeros(
            1, np.uint32
        )  # grows when an asset's name or tags change, or it goes
        self.reach_code: NDArray[np.uint8] = np.zeros(1, np.uint8)  # an index of STATES
        self.now = 0
        self.attributes: dict[int, bytes] = {}
        self.unreachable: dict[int, str] = {}  # the assets that are silent or offline, and which
        self._entries: dict[int, tuple[int, int, bytes]] = {}

    def _reserve(self, largest: int) -> None:
        have = len(self.change)
        if largest < have:
            return
        more = max(largest + 1, have * 2) - have
        self.change = np.concatenate([self.change, np.zeros(more, np.int64)])
        self.revision = np.concatenate([self.revision, np.zeros(more, np.uint32)])
        self.reach_code = np.concatenate([self.reach_code, np.zeros(more, np.uint8)])
        for name, kind in _FIELDS.items():
            self.columns[name] = np.concatenate([self.columns[name], np.zeros(more, kind)])

    def put(self, asset: Ints, columns: Columns, rows: Ints) -> None:
        """The newest trusted fixes of these assets: rows of a batch that is durable."""
        if len(asset) == 0:
            return
        self._reserve(int(asset.max()))
        self.now += 1
        self.change[asset] = self.now
        for name, column in self.columns.items():
            column[asset] = getattr(columns, name)[rows]
        for number in asset.tolist() if self.attributes else ():
            self.attributes.pop(number, None)
        if columns.attributes is not None:
            for number, row in zip(asset.tolist(), rows.tolist(), strict=True):
                value = columns.attributes[row]
                if value is not None:
                    self.attributes[number] = value

    def forget(self, asset: int) -> None:
        """A deleted asset is nowhere; viewers who held it learn of it by the change."""
        if asset < len(self.change):
            self.columns["lat"][asset] = UNKNOWN_INT32  # outside of every box
            self.reach_code[asset] = 0
            self.attributes.pop(asset, None)
        self.unreachable.pop(asset, None)
        self.touch(asset)

    def reach(self, states: Mapping[int, str]) -> None:
        """These assets are `silent` or `offline` now, or `online` again."""
        self._reserve(max(states, default=0))
        for asset, state in states.items():
            if state == "online":
                self.unreachable.pop(asset, None)
            else:
                self.unreachable[asset] = state
            self.reach_code[asset] = STATES.index(state)
            self._show_anew(asset)

    def touch(self, asset: int) -> None:
        """An asset's name or tags changed."""
        if asset < len(self.change):
            self.revision[asset] += 1
            self._show_anew(asset)

    def _show_anew(self, asset: int) -> None:
        if self.change[asset]:
            self.now += 1
            self.change[asset] = self.now

    def known(self, asset: int) -> bool:
        return asset < len(self.change) and self.change[asset] > 0 and asset in self.fleet.assets

    def changed_since(self, seen: int) -> Ints:
        """The assets that changed after change number `seen`."""
        return np.flatnonzero(self.change > seen)

    def within(self, assets: Ints, bounds: Bounds) -> Ints:
        """Those of the assets that are in the box."""
        return assets[bounds.hold(self.columns["lon"][assets], self.columns["lat"][assets])]

    def entry(self, asset: int) -> bytes:
        """The JSON of one asset as every viewer sees it, encoded once per change."""
        cached = self._entries.get(asset)
        key = (int(self.change[asset]), self.fleet.version)
        if cached is not None and cached[:2] == key:
            return cached[2]
        shown = self.state(asset)
        if asset in self.unreachable:
            shown["state"] = self.unreachable[asset]
        encoded = msgspec.json.encode(shown)
        self._entries[asset] = (*key, encoded)
        return encoded

    def names(self, assets: Iterable[int]) -> bytes:
        """What there is to know of these assets, where they are not; who is not there is left out."""
        about = [self._about(asset) for asset in assets if self.known(asset)]
        return msgspec.json.encode({"type": "names", "assets": about})

    def _about(self, asset: int) -> dict[str, Any]:
        about, revision = self.fleet.assets[asset], int(self.revision[asset]) % REVISIONS
        return {
            "id": ids.public_id(ids.ASSET, asset),
            "name": about.name,
            "tags": sorted(about.tags),
            "revision": revision,
        }

    def place(self, asset: int) -> tuple[int, int] | None:
        """Its lon and lat in 1e-7 degrees."""
        if not self.known(asset):
            return None
        return int(self.columns["lon"][asset]), int(self.columns["lat"][asset])

    def state(self, asset: int) -> dict[str, Any]:
        """What is known of an asset that has a position."""
        value = {name: int(column[asset]) for name, column in self.columns.items()}
        about = self.fleet.assets[asset]
        attributes = self.attributes.get(asset)
        return {
            "id": ids.public_id(ids.ASSET, asset),
            "name": about.name,
            "tags": sorted(about.tags),
            "lon": value["lon"] / DEGREE,
            "lat": value["lat"] / DEGREE,
            "course_deg": from_units(value["course"], 10),
            "speed_mps": from_units(value["speed"], 100),
            "alt_m": from_units(value["alt"], 10),
            "accuracy_m": from_units(value["accuracy"], 10),
            "fix_time": rfc3339(value["time_ms"]),
            "device": ids.public_id(ids.DEVICE, value["device"]),
            **({} if attributes is None else {"attributes": msgspec.Raw(attributes)}),
        }

    def places(self) -> NDArray[np.float64]:
        """Longitudes and latitudes, in degrees, of all who have a position: (2, n)."""
        here = np.flatnonzero((self.change > 0) & (self.columns["lat"] != UNKNOWN_INT32))
        return np.stack([self.columns["lon"][here], self.columns["lat"][here]]) / DEGREE

    def bounds(self) -> list[float] | None:
        """The box, in degrees, in which a look at the fleet should begin; None when nothing is known yet.

        The whole fleet, unless most of it stands so close together that the few far away would make it a dot.
        """
        corners = self.places()
        if corners.size == 0:
            return None
        low, high = corners.min(axis=1), corners.max(axis=1)
        near = corners[:, _near_the_middle(corners)]
        if np.prod(np.ptp(near, axis=1)) < FAR_SMALLER * np.prod(high - low):
            low, high = near.min(axis=1), near.max(axis=1)
        return [float(low[0]), float(low[1]), float(high[0]), float(high[1])]


def _near_the_middle(corners: NDArray[np.float64]) -> Mask:
    """Which of the points (2, n) are no outliers by Tukey's rule: within 1.5 interquartile ranges of the quartiles."""
    first, third = np.quantile(corners, 0.25, axis=1), np.quantile(corners, 0.75, axis=1)
    reach = 1.5 * (third - first)
    return np.asarray(((first - reach <= corners.T) & (third + reach >= corners.T)).all(axis=1))
