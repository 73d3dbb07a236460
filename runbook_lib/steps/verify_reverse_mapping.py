"""Prove, before reads are switched, that what the services hold can be written back to the source as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import BACK, facing_links, verdict
from runbook_lib.validation import Mismatch, Report, ValidationOptions, validate
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class VerifyReverseMapping:
    """Read sampled rows at the targets through the reversed mapping and compare them with the source's rows.

    A column that a derived table gives back may come back normalized (the plan's expression says so, for instance a
    NULL that became a default): counted, and not a failure. Any other difference is one.
    """

    name: str = "verify_reverse_mapping"
    reversible: bool = True
    requires: Sequence[str] = ("build_indexes",)

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        report = validate(
            facing_links(run, BACK),
            ValidationOptions(checks=("data_sample",), jobs=run.options.jobs, settle_s=run.options.settle_s),
        )
        lost, normalized = self._split(run, report)
        figures = {
            "normalized": len(normalized),
            "lost": [f"{m.service}.{m.table} {m.key}: {m.text}" for m in lost[:20]],
        }
        rows = sum(int(figures["sampled"]) for result in report.results for figures in result.figures.values())
        could_run = all(result.outcome is not Outcome.COULD_NOT_RUN for result in report.results)
        text = f"{rows} sampled rows come back as they were; {len(normalized)} would be normalized by the plan"
        return StepResult(text, {**figures, "rows": rows, "could_run": could_run})

    def verify(self, run: RunContext) -> Verdict:
        data = run.applied(self.name).data
        if not data["could_run"] or not data["rows"]:
            return Verdict(Outcome.COULD_NOT_RUN, "no row could be read through the reversed mapping")
        lost = data["lost"]
        return verdict(not lost, f"would not come back: {'; '.join(lost[:3])}" if lost else "nothing would be lost")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("reading changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return Verdict(Outcome.PASS, "nothing to undo")

    def _split(self, run: RunContext, report: Report) -> tuple[list[Mismatch], list[Mismatch]]:
        given = {
            (mapping.source, column)
            for service in run.plan.services
            for mapping in service.tables
            for column in mapping.reverse
        }
        lost: list[Mismatch] = []
        normalized: list[Mismatch] = []
        for mismatch in (m for result in report.results for m in result.mismatches):
            columns = set(mismatch.columns)
            fits = columns and all((mismatch.table, column) in given for column in columns)
            (normalized if fits else lost).append(mismatch)
        return lost, normalized
