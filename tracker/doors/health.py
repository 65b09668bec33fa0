"""/healthz, /readyz and /metrics: what an operator's tools ask. They say nothing about anybody's whereabouts."""

import logging
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from tracker.access.roles import public
from tracker.doors.ingest import SOCKETS
from tracker.doors.keys import DATABASE, FLEET, HUB, WRITER
from tracker.doors.live import VIEWERS
from tracker.errors import TrackerError
from tracker.store.filer import Filer

log = logging.getLogger(__name__)

FILER: Final = web.AppKey("filer", Filer)


@public
async def healthz(_request: web.Request) -> web.StreamResponse:
    """The process answers."""
    return web.json_response({"ok": True})


@public
async def readyz(request: web.Request) -> web.StreamResponse:
    """Whether fixes are taken and made durable now; if not, why."""
    reasons = []
    if not request.app[WRITER].ready:
        reasons.append("the writer has no database; it tries again by itself")
    try:
        await request.app[DATABASE].row("alive")
    except TrackerError as error:
        log.warning("action=not_ready cause=%s", error)
        reasons.append("the database does not answer")
    body = msgspec.json.encode({"ready": not reasons, "reasons": reasons})
    return web.Response(body=body, status=503 if reasons else 200, content_type="application/json")


def _gauges(app: web.Application) -> dict[str, tuple[str, str, float]]:
    """Name -> (kind, help, value)."""
    writer, filer, hub, intake = app[WRITER], app[FILER].stats, app[HUB], app[WRITER].intake.stats()
    return {
        "tracker_fixes_durable_total": ("counter", "Fixes committed since the start", writer.fixes),
        "tracker_batches_total": ("counter", "Transactions that committed fixes since the start", writer.batches),
        "tracker_recoveries_total": (
            "counter",
            "Times the writer went back to what the database holds",
            writer.recoveries,
        ),
        "tracker_writer_ready": ("gauge", "1 when fixes can be made durable", float(writer.ready)),
        "tracker_intake_frames": ("gauge", "Frames taken in and not yet prepared", intake.frames),
        "tracker_intake_bytes": ("gauge", "Their size", intake.bytes),
        "tracker_intake_waiting_sockets": (
            "gauge",
            "Sockets that are not read because the open batch is full",
            intake.waiting_doors,
        ),
        "tracker_journal_fixes": ("gauge", "Durable fixes that are not filed yet", filer.journal_fixes),
        "tracker_journal_age_seconds": ("gauge", "Age of the oldest of them", filer.journal_age_s),
        "tracker_filed_fixes_total": ("counter", "Fixes filed since the start", filer.filed_fixes),
        "tracker_device_sockets": ("gauge", "Open sockets of devices and gateways", len(app[SOCKETS])),
        "tracker_viewers": ("gauge", "Open sockets of viewers", len(app[VIEWERS])),
        "tracker_assets": ("gauge", "Assets", len(app[FLEET].assets)),
        "tracker_devices": ("gauge", "Devices", len(app[FLEET].devices)),
        "tracker_geofences": (
            "gauge",
            "Geofences in force",
            len(writer.index.fences) + len(writer.proximities.current),
        ),
        "tracker_streams_in_memory": ("gauge", "Streams open or not filed yet", len(writer.lanes)),
        "tracker_last_event_id": ("gauge", "Place of the newest event in the feed", hub.feed.last_id),
        "process_cpu_seconds_total": (
            "counter",
            "Processor time of the server, without PostgreSQL",
            time.process_time(),
        ),
        **_memory(),
    }


def _memory() -> dict[str, tuple[str, str, float]]:
    """As Linux tells it; elsewhere it is left out."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return {}
    told = "Memory of the server, without PostgreSQL"
    return {"process_resident_memory_bytes": ("gauge", told, float(pages * resource.getpagesize()))}


MORE_METRICS: Final[web.AppKey[Callable[[], dict[str, tuple[str, str, float]]]]] = web.AppKey("more_metrics")


@public
async def metrics(request: web.Request) -> web.StreamResponse:
    """The Prometheus text format."""
    lines = []
    for name, (kind, about, value) in {**_gauges(request.app), **request.app[MORE_METRICS]()}.items():
        lines += [
            f"# HELP {name} {about}",
            f"# TYPE {name} {kind}",
            f"{name} {value:.15g}",
        ]
    return web.Response(
        text="\n".join(lines) + "\n", headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def routes() -> list[web.RouteDef]:
    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
