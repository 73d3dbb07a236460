"""Start the services on the source's data, or on their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import backend, verdict
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class StartServices:
    """Start every service of the plan, each behind those it is `after`; nothing is sent to them yet.

    Attributes:
        where: "source" (extraction views) or "target" (own database).
    """

    where: str
    requires: Sequence[str] = ()
    reversible: bool = True
    standing: bool = True

    @property
    def name(self) -> str:
        return f"start_services:{self.where}"

    @property
    def ended_by(self) -> Sequence[str]:
        """The services on the source's data go with the source."""
        return ("decommission_source",) if self.where == "source" else ()

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        names = self._names(run)
        for name in names:
            run.service(name).deploy()
            run.service(name).start()
        return StepResult(f"{', '.join(names)} started", {"services": names})

    def verify(self, run: RunContext) -> Verdict:
        health = {name: run.service(name).health() for name in self._names(run)}
        ill = [f"{name}: {answer.text}" for name, answer in health.items() if not answer.ok]
        slowest = max(answer.elapsed_ms for answer in health.values())
        return verdict(not ill, "; ".join(ill) or f"all healthy, slowest answer {slowest:.0f} ms")

    def rollback(self, run: RunContext) -> StepResult:
        names = self._names(run)[::-1]  # each before those that it needs
        for name in names:
            run.service(name).stop()
        return StepResult(f"{', '.join(names)} stopped")

    def undone(self, run: RunContext) -> Verdict:
        up = [name for name in self._names(run) if run.service(name).running()]
        return verdict(not up, f"still running: {', '.join(up)}" if up else "none is running")

    def _names(self, run: RunContext) -> list[str]:
        return [backend(service, self.where) for service in run.plan.services]
