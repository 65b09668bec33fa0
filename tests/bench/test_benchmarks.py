"""Each benchmark in a tiny form, against the real server: whether figures come out, not how good they are."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from tests.integration.api import ADMIN
from tracker.app import Server
from tracker.bench.bar import BenchBar
from tracker.bench.figures import Section
from tracker.bench.plan import SHORT, Load, Plan
from tracker.bench.run import BENCHMARKS, bench
from tracker.bench.stand import Stand
from tracker.bench.target import Target, own_server
from tracker.settings import Settings

TINY = replace(
    SHORT, seconds=0.3, devices=8, geofences=20, latency_fixes_per_s=(100, 200, 200),
    geofence_counts=(20,), changes=2, streaming_fixes_per_s=200, viewers=10, moving=20,
    history_devices=4, history_step_ms=600_000, queries=2,
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


async def test_a_running_server_is_measured_through_its_protocol_and_left_as_it_was(
    server: Server, bar: BenchBar
) -> None:
    names = ["ingest", "latency", "fences", "fanout", "history"]
    where, sections = await bench(names, TINY, bar, (server.url, ADMIN))
    of = dict(zip(names, sections, strict=True))
    assert where.cores >= 1
    for load in TINY.loads:
        assert seen(of["ingest"], f"{load.name}: durable") > 50
    assert 0 < seen(of["latency"], "json 1/frame at 100/s: p50") < 5_000
    assert 0 < seen(of["fences"], "add one among 20: p50") < 5_000
    assert 0 < seen(of["fanout"], "binary: fix due → bytes at the map: p50") < 5_000
    assert seen(of["fanout"], "json: a map of a world") > 0
    assert 0 < seen(of["history"], "its day: p50") < 5_000
    target = Target(server.url, ADMIN)
    try:
        for kind, name in (("devices", "devices"), ("assets", "assets"), ("geofences", "features")):
            assert (await target.call("GET", f"/v1/{kind}"))[name] == []
    finally:
        await target.close()


async def test_a_server_of_its_own_is_started_watched_and_removed(bar: BenchBar, tmp_path: Path) -> None:
    plan: Plan = replace(TINY, charts=tmp_path)
    async with own_server() as server, Stand(server, plan, bar) as stand:
        of = {name: await BENCHMARKS[name](stand) for name in ("memory", "scale", "start")}
    assert 1 < seen(of["memory"], "an idle device") < 2_000
    assert seen(of["scale"], "4 devices: CPU of the server") > 0
    assert 0 < seen(of["start"], "ready again after a kill") < 60
    assert "<svg" in (tmp_path / "bench-devices.svg").read_text()
    assert not server.folder.exists()
    assert server.database_url is None


def test_the_loads_of_a_plan_have_rates_for_their_latency() -> None:
    assert len(TINY.loads) == len(TINY.latency_fixes_per_s)
    assert Load("json", 1) in TINY.loads
