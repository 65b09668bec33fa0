"""One asset judged over a stretch of its stored fixes: the same engine as for live batches, from a state to a state.

A stretch may hold fixes that were stored at different times, so that different versions of a geofence judge them; it
is cut where that changes, where a change of a geofence has its place, and where a state is to be kept.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Columns, Ints, Mask
from tracker.domain.chronicle import Chronicle
from tracker.domain.fix import MAX_SPEED_MPS
from tracker.domain.geofence import Geofence, Matches
from tracker.domain.judge import equal_to_previous, judge, see, with_doubts
from tracker.domain.plausibility import Suspect
from tracker.domain.presence import NEVER, AssetState, Crossed, Doubted, LastFix, Newest, Presence, Sight
from tracker.domain.steps import Steps, steps_after
from tracker.domain.transition import Emission
from tracker.domain.turn import ASSET_CHANGED, FENCE_CHANGED, Turned, turned

_IT: Final = 0  # the number of the only asset in a presence of its own
_ONLY: Final = np.array([_IT])

FullKey = tuple[int, int, int, int, int, int, int, int]  # time_ms, lon, lat, alt, speed, course, accuracy, batch


class Turning(NamedTuple):
    """The place of a change: right after the fix with this key. geofence 0: of the asset's tags."""

    key: FullKey
    batch: int
    geofence: int

    def is_after(self, begin: FullKey | None, changes: int) -> bool:
        """Whether it is not in a state at a place yet, which has the changes there up to a batch."""
        if begin is None:
            return True
        return self.key[:3] > begin[:3] or (self.key[:3] == begin[:3] and self.batch > changes)


class Tags(NamedTuple):
    """The tags of an asset for what was stored from a batch on."""

    from_batch: int
    tags: frozenset[str]


class Fact(NamedTuple):
    """A transition of the asset, as it is told."""

    kind: int
    fence: Geofence
    time_ms: int
    lon: int
    lat: int
    device: int | None
    initial: bool
    cause: str | None
    crossed: Crossed | None
    change: int | None = None  # that brought it about: the first batch that it judges


class _Told(NamedTuple):
    """A fact and its place among others of the asset: what a change brought about comes after what its fix did."""

    place: tuple[int, ...]
    fact: Fact


class _Before(NamedTuple):
    """The fix before the newest; None: there was none."""

    fix: LastFix | None


@dataclass(slots=True)
class _Group:
    """Geofences that see the same fixes of a stretch: (n,) masks as _seen_by has them."""

    fences: list[int]
    turnings: list[Turning]
    sees: Mask
    takes_all: Mask
    saw_newest: tuple[bool, bool]


def key_of(fix: LastFix | None) -> FullKey | None:
    """The place of a fix in event order, whole."""
    if fix is None:
        return None
    return fix.time_ms, fix.lon, fix.lat, fix.alt, fix.speed, fix.course, fix.accuracy, fix.batch


def keys_of(columns: Columns, batch: Ints) -> list[FullKey]:
    """The places of fixes in event order."""
    names = ("time_ms", "lon", "lat", "alt", "speed", "course", "accuracy")
    return list(zip(*(getattr(columns, name).tolist() for name in names), batch.tolist(), strict=True))


def in_turn(changes: Iterable[Turning]) -> list[Turning]:
    """Ascending. Of fixes equal in time and place any may have been the newest when a change was made: changes at one
    place follow one another as they were made.
    """
    found: list[Turning] = []
    for each in sorted(changes, key=lambda each: (each.key[:3], each.batch, each.geofence)):
        last = found[-1].key if found else each.key
        found.append(each._replace(key=max(each.key, last)) if each.key[:3] == last[:3] else each)
    return found


