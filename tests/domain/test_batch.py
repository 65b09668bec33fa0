"""Units at the edge of the columns: SI values in, stored integers, SI values out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scenes import Mark, columns
from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32, from_units, to_course, to_units
from tracker.domain.fix import RANGES


@pytest.mark.parametrize(("name", "per_unit"), [("alt_m", 10), ("speed_mps", 100), ("accuracy_m", 10)])
def test_every_accepted_value_is_kept_to_half_a_unit(name: str, per_unit: int) -> None:
    low, high = RANGES[name]

    @given(st.lists(st.one_of(st.floats(low, high), st.sampled_from([low, high, 0.0]), st.none()), min_size=1))
    def keeps(values: list[float | None]) -> None:
        stored = to_units(np.array(values, dtype=np.float64), per_unit)
        for value, each in zip(values, stored.tolist(), strict=True):
            read = from_units(each, per_unit)
            assert read is None if value is None else read == pytest.approx(value, abs=0.5 / per_unit + 1e-9)

    keeps()


@given(st.one_of(st.floats(0, 360), st.sampled_from([359.94, 359.95, 359.96, 360.0]), st.none()))
def test_a_course_is_kept_on_its_circle(value: float | None) -> None:
    stored = int(to_course(to_units(np.array([value], dtype=np.float64), 10))[0])
    read = from_units(stored, 10)
    if value is None or read is None:
        assert value is None
        assert read is None
    else:
        assert 0 <= stored < 3600
        off = abs(read - value)
        assert min(off, 360 - off) <= 0.05 + 1e-9


def test_full_circle_is_north() -> None:
    tenths = to_units(np.array([360.0, 0.0, 359.97, 359.94, np.nan]), 10)
    assert to_course(tenths).tolist() == [0, 0, 0, 3599, UNKNOWN_INT16]


def test_not_known_is_not_zero() -> None:
    assert to_units(np.array([np.nan, 0.0, -0.0]), 10).tolist() == [UNKNOWN_INT32, 0, 0]
    assert from_units(UNKNOWN_INT32, 10) is None
    assert from_units(UNKNOWN_INT16, 10) is None
    assert from_units(0, 10) == 0.0


def test_a_batch_is_as_long_as_its_columns() -> None:
    assert len(columns([])) == 0
    assert len(columns([Mark(1, 2, 3), Mark(1, 2, 3)])) == 2
