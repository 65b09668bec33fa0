"""The options of the crossing model as a geofence's properties give them, checked one by one."""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tracker.domain.geofence import DEFAULT_MAX_GAP_S, PLAIN, AssetFilter, Rule
from tracker.domain.proximity import MAX_WITHIN_M, Around
from tracker.domain.schedule import Schedule
from tracker.errors import InvalidField
from tracker.wire import ids

_DAY_S: Final = 86_400.0
MAX_CONFIRM_FIXES: Final = 100
MAX_FILTER: Final = 1_000


class Filter(Struct, forbid_unknown_fields=True):
    """Which assets a geofence judges: those with one of the ids or one of the tags."""

    tags: list[str] = []
    ids: list[str] = []


class Options(Struct):
    """What a geofence's properties say of the crossing model; docs/geofences.md has their meaning."""

    edge: Literal["exact", "certain"] = "exact"
    exit_margin_m: float = 0.0
    confirm_fixes: int = 1
    confirm_s: float = 0.0
    dwell_after_s: float | None = None
    cross: bool = False
    max_gap_s: float = DEFAULT_MAX_GAP_S
    alt_min_m: float | None = None
    alt_max_m: float | None = None
    schedule: Any = None
    absence: bool = False
    speed_limit_mps: float | None = None
    over_for_s: float = 0.0
    assets: Filter | None = None
    near: Filter | None = None
    within_m: float | None = None


NAMES: Final = frozenset(Options.__struct_fields__)

# Inclusive. The longest waits are for seasons, the shortest gaps for receivers that send ten times a second.
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "exit_margin_m": (0, 100_000),
    "confirm_fixes": (1, MAX_CONFIRM_FIXES),
    "confirm_s": (0, _DAY_S),
    "dwell_after_s": (0, 366 * _DAY_S),
    "max_gap_s": (0, 30 * _DAY_S),
    "alt_min_m": (-12_000, 100_000),
    "alt_max_m": (-12_000, 100_000),
    "speed_limit_mps": (0, 100_000),
    "over_for_s": (0, _DAY_S),
    "within_m": (1, MAX_WITHIN_M),
}

_AROUND: Final = frozenset(
    {"near", "within_m", "assets", "exit_margin_m", "max_gap_s"}
)  # what geofences around assets know


def rule_of(given: Mapping[str, Any]) -> Rule:
    """The rule that these options make; every key is one of NAMES.

    Raises:
        InvalidField: with the name of the property and what it may be.
    """
    return PLAIN if not given else _rule(_options(given))


def around_of(given: Mapping[str, Any]) -> Around | None:
    """The assets that a geofence is around, None where it is not around any.

    Raises:
        InvalidField
    """
    if "near" not in given and "within_m" not in given:
        return None
    options = _options(given)
    if options.near is None:
        _refuse("within_m", "needs near, which says of which assets")
    if options.within_m is None:
        _refuse("near", "needs within_m, in metres")
    assert options.near is not None
    assert options.within_m is not None
    for name in given.keys() - _AROUND:
        _refuse(name, "does not apply to a geofence around assets")
    return Around(options.within_m, _filter("near", options.near))


def _options(given: Mapping[str, Any]) -> Options:
    try:
        options = msgspec.convert(dict(given), Options)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("`$.")[2].rstrip("`") or "properties"
        raise InvalidField(
            f"properties.{where}: {str(error).partition(' - at')[0].replace('`', '')}", field=f"properties.{where}"
        ) from None
    for name, (low, high) in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            _refuse(name, f"must be from {low:,.0f} to {high:,.0f}")
    if options.alt_min_m is not None and options.alt_max_m is not None and options.alt_min_m > options.alt_max_m:
        _refuse("alt_min_m", "must not be above alt_max_m")
    if options.absence and options.schedule is None:
        _refuse("absence", "needs a schedule, which says when an asset must be inside")
    if options.over_for_s and options.speed_limit_mps is None:
        _refuse("over_for_s", "needs speed_limit_mps")
    return options


def _rule(options: Options) -> Rule:
    return Rule(
        **{name: getattr(options, name) for name in NAMES - {"schedule", "assets", "near", "within_m"}},
        schedule=None if options.schedule is None else Schedule.parse(options.schedule, "properties.schedule"),
        assets=None if options.assets is None else _filter("assets", options.assets),
    )


def _refuse(name: str, why: str) -> None:
    raise InvalidField(f"properties.{name} {why}", field=f"properties.{name}")


def _filter(name: str, given: Filter) -> AssetFilter:
    if not given.tags and not given.ids:
        _refuse(name, "must name tags or ids" + ("; leave it out for every asset" if name == "assets" else ""))
    if len(given.tags) > MAX_FILTER or len(given.ids) > MAX_FILTER:
        _refuse(name, f"may name at most {MAX_FILTER:,} tags and as many ids")
    if any("\x00" in tag for tag in given.tags):
        _refuse(name, "must not contain the character NUL")
    try:
        numbers = frozenset(ids.number_of(ids.ASSET, each) for each in given.ids)
    except InvalidField:
        raise InvalidField(f"properties.{name}.ids must be ids of assets", field=f"properties.{name}.ids") from None
    return AssetFilter(numbers, frozenset(given.tags))


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options among a geofence's properties, as they were given."""
    return {name: value for name, value in given.items() if name in NAMES and value is not None}
