"""Changes of geofences and of assets' tags: what becomes of those inside, and of those that are inside now.

The new version is asked about the newest fix of each asset that the geofence has seen. Pure: nothing is changed until
a Turned is applied.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from tracker.domain.batch import DEGREE, Ints
from tracker.domain.evidence import IN, OUT, UNSURE, evidence
from tracker.domain.geofence import Geofence, Matches
from tracker.domain.index import FenceIndex
from tracker.domain.presence import ENTER, EXIT, OUTSIDE, Entry, LastFix, Presence
from tracker.domain.shape import holds

FENCE_CHANGED: Final = "fence_changed"
FENCE_DELETED: Final = "fence_deleted"
ASSET_CHANGED: Final = "asset_changed"
ASSET_DELETED: Final = "asset_deleted"


@dataclass(frozen=True, slots=True)
class Turned:
    """What a change does to one asset. kind: EXIT, ENTER, or None when its side stays; new: None when the geofence is
    gone, or the asset.
    """

    asset: int
    kind: int | None
    old: Geofence
    new: Geofence | None
    fix: LastFix | None  # at whose place it turns
    cause: str
    entry: Entry  # afterwards

    @property
    def fence(self) -> Geofence:
        """The version that is named: the old one is left, the new one entered."""
        return self.new if self.kind == ENTER and self.new is not None else self.old

    def apply(self, presence: Presence) -> None:
        """Make it current."""
        for sight in presence.sights:
            sight.forget(self.asset, self.old.id)
        if self.new is None or self.entry == OUTSIDE:
            return
        sight = presence.sight(self.new.quality == "all")
        if self.new.ruled:
            sight.put_entries(self.asset, {**sight.entries.get(self.asset, {}), self.new.id: self.entry})
        elif self.entry.inside:
            sight.put_inside(self.asset, {**sight.inside.get(self.asset, {}), self.new.id: self.entry.enter_ms})


def turned(
    presence: Presence,
    old: Geofence,
    new: Geofence,
    assets: Ints | None,
    matches: Matches,
    cause: str = FENCE_CHANGED,
) -> list[Turned]:
    """What a change does to these assets, or (None) to the whole fleet: exits first, each by asset."""
    asked, says = _asked(presence, old, new, assets, matches)
    found = []
    for asset, said in zip(asked, says, strict=True):
        inside = presence.fences_of(asset)
        was = presence.entry(asset, old.id)
        fix = _place(presence, asset, old, new)
        entry = _reconsidered(was, inside.get(old.id), said, fix)
        kind = None if entry.inside == (old.id in inside) else ENTER if entry.inside else EXIT
        found.append(Turned(asset, kind, old, new, fix, cause, entry))
    return sorted(found, key=lambda each: (each.kind != EXIT, each.asset))


def ended(presence: Presence, old: Geofence, cause: str, assets: Iterable[int] | None = None) -> list[Turned]:
    """The end of a geofence, or of these assets in it."""
    known = presence.assets_with(old.id) if assets is None else assets
    return [
        Turned(
            asset,
            EXIT if old.id in presence.fences_of(asset) else None,
            old,
            None,
            _place(presence, asset, old),
            cause,
            OUTSIDE,
        )
        for asset in known
    ]


def _asked(
    presence: Presence, old: Geofence, new: Geofence, assets: Ints | None, matches: Matches
) -> tuple[list[int], list[int]]:
    """The assets that a change may concern, and what the new version says of the newest fix of each."""
    newest = presence.sight(new.quality == "all").newest
    asked = np.arange(len(newest.time_ms)) if assets is None else assets
    seen = asked[newest.batch[asked] >= old.since_batch]
    held = seen[holds(new.shape, newest.lon[seen] / DEGREE, newest.lat[seen] / DEGREE)] if len(seen) else seen
    known = np.array(presence.assets_with(old.id), np.int64)
    numbers = np.union1d(held, np.intersect1d(known, asked)).astype(np.int64)
    if not len(numbers):
        return [], []
    says = evidence(
        FenceIndex([new]),
        np.full(len(numbers), new.id, np.int64),
        newest.time_ms[numbers],
        newest.lon[numbers],
        newest.lat[numbers],
        newest.alt[numbers],
        newest.accuracy[numbers],
        np.isin(numbers, held),
    )
    says = np.where(np.isin(numbers, seen), says, UNSURE)  # without a fix in its quality it says nothing
    judged = [matches(asset, new) for asset in numbers.tolist()]
    return numbers.tolist(), np.where(judged, says, OUT).tolist()


def _place(presence: Presence, asset: int, *versions: Geofence) -> LastFix | None:
    """The fix at whose place a side turns: the newest that one of the versions judges, so that no visit ends before it
    began where the quality becomes stricter; where there is none, the newest of any.
    """
    fixes = [presence.sight(each.quality == "all").newest.get(asset) for each in versions]
    known = [fix for fix in fixes if fix is not None]
    return max(known, key=lambda fix: fix.key) if known else presence.every.newest.get(asset)


def _reconsidered(was: Entry, enter_ms: int | None, says: int, fix: LastFix | None) -> Entry:
    """An entry after a change; enter_ms: of the visit under way, None outside."""
    inside = enter_ms is not None if says == UNSURE else says == IN
    if not inside:
        return Entry(absent_ms=was.absent_ms)
    if enter_ms is not None:
        return Entry(
            inside=True,
            enter_ms=enter_ms,
            dwelt=was.dwelt,
            haste_ms=was.haste_ms,
            hasted=was.hasted,
            absent_ms=was.absent_ms,
        )
    assert fix is not None
    return Entry(inside=True, enter_ms=fix.time_ms, absent_ms=was.absent_ms)
