"""Which devices and assets are heard of now: contacts by device, the active device of each asset, and what was told.

An asset is as reachable as its active device. Nobody has a timer: whoever asks gets the state of that moment, and what
has changed since it was told is found by one look at all of them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints, Mask
from tracker.domain.fleet import Fleet
from tracker.domain.reachability import (
    NAMES,
    NEVER,
    OFFLINE,
    ONLINE,
    SERVER_RESTARTED,
    SILENT,
    UNHEARD,
    WARNINGS,
    Connection,
    Contacts,
    States,
    Times,
    patience_of,
)
from tracker.store.reachability import Tellings, Told, Traces

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

    def told(self, tellings: Tellings) -> None:
        """This is durable."""
        self._told[tellings.asset] = tellings.state

    def unreachable(self) -> dict[int, str]:
        """Those of which was told last that they are not heard of."""
        return {asset: NAMES[self._told[asset]] for asset in np.flatnonzero(self._told != ONLINE).tolist()}

    # Starting

    def restore(self, traces: Traces, tellings: Tellings, now_ms: int) -> None:
        """As it stood when the server stopped: who had time left then has it anew; who was offline still is."""
        self._enroll()
        told = tellings.take(np.flatnonzero(np.isin(tellings.asset, np.flatnonzero(self._there))))
        self.told(told)
        contacts, last = self._contacts, _Last(traces, len(self._contacts))
        is_active, nth = self._tellings_of(told)
        state, telling_ms, since_ms = (
            np.append(column, 0)[nth] for column in (told.state, told.heard_ms, told.since_ms)
        )
        own = (nth >= 0) & (np.append(told.device, NOBODY)[nth] == np.arange(len(contacts)))
        stands = own & (state != ONLINE) & (telling_ms >= last.exact_ms)
        heard_ms = last.heard_ms(now_ms)
        heard_ms[own] = np.where(stands, telling_ms, np.maximum(heard_ms, telling_ms))[own]
        there = np.fromiter(self._fleet.devices, np.int64)
        for clock in (contacts.heard_ms, contacts.online_ms, contacts.quiet_ms, contacts.gone_ms):
            clock[there] = heard_ms[there]
        silent, offline = np.flatnonzero(stands & (state == SILENT)), np.flatnonzero(stands & (state == OFFLINE))
        contacts.quiet_ms[silent] = since_ms[silent] - contacts.silent_after_ms[silent]
        contacts.gone_ms[offline] = since_ms[offline] - contacts.offline_after_ms[offline]
        another = (nth >= 0) & ~own & (state != ONLINE)  # was the active one, and nothing was told since
        running = is_active & ~stands & ~another & (heard_ms != UNHEARD)
        again = np.flatnonzero(running & own & (state == ONLINE))
        contacts.online_ms[again] = since_ms[again]
        contacts.ended |= dict.fromkeys([*np.flatnonzero(running).tolist(), *silent.tolist()], SERVER_RESTARTED)
        endings = ((device, told.ending[nth[device]]) for device in np.flatnonzero(stands).tolist())
        contacts.ended |= {device: ending for device, ending in endings if ending is not None}
        for device, reason in last.reasons.items():
            if device in self._fleet.devices:
                contacts.say(device, reason)
        contacts.pardon(np.where(stands | another, state, np.where(running, ONLINE, NEVER)).astype(np.int8), now_ms)

    def _enroll(self) -> None:
        """The whole fleet at once."""
        asset, device = (np.fromiter(table, np.int64) for table in (self._fleet.assets, self._fleet.devices))
        self._reserve(int(asset.max(initial=0)), int(device.max(initial=0)))
        self._there[asset] = True
        self._active[asset] = [each.active_device or NOBODY for each in self._fleet.assets.values()]
        for number, each in self._fleet.devices.items():
            if each.config:
                self._contacts.allow(number, patience_of(each.config))

    def _tellings_of(self, told: Tellings) -> tuple[Mask, Ints]:
        """By device: whether it is an active one, and the place of what was told of its asset; -1: nothing was."""
        owner, place = np.zeros(len(self._contacts), np.int64), np.full(len(self._there), -1)
        owner[self._active] = np.arange(len(self._active))
        owner[NOBODY] = NOBODY
        place[told.asset] = np.arange(len(told.asset))
        return owner != NOBODY, place[owner]


class _Last:
    """When devices were heard of last, by device number, as far as anything durable tells. exact_ms: by the server's
    clock; reasons: those that still stand.
    """

    def __init__(self, traces: Traces, devices: int) -> None:
        fixes = traces.fixes
        heard = (fixes.filed_device, fixes.unfiled_device, traces.device, np.fromiter(traces.reasons, np.int64))
        size = max([devices, *(1 + int(each.max(initial=0)) for each in heard)])  # some may be gone, or new
        came_ms, said_ms, dated_ms = (np.full(size, UNHEARD, np.int64) for _ in range(3))
        np.maximum.at(came_ms, fixes.unfiled_device, fixes.recorded_ms)
        np.maximum.at(dated_ms, fixes.filed_device, fixes.filed_ms)
        said_ms[traces.device] = traces.status_ms
        self.exact_ms = np.maximum(came_ms, said_ms)[:devices]
        self._dated_ms = dated_ms[:devices]
        latest_ms = np.maximum(came_ms, dated_ms)
        self.reasons = {
            device: reason
            for device, reason in traces.reasons.items()
            if reason in WARNINGS or said_ms[device] >= latest_ms[device]
        }

    def heard_ms(self, now_ms: int) -> Times:
        """A fix may be dated ahead a little."""
        return np.maximum(self.exact_ms, np.minimum(self._dated_ms, now_ms))


def _known(numbers: Sequence[int], size: int) -> Ints:
    """A reader of the tables may be a moment ahead of memory."""
    asked = np.array(numbers, np.int64)
    return np.where(asked < size, asked, NOBODY)
