"""Commands from the server: run one after the other, each at most once, each answered.

A command that comes again (a result was lost with its connection, or both sockets carried it) is answered from memory.
"""

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tracker.domain.fix import MAX_MESSAGE_BYTES
from tracker.wire.device import Command, Result

log = logging.getLogger("tracker.sdk")

OnCommand = Callable[[str, dict[str, Any]], Any]

_QUEUE: Final = 32  # commands that wait; more are answered "busy"
_REMEMBERED: Final = 128


class Commands:
    """Owns the queue, and the answers until they are sent."""

    def __init__(self, on_command: OnCommand | None, answer: Callable[[bytes], None]) -> None:
        self._on_command = on_command
        self._answer = answer
        self._queue: asyncio.Queue[Command] = asyncio.Queue(_QUEUE)
        self._answers: OrderedDict[str, bytes | None] = OrderedDict()  # None: accepted, not finished

    def accept(self, command: Command) -> None:
        """Take a command from a socket; never blocks it."""
        if command.id in self._answers:
            answer = self._answers[command.id]
            if answer is not None:
                self._answer(answer)
        elif self._on_command is None:
            self._finish(Result(command.id, ok=False, value="this device takes no commands"))
        elif self._queue.full():
            self._answer(msgspec.json.encode(Result(command.id, ok=False, value="busy")))
        else:
            self._remember(command.id, None)
            self._queue.put_nowait(command)

    async def run(self) -> None:
        while self._on_command is not None:
            command = await self._queue.get()
            self._finish(await self._perform(self._on_command, command))

    async def _perform(self, on_command: OnCommand, command: Command) -> Result:
        try:
            value = on_command(command.name, command.args)
            if inspect.isawaitable(value):
                value = await value
        except Exception as exc:  # whatever the application's function raises is the answer
            log.warning("the command %s failed", command.name, exc_info=True)
            return Result(command.id, ok=False, value=f"{type(exc).__name__}: {exc}")
        return Result(command.id, ok=True, value=value)

    def _finish(self, result: Result) -> None:
        answer = _encode(result)
        self._remember(result.id, answer)
        self._answer(answer)

    def _remember(self, command_id: str, answer: bytes | None) -> None:
        self._answers[command_id] = answer
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)


def _encode(result: Result) -> bytes:
    try:
        answer = msgspec.json.encode(result)
    except (TypeError, ValueError) as exc:
        return msgspec.json.encode(Result(result.id, ok=False, value=f"the result cannot be written as JSON: {exc}"))
    if len(answer) > MAX_MESSAGE_BYTES:
        return msgspec.json.encode(Result(result.id, ok=False, value=f"the result takes {len(answer)} bytes"))
    return answer
