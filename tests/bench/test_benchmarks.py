"""Each benchmark in a tiny form, against the real server: whether figures come out, not how good they are."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from tests.integration.api import ADMIN
from tracker.app import Server
from tracker.bench.bar import BenchBar
from tracker.bench.command import Asked
from tracker.bench.figures import Section
from tracker.bench.plan import SHORT, Load
from tracker.bench.run import BENCHMARKS
from tracker.bench.stand import Stand
from tracker.bench.target import Target, own_server, resident_bytes
from tracker.errors import SetupError
from tracker.settings import Settings

TINY = replace(
    SHORT, seconds=0.3, devices=8, geofences=20, latency_fixes_per_s=(100, 200, 200),
    geofence_counts=(20,), changes=2, streaming_fixes_per_s=200, viewers=10, moving=20,
    history_devices=4, history_step_ms=600_000, queries=2,
    backlog_fixes=2_000, late_fixes=500,
    idle_devices=20, idle_viewers=10, slow_viewers=4, known_geofences=20, known_assets=20,
    scale_devices=(2, 4), scale_geofences=(20,), scale_viewers=(4,), scale_days=(1,),
)  # fmt: skip


@pytest.fixture
def bar() -> Iterator[BenchBar]:
    with BenchBar(Console(quiet=True)) as bar:
        yield bar


@pytest_asyncio.fixture
async def server(database: str, tmp_path: Path) -> AsyncIterator[Server]:
    """The real server in this process: the load has processes of its own."""
    async with Server(Settings("127.0.0.1", 0, tmp_path, database=database, admin_token=ADMIN)) as server:
        yield server


def seen(section: Section, beginning: str) -> float:
    """What was seen of the one figure that begins so."""
    (found,) = [each.seen for each in section.figures if each.what.startswith(beginning)]
    return found


class Here(Target):
    """The server of this process: what it uses is what the process uses."""

    async def rss_bytes(self) -> float | None:
        return resident_bytes(os.getpid())

    async def cpu_s(self) -> float | None:
        return time.process_time()


@pytest.mark.timeout(300)  # processes of the load start slowly where much else runs
async def test_a_running_server_is_measured_through_its_protocol_and_left_as_it_was(
    server: Server, bar: BenchBar, tmp_path: Path
) -> None:
    target, plan = Here(server.url, ADMIN), replace(TINY, charts=tmp_path)
    try:
        async with Stand(target, plan, bar) as stand:
            of = {name: await run(stand) for name, run in BENCHMARKS.items()}
        for kind, name in (("devices", "devices"), ("assets", "assets"), ("geofences", "features")):
            assert (await target.call("GET", f"/v1/{kind}"))[name] == []
    finally:
        await target.close()
    assert [load for load in TINY.loads if seen(of["ingest"], f"{load.name}: durable") < 50] == []
    assert 0 < seen(of["latency"], "json 1/frame at 100/s: p50") < 5_000
    assert 0 < seen(of["fences"], "add one among 20: p50") < 5_000
    assert seen(of["backlog"], "2,000 fixes: acked") > 500
    assert 0 < seen(of["backlog"], "500 late fixes: all judged again") < 60
    assert 0 < seen(of["fanout"], "binary: fix due → bytes at the map: p50") < 5_000
    assert seen(of["fanout"], "json: a map of a world") > 0
    assert 0 < seen(of["history"], "its day: p50") < 5_000
    assert seen(of["memory"], "an idle device") >= 0
    assert seen(of["scale"], "4 devices: CPU of the server") > 0
    assert "<svg" in (tmp_path / "bench-devices.svg").read_text()
    assert of["start"].figures == []
    assert "--url" in of["start"].notes[0]


@pytest.mark.timeout(300)
async def test_a_server_of_its_own_is_ended_started_again_and_removed(bar: BenchBar) -> None:
    async with own_server() as server, Stand(server, TINY, bar) as stand:
        section = await BENCHMARKS["start"](stand)
    assert 0 < seen(section, "until ready") < 120
    assert not server.folder.exists()
    assert server.database_url is None


def test_what_is_asked_for_is_named_and_checked() -> None:
    asked = Asked(("scale", "ingest"), True, None, None, None, None, None, None, None, None)
    assert asked.names == ["ingest", "scale"]
    with pytest.raises(SetupError, match="there are ingest, latency"):
        _ = replace(asked, what=("speed",)).names
    with pytest.raises(SetupError, match="admin's token"):
        _ = replace(asked, url="http://127.0.0.1:1").named


def test_the_loads_of_a_plan_have_rates_for_their_latency() -> None:
    assert len(TINY.loads) == len(TINY.latency_fixes_per_s)
    assert Load("json", 1) in TINY.loads
