"""The device SDK: record fixes on a device, and they arrive. Needs aiohttp and msgspec, nothing of the server."""

from tracker.sdk.device import Device, DeviceStats, RejectedFix
from tracker.sdk.errors import AccessRefused, BufferFailed, BufferInUse, DeviceClosed, DeviceStopped, StreamTakenOver
from tracker.wire.device import Fix

__all__ = [
    "AccessRefused",
    "BufferFailed",
    "BufferInUse",
    "Device",
    "DeviceClosed",
    "DeviceStats",
    "DeviceStopped",
    "Fix",
    "RejectedFix",
    "StreamTakenOver",
]
