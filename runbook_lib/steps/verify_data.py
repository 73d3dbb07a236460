"""Compare source and targets by all six checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run import Run
from runbook_lib.step import Outcome, StepResult, Verdict
from runbook_lib.steps.common import links
from runbook_lib.validation import Report, validate


@dataclass(frozen=True)
class VerifyData:
    """One verdict, right while writes go on: what is still on its way is told apart from what is wrong.

    Attributes:
        when: Distinguishes the verifications of a run, e.g. "before_reads".
    """

    when: str
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"verify_data:{self.when}"

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        report = self._compare(run)
        run.keep_report(self.name, report)
        return StepResult(_summary(report), {"report": report.as_dict()})

    def verify(self, run: Run) -> Verdict:
        report = run.report(self.name)
        if report is None:
            return Verdict(Outcome.COULD_NOT_RUN, "no report of this attempt")
        return Verdict(report.outcome, _summary(report))

    def rollback(self, run: Run) -> StepResult:
        return StepResult("reading changed nothing")

    def undone(self, run: Run) -> Verdict:
        return Verdict(Outcome.PASS, "nothing to undo")

    def _compare(self, run: Run) -> Report:
        return validate(
            links(run),
            tolerances=run.plan.tolerances,
            jobs=run.options.jobs,
            settle_s=run.options.settle_s,
            on_progress=lambda done, total: run.progress(done, total, "ranges"),
        )


def _summary(report: Report) -> str:
    if report.passed:
        return f"all {len(report.results)} checks pass in {report.elapsed_s:.1f} s"
    return f"failed: {', '.join(report.failed)}"
