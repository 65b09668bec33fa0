"""How large and how long: the usual plan, a short one for a first look, and what the command line changes of them."""

from dataclasses import dataclass, replace
from pathlib import Path

from tracker.bench.frames import Encoding


@dataclass(frozen=True, slots=True)
class Load:
    """How devices speak."""

    encoding: Encoding
    fixes_per_frame: int

    @property
    def name(self) -> str:
        return f"{self.encoding} {self.fixes_per_frame}/frame"


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and seconds of every benchmark. `goals`: whether they are those that the goals were set for."""

    seconds: float = 5.0
    rounds: int = 3
    devices: int = 2_000
    in_flight: int = 4
    loads: tuple[Load, ...] = (Load("json", 1), Load("json", 10), Load("binary", 10))
    geofences: int = 10_000
    vertices: tuple[int, int] = (32, 500)
    # latency: fixes a second of each load, in the order of loads
    latency_fixes_per_s: tuple[float, ...] = (40_000, 140_000, 300_000)
    # fences
    geofence_counts: tuple[int, ...] = (10_000, 100_000)
    many_vertices: tuple[int, int] = (12, 48)  # where there are very many
    changes: int = 40
    streaming_fixes_per_s: float = 10_000
    # backlog
    backlog_fixes: int = 2_600_000  # a month at one a second
    late_fixes: int = 500_000
    # fanout
    viewers: int = 200
    viewer_hz: float = 10.0
    moving: int = 10_000
    # history
    history_devices: int = 1_000
    history_step_ms: int = 60_000
    queries: int = 25
    # memory
    idle_devices: int = 2_000
    idle_viewers: int = 300
    slow_viewers: int = 100
    # start
    known_geofences: int = 10_000
    known_assets: int = 50_000
    # scale
    scale_devices: tuple[int, ...] = (100, 500, 2_000, 4_000)
    scale_geofences: tuple[int, ...] = (0, 1_000, 10_000, 30_000)
    scale_viewers: tuple[int, ...] = (0, 50, 200, 500)
    scale_days: tuple[int, ...] = (1, 2, 4, 8)
    charts: Path | None = None  # the folder for the curves
    goals: bool = True

    def goal(self, value: float | None) -> float | None:
        """Goals are for the usual sizes; smaller ones would meet them for nothing."""
        return value if self.goals else None


USUAL = Plan()
SHORT = Plan(
    seconds=2.0, rounds=1, devices=500, geofences=2_000,
    latency_fixes_per_s=(5_000, 20_000, 40_000),
    geofence_counts=(2_000,), changes=10, streaming_fixes_per_s=2_000,
    backlog_fixes=50_000, late_fixes=10_000, viewers=40, moving=1_000,
    history_devices=100, history_step_ms=60_000, queries=10,
    idle_devices=500, idle_viewers=100, slow_viewers=20,
    known_geofences=1_000, known_assets=5_000,
    scale_devices=(100, 500), scale_geofences=(0, 1_000), scale_viewers=(0, 50), scale_days=(1, 2),
    goals=False,
)  # fmt: skip


def planned(
    *, short: bool, seconds: float | None, devices: int | None, encoding: Encoding | None, fixes_per_frame: int | None
) -> Plan:
    """What was asked for; what was not is left as it is planned."""
    plan = SHORT if short else USUAL
    if seconds is not None:
        plan = replace(plan, seconds=seconds)
    if devices is not None:
        plan = replace(plan, devices=devices, goals=plan.goals and devices == plan.devices)
    if encoding is not None or fixes_per_frame is not None:
        load = Load(encoding or "json", fixes_per_frame or 1)
        rates = dict(zip(plan.loads, plan.latency_fixes_per_s, strict=True))
        rate = rates.get(load, plan.latency_fixes_per_s[0])
        plan = replace(plan, loads=(load,), latency_fixes_per_s=(rate,))
    return plan
