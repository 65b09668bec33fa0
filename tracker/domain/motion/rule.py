"""What counts as standing still, as numbers: the three that a caller may choose and those that are the same for all."""

from dataclasses import dataclass
from typing import Final

RANGES: Final[dict[str, tuple[float, float]]] = {
    "min_stop_s": (30.0, 86_400.0),
    "stop_diameter_m": (5.0, 10_000.0),
    "max_gap_s": (30.0, 604_800.0),
}

LONGEST_SILENCE_MS: Final = 31 * 86_400_000  # over it, what was before has nothing to do with what comes after
LINE_TOLERANCE_M: Final = 5.0  # what a good receiver's place wanders by while it stands
LINE_STRETCH_MS: Final = 120_000  # of the clock, so that a line is the same wherever reading began
LINE_STEP_MS: Final = 1_000  # of several fixes in one second of the clock a line has the first: the others add noise
SHORTEST_CHORD_S: Final = 5.0  # over less, a chord's speed is the receiver's noise


@dataclass(frozen=True, slots=True)
class Rule:
    """A stop lasts at least `min_stop_s` and scatters no wider than a disc of `stop_diameter_m`; a silence longer than
    `max_gap_s` is told, and no trip is believed across it.
    """

    min_stop_s: float = 300.0
    stop_diameter_m: float = 100.0
    max_gap_s: float = 900.0

    @property
    def stop_ms(self) -> int:
        return round(self.min_stop_s * 1000)

    @property
    def gap_ms(self) -> int:
        return round(self.max_gap_s * 1000)
