"""Mutation check: breaks comparisons of the engine one by one and asks the tests whether they notice. `make mutants`.

Each mutation is applied to a copy of the project, never to the project itself. A mutation that no example notices is a
missing test; one whose original text is gone is a mistake in this list: either ends with exit code 1.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
ENGINE: Final = "tracker/domain"
COPIED: Final = ("tracker", "tests", "sql", "pyproject.toml")
AT_ONCE: Final = 2
FAILED_TESTS: Final = 1  # pytest's exit code

JUDGING: Final = ("test_presence.py", "test_judge.py", "test_geofence.py")
RULE: Final = ("test_judge.py",)
FOLDING: Final = ("test_fold.py", "test_why.py")
SHAPES: Final = ("test_edge.py", "test_chord.py", "test_shape.py")
SCHEDULES: Final = ("test_schedule.py", "test_calendar.py")
MOTION: Final = ("test_motion.py",)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed text, what it breaks, and the tests (below tests/domain) that should say so."""

    file: str
    original: str
    changed: str
    breaks: str
    tests: tuple[str, ...]


MUTANTS: Final = (
    # Which fixes count
    Mutant("presence.py", "(lon == x) & (lat > y)", "(lon == x) & (lat >= y)", "a repeat counts anew", JUDGING),
    Mutant("presence.py", "(time_ms > t) |", "(time_ms < t) |", "what is late decides", JUDGING),
    Mutant("judge.py", "before |= equal & (here < there)", "before |= equal & (here <= there)",
           "the newest fix again is late", JUDGING),
    Mutant("judge.py", "(newest.seen[asset] < newest_since)", "(newest.seen[asset] <= newest_since)",
           "a repeat is late though nothing was made since", JUDGING),
    Mutant("judge.py", "(steps.seen_before[at] < index.since_batch(fence))",
           "(steps.seen_before[at] <= index.since_batch(fence))", "initial of one seen before", JUDGING),
    Mutant("judge.py", "np.lexsort((fence, kind, columns.lat", "np.lexsort((kind, fence, columns.lat",
           "exits do not stand before enters", JUDGING),
    Mutant("judge.py", "trusted = trusted[flags == 0]", "trusted = trusted[flags >= 0]", "jumps decide", JUDGING),
    # What one fix says
    Mutant("evidence.py", "(away_m < accuracy[at] / 10)", "(away_m <= accuracy[at] / 10)",
           "an edge as far as the error is unsure", RULE),
    Mutant("evidence.py", "(away_m <= rule.exit_margin_m)", "(away_m < rule.exit_margin_m)",
           "the end of the exit margin is outside", RULE),
    Mutant("evidence.py", "beyond |= alt_m < low", "beyond |= alt_m <= low", "the floor is below itself", RULE),
    Mutant("evidence.py", "beyond |= alt_m > high", "beyond |= alt_m >= high", "the ceiling is above itself", RULE),
    Mutant("evidence.py", "asked |= ~held[mine]", "asked |= held[mine]", "the exit margin lies inside", RULE),
    # From what fixes say to events
    Mutant("transition.py", "entry.run < confirm_fixes", "entry.run <= confirm_fixes",
           "one fix too many confirms", RULE),
    Mutant("transition.py", "said.time_ms - entry.run_start_ms < confirm_s * 1000",
           "said.time_ms - entry.run_start_ms <= confirm_s * 1000", "a run of just confirm_s is too short", RULE),
    Mutant("transition.py", "said.time_ms >= full_ms", "said.time_ms > full_ms", "a dwell a fix too late", RULE),
    Mutant("transition.py", "said.speed_mps <= limit_mps", "said.speed_mps < limit_mps", "the limit is too fast", RULE),
    Mutant("transition.py", "said.time_ms - entry.haste_ms >= over_for_s", "said.time_ms - entry.haste_ms > over_for_s",
           "haste a fix too late", RULE),
    Mutant("transition.py", "entry.absent_ms >= said.occurrence_ms", "entry.absent_ms > said.occurrence_ms",
           "an absence told twice", RULE),
    Mutant("transition.py", "not entry.inside and entry.run == 0", "not entry.inside and entry.run >= 0",
           "a cross while a run is under way", FOLDING),
    Mutant("crossing.py", "(says == OUT) & (steps.gap_ms(step)", "(says != IN) & (steps.gap_ms(step)",
           "a cross from a fix that says nothing", RULE),
    Mutant("crossing.py", "(steps.gap_ms(at) <= index.max_gap_ms(fence))",
           "(steps.gap_ms(at) < index.max_gap_ms(fence))", "max_gap_s itself is too long", RULE),
    Mutant("crossing.py", "& (steps.prev_batch[at] >= index.since_batch(fence))",
           "& (steps.prev_batch[at] > index.since_batch(fence))", "the first batch of a geofence has no chord", RULE),
    # Shapes
    Mutant("edge.py", "(np.maximum(y0, y1) < self._south[run])", "(np.maximum(y0, y1) <= self._south[run])",
           "a chord along an edge touches nothing", SHAPES),
    Mutant("edge.py", "(np.minimum(x0, x1) > self._east[run])", "(np.minimum(x0, x1) >= self._east[run])",
           "a chord along an eastern edge touches nothing", SHAPES),
    Mutant("edge.py", "beyond <= 180", "beyond <= 0", "the edge is not seen over the antimeridian", SHAPES),
    Mutant("chord.py", "np.where(span > 180,", "np.where(span >= 180,", "half a turn goes west", SHAPES),
    Mutant("chord.py", "np.where(gap_near > gap_far, near, low)", "np.where(gap_near < gap_far, near, low)",
           "the nearest place of a chord is sought elsewhere", SHAPES),
    Mutant("index.py", "== tree.versions[place]", ">= tree.versions[place]", "an old version goes on judging", JUDGING),
    Mutant("index.py", "over = east - west > 180", "over = east - west > 360",
           "a chord over the antimeridian crosses the rest of the world", JUDGING),
    Mutant("geofence.py", "return asset in self.ids or not self.tags.isdisjoint(tags)",
           "return asset in self.ids and not self.tags.isdisjoint(tags)", "ids and tags must both fit", JUDGING),
    # Judging again
    Mutant("fold.py", "sees = (version >= 0) & (takes_all | trusted)", "sees = (version > 0) & (takes_all | trusted)",
           "the first version sees nothing", FOLDING),
    Mutant("fold.py", "end = bisect_right(keys, turning.key)", "end = bisect_right(keys, turning.key) - 1",
           "a change stands before its fix", FOLDING),
    Mutant("fold.py", "epoch[1:] != epoch[:-1]", "epoch[1:] > epoch[:-1]", "one version judges what another should",
           FOLDING),
    Mutant("fold.py", "like_it = (at[0] == held_up[0])", "like_it = (at[0] > held_up[0])",
           "what repeats a doubted fix is not doubted", FOLDING),
    Mutant("revision.py", "v.enter_ms == entered_ms", "v.enter_ms != entered_ms", "a visit under way is lost",
           ("test_revision.py",)),
    Mutant("revision.py", "if v.exit_event not in replaced), None)", "if v.exit_event in replaced), None)",
           "a visit ends with an event that is no more", ("test_revision.py",)),
    Mutant("revision.py", "elif turn.kind == EXIT and current is not None", "elif current is not None",
           "a dwell ends a visit", ("test_revision.py",)),
    Mutant("revision.py", "return each.time_ms, each.lon, each.lat, each.initial, each.cause, each.crossed",
           "return each.time_ms, each.lon, each.lat, each.initial, each.cause", "no event ever stays as it was",
           ("test_revision.py",)),
    # Doubts, schedules, motion, silence
    Mutant("plausibility.py", "0 < count < BELIEVED_AFTER", "0 < count <= BELIEVED_AFTER",
           "only the fourth fix is believed", ("test_plausibility.py",)),
    Mutant("plausibility.py", "elif speed > _MOVING_OVER and", "elif speed >= _MOVING_OVER and",
           "a stale repeat at 1 m/s", ("test_plausibility.py",)),
    Mutant("schedule.py", "(time_ms < self.ends_ms[at])", "(time_ms <= self.ends_ms[at])", "the end is within",
           SCHEDULES),
    Mutant("schedule.py", "starts[1:] > reached[:-1]", "starts[1:] >= reached[:-1]", "windows that touch are two",
           SCHEDULES),
    Mutant("schedule.py", "return change if change <= after_ms", "return change if change < after_ms",
           "a boundary at the very instant is missed", SCHEDULES),
    Mutant("motion/stay.py", "time_ms[lasts] - self._fixes.time_ms[firsts] >= self._rule",
           "time_ms[lasts] - self._fixes.time_ms[firsts] > self._rule", "a stop of just min_stop_s is none", MOTION),
    Mutant("motion/trips.py", "np.diff(self._fixes.time_ms) <= self._rule", "np.diff(self._fixes.time_ms) < self._rule",
           "max_gap_s itself cuts a trip", MOTION),
    Mutant("motion/survey.py", "prepend=before_ms) > LONGEST", "prepend=before_ms) >= LONGEST",
           "the longest silence that is looked across is not", MOTION),
    Mutant("motion/state.py", "evidence.age_s > rule.max_gap_s", "evidence.age_s >= rule.max_gap_s",
           "just max_gap_s is silence", MOTION),
    Mutant("reachability.py", "np.where(now_ms < silent_at", "np.where(now_ms <= silent_at",
           "silent a millisecond late", ("test_reachability.py",)),
    Mutant("reachability.py", "np.where(self.sockets[devices] > 0", "np.where(self.sockets[devices] > 1",
           "an open socket goes offline", ("test_reachability.py",)),
)  # fmt: skip


