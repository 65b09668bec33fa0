"""When a recorded fix is sent, and what time it then carries. Pure: the caller brings the clock."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """One round of a replay, from `began_ms` of the clock on; without a speed everything is due at once."""

    first_ms: int
    last_ms: int
    began_ms: int
    speed: float | None = None
    to_now: bool = False

    @property
    def faster(self) -> float:
        """By how much the times that the fixes carry are compressed."""
        return self.speed if self.to_now and self.speed is not None else 1.0

    def reached_ms(self, now_ms: float) -> float:
        """How far the recording has come at this time of the clock."""
        return float(self.last_ms) if self.speed is None else self.first_ms + (now_ms - self.began_ms) * self.speed

    def due_in_s(self, due_ms: int, now_ms: float) -> float:
        """How long until then; negative when it is over."""
        return 0.0 if self.speed is None else (due_ms - self.reached_ms(now_ms)) / self.speed / 1000

    def carried_ms(self, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The times to send: as recorded; or moved to now, the moment of sending, or with no speed to an end at now."""
        if not self.to_now:
            return time_ms
        if self.speed is None:
            return time_ms + (self.began_ms - self.last_ms)
        return self.began_ms + np.floor((time_ms - self.first_ms) / self.speed).astype(np.int64)