def behind_equals(turnings: Sequence[Turning], columns: Columns, batch: Ints) -> list[Turning]:
    """In turn, and each behind all fixes equal in time and place that were stored before it: which of them sorts last
    is not known when a change is made.
    """
    if not turnings:
        return []
    rows = np.flatnonzero(np.isin(columns.time_ms, [each.key[0] for each in turnings]))
    equals = defaultdict[tuple[int, ...], list[FullKey]](list)
    for key in keys_of(columns.take(rows), batch[rows]):
        equals[key[:3]].append(key)
    return in_turn(
        each._replace(key=max([each.key, *(key for key in equals[each.key[:3]] if key[-1] < each.batch)]))
        for each in turnings
    )


@dataclass(slots=True)
class Fold:
    """Goes on from a state; what it found stands in `facts`, in feed order but for stretches that overlap."""

    chronicle: Chronicle
    asset: int
    tags: Sequence[Tags] = ()  # that the asset had, ascending
    max_speed_mps: float = MAX_SPEED_MPS
    facts: list[Fact] = field(default_factory=list)
    _presence: Presence = field(default_factory=Presence)
    _before: list[_Before | None] = field(default_factory=lambda: [None, None])  # of each sight; None: not known

    def begin(self, state: AssetState) -> None:
        """Go on from here. What it says of geofences that are no longer there is dropped. Fixes equal in time and place
        to the newest have no fix before them but that.
        """
        known = [_Before(None) if sight.newest is None else None for sight in (state.trusted, state.every)]
        self._put(state)
        self._before = known

    def _put(self, state: AssetState) -> None:
        self._presence = Presence()
        self._presence.put(_IT, self.chronicle.known(state))

    @property
    def state(self) -> AssetState:
        return self.chronicle.known(self._presence.get(_IT))

    def run(self, columns: Columns, batch: Ints, turnings: Sequence[Turning]) -> NDArray[np.int16]:
        """Judge fixes of one asset, all after what was judged; returns the doubts of each, (n,).

        Args:
            columns: (n,) in event order; flags are those that each fix decided alone.
            batch: (n,) where each is stored.
            turnings: those with a place from the last judged fix to the last of these, in order.
        """
        self._put(self.state)  # geofences may have changed since the last stretch
        columns = columns.as_asset(_IT)
        doubt, suspects, doubted = self._doubts(columns)
        trusted = (columns.flags | doubt) == 0
        relevant = self._relevant(columns, trusted)
        self._presence.remember(suspects, doubted)
        found: list[_Told] = []
        due = behind_equals(turnings, columns, batch)
        for group in self._groups(relevant, batch, trusted, due):
            found += self._judge(group, columns, batch, trusted)
        for i, rows in enumerate((np.flatnonzero(trusted), np.arange(len(columns)))):
            self._before[i] = _move_on(self._presence.sights[i], columns, batch, rows) or self._before[i]
        self.facts += [each.fact for each in sorted(found, key=lambda each: each.place)]
        return doubt

    def _doubts(
        self, columns: Columns
    ) -> tuple[NDArray[np.int16], dict[int, Suspect | None], dict[int, Doubted | None]]:
        """What neighbours bring about, which equal fixes share, (n,); and what is to be remembered of it."""
        doubt = np.zeros(len(columns), np.int16)
        own = np.flatnonzero(columns.flags == 0)
        repeat = equal_to_previous(columns, own)
        presence, newest = self._presence, self._presence.trusted.newest
        at = (columns.time_ms[own], columns.lon[own], columns.lat[own])
        fresh = newest.precedes(columns.asset[own], *at) & ~repeat
        held_up = presence.doubted.get(_IT)
        if held_up is not None:
            like_it = (at[0] == held_up[0]) & (at[1] == held_up[1]) & (at[2] == held_up[2])
            doubt[own[like_it]] = held_up[3]
            fresh &= ~like_it
        flags, suspects, doubted = with_doubts(columns, own[fresh], presence, self.max_speed_mps)
        doubt[own[fresh]] = flags
        first = np.maximum.accumulate(np.where(~repeat, np.arange(len(own)), 0))
        doubt[own] = doubt[own[first]] if len(own) else doubt[own]
        return doubt, suspects, doubted

    def relevant(self, columns: Columns) -> list[int]:
        """The geofences that this stretch may concern, whatever their version."""
        columns = columns.as_asset(_IT)
        return self._relevant(columns, (columns.flags | self._doubts(columns)[0]) == 0)

    def _relevant(self, columns: Columns, trusted: Mask) -> list[int]:
        """Those that it knows already, and those near the way from the newest fix through all that follow it: without
        the doubted ones the way is another.
        """
        state = self.state
        found = {fence for of in (state.trusted, state.every) for table in (of.inside, of.entries) for fence in table}
        way = self._way(self._presence.trusted, columns, trusted)
        whole = self._way(self._presence.every, columns, np.ones_like(trusted))
        found |= self.chronicle.near(*whole)
        if not np.array_equal(way, whole):
            found |= self.chronicle.near(*way)
        return sorted(found)

    @staticmethod
    def _way(sight: Sight, columns: Columns, admitted: Mask) -> NDArray[np.float64]:
        """(2, n): the places in degrees from the newest fix through all admitted that follow it."""
        rows = admitted & sight.newest.precedes(columns.asset, columns.time_ms, columns.lon, columns.lat)
        places = np.array([columns.lon[rows], columns.lat[rows]], np.float64)
        newest = sight.newest.get(_IT)
        if newest is not None:
            places = np.column_stack([[newest.lon, newest.lat], places])
        return places / DEGREE

    def changes(self, columns: Columns) -> set[tuple[int, int]]:
        """The changes that this stretch may concern: geofence (0: the asset's tags) and batch."""
        relevant = self.relevant(columns)
        found = {(n, each.from_batch) for n in relevant for each in self.chronicle.versions(n)[1:]}
        if not set(relevant).isdisjoint(self.chronicle.with_filter()):
            found |= {(0, each.from_batch) for each in self.tags[1:]}
        return found

    def _groups(self, relevant: list[int], batch: Ints, trusted: Mask, turnings: Sequence[Turning]) -> list[_Group]:
        """The geofences by which of the fixes they see."""
        stored = np.unique(batch)
        groups: dict[tuple[object, ...], _Group] = {}
        for number in relevant:
            versions = self.chronicle.versions(number)
            fence, since = versions[-1].fence, versions[0].from_batch
            key: tuple[object, ...] = (int(np.searchsorted(stored, since)), fence.quality, *self._saw_newest(number))
            seen = None
            if any(each.fence.rule.assets is not None or each.fence.quality != fence.quality for each in versions):
                seen = self._seen_by(number, batch, trusted)
                key = (*(mask.tobytes() for mask in seen), *self._saw_newest(number))
            if key not in groups:
                groups[key] = _Group([], [], *(seen or self._seen_by(number, batch, trusted)), self._saw_newest(number))
            groups[key].fences.append(number)
            groups[key].turnings += [each for each in turnings if each.geofence == number]
        for group in groups.values():
            filtered = set(group.fences) & set(self.chronicle.with_filter())
            group.turnings += [each for each in turnings if each.geofence == 0 and filtered]
            group.turnings.sort()
        return list(groups.values())

    def _seen_by(self, number: int, batch: Ints, trusted: Mask) -> tuple[Mask, Mask]:
        """Which fixes a geofence sees, but for repeats; and for which the version judges those with flags, too."""
        versions = self.chronicle.versions(number)
        version = np.searchsorted([each.from_batch for each in versions], batch, side="right") - 1
        takes_all = np.array([each.fence.quality == "all" for each in versions])[np.maximum(version, 0)]
        sees = (version >= 0) & (takes_all | trusted)
        if any(each.fence.rule.assets is not None for each in versions):
            matching = [each for each in np.unique(batch).tolist() if self._is_judged(number, each)]
            sees &= np.isin(batch, matching)
        return sees, takes_all

    def _is_judged(self, number: int, batch: int) -> bool:
        """Whether a geofence judged the asset's fixes that were stored in a batch."""
        fence = self.chronicle.version(number, batch)
        return fence is not None and self._matches(batch)(_IT, fence)

    def _saw_newest(self, number: int) -> tuple[bool, bool]:
        """Whether a geofence saw the newest fix of each quality before this stretch."""
        trusted, every = (int(sight.newest.batch[_IT]) for sight in self._presence.sights)
        fence = self.chronicle.version(number, every)
        takes_all = fence is not None and fence.quality == "all"
        return self._is_judged(number, trusted), takes_all and self._is_judged(number, every)

    def _judge(self, group: _Group, columns: Columns, batch: Ints, trusted: Mask) -> list[_Told]:
        """What these geofences make of the fixes."""
        own, takes_all = self._take_out(group), group.takes_all
        rows = np.flatnonzero(group.sees)
        rows = rows[~equal_to_previous(columns, rows)]
        for sight, saw in zip(self._presence.sights, group.saw_newest, strict=True):
            if saw:  # what repeats it was seen
                rows = rows[sight.newest.precedes(columns.asset[rows], *_place(columns, rows))]
        changes = sorted({*self.chronicle.changed_at(group.fences), *(each.from_batch for each in self.tags)})
        epoch = np.searchsorted(changes, batch[rows], side="right")
        trails = [
            _Trail(columns, batch, mine, sight.newest, before)
            for mine, sight, before in zip(
                (np.flatnonzero(trusted), np.arange(len(columns))), self._presence.sights, self._before, strict=True
            )
        ]
        found: list[_Told] = []
        start = 0
        for end, due in _cuts(columns, batch, rows, epoch, group.turnings):
            if end > start:
                steps = trails[bool(takes_all[rows[start]])].steps(rows[start:end])
                found += self._see(own.trusted, group, columns, batch, rows[start:end], steps)
            start = end
            for turning in due:
                numbers = group.fences if turning.geofence == 0 else [turning.geofence]
                for mine, sight, trail in zip(own.sights, self._presence.sights, trails, strict=True):
                    mine.newest.put(_IT, trail.last(turning.key) or sight.newest.get(_IT))
                found += self._turn(own, numbers, turning)
        self._put_back(own)
        return found

    def _take_out(self, group: _Group) -> Presence:
        """A presence of these geofences alone, of which both sights know the same."""
        own, mine = Presence(), set(group.fences)
        for sight in self._presence.sights:
            inside, entries = sight.inside.get(_IT, {}), sight.entries.get(_IT, {})
            own.trusted.put_inside(
                _IT, own.trusted.inside.get(_IT, {}) | {f: ms for f, ms in inside.items() if f in mine}
            )
            own.trusted.put_entries(
                _IT, own.trusted.entries.get(_IT, {}) | {f: entry for f, entry in entries.items() if f in mine}
            )
            sight.put_inside(_IT, {f: ms for f, ms in inside.items() if f not in mine})
            sight.put_entries(_IT, {f: entry for f, entry in entries.items() if f not in mine})
        own.every.inside, own.every.entries = own.trusted.inside, own.trusted.entries
        return own

    def _put_back(self, own: Presence) -> None:
        mine = own.trusted
        sight = self._presence.trusted
        sight.put_inside(_IT, {**sight.inside.get(_IT, {}), **mine.inside.get(_IT, {})})
        sight.put_entries(_IT, {**sight.entries.get(_IT, {}), **mine.entries.get(_IT, {})})

    def _see(self, sight: Sight, group: _Group, columns: Columns, batch: Ints, rows: Ints, steps: Steps) -> list[_Told]:
        at_batch = int(batch[rows[0]])
        index = self.chronicle.at(group.fences, at_batch)
        pairs = index.query(columns.lon[rows] / DEGREE, columns.lat[rows] / DEGREE)
        seen, told = see(columns, rows, steps, sight, index, pairs, batch, self._matches(at_batch))
        sight.apply(seen)
        return [_told(columns, row, index.fences[each.fence], each) for row, each in told]

    def _matches(self, batch: int) -> Matches:
        """Which geofences judged the asset's fixes that were stored in a batch."""
        tags = next((each.tags for each in reversed(self.tags) if each.from_batch <= batch), frozenset[str]())

        def matches(_it: int, fence: Geofence) -> bool:
            return fence.rule.assets is None or fence.rule.assets.admits(self.asset, tags)

        return matches

    def turn(self, turning: Turning) -> None:
        """A change right after the last fix that was judged."""
        numbers = self.chronicle.with_filter() if turning.geofence == 0 else [turning.geofence]
        self.facts += [each.fact for each in self._turn(self._presence, numbers, turning)]

    def live(self, columns: Columns, batch: int) -> NDArray[np.int16]:
        """Judge what came in one batch as it was judged then: what is late decides nothing. Returns the doubts."""
        self._put(self.state)
        self._before = [None, None]
        columns = columns.as_asset(_IT)
        index = self.chronicle.at(self.relevant(columns), batch)
        found = judge(
            self._presence,
            index,
            columns,
            batch,
            matches=self._matches(batch),
            max_speed_mps=self.max_speed_mps,
        )
        self._presence.apply(found)
        told = found.transitions
        for i, row in enumerate(told.row.tolist()):
            fence, kind = int(told.fence[i]), int(told.kind[i])
            each = Emission(row, fence, kind, bool(told.initial[i]), told.cause[i], told.crossed[i])
            self.facts.append(_told(columns, row, index.fences[fence], each).fact)
        return found.doubt

    def _turn(self, presence: Presence, numbers: Iterable[int], turning: Turning) -> list[_Told]:
        """Ask the version that a change made about the newest fix."""
        cause = ASSET_CHANGED if turning.geofence == 0 else FENCE_CHANGED
        found = []
        for number in numbers:
            old = self.chronicle.version(number, turning.batch - 1)
            new = self.chronicle.version(number, turning.batch)
            if old is None and new is not None and turning.geofence != 0:  # made and changed between two batches
                old = self.chronicle.versions(number)[0].fence
            if old is None or new is None or (turning.geofence == 0 and not self._concerned(new, turning.batch)):
                continue
            for each in turned(presence, old, new, _ONLY, self._matches(turning.batch), cause):
                if each.kind is not None:
                    found.append(_turned_told(each, turning.batch))
                each.apply(presence)
        return found

    def _concerned(self, fence: Geofence, batch: int) -> bool:
        """Whether a change of the asset's tags made the geofence judge it, or judge it no longer."""
        return self._matches(batch - 1)(_IT, fence) != self._matches(batch)(_IT, fence)


