"""One attempt against receivers of every kind, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.hooks.receiver import Message, Receiver
from tracker.hooks.guard import Guard
from tracker.hooks.sender import MAX_BODY_BYTES, Sender

MESSAGE = b'{"type":"hook.test","data":{}}'


@pytest_asyncio.fixture
async def sender() -> AsyncIterator[Sender]:
    sender = Sender(Guard([ip_network("127.0.0.0/8")]), timeout_s=0.3)
    yield sender
    await sender.close()


def answering(**kwargs: Any) -> Callable[[Any], Awaitable[web.StreamResponse]]:
    async def answer(message: Message) -> web.StreamResponse:
        return web.Response(**kwargs)

    return answer


async def test_the_request_is_a_plain_json_post(sender: Sender, receiver: Receiver) -> None:
    assert (await sender.post(receiver.url, {"webhook-id": "dlv_1"}, MESSAGE)).status == 204
    headers, body = receiver.requests[0]
    assert body == MESSAGE
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("tracker-hooks/")
    assert headers["webhook-id"] == "dlv_1"
    assert "accept-encoding" not in headers


async def test_redirects_are_not_followed(sender: Sender, receiver: Receiver) -> None:
    receiver.answer = answering(status=307, headers={"Location": receiver.url})
    answer = await sender.post(receiver.url, {}, MESSAGE)
    assert (answer.status, answer.error) == (307, "the receiver answered 307; redirects are not followed")
    assert len(receiver.requests) == 1


async def test_cookies_are_not_kept(sender: Sender, receiver: Receiver) -> None:
    receiver.answer = answering(headers={"Set-Cookie": "a=b"})
    await sender.post(receiver.url, {}, MESSAGE)
    await sender.post(receiver.url, {}, MESSAGE)
    assert all("cookie" not in headers for headers, _ in receiver.requests)


async def test_a_retry_after_is_handed_on(sender: Sender, receiver: Receiver) -> None:
    receiver.answer = answering(status=503, headers={"Retry-After": "17"})
    assert (await sender.post(receiver.url, {}, MESSAGE)).retry_after_s == 17


async def test_a_receiver_that_says_nothing_is_given_up_in_time(sender: Sender, receiver: Receiver) -> None:
    async def never(message: Message) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = never
    answer = await sender.post(receiver.url, {}, MESSAGE)
    assert (answer.status, answer.error) == (None, "no answer within 0.3 s")


async def test_nobody_there_is_an_answer(sender: Sender, free_port: int) -> None:
    answer = await sender.post(f"http://127.0.0.1:{free_port}/", {}, MESSAGE)
    assert (answer.status, answer.error) == (None, "the connection was refused")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "the connection was closed before an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer was not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "the answer was not HTTP"),
    ],
)
async def test_whatever_a_port_says_is_an_answer_in_our_words(sender: Sender, reply: bytes, reason: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(MESSAGE)
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        answer = await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, MESSAGE)
    assert (answer.status, answer.error) == (None, reason)


async def test_tls_with_somebody_who_does_not_speak_it_is_an_answer(sender: Sender, receiver: Receiver) -> None:
    answer = await sender.post(receiver.url.replace("http:", "https:"), {}, MESSAGE)
    assert (answer.status, answer.error) == (None, "TLS could not be established")


async def test_a_name_that_does_not_exist_is_an_answer(receiver: Receiver) -> None:
    sender = Sender(Guard(()), timeout_s=10)
    answer = await sender.post("https://nowhere.invalid/", {}, MESSAGE)
    await sender.close()
    assert (answer.status, answer.error) == (None, "the name could not be resolved")


async def test_an_endless_body_is_success_and_is_not_read_to_its_end(sender: Sender, receiver: Receiver) -> None:
    ended = asyncio.Event()
    written_bytes = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written_bytes
        await reader.readuntil(MESSAGE)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
                written_bytes += 65_536
        except ConnectionError:
            ended.set()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        answer = await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, MESSAGE)
        await asyncio.wait_for(ended.wait(), 30)
    assert answer.status == 200
    assert written_bytes < 200 * MAX_BODY_BYTES  # what the kernel's buffers swallow


async def test_a_body_that_never_ends_does_not_unsay_the_status(sender: Sender, receiver: Receiver) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(MESSAGE)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        answer = await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, MESSAGE)
    assert answer.status == 200


async def test_one_connection_serves_many_deliveries(sender: Sender) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(MESSAGE)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert {(await sender.post(url, {}, MESSAGE)).status for _ in range(20)} == {200}
    assert connections == 1
