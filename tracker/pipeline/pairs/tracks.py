"""Where assets were: from the recent fixes in memory as far as they go, else from the tables."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tracker.domain.batch import DEGREE, Floats, Ints
from tracker.domain.geodesy import covers
from tracker.domain.proximity import Tracks
from tracker.domain.recent import AT_ONCE, Recent
from tracker.pipeline.pairs.rule import Rule
from tracker.pipeline.pairs.span import Spans
from tracker.store import proximity as store
from tracker.store.database import Connection
from tracker.store.proximity import Pair

FEW: Final = 50  # assets whose fixes are read without asking first whether they were near


@dataclass(slots=True)
class Sight:
    """Of one quality: recent fixes, and what of them is to be judged."""

    recent: Recent = field(default_factory=Recent)
    spans: Spans = field(default_factory=dict)


def put(recent: Recent, fixes: Ints) -> None:
    """In portions that leave room for what was there."""
    order = np.lexsort((fixes[3], fixes[2], fixes[1], fixes[0]))
    fixes = fixes[:, order]
    portion = (np.arange(fixes.shape[1]) - np.searchsorted(fixes[0], fixes[0])) // AT_ONCE
    for number in range(int(portion.max(initial=-1)) + 1):
        recent.put(*fixes[:, portion == number])


async def tracks_of(
    connection: Connection,
    rule: Rule,
    sight: Sight,
    spans: Spans,
    stays: Iterable[tuple[Pair, int]],
    from_ms: int,
    until_ms: int,
) -> Tracks:
    """All that says where whoever may be concerned was, in a span of time: from memory as far as it goes, else from
    the tables.
    """
    gap_ms, involved = rule.fence.max_gap_ms, rule.involved()
    for asset in involved[-1:].tolist():
        sight.recent.reserve(asset)
    covered = sight.recent.covers(involved, from_ms, gap_ms)
    fixes = sight.recent.rows(involved[covered], from_ms)
    lacking = involved[~covered]
    if len(lacking):
        needed = np.intersect1d(lacking, [*spans, *{asset for pair, _ in stays for asset in pair}])
        mine = await _read(connection, rule, needed, from_ms, until_ms)
        others = np.setdiff1d(lacking, needed)
        moved = np.concatenate([fixes, mine], axis=1)
        moved = moved[:, np.isin(moved[0], list(spans)) & (moved[1] >= from_ms)]
        if len(others) > FEW:
            boxes = _boxes(moved, rule.fence.shape.within_m)
            others = await store.assets_in_boxes(connection, others, from_ms - gap_ms, until_ms, boxes)
        fixes = np.concatenate([fixes, mine, await _read(connection, rule, others, from_ms, until_ms)], axis=1)
    fixes = fixes[:, fixes[1] <= until_ms]
    return Tracks.of(fixes, gap_ms)


async def _read(connection: Connection, rule: Rule, assets: Ints, from_ms: int, until_ms: int) -> Ints:
    if len(assets) == 0:
        return np.empty((5, 0), np.int64)
    times = np.full(len(assets), from_ms - rule.fence.max_gap_ms), np.full(len(assets), until_ms)
    return await store.read_fixes(connection, assets, rule.fence.quality, *times)


def _boxes(fixes: Ints, within_m: float) -> Floats:
    """Few boxes that hold every place within within_m of the fixes: one for all, or all around where that is too
    wide.
    """
    _, boxes = covers(fixes[2] / DEGREE, fixes[3] / DEGREE, np.full(fixes.shape[1], within_m))
    if len(boxes) == 0:
        return np.array([[0.0, 100.0, 0.0, 100.0]])  # nowhere
    return np.array([[boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()]])
