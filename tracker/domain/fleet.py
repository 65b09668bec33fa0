"""Who is followed and who sends, in memory: what the journey asks about a device or an asset at every fix.

The tables `asset` and `device` are the truth; whoever commits a change to them applies it here in the same breath.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Asset:
    """What is followed; `active_device` is the one whose fixes move it."""

    id: int
    name: str
    tags: frozenset[str] = frozenset()
    attributes: dict[str, Any] = field(default_factory=dict)
    active_device: int | None = None


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

    def is_standby(self, device: Device) -> bool:
        """Whether another device of the same asset is the active one."""
        asset = self.assets.get(device.asset)
        return asset is not None and asset.active_device not in (None, device.id)
