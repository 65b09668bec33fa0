"""What is told after a commit, and in which order."""

import json

import numpy as np

from tests.domain.scenes import Mark, columns
from tests.pipeline.world import NOW_MS, Socket, World, numbered
from tracker.domain.batch import Columns
from tracker.domain.fleet import Asset, Fleet
from tracker.domain.presence import Presence
from tracker.live.feed import Feed
from tracker.live.latest import Latest
from tracker.pipeline.publish import TOLD_REJECTS, Publisher
from tracker.store.snapshot import Snapshot
from tracker.wire.events import Event, Ref


def publisher(*assets: int) -> tuple[Publisher, list[str]]:
    fleet, noticed = Fleet(), list[str]()
    for number in assets:
        fleet.put_asset(Asset(number, ""))
    feed = Feed()
    made = Publisher(
        Latest(fleet),
        feed,
        on_change=lambda: noticed.append(f"viewers {feed.last_id}"),
        on_events=lambda: noticed.append(f"hooks {feed.last_id}"),
    )
    return made, noticed


def event(number: int) -> Event:
    return Event(f"evt_{number}", "geofence.exit", "live", Ref("ast_1", ""), "", "")


def test_whoever_is_noticed_finds_the_news_there() -> None:
    made, noticed = publisher()
    made.tell([event(1)])
    made.tell([])
    made.catch_up(4)
    assert noticed == ["hooks 1", "viewers 1", "viewers 1", "hooks 4", "viewers 4"]


def test_a_start_shows_where_everybody_is_who_is_still_there() -> None:
    made, _ = publisher(1, 3)
    batch: Columns = columns([Mark(5, 10, 20, asset=number) for number in (3, 2, 1)])
    made.restore(Snapshot(7, 7, 9, {}, Presence(), (batch.asset.astype(np.int64), batch)))
    assert made.latest.changed_since(0).tolist() == [1, 3]
    assert json.loads(made.latest.entry(3))["lat"] == 2e-6
    assert (made.feed.last_id, made.feed.after(8, 1)) == (9, None)


def test_a_start_with_nothing_is_a_start() -> None:
    made, _ = publisher()
    nothing = columns([])
    made.restore(Snapshot(0, 0, 0, {}, Presence(), (nothing.asset.astype(np.int64), nothing)))
    assert made.latest.now == 0


def test_only_trusted_fixes_move_an_asset_on_the_map() -> None:
    world, socket = World(), Socket()
    world.open(socket, 1, "s1")
    fixes = [{"lon": 1, "lat": 2, "time": NOW_MS}, {"lon": 5, "lat": 5, "time": NOW_MS + 1, "accuracy_m": 5e5}]
    world.send(socket, json.dumps(fixes).encode())
    world.drain()
    assert json.loads(world.publisher.latest.entry(1))["lon"] == 1.0


def test_an_ack_is_never_below_what_is_durable() -> None:
    """A resend on a second socket is answered with all that the first one has achieved."""
    world, first, second = World(), Socket(), Socket()
    world.open(first, 1, "s1")
    world.open(second, 1, "s1")
    world.send(first, numbered(101, 1, 2))
    world.begin()
    world.send(second, numbered(101, 1, 1))
    world.begin()
    world.send(first, numbered(101, 4, 2))
    world.drain()
    assert [message["seq"] for message in second.of("ack")] == [2]
    assert [message["seq"] for message in first.of("ack")] == [2, 5]


def test_nobody_is_told_of_what_is_not_durable() -> None:
    world, socket = World(), Socket()
    world.open(socket, 1, "s1")
    world.send(socket, numbered(101, 1, 2))
    world.begin()
    assert (socket.told, world.publisher.latest.now, socket.source.queued) == ([], 0, 1)
    world.settle("lost")
    assert (socket.told, world.publisher.latest.now, socket.source.queued) == ([], 0, 1)
    world.drain()
    assert [message["seq"] for message in socket.told] == [2]


def test_answers_of_one_batch_are_bounded() -> None:
    world, socket = World(), Socket()
    world.open(socket, 1, "s1")
    bad = [{"lon": 1, "lat": 400}] * 900
    for _ in range(2):
        world.send(socket, json.dumps(bad).encode())
    world.drain()
    assert len(socket.of("reject")) == TOLD_REJECTS
    assert [message["seq"] for message in socket.of("reject")[:2]] == [1, 2]
    assert [message["seq"] for message in socket.of("ack")] == [1800]
