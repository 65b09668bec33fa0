"""What judging found out beside events, as it is stored with the batch: doubts, late assets, states."""

from typing import Any, Final

import numpy as np

from tracker.domain.batch import Columns
from tracker.domain.presence import Judgement, Presence
from tracker.store.journal import Findings
from tracker.store.states import standing_of, state_to_json

CHECKPOINT_EVERY: Final = 1_000  # fixes of an asset: so many are judged again for one that is late
_GOLDEN: Final = 40_503  # spreads neighbouring numbers


def findings(judgement: Judgement, columns: Columns, presence: Presence) -> Findings:
    """To be called after the judgement was applied; counts the fixes of each asset towards its next checkpoint."""
    return Findings(
        _doubts(judgement, columns),
        [
            {"asset": asset, "first_ms": first_ms, "last_ms": last_ms}
            for asset, (first_ms, last_ms) in judgement.late.items()
        ],
        [{"asset": asset, "state": standing_of(presence.get(asset))} for asset in sorted(judgement.disturbed())],
        _checkpoints(columns, presence, judgement.batch),
    )


def _doubts(judgement: Judgement, columns: Columns) -> list[dict[str, int]]:
    return [
        {
            "asset": int(columns.asset[row]),
            "time_ms": int(columns.time_ms[row]),
            "lon": int(columns.lon[row]),
            "lat": int(columns.lat[row]),
            "flags": int(judgement.doubt[row]),
        }
        for row in np.flatnonzero(judgement.doubt).tolist()
    ]


def _checkpoints(columns: Columns, presence: Presence, batch: int) -> list[dict[str, Any]]:
    """After a start nobody knows how long ago the last one was: counting begins anywhere, so that one in a thousand
    fixes has one however often the server is restarted.
    """
    count = presence.uncounted
    new = columns.asset[count[columns.asset] < 0].astype(np.int64)
    if len(new):
        count[new] = (new * _GOLDEN + batch * _GOLDEN**2) % (1 << 31) % CHECKPOINT_EVERY
    np.add.at(count, columns.asset, 1)
    full = columns.asset[count[columns.asset] >= CHECKPOINT_EVERY]
    if not len(full):
        return []
    due = np.unique(full)
    count[due] = 0
    return [checkpoint(presence, number) for number in due.tolist()]


def checkpoint(presence: Presence, asset: int) -> dict[str, Any]:
    """The state of an asset, to begin from when it is judged again."""
    state = presence.get(asset)
    assert state.every.newest is not None
    return {"asset": asset, "time_ms": state.every.newest.time_ms, "state": state_to_json(state)}
