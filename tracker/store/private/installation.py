"""Where this machine keeps a PostgreSQL that has PostGIS, and the line to run when it keeps none.

A PostgreSQL without PostGIS does not count: it is as if it were not there.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracker.errors import SetupError

OLDEST_MAJOR: Final = 15
PROGRAMS: Final = ("postgres", "initdb", "pg_ctl", "pg_config")
PLACES: Final = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu and their derivatives
    "/usr/pgsql-*/bin",  # the PostgreSQL project's RPMs
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """One PostgreSQL with PostGIS."""

    bindir: Path
    major: int
    lz4: bool

    def program(self, name: str) -> str:
        return str(self.bindir / name)


def installations(places: Iterable[str] = PLACES) -> list[Installation]:
    """All that are new enough, the newest first."""
    found = (_inspect(bindir) for bindir in _bindirs(places))
    usable = (each for each in found if each is not None and each.major >= OLDEST_MAJOR)
    return sorted(usable, key=lambda each: each.major, reverse=True)


def choose(found: list[Installation], cluster_major: int | None, cluster: Path) -> Installation:
    """The newest for a new cluster; for one that exists only the version that made it can read it."""
    if not found:
        raise SetupError(f"PostgreSQL {OLDEST_MAJOR} or newer with PostGIS is missing; run: {install_line()}")
    if cluster_major is None:
        return found[0]
    for each in found:
        if each.major == cluster_major:
            return each
    present = ", ".join(str(each.major) for each in found)
    raise SetupError(
        f"The database in {cluster} was made by PostgreSQL {cluster_major}; this machine has {present} with PostGIS. "
        f"Install PostgreSQL {cluster_major} with PostGIS ({install_line(cluster_major)}), "
        "or start with another --data directory."
    )


def install_line(major: int | None = None) -> str:
    """What the owner of this machine has to run; of a certain version, or of the system's own."""
    if sys.platform == "darwin":
        return f"brew install postgresql@{major or 17} postgis"
    if shutil.which("apt-get") is None:
        return "the package manager, to install the PostgreSQL server and PostGIS"
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = f"postgresql-{major}-postgis-3" if major else "postgresql-postgis"
    return f"{sudo}apt-get update && {sudo}apt-get install -y {packages}"


def _bindirs(places: Iterable[str]) -> Iterator[Path]:
    """Each folder once, in no special order."""
    on_path = {Path(found).parent for program in PROGRAMS if (found := shutil.which(program))}
    in_places = {match for pattern in places for match in Path("/").glob(pattern.lstrip("/"))}
    for bindir in sorted({each.resolve() for each in on_path | in_places}):
        if all(os.access(bindir / program, os.X_OK) for program in PROGRAMS):
            yield bindir


def _inspect(bindir: Path) -> Installation | None:
    """What its pg_config says; None without PostGIS."""
    command = [str(bindir / "pg_config"), "--version", "--sharedir", "--configure", "--libs"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    version, sharedir, *build = answer.stdout.splitlines() or ["", ""]
    major = re.match(r"PostgreSQL (\d+)", version)
    if major is None or not (Path(sharedir) / "extension" / "postgis.control").exists():
        return None
    return Installation(bindir, int(major[1]), lz4="lz4" in " ".join(build))
