"""Capture writes at the targets before anybody writes there: the rollback path is open before the cutover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.errors import RollbackFailed
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import BACK, links, verdict
from runbook_lib.transfer.capture import capture_complete, disable_capture, enable_capture, pending
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class StartReverseCapture:
    """Install the reverse capture. The sync's own writes are not captured, so nothing goes round in circles."""

    name: str = "start_reverse_capture"
    reversible: bool = True
    requires: Sequence[str] = ("build_indexes",)

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        every = links(run, BACK)
        for link in every:
            enable_capture(link)
        tables = sum(len(link.captured) for link in every)
        return StepResult(
            f"{tables} tables at {len(every)} databases are captured for the rollback path", {"tables": tables}
        )

    def verify(self, run: RunContext) -> Verdict:
        incomplete = [link.channel for link in links(run, BACK) if not capture_complete(link)]
        text = f"capture incomplete: {', '.join(incomplete)}" if incomplete else "the rollback path is open"
        return verdict(not incomplete, text)

    def rollback(self, run: RunContext) -> StepResult:
        every = links(run, BACK)
        if left := pending(every).keys:
            raise RollbackFailed(
                "start_reverse_capture",
                f"{left} writes of the services have not come back yet",
                state="their log is kept",
            )
        for link in every:
            disable_capture(link)
        return StepResult("reverse capture removed")

    def undone(self, run: RunContext) -> Verdict:
        left = [link.channel for link in links(run, BACK) if link.reader.capture_installed(link.channel)]
        return verdict(not left, f"still captured: {', '.join(left)}" if left else "nothing is captured")
