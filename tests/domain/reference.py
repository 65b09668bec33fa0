"""What geofences report, computed from docs/geofences.md as it reads: one asset and one geofence at a time, fix by fix.

Slow on purpose, and independent: no numpy, no index, no state that outlives a call, nothing of the engine's code. Every
fix is looked at with the whole history beside it. Where that page leaves something open, the sentence that was chosen
stands here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal, Protocol

from tests.domain.areas import Area, Chord, Part, Remembered, distance_m, plain_area

UNIT: Final = 10_000_000  # positions are integers of 1e-7 degrees
Quality = Literal["trusted", "all"]
Kind = Literal["exit", "enter", "cross", "dwell", "speeding", "absent"]
KINDS: Final[tuple[Kind, ...]] = ("exit", "enter", "cross", "dwell", "speeding", "absent")  # their order at one fix
Key = tuple[int, int, int]

# -------------------------------------
# What is given
# -------------------------------------


@dataclass(frozen=True, slots=True)
class FixRow:
    """A stored fix. lon, lat in 1e-7 degrees, alt and accuracy in 0.1 m, speed in 0.01 m/s, course in 0.1 degrees; None
    is not known. flags: 0 is trusted.
    """

    time_ms: int
    lon: int
    lat: int
    alt: int | None = None
    speed: int | None = None
    course: int | None = None
    accuracy: int | None = None
    flags: int = 0
    batch: int = 1
    asset: int = 1

    @property
    def key(self) -> Key:
        """Fixes of one asset that are equal in this count once."""
        return self.time_ms, self.lon, self.lat

    @property
    def place(self) -> tuple[float, float]:
        return self.lon / UNIT, self.lat / UNIT

    @property
    def event_order(self) -> tuple[int, ...]:
        rest = (self.alt, self.speed, self.course, self.accuracy)
        known = [(0, 0) if value is None else (1, value) for value in rest]
        return (*self.key, *(number for pair in known for number in pair), self.batch, self.flags)


class Hours(Protocol):
    """A schedule as far as this program looks at it: when it holds, start included, end not."""

    @property
    def intervals(self) -> Sequence[tuple[int, int]]: ...


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a geofence with its options. It judges what is stored in batches from_batch up to, not including,
    to_batch. tags, ids: the assets filter; both empty: every asset.
    """

    fence: int
    version: int
    from_batch: int
    shape: Any
    to_batch: int | None = None
    quality: Quality = "trusted"
    edge: Literal["exact", "certain"] = "exact"
    exit_margin_m: float = 0.0
    confirm_fixes: int = 1
    confirm_s: float = 0.0
    dwell_after_s: float | None = None
    cross: bool = False
    max_gap_s: float = 300.0
    alt_min_m: float | None = None
    alt_max_m: float | None = None
    schedule: Hours | None = None
    absence: bool = False
    speed_limit_mps: float | None = None
    over_for_s: float = 0.0
    tags: frozenset[str] = frozenset()
    ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TagsChange:
    """The tags of an asset for what is stored from a batch on."""

    asset: int
    from_batch: int
    tags: frozenset[str]


# -------------------------------------
# What comes out
# -------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """An event."""

    kind: Kind
    asset: int
    fence: int
    version: int
    time_ms: int
    lon: int
    lat: int
    initial: bool = False
    cause: str | None = None
    crossed_ms: int | None = None
    crossed_lon: int | None = None
    crossed_lat: int | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    asset: int
    fence: int
    enter_ms: int
    exit_ms: int | None
    initial: bool


def same(a: Told, b: Told, tolerance_ms: float = 1, tolerance_units: float = 10) -> bool:
    """Whether both are one event: equal, but that the instant and the place (1e-7 degrees) of the crossing may differ a
    little.
    """
    if _exact_part(a) != _exact_part(b):
        return False
    for x, y, tolerance, around in (
        (a.crossed_ms, b.crossed_ms, tolerance_ms, 0),
        (a.crossed_lon, b.crossed_lon, tolerance_units, 360 * UNIT),
        (a.crossed_lat, b.crossed_lat, tolerance_units, 0),
    ):
        if (x is None) != (y is None):
            return False
        if x is not None and y is not None:
            apart = abs(x - y)
            if min(apart, abs(around - apart) if around else apart) > tolerance:
                return False
    return True


def _exact_part(told: Told) -> tuple[object, ...]:
    return (
        *(told.kind, told.asset, told.fence, told.version),
        *(told.time_ms, told.lon, told.lat, told.initial, told.cause),
    )


