"""Resting fixes joined to stays: which stop, if any, each fix belongs to. Reads a stream of fixes once, in event order,
and keeps what is not decided yet: a few times `min_stop_s`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Mask
from tracker.domain.motion.places import UNITS, Fixes, Rows, no_fixes
from tracker.domain.motion.rest import resting, within
from tracker.domain.motion.rule import Rule


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive fixes that are decided; stretches follow each other without a hole."""

    fixes: Fixes
    rests: Mask
    stop: NDArray[np.int64]  # (n,) the number of the stop that holds the fix; 0: none

    def __len__(self) -> int:
        return len(self.fixes)


@dataclass(frozen=True, slots=True)
class _Chain:
    """Resting fixes that are linked, as rows of the buffer."""

    first: int
    last: int
    stop: int  # its number; 0: it does not last long enough


class Stays:
    """Feed it fixes, take the stretches that become certain; `end` says that no fix follows."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._stops = 0
        self._clear()

    def _clear(self) -> None:
        self._fixes = no_fixes()
        self._rests = np.empty(0, np.bool_)  # of the fixes that can be judged
        self._given = 0  # fixes before this row were handed out
        self._open: _Chain | None = None  # a stop whose fixes up to its last were handed out

    @property
    def undecided_ms(self) -> int | None:
        """The time of the first fix that was not handed out."""
        return int(self._fixes.time_ms[self._given]) if self._given < len(self._fixes) else None

    @property
    def recent(self) -> Fixes:
        """The newest fix and those of the `min_stop_s` before it."""
        time_ms = self._fixes.time_ms
        first = int(np.searchsorted(time_ms, time_ms[-1] - self._rule.stop_ms)) if len(time_ms) else 0
        return self._fixes.take(slice(first, None))

    def feed(self, fixes: Fixes) -> Stretch:
        """What is decided by these fixes, which follow those before in event order."""
        self._fixes = self._fixes.then(fixes)
        time_ms = self._fixes.time_ms
        known = len(self._rests)
        upto = int(np.searchsorted(time_ms, time_ms[-1] - self._rule.stop_ms, "right")) if len(time_ms) else 0
        self._judge(max(known, upto))
        return self._hand_out(ended=False)

    def end(self) -> Stretch:
        """All that is left; what follows has nothing to do with it."""
        self._judge(len(self._fixes))
        stretch = self._hand_out(ended=True)
        self._clear()
        return stretch

    def _judge(self, upto: int) -> None:
        known = len(self._rests)
        self._rests = np.concatenate([self._rests, resting(self._fixes, known, upto, self._rule)])

    def _hand_out(self, *, ended: bool) -> Stretch:
        chains = self._chains()
        upto, still_open = len(self._rests), None
        if chains and not ended and not self._closed(chains[-1]):
            last = chains.pop()
            upto, still_open = (last.last + 1, last) if last.stop else (last.first, None)
            if still_open is not None:
                chains.append(last)
        stretch = self._stretch(chains, upto)
        self._open, self._given = still_open, upto
        self._forget()
        return stretch

    def _closed(self, chain: _Chain) -> bool:
        """Whether no fix that comes can be linked to it."""
        left, newest = chain.last + 1, len(self._rests) - 1
        return left <= newest and int(self._fixes.time_ms[newest] - self._fixes.time_ms[left]) >= self._rule.stop_ms

    def _chains(self) -> list[_Chain]:
        """The chains from the open one on, or from the first fix that was not handed out."""
        start = self._given if self._open is None else self._open.last
        rows = start + np.flatnonzero(self._rests[start:])
        if len(rows) == 0:
            return []
        cut = np.flatnonzero(~self._linked(rows[:-1], rows[1:]))
        firsts = rows[np.concatenate([[0], cut + 1])]
        lasts = rows[np.concatenate([cut, [len(rows) - 1]])]
        long = self._fixes.time_ms[lasts] - self._fixes.time_ms[firsts] >= self._rule.stop_ms
        chains = []
        for first, last, lasts_long in zip(firsts.tolist(), lasts.tolist(), long.tolist(), strict=True):
            if self._open is not None and first == self._open.last:
                chains.append(_Chain(first, last, self._open.stop))
                continue
            self._stops += lasts_long
            chains.append(_Chain(first, last, self._stops if lasts_long else 0))
        return chains

    def _linked(self, before: Rows, after: Rows) -> Mask:
        """Whether neighbours among the resting fixes belong together: near, and what lies between is soon over."""
        time_ms, soon_ms = self._fixes.time_ms, self._rule.stop_ms
        together: Mask = time_ms[after - 1] - time_ms[before] < soon_ms
        together |= time_ms[after] - time_ms[before + 1] < soon_ms
        together &= within(self._fixes.place, before, after, UNITS)
        return together

    def _stretch(self, chains: list[_Chain], upto: int) -> Stretch:
        rows = slice(self._given, upto)
        stop = np.zeros(upto - self._given, dtype=np.int64)
        for chain in chains:
            if chain.stop:
                stop[max(chain.first - self._given, 0) : chain.last + 1 - self._given] = chain.stop
        return Stretch(self._fixes.take(rows), self._rests[rows], stop)

    def _forget(self) -> None:
        """Keeps what is not handed out, the last of the open stop, and `min_stop_s` before the first not judged."""
        time_ms, known = self._fixes.time_ms, len(self._rests)
        if known == 0:
            return
        from_ms = time_ms[min(known, len(time_ms) - 1)] - self._rule.stop_ms
        keep = min(int(np.searchsorted(time_ms, from_ms, "right")) - 1, self._given, known - 1)
        if self._open is not None:
            keep = min(keep, self._open.last)
        keep = max(keep, 0)
        self._fixes, self._rests, self._given = (
            self._fixes.take(slice(keep, None)),
            self._rests[keep:],
            self._given - keep,
        )
        if self._open is not None:
            self._open = _Chain(max(self._open.first - keep, 0), self._open.last - keep, self._open.stop)
