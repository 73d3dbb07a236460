"""Start a fleet's spares, so that it keeps its capacity while instances are out of rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.fleet import FleetControl
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class StartSpares:
    """Spares with the old release, healthy and in rotation."""

    service: str
    spares: tuple[str, ...]
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"start_spares:{self.service}"

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        spares_in(run, self.service, self.spares, self.name)
        return StepResult(f"{', '.join(self.spares)} started, in rotation", {"spares": list(self.spares)})

    def verify(self, run: RunContext) -> Verdict:
        return rotating(run, self.service, self.spares)

    def rollback(self, run: RunContext) -> StepResult:
        spares_out(run, self.service, self.spares, self.name)
        return StepResult(f"{', '.join(self.spares)} stopped")

    def undone(self, run: RunContext) -> Verdict:
        return stopped(run, self.spares)


def spares_in(run: RunContext, service: str, spares: Sequence[str], subject: str) -> None:
    """Start them, wait until they are healthy, and bring them into rotation. Idempotent."""
    control = FleetControl(run, service)
    control.together(spares, lambda name: run.service(name).start())
    control.joining = set(spares)
    control.wait_healthy(spares, subject)


def spares_out(run: RunContext, service: str, spares: Sequence[str], subject: str) -> None:
    """Out of rotation, drained, stopped. Idempotent."""
    control = FleetControl(run, service)
    rotation = control.in_rotation()
    if inside := [name for name in spares if name in rotation]:
        control.take_out(inside, subject)
    control.together(spares, lambda name: run.service(name).stop())


def rotating(run: RunContext, service: str, spares: Sequence[str]) -> Verdict:
    """Whether all of them are in rotation."""
    inside = FleetControl(run, service).in_rotation()
    missing = [name for name in spares if name not in inside]
    return verdict(not missing, f"not in rotation: {', '.join(missing)}" if missing else "in rotation")


def stopped(run: RunContext, spares: Sequence[str]) -> Verdict:
    """Whether none of them runs."""
    up = [name for name in spares if run.service(name).running()]
    return verdict(not up, f"still running: {', '.join(up)}" if up else "stopped")
