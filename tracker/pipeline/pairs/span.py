"""What is to be judged: of which assets there are new fixes, in which spans of time."""

from typing import Final, NamedTuple, TypeAlias

import numpy as np

from tracker.domain.batch import Ints
from tracker.domain.recent import Recent

WINDOW_MS: Final = 600_000  # spans that begin within this of each other are judged together
LONGEST_MS: Final = 3_600_000  # of a span that is judged at once: a month of late fixes is judged hour by hour


class Span(NamedTuple):
    """New fixes of an asset: the times of the first and the last; late: some are older than what was known."""

    first_ms: int
    last_ms: int
    late: bool

    def union(self, other: "Span | None") -> "Span":
        if other is None:
            return self
        return Span(min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms), self.late or other.late)


Spans: TypeAlias = dict[int, Span]


def spans_of(fixes: Ints, recent: Recent) -> Spans:
    """What is new of each asset."""
    assets, place = np.unique(fixes[0], return_inverse=True)
    first, last = np.full(len(assets), np.iinfo(np.int64).max), np.full(len(assets), np.iinfo(np.int64).min)
    np.minimum.at(first, place, fixes[1])
    np.maximum.at(last, place, fixes[1])
    late = first < recent.newest(assets)
    columns = (assets.tolist(), first.tolist(), last.tolist(), late.tolist())
    return {asset: Span(*span) for asset, *span in zip(*columns, strict=True)}


def first_window(spans: Spans) -> Spans:
    """Take the spans that begin first, and of long ones their beginning."""
    if not spans:
        return {}
    from_ms = min(span.first_ms for span in spans.values())
    chosen = {asset: span for asset, span in spans.items() if span.first_ms <= from_ms + WINDOW_MS}
    until_ms = from_ms + LONGEST_MS
    for asset, span in chosen.items():
        if span.last_ms > until_ms:
            chosen[asset] = span._replace(last_ms=until_ms)
            spans[asset] = span._replace(first_ms=until_ms + 1)
        else:
            del spans[asset]
    return chosen
