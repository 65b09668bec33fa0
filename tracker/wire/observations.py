"""Fixes as a device sent them, as columns of the integers that are stored, with what must not be stored marked.

Ranges are judged here, on what was sent; of the text form before it is rounded.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Floats, Ints, Mask, to_course, to_units
from tracker.domain.fix import FUTURE_REJECTED_AFTER_MS, MAX_ATTRIBUTES_BYTES, OLDEST_MS, RANGES, REJECT_CODES
from tracker.wire.device import NO_ATTRIBUTES, Refusal, When
from tracker.wire.jsonb import fault
from tracker.wire.times import all_ms, to_ms

UNTIMED: Final = np.iinfo(np.int64).min
_PLACE: Final = 2  # of RANGES: lat and lon, without which there is no fix
PER_UNIT: Final = {"lon": DEGREE, "lat": DEGREE, "alt_m": 10, "speed_mps": 100, "course_deg": 10, "accuracy_m": 10}


class Sent(msgspec.Struct, gc=False):
    """A Fix as it is read: NaN stands for what is absent, so that the numbers of many make their columns at once."""

    lon: float
    lat: float
    time: When = None
    alt_m: float | None = math.nan
    accuracy_m: float | None = math.nan
    speed_mps: float | None = math.nan
    course_deg: float | None = math.nan
    attributes: msgspec.Raw = NO_ATTRIBUTES


@dataclass(slots=True)
class Observations:
    """n fixes in stored units; UNTIMED, or the smallest value of a type, where a value is absent. refused: by position;
    what stands there in the columns means nothing.
    """

    time_ms: NDArray[np.int64]
    lon: NDArray[np.int32]
    lat: NDArray[np.int32]
    alt: NDArray[np.int32]
    speed: NDArray[np.int32]
    accuracy: NDArray[np.int32]
    course: NDArray[np.int16]
    attributes: list[bytes | None] | None
    refused: dict[int, Refusal]

    def __len__(self) -> int:
        return len(self.time_ms)


_COLUMNS: Final = ("time_ms", "lon", "lat", "alt", "speed", "accuracy", "course")


def woven(parts: Sequence[tuple[Observations, Ints]]) -> Observations:
    """Several as one: fix i of a part comes to stand at places[i]. The places of all parts are 0 … n - 1."""
    n = sum(len(part) for part, _ in parts)
    columns = {}
    for name in _COLUMNS:
        columns[name] = np.empty(n, getattr(parts[0][0], name).dtype)
        for part, places in parts:
            columns[name][places] = getattr(part, name)
    attributes: list[bytes | None] | None = None
    refused: dict[int, Refusal] = {}
    for part, places in parts:
        at = places.tolist()
        refused.update({at[i]: refusal for i, refusal in part.refused.items()})
        if part.attributes is not None:
            attributes = attributes or [None] * n
            for i, value in zip(at, part.attributes, strict=True):
                attributes[i] = value
    return Observations(**columns, attributes=attributes, refused=refused)


def refuse_outside(name: str, within: Mask, value: Callable[[int], float], refused: dict[int, Refusal]) -> None:
    """Mark what is not within; value(i) is what was sent."""
    if within.all():
        return
    low, high = RANGES[name]
    for i in np.flatnonzero(~within).tolist():
        sentence = f"{name} is {value(i):.12g}; it must be within {low:,.0f} and {high:,.0f}"
        refused.setdefault(i, Refusal(REJECT_CODES[name], sentence))


def refuse_times(time_ms: Ints, now_ms: int, refused: dict[int, Refusal]) -> None:
    """Mark what is too far ahead or too old; age alone is no fault."""
    latest_ms = now_ms + FUTURE_REJECTED_AFTER_MS
    if time_ms.max(initial=OLDEST_MS) > latest_ms:
        for i in np.flatnonzero(time_ms > latest_ms).tolist():
            refused.setdefault(
                i, Refusal("time_in_future", "time is more than 24 hours ahead of the server; set the device's clock")
            )
    if time_ms.min(initial=OLDEST_MS) < OLDEST_MS:
        for i in np.flatnonzero((time_ms < OLDEST_MS) & (time_ms != UNTIMED)).tolist():
            refused.setdefault(i, Refusal("time_too_old", "time is before 1900; set the device's clock"))


def observations(fixes: Sequence[Sent], now_ms: int) -> Observations:
    """Columns of fixes that came as text."""
    refused: dict[int, Refusal] = {}
    lat, lon, alt, speed, accuracy, course = to_units(_in_range(_numbers(fixes), refused), _PER_UNIT)
    time_ms = _times_ms(fixes)
    refuse_times(time_ms, now_ms, refused)
    return Observations(
        time_ms,
        lon,
        lat,
        alt,
        speed,
        accuracy,
        to_course(course),
        _attributes(fixes, refused),
        refused,
    )


_numbers_of: Final = attrgetter(*RANGES)


def _numbers(fixes: Sequence[Sent]) -> Floats:
    """(6, n) in the order of RANGES."""
    rows = map(_numbers_of, fixes)
    try:
        flat = np.fromiter(chain.from_iterable(rows), np.float64, len(fixes) * len(RANGES))
    except TypeError:  # a null
        flat = np.array([_numbers_of(fix) for fix in fixes], np.float64)
    return np.ascontiguousarray(flat.reshape(-1, len(RANGES)).T)


_LOW, _HIGH = np.array(list(RANGES.values()), np.float64).T[:, :, np.newaxis]
_PER_UNIT: Final = np.array([[PER_UNIT[name]] for name in RANGES], np.float64)


def _in_range(values: Floats, refused: dict[int, Refusal]) -> Floats:
    """The values, with 0 for those that refuse their fix."""
    within: Mask = (values >= _LOW) & (values <= _HIGH)
    within[_PLACE:] |= np.isnan(values[_PLACE:])
    if within.all():
        return values
    for name, column, mask in zip(RANGES, values, within, strict=True):
        refuse_outside(name, mask, column.item, refused)
    return np.where(within, values, 0.0)


def _times_ms(fixes: Sequence[Sent]) -> NDArray[np.int64]:
    times: list[Any] = [fix.time for fix in fixes]
    kinds = set(map(type, times))
    if kinds == {int}:
        return np.array(times, dtype=np.int64)
    if kinds == {datetime}:
        return all_ms(times)
    return np.array([_time_ms(time) for time in times], dtype=np.int64)


def _time_ms(time: Any) -> int:
    if time is None:
        return int(UNTIMED)
    if isinstance(time, datetime):
        return to_ms(time)
    return int(time // 1)


def _attributes(fixes: Sequence[Sent], refused: dict[int, Refusal]) -> list[bytes | None] | None:
    raw = [fix.attributes for fix in fixes]
    if not any(raw):
        return None
    column: list[bytes | None] = []
    for i, value in enumerate(raw):
        column.append(None)
        if not value:
            continue
        try:
            column[i] = checked_attributes(bytes(value))
        except ValueError as error:
            refused.setdefault(i, Refusal("bad_attributes", str(error)))
    return column


def checked_attributes(raw: bytes) -> bytes | None:
    """A JSON object that PostgreSQL's jsonb accepts, or None for null.

    Raises:
        ValueError: it is not one; the message is for the device's owner.
    """
    if len(raw) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"attributes take {len(raw):,} bytes; at most {MAX_ATTRIBUTES_BYTES:,} are kept")
    try:
        value = msgspec.json.decode(raw)
        clean = msgspec.json.encode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ValueError("attributes must be a JSON object of valid text") from None
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("attributes must be a JSON object")  # noqa: TRY004
    wrong = fault(value, clean)
    if wrong is not None:
        raise ValueError(f"attributes {wrong}")
    return clean
