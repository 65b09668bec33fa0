"""The server that is measured: one that runs already, reached by its URL; or one of our own, with a database of its own
that goes with it.
"""

import asyncio
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from tracker.bench.websocket import Address
from tracker.errors import SetupError, TrackerError
from tracker.store.private import url_of_running

READY_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.02
ANSWER_WITHIN_S: Final = 300.0

PROC: Final = Path("/proc/self/stat").exists()  # Linux; elsewhere only what /metrics tells

_SERVE: Final = "from tracker.cli import main; main()"


class Target:
    """The public interface of the server, with an admin's token. Of a server of our own also what its process uses."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = URL(url.rstrip("/")), token
        if self.url.scheme != "http" or self.url.host is None:
            raise SetupError(
                f"--url {url}: it must be http://host:port; measure beside the server, not through a proxy."
            )
        self.session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        )

    @property
    def address(self) -> Address:
        assert self.url.host is not None
        assert self.url.port is not None
        return Address(self.url.host, self.url.port)

    @property
    def own(self) -> bool:
        return False

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the answer.

        Raises:
            TrackerError: it cannot be reached, or says no.
        """
        data = None if body is None else msgspec.json.encode(body)
        content = await self.read(method, path, data)
        return msgspec.json.decode(content) if content else None

    async def read(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """The bytes of the answer, to the last."""
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self.session.request(
                method, URL(f"{self.url}{path}", encoded=True), data=data, headers=headers
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackerError(f"there is no server at {self.url} ({error}); start one with: tracker serve") from error
        if not answer.ok:
            raise TrackerError(
                f"{method} {path.partition('?')[0]} was answered {answer.status}: {content[:300].decode()}"
            )
        return content

    async def metrics(self) -> dict[str, float]:
        """Of /metrics, without labels."""
        lines = (await self.read("GET", "/metrics")).decode().splitlines()
        pairs = (line.split() for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    async def rss_bytes(self) -> float | None:
        """What the server's process holds in memory; None if it does not tell."""
        return (await self.metrics()).get("process_resident_memory_bytes")

    async def cpu_s(self) -> float | None:
        """What the server's process has used so far; None if it does not tell."""
        return (await self.metrics()).get("process_cpu_seconds_total")

    async def close(self) -> None:
        await self.session.close()


class OwnServer(Target):
    """`tracker serve` as a process, on a free port, with everything in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16))
        self.folder = folder
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def own(self) -> bool:
        return True

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> float:
        """Start it; how many seconds it took until it was ready for fixes."""
        started = time.monotonic()
        await asyncio.to_thread(self._spawn)
        while not await self._ready():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > started + READY_WITHIN_S:
                said = await asyncio.to_thread(self.log.read_text)
                raise TrackerError(f"the server of the benchmark did not start: {said[-1000:]}")
            await asyncio.sleep(LOOK_EVERY_S)
        return time.monotonic() - started

    def _spawn(self) -> None:
        command = [sys.executable, "-c", _SERVE, "serve", "--listen", f"127.0.0.1:{self.url.port}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRACKER_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--data", str(self.folder)],
                env={**environment, "TRACKER_ADMIN_TOKEN": self.token},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C is ours: we end it when the load is gone
            )  # fmt: skip

    async def _ready(self) -> bool:
        try:
            async with self.session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def stop(self) -> None:
        """Ask it to end, in the end kill it; returns when it is gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
            self._process = None

    async def remove(self) -> None:
        """The server, its database, and everything that they wrote."""
        await self.stop()
        if self.database_url is not None:  # it was killed: only a server stops its database
            await self.start()
            await self.stop()
        await self.close()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def database_url(self) -> str | None:
        return url_of_running(self.folder)

    @property
    def _postmaster(self) -> int:
        return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])

    async def rss_bytes(self) -> float | None:
        return resident_bytes(self.pid) or await super().rss_bytes()

    async def cpu_s(self) -> float | None:
        return _cpu_s(self.pid) if PROC else await super().cpu_s()

    def database_cpu_s(self) -> float | None:
        """All of its PostgreSQL, what has ended included."""
        if not PROC:
            return None
        postmaster = self._postmaster
        children = [each for each in _processes() if _stat(each)[1] == str(postmaster)]
        ended = sum(map(float, _stat(postmaster)[13:15])) / os.sysconf("SC_CLK_TCK")
        return ended + sum(_cpu_s(each) for each in (postmaster, *children))


@asynccontextmanager
async def own_server() -> AsyncIterator[OwnServer]:
    """Started; ended and removed afterwards, also when its server was killed and left its database behind."""
    server = OwnServer(await asyncio.to_thread(_folder))
    try:
        await server.start()
        yield server
    finally:
        removing = asyncio.create_task(server.remove(), name="remove-server")
        try:
            await asyncio.shield(removing)
        except asyncio.CancelledError:  # who ends us twice waits, too: a database would be left behind
            await removing
            raise


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tracker-bench-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    return folder


def resident_bytes(pid: int) -> float | None:
    """From the kernel's view of a process, where it can be read."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024.0 if found else None


def _processes() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields after the name: state, parent, … (see proc(5)); of a process that has just ended, empty ones."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 20


def _cpu_s(pid: int) -> float:
    return sum(map(float, _stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