class _Trail:
    """The fixes of a stretch in one quality, as the ones before others. newest, before: those before the stretch."""

    def __init__(self, columns: Columns, batch: Ints, rows: Ints, newest: Newest, before: _Before | None) -> None:
        self._columns, self._batch, self._newest, self._before = columns, batch, newest, before
        self._places = np.cumsum(~equal_to_previous(columns, np.arange(len(columns))))  # equal ones share a number
        first = ~equal_to_previous(columns, rows)
        first &= newest.precedes(columns.asset[rows], *_place(columns, rows))  # a repeat of it is no other
        self._rows, self._first, self._highest = rows, rows[first], np.maximum.accumulate(batch[rows])
        self._keys: list[FullKey] | None = None

    def steps(self, rows: Ints) -> Steps:
        """Some of the rows."""
        place = self._places[rows]
        before = np.searchsorted(self._places[self._first], place) - 1
        previous = np.where(before < 0, -1, np.append(self._first, -1)[before])
        seen = np.searchsorted(self._places[self._rows], place) - 1
        highest = np.where(seen < 0, -1, np.append(self._highest, -1)[seen])
        seen_before = np.maximum(highest, self._newest.seen[_IT])
        steps = steps_after(self._columns, rows, self._newest, self._batch, previous, seen_before)
        if self._before is not None and self._repeats_newest(int(rows[0])):
            _go_behind(steps, self._before.fix)
        return steps

    def _repeats_newest(self, row: int) -> bool:
        columns, newest = self._columns, self._newest
        place = int(columns.time_ms[row]), int(columns.lon[row]), int(columns.lat[row])
        return place == (int(newest.time_ms[_IT]), int(newest.lon[_IT]), int(newest.lat[_IT]))

    def last(self, key: FullKey) -> LastFix | None:
        """The newest fix up to a place, of those equal in time and place the first; None: it was before the stretch."""
        if self._keys is None:
            self._keys = keys_of(self._columns.take(self._first), self._batch[self._first])
        before = bisect_right(self._keys, key)
        if not before:
            return None
        return LastFix(*self._keys[before - 1], seen=self._keys[before - 1][-1])


