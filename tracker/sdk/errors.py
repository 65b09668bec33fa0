"""What the device SDK raises on purpose; bad values raise `tracker.errors.InvalidField`."""

from tracker.errors import TrackerError


class BufferFailed(TrackerError):
    """The buffer file cannot be read or written: the disk is full, away, or the file is damaged."""


class BufferInUse(BufferFailed):
    """Another device object, here or in another process, has this buffer file open."""


class DeviceClosed(TrackerError):
    """The device object was used before it was opened, or after it was closed."""


class DeviceStopped(TrackerError):
    """Sending has ended for good and trying again cannot help; what is recorded stays in the buffer."""


class AccessRefused(DeviceStopped):
    """The server does not accept this token, or no longer knows the device."""


class StreamTakenOver(DeviceStopped):
    """Another connection sends under the stream of this buffer."""
