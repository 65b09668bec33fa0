"""`tracker serve` as a process of its own, which can be killed, stopped and started again on the same data."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.integration.api import ADMIN

READY_WITHIN_S: Final = 90.0  # initdb and PostGIS, on a machine that does much else
TRACKER: Final = Path(sys.executable).with_name("tracker")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Served:
    """One server; its log grows over all its starts."""

    def __init__(self, data: Path, database: str | None = None, port: int | None = None) -> None:
        self.data = data
        self.database = database
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data / f"served-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it, and wait for nothing."""
        command = [str(TRACKER), "serve", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data)]
        if self.database is not None:
            command += ["--database", self.database]
        environment = {**os.environ, "TRACKER_ADMIN_TOKEN": ADMIN, "TRACKER_HOOKS_ALLOW": "127.0.0.0/8"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return self.process

    async def start(self, http: ClientSession) -> None:
        """Start it and wait until it takes fixes."""
        self.spawn()
        await self.wait_ready(http)

    async def wait_ready(self, http: ClientSession, within_s: float = READY_WITHIN_S) -> None:
        async with asyncio.timeout(within_s):
            while not await self._ready(http):
                assert self.running.poll() is None, f"tracker serve ended by itself:\n{self.said()}"
                await asyncio.sleep(0.05)

    async def _ready(self, http: ClientSession) -> bool:
        try:
            async with http.get(self.url + "/readyz", timeout=ClientTimeout(total=2)) as response:
                return response.status == 200
        except (ClientError, TimeoutError):
            return False

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def kill(self) -> None:
        """As the kernel kills, or a power cut."""
        self.running.kill()
        self.running.wait()

    async def stop(self) -> float:
        """As an operator stops it; returns how many seconds it took."""
        started = time.monotonic()
        self.running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.running.wait, 60)
        return time.monotonic() - started

    async def ended(self) -> int:
        """Waits for an end that nobody asked for; returns the exit code."""
        return await asyncio.to_thread(self.running.wait, 60)

    def said(self) -> str:
        """What it wrote, without the line breaks that a terminal's width brings."""
        return self.log.read_text(errors="replace")

    def status(self, name: str) -> int:
        """A number of kilobytes from the kernel's view of the process, in bytes."""
        text = Path(f"/proc/{self.running.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    @property
    def rss_bytes(self) -> int:
        return self.status("VmRSS")

    def postmaster(self) -> int:
        """The process id of its private PostgreSQL."""
        return int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])

    def close(self) -> None:
        """End what is left of it, a database that outlived its server included."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        if (self.data / "postgres" / "postmaster.pid").exists():
            _quit(self.postmaster())


def _quit(postmaster: int) -> None:
    try:
        os.kill(postmaster, signal.SIGQUIT)
        while Path(f"/proc/{postmaster}").exists():
            time.sleep(0.02)
    except ProcessLookupError:
        pass
