"""See that a database has the version that a path of revisions starts from, or the one that it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run import Run
from runbook_lib.schema import memory
from runbook_lib.schema.revisions import current_version
from runbook_lib.schema.shape import in_words
from runbook_lib.step import StepResult, Verdict
from runbook_lib.steps.common import verdict


@dataclass(frozen=True)
class VerifyVersion:
    """The version, and that nobody has changed the schema by hand since the database was brought to it.

    Attributes:
        when: "source" before a path, "target" after it.
        path: Which migration of the run it belongs to (the journal's entry that opened it).
        accept_drift: Take the schema as it is for that of this version.
    """

    when: str
    database: str
    version: str
    path: int = 0
    accept_drift: bool = False
    reversible: bool = True
    requires: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"verify_version:{self.when}"

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        database = run.databases[self.database]
        found = current_version(database)
        if self.accept_drift and found == self.version:
            memory.prepare(database)
            memory.record(database, found)
        changed = memory.drift(database, found)
        figures = {"version": found, "known": changed is not None, "drift": [" ".join(line) for line in changed or ()]}
        return StepResult(f"{self.database} is at {found}", figures)

    def verify(self, run: Run) -> Verdict:
        database = run.databases[self.database]
        found = current_version(database)
        if found != self.version:
            return verdict(False, f"{self.database} is at {found}, not at {self.version}")
        if changed := memory.drift(database, found):
            return verdict(
                False,
                f"{self.database} was changed by hand since it was brought to {found}: {in_words(changed)};"
                " undo that, or take it as it is with --accept-drift",
            )
        known = "as recorded" if changed == [] else "the first time that its schema is recorded"
        return verdict(True, f"{self.database} is at {found}, {known}")

    def rollback(self, run: Run) -> StepResult:
        return StepResult("looking changed nothing")

    def undone(self, run: Run) -> Verdict:
        return verdict(True, "nothing to undo")
