"""Pairs of assets on real tables: whatever arrives in whatever order, with filings, restarts and changes, ends as what
happened.
"""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.engine import patient, some
from tests.domain.test_proximity import Seen, expected
from tests.pipeline.node import Node
from tests.pipeline.world import Socket
from tests.store.batches import clear, make_fleet
from tracker.domain.geofence import AssetFilter, Rule
from tracker.domain.presence import ENTER
from tracker.domain.proximity import Around, Proximity
from tracker.pipeline.assets import retag
from tracker.pipeline.fences import Draft, create, replace_proximity
from tracker.pipeline.pairs import judge, span, tracks
from tracker.pipeline.pairs.judge import PairJudge
from tracker.store.database import connect
from tracker.store.fleet import FleetStore
from tracker.wire.times import to_ms

ASSETS: Final = 3
START_MS: Final = 1_790_000_000_000
LON, LAT = 100_000_000, 500_000_000
BUS: Final = frozenset(["bus"])


class Moved(NamedTuple):
    """A fix to be sent."""

    asset: int
    time_s: int
    x: int
    poor: bool = False


@dataclass(frozen=True)
class Sent:
    fixes: tuple[Moved, ...]


@dataclass(frozen=True)
class Widened:
    within_m: float


@dataclass(frozen=True)
class Tagged:
    asset: int
    bus: bool


Step: TypeAlias = Sent | Widened | Tagged | Literal["turn", "file", "restart"]


def frame(fixes: Sequence[Moved]) -> bytes:
    said = [
        {
            "lon": (LON + each.x * 300) / 1e7,
            "lat": LAT / 1e7,
            "time": START_MS + each.time_s * 1000,
            **({"accuracy_m": 20_000} if each.poor else {}),
        }
        for each in fixes
    ]
    return json.dumps({"type": "fixes", "fixes": said}).encode()


