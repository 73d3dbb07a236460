"""Stop a fleet's spares when all of its instances are upgraded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.start_spares import rotating, spares_in, spares_out, stopped
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class StopSpares:
    """Out of rotation, drained, stopped."""

    service: str
    spares: tuple[str, ...]
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"stop_spares:{self.service}"

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        spares_out(run, self.service, self.spares, self.name)
        return StepResult(f"{', '.join(self.spares)} stopped", {"spares": list(self.spares)})

    def verify(self, run: RunContext) -> Verdict:
        return stopped(run, self.spares)

    def rollback(self, run: RunContext) -> StepResult:
        spares_in(run, self.service, self.spares, self.name)
        return StepResult(f"{', '.join(self.spares)} started again, in rotation")

    def undone(self, run: RunContext) -> Verdict:
        return rotating(run, self.service, self.spares)
