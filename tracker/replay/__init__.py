"""`tracker replay`: a recorded file through the device SDK into a running server, at any speed."""

from tracker.replay.bar import ReplayBar
from tracker.replay.player import Progress, replay

__all__ = ["Progress", "ReplayBar", "replay"]
