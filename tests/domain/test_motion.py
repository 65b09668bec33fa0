import random
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.domain.batch import DEGREE, UNKNOWN_INT16, UNKNOWN_INT32, Columns
from tracker.domain.geodesy import WGS84
from tracker.domain.motion.places import UNITS, Fixes, fixes_of
from tracker.domain.motion.rest import resting
from tracker.domain.motion.rule import LONGEST_SILENCE_MS, Rule
from tracker.domain.motion.state import Motion, motion
from tracker.domain.motion.stops import Stop
from tracker.domain.motion.survey import MARGIN_HOPS, Survey
from tracker.domain.motion.trips import Span, Trip

EVER: Span = (-(2**61), 2**61)
QUICK = Rule(min_stop_s=60, stop_diameter_m=50, max_gap_s=120)
BERLIN = (13.4, 52.5)

Fix = tuple[int, float, float]  # time_ms, lon, lat


def columns_of(fixes: list[Fix], speed_mps: list[float | None] | None = None) -> Columns:
    """Fixes of one asset as they are stored, in event order."""
    count = len(fixes)
    unknown = np.full(count, UNKNOWN_INT32, np.int32)
    speed = [UNKNOWN_INT32 if each is None else round(each * 100) for each in speed_mps or [None] * count]
    columns = Columns(
        np.ones(count, np.int32), np.ones(count, np.int32), np.array([fix[0] for fix in fixes], np.int64),
        np.array([round(fix[1] * DEGREE) for fix in fixes], np.int32),
        np.array([round(fix[2] * DEGREE) for fix in fixes], np.int32),
        unknown, np.array(speed, np.int32), np.full(count, UNKNOWN_INT16, np.int16), unknown,
        np.zeros(count, np.int16), None,
    )  # fmt: skip
    return columns.take(np.lexsort((columns.lat, columns.lon, columns.time_ms)))


def surveyed(
    pieces: list[Columns], rule: Rule = QUICK, asked: Span = EVER, *, now_ms: int = 2**61, **options: Any
) -> tuple[list[Stop], list[Trip], Survey]:
    """All that is told of fixes fed in these pieces; nothing follows them, and now is long after."""
    survey = Survey(rule, asked, **options)
    found = [survey.feed(piece, piece.flags == 0) for piece in pieces]
    found.append(survey.end(2**62, now_ms))
    return [stop for each in found for stop in each.stops], [trip for each in found for trip in each.trips], survey


def survey_of(fixes: list[Fix], rule: Rule = QUICK, **options: Any) -> tuple[list[Stop], list[Trip]]:
    stops, trips, _ = surveyed([columns_of(fixes)], rule, **options)
    return stops, trips


# Journeys to look at -------------------------------------------------------------------------------------------------


@dataclass
class Journey:
    """Fixes made by hand: from a place, stay or drive, with a fix each `step_s`."""

    lon: float = BERLIN[0]
    lat: float = BERLIN[1]
    seconds: float = 0.0
    step_s: float = 1.0
    jitter_m: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        self.fixes: list[Fix] = []
        self._random = random.Random(self.seed)

    def fix(self, jitter_m: float | None = None) -> "Journey":
        jitter_m = self.jitter_m if jitter_m is None else jitter_m
        away = abs(self._random.gauss(0, jitter_m)) if jitter_m else 0.0
        lon, lat, _ = WGS84.fwd(self.lon, self.lat, self._random.uniform(0, 360), away)
        self.fixes.append((round(self.seconds * 1000), lon, lat))
        return self

    def stay(self, seconds: float) -> "Journey":
        for _ in range(round(seconds / self.step_s)):
            self.fix()
            self.seconds += self.step_s
        return self

    def drive(self, metres: float, speed_mps: float = 10.0, course_deg: float = 90.0) -> "Journey":
        for _ in range(round(metres / speed_mps / self.step_s)):
            self.fix()
            self.lon, self.lat, back = WGS84.fwd(self.lon, self.lat, course_deg, speed_mps * self.step_s)
            course_deg = back + 180
            self.seconds += self.step_s
        return self

    def silence(self, seconds: float) -> "Journey":
        self.seconds += seconds - self.step_s
        return self


