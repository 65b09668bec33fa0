"""What is known of each asset after its newest fix: where it was seen last, which geofences it is inside of, and what
is under way there. One owner holds it; `judge` reads it and says what a batch changes, `apply` makes that current.

Two independent states are kept, one for geofences that judge trusted fixes (`trusted`) and one for those that judge all
(`every`), since their newest fixes differ. Being outside with nothing under way needs no state, and neither does "never
seen": an asset was seen by a geofence if a fix of it was stored in a batch of the geofence's lifetime.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import Ints, Mask
from tracker.domain.plausibility import Suspect

EXIT: Final = 0
ENTER: Final = 1
CROSS: Final = 2
DWELL: Final = 3
SPEEDING: Final = 4
ABSENT: Final = 5
NEVER: Final = np.iinfo(np.int64).min

Key = tuple[int, int, int]  # time_ms, lon, lat: the place of a fix in event order, but for the remaining fields
Doubted = tuple[int, int, int, int]  # a Key and the flags


Span = tuple[int, int]  # of time, ms, both ends included


class Crossed(NamedTuple):
    """When a threshold was crossed between two fixes, and where, if it has a place; lon, lat in 1e-7 degrees."""

    time_ms: int
    lon: int | None
    lat: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of an asset and a geofence with options. docs/geofences.md has the words: side, run, haste."""

    inside: bool = False
    run: int = 0  # fixes that say the opposite of the side
    run_start_ms: int = 0
    run_initial: bool = False
    run_cause: str | None = None
    run_crossed: Crossed | None = None
    enter_ms: int = 0  # of the visit under way
    dwelt: bool = False
    haste_ms: int | None = None  # since when it has been too fast
    hasted: bool = False
    absent_ms: int | None = None  # when its absence was told last


OUTSIDE: Final = Entry()


@dataclass(frozen=True, slots=True)
class LastFix:
    """The newest fix that one quality admits, in the integers of Columns. batch: where it is stored; seen: the highest
    batch of all that were stored.
    """

    time_ms: int
    lon: int
    lat: int
    alt: int
    speed: int
    course: int
    accuracy: int
    batch: int
    seen: int

    @property
    def key(self) -> Key:
        return self.time_ms, self.lon, self.lat


RECORD: Final = np.dtype(
    [
        ("time_ms", np.int64),
        ("lon", np.int32),
        ("lat", np.int32),
        ("alt", np.int32),
        ("speed", np.int32),
        ("course", np.int16),
        ("accuracy", np.int32),
        ("batch", np.int64),
        ("seen", np.int64),
    ],
    align=True,
)  # a LastFix
_NO_FIX: Final = np.array((NEVER, 0, 0, 0, 0, 0, 0, -1, -1), RECORD)


class Newest:
    """The newest fix judged of each asset: `records` by asset number, which grow as assets are made, and each field of
    theirs by its name. Where there was none, time_ms is NEVER and the batches are -1.
    """

    time_ms: NDArray[np.int64]
    lon: NDArray[np.int32]
    lat: NDArray[np.int32]
    alt: NDArray[np.int32]
    speed: NDArray[np.int32]
    course: NDArray[np.int16]
    accuracy: NDArray[np.int32]
    batch: NDArray[np.int64]
    seen: NDArray[np.int64]

    def __init__(self) -> None:
        self._keep(np.full(1, _NO_FIX))

    def _keep(self, records: NDArray[np.void]) -> None:
        self.records = records
        for name in RECORD.names or ():
            setattr(self, name, records[name])

    def reserve(self, largest: int) -> None:
        """Make room for asset numbers up to the largest."""
        have = len(self.records)
        if largest >= have:
            self._keep(np.concatenate([self.records, np.full(max(largest + 1, have * 2) - have, _NO_FIX)]))

    def precedes(self, asset: Ints, time_ms: Ints, lon: Ints, lat: Ints) -> Mask:
        """Which of the fixes sort after the newest of their asset; equal ones do not."""
        t, x, y = self.time_ms[asset], self.lon[asset], self.lat[asset]
        return np.asarray((time_ms > t) | ((time_ms == t) & ((lon > x) | ((lon == x) & (lat > y)))))

    def get(self, asset: int) -> LastFix | None:
        if self.time_ms[asset] == NEVER:
            return None
        return LastFix(*self.records[asset].item())

    def put(self, asset: int, fix: LastFix | None) -> None:
        self.records[asset] = _NO_FIX if fix is None else astuple(fix)


