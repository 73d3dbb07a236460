"""Take the monolith out of service and remove every trace of the migration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.schema.extraction_views import drop_views
from runbook_lib.steps.routes_and_links import BACK, FORWARD, backend, before_targets, links, origin, shares, verdict
from runbook_lib.transfer.capture import disable_capture
from runbook_lib.transfer.sync_process import stop_sync
from runbook_lib.transfer.user_triggers import let_fire
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class DecommissionSource:
    """Irreversible: the rollback path ends here. The source's data stays where it is, fenced; the archive has it."""

    name: str = "decommission_source"
    reversible: bool = False
    requires: Sequence[str] = ("archive_source", "watch_traffic:stability")
    reshapes: Sequence[str] = ("source",)

    def check(self, run: RunContext) -> list[Problem]:
        routes = run.router.routes()
        wanted = {f"{s.name}.{kind}": backend(s, "target") for s in run.plan.services for kind in ("reads", "writes")}
        return [
            Problem(route, "still has traffic elsewhere", "finish the cutover first")
            for route, service in wanted.items()
            if shares(routes[route]) != {service: 100}
        ]

    def apply(self, run: RunContext) -> StepResult:
        for direction in (FORWARD, BACK):
            every = links(run, direction)
            stop_sync(every, run.journal, run.run_id, direction)
            for link in every:
                let_fire(link.writer, link.channel)  # nothing is replicated there any more
                disable_capture(link)
        for service in reversed(run.plan.services):
            run.service(before_targets(run, service)).stop()
            drop_views(service, run.source)
            run.databases[service.database].remove_fence()
        run.service(origin(run)).stop()
        return StepResult(
            f"{origin(run)} stopped; capture, views and the targets' fences removed; the source is fenced"
        )

    def verify(self, run: RunContext) -> Verdict:
        captured = [
            ln.channel for d in (FORWARD, BACK) for ln in links(run, d) if ln.reader.capture_installed(ln.channel)
        ]
        up = [name for name in (origin(run),) if run.service(name).running()]
        left = [*captured, *up]
        return verdict(not left, f"still there: {', '.join(left)}" if left else "nothing of the migration is left")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("cannot be undone: restore the backup into a new database instead")
