import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.engine import columns
from tests.domain.reference import UNIT, FixRow
from tracker.domain.batch import Columns
from tracker.domain.chronicle import Chronicle
from tracker.domain.evidence import IN, OUT, UNSURE, evidence
from tracker.domain.fold import Fold, Tags
from tracker.domain.geofence import AssetFilter, Geofence, Rule, Version
from tracker.domain.index import FenceIndex
from tracker.domain.presence import CROSS, ENTER, EXIT, AssetState
from tracker.domain.schedule import Schedule
from tracker.domain.shape import polygon
from tracker.domain.why import Life, statements, steps

SQUARE = polygon([[[[0, 0], [0.01, 0], [0.01, 0.01], [0, 0.01], [0, 0]]]])
SMALL = polygon([[[[0, 0], [0.004, 0], [0.004, 0.01], [0, 0.01], [0, 0]]]])
HOURS = Schedule.parse({"time_zone": "UTC", "weekly": [{"days": ["thu"], "from": "00:00", "to": "00:01"}]}, "schedule")
slow = settings(deadline=None, max_examples=30)
BY_LINE = {
    "schedule": OUT,
    "altitude_unknown": UNSURE,
    "altitude": OUT,
    "accuracy": UNSURE,
    "inside": IN,
    "exit_margin": UNSURE,
    "outside": OUT,
}

rules = st.builds(
    Rule,
    edge=st.sampled_from(["exact", "certain"]),
    exit_margin_m=st.sampled_from([0.0, 120.0]),
    confirm_fixes=st.sampled_from([1, 1, 2, 3]),
    confirm_s=st.sampled_from([0.0, 0.0, 15.0]),
    dwell_after_s=st.sampled_from([None, 20.0]),
    cross=st.booleans(),
    alt_max_m=st.sampled_from([None, None, 50.0]),
    schedule=st.sampled_from([None, None, HOURS]),
    absence=st.just(value=False),
    assets=st.sampled_from([None, None, AssetFilter(tags=frozenset({"bus"}))]),
)
places = st.integers(-4, 14).map(lambda step: step * UNIT // 1000)
fixes = st.lists(
    st.builds(
        FixRow,
        time_ms=st.integers(0, 12).map(lambda step: step * 10_000),
        lon=places,
        lat=st.just(UNIT // 200),
        alt=st.sampled_from([None, 0, 1000]),
        accuracy=st.sampled_from([None, 10, 5000]),
        flags=st.sampled_from([0, 0, 0, 2]),
        batch=st.integers(1, 6),
    ),
    max_size=14,
)


def fence_of(rule: Rule, version: int = 1, shape: object = SQUARE, quality: str = "trusted") -> Geofence:
    return Geofence(7, version, "yard", shape, quality, 2, rule=rule)  # type: ignore[arg-type]


def life_of(rule: Rule, quality: str = "trusted", until_batch: int | None = None) -> Life:
    """Made before batch 2, smaller from batch 4 on; the asset is a bus until batch 5."""
    versions = [
        Version(2, fence_of(rule, quality=quality)),
        Version(4, fence_of(rule, 2, SMALL, quality)),
    ]
    return Life(versions, until_batch, 1, [Tags(0, frozenset({"bus"})), Tags(5, frozenset())])


def stored(rows: list[FixRow]) -> tuple[Columns, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    rows = sorted(rows, key=lambda fix: fix.event_order)
    return columns(rows), np.array([fix.batch for fix in rows], np.int64)


@slow
@given(rules, fixes)
def test_the_line_that_is_named_says_what_the_engine_says(rule: Rule, rows: list[FixRow]) -> None:
    given_columns, batch = stored(rows)
    life = life_of(rule)
    said = statements(life, given_columns, batch)
    for row, each in enumerate(said):
        assert each.says == BY_LINE[each.line]
        fence = life.version(int(batch[row]))
        one = given_columns.take(slice(row, row + 1))
        engine = evidence(
            FenceIndex([fence]), np.array([7]), one.time_ms, one.lon, one.lat, one.alt, one.accuracy,
            np.array([each.held]),
        )  # fmt: skip
        assert engine.tolist() == [each.says]
        assert (each.line in {"inside", "outside"}) <= (each.held == (each.line == "inside"))


@slow
@given(rules, fixes, st.sampled_from(["trusted", "all"]))
def test_fixes_one_by_one_tell_what_they_tell_together(rule: Rule, rows: list[FixRow], quality: str) -> None:
    given_columns, batch = stored(rows)
    life = life_of(rule, quality)
    together = life.fold(AssetState())
    together.run(given_columns, batch, ())
    found = list(steps(life, life.fold(AssetState()), given_columns, batch, ()))
    assert [fact for step in found for fact in step.facts] == together.facts
    assert [step.row for step in found] == list(range(len(rows)))


@slow
@given(rules, fixes, st.sampled_from(["trusted", "all"]))
def test_what_was_not_seen_changes_nothing_but_chords(rule: Rule, rows: list[FixRow], quality: str) -> None:
    given_columns, batch = stored(rows)
    life = life_of(rule, quality)
    seen = [row for row, each in enumerate(statements(life, given_columns, batch)) if each.unseen is None]
    found = steps(life, life.fold(AssetState()), given_columns, batch, ())
    for step in found:
        assert step.row in seen or not step.facts


@slow
@given(rules.filter(lambda rule: not rule.cross and rule.assets is None), fixes)
def test_sides_turn_only_at_fixes_that_say_so(rule: Rule, rows: list[FixRow]) -> None:
    given_columns, batch = stored(rows)
    life = life_of(rule)
    said = statements(life, given_columns, batch)
    inside = False
    for step in steps(life, life.fold(AssetState()), given_columns, batch, ()):
        each = said[step.row]
        if each.unseen is not None or each.says == UNSURE:
            assert step.entry.inside == inside
        for fact in step.facts:
            if fact.kind in {ENTER, EXIT}:
                assert each.says == (IN if fact.kind == ENTER else OUT)
            assert fact.kind != CROSS
        inside = step.entry.inside


def test_a_deleted_geofence_saw_nothing_that_was_stored_after() -> None:
    given_columns, batch = stored(
        [FixRow(0, 1000, 1000, batch=1), FixRow(1, 1000, 1000, batch=2), FixRow(2, 0, 0, batch=5)]
    )
    said = statements(life_of(Rule(), until_batch=5), given_columns, batch)
    assert [each.unseen for each in said] == ["stored_before", None, "stored_after"]
    assert [each.fence.version for each in said] == [1, 1, 2]


def test_a_repeat_is_one_of_what_was_seen() -> None:
    rows = [FixRow(0, 1000, 1000, batch=1), FixRow(0, 1000, 1000, batch=2), FixRow(0, 1000, 1000, batch=3)]
    said = statements(life_of(Rule()), *stored(rows))
    assert [each.unseen for each in said] == ["stored_before", None, "repeat"]


def test_a_fold_of_a_life_is_that_of_its_chronicle() -> None:
    life = life_of(Rule(confirm_fixes=2))
    rows = [FixRow(i * 1000, 1000 * i, 1000, batch=3) for i in range(5)]
    own = life.fold(AssetState())
    other = Fold(Chronicle(FenceIndex([life.versions[-1].fence]), life.versions), 1, life.tags)
    other.begin(AssetState())
    own.run(*stored(rows), ())
    other.run(*stored(rows), ())
    assert own.facts == other.facts
    assert [fact.kind for fact in own.facts] == [ENTER]
