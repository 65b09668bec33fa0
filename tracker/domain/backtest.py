"""A geofence tried on history: which stretches of it can matter, and what the engine makes of them.

Pure. A stretch is left out only if it provably tells nothing: the asset is outside with nothing under way, no fix of it
can lie in the shape, and it is not the last before one that may (whose fixes begin the chords that follow).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from tracker.domain.batch import DEGREE, Columns
from tracker.domain.geodesy import Box
from tracker.domain.geofence import Geofence
from tracker.domain.index import FenceIndex
from tracker.domain.judge import judge
from tracker.domain.presence import Crossed, Presence
from tracker.domain.shape import boxes, buffer_m, from_wkb, radius_m, to_wkb

UNLIMITED_MPS: Final = 1e9  # doubts are stored: nothing is to be doubted again
MAX_STRETCH: Final = 50_000  # fixes, or about as many: a longer one is cut
_WORLD_DEG: Final = 180.0  # a box as wide may have chords over the antimeridian

Span = tuple[int, int]


class Piece(NamedTuple):
    """Stored fixes of an asset from first_ms to last_ms. box in 1e-7 degrees; sure: a trusted fix is among them."""

    first_ms: int
    last_ms: int
    fixes: int
    box: tuple[int, int, int, int]
    sure: bool


class Stretch(NamedTuple):
    """A time of an asset, both ends included; wanted: it is to be judged even if the asset is outside before it."""

    first_ms: int
    last_ms: int
    fixes: int
    wanted: bool


class Finding(NamedTuple):
    """An event that there would have been. Places in 1e-7 degrees."""

    kind: int
    asset: int
    time_ms: int
    lon: int
    lat: int
    initial: bool
    cause: str | None
    crossed: Crossed | None


def copied(fence: Geofence) -> Geofence:
    """With a shape of its own: what prepares a polygon for questions is built at the first ones, and two threads that
    ask at once would crash the process.
    """
    shape = fence.shape
    return replace(fence, shape=from_wkb(to_wkb(shape), radius_m(shape), buffer_m(shape)))


# What can matter -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Merged:
    first_ms: int
    last_ms: int
    fixes: int
    box: Box
    sure: bool
    cut: bool  # by an end of the span: how many of its fixes count is not known before it is read


def stretches(pieces: Sequence[Piece], fence: Geofence, span: Span) -> list[Stretch]:
    """The history of one asset in a span, from its pieces in the order of first_ms. Each stretch has a fix that the
    geofence sees, but for those at the ends.
    """
    merged = _merged(pieces, fence.quality == "all", span)
    shape_boxes = boxes(fence.shape)
    near = [fence.rule.absence or each.cut or _meets(each.box, shape_boxes) for each in merged]
    if fence.rule.cross:
        for i in range(len(merged) - 1):
            if _meets(_hull(merged[i].box, merged[i + 1].box), shape_boxes):
                near[i] = near[i + 1] = True
    wanted = [here or following for here, following in zip(near, [*near, False][1:], strict=True)]
    return [
        part for each, is_wanted in zip(merged, wanted, strict=True) for part in _parts(each, span, is_wanted=is_wanted)
    ]


def _merged(pieces: Iterable[Piece], takes_all: bool, span: Span) -> list[_Merged]:  # noqa: FBT001 - of the quality
    """Pieces that overlap in time are one, and those of which no fix is sure to be seen are one with the next."""
    found: list[_Merged] = []
    for piece in pieces:
        cut = piece.first_ms < span[0] or piece.last_ms > span[1]
        west, south, east, north = piece.box
        box: Box = (west / DEGREE, south / DEGREE, east / DEGREE, north / DEGREE)
        sure = takes_all or piece.sure  # one that begins before the span is the first anyway
        last = found[-1] if found else None
        if last is not None and (piece.first_ms <= last.last_ms or not last.sure):
            last.last_ms, last.fixes = max(last.last_ms, piece.last_ms), last.fixes + piece.fixes
            last.box, last.sure, last.cut = _hull(last.box, box), last.sure or sure, last.cut or cut
        else:
            found.append(_Merged(piece.first_ms, piece.last_ms, piece.fixes, box, sure, cut))
    return found


def _hull(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _meets(box: Box, shape_boxes: Iterable[Box]) -> bool:
    west, south, east, north = box
    if east - west > _WORLD_DEG:
        west, east = -180.0, 180.0
    return any(b[0] <= east and b[2] >= west and b[1] <= north and b[3] >= south for b in shape_boxes)


def _parts(each: _Merged, span: Span, *, is_wanted: bool) -> Iterator[Stretch]:
    """A stretch within the span, in parts of about MAX_STRETCH fixes."""
    first_ms, last_ms = max(each.first_ms, span[0]), min(each.last_ms, span[1])
    count = min(-(-each.fixes // MAX_STRETCH), last_ms - first_ms + 1)
    for i in range(count):
        start = first_ms + (last_ms - first_ms + 1) * i // count
        end = first_ms + (last_ms - first_ms + 1) * (i + 1) // count - 1
        yield Stretch(start, end, each.fixes // count, is_wanted)


# Judging -------------------------------------------------------------------------------------------------------------


class Trial:
    """One geofence, asked by one thread at a time, and some assets, from nothing on: as if it had been made just before
    the first of their fixes.
    """

    def __init__(self, fence: Geofence, assets: Sequence[int]) -> None:
        self._assets = np.array(sorted(assets), np.int32)
        self._place = {asset: i for i, asset in enumerate(self._assets.tolist())}
        self._index = FenceIndex([replace(fence, since_batch=0, rule=replace(fence.rule, assets=None))])
        self._presence = Presence()
        self._presence.reserve(len(assets))

    def is_idle(self, asset: int) -> bool:
        """Whether the asset is outside with nothing under way."""
        place = self._place[asset]
        return not any(place in sight.inside or place in sight.entries for sight in self._presence.sights)

    def judge(self, columns: Columns) -> list[Finding]:
        """The events of fixes of any of the assets, all after what was judged of theirs; in feed order.

        Args:
            columns: flags are those of every kind.
        """
        if not len(columns):
            return []
        local = replace(columns, asset=np.searchsorted(self._assets, columns.asset).astype(np.int32))
        found = judge(self._presence, self._index, local, 1, matches=_any_asset, max_speed_mps=UNLIMITED_MPS)
        self._presence.apply(found)
        told = found.transitions
        row = told.row
        return [
            Finding(*each)
            for each in zip(
                told.kind.tolist(),
                columns.asset[row].tolist(),
                columns.time_ms[row].tolist(),
                columns.lon[row].tolist(),
                columns.lat[row].tolist(),
                told.initial.tolist(),
                told.cause,
                told.crossed,
                strict=True,
            )
        ]


def _any_asset(_asset: int, _fence: Geofence) -> bool:
    """Those that the filter does not admit are left out before."""
    return True
