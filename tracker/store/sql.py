"""The named queries of sql/queries: all SQL of this program stands in files, under names.

A file holds blocks. `-- name: some_query` opens one; comment lines that follow describe it; the rest is the query.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tracker.resources import resource_dir

NAME_LINE = re.compile(r"^--\s*name:\s*(\S*)\s*$")
NAME = re.compile(r"[a-z][a-z0-9_]*")


class UnknownQuery(LookupError):
    """A name that no file has: a mistake in the program, not of its user."""


def sql(name: str) -> str:
    """The query of that name."""
    queries = _queries()
    if name not in queries:
        near = difflib.get_close_matches(name, queries, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UnknownQuery(f"No file in sql/queries has a query named {name}{hint}")
    return queries[name]


def read_queries(directory: Path) -> Mapping[str, str]:
    """Every query under a directory; a name used twice, an empty query and stray text are refused."""
    found: dict[str, str] = {}
    for path in sorted(directory.glob("*.sql")):
        for name, text in _blocks(path):
            if name in found:
                raise ValueError(f"{path}: a second query named {name}")
            found[name] = text
    return found


@cache
def _queries() -> Mapping[str, str]:
    return read_queries(resource_dir("sql") / "queries")


def _blocks(path: Path) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := NAME_LINE.match(line):
            yield from _block(path, name, lines)
            name, lines = heading[1], []
            if not NAME.fullmatch(name):
                raise ValueError(f"{path}: a query's name is lower_snake_case, not {name!r}")
        elif lines or not line.startswith("--"):  # comments before the first line of SQL are the description
            lines.append(line)
    yield from _block(path, name, lines)


def _block(path: Path, name: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    text = "\n".join(lines).strip()
    if name and not text:
        raise ValueError(f"{path}: the query {name} is empty")
    if text and not name:
        raise ValueError(f"{path}: text before the first `-- name:` line")
    if name:
        yield name, text
