"""Who is followed and who sends, in memory: what the journey asks about a device or an asset at every fix.

The tables `asset` and `device` are the truth; whoever commits a change to them applies it here in the same breath.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tracker.domain.batch import Floats
from tracker.domain.fix import MAX_SPEED_MPS, POOR_ACCURACY_OVER_M
from tracker.domain.geofence import Geofence


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Beyond which an asset's fixes are not believed."""

    max_speed_mps: float = MAX_SPEED_MPS
    max_accuracy_m: float = POOR_ACCURACY_OVER_M


DEFAULTS: Final = Thresholds()


@dataclass(slots=True)
class Asset:
    """What is followed; `active_device` is the one whose fixes move it."""

    id: int
    name: str
    tags: frozenset[str] = frozenset()
    attributes: dict[str, Any] = field(default_factory=dict)
    active_device: int | None = None
    thresholds: Thresholds = DEFAULTS


@dataclass(slots=True)
class Device:
    """What sends; `asset` is where its next fixes go."""

    id: int
    name: str
    asset: int
    config: dict[str, Any] = field(default_factory=dict)


class Fleet:
    """Every live asset and device by number; `version` grows with each change, so that what was derived can be told
    stale.
    """

    def __init__(self) -> None:
        self.assets: dict[int, Asset] = {}
        self.devices: dict[int, Device] = {}
        self.version = 0

    def put_asset(self, asset: Asset) -> None:
        self.assets[asset.id] = asset
        self.version += 1

    def put_device(self, device: Device) -> None:
        self.devices[device.id] = device
        self.version += 1

    def remove_asset(self, asset_id: int) -> None:
        self.assets.pop(asset_id, None)
        self.version += 1

    def remove_device(self, device_id: int) -> None:
        self.devices.pop(device_id, None)
        self.version += 1

    def thresholds(self, asset_id: int) -> Thresholds:
        """Those of an asset, also of one that is gone: its devices may still send."""
        asset = self.assets.get(asset_id)
        return DEFAULTS if asset is None else asset.thresholds

    def limits(self, asset_ids: Iterable[int]) -> tuple[Floats, Floats]:
        """max_speed_mps and max_accuracy_m of each, to be repeated for their fixes."""
        found = [self.thresholds(asset_id) for asset_id in asset_ids]
        return np.array([each.max_speed_mps for each in found]), np.array([each.max_accuracy_m for each in found])

    def is_standby(self, device: Device) -> bool:
        """Whether another device of the same asset is the active one."""
        asset = self.assets.get(device.asset)
        return asset is not None and asset.active_device not in (None, device.id)

    def judged_by(self, asset_id: int, fence: Geofence) -> bool:
        """Whether a geofence judges an asset, by its filter and the tags that the asset has now."""
        if fence.rule.assets is None:
            return True
        asset = self.assets.get(asset_id)
        return fence.rule.assets.admits(asset_id, asset.tags if asset is not None else frozenset())
