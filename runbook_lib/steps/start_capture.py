"""Capture every write at the source, so that it reaches the target too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.assessment.structure import NO_KEY
from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import links, verdict
from runbook_lib.transfer.capture import capture_complete, disable_capture, enable_capture, fence_writer
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class StartCapture:
    """From here on no write at the source can be missed; the targets take writes from the sync alone."""

    name: str = "start_capture"
    reversible: bool = True
    requires: Sequence[str] = ("create_target_schemas",)

    def check(self, run: RunContext) -> list[Problem]:
        missing = run.source.privileges_missing("source")
        keyless = [
            Problem(flow.table, "no key to capture by", NO_KEY)
            for link in links(run)
            for flow in link.flows
            if not flow.key
        ]
        return missing + keyless

    def apply(self, run: RunContext) -> StepResult:
        tables = 0
        for link in links(run):
            enable_capture(link)
            fence_writer(link)
            tables += len(link.captured)
        return StepResult(f"writes to {tables} tables are captured; the targets are fenced", {"tables": tables})

    def verify(self, run: RunContext) -> Verdict:
        incomplete = [link.channel for link in links(run) if not capture_complete(link)]
        text = f"capture incomplete: {', '.join(incomplete)}" if incomplete else "every table is captured"
        return verdict(not incomplete, text)

    def rollback(self, run: RunContext) -> StepResult:
        for link in links(run):
            disable_capture(link)
            link.writer.remove_fence()
        return StepResult("capture removed, fences removed at the targets")

    def undone(self, run: RunContext) -> Verdict:
        left = [link.channel for link in links(run) if link.reader.capture_installed(link.channel)]
        return verdict(not left, f"still captured: {', '.join(left)}" if left else "nothing is captured")
