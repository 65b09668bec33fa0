"""What every simulated thing answers: where it truly is at a time, and how well the sky is seen there."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Truth:
    """The real state at one instant, before any receiver looks at it."""

    lon: float
    lat: float
    speed_mps: float
    course_deg: float
    alt_m: float | None = None
    obstruction: float = 0.0  # 0 under the open sky, 1 beside a wall
    covered: bool = False  # in a tunnel, a passage or a house: no satellite is heard
    attributes: dict[str, object] = field(default_factory=dict)


class Mover(Protocol):
    """Something that moves; its answer depends on nothing but its seed and the time."""

    def at(self, time_s: float) -> Truth: ...
