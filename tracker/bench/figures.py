"""What was measured: figures of several rounds with their goal and their limit, and the summary of many latencies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

Better = Literal["more", "less"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; of nothing, all are 0."""

    count: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


def latency(seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[round((len(ordered) - 1) * share)] * 1000 if ordered else 0.0

    return Latency(len(ordered), at(0.5), at(0.9), at(0.95), at(0.99), at(1.0))


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: the rounds' values, what was hoped for, and what the machine could do at best."""

    what: str
    values: Sequence[float]
    unit: str
    better: Better
    goal: float | None = None
    limit: float | None = None
    limit_is: str = ""

    @property
    def seen(self) -> float:
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """To the limit: of a rate at most about 1, of a time at least about 1."""
        return self.seen / self.limit if self.limit else None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.seen >= self.goal if self.better == "more" else self.seen <= self.goal

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "seen": self.seen, "ratio": self.ratio, "met": self.met}


@dataclass(slots=True)
class Section:
    """One benchmark's figures, and in words what has to be known to read them."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: bool = False

    def plain(self) -> dict[str, Any]:
        figures = [each.plain() for each in self.figures]
        return {"title": self.title, "figures": figures, "notes": self.notes, "failed": self.failed}
