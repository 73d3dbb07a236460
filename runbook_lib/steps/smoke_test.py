"""Ask each service directly for the few things that must work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.services.smoke import smoke
from runbook_lib.steps.routes_and_links import backend, verdict
from runbook_lib.steps.traffic_watch import smoke_suite
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class SmokeTest:
    """The workload's smoke requests, sent past the router.

    Attributes:
        where: Which instances: "source" or "target".
        after: Distinguishes the smoke tests of a run.
    """

    where: str
    after: str = "start"
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"smoke_test:{self.where}:{self.after}"

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        verdicts = {
            name: smoke(run.service(name).url, smoke_suite(run, service.name))
            for service in run.plan.services
            for name in [backend(service, self.where)]
        }
        failed = {name: v.text for name, v in verdicts.items() if not v.passed}
        could_not = [name for name, v in verdicts.items() if v.outcome is Outcome.COULD_NOT_RUN]
        text = "; ".join(f"{name}: {why}" for name, why in failed.items()) or "; ".join(
            f"{name}: {v.text}" for name, v in verdicts.items()
        )
        return StepResult(text, {"failed": failed, "could_not_run": could_not})

    def verify(self, run: RunContext) -> Verdict:
        data = run.applied(self.name).data
        if data["could_not_run"]:
            return Verdict(Outcome.COULD_NOT_RUN, f"no smoke requests for {', '.join(data['could_not_run'])}")
        why = "; ".join(f"{name}: {text}" for name, text in data["failed"].items())
        return verdict(not data["failed"], why or "all answered")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("asking changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")