# -------------------------------------
# What one fix says
# -------------------------------------

Line = Literal["off schedule", "altitude unknown", "altitude outside", "uncertain", "inside", "margin", "outside"]
Word = Literal["in", "out", "unsure"]
SAYS: Final[Mapping[Line, Word]] = {
    "off schedule": "out",
    "altitude unknown": "unsure",
    "altitude outside": "out",
    "uncertain": "unsure",
    "inside": "in",
    "margin": "unsure",
    "outside": "out",
}


def line_of(version: Version, area: Area, fix: FixRow) -> Line:
    """The line of the table that counts."""
    return next(_lines_that_fit(version, area, fix))


def _lines_that_fit(version: Version, area: Area, fix: FixRow) -> Iterator[Line]:
    if version.schedule and not version.absence and occurrence(version.schedule, fix.time_ms) is None:
        yield "off schedule"
    has_band = version.alt_min_m is not None or version.alt_max_m is not None
    if has_band and fix.alt is None:
        yield "altitude unknown"
    if has_band and fix.alt is not None and not _within(version.alt_min_m, fix.alt / 10, version.alt_max_m):
        yield "altitude outside"
    if version.edge == "certain" and fix.accuracy is not None and area.edge_m(fix.place) < fix.accuracy / 10:
        yield "uncertain"
    if area.holds(fix.place):
        yield "inside"
    elif version.exit_margin_m > 0 and area.edge_m(fix.place) <= version.exit_margin_m:
        yield "margin"
    yield "outside"


