"""The replay itself: reads the file, finds its devices, sends each fix when it is due.

Prints nothing: `on_progress` hears. The only module here that touches the clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from tracker.errors import InvalidField
from tracker.replay.enrolment import Enrolment
from tracker.replay.recording import Recording, read_recording
from tracker.replay.senders import Senders
from tracker.replay.timeline import Timeline

_BATCH_FIXES: Final = 20_000  # made into messages at a time
_TICK_S: Final = 0.05
_PROGRESS_EVERY_S: Final = 0.5

Stage = Literal["reading", "devices", "streaming", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is; the counts are of all its rounds."""

    stage: Stage
    fixes: int = 0
    """What the file holds and can be sent."""
    skipped: int = 0
    devices: int = 0
    sent: int = 0
    """Of this round."""
    acked: int = 0
    rejected: int = 0
    reject_codes: Mapping[str, int] = field(default_factory=dict)
    event_time_ms: int | None = None
    rounds: int = 0
    problem: str | None = None
    """Why a device is not connected now."""


OnProgress = Callable[[Progress], None]


async def replay(
    path: Path,
    url: str,
    *,
    admin_token: str | None = None,
    device_token: str | None = None,
    speed: float | None = None,
    loop: bool = False,
    shift_to_now: bool = False,
    limit: int | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Progress:
    """Send a GPX or CSV file `speed` times as fast as it was recorded (None: as fast as the server takes it).

    Devices are found, or made, by name with an admin token; or everything is sent with one device's token, if given.
    `shift_to_now` lets each fix carry the moment it is sent; with no speed, it moves all times so that the last is now.

    Raises:
        TrackerError: the file cannot be read, or the server cannot be reached or refuses.
    """
    _check(admin_token, device_token, speed, loop=loop, shift_to_now=shift_to_now)
    on_progress(Progress("reading"))
    recording = await asyncio.to_thread(read_recording, path, limit)
    if not len(recording):
        raise InvalidField(
            f"{path.name} holds no fix with a time and a place ({recording.skipped} skipped)", field="file"
        )
    on_progress(Progress("devices", len(recording), recording.skipped, len(recording.devices)))
    async with _speaking(path.name, url, recording, admin_token, device_token) as (token, devices):
        senders = Senders(url, token, devices)
        player = _Player(recording, senders, on_progress)
        reporter = asyncio.create_task(player.report(), name="replay-progress")
        try:
            await player.play(speed, loop=loop, to_now=shift_to_now)
            await senders.finish()
            return player.progress("done")
        finally:
            reporter.cancel()
            on_progress(player.progress("done"))
            await senders.close()


def _check(
    admin_token: str | None, device_token: str | None, speed: float | None, *, loop: bool, shift_to_now: bool
) -> None:
    if admin_token is None and device_token is None:
        raise InvalidField(
            "a replay needs an admin token, to find and make devices, or else one device's token", field="token"
        )
    if speed is not None and not 0 < speed < float("inf"):
        raise InvalidField(f"speed must be a positive number, or max, not {speed!r}", field="speed")
    if loop and (speed is None or not shift_to_now):
        # Otherwise the second round would send the very fixes of the first.
        raise InvalidField("a replay in a loop needs a speed, and its times shifted to now", field="loop")


@asynccontextmanager
async def _speaking(
    name: str, url: str, recording: Recording, admin_token: str | None, device_token: str | None
) -> AsyncIterator[tuple[str, Mapping[str, str | None]]]:
    """The token to send with, and the devices that it speaks for, as long as the replay lasts."""
    if device_token is not None:
        if len(recording.devices) > 1:
            raise InvalidField(
                f"the file has {len(recording.devices)} devices, a device's token speaks for one; use an admin token",
                field="device_token",
            )
        yield device_token, {recording.devices[0]: None}
        return
    async with (
        Enrolment.open(url, admin_token or "") as enrolment,
        enrolment.gateway(f"replay of {name}"[:100]) as token,
    ):
        yield token, dict(await enrolment.devices(recording.devices))


class _Player:
    """Owns the place in the recording."""

    def __init__(self, recording: Recording, senders: Senders, on_progress: OnProgress) -> None:
        self._recording = recording
        self._senders = senders
        self._on_progress = on_progress
        self._order, self._due_ms = recording.due()
        self._sent = 0
        self._rounds = 0

    async def play(self, speed: float | None, *, loop: bool, to_now: bool) -> None:
        first_ms, last_ms = self._recording.span_ms
        while True:
            self._sent = 0
            await self._round(Timeline(first_ms, last_ms, _now_ms(), speed, to_now))
            self._rounds += 1
            if not loop:
                return

    async def _round(self, timeline: Timeline) -> None:
        while self._sent < len(self._recording):
            now_ms = _now_ms()
            due = int(np.searchsorted(self._due_ms, timeline.reached_ms(now_ms), side="right"))
            end = min(due, self._sent + _BATCH_FIXES)
            if end > self._sent:
                await self._send(end, timeline)
            else:
                await asyncio.sleep(min(_TICK_S, timeline.due_in_s(int(self._due_ms[self._sent]), now_ms)))

    async def _send(self, end: int, timeline: Timeline) -> None:
        rows = self._order[self._sent : end]
        times_ms = timeline.carried_ms(self._recording.time_ms[rows])
        for name, fixes in self._recording.fixes(rows, times_ms, timeline.faster):
            await self._senders.send(name, fixes)
            self._sent += len(fixes)
            # Storing in memory never waits while there is room; the sockets need their turns, too.
            await asyncio.sleep(0)

    async def report(self) -> None:
        while True:
            self._on_progress(self.progress("streaming"))
            await asyncio.sleep(_PROGRESS_EVERY_S)

    def progress(self, stage: Stage) -> Progress:
        counts = self._senders.counts()
        return Progress(
            stage,
            len(self._recording),
            self._recording.skipped,
            len(self._recording.devices),
            self._sent,
            counts.acked,
            counts.rejected,
            counts.reject_codes,
            int(self._due_ms[max(0, self._sent - 1)]),
            self._rounds,
            counts.problem,
        )


def _now_ms() -> int:
    return int(time.time() * 1000)
