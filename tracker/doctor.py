"""`tracker doctor`: what this machine has and lacks, each finding with what to do about it. Changes nothing."""

import asyncio
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tracker.app import listening_socket
from tracker.errors import SetupError, TrackerError
from tracker.resources import resource_dir
from tracker.settings import Settings
from tracker.store.database import connect
from tracker.store.migrate import pending
from tracker.store.private import url_of_running
from tracker.store.private.installation import choose, installations


@dataclass(frozen=True, slots=True)
class Finding:
    """ok None: worth knowing, nothing to mend."""

    ok: bool | None
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which a start would meet them."""
    running = url_of_running(settings.data)
    yield _port(settings, in_use_by_us=running is not None)
    if settings.database is None:
        yield _postgis(settings.data)
        yield Finding(None, f"data: {settings.data}" + (", in use by a running server" if running else ""))
    url = settings.database or running
    if url is not None:
        yield asyncio.run(_schema(url))
    yield _page()
    yield _streets()


def _port(settings: Settings, *, in_use_by_us: bool) -> Finding:
    try:
        listening_socket(settings.host, settings.port).close()
    except SetupError as error:
        return Finding(None if in_use_by_us else False, error.message)
    return Finding(True, f"{settings.host}:{settings.port} is free")


def _postgis(data: Path) -> Finding:
    try:
        found = choose(installations(), None, data / "postgres")
    except TrackerError as error:
        return Finding(False, error.message)
    return Finding(True, f"PostgreSQL {found.major} with PostGIS, in {found.bindir}")


async def _schema(url: str) -> Finding:
    try:
        connection = await connect(url)
        try:
            missing = await pending(connection)
        finally:
            await connection.close()
    except TrackerError as error:
        return Finding(False, error.message)
    return Finding(
        not missing,
        f"the schema lacks {', '.join(missing)}: tracker migrate" if missing else "the schema is up to date",
    )


def _page() -> Finding:
    try:
        resource_dir("web/dist")
    except FileNotFoundError as error:
        return Finding(False, str(error))
    return Finding(True, "the page is built")


def _streets() -> Finding:
    missing = [name for name in ("osmium", "pyrosm") if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(
            None,
            f"{' and '.join(missing)} missing: only tracker demo and simulate need it (pip install 'tracker[demo]')",
        )
    return Finding(True, "the streets of the demonstration are here")
