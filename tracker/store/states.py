"""The states of assets as JSON: whole ones in checkpoints, and the part that no other table tells in `standing`."""

from typing import Any

import msgspec
from msgspec import Struct

from tracker.domain.plausibility import Suspect
from tracker.domain.presence import AssetState, Doubted, Entry


class Standing(Struct, omit_defaults=True):
    """What neither `latest` nor open visits tell of an asset."""

    trusted: dict[int, Entry] = {}
    every: dict[int, Entry] = {}
    suspect: Suspect | None = None
    doubted: Doubted | None = None


def standing_of(state: AssetState) -> Any:
    """The standing part of a state; None where there is none."""
    part = Standing(state.trusted.entries, state.every.entries, state.suspect, state.doubted)
    return None if part == Standing() else msgspec.to_builtins(part, str_keys=True)


def standing_from(raw: Any) -> Standing:
    return msgspec.convert(raw, Standing, strict=False)


def state_to_json(state: AssetState) -> Any:
    return msgspec.to_builtins(state, str_keys=True)


def state_from_json(raw: Any) -> AssetState:
    return msgspec.convert(raw, AssetState, strict=False)
