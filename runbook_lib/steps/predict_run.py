"""What a run's cutover would do now, before anything is fenced; nothing is written, synced, or recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.operations.agreement import Difference
from runbook_lib.operations.predict_cutover import predict_switchover
from runbook_lib.run.context import RunContext
from runbook_lib.steps.baseline import pairs
from runbook_lib.steps.cutover import disagreements
from runbook_lib.steps.routes_and_links import BACK, links, writers_of_run
from runbook_lib.transfer.quarantine import Refused
from runbook_lib.transfer.writers import Side, Writers


@dataclass(frozen=True)
class RunPrediction:
    """What was seen of a run, and what would come.

    Attributes:
        writers: Who has the writes now, by the fences of the source and of every service's database.
        keys: Keys that wait to be synced (count).
        predicted_s: The write pause, all services in it (seconds); without the switch of a router.
        budget_s: What the plan, or an option, allows (seconds).
        refused: Rows that a target would refuse, or has in quarantine.
        differ: What both sides do not agree in.
    """

    environment: str
    plan: str
    ways: tuple[tuple[str, str, str], ...]
    writers: Writers
    keys: int
    predicted_s: float
    budget_s: float
    refused: tuple[Refused, ...]
    differ: tuple[Difference, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing that is known now speaks against it."""
        return not self.refused and not self.differ and self.predicted_s <= self.budget_s

    def lines(self) -> Iterator[str]:
        """For a person, one fact a line."""
        yield f"cutover of environment {self.environment}, plan {self.plan}"
        for service, source, target in self.ways:
            yield f"  {service}: {source} → {target}"
        yield f"  writers now  {self.writers.side}"
        yield f"  waiting      {self.keys:,} keys to be synced"
        yield f"  write pause  about {self.predicted_s * 1000:,.0f} ms predicted, {self.budget_s * 1000:,.0f} allowed"
        yield f"  rows         {len(self.refused):,} would not fit a target"
        for row in self.refused[:20]:
            yield f"    {row.table} ({', '.join(map(str, row.key))}): {row.reason}"
        for one in self.differ:
            yield f"would be refused: {one.text}"
            yield f"  Next: {one.action}"
        yield "nothing was fenced or changed"


def predict_run(run: RunContext) -> RunPrediction:
    """Look at every service of the run; a context that was not started serves, and takes no lease.

    Raises:
        TransferError: the run has no complete tables at its targets, or who has the writers is not proven.
    """
    writers = writers_of_run(run)
    writers.require(run.plan.source, Side.SOURCE)
    seen = [(pair, predict_switchover(pair, Side.TARGET)) for pair in pairs(run)]
    forward = links(run)
    return RunPrediction(
        run.environment.name,
        run.plan.path,
        tuple((pair.service.name, pair.source.masked_url, pair.target.masked_url) for pair, _ in seen),
        writers,
        sum(one.waiting.keys for _, one in seen),
        sum(one.predicted.total_s for _, one in seen),
        run.effective("cutover").max_write_pause_s,
        tuple(row for _, one in seen for row in one.refused),
        tuple(disagreements(run, forward, forward, links(run, BACK))),
    )