def commute(lon: float = BERLIN[0], lat: float = BERLIN[1]) -> Journey:
    """Ten minutes at home, five kilometres, ten minutes at work, five kilometres back, ten minutes at home."""
    return Journey(lon, lat).stay(600).drive(5000).stay(600).drive(5000, course_deg=270).stay(600)


def test_a_journey_is_stops_and_the_trips_between_them() -> None:
    journey = commute()
    stops, trips = survey_of(journey.fixes, Rule())
    assert [stop.open for stop in stops] == [False, False, True]
    assert [(stop.to_ms - stop.from_ms) / 1000 for stop in stops] == pytest.approx([600] * 3, abs=7)
    assert [trip.distance_m for trip in trips] == pytest.approx([5000, 5000], abs=55)
    assert [(trip.from_ms, trip.to_ms) for trip in trips] == [
        (before.to_ms, after.from_ms) for before, after in pairwise(stops)
    ]
    assert trips[0].max_speed_mps == pytest.approx(10, abs=0.01)
    assert stops[0].lon == pytest.approx(BERLIN[0], abs=1e-5)
    assert stops[0].radius_m < 5
    assert sum(stop.fixes for stop in stops) + sum(trip.fixes - 2 for trip in trips) == len(journey.fixes)


@pytest.mark.parametrize(
    ("lon", "lat"), [(179.97, -17.0), (0.0, 89.98), (-120.0, -89.999), (13.4, 52.5), (-179.999, 65.0)]
)
def test_a_journey_is_the_same_everywhere_on_the_earth(lon: float, lat: float) -> None:
    stops, trips = survey_of(commute(lon=lon, lat=lat).fixes, Rule())
    assert len(stops) == 3
    assert [trip.distance_m for trip in trips] == pytest.approx([5000, 5000], abs=55)
    _, _, away_m = WGS84.inv(lon, lat, stops[0].lon, stops[0].lat)
    assert away_m < 3


@pytest.mark.parametrize("step_s", [0.1, 1, 10, 60, 250])
def test_standing_adds_no_metres_at_any_rate_of_fixes(step_s: float) -> None:
    parked = Journey(step_s=step_s, jitter_m=15).stay(max(3600, step_s * 100))
    stops, trips = survey_of(parked.fixes, Rule())
    assert trips == []
    (stop,) = stops
    assert (stop.from_ms, stop.to_ms) == (parked.fixes[0][0], parked.fixes[-1][0])
    assert stop.radius_m == pytest.approx(15, rel=0.3)


def test_a_day_parked_under_30_m_of_jitter_is_one_stop() -> None:
    parked = Journey(step_s=10, jitter_m=30).stay(86_400)
    stops, trips = survey_of(parked.fixes, Rule())
    assert len(stops) == 1
    assert trips == []


def test_waiting_at_lights_adds_next_to_no_metres() -> None:
    journey = Journey(jitter_m=2).stay(400)
    for _ in range(10):
        journey.drive(500).stay(120)
    fixes = journey.stay(400).fixes
    lon, lat = [fix[1] for fix in fixes], [fix[2] for fix in fixes]
    assert WGS84.line_length(lon, lat) > 8000
    _, trips = survey_of(fixes, Rule())
    assert sum(trip.distance_m for trip in trips) == pytest.approx(5000, rel=0.05)


def test_an_outlier_ends_no_stop() -> None:
    journey = Journey(step_s=10).stay(1200)
    home = journey.lon
    journey.lon += 0.003
    journey.fix()
    journey.lon, journey.seconds = home, journey.seconds + 10
    journey.stay(1200)
    stops, trips = survey_of(journey.fixes, Rule())
    assert len(stops) == 1
    assert trips == []
    assert stops[0].radius_m < 20


