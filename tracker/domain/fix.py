"""What a fix may be: ranges, the codes of what is rejected, and the flags of what is kept but not believed.

No numpy here: the device SDK imports this module.
"""

import enum
from typing import Final

MAX_FIXES_PER_MESSAGE: Final = 1_000
MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_ATTRIBUTES_BYTES: Final = 4 * 1024
MAX_STREAM_NAME_LENGTH: Final = 128

# Inclusive ranges, SI units and degrees. A value outside rejects its fix.
RANGES: Final[dict[str, tuple[float, float]]] = {
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 180.0),
    "alt_m": (-12_000.0, 100_000.0),
    "speed_mps": (0.0, 100_000.0),
    "accuracy_m": (0.0, 1e7),
    "course_deg": (0.0, 360.0),
}
REJECT_CODES: Final[dict[str, str]] = {
    "lat": "latitude_out_of_range",
    "lon": "longitude_out_of_range",
    "alt_m": "altitude_out_of_range",
    "speed_mps": "speed_out_of_range",
    "accuracy_m": "accuracy_out_of_range",
    "course_deg": "course_out_of_range",
}

OLDEST_MS: Final = -2_208_988_800_000  # 1900-01-01T00:00:00Z
FUTURE_REJECTED_AFTER_MS: Final = 24 * 3600 * 1000
CLOCK_AHEAD_AFTER_MS: Final = 60 * 1000


class Flag(enum.IntFlag):
    """Why a stored fix decides nothing: it moves no asset, and only geofences of quality `all` judge it."""

    ZERO_ISLAND = 1  # exactly 0, 0: a receiver's way of saying that it has no position
    POOR_ACCURACY = 2
    CLOCK_AHEAD = 4
    STANDBY = 8  # sent by a device that is not its asset's active one
    JUMP = 16  # too far from the newest trusted fix to have come from there
    STALE_REPEAT = 32  # the place of the fix before, of an asset that says that it moves


FLAG_NAMES: Final[dict[Flag, str]] = {flag: str(flag.name).lower() for flag in Flag}
POOR_ACCURACY_OVER_M: Final = 1_000.0  # a cell tower's guess, not a receiver's fix
MAX_SPEED_MPS: Final = 350.0  # over the ground; airliners with the wind behind them stay below


def flag_names(flags: int) -> list[str]:
    """The names of the set bits, in a fixed order."""
    return [name for flag, name in FLAG_NAMES.items() if flags & flag]
