"""Explanations as they are told: what each fix said in words, a rule with all its values, the sentence that follows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tracker.domain.batch import Columns, from_units
from tracker.domain.evidence import IN, OUT, UNSURE
from tracker.domain.fix import flag_names
from tracker.domain.geofence import Geofence, Rule
from tracker.domain.presence import ABSENT, CROSS, DWELL, ENTER, EXIT, SPEEDING, Entry
from tracker.domain.ruled import SCHEDULE
from tracker.domain.turn import ASSET_CHANGED, ASSET_DELETED, FENCE_CHANGED, FENCE_DELETED
from tracker.domain.why import Statement, Unseen
from tracker.wire import ids
from tracker.wire.times import rfc3339

SAYS: Final = {IN: "in", OUT: "out", UNSURE: "unsure"}
_UNSEEN: Final[dict[Unseen, str]] = {
    "stored_before": "stored before the geofence was made",
    "stored_after": "stored after the geofence was deleted",
    "other_asset": "the asset does not match the geofence's assets filter",
    "repeat": "a repeat of a fix with the same time and place",
}
_DONE: Final = {
    ENTER: "entered",
    EXIT: "left",
    CROSS: "crossed",
    DWELL: "dwelt",
    SPEEDING: "too fast",
    ABSENT: "absent",
}


def rule_form(fence: Geofence) -> dict[str, Any]:
    """Every option of a version with its value, those that were not given with their defaults."""
    rule = fence.rule
    plain = {name: getattr(rule, name) for name in Rule.__dataclass_fields__ if name not in {"schedule", "assets"}}
    return {
        "quality": fence.quality,
        **plain,
        "schedule": fence.options.get("schedule"),
        "assets": fence.options.get("assets"),
    }


def fix_form(columns: Columns, row: int, said: Statement) -> dict[str, Any]:
    """One fix, what it said to the geofence, and why."""
    flags = flag_names(int(columns.flags[row]))
    seen = said.unseen is None
    return {
        "fix_time": rfc3339(int(columns.time_ms[row])),
        "lon": int(columns.lon[row]) / 1e7,
        "lat": int(columns.lat[row]) / 1e7,
        "alt_m": from_units(int(columns.alt[row]), 10),
        "speed_mps": from_units(int(columns.speed[row]), 100),
        "accuracy_m": from_units(int(columns.accuracy[row]), 10),
        "device": ids.public_id(ids.DEVICE, int(columns.device[row])),
        "flags": flags,
        "version": said.fence.version,
        "seen": seen,
        "says": SAYS[said.says] if seen else None,
        "line": said.line if seen else said.unseen,
        "because": because(columns, row, said) if seen else f"not seen: {unseen_text(said, flags)}",
        "inside": said.held,
        "edge_m": round(said.edge_m, 3) if said.edge_m != float("inf") else None,
    }


def unseen_text(said: Statement, flags: Sequence[str]) -> str:
    """Why the geofence did not see a fix."""
    assert said.unseen is not None
    return "flagged " + " and ".join(flags) if said.unseen == "flagged" else _UNSEEN[said.unseen]


def because(columns: Columns, row: int, said: Statement) -> str:
    """The line of the definition that a fix's statement rests on, with its numbers."""
    rule, edge = said.fence.rule, metres(said.edge_m)
    height, accuracy = (from_units(int(column[row]), 10) for column in (columns.alt, columns.accuracy))
    texts = {
        "schedule": "the schedule does not hold at that time",
        "altitude_unknown": f"it has no altitude, and the geofence reaches from {_band(rule)}",
        "altitude": f"its altitude of {_number(height)} m lies outside {_band(rule)}",
        "accuracy": f"the edge is {edge} away, nearer than the fix's accuracy of {_number(accuracy)} m",
        "inside": f"it lies inside, {edge} from the edge",
        "exit_margin": f"it lies outside, but the edge is {edge} away, within exit_margin_m of "
        f"{_number(rule.exit_margin_m)} m",
        "outside": f"it lies outside, {edge} from the edge",
    }
    return texts[said.line]


def _band(rule: Rule) -> str:
    low = "the ground" if rule.alt_min_m is None else f"{_number(rule.alt_min_m)} m"
    high = "any height" if rule.alt_max_m is None else f"{_number(rule.alt_max_m)} m"
    return f"{low} to {high}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}".removesuffix(".0")


def metres(value: float) -> str:
    """A length in the unit that a person would choose."""
    if value >= 10_000:
        return f"{value / 1000:,.0f} km"
    return f"{value:,.0f} m" if value >= 100 else f"{value:.1f} m"


def seconds(ms: int) -> str:
    return f"{_number(ms / 1000)} s"


# Sentences -----------------------------------------------------------------------------------------------------------


def turned_sentence(kind: int, rule: Rule, before: Entry, at_ms: int, cause: str | None) -> str:
    """How an enter or exit followed from the run of fixes that ends with the one at at_ms."""
    count, started_ms = before.run + 1, before.run_start_ms if before.run else at_ms
    word = "in" if kind == ENTER else "out"
    if count == 1:
        text = (
            f"{_DONE[kind]}: the fix said {word}, and the asset was {'outside' if kind == ENTER else 'inside'} before"
        )
    else:
        text = f"{_DONE[kind]}: {count} fixes in a row said {word}, spanning {seconds(at_ms - started_ms)}"
    if rule.confirm_fixes > 1 or rule.confirm_s > 0:
        text += f"; confirm_fixes {rule.confirm_fixes}, confirm_s {_number(rule.confirm_s)}"
    if cause == SCHEDULE:
        text += "; it was the schedule that began or ended, not the asset that moved over the edge"
    return text + "."


