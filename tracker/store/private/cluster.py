"""The life of the private cluster: made, locked, started or taken over, kept running, stopped.

One server at a time owns a data directory, by a lock that dies with its process. A postmaster outlives a server
that was killed; the next server adopts it.
"""

import asyncio
import contextlib
import dataclasses
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import asyncpg

from tracker.errors import SetupError, StoreError
from tracker.store.private.account import Account, account_for
from tracker.store.private.configuration import configuration
from tracker.store.private.directories import ROOTS_DATA_DIR, locked, made_data_dir, socket_dir
from tracker.store.private.installation import Installation, choose, installations
from tracker.store.private.postmaster import disown_pid_file, running
from tracker.store.sql import sql

log = logging.getLogger(__name__)
T = TypeVar("T")

DATABASE: Final = "tracker"
SUPERUSER: Final = "postgres"
LOG_ROTATED_OVER_BYTES: Final = 16 * 1024 * 1024
LOG_TAIL_LINES: Final = 12
# Recovery after a power cut reads up to max_wal_size; nothing is gained by giving up on it early.
START_WITHIN_S: Final = 600
ORPHANS_GONE_WITHIN_S: Final = 10
# Of a postmaster that was killed the back-ends hold its memory, for moments, and who has to bury it may be slow: until
# then its number counts as alive, and so does its lock on the socket.
_STILL_GOING: Final = ("shared memory block", '.lock" already exists')
# The whole server stops within 10 s. What a fast stop has not flushed by then, the next start recovers from the WAL.
FAST_STOP_WITHIN_S: Final = 4
IMMEDIATE_STOP_WITHIN_S: Final = 6  # PostgreSQL gives its back-ends 5 s before it kills them
POLL_S: Final = 0.02
WATCH_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Means:
    """What a start found on this machine."""

    account: Account
    installation: Installation
    socket_dir: Path


