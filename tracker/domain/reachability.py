"""Whether a device is heard of, since when, why not, and until when it may say nothing: one rule, on columns by device.

Two clocks. `quiet` runs since the last message: when it is over, a device is silent. `gone` runs since the last sign of
life, and stands still while a socket is open, whose peer answers pings: when it is over, too, a device is offline.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints, Mask

NEVER: Final = 0
ONLINE: Final = 1
SILENT: Final = 2
OFFLINE: Final = 3
NAMES: Final = ("never", "online", "silent", "offline")

SILENT_AFTER_S: Final = 120.0
OFFLINE_AFTER_S: Final = 600.0
OFFLINE_TIMES: Final = 5  # of silent_after_s, if that alone is set and this is longer
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 30 * 86_400.0

CLOSED: Final = "closed"  # it said goodbye
LOST: Final = "lost"  # its socket ended without one
CLOSED_BY_SERVER: Final = "closed_by_server"
SERVER_RESTARTED: Final = "server_restarted"  # it had time left when the server stopped
NO_MESSAGES: Final = "no_messages"  # nothing is known but that none came
ENDINGS: Final = frozenset({CLOSED, LOST, CLOSED_BY_SERVER, SERVER_RESTARTED})

# These say what may come, and stand beside fixes. Any other reason that a device gives says why there are none, and is
# refuted by the next one.
WARNINGS: Final = frozenset({"battery_low"})

UNHEARD: Final = -1  # the time of what never was
_FAR: Final = 2**62  # later than any time

Times = NDArray[np.int64]
States = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a device may say nothing; offline comes no earlier than silent."""

    silent_after_ms: int
    offline_after_ms: int


@dataclass(frozen=True, slots=True)
class Connection:
    """How it stands with a device. deadline_ms: when it changes if nothing is heard; None: it does not."""

    state: int = NEVER
    since_ms: int | None = None
    reason: str | None = None
    heard_ms: int | None = None
    deadline_ms: int | None = None


def patience_of(config: Mapping[str, Any]) -> Patience:
    """By a device's configuration; what is no such number there counts as left out."""
    silent_s = seconds(config.get("silent_after_s")) or SILENT_AFTER_S
    offline_s = seconds(config.get("offline_after_s")) or max(OFFLINE_AFTER_S, silent_s * OFFLINE_TIMES)
    return Patience(round(silent_s * 1000), round(max(offline_s, silent_s) * 1000))


