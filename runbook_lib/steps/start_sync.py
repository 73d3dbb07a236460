"""Start the process that keeps the other side up to date."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import FORWARD, links, verdict
from runbook_lib.transfer.capture import pending
from runbook_lib.transfer.sync_process import last_entry, running, start_sync, stop_sync, this_command
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class StartSync:
    """The sync runs beside the notebooks, because what was switched must stay current between phases too.

    Attributes:
        direction: "forward" (source to services) or "back" (services to source, after the cutover).
    """

    direction: str = FORWARD
    requires: Sequence[str] = ("build_indexes",)
    reversible: bool = True
    standing: bool = True

    @property
    def name(self) -> str:
        return f"start_sync:{self.direction}"

    @property
    def ended_by(self) -> Sequence[str]:
        """After the cutover nothing is to be carried forward any more; after the decommissioning nothing back."""
        return ("cutover",) if self.direction == FORWARD else ("decommission_source",)

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        every = links(run, self.direction)
        if running(every):
            return StepResult("already running")
        pid = start_sync(every, self._command(run), run.log_dir / f"sync-{self.direction}.log", dict(os.environ))
        return StepResult(f"process {pid} drains {len(every)} links", {"pid": pid})

    def verify(self, run: RunContext) -> Verdict:
        every = links(run, self.direction)
        lag = pending(every)
        text = f"running, {lag.keys} keys pending, the oldest {lag.oldest_s:.1f} s old"
        return verdict(running(every), text if running(every) else "not running", pending=lag.keys)

    def rollback(self, run: RunContext) -> StepResult:
        stop_sync(links(run, self.direction), run.journal, run.run_id, self.direction)
        return StepResult("stopped; what is not applied yet stays in the log")

    def undone(self, run: RunContext) -> Verdict:
        up = running(links(run, self.direction))
        return verdict(not up, "still running" if up else "stopped")

    def _command(self, run: RunContext) -> list[str]:
        return [
            *this_command(),
            "sync",
            "--file",
            str(run.environment.parameter_file),
            "--plan",
            run.environment.plan_name,
            "--inventory",
            run.environment.inventory_name,
            "--run-id",
            run.run_id,
            "--since",
            str(last_entry(run.journal, run.run_id)),
            "--direction",
            self.direction,
        ]
