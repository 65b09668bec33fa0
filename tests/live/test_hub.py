"""What a viewer puts together from its messages is what is there, whenever it looks and whatever happened between."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.domain.scenes import STEP, Mark, columns
from tracker.domain.fleet import Asset, Fleet
from tracker.live import views
from tracker.live.feed import Feed
from tracker.live.hub import Hub, Sleeper
from tracker.live.latest import Bounds, Latest
from tracker.live.views import Events, Follow, View

ASSETS = 4
MOST_PAGES = 3
TAGS = ["bus", "tram"]
# Few places, so that assets stand on the edges of boxes; the outermost is the antimeridian.
LONGITUDES = [-1_800_000_000, -STEP, 0, STEP, 1_800_000_000]
LATITUDES = [-900_000_000, 0, STEP]
places = st.tuples(st.sampled_from(LONGITUDES), st.sampled_from(LATITUDES))
tag_sets = st.sampled_from([frozenset[str](), frozenset({"bus"}), frozenset({"tram", "bus"})])
lookers = st.sets(st.integers(0, MOST_PAGES - 1))


@dataclass
class Page:
    """What one viewer has on its screen."""

    view: View | Follow
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: int = 0
    clusters: dict[str, int] = field(default_factory=dict)
    clustered: bool = False

    def hear(self, message: bytes | None) -> None:
        if message is None:
            assert self.messages > 0, "the first answer is a snapshot, even of nothing"
            return
        content = json.loads(message)
        assert content["id"] == self.view.id
        crowds = isinstance(self.view, View) and views.DENSITY < ASSETS  # it changes to clusters with a snapshot
        assert content["type"] == ("update" if self.messages else "snapshot") or crowds
        if content["type"] == "snapshot":
            self.shown, self.clusters = {}, {}
            self.clustered = isinstance(self.view, View) and self.view.clustered
        else:
            assert content["assets"] or content["remove"] or content["clusters"], "an update says something"
        assert self.clustered or content["clusters"] == []
        assert not self.clustered or content["assets"] == content["remove"] == []
        self.clusters.update({each["id"]: each["count"] for each in content["clusters"]})
        for gone in content["remove"]:
            # Who follows may hear of the end of an asset that it was never shown.
            assert gone in self.shown or isinstance(self.view, Follow)
            self.shown.pop(gone, None)
        self.shown.update({entry["id"]: entry for entry in content["assets"]})
        assert not set(content["remove"]) & {entry["id"] for entry in content["assets"]}
        self.messages += 1


class Viewers(RuleBasedStateMachine):
    """The model is where each asset is, and what it is called."""

    @initialize()
    def start(self) -> None:
        self.fleet = Fleet()
        for number in range(1, ASSETS + 1):
            self.fleet.put_asset(Asset(number, f"asset {number}", frozenset(TAGS[: number % 3])))
        self.latest = Latest(self.fleet)
        self.hub = Hub(self.latest, Feed())
        self.at: dict[int, Mark] = {}
        self.clock = 0
        self.pages: list[Page] = []

    @rule(moves=st.dictionaries(st.integers(1, ASSETS + 1), places, min_size=1), lookers=lookers)
    def a_batch_is_durable(self, moves: dict[int, tuple[int, int]], lookers: set[int]) -> None:
        """Number ASSETS + 1 is an asset that is not in the fleet, or no longer: its fixes are stored and not shown."""
        self.clock += 1
        batch = [Mark(self.clock, lon, lat, asset=asset) for asset, (lon, lat) in moves.items()]
        self.at.update({mark.asset: mark for mark in batch})
        self.latest.put(np.array(list(moves), np.int64), columns(batch), np.arange(len(batch)))
        self.some_look(lookers)

    @rule(number=st.integers(1, ASSETS), name=st.sampled_from(["a", "b"]), tags=tag_sets)
    def an_asset_is_changed(self, number: int, name: str, tags: frozenset[str]) -> None:
        if number in self.fleet.assets:
            self.fleet.put_asset(Asset(number, name, tags))
            self.latest.touch(number)

    @rule(number=st.integers(1, ASSETS))
    def an_asset_is_deleted(self, number: int) -> None:
        self.fleet.remove_asset(number)
        self.latest.forget(number)

    @precondition(lambda self: len(self.pages) < MOST_PAGES)
    @rule(corners=st.tuples(places, places), tags=tag_sets)
    def a_view_is_opened(self, corners: tuple[tuple[int, int], tuple[int, int]], tags: frozenset[str]) -> None:
        """West may be east of east: then the box crosses the antimeridian."""
        (west, south), (east, north) = corners
        bounds = Bounds(west, min(south, north), east, max(south, north))
        self.pages.append(Page(View(7, bounds, tags, 0.5)))

    @precondition(lambda self: len(self.pages) < MOST_PAGES)
    @rule(numbers=st.sets(st.integers(1, ASSETS + 2)))
    def assets_are_followed(self, numbers: set[int]) -> None:
        self.pages.append(Page(Follow(8, np.array(sorted(numbers), np.int64), 0.5)))

    @precondition(lambda self: self.pages)
    @rule()
    def a_viewer_goes(self) -> None:
        self.look(self.pages.pop(0))

    def some_look(self, lookers: set[int]) -> None:
        for number in lookers:
            for page in self.pages[number : number + 1]:
                self.look(page)

    def look(self, page: Page) -> None:
        page.hear(page.view.message(self.hub))
        if isinstance(page.view, View) and page.view.clustered:
            return
        expected = {number for number in self.at if number in self.fleet.assets and self.is_wanted(page.view, number)}
        assert set(page.shown) == {f"ast_{number}" for number in expected}
        for number in expected:
            check_entry(page.shown[f"ast_{number}"], self.at[number], self.fleet.assets[number])
        assert page.view.message(self.hub) is None, "nothing has changed since"

    def is_wanted(self, view: View | Follow, number: int) -> bool:
        if isinstance(view, Follow):
            return number in view.assets.tolist()
        lon, lat, box = self.at[number].lon, self.at[number].lat, view.bounds
        across = box.west <= lon <= box.east if box.west <= box.east else not box.east < lon < box.west
        tags = self.fleet.assets[number].tags
        return across and box.south <= lat <= box.north and (not view.tags or bool(view.tags & tags))

    @precondition(lambda self: self.pages)
    @rule()
    def all_are_surveyed(self) -> None:
        """What clusters say is as old as the last survey."""
        self.hub.survey()
        for page in self.pages:
            self.look(page)
            if isinstance(page.view, View) and page.view.clustered:
                self.check_clusters(page, page.view)

    def check_clusters(self, page: Page, view: View) -> None:
        """Everybody in the box is counted, and nobody who is not in one of the cells that it touches."""
        wanted = {number for number in self.at if number in self.fleet.assets and self.is_wanted(view, number)}
        admitted = [n for n in self.at if n in self.fleet.assets and (not view.tags or view.tags & self.tags_of(n))]
        assert len(wanted) <= sum(page.clusters.values()) <= len(admitted)
        assert len(wanted) > views.SPARSE or sum(page.clusters.values()) > views.SPARSE

    def tags_of(self, number: int) -> frozenset[str]:
        return self.fleet.assets[number].tags

    def teardown(self) -> None:
        for page in getattr(self, "pages", ()):
            self.look(page)


def check_entry(entry: dict[str, Any], mark: Mark, about: Asset) -> None:
    assert (entry["lon"], entry["lat"], entry["name"]) == (mark.lon / 1e7, mark.lat / 1e7, about.name)
    assert entry["tags"] == sorted(about.tags)
    assert entry["fix_time"] == f"1970-01-01T00:00:00.{mark.time_ms:03d}Z"


TestViewers = Viewers.TestCase
TestViewers.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


class CrowdedViewers(Viewers):
    """The same where two assets are already a crowd."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(views, "DENSITY", 2)
        self.patch.setattr(views, "SPARSE", 1)

    def teardown(self) -> None:
        super().teardown()
        self.patch.undo()


