"""Opening streams: where they stand, and who speaks for them, with the real tables and writer."""

import asyncio
import json

import asyncpg
import pytest

from tests.pipeline.node import Node
from tests.pipeline.world import Socket, numbered
from tracker.errors import Superseded
from tracker.pipeline.admission import open_unnamed


async def test_a_stream_stands_where_it_was_left(node: Node) -> None:
    socket = Socket()
    lane = await node.open(socket)
    assert (lane.name, lane.prepared, lane.durable) == ("live", 0, 0)
    await node.send(socket, numbered(101, 1, 5))
    socket.source.release()
    assert (await node.open(Socket())) is lane, "what is not filed is known by memory alone"
    assert lane.durable == 5


@pytest.mark.parametrize("filed", [False, True])
async def test_a_stream_stands_where_it_was_left_after_a_start(node: Node, database: str, filed: bool) -> None:
    socket = Socket()
    await node.open(socket)
    await node.send(socket, numbered(101, 1, 5))
    if filed:
        await node.file()
    await node.stop()
    async with Node(database) as again:
        lane = await again.open(Socket())
        assert (lane.prepared, lane.durable) == (5, 5)


async def test_streams_are_of_their_device_and_name(node: Node) -> None:
    gateway = Socket(gateway=True)
    lanes = [
        await node.open(gateway, name, device)
        for device, name in ((1, "live"), (2, "live"), (1, "backlog"), (1, "live"))
    ]
    assert lanes[0] is lanes[3]
    assert len({lane.stream_id for lane in lanes}) == 3


async def test_devices_that_come_at_once_are_served_together_and_a_name_that_cannot_be_kept_is_refused_alone(
    node: Node, connection: asyncpg.Connection
) -> None:
    names = ["live", "live", "backlog", "a \ud800 b", "live"]
    before = await connection.fetchval("SELECT txid_current()")
    rows = await asyncio.gather(*(node.openings.row(1, name) for name in names), return_exceptions=True)
    assert await connection.fetchval("SELECT txid_current()") - before <= 6, "one by one only for the one to blame"
    assert isinstance(rows[3], Exception)
    served = [(row["name"], row["session"]) for row in rows if not isinstance(row, BaseException)]
    assert served == [("live", 1), ("live", 2), ("backlog", 1), ("live", 3)]


async def test_what_is_filed_while_a_stream_is_opened_is_not_forgotten(node: Node) -> None:
    """Its row was read before the filer moved the cursor into it, and memory let go of it after."""
    first = Socket()
    await node.open(first)
    await node.send(first, numbered(101, 1, 5))
    first.source.release()
    node.database.meanwhile = node.file
    lane = await node.open(Socket())
    assert (lane.prepared, lane.durable) == (5, 5)


async def test_a_newer_socket_is_welcome_when_nothing_of_the_older_is_under_way(node: Node) -> None:
    old, new = Socket(), Socket()
    lane = await node.open(old)
    old.source.queued += 1  # a frame that the writer has not answered yet
    opening = asyncio.ensure_future(node.open(new))
    while lane.source is not new.source:
        await asyncio.sleep(0)
    assert old.superseded
    assert not opening.done()
    old.source.settled(1)
    assert await opening is lane


async def test_the_newest_of_three_sockets_has_the_stream(node: Node) -> None:
    sockets = [Socket(), Socket(), Socket()]
    lane = await node.open(sockets[0])
    sockets[0].source.queued += 1
    second = asyncio.ensure_future(node.open(sockets[1]))
    while lane.source is not sockets[1].source:
        await asyncio.sleep(0)
    third = asyncio.ensure_future(node.open(sockets[2]))
    while lane.source is not sockets[2].source:
        await asyncio.sleep(0)
    sockets[0].source.settled(1)
    with pytest.raises(Superseded):
        await second
    assert await third is lane
    assert [socket.superseded for socket in sockets] == [True, True, False]


async def test_a_post_uses_a_stream_and_ends_nobodys_socket(node: Node) -> None:
    socket, post = Socket(), Socket(gateway=True)
    lane = await node.open(socket)
    assert await node.open(post, take_over=False) is lane
    assert lane.source is socket.source
    await node.send(post, numbered(101, 1, 2))
    post.source.release()
    assert not socket.superseded
    await node.send(socket, numbered(101, 1, 3, stream="live"))
    assert [message["seq"] for message in socket.of("ack")] == [3]


async def test_a_stream_named_by_the_server_counts_from_one_and_ends_with_its_socket(node: Node) -> None:
    names = set()
    for _ in range(2):
        socket = Socket()
        lane = open_unnamed(node.writer, node.writer.fleet.devices[1], socket.source)
        socket.source.default = lane
        names.add(lane.name)
        await node.send(socket, json.dumps({"lon": 1, "lat": 2}).encode())
        await node.send(socket, json.dumps([{"lon": 1, "lat": 2}, {"lon": 1, "lat": 2}]).encode())
        assert [message["seq"] for message in socket.of("ack")] == [1, 3]
        socket.source.release()
    assert len(names) == 2
    await node.file()
    assert len(node.writer.lanes) == 0


async def test_each_opening_has_a_session_of_its_own(node: Node) -> None:
    sessions = [(await node.open(Socket())).session for _ in range(3)]
    assert sessions == sorted(set(sessions))
