"""Processes of the load: each owns its sockets, does one thing when told, and serves them in between.

The load must not share an interpreter with whoever shows its progress, nor the devices' with the viewers'.
"""

import asyncio
import gc
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Protocol, Self

from tracker.errors import TrackerError

END_WITHIN_S: Final = 5.0

Report = Callable[[float], None]


class Work(Protocol):
    """What such a process does. Each method that is called from outside takes `report` for its progress."""

    def serve(self, pipe: Connection) -> None:
        """Look after the open sockets until something is said on the pipe."""

    def end(self) -> None:
        """Close everything."""


def _main(kind: Callable[[], Work], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, which ends us
    gc.disable()  # nothing here makes cycles, and a collection would count as the server's delay
    work = kind()
    with suppress(EOFError, BrokenPipeError):
        while (said := _next(work, pipe)) is not None:
            name, arguments = said
            try:
                pipe.send(("done", getattr(work, name)(*arguments, report=lambda value: pipe.send(("at", value)))))
            except TrackerError as error:
                pipe.send(("failed", error.message))
            except OSError as error:
                pipe.send(("failed", f"a socket of the load failed: {error}"))
    work.end()


def _next(work: Work, pipe: Connection) -> tuple[str, tuple[Any, ...]] | None:
    try:
        work.serve(pipe)
    except (TrackerError, OSError) as error:
        pipe.recv()
        pipe.send(("failed", f"between two rounds: {error}"))
        return None
    said: tuple[str, tuple[Any, ...]] | None = pipe.recv()
    return said


class Helper:
    """One such process: `async with Helper(Devices) as load: await load.call("closed", …)`."""

    def __init__(self, kind: Callable[[], Work]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the loop and its threads
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(kind, theirs), daemon=True)
        self._process.start()
        theirs.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with suppress(BrokenPipeError):
                self._pipe.send(None)
            await asyncio.to_thread(self._process.join, END_WITHIN_S)
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        self._pipe.close()

    async def call(self, name: str, *arguments: Any, report: Report | None = None) -> Any:
        """What the method returns.

        Raises:
            TrackerError: it failed, or the process is gone.
        """
        return await asyncio.to_thread(self._call, name, arguments, report)

    def _call(self, name: str, arguments: tuple[Any, ...], report: Report | None) -> Any:
        try:
            self._pipe.send((name, arguments))
            while True:
                kind, value = self._pipe.recv()
                if kind == "done":
                    return value
                if kind == "failed":
                    raise TrackerError(value)
                if report is not None:
                    report(value)
        except (EOFError, OSError) as error:
            raise TrackerError("a process of the load has ended; its error stands above") from error
