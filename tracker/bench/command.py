"""What the command line asks for, made into a plan; the table goes to the output, the bar to the terminal."""

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from tracker.bench.bar import BenchBar
from tracker.bench.frames import ENCODINGS
from tracker.bench.plan import planned
from tracker.bench.report import plain, show
from tracker.bench.run import BENCHMARKS, bench
from tracker.errors import SetupError, TrackerError

WIDTH: Final = 240  # of the table: a row is never broken


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags as they were given; None where they were not."""

    what: tuple[str, ...]
    short: bool
    url: str | None
    token: str | None
    seconds: float | None
    devices: int | None
    encoding: str | None
    fixes_per_frame: int | None
    json_file: Path | None
    charts: Path | None

    @property
    def names(self) -> list[str]:
        """In the order of the list, each once.

        Raises:
            SetupError: one is not known.
        """
        for each in self.what:
            if each not in (*BENCHMARKS, "all"):
                raise SetupError(f"There is no benchmark {each}; there are {', '.join(BENCHMARKS)}, and all.")
        return [name for name in BENCHMARKS if name in self.what or "all" in self.what]

    @property
    def named(self) -> tuple[str, str] | None:
        if self.url is None:
            return None
        if not self.token:
            raise SetupError("--url needs an admin's token of that server: --token, or TRACKER_ADMIN_TOKEN.")
        return self.url, self.token


def run_bench(asked: Asked, console: Console) -> None:
    """Run, show, write."""
    encoding = next((each for each in ENCODINGS if each == asked.encoding), None)
    if asked.encoding is not None and encoding is None:
        raise SetupError(f"--encoding {asked.encoding}: it is {' or '.join(ENCODINGS)}.")
    plan = planned(
        short=asked.short,
        seconds=asked.seconds,
        devices=asked.devices,
        encoding=encoding,
        fixes_per_frame=asked.fixes_per_frame,
    )
    names, named = asked.names, asked.named
    if asked.charts is not None:
        asked.charts.mkdir(parents=True, exist_ok=True)
    with BenchBar(console) as bar:
        try:
            where, sections = uvloop.run(bench(names, replace(plan, charts=asked.charts), bar, named))
        except asyncio.CancelledError:
            raise TrackerError("Ended by SIGTERM; what was started has been removed.") from None
    show(Console(file=sys.stdout, width=WIDTH), where, sections)
    if asked.json_file is not None:
        asked.json_file.write_text(json.dumps(plain(where, sections), indent=1, ensure_ascii=False) + "\n", "utf-8")
    failed = [each.title for each in sections if each.failed]
    if failed:
        raise TrackerError(f"{', '.join(failed)} failed; the reason stands in its place in the report.")
