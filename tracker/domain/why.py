"""What a geofence made of an asset's fixes: which of them it saw, what each said and by which line of the definition,
and the side and run after each.

Nothing is decided here. Each line of the definition is put to the engine's own `evidence` alone, and sides and
transitions come from a Fold: an explanation can then never tell another story than the events.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import numpy as np

from tracker.domain.batch import DEGREE, Columns, Floats, Ints, Mask
from tracker.domain.chronicle import Chronicle
from tracker.domain.evidence import OUT, UNSURE, evidence
from tracker.domain.fold import Fact, Fold, FullKey, Tags, Turning, behind_equals, keys_of
from tracker.domain.geofence import Geofence, Rule, Version
from tracker.domain.index import FenceIndex
from tracker.domain.presence import OUTSIDE, AssetState, Entry

Unseen = Literal["stored_before", "stored_after", "flagged", "other_asset", "repeat"]
Line = Literal["schedule", "altitude_unknown", "altitude", "accuracy", "inside", "exit_margin", "outside"]

UNLIMITED_MPS: Final = 1e9  # doubts are stored: nothing is to be doubted again


class _Alone(Chronicle):
    """A chronicle of one geofence, whose indexes are kept: it is asked once for every fix."""

    def __init__(self, index: FenceIndex, versions: Sequence[Version]) -> None:
        super().__init__(index, versions)
        self._numbers = {each.fence.id for each in versions}
        self._indexes: dict[int, FenceIndex] = {}

    def near(self, lon: Floats, lat: Floats) -> set[int]:  # noqa: ARG002 - wherever the fixes are
        return set(self._numbers)

    def at(self, fence_ids: Iterable[int], batch: int) -> FenceIndex:
        fence = next((found for number in fence_ids if (found := self.version(number, batch)) is not None), None)
        key = -1 if fence is None else fence.version
        if key not in self._indexes:
            self._indexes[key] = FenceIndex([] if fence is None else [fence], partial=True)
        return self._indexes[key]


@dataclass(frozen=True, slots=True)
class Life:
    """A geofence from its making on, as far as it concerns one asset. until_batch: the first that it judged no more,
    None while it is there.
    """

    versions: Sequence[Version]  # ascending
    until_batch: int | None
    asset: int
    tags: Sequence[Tags] = ()

    @property
    def number(self) -> int:
        return self.versions[0].fence.id

    @property
    def since_batch(self) -> int:
        return self.versions[0].from_batch

    def version(self, batch: int) -> Geofence:
        """The version that judges what is stored in a batch; the first for what was stored before it."""
        place = bisect_right(self.versions, batch, key=lambda each: each.from_batch)
        return self.versions[max(place - 1, 0)].fence

    def admits(self, fence: Geofence, batch: int) -> bool:
        """Whether the asset matched the version's filter when a batch was stored."""
        if fence.rule.assets is None:
            return True
        tags = next((each.tags for each in reversed(self.tags) if each.from_batch <= batch), frozenset[str]())
        return fence.rule.assets.admits(self.asset, tags)

    def fold(self, state: AssetState) -> Fold:
        """The engine, with this geofence alone, from a state on."""
        fold = Fold(_Alone(FenceIndex([self.versions[-1].fence]), self.versions), self.asset, self.tags, UNLIMITED_MPS)
        fold.begin(replace(state, suspect=None, doubted=None))
        return fold


class Statement(NamedTuple):
    """What one fix said to a geofence: IN, OUT or UNSURE by a line of the definition; or why it was not seen. edge_m:
    how far the edge is, whatever side of it the fix lies on.
    """

    fence: Geofence  # the version that judged, or would have judged it
    unseen: Unseen | None
    says: int
    line: Line
    held: bool
    edge_m: float


def statements(life: Life, columns: Columns, batch: Ints) -> list[Statement]:
    """What each fix said.

    Args:
        columns: (n,) in event order; flags of every kind. What is equal to a fix before them is not known as a repeat.
        batch: (n,) where each is stored.
    """
    found: list[Statement | None] = [None] * len(columns)
    judged_by = [life.version(number) for number in batch.tolist()]
    for fence in {each.version: each for each in judged_by}.values():
        rows = np.array([i for i, each in enumerate(judged_by) if each.version == fence.version], np.int64)
        says, held, lines, edge_m = _said(fence, columns, rows)
        for i, row in enumerate(rows.tolist()):
            found[row] = Statement(fence, None, says[i], lines[i], held[i], edge_m[i])
    seen: set[tuple[int, ...]] = set()
    places = zip(columns.time_ms.tolist(), columns.lon.tolist(), columns.lat.tolist(), strict=True)
    out = []
    for row, place in enumerate(places):
        each = found[row]
        assert each is not None
        unseen = _unseen(life, each.fence, int(batch[row]), int(columns.flags[row]))
        if unseen is None and place in seen:
            unseen = "repeat"
        if unseen is None:
            seen.add(place)
        out.append(each._replace(unseen=unseen))
    return out