def test_a_silence_that_ends_where_it_began_is_part_of_a_stop_and_told() -> None:
    journey = Journey().drive(3000).silence(8 * 3600).drive(3000)
    stops, trips = survey_of(journey.fixes, Rule())
    (stop,) = stops
    assert stop.silent_s == 8 * 3600
    assert stop.fixes < 10  # the last metres before it, and the first after
    assert [trip.distance_m for trip in trips] == pytest.approx([3000, 3000], abs=45)


def test_a_silence_that_ends_elsewhere_belongs_to_nothing() -> None:
    journey = Journey().drive(3000).silence(3600)
    journey.lon += 0.1
    journey.drive(3000)
    stops, trips = survey_of(journey.fixes, Rule())
    assert stops == []
    assert [trip.distance_m for trip in trips] == pytest.approx([2990, 2990], abs=1)


def test_what_is_silent_for_longer_than_a_month_has_ended() -> None:
    journey = Journey().stay(600).silence(LONGEST_SILENCE_MS / 1000 + 1).stay(600)
    stops, trips = survey_of(journey.fixes, Rule())
    assert [stop.fixes for stop in stops] == [600, 600]
    assert trips == []
    journey = Journey().stay(600).silence(LONGEST_SILENCE_MS / 1000).stay(600)
    assert len(survey_of(journey.fixes, Rule())[0]) == 1


def test_a_stop_lasts_at_least_as_long_as_asked() -> None:
    rule = Rule(min_stop_s=300)
    short = Journey().drive(2000).stay(280).drive(2000)
    assert survey_of(short.fixes, rule)[0] == []
    long = Journey().drive(2000).stay(301).drive(2000)
    stops, trips = survey_of(long.fixes, rule)
    assert len(stops) == 1
    assert len(trips) == 2
    assert len(survey_of([(0, *BERLIN), (60_000, *BERLIN)])[0]) == 1
    assert survey_of([(0, *BERLIN), (59_999, *BERLIN)])[0] == []


def away_and_back(left_s: float, back_s: float) -> list[Fix]:
    """At home until 100 s, away from 110 s to `left_s`, at home again from `back_s` on."""
    home, away = BERLIN, WGS84.fwd(*BERLIN, 90, 200)[:2]
    fixes = [(round(s * 1000), *home) for s in range(0, 101, 10)]
    fixes += [(round(s * 1000), *away) for s in (110, 120, 130, left_s)]
    return fixes + [(round((back_s + s) * 1000), *home) for s in range(0, 101, 10)]


@pytest.mark.parametrize(
    ("left_s", "back_s", "stops"), [(160, 170, 2), (160, 169.999, 1), (159.999, 200, 1), (150, 160, 1)]
)
def test_who_is_soon_back_did_not_leave(left_s: float, back_s: float, stops: int) -> None:
    assert len(survey_of(away_and_back(left_s, back_s))[0]) == stops


def test_a_silence_is_longer_than_max_gap() -> None:
    moving = [(0, *BERLIN), (1000 * 120, BERLIN[0] + 0.01, BERLIN[1])]
    assert len(survey_of(moving)[1]) == 1
    assert survey_of([moving[0], (120_001, *moving[1][1:])])[1] == []
    assert survey_of([(0, *BERLIN), (120_000, *BERLIN)])[0][0].silent_s == 0
    assert survey_of([(0, *BERLIN), (120_001, *BERLIN)])[0][0].silent_s == 120.001


def test_who_flies_eights_does_not_rest_in_their_middle() -> None:
    # So far out and so often that the sums of squares wrap around at 2^63, and each eight begins in its middle.
    turn = np.linspace(0, 4 * np.pi, 20_001)
    lon, lat = 13.4 + 2220 * np.sin(turn) / 67_770, 52.5 + 2220 * np.sin(turn) * np.cos(turn) / 111_250
    fixes = [(row * 100, float(lon[row]), float(lat[row])) for row in range(len(turn))]
    assert survey_of(fixes, Rule(min_stop_s=1000, stop_diameter_m=5))[0] == []
    columns = columns_of(fixes)
    plain = fixes_of(columns, columns.flags == 0, 5)
    assert not resting(plain, 0, len(plain), Rule(min_stop_s=1000, stop_diameter_m=5)).any()


