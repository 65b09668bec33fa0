"""One table of all benchmarks, for people; and the same as JSON, for comparisons."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tracker.bench.figures import Figure, Section
from tracker.bench.machine import Machine


def show(console: Console, machine: Machine, sections: Sequence[Section]) -> None:
    """As Markdown, which reads well on a terminal, too."""
    for line in machine.lines:
        console.print(line, highlight=False, soft_wrap=True)
    for section in sections:
        console.print(f"\n## {section.title}\n", highlight=False, markup=False)
        if section.figures:
            console.print(_table(section.figures), soft_wrap=True)
        for note in section.notes:
            console.print(f"\n{note}", highlight=False, markup=False, soft_wrap=True)


def _table(figures: Sequence[Figure]) -> Table:
    limits = any(each.limit is not None for each in figures)
    table = Table(box=box.MARKDOWN)
    for name in ("what", "seen", "from … to", "goal", "", *(("limit", "ratio", "the limit is") if limits else ())):
        table.add_column(name, no_wrap=True, justify="left" if name in ("what", "", "the limit is") else "right")
    for each in figures:
        spread = f"{number(min(each.values))} … {number(max(each.values))}" if len(each.values) > 1 else ""
        goal = "" if each.goal is None else f"{'≥' if each.better == 'more' else '≤'} {number(each.goal)}"
        met = {True: "met", False: "missed", None: ""}[each.met]
        limit = "" if each.limit is None else number(each.limit)
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        table.add_row(
            each.what,
            f"{number(each.seen)} {each.unit}",
            spread,
            goal,
            met,
            *((limit, ratio, each.limit_is) if limits else ()),
        )
    return table


def number(value: float) -> str:
    """With as many digits as mean something: three, and thousands apart."""
    if value == 0 or abs(value) >= 100:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def plain(machine: Machine, sections: Sequence[Section]) -> dict[str, Any]:
    """Everything, for --json."""
    return {"machine": machine.plain(), "benchmarks": [each.plain() for each in sections]}
