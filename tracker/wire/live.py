"""What `/v1/live` says about a view, as JSON text for people and scripts and as binary frames for the page. Both mean
the same; docs/protocol.md specifies the frames byte by byte, and tests/wire/live_frames.json has examples.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracker.domain.batch import DEGREE, Ints
from tracker.wire import ids

PROTOCOL: Final = "tracker.live.v1"  # the WebSocket subprotocol of binary frames
SNAPSHOT: Final = 1
UPDATE: Final = 2
NAMES: Final = {SNAPSHOT: b"snapshot", UPDATE: b"update"}
CLUSTERED: Final = 1  # a flag of a frame: the view shows clusters
MAX_VIEW_ID: Final = 2**32 - 1

HEADER: Final = np.dtype(
    [
        ("kind", "u1"),
        ("flags", "u1"),
        ("level", "u1"),
        ("reserved", "u1"),
        ("view", "<u4"),
        ("assets", "<u4"),
        ("removed", "<u4"),
        ("clusters", "<u4"),
    ]
)
RECORD: Final = np.dtype(
    [
        ("asset", "<u4"),
        ("lon", "<i4"),
        ("lat", "<i4"),
        ("time_s", "<u4"),
        ("speed_dmps", "<u2"),
        ("course", "u1"),
        ("look", "u1"),
    ]
)
CLUSTER: Final = np.dtype(
    [("column", "<u4"), ("row", "<u4"), ("lon", "<i4"), ("lat", "<i4"), ("count", "<u4")],
)
UNKNOWN_SPEED: Final = 0xFFFF
UNKNOWN_COURSE: Final = 0xFF
COURSES: Final = 240  # steps of 1.5 degrees
STATES: Final = ("online", "silent", "offline")  # the lowest two bits of a look
REVISIONS: Final = 64  # the other six: grows when name or tags change

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Shown:
    """What one message tells of a view."""

    kind: int
    view: int
    assets: Ints
    removed: Ints
    clusters: Records | None = None  # None: the view shows assets
    level: int = 0


_HEADER: Final = struct.Struct("<4B4I")  # the same as HEADER, which numpy fills in ten times the time
_NO_CLUSTERS: Final = np.zeros(0, CLUSTER)


def binary(shown: Shown, records: bytes) -> bytes:
    """A frame; `records` are those of `shown.assets`, side by side."""
    clusters = _NO_CLUSTERS if shown.clusters is None else shown.clusters
    flags = 0 if shown.clusters is None else CLUSTERED
    counts = len(shown.assets), len(shown.removed), len(clusters)
    header = _HEADER.pack(shown.kind, flags, shown.level, 0, shown.view, *counts)
    return b"".join([header, records, shown.removed.astype("<u4").tobytes(), clusters.tobytes()])


def text(shown: Shown, entries: Iterable[bytes]) -> bytes:
    """The same as JSON; `entries` are those of `shown.assets`."""
    gone = b",".join([b'"%b"' % ids.public_id(ids.ASSET, asset).encode() for asset in shown.removed.tolist()])
    return b'{"type":"%b","id":%d,"assets":[%b],"remove":[%b],"clusters":%b}' % (
        NAMES[shown.kind],
        shown.view,
        b",".join(entries),
        gone,
        b"[]" if shown.clusters is None else _clusters_as_json(shown.level, shown.clusters),
    )


def _clusters_as_json(level: int, clusters: Records) -> bytes:
    return msgspec.json.encode(
        [
            {"id": f"{level}/{column}/{row}", "count": count, "lon": lon / DEGREE, "lat": lat / DEGREE}
            for column, row, lon, lat, count in clusters.tolist()
        ]
    )


@dataclass(frozen=True, slots=True)
class Frame:
    """A binary frame, read: arrays are views of its bytes."""

    kind: int
    clustered: bool
    level: int
    view: int
    assets: Records
    removed: NDArray[np.uint32]
    clusters: Records


def read(frame: bytes) -> Frame:
    """The other side of `binary`.

    Raises:
        ValueError: it is not as long as it says.
    """
    header = np.frombuffer(frame, HEADER, 1)[0]
    assets, removed, clusters = int(header["assets"]), int(header["removed"]), int(header["clusters"])
    to_removed = HEADER.itemsize + assets * RECORD.itemsize
    to_clusters = to_removed + 4 * removed
    if to_clusters + clusters * CLUSTER.itemsize != len(frame):
        raise ValueError("the frame is not as long as its header says")
    return Frame(
        int(header["kind"]),
        bool(header["flags"] & CLUSTERED),
        int(header["level"]),
        int(header["view"]),
        np.frombuffer(frame, RECORD, assets, HEADER.itemsize),
        np.frombuffer(frame, "<u4", removed, to_removed),
        np.frombuffer(frame, CLUSTER, clusters, to_clusters),
    )
