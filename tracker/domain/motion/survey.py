"""Stops and trips of one asset, read once from the stream of its fixes, in as many pieces as they come."""

from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Columns, Mask
from tracker.domain.motion.places import fixes_of, no_fixes
from tracker.domain.motion.rule import LONGEST_SILENCE_MS, Rule
from tracker.domain.motion.stay import Stays, Stretch
from tracker.domain.motion.stops import Stop, Stops
from tracker.domain.motion.trips import Span, Trip, Trips

# Go from the first fix that was read to the first that is min_stop_s later, so many times: what begins there or later
# does so whatever came before. Once for what rests, once for what is linked, once for what lasts long enough.
MARGIN_HOPS: Final = 3
_EVER_MS: Final = -(2**62)

Segment = TypeVar("Segment", Stop, Trip)


@dataclass(slots=True)
class Found:
    """What came to an end, in the order of its beginning."""

    stops: list[Stop] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)


class Survey:
    """Feed it an asset's fixes in event order; it keeps little more than a few times `min_stop_s` of them."""

    def __init__(self, rule: Rule, asked: Span, *, from_first: bool = True, lines: bool = False) -> None:
        """`from_first`: within the longest silence that is looked across, no fix lies before those that come."""
        self._rule = rule
        self._stays, self._stops, self._trips = Stays(rule), Stops(rule), Trips(rule, asked, lines=lines)
        self._newest_ms: int | None = None
        self._certain_ms = _EVER_MS
        self._hops = 0 if from_first else MARGIN_HOPS  # that are still to be made
        self._settled = from_first
        self.last_run: Trip | None = None  # under way at the end, and no stop; perhaps too short for a trip
        self.recent = no_fixes()  # at the end: the fixes of the newest min_stop_s

    @property
    def untold_stops_ms(self) -> int | None:
        """No stop that is still to be told begins before this; None: nothing is under way."""
        current = self._stops.current_from_ms
        return self._stays.undecided_ms if current is None else current

    @property
    def untold_trips_ms(self) -> int | None:
        """The same of trips."""
        current = self._trips.untold_ms
        return self._stays.undecided_ms if current is None else current

    @property
    def newest_ms(self) -> int | None:
        """The time of the newest trusted fix."""
        return self._newest_ms

    @property
    def settled(self) -> bool:
        """Whether something began that begins there whatever lies before the first fix that was read."""
        begun = (self._stops.current_from_ms, self._trips.current_from_ms)
        return self._settled or any(from_ms is not None and self._certain(from_ms) for from_ms in begun)

    def feed(self, columns: Columns, trusted: Mask) -> Found:
        """What these fixes bring to an end; none is equal to one before in time, lon and lat."""
        fixes = fixes_of(columns, trusted, self._rule.stop_diameter_m)
        found = Found()
        if len(fixes) == 0:
            return found
        before_ms = int(fixes.time_ms[0]) if self._newest_ms is None else self._newest_ms
        self._hop(fixes.time_ms)
        cuts = np.flatnonzero(np.diff(fixes.time_ms, prepend=before_ms) > LONGEST_SILENCE_MS).tolist()
        for first, last in zip([0, *cuts], [*cuts, len(fixes)], strict=True):
            self._take(self._stays.feed(fixes.take(slice(first, last))), found)
            if last < len(fixes):
                self._finish(found)
                self._certain_ms, self._hops = _EVER_MS, 0
        self._newest_ms = int(fixes.time_ms[-1])
        return found

    def end(self, until_ms: int, now_ms: int) -> Found:
        """What is left when every fix up to `until_ms` was fed. What no fix has ended by now goes on: a stop, and a
        trip that is not long silent.
        """
        found = Found()
        self.recent = self._stays.recent
        newest_ms = until_ms if self._newest_ms is None else self._newest_ms
        present = until_ms >= now_ms
        self._finish(found, stop_open=present, trip_open=present and now_ms - newest_ms <= self._rule.gap_ms)
        if not present and until_ms - newest_ms <= LONGEST_SILENCE_MS:  # fixes after until_ms may have their say
            found.stops = [replace(each, whole=False) for each in found.stops]
            found.trips = [replace(each, whole=False) for each in found.trips]
        return found

    def _finish(self, found: Found, *, stop_open: bool = False, trip_open: bool = False) -> None:
        self._take(self._stays.end(), found)
        found.stops += map(self._judged, self._stops.end(is_open=stop_open))
        runs = self._trips.end(is_open=trip_open)
        self.last_run = runs[-1] if runs and runs[-1].to_ms == self._newest_ms else None
        found.trips += self._told(runs)

    def _take(self, stretch: Stretch, found: Found) -> None:
        found.stops += map(self._judged, self._stops.feed(stretch))
        found.trips += self._told(self._trips.feed(stretch))

    def _told(self, runs: list[Trip]) -> list[Trip]:
        """Those that lead somewhere."""
        return [self._judged(run) for run in runs if run.reach_m >= self._rule.stop_diameter_m]

    def _judged(self, found: Segment) -> Segment:
        """With its mark, if it may have begun earlier than was read."""
        if not self._certain(found.from_ms):
            return replace(found, whole=False)
        self._settled = True
        return found

    def _certain(self, from_ms: int) -> bool:
        return self._hops == 0 and from_ms >= self._certain_ms

    def _hop(self, time_ms: NDArray[np.int64]) -> None:
        if self._hops == MARGIN_HOPS and self._newest_ms is None:
            self._certain_ms = int(time_ms[0])
        while self._hops:
            row = int(np.searchsorted(time_ms, self._certain_ms + self._rule.stop_ms))
            if row == len(time_ms):
                return
            self._certain_ms = int(time_ms[row])
            self._hops -= 1