def _within(low: float | None, value: float, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def occurrence(hours: Hours, time_ms: int) -> tuple[int, int] | None:
    """The stretch in which the schedule holds, if it does at this instant: its start is in it, its end is not."""
    return next(((start, end) for start, end in hours.intervals if start <= time_ms < end), None)


def first_end_ms(hours: Hours, after_ms: int, until_ms: int) -> int | None:
    """When the schedule first ended after an instant, up to another."""
    return min((end for _, end in hours.intervals if after_ms < end <= until_ms), default=None)


# -------------------------------------
# The answer
# -------------------------------------

AreaOf = Callable[[Any], Area]


def events(
    fixes: Sequence[FixRow],
    versions: Sequence[Version],
    tag_history: Sequence[TagsChange] = (),
    deleted: Mapping[int, int] | None = None,
    area_of: AreaOf = plain_area,
) -> list[Told]:
    """All events, in the order of the feed as if one commit had brought all fixes; what a change brought about stands
    after what the fix that it names did. deleted: from which batch on a geofence is no more.
    """
    found = [entry for story in _stories(fixes, versions, tag_history, deleted or {}, area_of) for entry in story.told]
    return [told for _, told in sorted(found, key=_feed_order)]


def visits(
    fixes: Sequence[FixRow],
    versions: Sequence[Version],
    tag_history: Sequence[TagsChange] = (),
    deleted: Mapping[int, int] | None = None,
    area_of: AreaOf = plain_area,
) -> list[Visit]:
    """All visits, by asset, then geofence, then as they followed each other."""
    found: list[Visit] = []
    for story in _stories(fixes, versions, tag_history, deleted or {}, area_of):
        for _, told in story.told:
            if told.kind == "enter":
                found.append(Visit(told.asset, told.fence, told.time_ms, None, told.initial))
            elif told.kind == "exit":
                opened = found.pop()
                found.append(Visit(told.asset, told.fence, opened.enter_ms, told.time_ms, opened.initial))
    return found


def _feed_order(entry: tuple[int, Told]) -> tuple[int, ...]:
    change, told = entry
    return told.time_ms, told.asset, told.lon, told.lat, change, KINDS.index(told.kind), told.fence


def _stories(
    fixes: Sequence[FixRow],
    versions: Sequence[Version],
    tag_history: Sequence[TagsChange],
    deleted: Mapping[int, int],
    area_of: AreaOf,
) -> Iterator["_Story"]:
    areas = lru_cache(None)(lambda shape: Remembered(area_of(shape)))
    for asset in sorted({fix.asset for fix in fixes}):
        mine = sorted((fix for fix in fixes if fix.asset == asset), key=lambda fix: fix.event_order)
        tags = sorted((each for each in tag_history if each.asset == asset), key=lambda each: each.from_batch)
        for fence in sorted({version.fence for version in versions}):
            of_fence = sorted((each for each in versions if each.fence == fence), key=lambda each: each.version)
            story = _Story(_History(asset, mine, of_fence, tags, deleted.get(fence)), areas)
            story.tell()
            yield story


# -------------------------------------
# What a geofence knows of an asset
# -------------------------------------


Cause = Literal["fence_changed", "asset_changed", "fence_deleted"]


@dataclass(frozen=True, slots=True)
class _Change:
    """after: the number of fixes that stand before its place."""

    after: int
    batch: int
    cause: Cause
    version: Version


class _History:
    """All fixes of one asset and all versions of one geofence."""

    def __init__(
        self,
        asset: int,
        fixes: Sequence[FixRow],
        versions: Sequence[Version],
        tags: Sequence[TagsChange],
        deleted: int | None,
    ) -> None:
        self.asset, self.versions, self.tags, self.deleted = asset, versions, tags, deleted
        # "They are final": what is stored after the deletion alters nothing.
        self.fixes = [fix for fix in fixes if deleted is None or fix.batch < deleted]
        self.made = versions[0].from_batch

    def version_at(self, batch: int) -> Version | None:
        """The one that was current when the batch was stored."""
        if self.deleted is not None and batch >= self.deleted:
            return None
        current = [v for v in self.versions if v.from_batch <= batch and (v.to_batch is None or batch < v.to_batch)]
        return current[-1] if current else None

    def matches(self, version: Version, batch: int) -> bool:
        """Whether the asset has one of the ids, or, when the batch was stored, one of the tags."""
        if not version.ids and not version.tags:
            return True
        return self.asset in version.ids or bool(version.tags & self.tags_at(batch))

    def tags_at(self, batch: int) -> frozenset[str]:
        so_far = [each.tags for each in self.tags if each.from_batch <= batch]
        return so_far[-1] if so_far else frozenset()

    def seen(self) -> list[tuple[int, FixRow, Version]]:
        """The fixes that the geofence sees, each with its number in event order and the version that judges it."""
        seen, keys = [], set()
        current = {batch: self.version_at(batch) for batch in {fix.batch for fix in self.fixes}}
        for number, fix in enumerate(self.fixes):
            version = current[fix.batch]
            if version and _in_quality(version, fix) and self.matches(version, fix.batch) and fix.key not in keys:
                keys.add(fix.key)
                seen.append((number, fix, version))
        return seen

    def changes(self) -> list[_Change]:
        """In the order in which they were made. Tags concern a geofence if the asset matches it from then on, or no
        longer.
        """
        found = [self._change(new.from_batch, "fence_changed", new) for new in self.versions[1:]]
        for each in self.tags:
            version = self.version_at(each.from_batch)
            if version and each.from_batch > self.made and self._turns(version, each.from_batch):
                found.append(self._change(each.from_batch, "asset_changed", version))
        if self.deleted is not None:
            found.append(self._change(self.deleted, "fence_deleted", self.versions[-1]))
        return sorted(found, key=lambda change: change.batch)

    def _turns(self, version: Version, batch: int) -> bool:
        return self.matches(version, batch) != self.matches(version, batch - 1)

    def _change(self, batch: int, cause: Cause, version: Version) -> _Change:
        """With its place: right after the newest fix of the asset that was stored before it, of any quality."""
        after = max((number + 1 for number, fix in enumerate(self.fixes) if fix.batch < batch), default=0)
        return _Change(after, batch, cause, version)

    def previous(self, version: Version, fix: FixRow) -> FixRow | None:
        """The asset's previous fix in the quality that the version judges."""
        return self._newest(f for f in self.fixes if f.key < fix.key and _in_quality(version, f))

    def is_first(self, version: Version, fix: FixRow) -> bool:
        """Whether no earlier one in that quality was stored since the geofence was made."""
        return not any(f.key < fix.key and f.batch >= self.made and _in_quality(version, f) for f in self.fixes)

    def asked_by(self, change: _Change) -> FixRow | None:
        """The newest fix before its place, in its quality, if that was stored since the geofence was made."""
        asked = self._newest(f for f in self.fixes[: change.after] if _in_quality(change.version, f))
        return asked if asked and asked.batch >= self.made else None

    def place_of(self, change: _Change) -> FixRow:
        """The newest fix in the quality of the version before or of the new one, so that no visit ends before it began
        where the quality becomes stricter; where there is none, the newest of any.
        """
        before = self.fixes[: change.after]
        versions = [each for each in (self.version_at(change.batch - 1), change.version) if each]
        judged = [fix for fix in before if any(_in_quality(each, fix) for each in versions)]
        found = self._newest(iter(judged or before))
        assert found is not None, "a side that turns was seen"
        return found

    def _newest(self, fixes: Iterator[FixRow]) -> FixRow | None:
        """Equal fixes count once: as the first of them."""
        found = list(fixes)
        return next((fix for fix in found if fix.key == found[-1].key), None)


def _in_quality(version: Version, fix: FixRow) -> bool:
    return version.quality == "all" or fix.flags == 0


# -------------------------------------
# From what fixes say to events
# -------------------------------------


@dataclass(frozen=True, slots=True)
class _Crossed:
    ms: int | None = None
    lon: int | None = None
    lat: int | None = None
    cause: Literal["schedule"] | None = None


class _Story:
    """What happened between one asset and one geofence. told: the batch of the change that brought it about (0: a fix
    did) and the event, in the order in which it happened.
    """

    def __init__(self, history: _History, area_of: AreaOf) -> None:
        self.history, self.area_of = history, area_of
        self.told: list[tuple[int, Told]] = []
        self.inside = False
        self.run: list[tuple[FixRow, Version]] = []
        self.entered_ms = 0
        self.dwelt = False
        self.haste_ms: int | None = None
        self.told_of_haste = False
        self.absent_ms: int | None = None

    def tell(self) -> None:
        changes = self.history.changes()
        for number, fix, version in self.history.seen():
            while changes and changes[0].after <= number:
                self.change(changes.pop(0))
            self.see(fix, version)
        for change in changes:
            self.change(change)

    def see(self, fix: FixRow, version: Version) -> None:
        """One fix: what it turns, and what else is told of it."""
        said = SAYS[self.line_of(version, fix)]
        calm = not self.inside and not self.run
        if said == ("in" if self.inside else "out"):
            self.run = []
        elif said != "unsure":
            self.run.append((fix, version))
            if self.is_confirmed(version):
                self.turn(fix, version)
        if calm and version.cross:
            self.tell_cross(fix, version)
        if self.inside and said == "in":
            self.tell_dwell(fix, version)
        self.tell_speeding(fix, version)
        if not self.inside and said == "out":
            self.tell_absence(fix, version)

    def is_confirmed(self, version: Version) -> bool:
        spans_ms = self.run[-1][0].time_ms - self.run[0][0].time_ms
        return len(self.run) >= version.confirm_fixes and spans_ms >= version.confirm_s * 1000

    def turn(self, fix: FixRow, version: Version) -> None:
        (first, its_version), crossed = self.run[0], self.crossed()
        initial = not self.inside and self.history.is_first(its_version, first)
        self.turn_side(0, fix, version, crossed.cause, crossed, initial=initial)

    def turn_side(
        self,
        change: int,
        fix: FixRow,
        version: Version,
        cause: str | None,
        crossed: _Crossed,
        *,
        initial: bool = False,
    ) -> None:
        self.inside, self.run = not self.inside, []
        self.entered_ms, self.dwelt = fix.time_ms, False
        self.tell_of("enter" if self.inside else "exit", fix, version, crossed, change, cause, initial=initial)

    def tell_of(
        self,
        kind: Kind,
        fix: FixRow,
        version: Version,
        crossed: _Crossed,
        change: int = 0,
        cause: str | None = None,
        *,
        initial: bool = False,
    ) -> None:
        where = fix.time_ms, fix.lon, fix.lat, initial, cause, crossed.ms, crossed.lon, crossed.lat
        self.told.append((change, Told(kind, fix.asset, version.fence, version.version, *where)))

    # Where the edge was crossed---------

    def crossed(self) -> _Crossed:
        """Of the side that the run turns, by the version that judged the first fix of the run."""
        first, version = self.run[0]
        return self.by_schedule(first, version) or self.by_chord(first, version)

    def by_schedule(self, first: FixRow, version: Version) -> _Crossed | None:
        """Whether it was the schedule by which the first fix of an exit's run said `out`, or the one before an enter's.
        Then an exit was when it first ended after the fix before, and an enter when it last began.
        """
        before = self.history.previous(version, first)
        if before and before.batch < self.history.made:
            before = None
        out = first if self.inside else before
        if out is None or version.schedule is None or self.line_of(version, out) != "off schedule":
            return None
        if not self.inside:
            now = occurrence(version.schedule, first.time_ms)
            return _Crossed(now[0] if now else None, cause="schedule")
        ended_ms = first_end_ms(version.schedule, before.time_ms, first.time_ms) if before else None
        return _Crossed(ended_ms, cause="schedule")

    def by_chord(self, first: FixRow, version: Version) -> _Crossed:
        """Of several crossings it is that next to the end outside: beyond it the asset surely was outside."""
        before = self.believed(first, version)
        if before is None:
            return _Crossed()
        area = self.area_of(version.shape)
        was_in, is_in = area.holds(before.place), area.holds(first.place)
        if was_in == is_in:
            return _Crossed()
        stretches = area.stretches(Chord.between(before.place, first.place))
        return self.on_chord(before, first, stretches[-1][1] if was_in else stretches[0][0])

    def believed(self, fix: FixRow, version: Version) -> FixRow | None:
        """The previous fix, if the chord from it is believed."""
        before = self.history.previous(version, fix)
        if before is None or before.batch < self.history.made:
            return None
        return before if fix.time_ms - before.time_ms <= version.max_gap_s * 1000 else None

    @staticmethod
    def on_chord(before: FixRow, fix: FixRow, at: Part) -> _Crossed:
        lon, lat = Chord.between(before.place, fix.place).at(at)
        ms = before.time_ms + Fraction(at) * (fix.time_ms - before.time_ms)
        lon = lon - 360 if lon > 180 else lon + 360 if lon < -180 else lon
        return _Crossed(round(ms), round(lon * UNIT), round(lat * UNIT))

    # Further events---------------------

    def tell_cross(self, fix: FixRow, version: Version) -> None:
        """Both ends must be outside the shape: height or hour alone do not make an asset pass through."""
        before = self.believed(fix, version)
        if before and self.line_of(version, fix) == "outside" == self.line_of(version, before):
            stretches = self.area_of(version.shape).stretches(Chord.between(before.place, fix.place))
            if stretches:
                self.tell_of("cross", fix, version, self.on_chord(before, fix, stretches[0][0]))

    def tell_dwell(self, fix: FixRow, version: Version) -> None:
        if version.dwell_after_s is None or self.dwelt:
            return
        full_ms = self.entered_ms + version.dwell_after_s * 1000
        if fix.time_ms >= full_ms:
            self.dwelt = True
            self.tell_of("dwell", fix, version, _Crossed(round(full_ms)))

    def tell_speeding(self, fix: FixRow, version: Version) -> None:
        if not self.inside or version.speed_limit_mps is None:
            self.haste_ms, self.told_of_haste = None, False
            return
        speed_mps = self.speed_mps(fix, version)
        if speed_mps is None:
            return
        if speed_mps <= version.speed_limit_mps:
            self.haste_ms, self.told_of_haste = None, False
            return
        if self.haste_ms is None:
            self.haste_ms = fix.time_ms
        if not self.told_of_haste and fix.time_ms - self.haste_ms >= version.over_for_s * 1000:
            self.told_of_haste = True
            self.tell_of("speeding", fix, version, _Crossed())

    def speed_mps(self, fix: FixRow, version: Version) -> float | None:
        """As it was sent, or that of the chord. Two places at one time make no speed."""
        if fix.speed is not None:
            return fix.speed / 100
        before = self.believed(fix, version)
        if before is None or before.time_ms == fix.time_ms:
            return None
        return distance_m(before.place, fix.place) / ((fix.time_ms - before.time_ms) / 1000)

    def tell_absence(self, fix: FixRow, version: Version) -> None:
        now = occurrence(version.schedule, fix.time_ms) if version.absence and version.schedule else None
        if now and (self.absent_ms is None or self.absent_ms < now[0]):
            self.absent_ms = fix.time_ms
            self.tell_of("absent", fix, version, _Crossed())

    # Changes----------------------------

    def change(self, change: _Change) -> None:
        """A new version, other tags, or the end: the asset's previous fix is asked again."""
        self.run = []
        asked = self.history.asked_by(change)
        if change.cause == "fence_deleted" or not self.history.matches(change.version, change.batch):
            said: Word = "out"
        elif asked is None:
            return
        else:
            said = SAYS[self.line_of(change.version, asked)]
        if said == ("out" if self.inside else "in"):
            self.turn_side(change.batch, self.history.place_of(change), change.version, change.cause, _Crossed())
        if not self.inside:
            self.haste_ms, self.told_of_haste = None, False

    def line_of(self, version: Version, fix: FixRow) -> Line:
        return line_of(version, self.area_of(version.shape), fix)
