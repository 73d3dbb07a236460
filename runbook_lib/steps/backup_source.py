"""Back up the source before anything is changed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run import Run
from runbook_lib.step import StepResult, Verdict
from runbook_lib.steps.common import verdict


@dataclass(frozen=True)
class BackupSource:
    """A complete logical backup of the source, with its digest; kept on rollback."""

    name: str = "backup_source"
    reversible: bool = True
    requires: Sequence[str] = ()

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        directory = run.backup_dir / run.source.name
        directory.parent.mkdir(parents=True, exist_ok=True)
        if directory.exists():  # of an attempt that was killed before its result was recorded
            shutil.rmtree(directory)
        info = run.source.backup(directory, jobs=run.options.jobs)
        text = f"{run.source.name}: {info.size_bytes / 1e6:.1f} MB in {info.elapsed_s:.1f} s, {info.tables} tables"
        return StepResult(text, {**asdict(info), "path": str(info.path)})

    def verify(self, run: Run) -> Verdict:
        directory = run.backup_dir / run.source.name
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) if directory.exists() else 0
        return verdict(size > 0, f"{directory.name}: {size / 1e6:.1f} MB on disk", size_bytes=size)

    def rollback(self, run: Run) -> StepResult:
        return StepResult("the backup is kept: a rollback may need it")

    def undone(self, run: Run) -> Verdict:
        return verdict(True, "a backup changes nothing that would have to be undone")
