"""From frames to a batch that can be committed: decoded, numbered, checked, flagged, judged. No I/O; the clock is an
argument.

Lanes and presence move ahead here, before the commit; if the commit does not happen, both are put back to what the
database holds and the frames are prepared again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tracker.domain.batch import DEGREE, Columns, Floats, Mask, to_course, to_units
from tracker.domain.fix import CLOCK_AHEAD_AFTER_MS, Flag
from tracker.domain.fleet import Fleet
from tracker.domain.geofence import FenceIndex
from tracker.domain.judge import judge
from tracker.domain.presence import Judgement, Presence
from tracker.pipeline.findings import findings
from tracker.pipeline.stream import Lane, Source
from tracker.store.journal import Findings
from tracker.wire.device import Fix, Fixes
from tracker.wire.frames import UNTIMED, Decoded, Observations, Refusal, decode, observations


@dataclass(frozen=True, slots=True)
class Rejected:
    """A fix refused for good."""

    source: Source
    lane: Lane
    seq: int
    refusal: Refusal


@dataclass(slots=True)
class Reply:
    """What one source is told when the batch is durable."""

    frames: int = 0
    errors: list[Refusal] = field(default_factory=list)
    lanes: dict[Lane, int] = field(default_factory=dict)  # each with the number to ack


@dataclass(slots=True)
class Prepared:
    """A batch ready for its transaction."""

    number: int
    recorded_ms: int
    columns: Columns
    judgement: Judgement
    cursors: dict[Lane, tuple[int, int]]  # lane -> (last number, numbers skipped)
    rejected: list[Rejected]
    replies: dict[Source, Reply]
    findings: Findings

    @property
    def changes_nothing(self) -> bool:
        """Only resends and unusable frames: nothing to commit."""
        return not self.cursors and not self.rejected and len(self.columns) == 0


class Clock:
    """Times for fixes that came without one: the time of receipt, later by 1 ms than the device's previous such fix."""

    def __init__(self) -> None:
        self._last_ms: dict[int, int] = {}

    def stamp(self, device_id: int, now_ms: int) -> int:
        stamp = max(now_ms, self._last_ms.get(device_id, 0) + 1)
        self._last_ms[device_id] = stamp
        return stamp


@dataclass(slots=True)
class _Run:
    """The part of one message that is new: fixes numbered from seq on."""

    source: Source
    lane: Lane
    seq: int
    first: int  # position of the first of them in the whole batch


@dataclass(slots=True)
class _Gathered:
    runs: list[_Run] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    cursors: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    replies: dict[Source, Reply] = field(default_factory=dict)


_NOT_OPEN: Final = Refusal(
    "unknown_stream", "this socket has not opened that stream; send hello with its name (and device) first"
)


def _gather(sources: Sequence[Source], decoded: Decoded) -> _Gathered:
    """Resolve each message's stream, drop what is durable or prepared already, count gaps."""
    out = _Gathered()
    for i, (source, message) in enumerate(zip(sources, decoded.messages, strict=True)):
        reply = out.replies.get(source)
        if reply is None:
            reply = out.replies[source] = Reply()
        reply.frames += 1
        if message is None:
            reply.errors.append(decoded.errors[i])
            continue
        lane = source.lane_of(message)
        if lane is None:
            reply.errors.append(_NOT_OPEN)
            continue
        _take(out, source, lane, message, i, decoded)
        reply.lanes[lane] = lane.prepared
    return out


def _take(out: _Gathered, source: Source, lane: Lane, message: Fixes, i: int, decoded: Decoded) -> None:
    due = lane.prepared + 1
    seq = due if message.seq is None else message.seq
    known, skipped, fresh = 0, 0, message.fixes
    if seq < due:
        known = due - seq  # so many of them are resends
        fresh = fresh[known:]
        if not fresh:
            return
    elif seq > due:
        skipped = seq - due
    lane.prepared = seq + len(message.fixes) - 1
    before = out.cursors.get(lane)
    out.cursors[lane] = (lane.prepared, skipped if before is None else before[1] + skipped)
    first = len(out.fixes)
    out.runs.append(_Run(source, lane, seq + known, first))
    out.fixes.extend(fresh)
    if decoded.refusals:
        for position in range(known, len(message.fixes)):
            refusal = decoded.refusals.get((i, position))
            if refusal is not None:
                out.refusals[first + position - known] = refusal


def _stamp(times_ms: np.ndarray, devices: np.ndarray, clock: Clock, now_ms: int) -> None:
    for i in np.flatnonzero(times_ms == UNTIMED).tolist():
        times_ms[i] = clock.stamp(int(devices[i]), now_ms)