def _go_behind(steps: Steps, fix: LastFix | None) -> None:
    """The first step repeats the newest fix in time and place: the fix before both is the one before it."""
    steps.seen_before[0] = -1 if fix is None else fix.seen
    for name in ("time_ms", "lon", "lat", "alt", "accuracy", "batch"):
        none = {"time_ms": NEVER, "batch": -1}.get(name, 0)
        getattr(steps, f"prev_{name}")[0] = none if fix is None else getattr(fix, name)


def _place(columns: Columns, rows: Ints) -> tuple[Ints, Ints, Ints]:
    return columns.time_ms[rows], columns.lon[rows], columns.lat[rows]


def _cuts(
    columns: Columns, batch: Ints, rows: Ints, epoch: Ints, turnings: Sequence[Turning]
) -> list[tuple[int, list[Turning]]]:
    """Where to stop among the rows: ends of runs that the same versions judge, each with the turnings due there."""
    ends: dict[int, list[Turning]] = {len(rows): []}
    for end in (np.flatnonzero(epoch[1:] != epoch[:-1]) + 1).tolist():
        ends[end] = []
    if turnings:
        keys = keys_of(columns.take(rows), batch[rows])
        for turning in turnings:
            end = bisect_right(keys, turning.key)
            ends.setdefault(end, []).append(turning)
    return sorted(ends.items())


