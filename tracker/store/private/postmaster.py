"""What runs in a cluster's directory: the postmaster, as its pid file and the operating system tell.

A pid in a file may be an old one that another program has since been given; only a process that works in
this very directory is believed.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PID_FILE: Final = "postmaster.pid"
PROCESSES: Final = Path("/proc")  # macOS has none, and always has ps


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A live one. `status` is `starting`, `ready` or `stopping`; it is empty in its first moments."""

    pid: int
    socket_dir: Path | None
    status: str

    @property
    def reachable(self) -> bool:
        return self.socket_dir is not None and (self.socket_dir / ".s.PGSQL.5432").exists()


def running(cluster: Path) -> Postmaster | None:
    """The postmaster of this cluster, if one lives."""
    try:
        lines = (cluster / PID_FILE).read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if not _works_in(pid, cluster):
        return None
    # Line 5 is the socket's directory, line 8 the state; they are added while the postmaster starts.
    socket_dir = Path(lines[4]) if len(lines) > 4 and lines[4] else None
    return Postmaster(pid, socket_dir, lines[7].strip() if len(lines) > 7 else "")


def disown_pid_file(cluster: Path) -> None:
    """Help PostgreSQL see that a left-over pid file is stale when another program has been given its number.

    The file stays: its other lines let PostgreSQL find back-ends that outlived their postmaster. Our own pid is
    one that it knows to be stale, for pg_ctl names its parent to it.
    """
    path = cluster / PID_FILE
    try:
        first, *rest = path.read_text().splitlines()
        pid = int(first)
    except FileNotFoundError:
        return
    except ValueError:  # its writer was killed between making and filling it, and PostgreSQL refuses such a file
        path.unlink()
        return
    if pid > 0 and _is_alive(pid) and running(cluster) is None:
        path.write_text("\n".join([str(os.getpid()), *rest]) + "\n")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _works_in(pid: int, directory: Path) -> bool:
    """A postmaster's working directory is its cluster, and -D names it on its command line."""
    if pid <= 0:
        return False
    if PROCESSES.is_dir():
        try:
            return (PROCESSES / str(pid) / "cwd").readlink() == directory.resolve()
        except OSError:  # no such process, or another user's
            return False
    command = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "postgres" in command.stdout and str(directory.resolve()) in command.stdout
