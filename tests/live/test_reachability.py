"""Which assets are heard of: by their active devices, against what was told, over restarts."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tracker.domain.fleet import Asset, Device, Fleet
from tracker.domain.reachability import (
    CLOSED,
    LOST,
    NEVER,
    NO_MESSAGES,
    OFFLINE,
    ONLINE,
    SERVER_RESTARTED,
    SILENT,
    Connection,
)
from tracker.live.reachability import Reachability
from tracker.store.newest import Heard
from tracker.store.reachability import Tellings, Told, Traces

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000
NOBODY = np.array([], np.int64)


def fleet_of(assets: int = 3) -> Fleet:
    """Asset n has the active device n; asset 1 has a standby, device 101."""
    fleet = Fleet()
    for number in range(1, assets + 1):
        fleet.put_asset(Asset(number, f"asset {number}", active_device=number))
        fleet.put_device(Device(number, f"device {number}", number))
    fleet.put_device(Device(101, "spare", 1))
    return fleet


def reachability(fleet: Fleet | None = None) -> Reachability:
    made = Reachability(fleet or fleet_of())
    made.restore(Traces(), Tellings.of([]), START_MS)
    return made


def sent(made: Reachability, now_ms: int, *devices: int) -> None:
    """Fixes over sockets."""
    made.hear(np.array(devices), NOBODY, np.array(devices), now_ms)


def tell(made: Reachability, now_ms: int, limit: int = 1_000) -> list[tuple[int, int, str | None]]:
    """What is told now: asset, state, reason."""
    changes = made.changes(now_ms, limit)
    made.told(Tellings.of([each.told for each in changes]))
    return [(each.asset, each.now.state, each.now.reason) for each in changes]


def of(made: Reachability, asset: int, now_ms: int) -> Connection:
    return made.of_assets([asset], now_ms)[0]


# Telling -------------------------------------------------------------------------------------------------------------


def test_each_change_is_told_once_and_the_first_word_is_none() -> None:
    made = reachability()
    sent(made, START_MS, 1, 2)
    assert tell(made, START_MS) == []
    sent(made, START_MS + MINUTE_MS, 2)
    assert tell(made, START_MS + 2 * MINUTE_MS) == [(1, SILENT, NO_MESSAGES)]
    assert tell(made, START_MS + 2 * MINUTE_MS) == []
    assert tell(made, START_MS + 12 * MINUTE_MS) == [(1, OFFLINE, NO_MESSAGES), (2, OFFLINE, NO_MESSAGES)]
    sent(made, START_MS + 13 * MINUTE_MS, 1)
    assert tell(made, START_MS + 13 * MINUTE_MS) == [(1, ONLINE, None)]


def test_what_is_not_told_yet_is_told_next() -> None:
    made = reachability()
    sent(made, START_MS, 1, 2, 3)
    late = START_MS + 5 * MINUTE_MS
    assert tell(made, late, limit=2) == [(1, SILENT, NO_MESSAGES), (2, SILENT, NO_MESSAGES)]
    assert tell(made, late, limit=2) == [(3, SILENT, NO_MESSAGES)]


def test_what_changed_and_changed_back_before_it_was_told_is_not_told() -> None:
    made = reachability()
    sent(made, START_MS, 1)
    assert of(made, 1, START_MS + 5 * MINUTE_MS).state == SILENT
    sent(made, START_MS + 5 * MINUTE_MS, 1)
    assert tell(made, START_MS + 5 * MINUTE_MS) == []


def test_an_asset_is_as_reachable_as_its_active_device() -> None:
    fleet = fleet_of()
    made = reachability(fleet)
    sent(made, START_MS, 1)
    now_ms = START_MS + 5 * MINUTE_MS
    sent(made, now_ms, 101)
    assert tell(made, now_ms) == [(1, SILENT, NO_MESSAGES)]
    assert [each.state for each in made.of_devices([1, 101], now_ms)] == [SILENT, ONLINE]
    fleet.put_asset(replace(fleet.assets[1], active_device=101))
    made.fleet_changed([1], [])
    assert tell(made, now_ms) == [(1, ONLINE, None)]
    fleet.put_asset(replace(fleet.assets[1], active_device=None))
    made.fleet_changed([1], [])
    assert of(made, 1, now_ms).state == NEVER
    assert tell(made, now_ms) == []


def test_an_asset_that_is_deleted_is_not_told_of() -> None:
    fleet = fleet_of()
    made = reachability(fleet)
    sent(made, START_MS, 1)
    fleet.remove_asset(1)
    fleet.remove_device(1)
    made.fleet_changed([1], [1])
    assert tell(made, START_MS + 60 * MINUTE_MS) == []
    assert 1 not in made.assets_in(NEVER, START_MS)


def test_a_changed_configuration_holds_at_once() -> None:
    fleet = fleet_of()
    made = reachability(fleet)
    sent(made, START_MS, 1)
    fleet.put_device(replace(fleet.devices[1], config={"silent_after_s": 3_600}))
    made.fleet_changed([], [1])
    assert of(made, 1, START_MS + 59 * MINUTE_MS).state == ONLINE
    fleet.put_device(replace(fleet.devices[1], config={}))
    made.fleet_changed([], [1])
    assert of(made, 1, START_MS + 59 * MINUTE_MS).state == OFFLINE


def test_assets_are_found_by_state_and_counted() -> None:
    fleet = fleet_of()
    made = reachability(fleet)
    sent(made, START_MS, 1)
    sent(made, START_MS + 9 * MINUTE_MS, 2)
    now_ms = START_MS + 10 * MINUTE_MS
    assert [made.assets_in(state, now_ms).tolist() for state in (NEVER, ONLINE, SILENT, OFFLINE)] == [[3], [2], [], [1]]
    assert made.counts(now_ms) == {"never": 1, "online": 1, "silent": 0, "offline": 1}


def test_a_reader_ahead_of_memory_finds_nothing_heard_yet() -> None:
    made = reachability()
    assert of(made, 5_000, START_MS) == Connection()
    assert made.of_devices([5_000], START_MS) == [Connection()]


def test_who_posts_has_no_socket_that_ended() -> None:
    made = reachability()
    made.open(1, START_MS)
    made.end(1, LOST, START_MS)
    assert of(made, 1, START_MS + 5 * MINUTE_MS).reason == LOST
    made.hear(np.array([1]), np.array([1]), np.array([1]), START_MS + 5 * MINUTE_MS)
    assert of(made, 1, START_MS + 10 * MINUTE_MS).reason == NO_MESSAGES


def test_what_a_device_says_of_itself_stands_until_it_takes_it_back_or_a_fix_refutes_it() -> None:
    made = reachability()
    made.hear_reason(1, "permission_denied", START_MS)
    made.hear_reason(2, "battery_low", START_MS)
    assert [of(made, asset, START_MS).reason for asset in (1, 2)] == ["permission_denied", "battery_low"]
    made.hear_word(1, START_MS)
    assert of(made, 1, START_MS).reason == "permission_denied"
    sent(made, START_MS, 1, 2)
    assert [of(made, asset, START_MS + 5 * MINUTE_MS).reason for asset in (1, 2)] == [NO_MESSAGES, "battery_low"]
    made.hear_reason(2, None, START_MS)
    assert of(made, 2, START_MS).reason is None


# Starting ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """What one device left: fix_ms of a fix that is filed, recorded_ms of one that is not."""

    device: int
    reason: str | None
    status_ms: int | None
    recorded_ms: int | None
    fix_ms: int | None

    def columns(self) -> Traces:
        def of(ms: int | None) -> tuple[np.ndarray, np.ndarray]:
            known = [] if ms is None else [(self.device, ms)]
            return np.array([d for d, _ in known], np.int64), np.array([t for _, t in known], np.int64)

        reasons = {} if self.reason is None else {self.device: self.reason}
        return Traces(Heard(*of(self.fix_ms), *of(self.recorded_ms)), *of(self.status_ms), reasons)


def started(trace: Trace, told: Told | None = None, fleet: Fleet | None = None) -> Reachability:
    made = Reachability(fleet or fleet_of())
    made.restore(trace.columns(), Tellings.of([] if told is None else [told]), START_MS)
    return made


def minutes_ago(minutes: float) -> int:
    return START_MS - round(minutes * MINUTE_MS)


LAST_WEEK = Trace(1, None, None, None, minutes_ago(10_000))


@pytest.mark.parametrize(
    "trace",
    [
        Trace(1, None, minutes_ago(30), None, None),
        Trace(1, None, minutes_ago(90), minutes_ago(30), minutes_ago(60)),
        Trace(1, None, None, None, minutes_ago(30)),
    ],
)
def test_who_had_time_left_when_the_server_stopped_has_it_anew(trace: Trace) -> None:
    made = started(trace)
    now = of(made, 1, START_MS)
    assert (now.state, now.heard_ms, now.deadline_ms) == (ONLINE, minutes_ago(30), START_MS + 2 * MINUTE_MS)
    assert tell(made, START_MS + 2 * MINUTE_MS - 1) == []
    assert tell(made, START_MS + 2 * MINUTE_MS) == [(1, SILENT, SERVER_RESTARTED)]
    assert of(made, 1, START_MS + 2 * MINUTE_MS).deadline_ms == START_MS + 10 * MINUTE_MS
    assert tell(made, START_MS + 10 * MINUTE_MS) == [(1, OFFLINE, SERVER_RESTARTED)]


def test_a_clock_that_was_ahead_does_not_put_hearing_into_the_future() -> None:
    assert of(started(Trace(1, None, None, None, START_MS + 50_000)), 1, START_MS).heard_ms == START_MS


def test_who_was_never_heard_of_still_was_not() -> None:
    assert of(started(Trace(1, None, None, None, None)), 1, START_MS) == Connection()


def test_who_was_silent_is_so_since_then_and_has_until_offline_anew() -> None:
    """Later than its silence alone would say, as an earlier restart did not count."""
    told = Told(1, 1, SILENT, LOST, minutes_ago(1), minutes_ago(5))
    made = started(Trace(1, None, minutes_ago(9), minutes_ago(5), minutes_ago(4)), told)
    assert tell(made, START_MS) == []
    assert of(made, 1, START_MS) == Connection(SILENT, minutes_ago(1), LOST, minutes_ago(5), START_MS + 10 * MINUTE_MS)
    assert tell(made, START_MS + 10 * MINUTE_MS) == [(1, OFFLINE, LOST)]


def test_who_was_silent_with_an_open_socket_may_be_so_for_the_restart() -> None:
    made = started(LAST_WEEK, Told(1, 1, SILENT, NO_MESSAGES, minutes_ago(3), minutes_ago(5)))
    assert of(made, 1, START_MS).reason == SERVER_RESTARTED


def test_who_was_offline_is_so_since_then() -> None:
    made = started(LAST_WEEK, Told(1, 1, OFFLINE, CLOSED, minutes_ago(40), minutes_ago(60)))
    assert tell(made, START_MS) == []
    assert of(made, 1, START_MS) == Connection(OFFLINE, minutes_ago(40), CLOSED, minutes_ago(60), None)
    sent(made, START_MS, 1)
    assert tell(made, START_MS) == [(1, ONLINE, None)]


def test_who_was_offline_and_is_allowed_more_is_offline_when_that_is_over() -> None:
    fleet = fleet_of()
    made = started(LAST_WEEK, Told(1, 1, OFFLINE, CLOSED, minutes_ago(50), minutes_ago(60)), fleet)
    fleet.put_device(replace(fleet.devices[1], config={"silent_after_s": 7_200, "offline_after_s": 7_200}))
    made.fleet_changed([], [1])
    deadline_ms = of(made, 1, START_MS).deadline_ms
    assert deadline_ms == START_MS + 60 * MINUTE_MS
    assert (of(made, 1, deadline_ms).state, of(made, 1, deadline_ms).since_ms) == (OFFLINE, deadline_ms)


@pytest.mark.parametrize("minutes", [1, 30])
def test_who_was_heard_of_again_before_that_could_be_told_is_told_so(minutes: float) -> None:
    trace = Trace(1, None, None, minutes_ago(minutes), minutes_ago(minutes))
    made = started(trace, Told(1, 1, OFFLINE, CLOSED, minutes_ago(50), minutes_ago(60)))
    assert tell(made, START_MS) == [(1, ONLINE, None)]
    assert of(made, 1, START_MS).heard_ms == minutes_ago(minutes)


def test_who_was_online_again_is_so_since_then() -> None:
    made = started(LAST_WEEK, Told(1, 1, ONLINE, None, minutes_ago(50), minutes_ago(50)))
    now = of(made, 1, START_MS)
    assert (now.state, now.since_ms, now.heard_ms) == (ONLINE, minutes_ago(50), minutes_ago(50))


@pytest.mark.parametrize("state", [SILENT, OFFLINE])
def test_what_was_told_of_another_device_is_not_taken_for_what_this_one_did(state: int) -> None:
    """Both were offline when one took the place of the other, so nothing was told of it."""
    made = started(
        Trace(1, None, None, None, minutes_ago(700)), Told(1, 101, state, LOST, minutes_ago(800), minutes_ago(810))
    )
    now = of(made, 1, START_MS)
    assert (now.state, now.heard_ms) == (state, minutes_ago(700))
    assert tell(made, START_MS) == []


def test_a_standby_device_is_as_the_clocks_say() -> None:
    made = started(Trace(101, None, None, None, minutes_ago(30)))
    assert made.of_devices([101], START_MS)[0].state == OFFLINE


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        (Trace(1, "location_off", minutes_ago(1), None, minutes_ago(2)), "location_off"),
        (Trace(1, "location_off", minutes_ago(1), minutes_ago(1), minutes_ago(2)), "location_off"),
        (Trace(1, "location_off", minutes_ago(2), minutes_ago(1), None), SERVER_RESTARTED),
        (Trace(1, "location_off", minutes_ago(2), None, minutes_ago(1)), SERVER_RESTARTED),
        (Trace(1, "battery_low", minutes_ago(2), None, minutes_ago(1)), "battery_low"),
    ],
)
def test_a_reason_is_known_again_if_no_fix_came_after_it(trace: Trace, reason: str) -> None:
    assert of(started(trace), 1, START_MS + 60 * MINUTE_MS).reason == reason


def test_deafness_counts_against_nobody_who_had_time_left() -> None:
    made = reachability()
    sent(made, START_MS, 1)
    sent(made, START_MS - 5 * MINUTE_MS, 2)
    sent(made, START_MS - 30 * MINUTE_MS, 3)
    tell(made, START_MS)
    back_ms = START_MS + 20 * MINUTE_MS
    made.pardon(START_MS, back_ms)
    assert tell(made, back_ms) == []
    assert [of(made, asset, back_ms).state for asset in (1, 2, 3)] == [ONLINE, SILENT, OFFLINE]


# Cost ----------------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_devices_cost_a_look_of_milliseconds() -> None:
    count = 100_000
    made = reachability(fleet_of(count))
    everybody = np.arange(1, count + 1)

    def took_ms(action: Any) -> float:
        times = []
        for _ in range(5):
            begun = time.process_time()
            action()
            times.append(time.process_time() - begun)
        return min(times) * 1000

    hear_ms = took_ms(lambda: made.hear(everybody, NOBODY, everybody, START_MS))
    idle_ms = took_ms(lambda: made.changes(START_MS, 1_000))
    due_ms = took_ms(lambda: made.changes(START_MS + 5 * MINUTE_MS, 1_000))
    print(
        f"{count} devices: heard {hear_ms:.1f} ms, idle look {idle_ms:.2f} ms, 1,000 changes of {count} {due_ms:.1f} ms"
    )
    assert max(hear_ms, idle_ms, due_ms) < 500
