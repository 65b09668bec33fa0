"""From frames to a batch that can be committed: decoded, numbered, checked, flagged, judged. No I/O; the clock is an
argument.

Lanes and presence move ahead here, before the commit; if the commit does not happen, both are put back to what the
database holds and the frames are prepared again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns, Floats, Ints, Mask
from tracker.domain.fix import CLOCK_AHEAD_AFTER_MS, Flag
from tracker.domain.fleet import Fleet
from tracker.domain.geofence import FenceIndex
from tracker.domain.judge import judge
from tracker.domain.presence import Judgement, Presence
from tracker.pipeline.findings import findings
from tracker.pipeline.stream import Lane, Source
from tracker.store.journal import Findings
from tracker.wire.device import Fix, Fixes, Refusal
from tracker.wire.frames import Decoded, decode
from tracker.wire.observations import PER_UNIT, UNTIMED, Observations, observations, woven
from tracker.wire.packed import Block, unpacked


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
class _Parts:
    """Where the fixes of one form are, and where in the batch they come to stand."""

    first: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)

    def add(self, first: int, at: int, count: int) -> None:
        self.first.append(first)
        self.at.append(at)
        self.count.append(count)


@dataclass(slots=True)
class _Gathered:
    runs: list[_Run] = field(default_factory=list)
    count: int = 0  # fixes in all
    fixes: list[Fix] = field(default_factory=list)  # of texts
    texts: _Parts = field(default_factory=_Parts)
    blocks: _Parts = field(default_factory=_Parts)
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


def _take(out: _Gathered, source: Source, lane: Lane, message: Fixes | Block, i: int, decoded: Decoded) -> None:
    count = message.count if isinstance(message, Block) else len(message.fixes)
    due = lane.prepared + 1
    seq = due if message.seq is None else message.seq
    known = max(due - seq, 0)  # so many of them are resends
    if known >= count:
        return
    skipped = max(seq - due, 0)
    lane.prepared = seq + count - 1
    before = out.cursors.get(lane)
    out.cursors[lane] = (lane.prepared, skipped if before is None else before[1] + skipped)
    out.runs.append(_Run(source, lane, seq + known, out.count))
    if isinstance(message, Block):
        out.blocks.add(message.first + known, out.count, count - known)
    else:
        out.texts.add(len(out.fixes), out.count, count - known)
        out.fixes.extend(message.fixes[known:] if known else message.fixes)
        if decoded.refusals:
            _note_refusals(out, i, known, count, decoded)
    out.count += count - known


def _note_refusals(out: _Gathered, i: int, known: int, count: int, decoded: Decoded) -> None:
    for position in range(known, count):
        refusal = decoded.refusals.get((i, position))
        if refusal is not None:
            out.refusals[out.count + position - known] = refusal


def _spans(firsts: Sequence[int], counts: Sequence[int]) -> Ints:
    """first, first + 1, … of each span, one span behind the other."""
    ends = np.cumsum(counts)
    return np.repeat(np.subtract(firsts, ends) + counts, counts) + np.arange(int(ends[-1]))


def _observed(gathered: _Gathered, decoded: Decoded, now_ms: int) -> Observations:
    """All fixes in the order in which they came."""
    texts, blocks = gathered.texts, gathered.blocks
    if not blocks.count:
        return observations(gathered.fixes, now_ms)
    in_binary = unpacked(decoded.records[_spans(blocks.first, blocks.count)], now_ms)
    if not texts.count:
        return in_binary
    return woven(
        (
            (observations(gathered.fixes, now_ms), _spans(texts.at, texts.count)),
            (in_binary, _spans(blocks.at, blocks.count)),
        )
    )


def _stamp(times_ms: Ints, devices: Ints, clock: Clock, now_ms: int) -> None:
    for i in np.flatnonzero(times_ms == UNTIMED).tolist():
        times_ms[i] = clock.stamp(int(devices[i]), now_ms)


def _flags(seen: Observations, standby: Mask, max_accuracy_m: Floats, now_ms: int) -> NDArray[np.int16]:
    """Why each fix decides nothing; 0 for a trusted one."""
    flags = np.where((seen.lon == 0) & (seen.lat == 0), int(Flag.ZERO_ISLAND), 0)
    poor = seen.accuracy > max_accuracy_m * PER_UNIT["accuracy_m"]  # not known is the smallest number: not poor
    flags |= np.where(poor, int(Flag.POOR_ACCURACY), 0)
    flags |= np.where(seen.time_ms > now_ms + CLOCK_AHEAD_AFTER_MS, int(Flag.CLOCK_AHEAD), 0)
    flags |= np.where(standby, int(Flag.STANDBY), 0)
    return flags.astype(np.int16)


def _columns(
    gathered: _Gathered, decoded: Decoded, fleet: Fleet, clock: Clock, now_ms: int
) -> tuple[Columns, dict[int, Refusal]]:
    seen = _observed(gathered, decoded, now_ms)
    edges = np.array([run.first for run in gathered.runs] + [gathered.count], dtype=np.int64)
    counts = np.diff(edges)
    # A device may have been moved to another asset since its socket opened.
    devices = [fleet.devices.get(run.lane.device.id, run.lane.device) for run in gathered.runs]
    device = np.repeat(np.array([each.id for each in devices], dtype=np.int32), counts)
    asset = np.repeat(np.array([each.asset for each in devices], dtype=np.int32), counts)
    standby = np.repeat(np.array([fleet.is_standby(each) for each in devices], dtype=np.bool_), counts)
    _stamp(seen.time_ms, device, clock, now_ms)
    max_accuracy_m = np.repeat(fleet.limits([each.asset for each in devices])[1], counts)
    flags = _flags(seen, standby, max_accuracy_m, now_ms)
    columns = Columns(
        asset,
        device,
        seen.time_ms,
        seen.lon,
        seen.lat,
        seen.alt,
        seen.speed,
        seen.course,
        seen.accuracy,
        flags,
        seen.attributes,
    )
    refused = {**seen.refused, **gathered.refusals}
    if refused:
        keep = np.ones(gathered.count, dtype=np.bool_)
        keep[list(refused)] = False
        columns = columns.take(keep)
        if columns.attributes is not None and not any(columns.attributes):
            columns = replace(columns, attributes=None)
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
    decoded = decode(frames)
    gathered = _gather(sources, decoded)
    if refusal is not None:
        gathered.refusals = dict.fromkeys(range(gathered.count), refusal)
    columns, refused = _columns(gathered, decoded, fleet, clock, now_ms)
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
