"""From frames to a batch that can be committed: decoded, numbered, checked, flagged, judged. No I/O; the clock is an
argument.

Lanes and presence move ahead here, before the commit; if the commit does not happen, both are put back to what the
database holds and the frames are prepared again.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns, Floats, Ints, Mask
from tracker.domain.fix import CLOCK_AHEAD_AFTER_MS, Flag
from tracker.domain.fleet import Fleet
from tracker.domain.index import FenceIndex
from tracker.domain.judge import judge
from tracker.domain.presence import Judgement, Presence
from tracker.domain.runs import spread
from tracker.pipeline.findings import findings
from tracker.pipeline.stream import Lane, Source
from tracker.store.journal import Findings
from tracker.wire.device import Refusal
from tracker.wire.frames import Decoded, Message, decode
from tracker.wire.observations import PER_UNIT, UNTIMED, Observations, Sent, observations, woven
from tracker.wire.packed import Block, unpacked


@dataclass(frozen=True, slots=True)
class Rejected:
    """A fix refused for good."""

    source: Source
    lane: Lane
    seq: int
    refusal: Refusal


@dataclass(slots=True)
class Prepared:
    """A batch ready for its transaction."""

    number: int
    recorded_ms: int
    columns: Columns
    judgement: Judgement
    cursors: dict[Lane, tuple[int, int]]  # lane -> (last number, numbers skipped)
    rejected: list[Rejected]
    heard: Collection[tuple[Source, Lane]]  # each once: who is told how far the stream is durable by then
    errors: dict[Source, list[Refusal]]  # frames that cannot be used
    frames: Mapping[Source, int]  # how many are answered
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
class _Parts:
    """Where the new fixes of messages of one form are, and where in the batch they come to stand."""

    first: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Gathered:
    """Runs are parallel lists: the new fixes of one message, numbered from seq on, from the position at on."""

    sources: list[Source] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    count: int = 0  # fixes in all
    fixes: list[Sent] = field(default_factory=list)  # of texts
    texts: _Parts = field(default_factory=_Parts)
    blocks: _Parts = field(default_factory=_Parts)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    cursors: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    heard: dict[tuple[Source, Lane], None] = field(default_factory=dict)
    errors: dict[Source, list[Refusal]] = field(default_factory=dict)


_NOT_OPEN: Final = Refusal(
    "unknown_stream", "this socket has not opened that stream; send hello with its name (and device) first"
)


def _gather(sources: Sequence[Source], decoded: Decoded) -> _Gathered:
    """Resolve each message's stream, drop what is durable or prepared already, count gaps."""
    out = _Gathered()
    for i, (source, message) in enumerate(zip(sources, decoded.messages, strict=True)):
        if message is None:
            out.errors.setdefault(source, []).append(decoded.errors[i])
            continue
        lane = source.lane_of(message)
        if lane is None:
            out.errors.setdefault(source, []).append(_NOT_OPEN)
            continue
        out.heard[source, lane] = None
        count = message.count if isinstance(message, Block) else len(message.fixes)
        due = lane.prepared + 1
        seq = message.seq or due
        known = 0  # so many of them are resends
        if seq != due:
            known = max(due - seq, 0)
            if known >= count:
                continue
        _advance(out, lane, due, seq, count)
        out.sources.append(source)
        out.lanes.append(lane)
        out.seqs.append(seq + known)
        out.at.append(out.count)
        _take(out, message, known, count)
        if decoded.refusals:
            _note_refusals(out, i, known, count, decoded)
        out.count += count - known
    return out


def _advance(out: _Gathered, lane: Lane, due: int, seq: int, count: int) -> None:
    skipped = max(seq - due, 0)
    before = out.cursors.get(lane)
    lane.prepared = seq + count - 1
    out.cursors[lane] = (lane.prepared, skipped if before is None else before[1] + skipped)


def _take(out: _Gathered, message: Message | Block, known: int, count: int) -> None:
    if isinstance(message, Block):
        parts = out.blocks
        parts.first.append(message.first + known)
    else:
        parts = out.texts
        parts.first.append(len(out.fixes))
        out.fixes += message.fixes[known:] if known else message.fixes
    parts.at.append(out.count)
    parts.count.append(count - known)


def _note_refusals(out: _Gathered, i: int, known: int, count: int, decoded: Decoded) -> None:
    for position in range(known, count):
        refusal = decoded.refusals.get((i, position))
        if refusal is not None:
            out.refusals[out.count + position - known] = refusal


def _spans(firsts: Sequence[int], counts: Sequence[int]) -> Ints:
    """first, first + 1, … of each span, one span behind the other."""
    return spread(np.array(firsts, np.int64), np.array(counts, np.int64))[1]


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


def _about(lane: Lane, fleet: Fleet) -> tuple[float, ...]:
    """Device, asset, standby, max_accuracy_m and max_speed_mps of what comes on this lane now."""
    if lane.known_at != fleet.version:
        # A device may have been moved to another asset since its socket opened.
        device = fleet.devices.get(lane.device.id, lane.device)
        limits = fleet.thresholds(device.asset)
        standby = fleet.is_standby(device)
        lane.about = (device.id, device.asset, standby, limits.max_accuracy_m, limits.max_speed_mps)
        lane.known_at = fleet.version
    return lane.about


def _columns(
    gathered: _Gathered, decoded: Decoded, fleet: Fleet, clock: Clock, now_ms: int
) -> tuple[Columns, Floats, dict[int, Refusal]]:
    """What is kept, how fast each may have been at most, and what is refused."""
    seen = _observed(gathered, decoded, now_ms)
    about = chain.from_iterable([_about(lane, fleet) for lane in gathered.lanes])
    of_runs = np.fromiter(about, np.float64, 5 * len(gathered.lanes)).reshape(-1, 5)
    edges = np.array([*gathered.at, gathered.count], dtype=np.int64)
    counts = edges[1:] - edges[:-1]
    of_fixes = np.repeat(of_runs, counts, axis=0)
    device, asset = of_fixes[:, 0].astype(np.int32), of_fixes[:, 1].astype(np.int32)
    _stamp(seen.time_ms, device, clock, now_ms)
    flags = _flags(seen, of_fixes[:, 2] != 0, of_fixes[:, 3], now_ms)
    max_speed_mps = of_fixes[:, 4]
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
        columns, max_speed_mps = columns.take(keep), max_speed_mps[keep]
        if columns.attributes is not None and not any(columns.attributes):
            columns = replace(columns, attributes=None)
    return columns, max_speed_mps, refused


def _rejected(gathered: _Gathered, refused: dict[int, Refusal]) -> list[Rejected]:
    if not refused:
        return []
    places = sorted(refused)
    of_runs = np.searchsorted(np.array(gathered.at, dtype=np.int64), places, side="right") - 1
    return [
        Rejected(gathered.sources[run], gathered.lanes[run], gathered.seqs[run] + i - gathered.at[run], refused[i])
        for i, run in zip(places, of_runs.tolist(), strict=True)
    ]


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
    columns, max_speed_mps, refused = _columns(gathered, decoded, fleet, clock, now_ms)
    if len(columns):
        presence.reserve(int(columns.asset.max()))
    judgement = judge(presence, index, columns, number, matches=fleet.judged_by, max_speed_mps=max_speed_mps)
    presence.apply(judgement)
    return Prepared(
        number,
        now_ms,
        columns,
        judgement,
        gathered.cursors,
        _rejected(gathered, refused),
        gathered.heard,
        gathered.errors,
        Counter(sources),
        findings(judgement, columns, presence),
    )
