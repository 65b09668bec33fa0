import math

import pytest
import shapely

from tracker.fleet.extract import Extract
from tracker.fleet.streets import Streets
from tracker.fleet.trams import STOP_S, Tram, tram_lines, trams


@pytest.fixture(scope="session")
def fleet(extract: Extract, streets: Streets) -> list[Tram]:
    return trams(extract, streets, 10, "1")


def test_the_real_lines_run_there_and_back(extract: Extract, streets: Streets) -> None:
    lines = tram_lines(extract, streets)
    assert set(lines) >= {"1", "3", "4", "6", "9", "10"}
    assert all(out.towards != back.towards for out, back in lines.values())


def test_a_tram_keeps_to_its_track(extract: Extract, streets: Streets, fleet: list[Tram]) -> None:
    runs = [[streets.plane.to_xy(*extract.nodes[node]) for node in run.nodes] for run in extract.tracks.values()]
    tracks = shapely.STRtree([shapely.LineString(run) for run in runs])
    truths = [fleet[0].at(t) for t in range(0, 2000, 3)]
    points = shapely.points([streets.plane.to_xy(truth.lon, truth.lat) for truth in truths])
    _, distances = tracks.query_nearest(points, return_distance=True, all_matches=False)
    assert (distances < 0.1).mean() > 0.97  # the rest is where it changes tracks at the end of the extract


def test_trams_neither_leap_nor_race(streets: Streets, fleet: list[Tram]) -> None:
    for tram in fleet:
        before = tram.at(0.0)
        for second in range(1, 1500):
            now = tram.at(float(second))
            step_m = math.dist(streets.plane.to_xy(now.lon, now.lat), streets.plane.to_xy(before.lon, before.lat))
            assert step_m <= 9.6
            assert abs(now.speed_mps - before.speed_mps) <= 0.9 + 1e-6
            before = now


def test_a_tram_stands_at_the_stops_of_its_line(fleet: list[Tram]) -> None:
    standing = 0
    stops: list[int] = []
    for second in range(1200):
        if fleet[0].at(float(second)).speed_mps == 0:
            standing += 1
        elif standing:
            stops.append(standing)
            standing = 0
    assert sum(STOP_S - 3 <= seconds <= STOP_S + 1 for seconds in stops) >= 6


def test_trams_of_one_line_keep_their_distance(fleet: list[Tram]) -> None:
    first, second = fleet[0], next(tram for tram in fleet[1:] if tram.line == fleet[0].line)
    assert (first.at(0.0).lon, first.at(0.0).lat) != (second.at(0.0).lon, second.at(0.0).lat)