class Copies:
    """Copies of the project, one for each that runs at a time."""

    def __init__(self, folder: Path) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            copy = folder / str(number)
            copy.mkdir()
            for name in COPIED:
                _copy(ROOT / name, copy / name)
            self._free.put(copy)

    @contextmanager
    def one(self) -> Iterator[Path]:
        copy = self._free.get()
        yield copy
        self._free.put(copy)


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy2(source, target)
    else:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "shots"))


@contextmanager
def applied(mutant: Mutant, copy: Path) -> Iterator[None]:
    path = copy / ENGINE / mutant.file
    text = path.read_text(encoding="utf-8")
    _write(path, text.replace(mutant.original, mutant.changed))
    yield
    _write(path, text)


def _write(path: Path, text: str) -> None:
    """A cached form is told from its source by size and second, which may be the same here."""
    path.write_text(text, encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def failing_test(copy: Path, tests: tuple[str, ...]) -> str | None:
    """The first example that fails, None if all pass. Properties are left out: what they notice depends on luck."""
    command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "-m", "not hypothesis"]
    ran = subprocess.run(
        [*command, *(f"tests/domain/{name}" for name in tests)],
        cwd=copy,
        env={name: value for name, value in os.environ.items() if name != "TRACKER_TEST_DATA"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 0:
        return None
    found = re.search(r"^FAILED \S*?::(\w+)", ran.stdout, re.MULTILINE)
    if ran.returncode != FAILED_TESTS or found is None:
        sys.exit(f"pytest ended with {ran.returncode}:\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}")
    return found[1]


def noticed(mutant: Mutant, copies: Copies) -> tuple[str | None, float]:
    """The test that notices, and how many seconds that took."""
    with copies.one() as copy, applied(mutant, copy):
        began = time.monotonic()
        return failing_test(copy, mutant.tests), time.monotonic() - began


def check_list() -> None:
    for mutant in MUTANTS:
        count = (ROOT / ENGINE / mutant.file).read_text(encoding="utf-8").count(mutant.original)
        if count != 1:
            sys.exit(f"{ENGINE}/{mutant.file} has this text {count} times, not once; mend the list:\n{mutant.original}")


def main() -> int:
    check_list()
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="tracker-mutants-") as folder:
        copies, every = Copies(Path(folder)), tuple(sorted({name for mutant in MUTANTS for name in mutant.tests}))
        print(f"{len(MUTANTS)} mutations. First without any …", flush=True)
        with copies.one() as copy:
            failed = failing_test(copy, every)
        if failed is not None:
            sys.exit(f"{failed} fails without a mutation: nothing can be said.")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = pool.map(lambda mutant: noticed(mutant, copies), MUTANTS)
            for number, (mutant, (test, took_s)) in enumerate(zip(MUTANTS, results, strict=True), 1):
                survivors += test is None
                said = f"noticed by {test}" if test else "SURVIVED"
                row = f"{number:3}/{len(MUTANTS)} {took_s:5.1f} s  {mutant.file:17} {mutant.breaks:56} {said}"
                print(row, flush=True)
    print(f"{len(MUTANTS) - survivors} noticed, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