def seconds(value: object) -> float | None:
    """A length of time that a device may be given; None: it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if SHORTEST_S <= value <= LONGEST_S else None


class Contacts:
    """When devices were heard of, by device number, and what explains their silence. Times are the server's, in epoch
    milliseconds.
    """

    def __init__(self) -> None:
        self.heard_ms: Times = np.full(1, UNHEARD, np.int64)
        self.online_ms: Times = np.zeros(1, np.int64)  # since when it is online, or was the last time
        self.quiet_ms: Times = np.zeros(1, np.int64)  # from when its quiet counts
        self.gone_ms: Times = np.zeros(1, np.int64)  # from when its absence counts
        self.silent_after_ms: Times = np.zeros(1, np.int64)
        self.offline_after_ms: Times = np.zeros(1, np.int64)
        self.sockets: NDArray[np.int32] = np.zeros(1, np.int32)  # that are open
        self.refutable: Mask = np.zeros(1, np.bool_)  # whether it gave a reason that a fix refutes
        self.said: dict[int, str] = {}  # the reasons that devices gave
        self.ended: dict[int, str] = {}  # how the last sockets of devices ended

    def __len__(self) -> int:
        return len(self.heard_ms)

    def reserve(self, largest: int) -> None:
        """Room for devices up to this one."""
        have = len(self)
        if largest < have:
            return
        more, usual = max(largest + 1, have * 2) - have, patience_of({})
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray):
                setattr(self, name, np.concatenate([column, np.zeros(more, column.dtype)]))
        self.heard_ms[have:] = UNHEARD
        self.silent_after_ms[have:], self.offline_after_ms[have:] = usual.silent_after_ms, usual.offline_after_ms

    # What happens to devices

    def allow(self, device: int, patience: Patience) -> None:
        """From now on it may say nothing for so long."""
        self.silent_after_ms[device] = patience.silent_after_ms
        self.offline_after_ms[device] = patience.offline_after_ms

    def hear(self, devices: Ints, now_ms: int) -> None:
        """They said something."""
        back = devices[self.states(now_ms, devices) != ONLINE]
        self.online_ms[back] = now_ms
        self.heard_ms[devices] = self.quiet_ms[devices] = self.gone_ms[devices] = now_ms

    def hear_without_socket(self, devices: Ints) -> None:
        """What they said came by POST or through a gateway: how their last sockets ended says nothing any more."""
        if self.ended:
            for device in devices.tolist():
                self.ended.pop(device, None)

    def hear_fixes(self, devices: Ints) -> None:
        """They sent fixes: a reason for sending none is over."""
        for device in set(devices[self.refutable[devices]].tolist()):
            self.say(device, None)

    def say(self, device: int, reason: str | None) -> None:
        """It says why it sends nothing, or may soon send nothing; None takes that back."""
        self.refutable[device] = reason is not None and reason not in WARNINGS
        if reason is None:
            self.said.pop(device, None)
        else:
            self.said[device] = reason

    def open(self, device: int, now_ms: int) -> None:
        """A socket of its own was opened."""
        self.hear(np.array([device]), now_ms)
        self.sockets[device] += 1
        self.ended.pop(device, None)

    def end(self, device: int, how: str, now_ms: int) -> None:
        """A socket of its own ended: until now there was a sign of life."""
        self.sockets[device] -= 1
        if self.sockets[device] == 0:
            self.gone_ms[device] = now_ms
            self.ended[device] = how

    def pardon(self, states: States, now_ms: int) -> None:
        """Nobody could be heard for a while that is over now: it counts against none who had time left.

        Args:
            states: of all devices, when that while began.
        """
        online, there = states == ONLINE, (states == ONLINE) | (states == SILENT)
        self.quiet_ms[online] = np.maximum(self.quiet_ms[online], now_ms)
        self.gone_ms[there] = np.maximum(self.gone_ms[there], now_ms)

    def forget(self, device: int) -> None:
        """As if it had never been heard of."""
        self.heard_ms[device] = UNHEARD
        self.say(device, None)
        self.ended.pop(device, None)

    # How it stands with them

    def states(self, now_ms: int, devices: Ints | None = None) -> States:
        """Of these devices, or of all."""
        asked = np.arange(len(self)) if devices is None else devices
        silent_at, offline_at = self._edges(asked)
        found = np.where(now_ms < silent_at, ONLINE, np.where(now_ms < offline_at, SILENT, OFFLINE))
        return np.where(self.heard_ms[asked] == UNHEARD, NEVER, found).astype(np.int8)

    def connections(self, devices: Ints, now_ms: int) -> list[Connection]:
        """How it stands with each of these."""
        silent_at, offline_at = self._edges(devices)
        since = np.stack([self.online_ms[devices], silent_at, offline_at], axis=1)
        deadline = np.stack([silent_at, offline_at, np.full(len(devices), _FAR)], axis=1)
        return [
            Connection(
                state,
                begun[state - ONLINE],
                self._reason(device, state),
                heard_ms,
                None if ends[state - ONLINE] == _FAR else ends[state - ONLINE],
            )
            if state != NEVER
            else Connection()
            for device, state, begun, ends, heard_ms in zip(
                devices.tolist(),
                self.states(now_ms, devices).tolist(),
                since.tolist(),
                deadline.tolist(),
                self.heard_ms[devices].tolist(),
                strict=True,
            )
        ]

    def _edges(self, devices: Ints) -> tuple[Times, Times]:
        """The rule: when each falls silent and when it goes offline, if nothing is heard."""
        silent_at = self.quiet_ms[devices] + self.silent_after_ms[devices]
        offline_at = self.gone_ms[devices] + self.offline_after_ms[devices]  # never earlier: both its parts are longer
        return silent_at, np.where(self.sockets[devices] > 0, _FAR, offline_at)

    def _reason(self, device: int, state: int) -> str | None:
        """What it said itself; else, if it is not online, how its last socket ended."""
        if device in self.said:
            return self.said[device]
        return None if state == ONLINE else self.ended.get(device, NO_MESSAGES)