@dataclass(slots=True)
class Sight:
    """What the geofences of one quality have seen. `inside`: of geofences without options those that an asset is
    inside of, each with the visit's enter_time; `entries`: what is known of those with options, OUTSIDE left out.
    """

    newest: Newest = field(default_factory=Newest)
    inside: dict[int, dict[int, int]] = field(default_factory=dict)
    entries: dict[int, dict[int, Entry]] = field(default_factory=dict)

    def fences_of(self, asset: int) -> dict[int, int]:
        """The geofences of both kinds that the asset is inside of, each with the visit's enter_time."""
        entries = self.entries.get(asset, {})
        return self.inside.get(asset, {}) | {fence: e.enter_ms for fence, e in entries.items() if e.inside}

    def apply(self, seen: "Seen") -> None:
        """Make the outcome for this quality current."""
        self.newest.records[seen.asset] = seen.newest
        for asset, fences in seen.inside.items():
            self.put_inside(asset, fences)
        for asset, entries in seen.entries.items():
            self.put_entries(asset, entries)

    def put_inside(self, asset: int, fences: dict[int, int]) -> None:
        if fences:
            self.inside[asset] = fences
        else:
            self.inside.pop(asset, None)

    def put_entries(self, asset: int, entries: dict[int, Entry]) -> None:
        if entries:
            self.entries[asset] = entries
        else:
            self.entries.pop(asset, None)

    def forget(self, asset: int, fence: int) -> None:
        """What is known of one asset and one geofence."""
        if fence in self.inside.get(asset, ()):
            self.put_inside(asset, {each: ms for each, ms in self.inside[asset].items() if each != fence})
        if fence in self.entries.get(asset, ()):
            self.put_entries(asset, {each: e for each, e in self.entries[asset].items() if each != fence})


@dataclass(frozen=True, slots=True)
class SightState:
    """One sight of one asset."""

    newest: LastFix | None = None
    inside: dict[int, int] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssetState:
    """All that is known of one asset after a fix. suspect: an implausible place that may yet be believed; doubted: the
    newest fix of those doubted because of their neighbours, while it sorts after the newest trusted one.
    """

    trusted: SightState = SightState()
    every: SightState = SightState()
    suspect: Suspect | None = None
    doubted: Doubted | None = None


_Value = TypeVar("_Value")


def _update(table: dict[int, _Value], changes: Mapping[int, _Value | None]) -> None:
    """Put what is there, drop what is None."""
    for asset, value in changes.items():
        if value is None:
            table.pop(asset, None)
        else:
            table[asset] = value


