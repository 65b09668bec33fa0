"""A whole history judged again, in stretches, against the reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.engine import differences, doubts_of, expected, folded, is_close_call, some
from tests.domain.worlds import World, worlds


@pytest.mark.timeout(3_600)
@some(50)
@given(worlds(assets=1), st.sets(st.integers(1, 40)))
def test_what_came_anyhow_is_judged_again_as_what_happened(world: World, cuts: set[int]) -> None:
    told, doubts = folded(world.arrived, sorted(cuts))
    assert doubts == doubts_of(world.arrived.fixes)
    wanted = [each for each in expected(world.arrived) if each.fence not in world.arrived.deleted]
    assert differences(told, wanted) == [] or is_close_call(world.arrived)
