"""What real cabs, buses, ships, aeroplanes, boats and storms are flagged for; the figures are printed."""

import csv
import gzip
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32, Columns, Ints, to_units
from tracker.domain.fix import MAX_SPEED_MPS, Flag
from tracker.domain.plausibility import Suspect, doubts

BATCH = 4_000
OUTLIERS_IN_THE_PACIFIC = {"afsfat", "arlwras", "enkkand", "onvahe"}


class Flagged:
    """The fixes of a file, each once, in event order over all assets, judged in batches as they would come live."""

    def __init__(self, path: Path, max_speed_mps: float = MAX_SPEED_MPS) -> None:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.names = sorted({row["device"] for row in rows})
        numbers = {name: number for number, name in enumerate(self.names)}
        known = np.array(
            [(numbers[row["device"]], int(row["time_ms"]), float(row["lon"]), float(row["lat"])) for row in rows]
        )
        speed_mps = np.array([float(row.get("speed_mps") or "nan") for row in rows])
        asset, time_ms = known[:, 0].astype(np.int32), known[:, 1].astype(np.int64)
        lon, lat = (np.rint(known[:, 2:] * DEGREE).astype(np.int32)).T
        first = np.unique(np.stack([time_ms, lon, lat, asset]), axis=1, return_index=True)[1]
        none = np.full(len(first), UNKNOWN_INT32, np.int32)
        self.columns = Columns(
            asset[first], asset[first], time_ms[first], lon[first], lat[first], none, to_units(speed_mps, 100)[first],
            np.full(len(first), UNKNOWN_INT16, np.int16), none, np.zeros(len(first), np.int16), None,
        )  # fmt: skip
        self.time_ms = np.full(len(self.names), np.iinfo(np.int64).min, np.int64)
        self.lon, self.lat, self.accuracy = np.zeros((3, len(self.names)), np.int32)
        self.flags = np.zeros(len(first), np.int16)
        self._judge(max_speed_mps)
        self._print(path.name, max_speed_mps)

    def _judge(self, max_speed_mps: float) -> None:
        columns, suspects = self.columns, dict[int, Suspect]()
        self.seconds = 0.0
        for start in range(0, len(columns), BATCH):
            rows: Ints = start + np.argsort(columns.asset[start : start + BATCH], kind="stable")
            began = time.perf_counter()
            self.flags[rows], changed = doubts(columns, rows, self, suspects, max_speed_mps)
            self.seconds += time.perf_counter() - began
            suspects = {number: each for number, each in {**suspects, **changed}.items() if each is not None}
            trusted = rows[self.flags[rows] == 0]
            number = columns.asset[trusted]
            self.time_ms[number], self.accuracy[number] = columns.time_ms[trusted], columns.accuracy[trusted]
            self.lon[number], self.lat[number] = columns.lon[trusted], columns.lat[trusted]

    def by_asset(self, flag: Flag) -> Counter[str]:
        return Counter(self.names[number] for number in self.columns.asset[self.flags == flag].tolist())

    def _print(self, name: str, max_speed_mps: float) -> None:
        n = len(self.columns)
        print(
            f"{name}: {n:,} fixes of {len(self.names):,} at {max_speed_mps:g} m/s, {self.seconds / n * 1e6:.2f} µs each"
        )
        for flag in (Flag.JUMP, Flag.STALE_REPEAT):
            found = self.by_asset(flag)
            most = ", ".join(f"{asset} {count}" for asset, count in found.most_common(12))
            print(f"  {str(flag.name).lower():12} {found.total():6,} of {len(found):4,}   {most}")


@pytest.fixture(scope="module")
def tracks(test_data: Path) -> Path:
    return test_data / "tracks"


def test_of_cabs_only_gross_outliers_are_flagged(tracks: Path) -> None:
    cabs = Flagged(tracks / "sf_cabs_4days.csv.gz")
    jumps = cabs.by_asset(Flag.JUMP)
    assert jumps.keys() >= OUTLIERS_IN_THE_PACIFIC
    assert not set(cabs.names[:10]) & jumps.keys()
    assert jumps.pop("upthin") == 483, "two cabs under one name, in turn 10 to 40 km apart"
    assert jumps.total() == 73
    assert not cabs.by_asset(Flag.STALE_REPEAT), "they do not say how fast they are"


def test_aeroplanes_do_not_jump(tracks: Path) -> None:
    planes = Flagged(tracks / "planes_switzerland_20180801.csv.gz")
    assert not planes.by_asset(Flag.JUMP)
    assert planes.by_asset(Flag.STALE_REPEAT).total() == 240, "at over 60 m/s in the same place 10 s later"


def test_ships_that_share_a_number_are_told_apart(tracks: Path) -> None:
    ships = Flagged(tracks / "ais_us_20220103.csv.gz")
    jumps = ships.by_asset(Flag.JUMP)
    assert len(jumps) == 40
    assert jumps.total() == 67
    assert jumps.most_common(1) == [("311000923", 7)]


def test_buses_repeat_places(tracks: Path) -> None:
    buses = Flagged(tracks / "austin_buses_2sundays_2015.csv.gz")
    assert not buses.by_asset(Flag.JUMP)
    assert buses.by_asset(Flag.STALE_REPEAT).total() == 132


def test_storms_do_what_they_say(tracks: Path) -> None:
    assert not Flagged(tracks / "storms_nepac_1949_2013.csv.gz").flags.any()


def test_of_boats_only_the_wreck_is_flagged(tracks: Path) -> None:
    boats = Flagged(tracks / "vendee_globe_2020.csv.gz")
    assert not boats.by_asset(Flag.JUMP)
    assert boats.by_asset(Flag.STALE_REPEAT) == {"Kevin Escoffier": 2}, "reported at 5 m/s hours after it had sunk"


def test_a_threshold_of_its_own_finds_what_a_cab_cannot_do(tracks: Path) -> None:
    """At 60 m/s outliers count that begin after a minute of silence, and the fix that comes back is none."""
    cabs = Flagged(tracks / "sf_cabs_6cabs_24days.csv.gz", 60.0)
    assert (
        cabs.by_asset(Flag.JUMP).total() > Flagged(tracks / "sf_cabs_6cabs_24days.csv.gz").by_asset(Flag.JUMP).total()
    )
