"""Send a share of a service's reads to another backend, and watch it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import backend, before_targets, origin, reads, record_traffic, verdict
from runbook_lib.steps.traffic_watch import watch_traffic
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class ShiftReads:
    """One move of one service's reads.

    Attributes:
        service: The service's name.
        percent: Share of its reads that the new backend gets (percent, 1-100).
        to: "source" (the extracted code on the source's data) or "target" (on its own data).
    """

    service: str
    percent: int
    to: str
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"shift_reads:{self.service}@{self.to}:{self.percent}"

    def check(self, run: RunContext) -> list[Problem]:
        health = run.service(self._new(run)).health()
        return [] if health.ok else [Problem(self._new(run), f"not healthy: {health.text}", "read its log")]

    def apply(self, run: RunContext) -> StepResult:
        weights = {self._new(run): self.percent, self._old(run): 100 - self.percent}
        record_traffic(run)
        switch = run.router.set_weights({self._route(run): {k: v for k, v in weights.items() if v}})
        record_traffic(run)
        old = self._old(run) if self.percent < 100 else ""
        seen = watch_traffic(run, run.effective("gradual_extraction").watch_s, canary=self._new(run), neighbour=old)
        text = f"{self.percent} % of reads to {self._new(run)} in {switch.elapsed_s * 1000:.0f} ms; {seen.text}"
        return StepResult(text, {"weights": weights, "elapsed_s": switch.elapsed_s, "outcome": str(seen.outcome)})

    def verify(self, run: RunContext) -> Verdict:
        weight = run.router.routes()[self._route(run)].weights.get(self._new(run), 0)
        if run.applied(self.name).data["outcome"] != Outcome.PASS:
            return Verdict(Outcome(run.applied(self.name).data["outcome"]), run.applied(self.name).text)
        return verdict(weight >= self.percent, f"{self._new(run)} has {weight} % of reads", weight=weight)

    def rollback(self, run: RunContext) -> StepResult:
        run.router.set_weights({self._route(run): {self._old(run): 100}})
        record_traffic(run)
        return StepResult(f"all reads back to {self._old(run)}")

    def undone(self, run: RunContext) -> Verdict:
        weight = run.router.routes()[self._route(run)].weights.get(self._new(run), 0)
        return verdict(weight == 0, f"{self._new(run)} has {weight} % of reads")

    def _route(self, run: RunContext) -> str:
        return reads(run.plan.service(self.service))

    def _new(self, run: RunContext) -> str:
        return backend(run.plan.service(self.service), self.to)

    def _old(self, run: RunContext) -> str:
        return origin(run) if self.to == "source" else before_targets(run, run.plan.service(self.service))


# What must have passed before the first read moves; by hand, cells can be run in any order.
_BEFORE = {
    "source": ("smoke_test:source:start",),
    "target": ("verify_data:before_reads", "verify_reverse_mapping", "smoke_test:target:start"),
}


def read_shifts(run: RunContext, to: str) -> list[ShiftReads]:
    """The moves of all services' reads, one service at a time, by the shares of the plan's gradual extraction."""
    shares = run.plan.phase("gradual_extraction").traffic or (100,)
    return [
        ShiftReads(service.name, percent, to, requires=_BEFORE[to])
        for service in run.plan.services
        for percent in shares
    ]