class PrivateCluster:
    """PostgreSQL with PostGIS under `data`, for this process alone."""

    def __init__(self, data: Path, *, throwaway: bool = False) -> None:
        self._data = data.resolve()
        self._cluster = self._data / "postgres"
        self._log = self._data / "postgres.log"
        self._throwaway = throwaway
        self._lock: int | None = None
        self._found: _Means | None = None

    async def start(self) -> str:
        """The URL of the superuser's database `tracker`, which has PostGIS; ready when this returns."""
        self._lock = locked(made_data_dir(self._data))
        try:
            await _in_thread(self._prepare)
            if not await self._adopt():
                await self._launch()
            await self._ensure_database()
        except BaseException:
            await self.stop()
            raise
        return self.url()

    async def stop(self) -> None:
        """Stop PostgreSQL and give the data directory back. Stopping twice, or before a start, is harmless."""
        if self._lock is None:
            return
        try:
            await self._shut_down()
        finally:
            if self._found is not None:
                with contextlib.suppress(OSError):  # not empty: somebody else's, or PostgreSQL outlives us
                    self._found.socket_dir.rmdir()
            self._found = None
            os.close(self._lock)
            self._lock = None

    async def keep_running(self) -> None:
        """Until cancelled: start PostgreSQL again whenever it has died, as the kernel kills it when memory is short."""
        while True:
            await asyncio.sleep(WATCH_S)
            if running(self._cluster) is None:
                log.warning("PostgreSQL has ended; starting it again. Its log: %s", self._log)
                try:
                    await self._launch()
                except StoreError as error:
                    log.error("%s", error)  # the next round tries again

    def url(self, database: str = DATABASE) -> str:
        """How asyncpg and psql reach one of its databases."""
        return _url(self._means.socket_dir, database)

    @property
    def _means(self) -> _Means:
        if self._found is None:
            raise StoreError("The private database is not started.")
        return self._found

    def _prepare(self) -> None:
        """Everything before a postmaster is needed: blocking, run in a thread."""
        account = account_for(self._cluster)
        self._require_entry(account)
        installation = choose(installations(), self._major(), self._cluster)
        self._found = _Means(account, installation, socket_dir(self._cluster, account))
        if self._major() is None:
            self._initialise()
        self._configure(self._cluster)

    def _require_entry(self, account: Account) -> None:
        if account.may_enter(self._data):
            return
        closed = next(each for each in (*reversed(self._data.parents), self._data) if not account.may_enter(each))
        raise SetupError(
            f"PostgreSQL runs as the user {account.name}, who may not enter {closed}: choose another directory "
            f"with --data (root's default is {ROOTS_DATA_DIR}), or run: chmod o+x {closed}"
        )

    def _major(self) -> int | None:
        """The version that made the cluster; None when there is none yet."""
        with contextlib.suppress(FileNotFoundError):
            return int((self._cluster / "PG_VERSION").read_text())
        return None

    def _initialise(self) -> None:
        """Made aside and renamed when complete, so that a start cut short leaves nothing half made."""
        account, installation = self._means.account, self._means.installation
        for abandoned in self._data.glob("postgres.unfinished-*"):
            shutil.rmtree(abandoned)
        unfinished = Path(tempfile.mkdtemp(prefix="postgres.unfinished-", dir=self._data))
        account.take(unfinished)
        log.info("Making a PostgreSQL %d database in %s", installation.major, self._cluster)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        options = ["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", locale]
        options += ["--data-checksums", "--no-instructions", *(["--no-sync"] if self._throwaway else [])]
        made = account.run(installation.program("initdb"), "--pgdata", unfinished, *options)
        if made.returncode != 0:
            raise StoreError(f"PostgreSQL could not make its files in {unfinished}: {_last_lines(made.stdout)}")
        self._configure(unfinished)
        unfinished.rename(self._cluster)

    def _configure(self, cluster: Path) -> None:
        means, path = self._means, cluster / "postgresql.conf"
        path.write_text(configuration(means.installation, cluster, means.socket_dir, throwaway=self._throwaway))
        means.account.take(path)

    def _rotate_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > LOG_ROTATED_OVER_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        self._log.touch(mode=0o640)
        self._means.account.take(self._log)

    async def _adopt(self) -> bool:
        """Take over the postmaster of a server that was killed, if it lives.

        It is warm and needs no recovery, whereas stopping it would wait for a checkpoint of all its memory. What the
        dead server's connections were doing is finished or rolled back by PostgreSQL, as after any lost client.
        """
        while (found := running(self._cluster)) is not None:
            if found.status == "ready" and found.socket_dir is not None and found.reachable:
                self._found = dataclasses.replace(self._means, socket_dir=found.socket_dir)
                await _in_thread(self._pg_ctl, "reload")
                return True
            if found.status == "ready":  # alive, but somebody removed its socket
                await self._shut_down()
            await asyncio.sleep(POLL_S)  # starting or stopping: both end by themselves
        return False

    async def _launch(self) -> None:
        deadline = time.monotonic() + ORPHANS_GONE_WITHIN_S
        self._rotate_log()
        disown_pid_file(self._cluster)
        while True:
            log_bytes = self._log.stat().st_size
            start = ("start", "--log", str(self._log), "--wait", "--timeout", str(START_WITHIN_S))
            started = await _in_thread(self._pg_ctl, *start)
            if started.returncode == 0 or await self._adopt():  # a killed server's own launch may have come first
                return
            reason = self._log.read_bytes()[log_bytes:].decode(errors="replace") or started.stdout
            if not any(sign in reason for sign in _STILL_GOING) or time.monotonic() > deadline:
                raise StoreError(f"PostgreSQL did not start; the end of {self._log}:\n{_last_lines(reason)}")
            await asyncio.sleep(POLL_S)

    async def _ensure_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.url())
        except asyncpg.InvalidCatalogNameError:
            await self._create_database()
            connection = await asyncpg.connect(self.url())
        try:
            installed, available = await connection.fetchrow(sql("postgis_versions"))
            if installed is None:
                await connection.execute(sql("create_postgis"))
            elif installed != available:
                await connection.execute(sql("update_postgis"))
        finally:
            await connection.close()

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(sql("create_database"))
        finally:
            await connection.close()

    async def _shut_down(self) -> None:
        if self._found is None or running(self._cluster) is None:
            return
        stop = ("stop", "--wait", "--timeout")
        stopped = await _in_thread(self._pg_ctl, *stop, str(FAST_STOP_WITHIN_S), "--mode", "fast")
        if stopped.returncode != 0:
            await _in_thread(self._pg_ctl, *stop, str(IMMEDIATE_STOP_WITHIN_S), "--mode", "immediate")

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        pg_ctl = self._means.installation.program("pg_ctl")
        return self._means.account.run(pg_ctl, "--silent", "--pgdata", self._cluster, *arguments)


def url_of_running(data: Path) -> str | None:
    """How to reach the private database of a server that runs on this data directory now; None when none does."""
    found = running(data.resolve() / "postgres")
    if found is None or found.status != "ready" or found.socket_dir is None or not found.reachable:
        return None
    return _url(found.socket_dir, DATABASE)


def _url(socket_dir: Path, database: str) -> str:
    return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(socket_dir), safe='/')}&port=5432"


async def _in_thread(step: Callable[..., T], *arguments: str) -> T:
    """A blocking step that is never left half done: cancelled, it still ends before the cancellation goes on."""
    task = asyncio.ensure_future(asyncio.to_thread(step, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LOG_TAIL_LINES:])