def other_sentence(kind: int, rule: Rule, before: Entry, at_ms: int) -> str:
    """How a dwell, a cross, a speeding or an absence came about."""
    if kind == DWELL:
        return (
            f"dwelt: entered at {rfc3339(before.enter_ms)}, and this is the first fix since that said in at least "
            f"dwell_after_s {_number(rule.dwell_after_s)} s later ({seconds(at_ms - before.enter_ms)})."
        )
    if kind == CROSS:
        return (
            "crossed: this fix and the one before it said out, and the straight way between them touches the shape; "
            f"they lie within max_gap_s {_number(rule.max_gap_s)} s of each other."
        )
    if kind == SPEEDING:
        since_ms = at_ms if before.haste_ms is None else before.haste_ms
        return (
            f"too fast: inside and faster than speed_limit_mps {_number(rule.speed_limit_mps)} m/s for "
            f"{seconds(at_ms - since_ms)}; over_for_s {_number(rule.over_for_s)}."
        )
    return "absent: the schedule holds, and this is the first fix in it that said out with the asset outside."


def change_sentence(kind: int, cause: str, version: int) -> str:
    """How a change turned a side."""
    side = "inside" if kind == ENTER else "outside"
    return {
        FENCE_CHANGED: f"{_DONE[kind]}: the geofence was changed. Its new version was asked about the asset's newest "
        f"fix, which is {side} now (the event names version {version}).",
        ASSET_CHANGED: f"{_DONE[kind]}: the asset's tags were changed, so that it is {side} for the geofence's filter.",
        FENCE_DELETED: "left: the geofence was deleted, which closes the visits in it.",
        ASSET_DELETED: "left: the asset was deleted, which closes its visits.",
    }[cause]


def lost_sentence(*, waits: bool, corrected: bool) -> str:
    """Of an event that the stored fixes do not tell."""
    if waits:
        return "The stored fixes say otherwise: late ones have come, and the asset is about to be judged again."
    if corrected:
        return "What is stored now says otherwise: late fixes have changed what happened; see corrections."
    return "The fixes that are stored now do not tell this event."


def unseen_sentence(said: Sequence[Statement], columns: Columns) -> str:
    """Of fixes none of which was seen."""
    texts = [
        unseen_text(each, flag_names(int(columns.flags[row])))
        for row, each in enumerate(said)
        if each.unseen is not None
    ]
    return f"None of the {len(texts)} fixes was seen by the geofence: {_listed(texts)}."


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(f"{count} {text}" for text, count in Counter(texts).most_common())


def quiet_sentence(columns: Columns, said: Sequence[Statement], before: Entry, runs: int, longest: Entry) -> str:
    """Why nothing was told of fixes some of which were seen.

    Args:
        runs: how many times fixes began to say the opposite of the side.
        longest: side and run when most of them had.
    """
    seen = [(row, each) for row, each in enumerate(said) if each.unseen is None]
    side, opposite = ("inside", "out") if before.inside else ("outside", "in")
    text = f"The asset was {side} all the time: "
    if runs:
        rule = seen[-1][1].fence.rule
        text += (
            f"{longest.run} {'fix' if longest.run == 1 else 'fixes in a row'} said {opposite} at most, "
            f"from {rfc3339(longest.run_start_ms)} on, and that was not confirmed; confirm_fixes {rule.confirm_fixes}, "
            f"confirm_s {_number(rule.confirm_s)}"
        )
    else:
        text += f"none of the {len(seen)} fixes that the geofence saw said {opposite}"
    unsure = Counter(each.line for _, each in seen if each.says == UNSURE)
    if unsure:
        texts = {
            "accuracy": "their accuracy reaches over the edge",
            "altitude_unknown": "they have no altitude",
            "exit_margin": "they are outside but within exit_margin_m",
        }
        told = ", ".join(f"{count} were unsure: {texts[line]}" for line, count in unsure.most_common())
        text += f"; {told}"
    if not before.inside:
        text += _nearest_text(columns, seen)
    hidden = len(said) - len(seen)
    return text + (f". {hidden} more were not seen." if hidden else ".")


def _nearest_text(columns: Columns, seen: Sequence[tuple[int, Statement]]) -> str:
    """How near an asset came that never was inside, and why inside was not in."""
    held = [(row, each) for row, each in seen if each.held]
    if held:
        row, each = held[0]
        return f". That of {rfc3339(int(columns.time_ms[row]))} did not count as in: {because(columns, row, each)}"
    row, each = min(seen, key=lambda pair: pair[1].edge_m)
    text = f". The nearest, at {rfc3339(int(columns.time_ms[row]))}, was {metres(each.edge_m)} from the edge"
    if not each.fence.rule.cross:
        text += "; what lies between two fixes counts only with the option cross"
    return text