def _move_on(sight: Sight, columns: Columns, batch: Ints, rows: Ints) -> _Before | None:
    """Make the last of the rows, the first of those equal to it in time and place, the newest; returns the one before
    it, None if it is no other than before.
    """
    if not len(rows):
        return None
    known, seen = sight.newest.get(_IT), int(sight.newest.seen[_IT])
    fresh = sight.newest.precedes(columns.asset[rows], *_place(columns, rows))
    sight.newest.seen[_IT] = max(seen, int(batch[rows].max()))
    firsts = np.flatnonzero(fresh & ~equal_to_previous(columns, rows))
    if not len(firsts):
        return None
    keys = keys_of(columns.take(rows[firsts[-2:]]), batch[rows[firsts[-2:]]])
    sight.newest.put(_IT, LastFix(*keys[-1], seen=int(sight.newest.seen[_IT])))
    if len(firsts) > 1:
        return _Before(LastFix(*keys[0], seen=max(seen, int(batch[rows[: firsts[-1]]].max()))))
    return _Before(None if known is None else replace(known, seen=max([seen, *batch[rows[: firsts[-1]]].tolist()])))


def _told(columns: Columns, row: int, fence: Geofence, each: Emission) -> _Told:
    fact = Fact(
        each.kind,
        fence,
        int(columns.time_ms[row]),
        int(columns.lon[row]),
        int(columns.lat[row]),
        int(columns.device[row]),
        bool(each.initial),
        each.cause,
        each.crossed,
    )
    return _Told((*fact[2:5], 0, fact.kind, fence.id), fact)


def _turned_told(each: Turned, batch: int) -> _Told:
    fact = _fact_of(each, batch)
    return _Told((*fact[2:5], 1, fact.kind, fact.fence.id), fact)


def _fact_of(each: Turned, batch: int) -> Fact:
    fix = each.fix
    assert each.kind is not None
    assert fix is not None
    return Fact(each.kind, each.fence, fix.time_ms, fix.lon, fix.lat, None, False, each.cause, None, batch)