TestCrowdedViewers = CrowdedViewers.TestCase
TestCrowdedViewers.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_an_asset_that_leaves_is_removed_once() -> None:
    hub, view = hub_with(Mark(1, 0, 0)), View(7, Bounds(-STEP, -STEP, STEP, STEP), frozenset(), 0.5)
    page = Page(view)
    page.hear(view.message(hub))
    move(hub, Mark(2, 5 * STEP, 0))
    page.hear(view.message(hub))
    assert page.shown == {}
    move(hub, Mark(3, 6 * STEP, 0))
    assert view.message(hub) is None


def hub_with(*marks: Mark) -> Hub:
    fleet = Fleet()
    fleet.put_asset(Asset(1, "van"))
    hub = Hub(Latest(fleet), Feed())
    move(hub, *marks)
    return hub


def move(hub: Hub, *marks: Mark) -> None:
    numbers = np.array([mark.asset for mark in marks], np.int64)
    hub.latest.put(numbers, columns(list(marks)), np.arange(len(marks)))


def test_a_hundred_viewers_that_look_at_once_search_once() -> None:
    hub = hub_with(Mark(1, 0, 0))
    first = hub.changed_since(0)
    assert all(hub.changed_since(0) is first for _ in range(100))
    move(hub, Mark(2, 1, 0))
    assert hub.changed_since(0) is not first


def test_an_event_is_framed_for_its_subscription() -> None:
    assert json.loads(Events(3, 0).frame(b'{"id":"evt_1"}')) == {"type": "event", "id": 3, "event": {"id": "evt_1"}}


async def test_a_sleeper_is_woken_when_it_is_due_and_something_changed() -> None:
    hub, clock = hub_with(), asyncio.get_running_loop().time
    hub.start()
    try:
        for number in range(3):
            due = clock() + 0.12
            sleeper = Sleeper(asyncio.Event(), due, hub.latest.now, None)
            hub.park(sleeper)
            move(hub, Mark(number, 0, 0))
            hub.touch()
            await asyncio.wait_for(sleeper.wake.wait(), 30)
            assert clock() >= due
            hub.unpark(sleeper)
        reader = Sleeper(asyncio.Event(), clock() + 60, hub.latest.now, hub.feed.last_id)
        hub.park(reader)
        hub.feed.catch_up(hub.feed.last_id + 1)
        hub.touch()
        await asyncio.wait_for(reader.wake.wait(), 30)  # an event waits for nothing
    finally:
        await hub.stop()


async def test_stopping_what_was_never_started_is_nothing() -> None:
    await hub_with().stop()
