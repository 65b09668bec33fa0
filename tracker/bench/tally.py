"""What one run of a load counts: acks, how long they took, and the clock that says when it is warm and when over."""

import resource
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracker.bench.figures import Latency, latency
from tracker.bench.process import Report

REPORT_EVERY_S: Final = 0.25
WARM_UP: Final = 0.2  # of the time, at the beginning: sockets, caches and a first batch count for nothing


@dataclass(frozen=True, slots=True)
class Acked:
    """What came of a run. Latencies are those of frames; the rate is of the time after the warm-up."""

    fixes: int
    fixes_per_s: float
    latency: Latency
    longest_gap_ms: float  # without a single ack
    late_frames: int  # not acked at the end; their latencies count as what they had waited by then
    rejects: int
    load_cpu: float  # share of a core that the load itself took
    said: Sequence[str]  # errors and slow-downs, each kind once


class Tally:
    """Of one run, from the moment it is made."""

    def __init__(self, seconds: float, report: Report) -> None:
        self.begin = time.perf_counter()
        self.end = self.begin + seconds
        self.rejects = 0
        self.said: set[str] = set()
        self._report, self._told = report, 0.0
        self._warm: float | None = self.begin + seconds * WARM_UP
        self._fixes = 0
        self._latencies = array("d")
        self._longest_gap, self._last_ack = 0.0, self.begin
        # As they were when it was warm, and at the end.
        self._first, self._fixes_warm, self._warm_at = 0, 0, self.begin
        self._rate, self._cpu, self._cpu_before = 0.0, 0.0, _cpu_s()

    def runs(self) -> bool:
        """Whether there is time left."""
        now = time.perf_counter()
        if self._warm is not None and now >= self._warm:
            self._first, self._fixes_warm = len(self._latencies), self._fixes
            self._warm, self._warm_at = None, now
            self._longest_gap, self._last_ack = 0.0, now
        self.tell(now)
        return now < self.end

    def tell(self, now: float) -> None:
        if now - self._told >= REPORT_EVERY_S:
            self._told = now
            self._report(self._fixes)

    def hear(self, now: float) -> None:
        """Some ack came."""
        self._longest_gap = max(self._longest_gap, now - self._last_ack)
        self._last_ack = now

    def add(self, fixes: int, took_s: float) -> None:
        """A frame was acked."""
        self._fixes += fixes
        self._latencies.append(took_s)

    def stop(self) -> None:
        """The time is over: acks that come now have latencies, but are no part of the rate."""
        now = time.perf_counter()
        self._rate = (self._fixes - self._fixes_warm) / (now - self._warm_at)
        self._cpu = (_cpu_s() - self._cpu_before) / (now - self.begin)

    def result(self, waiting: Sequence[float]) -> Acked:
        """`waiting`: seconds that frames have waited which are not acked."""
        return Acked(
            fixes=self._fixes,
            fixes_per_s=self._rate,
            latency=latency([*self._latencies[self._first :], *waiting]),
            longest_gap_ms=self._longest_gap * 1000,
            late_frames=len(waiting),
            rejects=self.rejects,
            load_cpu=self._cpu,
            said=sorted(self.said),
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
