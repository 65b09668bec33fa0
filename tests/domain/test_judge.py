"""Judging batch by batch, in event order, against the reference."""

from hypothesis import HealthCheck, given, settings

from tests.domain.engine import Life, differences, doubts_of, expected, punctual
from tests.domain.worlds import Arrival

slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(punctual())
def test_what_comes_in_event_order_is_told_at_once(arrival: Arrival) -> None:
    life = Life()
    life.live(arrival.steps)
    assert not life.late
    assert life.doubts == doubts_of(arrival.fixes)
    assert differences(life.told, expected(arrival)) == []
