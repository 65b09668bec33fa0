"""The writer's own turns: batches one after the other, changes between them, the end of its work."""

import asyncio

import pytest

from tests.pipeline.node import Node
from tests.pipeline.world import Socket, numbered
from tracker.domain.fleet import Device
from tracker.errors import StoreUnavailable
from tracker.pipeline.commit import MAX_CHANGES, REJECTS_KEPT, Writer, _newest_rejected, _split
from tracker.pipeline.intake import OpenBatch
from tracker.pipeline.prepare import Rejected
from tracker.pipeline.stream import Lane
from tracker.wire.device import Refusal


def batch(*frames: bytes) -> OpenBatch:
    source = Socket().source
    return OpenBatch([source] * len(frames), list(frames), sum(map(len, frames)))


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_a_refused_batch_is_halved_in_order(count: int) -> None:
    whole = batch(*(b"%d" % i for i in range(count)))
    halves = _split(whole, ValueError())
    assert [frame for half in halves for frame in half.frames] == whole.frames
    assert all(half.frames and len(half.sources) == len(half.frames) and half.refusal is None for half in halves)
    assert sum(half.bytes for half in halves) == whole.bytes


def test_a_refused_frame_is_put_aside_and_refused_again_it_ends_the_writer() -> None:
    (aside,) = _split(batch(b"x"), ValueError())
    assert aside.refusal is not None
    assert aside.refusal.code == "refused_by_database"
    with pytest.raises(ValueError, match="again"):
        _split(aside, ValueError("again"))


def test_of_many_rejects_the_newest_of_each_device_are_stored() -> None:
    source = Socket().source
    lanes = [Lane(Device(number, "", 1), "s1", None) for number in (1, 2)]
    rejected = [Rejected(source, lanes[i % 3 == 0], i, Refusal("", "")) for i in range(2_500)]
    kept = _newest_rejected(rejected)
    assert [each.seq for each in kept] == sorted(each.seq for each in kept)
    for lane, of in ((lanes[0], REJECTS_KEPT), (lanes[1], 834)):
        mine = [each.seq for each in rejected if each.lane is lane]
        assert [each.seq for each in kept if each.lane is lane] == mine[-of:]


async def test_what_was_taken_in_is_answered_before_the_end(node: Node) -> None:
    sockets = [Socket() for _ in range(5)]
    for device, socket in enumerate(sockets):
        await node.open(socket, f"s{device}", device % 3 + 1)
        for part in range(40):
            node.writer.intake.put(socket.source, numbered(100 + device, 1 + 3 * part, 3))
    node.writer.intake.close()
    await node.writer.drain()
    for socket in sockets:
        assert socket.of("ack")[-1]["seq"] == 120
        assert socket.source.queued == 0
    rejected = sum(len(socket.of("reject")) for socket in sockets)
    assert node.writer.fixes == 5 * 120 - rejected


async def test_a_change_runs_when_no_batch_is_under_way(node: Node) -> None:
    socket, seen = Socket(), list[int]()
    await node.open(socket)

    async def change(writer: Writer) -> str:
        seen.append(len(socket.of("ack")))
        assert writer._in_flight is None
        assert writer.batch == writer.committed
        return "done"

    node.writer.intake.put(socket.source, numbered(101, 1, 1))
    asked = [asyncio.ensure_future(node.writer.between_batches(change)) for _ in range(3)]
    assert await asyncio.gather(*asked) == ["done"] * 3
    await socket.source.quiet()
    assert len(seen) == 3


async def test_a_change_that_fails_is_its_callers_and_nobody_elses(node: Node) -> None:
    async def fails(_: Writer) -> None:
        raise KeyError("this one")

    with pytest.raises(KeyError, match="this one"):
        await node.writer.between_batches(fails)
    socket = Socket()
    await node.open(socket)
    await node.send(socket, numbered(101, 1, 1))
    assert (socket.of("ack")[0]["seq"], node.writer.recoveries) == (1, 0)


async def test_a_change_whose_caller_has_gone_is_made(node: Node) -> None:
    made = asyncio.Event()

    async def change(_: Writer) -> None:
        made.set()

    asked = asyncio.ensure_future(node.writer.between_batches(change))
    await asyncio.sleep(0)
    asked.cancel()
    await made.wait()
    await asyncio.gather(asked, return_exceptions=True)


async def test_changes_that_wait_are_bounded(node: Node) -> None:
    async def change(_: Writer) -> None:
        pass

    asked = [asyncio.ensure_future(node.writer.between_batches(change)) for _ in range(MAX_CHANGES + 1)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(StoreUnavailable) == 1
    assert isinstance(outcomes[-1], StoreUnavailable)


async def test_batches_are_numbered_on_after_a_start(node: Node, database: str) -> None:
    socket = Socket()
    await node.open(socket)
    for seq in (1, 2):
        await node.send(socket, numbered(101, seq, 1))
    before = node.writer.batch
    await node.stop()
    async with Node(database) as again:
        assert (again.writer.batch, again.writer.committed) == (before, before)
        again_socket = Socket()
        await again.open(again_socket)
        await again.send(again_socket, numbered(101, 2, 1))
        assert [message["seq"] for message in again_socket.of("ack")] == [2]
        assert again.writer.fixes == 0, "it was there already"
