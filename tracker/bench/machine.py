"""What the figures were measured on, as far as it decides about them."""

import os
import platform
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tracker import __version__
from tracker.bench.target import OwnServer
from tracker.store.database import connect
from tracker.store.sql import sql


@dataclass(frozen=True, slots=True)
class Machine:
    """load: runnable processes a core in the last minute, before anything was started here."""

    cpu: str
    cores: int
    memory_gb: float | None
    kernel: str
    python: str
    tracker: str
    postgresql: str
    disk: str
    load: float

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def lines(self) -> list[str]:
        memory = "" if self.memory_gb is None else f", {self.memory_gb:.0f} GB"
        busy = (
            "quiet" if self.load < 0.1 else f"busy with something else: load {self.load:.2f} a core, so read the ratios"
        )
        return [
            f"{self.cpu}, {self.cores} cores{memory}; {self.kernel}; {busy}",
            f"Python {self.python}, tracker {self.tracker}, PostgreSQL {self.postgresql} on {self.disk}",
        ]


def machine() -> Machine:
    """Asked before the first server is started; PostgreSQL is asked when there is one."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=_memory_gb(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        tracker=__version__,
        postgresql="of the server",
        disk="its own disk",
        load=os.getloadavg()[0] / (os.cpu_count() or 1),
    )


async def postgresql(server: OwnServer) -> str:
    """The version of the database of a server of our own."""
    url = server.database_url
    assert url is not None
    connection = await connect(url)
    try:
        return str(await connection.fetchval(sql("bench_postgresql")))
    finally:
        await connection.close()


def disk() -> str:
    """The file system of temporary folders; one in memory would make every commit free."""
    mounts = _text("/proc/mounts").splitlines()
    here = Path(tempfile.gettempdir()).resolve()
    below = [each.split() for each in mounts if here.is_relative_to(each.split()[1])]
    kind = max(below, key=lambda each: len(each[1]), default=["", "", "an unknown file system"])[2]
    return f"{kind}, which is memory: commits cost nothing there (set TMPDIR)" if kind in ("tmpfs", "ramfs") else kind


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) / 1024**2 if found else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
