"""What a fix may be, as the protocol states it."""

import pytest

from tracker.domain.fix import FLAG_NAMES, RANGES, REJECT_CODES, Flag, flag_names


def test_the_ranges_are_those_of_the_protocol() -> None:
    assert RANGES == {
        "lat": (-90, 90),
        "lon": (-180, 180),
        "alt_m": (-12_000, 100_000),
        "speed_mps": (0, 100_000),
        "accuracy_m": (0, 10_000_000),
        "course_deg": (0, 360),
    }
    assert REJECT_CODES.keys() == RANGES.keys()
    assert REJECT_CODES["lat"] == "latitude_out_of_range"


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0, []),
        (1, ["zero_island"]),
        (2, ["poor_accuracy"]),
        (4, ["clock_ahead"]),
        (8, ["standby"]),
        (12, ["clock_ahead", "standby"]),
        (15, ["zero_island", "poor_accuracy", "clock_ahead", "standby"]),
    ],
)
def test_flags_have_names(flags: int, names: list[str]) -> None:
    assert flag_names(flags) == names


def test_every_flag_fits_the_column() -> None:
    assert set(FLAG_NAMES) == set(Flag)
    assert all(0 < flag < 2**15 for flag in Flag)
