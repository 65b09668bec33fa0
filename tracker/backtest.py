"""`tracker backtest`: asks a running server what a geofence would have reported, and shows how far it is."""

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from tracker.errors import SetupError, TrackerError
from tracker.wire.backtest import CSV_HEAD

SILENCE_S: Final = 120.0  # a server that tells nothing for so long is gone

Json = dict[str, Any]


@dataclass(slots=True)
class Result:
    """What came of it; `done` has the sums."""

    events: list[Json] = field(default_factory=list)
    done: Json = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def sentence(self) -> str:
        kinds = Counter(event["type"].removeprefix("geofence.") for event in self.events)
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common()) or "no events"
        assets = len({event["asset"]["id"] for event in self.events})
        return (
            f"{told} of {assets:,} assets, from {self.done['fixes']:,} fixes of {self.done['assets']:,} "
            f"in {self.seconds:.1f} s"
        )


def geofence_in(text: str) -> Json:
    """What names the geofence in the request: an id, or a file with a Feature, or with a collection of one.

    Raises:
        SetupError: it is none of these.
    """
    if text.startswith("gf_"):
        return {"geofence_id": text}
    try:
        content = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"{text}: {error.strerror}; name a GeoJSON file, or the id of a geofence (gf_…).") from error
    except ValueError as error:
        raise SetupError(f"{text} is no JSON: {error}.") from error
    features = content.get("features") if isinstance(content, dict) else None
    if isinstance(features, list) and len(features) == 1:
        content = features[0]
    if not isinstance(content, dict) or content.get("type") != "Feature":
        raise SetupError(f"{text} must hold one GeoJSON Feature, as POST /v1/geofences takes it.")
    return {"geofence": content}


async def run(url: str, token: str, asked: Json, on_progress: Callable[[Json], None]) -> Result:
    """The events, by the time of their fixes.

    Raises:
        TrackerError: the server cannot be reached, says no, or breaks off.
    """
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/x-ndjson"}
    result, started, url = Result(), time.monotonic(), url.rstrip("/")
    waiting = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S)
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=waiting) as session,
            session.post(f"{url}/v1/backtests", json=asked) as answer,
        ):
            if answer.status >= 400:
                problem = await answer.json(content_type=None)
                raise TrackerError(str(problem.get("detail", problem)))
            async for line in answer.content:
                _take(result, json.loads(line), on_progress)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TrackerError(f"{url} does not answer ({error}); is it the address of a running server?") from error
    if not result.done:
        raise TrackerError("The server broke off before the end; its log says why.")
    result.events.sort(key=lambda event: (event["fix_time"], event["asset"]["id"]))
    result.seconds = time.monotonic() - started
    return result


def _take(result: Result, line: Json, on_progress: Callable[[Json], None]) -> None:
    if "event" in line:
        result.events.append(line["event"])
    elif "progress" in line:
        on_progress(line["progress"])
    else:
        result.done = line["done"]


def write_csv(events: Iterable[Json], out: IO[str]) -> None:
    """With the columns that the server's own CSV has."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(CSV_HEAD)
    for each in events:
        flat = {**each, "asset_id": each["asset"]["id"], "asset": each["asset"]["name"]}
        flat |= {"geofence": each["geofence"]["name"], "initial": "true" if each.get("initial") else ""}
        rows.writerow([flat.get(name, "") for name in CSV_HEAD])


class BacktestBar:
    """Assets that are done, with what was found so far."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("trying"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[facts]}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("trying", total=None, facts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Json) -> None:
        facts = (
            f"{progress['assets_done']:,} of {progress['assets']:,} assets · {progress['fixes']:,} fixes · "
            f"{progress['events']:,} events"
        )
        self._bar.update(self._task, total=progress["assets"] or 1, completed=progress["assets_done"], facts=facts)
