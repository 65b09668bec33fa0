"""The tail of the feed: followers miss nothing and get nothing twice, however far behind they are."""

import asyncio

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tracker.live import feed as module
from tracker.live.feed import Feed
from tracker.wire.events import Event, Ref

SHORT_TAIL = 6


def event(number: int) -> Event:
    return Event(f"evt_{number}", "geofence.enter", "live", Ref("ast_1", "van"), "", "")


class Followers(RuleBasedStateMachine):
    """The table holds every event; the feed holds the last few of those it was told of."""

    @initialize(old=st.integers(0, 9))
    def start(self, old: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "TAIL", SHORT_TAIL)
            self.feed = Feed()
        self.table = list(range(1, old + 1))
        self.feed.restart(old)
        self.read: list[list[int]] = []  # of each follower: the place where it began, then what it got

    @rule(count=st.integers(0, 2 * SHORT_TAIL))
    def events_are_told(self, count: int) -> None:
        new = range(len(self.table) + 1, len(self.table) + count + 1)
        self.table += new
        self.feed.append([event(number) for number in new])

    @rule(count=st.integers(1, 4), heard=st.booleans())
    def events_are_durable_but_nobody_was_told(self, count: int, heard: bool) -> None:
        """The answer to their commit was lost; the writer may find them when it reads what is durable."""
        self.table += range(len(self.table) + 1, len(self.table) + count + 1)
        if heard:
            self.feed.catch_up(len(self.table))

    @rule(data=st.data())
    def a_follower_comes(self, data: st.DataObject) -> None:
        self.read.append([data.draw(st.integers(0, len(self.table)))])

    @rule(data=st.data(), limit=st.integers(1, 5), times=st.integers(1, 6))
    def followers_read(self, data: st.DataObject, limit: int, times: int) -> None:
        for got in self.read:
            for _ in range(times):
                found = self.feed.after(got[-1], limit)
                if found is None:
                    got.extend(self.table[got[-1] : got[-1] + limit])
                    continue
                assert len(found) <= limit
                assert [msgspec.json.decode(text)["id"] for _, text in found] == [
                    f"evt_{number}" for number, _ in found
                ]
                got.extend(number for number, _ in found)
                if not found:
                    assert got[-1] >= self.feed.last_id
                    break

    @invariant()
    def nothing_is_missed_or_doubled(self) -> None:
        for got in self.read:
            assert got == list(range(got[0], got[0] + len(got)))
        assert self.feed.last_id <= len(self.table)


TestFollowers = Followers.TestCase
TestFollowers.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


async def test_waiting_ends_when_something_newer_is_durable() -> None:
    feed = Feed(5)
    await feed.wait(4)
    waiting = [asyncio.ensure_future(feed.wait(after)) for after in (5, 6, 7)]
    await asyncio.sleep(0)
    feed.append([event(6)])
    await waiting[0]
    assert not waiting[1].done()
    feed.append([event(7)])
    await waiting[1]
    feed.catch_up(8)
    await asyncio.gather(*waiting)


def test_a_feed_never_goes_back() -> None:
    feed = Feed(5)
    feed.append([event(6)])
    feed.catch_up(4)
    assert feed.last_id == 6
    assert feed.after(5, 10) == [(6, msgspec.json.encode(event(6)))]


def test_a_follower_from_the_future_gets_nothing() -> None:
    assert Feed(5).after(9, 10) == []


def test_no_events_are_no_change() -> None:
    feed = Feed(5)
    feed.append([])
    assert (feed.last_id, feed.after(5, 1), feed.after(4, 1)) == (5, [], None)