def test_walking_is_moving() -> None:
    walk = Journey().stay(400).drive(2000, speed_mps=1.2).stay(400)
    stops, trips = survey_of(walk.fixes, Rule())
    assert len(stops) == 2
    assert trips[0].distance_m == pytest.approx(2000, abs=60)


def test_flagged_fixes_and_doubles_say_nothing() -> None:
    journey = commute()
    plain = survey_of(journey.fixes, Rule())
    assert survey_of(journey.fixes * 2, Rule()) == plain
    wild = columns_of([*journey.fixes, *((t + 1, lon + 5, lat) for t, lon, lat in journey.fixes)])
    flags = np.where(wild.time_ms % 1000 == 1, 1, 0).astype(np.int16)
    assert surveyed([replace(wild, flags=flags)], Rule())[:2] == plain


def test_the_fastest_is_what_fixes_told_and_only_else_the_fastest_chord() -> None:
    journey = Journey(step_s=5).stay(400).drive(2000).stay(400)
    told: list[float | None] = [None] * len(journey.fixes)
    told[100] = 12.34
    _, trips, _ = surveyed([columns_of(journey.fixes, told)], Rule())
    assert trips[0].max_speed_mps == 12.34


def test_metres_of_spans_that_follow_each_other_add_up() -> None:
    fixes = Journey(jitter_m=3, seed=4).stay(400).drive(4000).drive(3000, course_deg=0).stay(400).drive(900).fixes
    end_ms = fixes[-1][0]
    whole = survey_of(fixes, Rule(), asked=(0, end_ms))[1]
    assert sum(trip.asked_m for trip in whole) == pytest.approx(sum(trip.distance_m for trip in whole))
    cuts = sorted(random.Random(2).sample(range(end_ms), 5))
    parts = [survey_of(fixes, Rule(), asked=span)[1] for span in pairwise([0, *cuts, end_ms])]
    assert sum(trip.asked_m for trips in parts for trip in trips) == pytest.approx(sum(t.distance_m for t in whole))


def test_long_steps_are_geodesics() -> None:
    berlin, tokyo = (13.4, 52.5), (139.7, 35.7)
    _, trips = survey_of([(0, *berlin), (600_000, *tokyo)], Rule(max_gap_s=900))
    assert trips[0].distance_m == pytest.approx(WGS84.inv(*berlin, *tokyo)[2], abs=0.01)
    near = WGS84.fwd(*berlin, 77, 49_000)[:2]
    _, trips = survey_of([(0, *berlin), (600_000, *near)], Rule(max_gap_s=900))
    assert trips[0].distance_m == pytest.approx(49_000, abs=0.02)


def test_the_line_is_asked_for() -> None:
    fixes = Journey().stay(400).drive(2000).drive(1000, course_deg=0).fixes
    assert survey_of(fixes, Rule())[1][0].line == []
    line = survey_of(fixes, Rule(), lines=True)[1][0].line
    assert line[0] == survey_of(fixes, Rule())[1][0].start
    assert 3 <= len(line) <= 20


# Now -----------------------------------------------------------------------------------------------------------------


def state_of(fixes: list[Fix], now_s: float, rule: Rule | None = None) -> Motion:
    rule = rule or Rule()
    stops, _, survey = surveyed([columns_of(fixes)], rule, now_ms=round(now_s * 1000))
    return motion(stops[-1] if stops else None, survey.last_run, survey.recent, round(now_s * 1000), rule)