def _unseen(life: Life, fence: Geofence, batch: int, flags: int) -> Unseen | None:
    if batch < life.since_batch:
        return "stored_before"
    if life.until_batch is not None and batch >= life.until_batch:
        return "stored_after"
    if flags and fence.quality == "trusted":
        return "flagged"
    return None if life.admits(fence, batch) else "other_asset"


def _said(fence: Geofence, columns: Columns, rows: Ints) -> tuple[list[int], list[bool], list[Line], list[float]]:
    """What these fixes say to a version, whether its shape holds them, which lines say so, and how far its edge is."""
    index, number = FenceIndex([fence]), np.full(len(rows), fence.id, np.int64)
    lon, lat = columns.lon[rows] / DEGREE, columns.lat[rows] / DEGREE
    held = index.hold(number, lon, lat)
    lines: list[Line] = ["inside" if each else "outside" for each in held.tolist()]
    for line, fits in reversed(_lines(fence, columns, rows, held)):
        for i in np.flatnonzero(fits).tolist():
            lines[i] = line
    says = _ask(fence, fence.rule, columns, rows, held)
    return says.tolist(), held.tolist(), lines, index.edge_distances_m(number, lon, lat).tolist()


def _lines(fence: Geofence, columns: Columns, rows: Ints, held: Mask) -> list[tuple[Line, Mask]]:
    """The lines of the definition above "the shape holds the fix", and that of the margin: which fixes each fits."""
    rule, everywhere = fence.rule, np.ones(len(rows), np.bool_)
    found: list[tuple[Line, Mask]] = []
    if rule.schedule is not None and not rule.absence:
        found.append(("schedule", _ask(fence, Rule(schedule=rule.schedule), columns, rows, everywhere) == OUT))
    if rule.alt_min_m is not None or rule.alt_max_m is not None:
        band = Rule(alt_min_m=rule.alt_min_m, alt_max_m=rule.alt_max_m)
        said = _ask(fence, band, columns, rows, everywhere)
        found += [("altitude_unknown", said == UNSURE), ("altitude", said == OUT)]
    if rule.edge == "certain":
        found.append(("accuracy", _ask(fence, Rule(edge="certain"), columns, rows, held) == UNSURE))
    if rule.exit_margin_m > 0:
        margin = Rule(exit_margin_m=rule.exit_margin_m)
        found.append(("exit_margin", _ask(fence, margin, columns, rows, held) == UNSURE))
    return found


def _ask(fence: Geofence, rule: Rule, columns: Columns, rows: Ints, held: Mask) -> Ints:
    """The engine's evidence, by a part of the rule."""
    return evidence(
        FenceIndex([replace(fence, rule=rule)]),
        np.full(len(rows), fence.id, np.int64),
        columns.time_ms[rows],
        columns.lon[rows],
        columns.lat[rows],
        columns.alt[rows],
        columns.accuracy[rows],
        held,
    )


# Sides ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A fix, or a change of the geofence right after one: the side and run afterwards, and what was told at it. row:
    of the columns; turning None: it is the fix itself.
    """

    row: int
    turning: Turning | None
    entry: Entry
    facts: Sequence[Fact]


def entry_of(state: AssetState, number: int, fence: Geofence) -> Entry:
    """What a state says of a geofence: one without options is outside, or inside since a time."""
    if fence.rule.plain:
        for sight in (state.trusted, state.every):
            if number in sight.inside:
                return Entry(inside=True, enter_ms=sight.inside[number])
    for sight in (state.trusted, state.every):
        if number in sight.entries:
            return sight.entries[number]
    return OUTSIDE


def steps(life: Life, fold: Fold, columns: Columns, batch: Ints, turnings: Sequence[Turning]) -> Iterator[Step]:
    """Go on fix by fix. Before the first come, under row -1, the changes that have their place before it.

    Args:
        columns: (n,) in event order, all after what was judged; flags of every kind.
        turnings: of this geofence and of the asset's tags, in order, that are not in the state.
    """
    waiting = behind_equals(turnings, columns, batch)
    keys = keys_of(columns, batch)
    for row in range(-1, len(columns)):
        if row >= 0:
            yield _step(life, fold, row, None, columns.take(slice(row, row + 1)), batch[row : row + 1])
        following = keys[row + 1] if row + 1 < len(columns) else None
        while waiting and _is_due(waiting[0], keys[row] if row >= 0 else None, following):
            yield _step(life, fold, row, waiting.pop(0), columns, batch)


def _is_due(turning: Turning, here: FullKey | None, following: FullKey | None) -> bool:
    """Whether a change has its place before the next fix; after the last one only if it is the last one's."""
    if following is not None:
        return turning.key < following
    return here is not None and turning.key <= here


def _step(life: Life, fold: Fold, row: int, turning: Turning | None, columns: Columns, batch: Ints) -> Step:
    told = len(fold.facts)
    if turning is None:
        fold.run(columns, batch, ())
        judged_from = int(batch[0])
    else:
        fold.turn(turning)
        judged_from = turning.batch
    fence = life.version(judged_from)
    return Step(row, turning, entry_of(fold.state, life.number, fence), fold.facts[told:])
