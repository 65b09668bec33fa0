"""Whose turn it is: pure state, driven by hand and by chance."""

from collections import Counter, defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tracker.hooks.lanes import (
    IN_FLIGHT,
    IN_FLIGHT_PER_HOOK,
    LANES_PER_HOOK,
    MIN_PAGE,
    PAGE,
    ROWS,
    Endpoint,
    Lane,
    Lanes,
    Pending,
)
from tracker.hooks.schedule import Answer, Series


def hooks(*ids: int) -> list[dict[str, Any]]:
    return [{"id": id_, "url": "https://example.com", "secret": b"", "failing_since": None} for id_ in ids]


def pending(event: int) -> Pending:
    return Pending(event, Series(), {"id": event})


def filled(lanes: Lanes, hook: int, count: int, rows: int = 2) -> Endpoint:
    endpoint = lanes.endpoints[hook]
    endpoint.swept()
    for key in range(1, count + 1):
        lane = lanes.open(endpoint, key)
        assert lane is not None
        lanes.load(lane, [pending(n) for n in range(1, rows + 1)], more=False)
    return endpoint


def turns(lanes: Lanes) -> list[Lane]:
    taken = []
    while (lane := lanes.next_turn()) is not None:
        taken.append(lane)
    return taken


def test_a_lane_has_one_attempt_at_a_time() -> None:
    lanes = Lanes()
    lanes.update(hooks(1))
    filled(lanes, 1, 3)
    assert len(turns(lanes)) == 3


def test_a_hook_has_sixteen_attempts_at_a_time_and_all_hooks_sixty_four() -> None:
    lanes = Lanes()
    lanes.update(hooks(*range(1, 11)))
    for hook in range(1, 11):
        filled(lanes, hook, 30)
    taken = turns(lanes)
    of_hook = Counter(lane.endpoint.id for lane in taken)
    assert len(taken) == IN_FLIGHT == 64
    assert max(of_hook.values()) - min(of_hook.values()) <= 1
    assert max(of_hook.values()) <= IN_FLIGHT_PER_HOOK == 16


def test_silence_narrows_a_hook_and_answers_widen_it() -> None:
    lanes = Lanes()
    lanes.update(hooks(1))
    endpoint = filled(lanes, 1, 30)
    for _ in range(9):
        endpoint.heard(Answer(None))
    assert len(turns(lanes)) == 1
    for _ in range(30):
        endpoint.heard(Answer(503))
    assert len(turns(lanes)) == IN_FLIGHT_PER_HOOK - 1


def test_a_hook_has_a_bounded_number_of_lanes_and_remembers_that_it_left_some() -> None:
    lanes = Lanes()
    lanes.update(hooks(1))
    endpoint = filled(lanes, 1, LANES_PER_HOOK)
    assert not endpoint.crowded
    assert lanes.open(endpoint, 99_999) is None
    assert endpoint.crowded


def test_pages_shrink_when_many_lanes_share_the_memory() -> None:
    lanes = Lanes()
    lanes.update(hooks(*range(1, 101)))
    assert lanes.page_size() == PAGE
    for hook in range(1, 11):
        filled(lanes, hook, LANES_PER_HOOK)
    assert lanes.page_size() == ROWS // (10 * LANES_PER_HOOK)
    for hook in range(11, 101):
        filled(lanes, hook, LANES_PER_HOOK)
    assert lanes.page_size() == MIN_PAGE


def test_a_retired_hook_starts_nothing_more_and_is_forgotten_when_its_attempts_have_ended() -> None:
    lanes = Lanes()
    lanes.update(hooks(1))
    filled(lanes, 1, 5)
    running = lanes.next_turn()
    assert running is not None
    lanes.update([])
    assert turns(lanes) == []
    lanes.done(running, held=False)
    lanes.saved(running)
    assert not lanes.endpoints


def test_a_hook_that_comes_back_waits_for_the_attempt_that_was_under_way() -> None:
    lanes = Lanes()
    lanes.update(hooks(1))
    endpoint = filled(lanes, 1, 1)
    running = lanes.next_turn()
    assert running is not None
    lanes.update([])
    lanes.update(hooks(1))
    endpoint.swept()
    lanes.offer(endpoint, 1)
    assert turns(lanes) == []
    lanes.done(running, held=False)
    lanes.saved(running)
    assert endpoint.crowded  # so that a sweep finds the lane again
    assert 1 not in endpoint.lanes


@given(st.data())
def test_rows_leave_in_order_one_by_one_and_none_is_left_behind(data: st.DataObject) -> None:
    lanes = Lanes()
    lanes.update(hooks(1, 2))
    for endpoint in lanes.endpoints.values():
        endpoint.swept()
    table = {(hook, key): list(range(1, data.draw(st.integers(0, 12)) + 1)) for hook in (1, 2) for key in range(1, 5)}
    for hook, key in table:
        lanes.offer(lanes.endpoints[hook], key)
    sent: dict[tuple[int, int], list[int]] = defaultdict(list)
    running: list[Lane] = []
    unsaved: list[Lane] = []
    while len(lanes):
        for lane in lanes.wanting():
            rest = [pending(n) for n in table[lane.endpoint.id, lane.key] if n > lane.last_event]
            lanes.load(lane, rest[:3], more=len(rest) > 3)
        while (taken := lanes.next_turn()) is not None:
            assert taken not in running
            running.append(taken)
            sent[taken.endpoint.id, taken.key].append(taken.rows[0].id)
        if running:
            lane = running.pop(data.draw(st.integers(0, len(running) - 1)))
            lanes.done(lane, held=False)
            unsaved.append(lane)
        if not running or data.draw(st.booleans()):
            for lane in unsaved:
                lanes.saved(lane)
            unsaved.clear()
    assert dict(sent) == {key: events for key, events in table.items() if events}