def test_now_is_what_the_newest_fixes_say() -> None:
    journey = Journey().drive(2000).stay(400)
    now = state_of(journey.fixes, journey.seconds + 5)
    assert (now.state, now.reason) == ("stopped", "rests")
    assert now.since_ms is not None
    assert now.since_ms / 1000 == pytest.approx(200, abs=6)
    assert now.evidence is not None
    assert now.evidence.fixes == 301
    assert now.evidence.span_s == 300
    assert now.evidence.spread_m < 1
    assert now.evidence.age_s == 6
    assert state_of(journey.fixes, journey.seconds + 86_400).state == "stopped"
    leaving = state_of(journey.drive(80).fixes, journey.seconds)
    assert (leaving.state, leaving.reason, leaving.since_ms) == ("stopped", "has_not_left", now.since_ms)
    gone = state_of(journey.drive(200).fixes, journey.seconds)
    assert (gone.state, gone.reason) == ("moving", "travels")
    assert gone.since_ms is not None
    assert gone.since_ms / 1000 == pytest.approx(600, abs=6)
    newest_s = journey.fixes[-1][0] / 1000
    assert state_of(journey.fixes, newest_s + 900).reason == "travels"
    assert state_of(journey.fixes, newest_s + 900.001).reason == "silent"
    silent = state_of(journey.fixes, journey.seconds + 1000)
    assert (silent.state, silent.reason) == ("unknown", "silent")


def test_too_little_says_nothing() -> None:
    assert state_of([], 10) == Motion("unknown", "no_fixes", None, None)
    one = state_of([(0, *BERLIN)], 10)
    assert (one.state, one.reason, one.since_ms) == ("unknown", "too_few_fixes", 0)
    assert state_of(Journey().stay(100).fixes, 100).reason == "too_few_fixes"
    journey = Journey().stay(400).silence(2000)
    journey.lon += 1
    assert state_of(journey.fix().fixes, journey.seconds).reason == "too_few_fixes"


# Any journey, against the definition ---------------------------------------------------------------------------------


PLACES = [BERLIN, (180.0, -17.0), (-179.9995, 65.0), (10.0, 89.9995), (77.0, -90.0), (0.0, 0.0)]


@st.composite
def journeys(draw: st.DrawFn) -> list[Fix]:
    """Stays, moves, outliers, silences and returns, anywhere, at uneven rates."""
    lon, lat = home = draw(st.sampled_from(PLACES))
    time_ms = draw(st.integers(-10_000, 10_000)) * 1000
    fixes: list[Fix] = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["stay", "stay", "stay", "drive", "drive", "jump", "home", "silence", "outlier"]))
        if kind == "silence":
            time_ms += draw(st.sampled_from([50, 61, 119, 121, 500, 90_000, 40 * 86_400])) * 1000
        if kind == "jump":
            lon, lat, _ = WGS84.fwd(lon, lat, draw(st.integers(0, 359)), draw(st.integers(10, 300)))
        if kind == "home":
            lon, lat = home
        for _ in range(1 if kind in ("jump", "home", "silence", "outlier") else draw(st.integers(1, 20))):
            step_m = draw(st.integers(20, 200)) if kind == "drive" else 0
            lon, lat, _ = WGS84.fwd(lon, lat, draw(st.integers(0, 90)), step_m)
            away_m = 150 if kind == "outlier" else draw(st.sampled_from([0, 0, 5, 20]))
            seen = WGS84.fwd(lon, lat, draw(st.integers(0, 359)), away_m)
            fixes.append((time_ms, seen[0], seen[1]))
            time_ms += draw(st.sampled_from([0, 1, 5, 10, 20, 30, 59, 60, 61])) * 1000
    return fixes


