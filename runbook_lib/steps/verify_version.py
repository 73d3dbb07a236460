"""See that a database has the version that a path of revisions starts from, or the one that it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.graph import current_version
from runbook_lib.schema.snapshot import in_words
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import StepResult, Verdict


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

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        database = run.databases[self.database]
        found = current_version(database)
        if self.accept_drift and found == self.version:
            version_store.prepare(database)
            version_store.record(database, found)
        changed = version_store.drift(database, found)
        figures = {"version": found, "known": changed is not None, "drift": [" ".join(line) for line in changed or ()]}
        return StepResult(f"{self.database} is at {found}", figures)

    def verify(self, run: RunContext) -> Verdict:
        database = run.databases[self.database]
        found = current_version(database)
        if found != self.version:
            return verdict(False, f"{self.database} is at {found}, not at {self.version}")
        if changed := version_store.drift(database, found):
            return verdict(
                False,
                f"{self.database} was changed by hand since it was brought to {found}: {in_words(changed)};"
                " undo that, or take it as it is with --accept-drift",
            )
        known = "as recorded" if changed == [] else "the first time that its schema is recorded"
        return verdict(True, f"{self.database} is at {found}, {known}")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("looking changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")