def _flags(seen: Observations, standby: Mask, max_accuracy_m: Floats, now_ms: int) -> np.ndarray:
    """Why each fix decides nothing; 0 for a trusted one."""
    zero = (np.abs(seen.lon) <= 0.5 / DEGREE) & (np.abs(seen.lat) <= 0.5 / DEGREE)  # what will be stored as 0
    flags = np.where(zero, int(Flag.ZERO_ISLAND), 0)
    flags |= np.where(
        seen.accuracy_m > max_accuracy_m, int(Flag.POOR_ACCURACY), 0
    )  # NaN compares false: not known is not poor
    flags |= np.where(seen.time_ms > now_ms + CLOCK_AHEAD_AFTER_MS, int(Flag.CLOCK_AHEAD), 0)
    flags |= np.where(standby, int(Flag.STANDBY), 0)
    return flags.astype(np.int16)


def _columns(gathered: _Gathered, fleet: Fleet, clock: Clock, now_ms: int) -> tuple[Columns, dict[int, Refusal]]:
    seen = observations(gathered.fixes, now_ms)
    lanes = [run.lane for run in gathered.runs]
    edges = np.array([run.first for run in gathered.runs] + [len(gathered.fixes)], dtype=np.int64)
    counts = np.diff(edges)
    # A device may have been moved to another asset since its socket opened.
    devices = [fleet.devices.get(lane.device.id, lane.device) for lane in lanes]
    device = np.repeat(np.array([each.id for each in devices], dtype=np.int32), counts)
    asset = np.repeat(np.array([each.asset for each in devices], dtype=np.int32), counts)
    standby = np.repeat(np.array([fleet.is_standby(each) for each in devices], dtype=np.bool_), counts)
    refused = {**seen.refused, **gathered.refusals}
    keep = np.ones(len(gathered.fixes), dtype=np.bool_)
    keep[list(refused)] = False
    _stamp(seen.time_ms, device, clock, now_ms)
    max_accuracy_m = np.repeat(fleet.limits([each.asset for each in devices])[1], counts)
    flags = _flags(seen, standby, max_accuracy_m, now_ms)
    attributes = None
    if seen.attributes is not None:
        attributes = [value for value, kept in zip(seen.attributes, keep.tolist(), strict=True) if kept]
    columns = Columns(
        asset[keep],
        device[keep],
        seen.time_ms[keep].astype(np.int64),
        np.rint(seen.lon[keep] * DEGREE).astype(np.int32),
        np.rint(seen.lat[keep] * DEGREE).astype(np.int32),
        to_units(seen.alt_m[keep], 10),
        to_units(seen.speed_mps[keep], 100),
        to_course(seen.course_deg[keep]),
        to_units(seen.accuracy_m[keep], 10),
        flags[keep],
        attributes,
    )
    return columns, refused


def _rejected(gathered: _Gathered, refused: dict[int, Refusal]) -> list[Rejected]:
    if not refused:
        return []
    places = sorted(refused)
    firsts = np.array([run.first for run in gathered.runs], dtype=np.int64)
    out = []
    for i, number in zip(places, (np.searchsorted(firsts, places, side="right") - 1).tolist(), strict=True):
        run = gathered.runs[number]
        out.append(Rejected(run.source, run.lane, run.seq + i - run.first, refused[i]))
    return out


def prepare(
    sources: Sequence[Source],
    frames: Sequence[bytes],
    *,
    number: int,
    now_ms: int,
    fleet: Fleet,
    presence: Presence,
    index: FenceIndex,
    clock: Clock,
    refusal: Refusal | None = None,
) -> Prepared:
    """Frames of one batch to columns, judged; lanes and presence are moved on.

    Args:
        sources, frames: parallel.
        number: of the batch.
        now_ms: epoch milliseconds of receipt.
        refusal: rejects every fix of the batch.
    """
    gathered = _gather(sources, decode(frames))
    if refusal is not None:
        gathered.refusals = dict.fromkeys(range(len(gathered.fixes)), refusal)
    columns, refused = _columns(gathered, fleet, clock, now_ms)
    if len(columns):
        presence.reserve(int(columns.asset.max()))
    assets, which = np.unique(columns.asset, return_inverse=True)
    max_speed_mps = fleet.limits(assets.tolist())[0][which]
    judgement = judge(presence, index, columns, number, matches=fleet.judged_by, max_speed_mps=max_speed_mps)
    presence.apply(judgement)
    return Prepared(
        number,
        now_ms,
        columns,
        judgement,
        gathered.cursors,
        _rejected(gathered, refused),
        gathered.replies,
        findings(judgement, columns, presence),
    )