class Definition:
    """Stops and runs of one journey, word for word as docs/motion.md has them, without a thought for speed."""

    def __init__(self, fixes: Fixes, rule: Rule) -> None:
        self.time = [int(each) for each in fixes.time_ms]
        self.place = [tuple(int(axis) for axis in each) for each in fixes.place]
        self.rule = rule
        self.count = len(fixes)

    def calm(self, row: int, window: range) -> bool:
        sums = [sum(self.place[each][axis] for each in window) for axis in range(3)]
        squares = sum(axis * axis for each in window for axis in self.place[each])
        spread = len(window) * squares - sum(each * each for each in sums)
        if 8 * spread > len(window) ** 2 * UNITS**2:
            return False
        off = sum((len(window) * at - sum_) ** 2 for at, sum_ in zip(self.place[row], sums, strict=True))
        return 16 * off <= len(window) ** 2 * UNITS**2

    def near(self, a: int, b: int) -> bool:
        return sum((x - y) ** 2 for x, y in zip(self.place[a], self.place[b], strict=True)) <= UNITS**2

    def rests(self, row: int, first: int, last: int) -> bool:
        stop_ms = self.rule.stop_ms
        ahead = next((each for each in range(row, last + 1) if self.time[each] - self.time[row] >= stop_ms), None)
        behind = next((each for each in range(row, first - 1, -1) if self.time[row] - self.time[each] >= stop_ms), None)
        if ahead is not None and self.calm(row, range(row, ahead + 1)):
            return True
        if behind is not None and self.calm(row, range(behind, row + 1)):
            return True
        silences = [(row, row + 1)] * (row < last) + [(row - 1, row)] * (row > first)
        return any(self.time[b] - self.time[a] >= stop_ms and self.near(a, b) for a, b in silences)

    def linked(self, a: int, b: int) -> bool:
        soon_ms = self.rule.stop_ms
        soon = self.time[b - 1] - self.time[a] < soon_ms or self.time[b] - self.time[a + 1] < soon_ms
        return soon and self.near(a, b)

    def lives(self) -> list[tuple[int, int]]:
        """First and last of what no longest silence divides."""
        cuts = [row for row in range(1, self.count) if self.time[row] - self.time[row - 1] > LONGEST_SILENCE_MS]
        return list(zip([0, *cuts], [*(cut - 1 for cut in cuts), self.count - 1], strict=True)) if self.count else []

    def stops(self) -> list[tuple[int, int]]:
        """First and last fix of each."""
        found = []
        for first, last in self.lives():
            resting = [row for row in range(first, last + 1) if self.rests(row, first, last)]
            chains = [[row] for row in resting[:1]]
            for a, b in pairwise(resting):
                if self.linked(a, b):
                    chains[-1].append(b)
                else:
                    chains.append([b])
            found += [
                (each[0], each[-1]) for each in chains if self.time[each[-1]] - self.time[each[0]] >= self.rule.stop_ms
            ]
        return found

    def runs(self) -> list[tuple[int, int]]:
        """First and last fix of what lies between stops and silences."""
        inside = {row for first, last in self.stops() for row in range(first, last)}
        moves = [
            row not in inside and self.time[row + 1] - self.time[row] <= self.rule.gap_ms
            for row in range(self.count - 1)
        ]
        found: list[tuple[int, int]] = []
        for row, moving in enumerate(moves):
            if moving and row and moves[row - 1]:
                found[-1] = (found[-1][0], row + 1)
            elif moving:
                found.append((row, row + 1))
        return found


@settings(max_examples=60, deadline=None)
@given(fixes=journeys())
def test_stops_and_trips_are_those_of_the_definition(fixes: list[Fix]) -> None:
    columns = columns_of(fixes)
    plain = fixes_of(columns, columns.flags == 0, QUICK.stop_diameter_m)
    definition = Definition(plain, QUICK)
    stops, trips, _ = surveyed([columns])
    times = plain.time_ms.tolist()
    assert [(stop.from_ms, stop.to_ms, stop.fixes) for stop in stops] == [
        (times[first], times[last], last - first + 1) for first, last in definition.stops()
    ]
    runs = {(times[first], times[last], last - first + 1): (first, last) for first, last in definition.runs()}
    told = [(trip.from_ms, trip.to_ms, trip.fixes) for trip in trips]
    assert set(told) <= runs.keys()
    unit_m = QUICK.stop_diameter_m / UNITS
    for key, (first, last) in runs.items():
        path = plain.place[first : last + 1] * unit_m
        seconds = plain.time_ms[first : last + 1] // 1000
        looked_at = np.diff(seconds, prepend=seconds[0] - 1) != 0  # the line has the first fix of each second
        away_m = np.linalg.norm(path - path[0], axis=1)
        length_m = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
        assert away_m[looked_at].max() < QUICK.stop_diameter_m + 5 or key in told
        if key in told:
            trip = trips[told.index(key)]
            assert QUICK.stop_diameter_m <= trip.reach_m <= away_m.max() + 1e-6
            assert trip.reach_m - 1e-6 <= trip.distance_m <= length_m + 1e-3


