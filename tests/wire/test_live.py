"""Binary frames of views, byte by byte; the page's decoder reads the same examples."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests.domain.scenes import Mark, columns
from tracker.domain.fleet import Asset, Fleet
from tracker.live.chart import Chart
from tracker.live.latest import Latest
from tracker.wire import live
from tracker.wire.live import CLUSTER, COURSES, RECORD, STATES, UNKNOWN_COURSE, UNKNOWN_SPEED, Frame, Shown

VECTORS: Final = json.loads((Path(__file__).parent / "live_frames.json").read_text(encoding="utf-8"))
by_name = pytest.mark.parametrize("vector", VECTORS, ids=[each["name"] for each in VECTORS])


def record(entry: dict[str, Any]) -> tuple[int, ...]:
    speed, course = entry["speed_mps"], entry["course_deg"]
    return (
        int(entry["id"].removeprefix("ast_")),
        round(entry["lon"] * 1e7),
        round(entry["lat"] * 1e7),
        entry["time_s"],
        UNKNOWN_SPEED if speed is None else round(speed * 10),
        UNKNOWN_COURSE if course is None else round(course / 360 * COURSES),
        STATES.index(entry["state"]) | entry["revision"] << 2,
    )


def shown(meaning: dict[str, Any]) -> tuple[Shown, bytes]:
    records = np.array([record(entry) for entry in meaning["assets"]], RECORD)
    clusters = None
    if meaning["clustered"]:
        cells = [tuple(map(int, each["id"].split("/")))[1:] for each in meaning["clusters"]]
        rest = [(round(each["lon"] * 1e7), round(each["lat"] * 1e7), each["count"]) for each in meaning["clusters"]]
        clusters = np.array([(*cell, *more) for cell, more in zip(cells, rest, strict=True)], CLUSTER)
    gone = np.array([int(each.removeprefix("ast_")) for each in meaning["remove"]], np.int64)
    kind = live.SNAPSHOT if meaning["type"] == "snapshot" else live.UPDATE
    made = Shown(kind, meaning["id"], records["asset"].astype(np.int64), gone, clusters, meaning["level"])
    return made, records.tobytes()


@by_name
def test_a_frame_is_these_bytes(vector: dict[str, Any]) -> None:
    assert live.binary(*shown(vector["means"])).hex() == "".join(vector["bytes"])


@by_name
def test_these_bytes_are_a_frame(vector: dict[str, Any]) -> None:
    frame: Frame = live.read(bytes.fromhex("".join(vector["bytes"])))
    made, records = shown(vector["means"])
    assert (frame.kind, frame.view, frame.clustered) == (made.kind, made.view, made.clusters is not None)
    assert frame.level == made.level
    assert frame.assets.tobytes() == records
    assert frame.removed.tolist() == made.removed.tolist()
    assert frame.clusters.tobytes() == (b"" if made.clusters is None else made.clusters.tobytes())


@by_name
def test_text_says_the_same(vector: dict[str, Any]) -> None:
    means = vector["means"]
    said = json.loads(live.text(shown(means)[0], [json.dumps(entry).encode() for entry in means["assets"]]))
    assert said == {name: means[name] for name in ("type", "id", "assets", "remove", "clusters")}


def test_a_frame_that_is_cut_or_too_long_is_refused() -> None:
    whole = bytes.fromhex("".join(VECTORS[0]["bytes"]))
    for broken in (whole[:-1], whole + b"\0", whole[:19]):
        with pytest.raises(ValueError, match=r"header|smaller"):
            live.read(broken)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("time_s", 1)),
        ({"time_ms": [-5]}, ("time_s", 0)),
        ({"time_ms": [2**45]}, ("time_s", 2**32 - 1)),
        ({"speed": [-(2**31)]}, ("speed_dmps", UNKNOWN_SPEED)),
        ({"speed": [844]}, ("speed_dmps", 84)),
        ({"speed": [845]}, ("speed_dmps", 85)),
        ({"speed": [10_000_000]}, ("speed_dmps", UNKNOWN_SPEED - 1)),
        ({"course": [-(2**15)]}, ("course", UNKNOWN_COURSE)),
        ({"course": [900]}, ("course", 60)),
        ({"course": [3599]}, ("course", 0)),
    ],
)
def test_a_record_keeps_what_fits_and_says_what_is_not_known(
    fields: dict[str, list[int]], expected: tuple[str, int]
) -> None:
    fleet = Fleet()
    fleet.put_asset(Asset(3, "Van"))
    latest = Latest(fleet)
    batch = columns([Mark(1_999, -1_300_000_001, 7, asset=3)])
    for name, value in fields.items():
        getattr(batch, name)[:] = value
    latest.put(np.array([3]), batch, np.arange(1))
    chart = Chart(latest)
    chart.refresh()
    [record] = np.frombuffer(chart.packed(np.array([3])), RECORD)
    assert (record["asset"], record["lon"], record["lat"]) == (3, -1_300_000_001, 7)
    assert record[expected[0]] == expected[1]


def test_a_record_tells_of_the_state_and_of_another_name() -> None:
    fleet = Fleet()
    fleet.put_asset(Asset(3, "Van"))
    latest = Latest(fleet)
    latest.put(np.array([3]), columns([Mark(1, 0, 0, asset=3)]), np.arange(1))
    chart = Chart(latest)
    looks = []
    for happens in ("nothing", "silence", "a name"):
        if happens == "silence":
            latest.reach({3: "offline"})
        elif happens == "a name":
            latest.touch(3)
        chart.refresh()
        looks.append(np.frombuffer(chart.packed(np.array([3])), RECORD)["look"][0])
    assert looks == [0, 2, 2 + (1 << 2)]
