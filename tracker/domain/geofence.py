"""Geofences with their options, and their versions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tracker.domain.schedule import Schedule
from tracker.domain.shape import Shape

Quality = Literal["trusted", "all"]
DEFAULT_MAX_GAP_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Which assets a geofence judges: those with one of the ids or one of the tags."""

    ids: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()

    def admits(self, asset: int, tags: frozenset[str]) -> bool:
        return asset in self.ids or not self.tags.isdisjoint(tags)


@dataclass(frozen=True, slots=True)
class Rule:
    """The options of the crossing model; without any a geofence is exact. docs/geofences.md defines them."""

    edge: Literal["exact", "certain"] = "exact"
    exit_margin_m: float = 0.0
    confirm_fixes: int = 1
    confirm_s: float = 0.0
    dwell_after_s: float | None = None
    cross: bool = False
    max_gap_s: float = DEFAULT_MAX_GAP_S
    alt_min_m: float | None = None
    alt_max_m: float | None = None
    schedule: Schedule | None = None
    absence: bool = False
    speed_limit_mps: float | None = None
    over_for_s: float = 0.0
    assets: AssetFilter | None = None

    @property
    def plain(self) -> bool:
        """Whether membership alone decides: every fix counts at once, and nothing but enter and exit is told."""
        return self is PLAIN or self == Rule(max_gap_s=self.max_gap_s)


PLAIN: Final = Rule()


@dataclass(frozen=True, slots=True)
class Geofence:
    """One version of a geofence. since_batch: the first batch that its first version judged, so that an asset of which
    no fix was stored since was never seen.
    """

    id: int
    version: int
    name: str
    shape: Shape
    quality: Quality
    since_batch: int
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    rule: Rule = PLAIN
    options: dict[str, Any] = field(default_factory=dict)  # the rule as it was given
    once_ruled: bool = False  # another version had options: what is known of a visit outlives the change
    once_all: bool = False  # another version judged every fix: whom it saw first, a late one may change

    @property
    def ruled(self) -> bool:
        """Whether more than membership may have to be remembered."""
        return self.once_ruled or not self.rule.plain

    @property
    def sees_all(self) -> bool:
        """Whether a late fix with flags may change what was told."""
        return self.once_all or self.quality == "all"

    def judges_like(self, other: "Geofence") -> bool:
        """Whether both would decide the same about every fix."""
        return (self.shape, self.quality, self.rule) == (other.shape, other.quality, other.rule)


@dataclass(frozen=True, slots=True)
class Version:
    """A geofence as it judges the fixes stored in batches from from_batch on, until its next version."""

    from_batch: int
    fence: Geofence


Matches = Callable[[int, Geofence], bool]  # whether an asset is one that the geofence judges


def matches_any(_asset: int, fence: Geofence) -> bool:
    """For fleets without tags: only geofences without a filter judge."""
    return fence.rule.assets is None
