"""A replay's progress on a terminal."""

from collections import deque
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from tracker.replay.player import Progress
from tracker.wire.times import rfc3339

_RATE_OVER: Final = 10  # reports, two a second


class ReplayBar:
    """Shows every report that it gets; leaves the last one on the screen."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[facts]}", markup=False),
            console=console,
        )
        self._task = self._bar.add_task("reading", total=None, facts="")
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        facts = [f"{progress.devices:,} devices"]
        if progress.stage in ("streaming", "done"):
            facts = _facts(progress, self._rate(progress.acked))
        self._bar.update(
            self._task,
            description=progress.stage,
            total=progress.fixes or None,
            completed=progress.sent,
            facts=" · ".join(facts),
        )

    def _rate(self, acked: int) -> float:
        """Fixes acked a second, over the last few."""
        now_s = self._bar.get_time()
        self._recent.append((now_s, acked))
        then_s, before = self._recent[0]
        return (acked - before) / (now_s - then_s) if now_s > then_s else 0.0


def _facts(progress: Progress, acked_per_s: float) -> list[str]:
    facts = [
        f"{progress.acked:,} acked",
        f"{acked_per_s:,.0f}/s",
        f"{progress.devices:,} devices",
    ]
    if progress.event_time_ms is not None:
        facts.append(rfc3339(progress.event_time_ms)[:19].replace("T", " "))
    if progress.rounds:
        facts.append(f"round {progress.rounds + (progress.stage != 'done')}")
    if progress.skipped:
        facts.append(f"{progress.skipped:,} skipped")
    if progress.rejected:
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(progress.reject_codes.items()))
        facts.append(f"{progress.rejected:,} rejected ({codes})")
    if progress.problem is not None:
        facts.append(progress.problem)
    return facts
