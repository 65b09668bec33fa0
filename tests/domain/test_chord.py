"""Chords: straight in lon/lat and the short way round, and where they first touch a shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain import globe, scenes
from tracker.domain.batch import Floats
from tracker.domain.chord import between, lengths_m, span_deg
from tracker.domain.geodesy import WGS84
from tracker.domain.shape import Shape, Shapes, circle, corridor, polygon

Chord = tuple[float, float, float, float]
ONE = np.zeros(1, dtype=np.int64)
SQUARE = polygon([[scenes.box(0, 0, 40, 40)]])  # 0…4 degrees
FIJI = polygon([[scenes.box(1780, -200, 1800, -160)], [scenes.box(-1800, -200, -1780, -160)]])


def columns(chord: Chord) -> tuple[Floats, Floats, Floats, Floats]:
    lon0, lat0, lon1, lat1 = (np.array([value]) for value in chord)
    return lon0, lat0, lon1, lat1


def place(chord: Chord, fraction: float) -> tuple[float, float]:
    lon0, lat0, lon1, lat1 = columns(chord)
    lon, lat = between(lon0, lat0, lon1, lat1, np.array([fraction]))
    return float(lon[0]), float(lat[0])


def touched(shape: Shape, chord: Chord) -> float:
    return float(Shapes([shape]).touched_at(ONE, *columns(chord))[0])


def held(shape: Shape, chord: Chord, fractions: Floats) -> list[bool]:
    lon0, lat0, lon1, lat1 = (np.full(len(fractions), value) for value in chord)
    lon, lat = between(lon0, lat0, lon1, lat1, fractions)
    return list(Shapes([shape]).hold(np.zeros(len(fractions), np.int64), lon, lat).tolist())


@pytest.mark.parametrize(
    ("lon0", "lon1", "span"),
    [(0, 10, 10), (10, 0, -10), (170, -170, 20), (-170, 170, -20), (180, -180, 0), (-180, 180, 0), (0, 180, 180),
     (180, 0, -180), (-90, 90, 180), (-90, 90.5, -179.5)],
)  # fmt: skip
def test_a_chord_goes_the_short_way_round(lon0: float, lon1: float, span: float) -> None:
    assert span_deg(np.array([lon0]), np.array([lon1])).tolist() == [span]


def test_a_place_on_a_chord_over_the_antimeridian_is_on_the_map() -> None:
    chord = (170.0, 0.0, -150.0, 8.0)
    assert [place(chord, f) for f in (0.0, 0.25, 0.5, 1.0)] == [(170, 0), (180, 2), (-170, 4), (-150, 8)]
    assert place((-170.0, 0.0, 150.0, 8.0), 0.5) == (170, 4)


@given(globe.places, globe.places, st.floats(0, 1))
def test_places_on_a_chord_lie_between_its_ends_which_are_exact(
    a: globe.Place, b: globe.Place, fraction: float
) -> None:
    lon, lat = place((*a, *b), fraction)
    assert -180 <= lon <= 180
    assert min(a[1], b[1]) - 1e-12 <= lat <= max(a[1], b[1]) + 1e-12
    assert place((*a, *b), 0.0) == a
    assert place((*a, *b), 1.0) == b


@given(globe.places, globe.places)
def test_a_chord_is_no_longer_than_its_bound(a: globe.Place, b: globe.Place) -> None:
    steps = np.linspace(0, 1, 200)
    lon0, lat0, lon1, lat1 = (np.full(200, value) for value in (*a, *b))
    lon, lat = between(lon0, lat0, lon1, lat1, steps)
    walked_m = float(np.sum(WGS84.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2]))
    assert walked_m <= lengths_m(*columns((*a, *b)))[0] * (1 + 1e-9) + 1e-3


@pytest.mark.parametrize(
    ("shape", "chord", "fraction"),
    [
        (SQUARE, (-1, 2, 7, 2), 0.125),
        (SQUARE, (7, 2, -1, 2), 0.375),
        (SQUARE, (2, 2, 7, 2), 0.0),  # begins inside
        (SQUARE, (4, 2, 7, 2), 0.0),  # begins on the edge
        (SQUARE, (5, 2, 4, 2), 1.0),  # ends on it
        (SQUARE, (-1, 1, 1, -1), 0.5),  # touches a corner
        (SQUARE, (-2, 0, 8, 0), 0.2),  # runs along an edge
        (SQUARE, (-2, 4, 8, 4), 0.2),
        (SQUARE, (4, -2, 4, 8), 0.2),
        (SQUARE, (0, 8, 0, -2), 0.4),
        (SQUARE, (5, 2, 6, 3), np.nan),
        (SQUARE, (-1, 1, 1, -1.000_001), np.nan),
        (SQUARE, (5, 2, 5, 2), np.nan),  # did not move
        (SQUARE, (3, 2, 3, 2), 0.0),
        (SQUARE, (-170, 2, 170, 2), np.nan),  # the short way is the other way
        (FIJI, (177, -18, -177, -18), 1 / 6),
        (FIJI, (-177, -18, 177, -18), 1 / 6),
        (FIJI, (-179, -15, -179, -21), 1 / 6),
        (FIJI, (180, -15, 180, -21), 1 / 6),
        (FIJI, (-180, -15, -180, -21), 1 / 6),
        (FIJI, (-180, -15, 180, -21), 1 / 6),
        (FIJI, (179, -15, -179, -15.5), np.nan),
        (FIJI, (177.0, -18, -179, -18), 0.25),
        (FIJI, (-177, -18, 180, -18), 1 / 3),
        (FIJI, (-177, -18, -180, -18), 1 / 3),
        (SQUARE, (-1, -1, 1, 1), 0.5),  # through a corner
    ],
)
def test_a_chord_touches_a_polygon_first_at(shape: Shape, chord: Chord, fraction: float) -> None:
    assert touched(shape, chord) == pytest.approx(fraction, abs=1e-9, nan_ok=True)


def test_a_chord_past_the_end_of_the_map_touches_what_ends_there() -> None:
    west, east = polygon([[scenes.box(-1800, 600, -1700, 700)]]), polygon([[scenes.box(1700, 600, 1800, 700)]])
    for shape, side in ((west, 1.0), (east, -1.0)):
        assert touched(shape, (178.0 * side, 65.0, -178.0 * side, 59.0)) == pytest.approx(0.5)
        assert touched(shape, (178.0 * side, 65.0, 180.0 * side, 65.0)) == 1.0
        assert touched(shape, (180.0 * side, 75.0, 180.0 * side, 55.0)) == pytest.approx(0.25)  # along its edge


def test_a_circle_is_touched_a_radius_away_from_its_centre() -> None:
    chord = (10.5, 50.2, 10.0, 50.0)
    lon, lat = place(chord, touched(circle([10.0, 50.0], 12_345.0), chord))
    assert WGS84.inv(10.0, 50.0, lon, lat)[2] == pytest.approx(12_345.0, abs=0.001)


def test_a_small_fence_between_two_fixes_is_touched() -> None:
    """60 m wide, passed at 30 m/s with a fix each 5 s."""
    lon, lat, _ = WGS84.fwd(10.0, 50.0, 90, 150.0)
    chord = (10.0, 50.0, lon, lat)
    for shape in (circle([*place(chord, 0.5)], 30.0), circle([*place(chord, 0.31)], 5.0)):
        assert 0 < touched(shape, chord) < 0.5
    across = corridor([[10.001, 49.9], [10.001, 50.1]], 10.0)
    assert place(chord, touched(across, chord))[0] < 10.001


def test_a_chord_that_grazes_a_circle_is_decided_by_the_distance() -> None:
    centre, radius_m = (10.0, 50.0), 1_000.0
    for beyond_m, touches in ((-0.001, True), (0.001, False)):
        lon, lat, _ = WGS84.fwd(*centre, 0, radius_m + beyond_m)
        chord = (lon - 0.05, lat, lon + 0.05, lat)  # its nearest place is very nearly in the middle
        assert np.isfinite(touched(circle([*centre], radius_m), chord)) == touches


@settings(max_examples=120, deadline=None)
@given(data=st.data(), shape=globe.shapes)
def test_a_touch_is_the_first_place_that_the_shape_holds(data: st.DataObject, shape: Shape) -> None:
    a, b = data.draw(globe.places_near(shape)), data.draw(globe.places_near(shape))
    chord = (*a, *b)
    fraction, steps = touched(shape, chord), np.linspace(0, 1, 400)
    inside = held(shape, chord, steps)
    if np.isnan(fraction):
        assert not any(inside)
        return
    assert 0 <= fraction <= 1
    assert not any(here for step, here in zip(steps.tolist(), inside, strict=True) if step < fraction - 1e-9)
    assert nearly_in(shape, *place(chord, fraction))


def nearly_in(shape: Shape, lon: float, lat: float) -> bool:
    at = np.array([lon]), np.array([lat])
    columns = Shapes([shape])
    return bool(columns.hold(ONE, *at)[0]) or float(columns.edge_distances_m(ONE, *at)[0]) < 0.001


def test_pairs_are_answered_each_for_itself() -> None:
    shapes = Shapes([SQUARE, circle([10.0, 50.0], 1_000.0), corridor([[20.0, 0.0], [20.0, 1.0]], 1_000.0)])
    chords = [
        (-1, 2, 7, 2),
        (9.9, 50, 10.1, 50),
        (19.9, 0.5, 20.1, 0.5),
        (5, 2, 6, 2),
        (9, 50, 9.5, 50),
        (19, 2, 21, 2),
    ]
    which = np.array([0, 1, 2] * 2)
    lon0, lat0, lon1, lat1 = np.array(chords, dtype=np.float64).T
    together = shapes.touched_at(which, lon0, lat0, lon1, lat1).tolist()
    kinds = [SQUARE, circle([10.0, 50.0], 1_000.0), corridor([[20.0, 0.0], [20.0, 1.0]], 1_000.0)]
    alone = [touched(kinds[k], chord) for k, chord in zip(which.tolist(), chords, strict=True)]
    assert together == pytest.approx(alone, nan_ok=True)
    assert np.isnan(together).tolist() == [False, False, False, True, True, True]


def test_no_pairs_have_no_answers() -> None:
    shapes, none, nothing = Shapes([SQUARE]), np.empty(0, np.int64), np.empty(0)
    assert len(shapes.hold(none, nothing, nothing)) == 0
    assert len(shapes.edge_distances_m(none, nothing, nothing)) == 0
    assert len(shapes.touched_at(none, nothing, nothing, nothing, nothing)) == 0
    assert len(Shapes([]).hold(none, nothing, nothing)) == 0
