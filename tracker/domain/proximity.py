"""Geofences around assets: who is within some metres of whom, as a function of both tracks.

An asset is where its newest fix up to an instant says, until that is older than the longest gap; then nobody knows.
Two assets are judged at the instant of every fix of either: near from `within_m` on, near no more beyond `within_m +
exit_margin_m`, or when one of them is not known. Pure: tracks come in as columns, turns go out as columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np

from tracker.domain.batch import DEGREE, Floats, Ints, Mask
from tracker.domain.fix import OLDEST_MS
from tracker.domain.geodesy import distances_m
from tracker.domain.geofence import AssetFilter, Quality
from tracker.domain.presence import ENTER, EXIT
from tracker.domain.revision import matched
from tracker.domain.runs import spread

MAX_WITHIN_M: Final = 100_000.0
JOINED_AT_ONCE: Final = (
    1_000_000  # pairs of fixes that are compared in one go: bounds memory where a whole fleet is parked together
)

_TIME_BITS: Final = 43  # of milliseconds since OLDEST_MS: until the year 2178
_CELL_BITS: Final = 21
_LEAST_CELL_M: Final = 10.0  # so that the earth has less than 2 ** 21 cells across
_EARTH_M: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
_TOUCH: Final = 1e-6  # metres by which a chord may come out longer than the geodesic, from rounding


@dataclass(frozen=True, slots=True)
class Around:
    """Every place within within_m of an asset that `near` admits, by geodesic distance, the edge included."""

    within_m: float
    near: AssetFilter


@dataclass(frozen=True, slots=True)
class Proximity:
    """One version of a geofence around assets. It judges what is stored in batches from from_batch on; `assets`: whose
    events it tells, None for every asset.
    """

    id: int
    version: int
    name: str
    shape: Around
    quality: Quality
    from_batch: int
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    exit_margin_m: float = 0.0
    max_gap_s: float = 300.0
    assets: AssetFilter | None = None
    options: dict[str, Any] = field(default_factory=dict)  # as they were given

    def judges_like(self, other: "Proximity") -> bool:
        """Whether both would decide the same about every two assets."""
        return (self.shape, self.quality, self.exit_margin_m, self.max_gap_s, self.assets) == (
            other.shape,
            other.quality,
            other.exit_margin_m,
            other.max_gap_s,
            other.assets,
        )

    @property
    def max_gap_ms(self) -> int:
        """The longest time for which a fix says where its asset is."""
        return round(self.max_gap_s * 1000)


@dataclass(frozen=True)
class Tracks:
    """Fixes of several assets in the order of asset, then event order; columns of one length. Times epoch ms, places
    1e-7 degrees, `batch` where each was stored. `ends_ms`: until when each says where its asset is, inclusive.
    """

    asset: Ints
    time_ms: Ints
    lon: Ints
    lat: Ints
    batch: Ints
    ends_ms: Ints
    assets: Ints  # those that have fixes here, ascending
    keys: Ints  # (place in assets, time), ascending

    @classmethod
    def of(cls, fixes: Ints, max_gap_ms: int) -> "Tracks":
        """From (5, n) asset, time_ms, lon, lat and batch, in any order."""
        asset, time_ms, lon, lat, batch = fixes.astype(np.int64)
        order = np.lexsort((batch, lat, lon, time_ms, asset))
        asset, time_ms, lon, lat, batch = (each[order] for each in (asset, time_ms, lon, lat, batch))
        ends_ms = time_ms + max_gap_ms
        same = asset[1:] == asset[:-1]
        ends_ms[:-1][same] = np.minimum(ends_ms[:-1], time_ms[1:] - 1)[same]
        assets, place = np.unique(asset, return_inverse=True)
        return cls(asset, time_ms, lon, lat, batch, ends_ms, assets, _keys(place, time_ms))

    def __len__(self) -> int:
        return len(self.asset)

    def places(self, asset: Ints, at_ms: Ints) -> Ints:
        """The row that says where each of these assets is at each of these instants; -1 where nobody knows."""
        row = self.last(asset, at_ms)
        return np.where((row >= 0) & (self.ends_ms[row] >= at_ms), row, -1) if len(self) else row

    def last(self, asset: Ints, at_ms: Ints) -> Ints:
        """The row of the newest fix of each of these assets up to each of these instants, however old; -1 without
        one.
        """
        if len(self) == 0:
            return np.full(len(asset), -1, np.int64)
        place = np.minimum(np.searchsorted(self.assets, asset), len(self.assets) - 1)
        row = np.searchsorted(self.keys, _keys(place, at_ms), side="right") - 1
        return np.where((row >= 0) & (self.asset[row] == asset), row, -1)

    def spans(self, asset: Ints, from_ms: Ints) -> tuple[Ints, Ints]:
        """Begin and end (exclusive) of the rows of each of these assets from an instant on."""
        begin = np.searchsorted(self.keys, _keys(np.searchsorted(self.assets, asset), from_ms))
        return begin, np.searchsorted(self.asset, asset, side="right")


def _keys(place: Ints, time_ms: Ints) -> Ints:
    return (place.astype(np.int64) << _TIME_BITS) | np.maximum(time_ms - OLDEST_MS, 0)


# Who may have met ----------------------------------------------------------------------------------------------------


def meetings(tracks: Tracks, new: Ints, within_m: float) -> tuple[Ints, Ints]:
    """The assets that one of the rows `new` brought within within_m of another, at some instant that both rows speak
    of.

    Returns:
        (asset, other), each pair once in each direction in which it was found; asset is that of the new row.
    """
    x = _earth_centred(tracks.lon, tracks.lat)
    codes = _codes(x, max(within_m, _LEAST_CELL_M))
    speaks = np.flatnonzero(tracks.ends_ms >= tracks.time_ms)
    order = speaks[np.argsort(codes[speaks], kind="stable")]
    new = new[tracks.ends_ms[new] >= tracks.time_ms[new]]
    new = new[np.argsort(codes[new], kind="stable")]
    found = [np.empty(0, np.int64)]
    for one, two in _neighbours(codes, new, order):
        apart = tracks.asset[one] != tracks.asset[two]
        together = (tracks.time_ms[one] <= tracks.ends_ms[two]) & (tracks.time_ms[two] <= tracks.ends_ms[one])
        row, other = one[apart & together], two[apart & together]
        close = ((x[row] - x[other]) ** 2).sum(axis=1) <= (within_m + _TOUCH) ** 2
        codes_of = (tracks.asset[row[close]] << 32) | tracks.asset[other[close]]
        found.append(np.unique(codes_of))
    pairs = np.unique(np.concatenate(found))
    return pairs >> 32, pairs & 0xFFFFFFFF


def _neighbours(codes: Ints, new: Ints, order: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(new row, row) of all that stand in the same or in an adjacent cell, in portions of bounded size.

    Args:
        order: rows in the order of their codes, as those of `new` are. Three cells in a row have codes in a row.
    """
    ordered, mine = codes[order], codes[new]
    for step in [(i << (2 * _CELL_BITS)) + (j << _CELL_BITS) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
        begin = np.searchsorted(ordered, mine + (step - 1))
        end = np.searchsorted(ordered, mine + (step + 1), side="right")
        full = np.flatnonzero(end > begin)
        while len(full):
            total = np.cumsum(end[full] - begin[full])
            take = max(1, int(np.searchsorted(total, JOINED_AT_ONCE, side="right")))
            some, full = full[:take], full[take:]
            which, near = spread(begin[some], (end - begin)[some])
            yield new[some][which], order[near]


def _codes(x: Floats, cell_m: float) -> Ints:
    """The cells of places as one number each; no place is in the first or the last cell of a dimension."""
    cells = np.floor(x / cell_m).astype(np.int64) + (1 << (_CELL_BITS - 1))
    code: Ints = (cells[:, 0] << (2 * _CELL_BITS)) | (cells[:, 1] << _CELL_BITS) | cells[:, 2]
    return code


def _earth_centred(lon: Ints, lat: Ints) -> Floats:
    """(n, 3) metres from the centre of the ellipsoid. The straight way between two points is no longer than the
    geodesic.
    """
    east, north = np.radians(lon / DEGREE), np.radians(lat / DEGREE)
    squared = _FLATTENING * (2 - _FLATTENING)
    radius = _EARTH_M / np.sqrt(1 - squared * np.sin(north) ** 2)
    flat = radius * np.cos(north)
    return np.stack([flat * np.cos(east), flat * np.sin(east), radius * (1 - squared) * np.sin(north)], axis=1)


# Judging pairs -------------------------------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """Pairs to be judged: columns. Each from an instant on, before which it was near or not; only what was stored in
    batches from since_batch on decides.
    """

    asset: Ints
    other: Ints
    from_ms: Ints
    was_near: Mask
    since_batch: Ints


class Turns(NamedTuple):
    """Where pairs turned near, or near no more: columns, in the order of pair and time. row: of the track that says
    where the asset was, -1 where nobody knew; distance_m NaN where one of the two was not known.
    """

    pair: Ints
    kind: Ints
    time_ms: Ints
    row: Ints
    distance_m: Floats


def turns(tracks: Tracks, pairs: Pairs, within_m: float, margin_m: float) -> Turns:
    """What becomes of the pairs, as far as the tracks go."""
    pair, at_ms = _instants(tracks, pairs)
    asset, other = tracks.places(pairs.asset[pair], at_ms), tracks.places(pairs.other[pair], at_ms)
    metres = _distances_m(tracks, asset, other, within_m + margin_m)
    near, far = metres <= within_m, ~(metres <= within_m + margin_m)
    decided = _last(np.where(near | far, np.arange(len(pair)), -1), pair)
    state = np.where(decided >= 0, near[decided], pairs.was_near[pair])
    before = np.empty(len(pair), np.bool_)
    before[1:] = state[:-1]
    first = np.ones(len(pair), np.bool_)
    first[1:] = pair[1:] != pair[:-1]
    before[first] = pairs.was_near[pair[first]]
    turned = np.flatnonzero(state != before)
    told_m = np.where(np.isfinite(metres), metres, np.nan)
    known = np.flatnonzero(np.isinf(metres[turned]))
    told_m[turned[known]] = _exact_m(tracks, asset[turned[known]], other[turned[known]])
    return Turns(pair[turned], np.where(state[turned], ENTER, EXIT), at_ms[turned], asset[turned], told_m[turned])


def _instants(tracks: Tracks, pairs: Pairs) -> tuple[Ints, Ints]:
    """(pair, instant) of every fix of either that decides, each once, in order."""
    number = np.arange(len(pairs.asset))
    found = []
    for who in (pairs.asset, pairs.other):
        here = np.isin(who, tracks.assets)
        begin, end = tracks.spans(who[here], pairs.from_ms[here])
        which, row = spread(begin, end - begin)
        pair = number[here][which]
        decides = tracks.batch[row] >= pairs.since_batch[pair]
        found.append(np.stack([pair[decides], tracks.time_ms[row[decides]]]))
    both = np.concatenate(found, axis=1)
    order = np.lexsort((both[1], both[0]))
    pair, at_ms = both[0][order], both[1][order]
    once = np.ones(len(pair), np.bool_)
    once[1:] = (pair[1:] != pair[:-1]) | (at_ms[1:] != at_ms[:-1])
    return pair[once], at_ms[once]


def _distances_m(tracks: Tracks, asset: Ints, other: Ints, most_m: float) -> Floats:
    """Geodesic distances; NaN where one is not known, inf where they are surely more than most_m."""
    metres = np.full(len(asset), np.nan)
    known = np.flatnonzero((asset >= 0) & (other >= 0))
    asset, other = asset[known], other[known]
    a = _earth_centred(tracks.lon[asset], tracks.lat[asset])
    b = _earth_centred(tracks.lon[other], tracks.lat[other])
    close = np.flatnonzero(((a - b) ** 2).sum(axis=1) <= (most_m + _TOUCH) ** 2)
    metres[known] = np.inf
    metres[known[close]] = _exact_m(tracks, asset[close], other[close])
    return metres


def _exact_m(tracks: Tracks, row: Ints, other: Ints) -> Floats:
    lon, lat, to_lon, to_lat = tracks.lon[row], tracks.lat[row], tracks.lon[other], tracks.lat[other]
    return distances_m(lon / DEGREE, lat / DEGREE, to_lon / DEGREE, to_lat / DEGREE)


def _last(row: Ints, pair: Ints) -> Ints:
    """Of each row the last one up to it that is not -1, within its pair; -1 where there is none."""
    last = np.maximum.accumulate(row) if len(row) else row
    return np.where((last >= 0) & (pair[last] == pair), last, -1)


# What is told --------------------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """A turn of a pair that was told, or is to be: event None until it has its place in the feed."""

    kind: int
    time_ms: int
    lon: int | None
    lat: int | None
    event: int | None = None
    distance_m: float | None = None  # None: one of the two was not known any more


class Change(NamedTuple):
    """What is to be told of a pair: old None tells of `new`, new None retracts, both revise."""

    old: Told | None
    new: Told | None


def compare(old: Sequence[Told], new: Sequence[Told]) -> tuple[list[Told], list[Change]]:
    """The turns that stand and should, and what is to be told, in the order of time. Both sequences are of one pair
    and alternate.
    """
    same, lost, found = matched(old, new, _content, _content)
    changes = []
    for kind in (ENTER, EXIT):
        of_kind = ([each for each in some if each.kind == kind] for some in (lost, found))
        changes += [Change(*pair) for pair in zip_longest(*of_kind)]
    return [each for each, _ in same], sorted(changes, key=lambda each: _place(each.new or each.old))


def _content(told: Told) -> tuple[object, ...]:
    return told[:4]


def _place(told: Told | None) -> tuple[int, int]:
    assert told is not None
    return told.time_ms, told.kind