@dataclass
class World:
    """A writer and a judge of pairs; and what was done to them."""

    url: str
    log: list[tuple[int, float, frozenset[int]]] = field(default_factory=list)  # (from batch, within_m, buses)

    async def prepare(self) -> None:
        self.connection = await connect(self.url)
        await make_fleet(self.connection, assets=ASSETS, devices=ASSETS, streams=0)
        await self.connection.execute("UPDATE asset SET active_device = id, thresholds = '{\"max_speed_mps\": 100000}'")
        self.node: Node | None = None

    async def close(self) -> None:
        await self.stop()
        await self.connection.close()

    async def begin(self, within_m: float) -> None:
        await self.stop()
        await clear(self.connection)
        await self.connection.execute(
            "DELETE FROM doubt; DELETE FROM doubt_mark; DELETE FROM late; DELETE FROM checkpoint; DELETE FROM standing;"
            "DELETE FROM turning; DELETE FROM asset_tags; DELETE FROM geofence_version; DELETE FROM geofence;"
            "UPDATE asset SET tags = '{}'; UPDATE asset SET tags = '{bus}' WHERE id = 1"
        )
        await self.start()
        self.buses = frozenset([1])
        (made,) = await create(self.writer, [self.draft(within_m)])
        assert isinstance(made, Proximity)
        self.fence = made
        self.log = [(self.fence.from_batch, within_m, self.buses)]

    def draft(self, within_m: float) -> Draft:
        options = {"near": {"tags": ["bus"]}, "within_m": within_m, "exit_margin_m": 8, "max_gap_s": 60}
        rule = Rule(exit_margin_m=8, max_gap_s=60)
        return Draft("by the bus", Around(within_m, AssetFilter(frozenset(), BUS)), rule=rule, options=options)

    async def start(self) -> None:
        self.node = Node(self.url)
        await self.node.start()
        self.writer = self.node.writer
        self.node.filer._committed = lambda: self.writer.proximities.may_be_filed(self.writer.committed)
        self.judge = PairJudge(self.node.database, self.writer)
        self.sockets = {}
        for device in range(1, ASSETS + 1):
            self.sockets[device] = Socket()
            await self.node.open(self.sockets[device], f"s{device}", device)

    async def stop(self) -> None:
        if self.node is not None:
            await self.node.stop()
        self.node = None

    async def step(self, step: Step) -> None:
        assert self.node is not None
        if isinstance(step, Sent):
            for asset in range(1, ASSETS + 1):
                mine = [each for each in step.fixes if each.asset == asset]
                if mine:
                    self.writer.intake.put(self.sockets[asset].source, frame(mine))
            for socket in self.sockets.values():
                await socket.source.quiet()
        elif isinstance(step, Widened):
            draft = self.draft(step.within_m)
            made = await replace_proximity(self.writer, self.fence.id, lambda _: draft)
            if made.version != self.fence.version:
                self.log.append((made.from_batch, step.within_m, self.buses))
                self.fence = made
            await self.turns()
        elif isinstance(step, Tagged):
            await self.tag(step)
            await self.turns()
        elif step == "turn":
            await self.judge.turn()
        elif step == "file":
            await self.node.file()
        else:
            await self.stop()
            await self.start()

    async def tag(self, step: Tagged) -> None:
        if (step.asset in self.buses) == step.bus:
            return
        self.buses = self.buses ^ {step.asset}
        self.log.append((self.writer.batch + 1, self.log[-1][1], self.buses))
        store = FleetStore(self.node.database, self.writer.fleet, tokens_ended=lambda _: None)  # type: ignore[union-attr]
        tags = sorted(BUS if step.bus else ())

        async def change(connection: Any, within: Any) -> Any:
            return await store.change_asset(
                step.asset, None, tags, None, None, None, connection=connection, within=within
            )

        await retag(self.writer, step.asset, tags, change)

    async def turns(self) -> None:
        """Until nothing waits."""
        await self.judge.turn()
        while self.judge.behind:
            await self.judge.turn()

    # What should be, and is

    async def wanted(self) -> dict[tuple[int, int], list[tuple[int, int | None]]]:
        """The stays of each pair as the two are judged now."""
        stored = await self.connection.fetch(
            "SELECT asset, fix_time, round(lon * 1e7)::int AS lon, round(lat * 1e7)::int AS lat, batch"
            " FROM position WHERE flags = 0"
        )
        world: dict[int, list[Seen]] = {asset: [] for asset in range(1, ASSETS + 1)}
        for row in stored:
            world[row["asset"]].append(Seen(to_ms(row["fix_time"]), row["lon"], row["lat"], row["batch"]))
        within_m = self.log[-1][1]
        version_from = min(batch for batch, within, _ in reversed(self._this_version()))
        found = {}
        for other in self.buses:
            since = max(version_from, self._since(other))
            for asset in world.keys() - {other}:
                turned = expected(world, asset, other, 0, within_m, 8.0, since)
                ends = [*[at for kind, at in turned if kind != ENTER], None]
                stays = [(at, ends[i]) for i, at in enumerate(at for kind, at in turned if kind == ENTER)]
                if stays:
                    found[asset, other] = stays
        return found

    def _this_version(self) -> list[tuple[int, float, frozenset[int]]]:
        within_m, found = self.log[-1][1], []
        for entry in reversed(self.log):
            if entry[1] != within_m:
                break
            found.append(entry)
        return found

    def _since(self, bus: int) -> int:
        since = self.log[-1][0]
        for batch, _, buses in reversed(self.log):
            if bus not in buses:
                break
            since = batch
        return 0 if since == self.log[0][0] else since

    async def known(self) -> dict[tuple[int, int], list[tuple[int, int | None]]]:
        """The visits of the spells that go on."""
        rows = await self.connection.fetch(
            "SELECT * FROM visit WHERE geofence_version = $1 ORDER BY enter_time", self.fence.version
        )
        found: dict[tuple[int, int], list[tuple[int, int | None]]] = {}
        for row in rows:
            pair = row["asset"], row["near"]
            if pair[1] in self.buses and row["since_batch"] == max(self._this_version()[-1][0], self._since(pair[1])):
                exit_ms = None if row["exit_time"] is None else to_ms(row["exit_time"])
                found.setdefault(pair, []).append((to_ms(row["enter_time"]), exit_ms))
        return found

    async def faults(self) -> list[str]:
        known, wanted = await self.known(), await self.wanted()
        found = [
            f"{pair}: {known.get(pair)} and not {wanted.get(pair)}"
            for pair in known.keys() | wanted
            if known.get(pair) != wanted.get(pair)
        ]
        open_ = await self.connection.fetch("SELECT * FROM visit WHERE exit_event IS NULL")
        found += [f"still open {dict(row)}" for row in open_ if (row["asset"], row["near"]) not in wanted]
        odd = await self.connection.fetch(
            "SELECT v.id FROM visit v JOIN event e ON e.id IN (v.enter_event, v.exit_event)"
            " WHERE e.status = 'retracted' OR EXISTS (SELECT FROM event r WHERE r.revises = e.id)"
            " OR (e.asset, e.near) <> (v.asset, v.near)"
            " OR e.fix_time <> CASE WHEN e.id = v.enter_event THEN v.enter_time ELSE v.exit_time END"
        )
        found += [f"tells of what does not stand: {odd}"] if odd else []
        untold = await self.connection.fetch(
            "SELECT e.* FROM event e WHERE e.near IS NOT NULL AND e.status <> 'retracted'"
            " AND NOT EXISTS (SELECT FROM event r WHERE r.revises = e.id)"
            " AND NOT EXISTS (SELECT FROM visit v WHERE e.id IN (v.enter_event, v.exit_event))"
        )
        found += [f"stands without a visit: {[dict(row) for row in untold]}"] if untold else []
        return found


@pytest.fixture
async def world(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(span, "LONGEST_MS", 30_000)
    monkeypatch.setattr(span, "WINDOW_MS", 20_000)
    monkeypatch.setattr(judge, "LOADED_MS", 40_000)
    monkeypatch.setattr(tracks, "FEW", 1)
    made = World(database)
    await made.prepare()
    yield made
    await made.close()


moved = st.builds(
    Moved,
    st.integers(1, ASSETS),
    st.integers(0, 40).map(lambda t: 5 * t),
    st.integers(-8, 8),
    st.sampled_from([False] * 5 + [True]),
)
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.lists(moved, min_size=1, max_size=12).map(lambda fixes: Sent(tuple(fixes))),
        st.lists(moved, min_size=1, max_size=3).map(lambda fixes: Sent(tuple(fixes))),
        st.sampled_from(["turn", "turn", "file", "restart"]),
        st.builds(Tagged, st.integers(1, ASSETS), st.booleans()),
        st.sampled_from([10.0, 25.0]).map(Widened),
    ),
    max_size=14,
)


@patient
@some(25)
@given(steps, st.sampled_from([10.0, 25.0]))
async def test_what_comes_anyhow_ends_as_what_happened(world: World, steps: list[Step], within_m: float) -> None:
    await world.begin(within_m)
    for step in steps:
        await world.step(step)
    await world.turns()
    assert await world.faults() == []
