"""The progress of a benchmark: on a terminal a line for each, with what it does now; elsewhere a line for each step."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

_LOOKS_PER_S: Final = 4  # the terminal must not take from what is measured


class BenchBar:
    """A line for each benchmark; its steps are known beforehand, what goes on within one is told in words."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
            refresh_per_second=_LOOKS_PER_S,
        )
        self._console = console
        self._began_s = time.monotonic()
        self._task: TaskID | None = None
        self._step = self._name = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, name: str) -> None:
        """The next benchmark."""
        self._name = name
        self._task = self._bar.add_task(f"{name:<8}", total=None, facts="starting a server")

    def steps(self, count: int) -> None:
        self._update(total=count, completed=0)

    def step(self, what: str) -> None:
        """The step before is done; this one begins."""
        if self._step and self._task is not None:
            self._bar.advance(self._task)
        self._step = what
        self._update(facts=what)
        if not self._console.is_terminal:
            passed_s = time.monotonic() - self._began_s
            self._console.print(f"{passed_s:5.0f} s  {self._name}: {what}", highlight=False, markup=False)

    def at(self, facts: str) -> None:
        """How far the step is."""
        self._update(facts=f"{self._step} · {facts}")

    def done(self) -> None:
        if self._task is not None:
            task = next(each for each in self._bar.tasks if each.id == self._task)
            self._update(total=task.total or 1, completed=task.total or 1, facts="")
        self._step = ""

    def _update(self, **fields: object) -> None:
        if self._task is not None:
            self._bar.update(self._task, **fields)  # type: ignore[arg-type]