def like(found: list[Any]) -> list[Any]:
    """Sums of floats depend on their order in the last digits."""
    return [
        replace(each, distance_m=round(each.distance_m, 3), asked_m=round(each.asked_m, 3))
        if isinstance(each, Trip)
        else replace(each, lon=round(each.lon, 9), lat=round(each.lat, 9), radius_m=round(each.radius_m, 3))
        for each in found
    ]


@settings(max_examples=60, deadline=None)
@given(fixes=journeys(), data=st.data())
def test_pieces_of_any_size_tell_the_same(fixes: list[Fix], data: st.DataObject) -> None:
    columns = columns_of(fixes)
    # Fixes of one instant are never read apart.
    instants = np.flatnonzero(np.diff(columns.time_ms)) + 1
    cuts = sorted(data.draw(st.sets(st.sampled_from(instants.tolist())))) if len(instants) else []
    pieces = [columns.take(slice(a, b)) for a, b in pairwise([0, *cuts, len(columns)])]
    asked = (columns.time_ms[0] + 50_000, columns.time_ms[-1] - 70_000)
    whole, parts = surveyed([columns], asked=asked, lines=True), surveyed(pieces, asked=asked, lines=True)
    assert like(parts[0]) == like(whole[0])
    assert like(parts[1]) == like(whole[1])
    assert parts[2].recent.time_ms.tolist() == whole[2].recent.time_ms.tolist()


@settings(max_examples=60, deadline=None)
@given(fixes=journeys(), data=st.data())
def test_doubles_tell_nothing_new(fixes: list[Fix], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(fixes), max_size=30))
    assert survey_of(data.draw(st.permutations([*fixes, *again]))) == survey_of(fixes)


def hopped(times: list[int], stop_ms: int) -> int:
    """Where the margin ends that begins with the first of these times."""
    hop_ms = times[0]
    for _ in range(MARGIN_HOPS):
        hop_ms = next((each for each in times if each >= hop_ms + stop_ms), 2**62)
    return hop_ms


@settings(max_examples=60, deadline=None)
@given(fixes=journeys(), data=st.data())
def test_what_is_told_does_not_depend_on_where_reading_began_and_ended(fixes: list[Fix], data: st.DataObject) -> None:
    columns = columns_of(fixes)
    first_ms, last_ms = int(columns.time_ms[0]), int(columns.time_ms[-1])
    begins = st.sampled_from(columns.time_ms.tolist())
    from_ms = data.draw(st.one_of(begins, st.integers(first_ms, last_ms)), label="from")
    until_ms = data.draw(st.integers(from_ms, last_ms), label="until")
    read = columns.take((columns.time_ms >= from_ms) & (columns.time_ms <= until_ms))
    all_stops, all_trips, _ = surveyed([columns], now_ms=2**62 + 1)
    survey = Survey(QUICK, EVER, from_first=False)
    found = [survey.feed(read, read.flags == 0), survey.end(until_ms, 2**62)]
    times = read.time_ms.tolist() or [0]
    certain_ms = hopped(times, QUICK.stop_ms)
    sure_ms = -hopped([-each for each in reversed(times)], QUICK.stop_ms)
    for everything, told in (
        (all_stops, [stop for each in found for stop in each.stops]),
        (all_trips, [trip for each in found for trip in each.trips]),
    ):
        true = like(list(everything))
        assert [each for each in like(list(told)) if each.whole and each not in true] == []
        seen = like([replace(each, whole=True) for each in told])
        inside = [each for each in true if certain_ms <= each.from_ms and each.to_ms <= sure_ms]
        assert [each for each in inside if each not in seen] == []
