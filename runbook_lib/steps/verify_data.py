"""Compare source and targets by all six checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Catalogs, Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import facing_links
from runbook_lib.transfer.links import Link
from runbook_lib.validation import Record, Report, ValidationOptions, validate
from runbook_lib.validation.comparison import planned
from runbook_lib.validation.readable_tables import with_left_out
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class VerifyData:
    """One verdict, right while writes continue: what is still on its way is distinguished from what is wrong.

    Attributes:
        when: Distinguishes the verifications of a run, e.g. "before_reads".
    """

    when: str
    requires: Sequence[str] = ("build_indexes",)  # before it every row differs, and each is waited for
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"verify_data:{self.when}"

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        report = _compare(run, facing_links(run), self.when, sequences=self.when == "after_cutover")
        data = {"report": report.as_record(), "outcome": str(report.outcome), "in_flight": len(report.in_flight)}
        return StepResult(report.text, data)

    def verify(self, run: RunContext) -> Verdict:
        result = run.applied(self.name)
        return Verdict(Outcome(result.data["outcome"]), result.text)

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("reading changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return Verdict(Outcome.PASS, "nothing to undo")


def compare_sides(run: RunContext) -> Report:
    """The comparison as a look that changes nothing: recorded as a verdict that the gate demands.

    A table that is missing or locked is said in the report, beside all that can be compared.

    Returns:
        Report: shows itself; the charts take it.
    """
    plan, database = run.plan, run.environment.database
    targets = {service.database: database(service.database) for service in plan.services}
    pair = planned(plan, database(plan.source), targets, run.environment.quarantine)
    report = with_left_out(_compare(run, pair.links, "sides", catalogs=pair.catalogs), pair.out)
    run.verdict("sides_compared", report.verdict())
    return report


def _compare(
    run: RunContext,
    every: Sequence[Link],
    when: str,
    *,
    sequences: bool = False,
    catalogs: Mapping[str, Catalogs] | None = None,
) -> Report:
    """Killed in the middle, the same verification resumes where it was; another one reads everything itself."""
    folder = run.environment.root / ".runbook" / "comparisons" / run.run_id / when
    return validate(
        every,
        ValidationOptions(
            tolerances=run.plan.tolerances,
            jobs=run.options.jobs,
            settle_s=run.options.settle_s,
            sample_rows=run.options.sample_rows,
            bearable=run.options.small_enough_keys,
            types=run.plan.types,
            require=run.plan.require,
            sequences=sequences,
            catalogs=catalogs,
            record=Record(folder, run.options.resume_within_s),
            on_progress=lambda at: run.progress(at.at, at.of, at.unit, f"{at.check} {at.table}"),
        ),
    )
