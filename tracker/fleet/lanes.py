"""Sea lanes and airways of the simulated world: way points at sea, and airports where they are.

Way points follow the traffic's usual passages; the legs between them are great circles that keep clear of land.
"""

from dataclasses import dataclass
from typing import Final

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Lane:
    """One ship's run, sailed there and back."""

    name: str
    speed_mps: float
    port_s: float
    points: tuple[Point, ...]
    fix_every_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Airport:
    """A runway's middle, and how high it lies."""

    code: str
    lon: float
    lat: float
    elevation_m: float


@dataclass(frozen=True, slots=True)
class Airway:
    """One aircraft's run between two airports, flown there and back."""

    flight: str
    start: Airport
    end: Airport
    cruise_alt_m: float


# fmt: off
LANES: Final[tuple[Lane, ...]] = (
    Lane("Ferry Suomenlinna II", 4.6, 420.0, (
        (24.9548, 60.1667), (24.9600, 60.1648), (24.9680, 60.1632), (24.9755, 60.1580), (24.9832, 60.1515),
        (24.9848, 60.1491),
    ), 10.0),
    Lane("Ferry Tallinn", 12.5, 3600.0, (
        (24.9145, 60.1470), (24.9120, 60.1350), (24.9050, 60.1200), (24.9300, 60.0900), (24.8800, 59.9000),
        (24.7900, 59.6000), (24.7600, 59.4850), (24.7650, 59.4480),
    ), 10.0),
    Lane("Cargo Saimaa", 7.0, 14_400.0, (
        (29.10, 60.05), (28.20, 60.05), (27.95, 59.93), (27.50, 59.92), (26.60, 59.85), (25.50, 59.85), (24.50, 59.78),
        (23.00, 59.50), (21.60, 59.15), (20.60, 58.50), (20.20, 57.60), (19.20, 56.40), (17.00, 55.75), (15.30, 55.50),
        (14.55, 55.28), (13.40, 54.85), (12.50, 54.60), (11.90, 54.45), (11.30, 54.57), (10.70, 54.55), (10.25, 54.46),
    )),
    Lane("Container Atlantic Heron", 10.5, 28_800.0, (
        (3.70, 52.00), (2.60, 51.55), (1.55, 51.05), (0.40, 50.50), (-2.00, 49.95), (-6.20, 49.40), (-20.00, 48.90),
        (-35.00, 46.50), (-50.00, 41.80), (-62.00, 40.90), (-69.50, 40.50), (-73.60, 40.45),
    ), 30.0),
    Lane("Tanker Malacca Star", 8.0, 21_600.0, (
        (104.40, 1.30), (103.95, 1.22), (103.60, 1.15), (103.25, 1.25), (102.30, 1.85), (101.40, 2.55), (100.60, 3.30),
        (99.40, 4.70), (97.60, 5.75), (95.30, 6.10), (88.00, 5.90), (80.60, 5.60), (79.85, 6.00), (79.60, 6.90),
    )),
    Lane("Ferry Lomaiviti", 8.5, 2700.0, (
        (179.33, -16.90), (179.55, -17.15), (179.90, -17.25), (-179.60, -17.25), (-179.10, -17.22),
    ), 10.0),
    Lane("Container Pacific Tern", 11.0, 28_800.0, (
        (139.71, 35.09), (139.68, 34.90), (139.85, 34.60), (141.50, 35.00), (150.00, 38.50), (165.00, 42.50),
        (180.00, 44.50), (-160.00, 44.30), (-140.00, 40.50), (-125.50, 35.20), (-121.00, 33.80), (-118.90, 33.75),
        (-118.25, 33.55),
    ), 30.0),
)
# fmt: on

_ANC: Final = Airport("ANC", -149.9964, 61.1741, 46.0)
_DXB: Final = Airport("DXB", 55.3644, 25.2528, 19.0)
_FRA: Final = Airport("FRA", 8.5706, 50.0333, 111.0)
_HEL: Final = Airport("HEL", 24.9633, 60.3172, 55.0)
_LAX: Final = Airport("LAX", -118.4079, 33.9425, 38.0)
_LHR: Final = Airport("LHR", -0.4543, 51.4700, 25.0)
_NRT: Final = Airport("NRT", 140.3864, 35.7647, 41.0)
_SCL: Final = Airport("SCL", -70.7858, -33.3930, 474.0)
_SFO: Final = Airport("SFO", -122.3750, 37.6190, 4.0)
_SIN: Final = Airport("SIN", 103.9894, 1.3502, 7.0)
_SYD: Final = Airport("SYD", 151.1772, -33.9461, 6.0)
AIRPORTS: Final = (_ANC, _DXB, _FRA, _HEL, _LAX, _LHR, _NRT, _SCL, _SFO, _SIN, _SYD)

AIRWAYS: Final[tuple[Airway, ...]] = (
    Airway("LUMI 831", _HEL, _LHR, 10_970.0),
    Airway("LUMI 67", _HEL, _ANC, 11_280.0),  # almost over the pole
    Airway("KAMOME 6", _NRT, _LAX, 11_580.0),  # over the antimeridian
    Airway("QASR 225", _DXB, _SFO, 10_670.0),
    Airway("MERLION 26", _SIN, _FRA, 10_360.0),
    Airway("CONDOR 27", _SYD, _SCL, 11_890.0),
)
