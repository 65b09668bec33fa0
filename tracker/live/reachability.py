"""Which devices and assets are heard of now: contacts by device, the active device of each asset, and what was told.

An asset is as reachable as its active device. Nobody has a timer: whoever asks gets the state of that moment, and what
has changed since it was told is found by one look at all of them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints
from tracker.domain.fleet import Fleet
from tracker.domain.reachability import (
    ENDINGS,
    NAMES,
    NEVER,
    ONLINE,
    SERVER_RESTARTED,
    SILENT,
    UNHEARD,
    Connection,
    Contacts,
    States,
    patience_of,
)
from tracker.store.reachability import Told, Trace

NOBODY: Final = 0  # stands for no asset and no device; numbers begin at 1


@dataclass(frozen=True, slots=True)
class Change:
    """An asset's state is another than was told last."""

    asset: int
    device: int
    now: Connection

    @property
    def told(self) -> Told:
        """What is durable of it."""
        assert self.now.since_ms is not None
        assert self.now.heard_ms is not None
        return Told(self.asset, self.device, self.now.state, self.now.reason, self.now.since_ms, self.now.heard_ms)


class Reachability:
    """The one owner of all that. Doors and the writer report to it; times are the server's, in epoch milliseconds."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._contacts = Contacts()
        self._active: NDArray[np.int32] = np.zeros(1, np.int32)  # by asset
        self._told: States = np.full(1, ONLINE, np.int8)  # by asset; the first time it is heard of is not told
        self._there = np.zeros(1, np.bool_)  # by asset

    # The fleet

    def fleet_changed(self, assets: Collection[int], devices: Collection[int]) -> None:
        """These are new, different or gone; the registry is right by now."""
        self._reserve(max(assets, default=0), max(devices, default=0))
        for number in assets:
            asset = self._fleet.assets.get(number)
            self._there[number] = asset is not None
            self._active[number] = NOBODY if asset is None else asset.active_device or NOBODY
        for number in devices:
            device = self._fleet.devices.get(number)
            if device is None:
                self._contacts.forget(number)
            else:
                self._contacts.allow(number, patience_of(device.config))

    def _reserve(self, asset: int, device: int) -> None:
        self._contacts.reserve(device)
        more = max(asset + 1, len(self._there) * 2) - len(self._there)
        if asset >= len(self._there):
            self._active = np.concatenate([self._active, np.zeros(more, np.int32)])
            self._told = np.concatenate([self._told, np.full(more, ONLINE, np.int8)])
            self._there = np.concatenate([self._there, np.zeros(more, np.bool_)])

    # Hearing

    def hear(self, devices: Ints, without_socket: Ints, fixes: Ints, now_ms: int) -> None:
        """A batch is durable.

        Args:
            devices: who sent something of it.
            without_socket: those of them that have POSTed, or spoke through a gateway.
            fixes: the devices of its fixes.
        """
        self._contacts.hear(devices, now_ms)
        self._contacts.hear_without_socket(without_socket)
        self._contacts.hear_fixes(fixes)

    def hear_word(self, device: int, now_ms: int) -> None:
        """A device said something that is no fix."""
        self._contacts.hear(np.array([device]), now_ms)

    def hear_reason(self, device: int, reason: str | None, now_ms: int) -> None:
        """A device said how it is; without a reason it is well."""
        self.hear_word(device, now_ms)
        self._contacts.say(device, reason or None)

    def open(self, device: int, now_ms: int) -> None:
        """A device has opened a socket of its own."""
        self._contacts.open(device, now_ms)

    def end(self, device: int, how: str, now_ms: int) -> None:
        """A socket of its own ended: CLOSED, LOST or CLOSED_BY_SERVER."""
        self._contacts.end(device, how, now_ms)

    def pardon(self, from_ms: int, until_ms: int) -> None:
        """The server was deaf for a while."""
        self._contacts.pardon(self._contacts.states(from_ms), until_ms)

    # Asking

    def of_devices(self, devices: Sequence[int], now_ms: int) -> list[Connection]:
        return self._contacts.connections(_known(devices, len(self._contacts)), now_ms)

    def of_assets(self, assets: Sequence[int], now_ms: int) -> list[Connection]:
        return self._contacts.connections(self._active[_known(assets, len(self._active))], now_ms)

    def assets_in(self, state: int, now_ms: int) -> Ints:
        """The assets that are in this state now, by number."""
        return np.flatnonzero(self._there & (self._states(now_ms) == state))

    def counts(self, now_ms: int) -> dict[str, int]:
        """How many assets are in each state."""
        counts = np.bincount(self._states(now_ms)[self._there], minlength=len(NAMES))
        return dict(zip(NAMES, counts.tolist(), strict=True))

    def _states(self, now_ms: int) -> States:
        return self._contacts.states(now_ms)[self._active]

    # Telling

    def changes(self, now_ms: int, limit: int) -> list[Change]:
        """Up to so many assets of which something else was told last than is so now. Being heard of for the first time
        is no change.
        """
        states = self._states(now_ms)
        assets = np.flatnonzero((states != self._told) & (states != NEVER))[:limit]
        devices = self._active[assets]
        return [
            Change(asset, device, connection)
            for asset, device, connection in zip(
                assets.tolist(), devices.tolist(), self._contacts.connections(devices, now_ms), strict=True
            )
        ]

    def told(self, tellings: Iterable[Told]) -> None:
        """This is durable."""
        for each in tellings:
            self._told[each.asset] = each.state

    def unreachable(self) -> dict[int, str]:
        """Those of which was told last that they are not heard of."""
        return {asset: NAMES[self._told[asset]] for asset in np.flatnonzero(self._told != ONLINE).tolist()}

    # Starting

    def restore(self, traces: Iterable[Trace], tellings: Iterable[Told], now_ms: int) -> None:
        """As it stood when the server stopped: who had time left then has it anew; who was offline still is."""
        self.fleet_changed(self._fleet.assets.keys(), self._fleet.devices.keys())
        known = {each.asset: each for each in tellings if each.asset in self._fleet.assets}
        self.told(known.values())
        states = np.zeros(len(self._contacts), np.int8)
        for trace in traces:
            device = self._fleet.devices.get(trace.device)
            if device is not None and int(self._active[device.asset]) == device.id:
                states[device.id] = self._restore(trace, known.get(device.asset), now_ms)
            elif device is not None:
                self._begin(trace, _heard_ms(trace, now_ms))
        self._contacts.pardon(states, now_ms)

    def _restore(self, trace: Trace, told: Told | None, now_ms: int) -> int:
        """An active device; returns the state that it was in when the server stopped."""
        own = told if told is not None and told.device == trace.device else None
        if own is not None and own.state != ONLINE and own.heard_ms >= trace.exact_ms:
            self._stand(trace, own)
            return own.state
        heard_ms = max(_heard_ms(trace, now_ms), own.heard_ms if own is not None else UNHEARD)
        self._begin(trace, heard_ms)
        if told is not None and own is None and told.state != ONLINE:
            return told.state  # another device was the active one
        if heard_ms == UNHEARD:
            return NEVER
        if own is not None and own.state == ONLINE:
            self._contacts.online_ms[trace.device] = own.since_ms
        self._contacts.ended[trace.device] = SERVER_RESTARTED
        return ONLINE

    def _begin(self, trace: Trace, heard_ms: int) -> None:
        """All clocks from when a device was heard of last."""
        contacts, device = self._contacts, trace.device
        for clock in (contacts.heard_ms, contacts.online_ms, contacts.quiet_ms, contacts.gone_ms):
            clock[device] = heard_ms
        if trace.reason_stands:
            contacts.say(device, trace.reason)

    def _stand(self, trace: Trace, told: Told) -> None:
        """Silent or offline since when it was told to be."""
        contacts, device = self._contacts, trace.device
        self._begin(trace, told.heard_ms)
        if told.state == SILENT:
            contacts.quiet_ms[device] = told.since_ms - contacts.silent_after_ms[device]
        else:
            contacts.gone_ms[device] = told.since_ms - contacts.offline_after_ms[device]
        if told.reason in ENDINGS:
            contacts.ended[device] = told.reason
        elif told.state == SILENT:
            contacts.ended[device] = SERVER_RESTARTED


def _known(numbers: Sequence[int], size: int) -> Ints:
    """A reader of the tables may be a moment ahead of memory."""
    asked = np.array(numbers, np.int64)
    return np.where(asked < size, asked, NOBODY)


def _heard_ms(trace: Trace, now_ms: int) -> int:
    """When a device was heard of last, as far as anything durable tells. A fix may be dated ahead a little."""
    return max(trace.exact_ms, UNHEARD if trace.fix_ms is None else min(trace.fix_ms, now_ms))
