"""Commands to a device: each run once, each answered, whatever the application's function does."""

import asyncio
from typing import Any

import pytest

from tracker.sdk import Device

Server = Any


async def command(server: Server, command_id: str, name: str = "ping", **args: Any) -> None:
    await server.until(lambda: bool(server.sockets))
    await server.say({"type": "command", "id": command_id, "name": name, "args": args})


async def results(server: Server, count: int) -> list[tuple[str, bool, Any]]:
    await server.until(lambda: len(server.results) >= count)
    return [(result["id"], result["ok"], result.get("value")) for result in server.results]


def device_for(server: Server, **options: Any) -> Device:
    return Device(server.url, **{"token": "secret", "random": lambda: 0.0, **options})


async def test_a_plain_function_answers(server: Server) -> None:
    async with device_for(server, on_command=lambda name, args: [name, args["volume"] + 1]):
        await command(server, "c1", "ring", volume=3)

        assert await results(server, 1) == [("c1", True, ["ring", 4])]


async def test_an_async_function_answers_and_fixes_flow_meanwhile(server: Server) -> None:
    finish = asyncio.Event()

    async def slow(name: str, args: dict[str, Any]) -> str:
        await finish.wait()
        return "done"

    async with device_for(server, on_command=slow) as device:
        await command(server, "c1")
        await device.record(lon=0, lat=0)
        await device.drain()
        finish.set()

        assert await results(server, 1) == [("c1", True, "done")]


async def test_an_exception_is_an_answer(server: Server) -> None:
    def fail(name: str, args: dict[str, Any]) -> None:
        raise PermissionError("no camera")

    async with device_for(server, on_command=fail):
        await command(server, "c1")
        await command(server, "c2")

        assert await results(server, 2) == [
            ("c1", False, "PermissionError: no camera"),
            ("c2", False, "PermissionError: no camera"),
        ]


async def test_a_device_without_commands_says_so(server: Server) -> None:
    async with device_for(server):
        await command(server, "c1")

        assert await results(server, 1) == [("c1", False, "this device takes no commands")]


async def test_a_command_that_comes_twice_runs_once_and_is_answered_twice(server: Server) -> None:
    runs: list[str] = []
    async with device_for(server, on_command=lambda name, args: runs.append(name)):
        await command(server, "c1")
        await results(server, 1)
        await command(server, "c1")

        assert await results(server, 2) == [("c1", True, None), ("c1", True, None)]
        assert runs == ["ping"]


async def test_an_answer_waits_for_the_next_connection(server: Server) -> None:
    finish = asyncio.Event()

    async def slow(name: str, args: dict[str, Any]) -> int:
        await finish.wait()
        return 7

    async with device_for(server, on_command=slow):
        await command(server, "c1")
        server.refuse_status = 503
        await server.cut()
        await server.until(lambda: len(server.connections) >= 2)
        finish.set()
        server.refuse_status = None

        assert await results(server, 1) == [("c1", True, 7)]


@pytest.mark.parametrize("value", [object(), "x" * 300_000])
async def test_a_result_that_cannot_be_sent_is_answered_too(server: Server, value: Any) -> None:
    async with device_for(server, on_command=lambda name, args: value):
        await command(server, "c1")

        [(command_id, ok, answer)] = await results(server, 1)
        assert (command_id, ok) == ("c1", False)
        assert "the result" in answer


async def test_too_many_commands_at_once_are_answered_busy(server: Server) -> None:
    finish = asyncio.Event()

    async def slow(name: str, args: dict[str, Any]) -> None:
        await finish.wait()

    async with device_for(server, on_command=slow):
        for number in range(40):
            await command(server, f"c{number}")
        busy = await results(server, 6)
        finish.set()

        assert {answer for _, _, answer in busy} == {"busy"}
        await server.until(lambda: len(server.results) == 40)
