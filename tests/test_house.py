"""The house rules that a machine can check, about the files themselves."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

from tracker.store.sql import read_queries

ROOT = Path(__file__).parent.parent
TOP_LEVEL = {
    *("tracker", "web", "sql", "tests", "docker", "docs"),
    *("pyproject.toml", "requirements.lock", "Makefile", "README.md", "CHANGELOG.md", "LICENSE"),
}
MADE = {".venv", ".git", "node_modules", "dist", "__pycache__", "build"}
QUERY_CALLS = {"sql", "row", "rows"}
SQL_STATEMENT = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|WITH|COPY|LOCK|NOTIFY)\s+\w")
# Somebody's machine: a path under a home, or to what lies beside the checkout.
FOREIGN_PATH = re.compile(r"(?<![\w./-])/(work|root|Users)/\w|\.\./shared\b")


def files(*suffixes: str) -> Iterator[Path]:
    """What is written by hand: nothing that is hidden, installed or built."""
    for entry in sorted(ROOT.iterdir()):
        if entry.is_file() and entry.suffix in suffixes:
            yield entry
        elif entry.is_dir() and entry.name not in MADE and not entry.name.startswith("."):
            yield from (each for each in _below(entry) if each.suffix in suffixes)


def _below(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and entry.name not in MADE and not entry.name.startswith("."):
            yield from _below(entry)
        elif entry.is_file():
            yield entry


@cache
def python_nodes() -> list[tuple[Path, ast.Constant | ast.Call]]:
    """Every constant and call of every module, and the module."""
    return [
        (path.relative_to(ROOT), node)
        for path in sorted((ROOT / "tracker").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant | ast.Call)
    ]


def texts() -> Iterator[tuple[Path, int, str]]:
    for path, node in python_nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield path, node.lineno, node.value


def queries_asked_for() -> Iterator[tuple[str, Path]]:
    """The constant names given to `sql` and to the database's methods, and the module that asks."""
    for path, node in python_nodes():
        if isinstance(node, ast.Call) and node.args and _called(node) in QUERY_CALLS:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value, path


def _called(node: ast.Call) -> str | None:
    """The last part of the name."""
    return getattr(node.func, "attr", None) or getattr(node.func, "id", None)


def test_the_top_level_stays_small() -> None:
    present = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert present <= TOP_LEVEL


def test_sql_stands_in_files_and_not_in_python() -> None:
    found = [
        f"{path}:{line}: {text[:60]!r}"
        for path, line, text in texts()
        if SQL_STATEMENT.match(text) and path.parts[1] != "sdk"  # its SQLite is its own, and it ships without sql/
    ]
    assert not found


def test_every_query_that_is_asked_for_exists() -> None:
    known = read_queries(ROOT / "sql" / "queries")
    assert [f"{path}: {name}" for name, path in queries_asked_for() if name not in known] == []


def test_every_query_is_asked_for() -> None:
    named = {text for _, _, text in texts()}
    beginnings = tuple(text for text in named if re.fullmatch("[a-z]+_[a-z_]*_", text))  # of f"events_of_{what}"
    unused = read_queries(ROOT / "sql" / "queries").keys() - named
    assert [name for name in sorted(unused) if not name.startswith(beginnings)] == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files(
            ".py", ".md", ".sql", ".ts", ".tsx", ".js", ".mjs", ".toml", ".yaml", ".html", ".css", ".sh", ""
        )
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if FOREIGN_PATH.search(line)
    ]
    assert not found


def test_the_lock_holds_hashes_of_everything_asked_for_and_the_address_of_nothing() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    assert {Requirement(each).name for each in asked} - {project["name"]} <= locked
    assert lock.count("==") <= lock.count("--hash=sha256:")
    assert "://" not in lock
