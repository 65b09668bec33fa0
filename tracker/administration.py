"""What the command line does to a server: over its REST API with an admin's token, or on its database where no token
is left.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp

from tracker.access.roles import Role
from tracker.access.tokens import Access
from tracker.errors import SetupError, TrackerError
from tracker.store.database import Database, connect
from tracker.store.migrate import migrate
from tracker.store.private import PrivateCluster, url_of_running
from tracker.store.prune import Pruned, prune
from tracker.store.sealer import seal


class Api:
    """Calls with an admin's token; a problem document becomes its sentence."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the answer.

        Raises:
            TrackerError: the server cannot be reached, or says no.
        """
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers) as session,
                session.request(method, self._url + path, json=body) as answer,
            ):
                content = await answer.json(content_type=None) if answer.status != 204 else None
        except aiohttp.ClientError as error:
            raise TrackerError(f"There is no server at {self._url} ({error}); start one with: tracker serve") from error
        if answer.status >= 400:
            raise TrackerError(
                str(content.get("detail", content)) if isinstance(content, dict) else f"status {answer.status}"
            )
        return content

    async def all(self, path: str, name: str) -> list[dict[str, Any]]:
        """Every item of a list."""
        items: list[dict[str, Any]] = []
        after = ""
        while True:
            page = await self.call("GET", f"{path}?limit=1000{after}")
            items += page[name]
            if page["next"] is None:
                return items
            after = f"&after={page['next']}"


@asynccontextmanager
async def database_url(data: Path, database: str | None) -> AsyncIterator[str]:
    """The database of a server, running or not: the one named, or the private one, started for as long as needed."""
    url = database or url_of_running(data)
    if url is not None:
        yield url
        return
    cluster = PrivateCluster(data)
    try:
        yield await cluster.start()
    finally:
        await cluster.stop()


async def migrate_database(data: Path, database: str | None) -> list[str]:
    """Apply the migrations that are missing; returns their titles."""
    async with database_url(data, database) as url:
        connection = await connect(url)
        try:
            return await migrate(connection)
        finally:
            await connection.close()


async def seal_database(
    data: Path, database: str | None, open_day: date, on_progress: Callable[[int, int], None]
) -> int:
    """Seal the days before one; returns the fixes."""
    async with database_url(data, database) as url:
        return await seal(url, open_day, on_progress)


async def prune_database(data: Path, database: str | None) -> Pruned:
    """Remove the history of deleted assets."""
    async with database_url(data, database) as url:
        return await prune(url)


async def sign_in_path(data: Path, database: str | None, role: Role) -> str:
    """The path of a link that signs in once, made on the database itself: for whoever has lost every token."""
    if database is None and not (data / "postgres" / "PG_VERSION").exists():
        raise SetupError(f"No server has ever run on {data}; name its directory with --data.")
    async with database_url(data, database) as url:
        store = Database(url)
        await store.open()
        try:
            return await Access(store).sign_in_link(role.label, role)
        finally:
            await store.close()
