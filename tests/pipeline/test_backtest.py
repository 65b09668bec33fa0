from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.engine import columns
from tests.domain.reference import UNIT, FixRow
from tracker.domain.backtest import Finding, Piece, Trial, copied, stretches
from tracker.domain.geofence import Geofence, Rule
from tracker.domain.presence import CROSS, ENTER, EXIT
from tracker.domain.schedule import Schedule
from tracker.domain.shape import Circle, Corridor, Shape, circle, corridor, polygon
from tracker.pipeline import backtest
from tracker.pipeline.backtest import Progress

STEP = UNIT // 100
MINUTE = 60_000
EVER = (0, 10**9)
HOURS = Schedule.parse({"time_zone": "UTC", "weekly": [{"days": ["thu"], "from": "00:05", "to": "00:20"}]}, "schedule")


def box(west: float, south: float, east: float, north: float) -> Shape:
    return polygon([[[[west, south], [east, south], [east, north], [west, north], [west, south]]]])


shapes: st.SearchStrategy[Shape] = st.sampled_from(
    [
        box(0, 0, 0.02, 0.02),
        box(0.005, -0.05, 0.006, 0.05),  # thinner than a step: only chords touch it
        circle([0.01, 0.01], 900.0),
        polygon([[[[179.98, 0], [180, 0], [180, 0.02], [179.98, 0.02], [179.98, 0]]],
                 [[[-180, 0], [-179.98, 0], [-179.98, 0.02], [-180, 0.02], [-180, 0]]]]),
    ]
)  # fmt: skip
rules = st.builds(
    Rule,
    edge=st.sampled_from(["exact", "certain"]),
    exit_margin_m=st.sampled_from([0.0, 0.0, 1500.0]),
    confirm_fixes=st.sampled_from([1, 1, 3]),
    confirm_s=st.sampled_from([0.0, 90.0]),
    dwell_after_s=st.sampled_from([None, 120.0]),
    cross=st.booleans(),
    schedule=st.sampled_from([None, None, HOURS]),
    speed_limit_mps=st.sampled_from([None, 5.0]),
    max_gap_s=st.sampled_from([90.0, 300.0]),
).flatmap(lambda rule: st.sampled_from([rule, Rule()]))
lons = st.one_of(
    st.integers(-8, 10).map(lambda step: step * STEP),
    st.integers(-5, 5).map(lambda step: (180 * UNIT + step * STEP + 180 * UNIT) % (360 * UNIT) - 180 * UNIT),
)
fixes = st.lists(
    st.builds(
        FixRow,
        time_ms=st.integers(0, 30).map(lambda minute: minute * MINUTE),
        lon=lons,
        lat=st.integers(-2, 4).map(lambda step: step * STEP),
        speed=st.sampled_from([None, 0, 1000]),
        accuracy=st.sampled_from([None, 10, 20_000]),
        flags=st.sampled_from([0, 0, 0, 0, 2]),
        asset=st.integers(1, 2),
        batch=st.integers(1, 12),  # in which piece it is
    ),
    max_size=40,
).flatmap(lambda rows: st.sampled_from([rows, [replace(row, batch=row.time_ms // MINUTE // 3) for row in rows]]))


def pieces_of(rows: Sequence[FixRow], asset: int) -> list[Piece]:
    """Those that were stored together are a piece; pieces overlap in time, or do not."""
    found = []
    for number in {row.batch for row in rows}:
        mine = [row for row in rows if row.batch == number and row.asset == asset]
        if mine:
            lon, lat = [row.lon for row in mine], [row.lat for row in mine]
            times = [row.time_ms for row in mine]
            sure = any(row.flags == 0 for row in mine)
            found.append(Piece(min(times), max(times), len(mine), (min(lon), min(lat), max(lon), max(lat)), sure))
    return sorted(found)


def tried(rows: Sequence[FixRow], fence: Geofence, span: tuple[int, int]) -> tuple[list[Finding], Progress]:
    """As the backtest goes through history, without a database."""
    progress, trial, found = Progress(2), Trial(fence, [1, 2]), list[Finding]()
    pieces = {
        asset: [each for each in pieces_of(rows, asset) if each.first_ms <= span[1] and each.last_ms >= span[0]]
        for asset in (1, 2)
    }
    waiting = {asset: deque(stretches(mine, fence, span)) for asset, mine in pieces.items()}
    waiting = {asset: left for asset, left in waiting.items() if left}
    while waiting:
        windows = backtest._next(trial, waiting, progress)
        mine = [
            row
            for row in rows
            if any(asset == row.asset and each.first_ms <= row.time_ms <= each.last_ms for asset, each in windows)
        ]
        if mine:
            found += trial.judge(columns(mine))
        progress.fixes += len(mine)
        progress.judged += len(mine)
        waiting = {asset: left for asset, left in waiting.items() if left}
    return found, progress


@settings(deadline=None, max_examples=100)
@given(shapes, rules, fixes, st.sampled_from(["trusted", "all"]), st.sampled_from([EVER, (5 * MINUTE, 20 * MINUTE)]))
def test_what_is_left_out_would_have_told_nothing(
    shape: Shape, rule: Rule, rows: list[FixRow], quality: str, span: tuple[int, int]
) -> None:
    fence = Geofence(1, 1, "yard", shape, quality, 0, rule=rule)  # type: ignore[arg-type]
    inside = [row for row in rows if span[0] <= row.time_ms <= span[1]]
    whole = Trial(fence, [1, 2]).judge(columns(inside)) if inside else []
    found, progress = tried(rows, fence, span)
    assert sorted(found, key=repr) == sorted(whole, key=repr)
    assert progress.judged <= len(inside)
    assert progress.fixes == len(inside)


YARD = Geofence(1, 1, "yard", box(0, 0, 0.02, 0.02), "trusted", 0)


def told_of(rows: Sequence[FixRow], fence: Geofence, span: tuple[int, int] = EVER) -> list[tuple[int, bool, bool]]:
    """Kind, initial, and whether it has a crossing, of each event; the same as if everything were read."""
    found, _ = tried(rows, fence, span)
    inside = [row for row in rows if span[0] <= row.time_ms <= span[1]]
    assert found == Trial(fence, [1, 2]).judge(columns(inside))
    return [(each.kind, each.initial, each.crossed is not None) for each in found]


def test_a_chord_between_two_pieces_that_are_away_is_looked_at() -> None:
    rows = [FixRow(i * MINUTE, (-5 if i < 3 else 5) * STEP, STEP, batch=1 + i // 3) for i in range(6)]
    assert told_of(rows, replace(YARD, rule=Rule(cross=True))) == [(CROSS, False, True)]
    assert told_of(rows, YARD) == []


def test_the_fix_before_is_one_that_is_seen() -> None:
    rows = [
        FixRow(0, 5 * STEP, STEP, batch=1),
        FixRow(MINUTE, 5 * STEP, STEP, batch=2, flags=2),
        FixRow(2 * MINUTE, STEP, STEP, batch=3),
    ]
    assert told_of(rows, YARD) == [(ENTER, False, True)]
    assert told_of(rows, replace(YARD, quality="all")) == [(ENTER, False, True)]


def test_a_piece_that_begins_before_the_span_may_have_nothing_in_it() -> None:
    rows = [
        FixRow(0, 5 * STEP, STEP, batch=1),
        FixRow(MINUTE, 5 * STEP, STEP, batch=2),
        FixRow(3 * MINUTE, 5 * STEP, STEP, batch=2, flags=2),
        FixRow(4 * MINUTE, STEP, STEP, batch=3),
    ]
    assert told_of(rows, YARD, (2 * MINUTE, 9 * MINUTE)) == [(ENTER, True, False)]
    assert told_of(rows, YARD) == [(ENTER, False, True)]


def test_whoever_is_inside_is_followed_until_out() -> None:
    rows = [
        FixRow(0, STEP, STEP, batch=1),
        FixRow(MINUTE, STEP, 9 * STEP, batch=2),
        FixRow(2 * MINUTE, STEP, 9 * STEP, batch=3),
    ]
    rule = Rule(confirm_fixes=2)
    assert told_of(rows, YARD) == [(ENTER, True, False), (EXIT, False, True)]
    assert told_of([replace(rows[0], time_ms=-MINUTE), *rows], replace(YARD, rule=rule), (-MINUTE, 10**9)) == [
        (ENTER, True, False), (EXIT, False, True),
    ]  # fmt: skip


def test_an_asset_that_is_far_away_is_not_read() -> None:
    far = [FixRow(i * MINUTE, 50 * STEP + i, 50 * STEP, batch=i // 10) for i in range(100)]
    near = [FixRow((100 + i) * MINUTE, STEP, STEP, batch=100) for i in range(3)]
    away = [FixRow((200 + i) * MINUTE, 50 * STEP, 50 * STEP, batch=200 + i // 10) for i in range(50)]
    fence = Geofence(1, 1, "yard", box(0, 0, 0.02, 0.02), "trusted", 0)
    found, progress = tried([*far, *near, *away], fence, EVER)
    assert [each.kind for each in found] == [1, 0]
    assert not found[0].initial  # the piece before it was read
    assert (progress.fixes, progress.judged) == (153, 10 + 3 + 10)


def test_a_long_stretch_is_cut_without_a_gap() -> None:
    pieces = [Piece(0, 99_999, 1_000_000, (0, 0, 10, 10), sure=True)]
    fence = Geofence(1, 1, "yard", box(0, 0, 0.02, 0.02), "trusted", 0)
    found = stretches(pieces, fence, (500, 10**9))
    assert len(found) == 20
    assert (found[0].first_ms, found[-1].last_ms) == (500, 99_999)
    assert np.all(
        np.array([each.first_ms for each in found[1:]]) == np.array([each.last_ms for each in found[:-1]]) + 1
    )
    assert all(each.wanted for each in found)


def test_each_thread_has_a_shape_of_its_own() -> None:
    for shape in (box(0, 0, 0.02, 0.02), circle([1, 2], 30.0), corridor([[0, 0], [1, 1]], 40.0)):
        fence = Geofence(1, 1, "yard", shape, "trusted", 0)
        assert copied(fence) == fence
        assert isinstance(shape, Circle | Corridor) or copied(fence).shape is not shape
