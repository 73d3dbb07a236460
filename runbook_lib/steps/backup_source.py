"""Back up the source before anything is changed, and prove the backup by restoring it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runbook_lib.backup.backup import estimate, take
from runbook_lib.databases.port import Database, Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class BackupSource:
    """A complete logical backup with its digest, restored into a scratch database and compared; kept on rollback.

    Attributes:
        database: Another one than the plan's source, by its name in the inventory.
        folder: Keeps backups of one run apart from each other.
    """

    name: str = "backup_source"
    database: str = ""
    folder: str = ""
    reversible: bool = True
    requires: Sequence[str] = ()

    def check(self, run: RunContext) -> list[Problem]:
        expected = estimate(self._database(run), self._directory(run))
        if expected.fits:
            run.progress(0, expected.size_bytes, unit="bytes", reason=f"backup: {expected}")
            return []
        text = f"{expected.free_bytes / 1e6:,.1f} MB free; a backup takes {expected}"
        return [Problem(f"disk of {self._directory(run).parent}", text, "make room, or put the backups elsewhere")]

    def apply(self, run: RunContext) -> StepResult:
        database, options = self._database(run), run.options
        backup = take(
            database,
            self._directory(run),
            jobs=options.jobs,
            keep=options.keep_backups,
            progress=lambda size: run.progress(size, None, unit="bytes", reason="writing the backup"),
        )
        size = backup.info.size_bytes
        run.progress(size, size, unit="bytes", reason="written, restored and compared")
        facts = {**asdict(backup.info), "path": str(backup.info.path), **asdict(backup.proof)}
        return StepResult(str(backup), {**facts, "removed": backup.removed})

    def verify(self, run: RunContext) -> Verdict:
        recorded, directory = run.applied(self.name).data, self._directory(run)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) if directory.exists() else 0
        if recorded["problems"]:
            return Verdict(Outcome.FAIL, f"the backup proves nothing: {'; '.join(recorded['problems'])}")
        text = f"{directory.name}: {size / 1e6:.1f} MB on disk, restored and equal in {recorded['tables']} tables"
        return verdict(size == recorded["size_bytes"], text, size_bytes=size)

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("the backup is kept: a rollback may need it")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "a backup changes nothing that would have to be undone")

    def _database(self, run: RunContext) -> Database:
        return run.databases[self.database or run.plan.source]

    def _directory(self, run: RunContext) -> Path:
        place = run.backup_dir.with_name(f"{run.run_id}.{self.folder}") if self.folder else run.backup_dir
        return place / (self.database or run.plan.source)
