"""Archive every planned table of the source, and prove that the archive can be read back equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from runbook_lib.backup.archive import archive_table, file_of
from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import BACK, links, verdict
from runbook_lib.transfer.sync import drain_pending
from runbook_lib.transfer.sync_process import exclusive, running, stop_sync
from runbook_lib.util import extras
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class ArchiveSource:
    """The reverse sync is drained and stopped first, so that the source stands still; its log keeps growing."""

    name: str = "archive_source"
    reversible: bool = True
    standing: bool = True
    requires: Sequence[str] = ("cutover",)

    def check(self, run: RunContext) -> list[Problem]:
        return [] if extras.installed("archive") else [Problem("archive", "no pyarrow", extras.install("archive"))]

    def apply(self, run: RunContext) -> StepResult:
        back = links(run, BACK)
        stop_sync(back, run.journal, run.run_id, BACK)
        with exclusive(back):
            drain_pending(back, batch_keys=run.options.batch_keys)
        tables = run.source.catalog(sorted({m.source for s in run.plan.services for m in s.tables}))
        total, done, archived = sum(t.rows_estimate for t in tables.values()), 0, []
        for name, table in tables.items():
            archived.append(
                archive_table(run.source, name, table, run.archive_dir, rows_per_group=run.options.chunk_rows)
            )
            done += archived[-1].rows
            run.progress(done, max(total, done), "rows")
        size = sum(a.size_bytes for a in archived)
        text = f"{done:,} rows of {len(archived)} tables in {size / 1e6:.1f} MB, read back and equal"
        return StepResult(text, {"rows": done, "tables": [asdict(a) | {"path": str(a.path)} for a in archived]})

    def verify(self, run: RunContext) -> Verdict:
        wanted = {m.source for s in run.plan.services for m in s.tables}
        missing = sorted(table for table in wanted if not file_of(run.archive_dir, table).exists())
        if running(links(run, BACK)):
            return verdict(False, "the source has been written to since: the sync back is running")
        return verdict(not missing, f"missing: {', '.join(missing)}" if missing else "every table has its file")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("the archive is kept")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "an archive changes nothing that would have to be undone")
