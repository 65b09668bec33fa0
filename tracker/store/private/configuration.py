"""postgresql.conf, fitted to the machine: memory, disk, and what this build of PostgreSQL knows.

Written anew at every start. What an owner wants otherwise is said with ALTER SYSTEM, which PostgreSQL keeps in
a file of its own that is read last.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from tracker.store.private.installation import Installation

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
HEADER: Final = "# Written at every start. Change settings with ALTER SYSTEM: that is kept, and read after this file.\n"
# Where a container says how much memory it may use: control groups version 2, then 1.
MEMORY_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def configuration(installation: Installation, cluster: Path, socket_dir: Path, *, throwaway: bool) -> str:
    """The whole file. `throwaway` is for tests: little memory, and no promise after a power cut."""
    sized = _small() if throwaway else _sized(usable_memory_bytes(), shutil.disk_usage(cluster).total)
    settings = _common(socket_dir) | sized | (_lz4() if installation.lz4 else {})
    return HEADER + "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def usable_memory_bytes() -> int:
    """The machine's memory, or the part of it that this container may use."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    texts = [path.read_text().strip() for path in MEMORY_LIMITS if path.exists()]
    return min([machine, *(int(text) for text in texts if text.isdigit())])


def _common(socket_dir: Path) -> dict[str, str]:
    return {
        "listen_addresses": "",
        "port": "5432",  # only part of the socket's name
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "max_connections": "40",
        "huge_pages": "try",
        "jit": "off",  # our statements are short; compiling them costs more than running them
        "synchronous_commit": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "log_checkpoints": "off",
        "log_min_error_statement": "panic",  # statements and details carry people's positions: keep them out of the log
        "log_error_verbosity": "terse",
    }


def _sized(memory_bytes: int, disk_bytes: int) -> dict[str, str]:
    wal_bytes = min(max(disk_bytes // 16, GIB // 2), 8 * GIB)
    return {
        "shared_buffers": _mib(min(max(memory_bytes // 4, 128 * MIB), 4 * GIB)),
        "effective_cache_size": _mib(max(memory_bytes // 2, 256 * MIB)),
        "max_wal_size": _mib(wal_bytes),
        "min_wal_size": _mib(wal_bytes // 8),  # segments kept for use again: making new ones costs commits their calm
        "fsync": "on",
        "full_page_writes": "on",
    }


def _small() -> dict[str, str]:
    return {
        "shared_buffers": _mib(64 * MIB),
        "max_wal_size": _mib(GIB),
        "fsync": "off",
        "full_page_writes": "off",
    }


def _lz4() -> dict[str, str]:
    """lz4 wherever pglz is the default: four times cheaper for what a journal row holds."""
    return {"wal_compression": "lz4", "default_toast_compression": "lz4"}


def _mib(size_bytes: int) -> str:
    return f"{size_bytes // MIB}MB"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