class Presence:
    """The state of the whole fleet."""

    def __init__(self) -> None:
        self.trusted = Sight()
        self.every = Sight()
        self.suspects: dict[int, Suspect] = {}
        self.doubted: dict[int, Doubted] = {}
        self.uncounted: NDArray[np.int32] = np.full(1, -1, np.int32)  # fixes since the last checkpoint; -1: not known

    @property
    def sights(self) -> tuple[Sight, Sight]:
        return self.trusted, self.every

    def sight(self, judges_every_fix: bool) -> Sight:  # noqa: FBT001 - it is the question
        return self.every if judges_every_fix else self.trusted

    def reserve(self, largest_asset: int) -> None:
        """Make room for asset numbers up to the largest."""
        for sight in self.sights:
            sight.newest.reserve(largest_asset)
        more = len(self.trusted.newest.records) - len(self.uncounted)
        if more > 0:
            self.uncounted = np.concatenate([self.uncounted, np.full(more, -1, np.int32)])

    def apply(self, judgement: "Judgement") -> None:
        """Make the outcome of a batch current."""
        for sight, seen, behind in zip(
            self.sights, (judgement.trusted, judgement.every), judgement.behind, strict=True
        ):
            if len(behind):
                sight.newest.seen[behind] = np.maximum(sight.newest.seen[behind], judgement.batch)
            sight.apply(seen)
        self.remember(judgement.suspects, judgement.doubted)

    def remember(self, suspects: Mapping[int, Suspect | None], doubted: Mapping[int, Doubted | None]) -> None:
        """Changes of what is not trusted; None: nothing any more."""
        _update(self.suspects, suspects)
        _update(self.doubted, doubted)

    def get(self, asset: int) -> AssetState:
        """What is known of one asset."""
        trusted, every = (
            SightState(sight.newest.get(asset), sight.inside.get(asset, {}), sight.entries.get(asset, {}))
            for sight in self.sights
        )
        return AssetState(trusted, every, self.suspects.get(asset), self.doubted.get(asset))

    def put(self, asset: int, state: AssetState) -> None:
        """Replace what is known of one asset."""
        for sight, of in zip(self.sights, (state.trusted, state.every), strict=True):
            sight.newest.put(asset, of.newest)
            sight.put_inside(asset, of.inside)
            sight.put_entries(asset, of.entries)
        self.suspects.pop(asset, None)
        self.doubted.pop(asset, None)
        if state.suspect is not None:
            self.suspects[asset] = state.suspect
        if state.doubted is not None:
            self.doubted[asset] = state.doubted

    def fences_of(self, asset: int) -> dict[int, int]:
        """The geofences that the asset is inside of, each with the visit's enter_time."""
        return self.trusted.fences_of(asset) | self.every.fences_of(asset)

    def entry(self, asset: int, fence: int) -> Entry:
        """What is known of an asset and a geofence that has options, or had."""
        found = (sight.entries.get(asset, {}).get(fence) for sight in self.sights)
        return next((entry for entry in found if entry is not None), OUTSIDE)

    def assets_with(self, fence: int) -> list[int]:
        """The assets of which anything is known about a geofence, ascending."""
        tables = [table for sight in self.sights for table in (sight.inside, sight.entries)]
        return sorted({asset for table in tables for asset, fences in table.items() if fence in fences})

    def forget(self, fence: int) -> None:
        """Forget a geofence, whoever was inside."""
        for asset in self.assets_with(fence):
            for sight in self.sights:
                sight.forget(asset, fence)


@dataclass(frozen=True, slots=True)
class Seen:
    """The outcome for one quality: the new newest fix of each asset that has one, and the changed memberships."""

    rows: Ints  # of the batch: the newest fix of each asset in `asset`
    asset: Ints
    newest: NDArray[np.void]  # the same as RECORDs
    inside: dict[int, dict[int, int]]
    entries: dict[int, dict[int, Entry]]


@dataclass(frozen=True, slots=True)
class Transitions:
    """k transitions in feed order: row of the batch, geofence, kind, and what else is known of each."""

    row: Ints
    fence: Ints
    kind: Ints
    initial: Mask
    cause: list[str | None]
    crossed: list[Crossed | None]

    def __len__(self) -> int:
        return len(self.row)


_NO_ROWS: Final = np.empty(0, np.int64)
NOTHING_TURNED: Final = Transitions(_NO_ROWS, _NO_ROWS, _NO_ROWS, np.empty(0, np.bool_), [], [])


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a batch changes. doubt (n,) int16: flags that neighbours bring about; late: assets with fixes that sort
    before what was judged already, each with the times of the first and the last.
    """

    transitions: Transitions
    trusted: Seen
    every: Seen
    doubt: NDArray[np.int16]
    suspects: dict[int, Suspect | None]
    doubted: dict[int, Doubted | None]
    late: dict[int, Span]
    behind: tuple[Ints, Ints]  # assets of trusted, and of all, fixes that are not after what was judged
    batch: int

    def disturbed(self) -> set[int]:
        """The assets of which more changed than the newest fix and the visits of geofences without options."""
        return set(self.suspects) | set(self.doubted) | set(self.trusted.entries) | set(self.every.entries)
