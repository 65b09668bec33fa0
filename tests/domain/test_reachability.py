"""Whether devices are heard of, against a plain account of what happened to each."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.reachability import (
    CLOSED,
    LOST,
    NAMES,
    NEVER,
    NO_MESSAGES,
    OFFLINE,
    ONLINE,
    SILENT,
    Connection,
    Contacts,
    Patience,
    patience_of,
)

START_MS = 1_790_000_000_000
SILENT_MS, OFFLINE_MS = 1_000, 5_000
DEVICES = (1, 2, 3)


@dataclass
class Plain:
    """One device, told in words: when it was heard, when its last socket ended."""

    heard_ms: int | None = None
    online_ms: int = 0
    quiet_ms: int = 0
    gone_ms: int = 0
    sockets: int = 0
    said: str | None = None
    ended: str | None = None

    def state(self, now_ms: int) -> int:
        if self.heard_ms is None:
            return NEVER
        if now_ms - self.quiet_ms < SILENT_MS:
            return ONLINE
        return SILENT if self.sockets or now_ms - self.gone_ms < OFFLINE_MS else OFFLINE

    def hear(self, now_ms: int) -> None:
        if self.state(now_ms) != ONLINE:
            self.online_ms = now_ms
        self.heard_ms = self.quiet_ms = self.gone_ms = now_ms

    def reason(self, now_ms: int) -> str | None:
        if self.said is not None:
            return self.said
        return None if self.state(now_ms) in {NEVER, ONLINE} else self.ended or NO_MESSAGES

    def changes(self, now_ms: int) -> list[int]:
        """The moments from now on at which its state is another, if nothing happens: found by looking."""
        moments = range(now_ms, now_ms + 2 * OFFLINE_MS + 1, STEP_MS)
        return [after for before, after in pairwise(moments) if self.state(before) != self.state(after)]


STEP_MS = 250  # all times are multiples, so looking finds every change
steps = st.integers(0, 30).map(lambda n: n * STEP_MS)


@dataclass
class Story:
    """The same happens to both."""

    now_ms: int = START_MS
    contacts: Contacts = field(default_factory=Contacts)
    plain: dict[int, Plain] = field(default_factory=lambda: {device: Plain() for device in DEVICES})

    def __post_init__(self) -> None:
        self.contacts.reserve(max(DEVICES))
        for device in DEVICES:
            self.contacts.allow(device, Patience(SILENT_MS, OFFLINE_MS))

    def happen(self, action: str, devices: list[int], wait_ms: int) -> None:
        self.now_ms += wait_ms
        getattr(self, action)(devices)

    def fixes(self, devices: list[int]) -> None:
        self.contacts.hear(np.array(devices), self.now_ms)
        self.contacts.hear_fixes(np.array(devices))
        for device in devices:
            self.plain[device].hear(self.now_ms)
            if self.plain[device].said != "battery_low":
                self.plain[device].said = None

    def post(self, devices: list[int]) -> None:
        self.contacts.hear(np.array(devices), self.now_ms)
        self.contacts.hear_without_socket(np.array(devices))
        for device in devices:
            self.plain[device].hear(self.now_ms)
            self.plain[device].ended = None

    def open(self, devices: list[int]) -> None:
        for device in devices:
            self.contacts.open(device, self.now_ms)
            self.plain[device].hear(self.now_ms)
            self.plain[device].sockets += 1
            self.plain[device].ended = None

    def end(self, devices: list[int]) -> None:
        for device in devices:
            if self.plain[device].sockets:
                self.contacts.end(device, LOST, self.now_ms)
                self.plain[device].sockets -= 1
                if not self.plain[device].sockets:
                    self.plain[device].gone_ms, self.plain[device].ended = self.now_ms, LOST

    def deny(self, devices: list[int]) -> None:
        self.say(devices, "permission_denied")

    def warn(self, devices: list[int]) -> None:
        self.say(devices, "battery_low")

    def relent(self, devices: list[int]) -> None:
        self.say(devices, None)

    def say(self, devices: list[int], reason: str | None) -> None:
        for device in devices:
            self.contacts.hear(np.array([device]), self.now_ms)
            self.contacts.say(device, reason)
            self.plain[device].hear(self.now_ms)
            self.plain[device].said = reason

    def deafness(self, devices: list[int]) -> None:
        """For everybody, whoever is meant."""
        before = {device: plain.state(self.now_ms) for device, plain in self.plain.items()}
        states = self.contacts.states(self.now_ms)
        self.now_ms += 3 * STEP_MS
        self.contacts.pardon(states, self.now_ms)
        for device, plain in self.plain.items():
            if before[device] == ONLINE:
                plain.quiet_ms = self.now_ms
            if before[device] in {ONLINE, SILENT}:
                plain.gone_ms = self.now_ms

    def check(self) -> None:
        asked = np.array(DEVICES)
        found = self.contacts.connections(asked, self.now_ms)
        assert self.contacts.states(self.now_ms)[asked].tolist() == [each.state for each in found]
        for plain, connection in zip(self.plain.values(), found, strict=True):
            assert connection.state == plain.state(self.now_ms)
            assert (connection.heard_ms, connection.reason) == (plain.heard_ms, plain.reason(self.now_ms))
            assert connection.deadline_ms == next(iter(plain.changes(self.now_ms)), None)
            if connection.since_ms is not None:
                assert connection.since_ms <= self.now_ms
                if connection.state == ONLINE:
                    assert connection.since_ms == plain.online_ms
                else:
                    assert plain.state(connection.since_ms) == connection.state


actions = st.sampled_from(["fixes", "post", "open", "end", "deny", "warn", "relent", "deafness"])
who = st.lists(st.sampled_from(DEVICES), min_size=1, max_size=4, unique=True)


@given(st.lists(st.tuples(actions, who, steps), max_size=25))
def test_states_reasons_and_deadlines_are_those_of_a_plain_account(
    happenings: list[tuple[str, list[int], int]],
) -> None:
    story = Story()
    for happening in happenings:
        story.happen(*happening)
        story.check()


def contacts() -> Contacts:
    """Device 1, heard at the start, with the usual patience."""
    made = Contacts()
    made.reserve(1)
    made.hear(np.array([1]), START_MS)
    return made


def at(made: Contacts, after_s: float) -> Connection:
    return made.connections(np.array([1]), START_MS + round(after_s * 1000))[0]


def test_silence_begins_and_ends_to_the_millisecond() -> None:
    made = contacts()
    assert [NAMES[at(made, after_s).state] for after_s in (0, 119.999, 120, 599.999, 600)] == [
        "online", "online", "silent", "silent", "offline",
    ]  # fmt: skip
    assert at(made, 119.999).deadline_ms == at(made, 120).since_ms == START_MS + 120_000
    assert at(made, 120).deadline_ms == at(made, 600).since_ms == START_MS + 600_000
    assert at(made, 600).deadline_ms is None


def test_a_socket_that_ends_after_hours_of_silence_leaves_as_long_to_come_back_as_any() -> None:
    made = contacts()
    made.open(1, START_MS)
    assert (at(made, 7_200).state, at(made, 7_200).deadline_ms) == (SILENT, None)
    made.end(1, CLOSED, START_MS + 7_200_000)
    assert (at(made, 7_799).state, at(made, 7_799).deadline_ms) == (SILENT, START_MS + 7_800_000)
    assert (at(made, 7_800).state, at(made, 7_800).reason) == (OFFLINE, CLOSED)


def test_a_newer_socket_takes_over_without_a_word_of_the_older_ones_end() -> None:
    made = contacts()
    made.open(1, START_MS)
    made.open(1, START_MS + 1_000)
    made.end(1, LOST, START_MS + 2_000)
    assert at(made, 9_000).deadline_ms is None
    assert at(made, 9_000).reason == NO_MESSAGES


def test_a_device_is_allowed_less_or_more_at_once() -> None:
    made = contacts()
    made.allow(1, Patience(10_000, 20_000))
    assert at(made, 15).state == SILENT
    made.allow(1, Patience(900_000, 1_800_000))
    assert (at(made, 700).state, at(made, 700).since_ms) == (ONLINE, START_MS)


def test_a_device_that_is_gone_was_never_heard_of() -> None:
    made = contacts()
    made.say(1, "killed")
    made.forget(1)
    assert at(made, 1) == Connection()
    made.hear(np.array([1]), START_MS)
    assert at(made, 1).reason is None


@pytest.mark.parametrize(
    ("config", "silent_s", "offline_s"),
    [
        ({}, 120, 600),
        ({"silent_after_s": 30}, 30, 600),
        ({"silent_after_s": 300}, 300, 1_500),
        ({"silent_after_s": 300, "offline_after_s": 300}, 300, 300),
        ({"offline_after_s": 3_600}, 120, 3_600),
        ({"offline_after_s": 60}, 120, 120),
        ({"silent_after_s": 1.5, "offline_after_s": 2}, 1.5, 2),
        ({"silent_after_s": "30", "offline_after_s": True}, 120, 600),
        ({"silent_after_s": 0, "offline_after_s": float("nan")}, 120, 600),
        ({"silent_after_s": 1e9}, 120, 600),
    ],
)
def test_patience_is_by_configuration_as_far_as_that_is_sensible(
    config: dict[str, Any], silent_s: float, offline_s: float
) -> None:
    assert patience_of(config) == Patience(round(silent_s * 1000), round(offline_s * 1000))
