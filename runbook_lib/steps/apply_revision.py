"""Carry out one revision of a schema, up or down; its undo is the other direction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Database, Problem
from runbook_lib.journal import digest_of
from runbook_lib.run.approvals import require_approval
from runbook_lib.run.context import RunContext
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import by_statement, revise, take_back, writes_rows
from runbook_lib.schema.revisions.batched_update import Pace
from runbook_lib.schema.revisions.graph import UP, RenderedRevision, Revision, Revisions, current_version, undo_of
from runbook_lib.schema.revisions.lint import Hazards, hazards
from runbook_lib.schema.snapshot import in_words
from runbook_lib.steps.routes_and_links import throttle_of, verdict
from runbook_lib.util.text import counted
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class ApplyRevision:
    """One revision in one direction.

    Attributes:
        folder: The revisions, relative to the parameter folder.
        digest: Of the revision's file: an edited one is another step.
        path: Which migration of the run it belongs to.
    """

    database: str
    revision: str
    folder: str = "revisions"
    direction: str = UP
    digest: str = ""
    path: int = 0
    reversible: bool = True
    requires: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"apply_revision:{self.revision}{'' if self.direction == UP else ':down'}"

    @property
    def reshapes(self) -> tuple[str, ...]:
        return (self.database,)

    def check(self, run: RunContext) -> list[Problem]:
        database, _, revision = self._parts(run)
        found, subject = current_version(database), f"database {self.database}"
        before, after = revision.before(self.direction), revision.after(self.direction)
        if found not in (before, after):
            return [Problem(subject, f"is at {found}, and {self.revision} goes from {before} to {after}")]
        half_way = version_store.begun(database, revision.id)
        if found == before and not half_way and (changed := version_store.drift(database, before)):
            return [Problem(subject, f"was changed by hand since {before}: {in_words(changed)}", "undo that by hand")]
        return self._risks(run)

    def apply(self, run: RunContext) -> StepResult:
        database, revisions, revision = self._parts(run)
        begun = time.monotonic()
        done = revise(database, revisions, revision, self.direction, self._pace(run, database))
        after = revision.after(self.direction)
        version_store.record(database, after)
        figures = {"version": after, "title": revision.title, "statements": done.statements, "rows": done.rows}
        taken = round(time.monotonic() - begun, 3)
        sql = str(revisions.render(revision, self.direction, database.dialect))
        did = f"{counted(done.statements, 'statement')}, {counted(done.rows, 'row')} written"
        text = f"{self.database} is at {after}: {did}"
        text += f", {counted(done.found_done, 'statement')} done before" if done.found_done else ""
        return StepResult(text, {**figures, "seconds": taken, "sql": sql, "file": self.digest})

    def verify(self, run: RunContext) -> Verdict:
        database, revisions, revision = self._parts(run)
        found, after = current_version(database), revision.after(self.direction)
        if found != after:
            return verdict(False, f"{self.database} is at {found}, not at {after}")
        problems = revisions.problems(revision, database) if self.direction == UP else []
        if problems:
            return verdict(False, f"its own verification fails: {'; '.join(problems)}")
        return verdict(True, f"{self.database} is at {after}, verified")

    def rollback(self, run: RunContext) -> StepResult:
        database, revisions, revision = self._parts(run)
        done = take_back(database, revisions, revision, self.direction)
        before = revision.before(self.direction)
        if version_store.remembers(database) and version_store.recorded(database, before) is None:
            version_store.record(database, before)
        return StepResult(f"{self.database} is at {before}: {done.rows:,} rows written back", {"rows": done.rows})

    def undone(self, run: RunContext) -> Verdict:
        """The version before it, with the very schema that was recorded for that."""
        database, _, revision = self._parts(run)
        found, before = current_version(database), revision.before(self.direction)
        if found != before:
            return verdict(False, f"{self.database} is at {found}, not back at {before}")
        if half_way := version_store.begun(database, revision.id):
            return verdict(False, f"{half_way[0][2]} statements of {revision.id} are half-way")
        changed = version_store.drift(database, before)
        if changed:
            return verdict(False, f"{self.database} is at {before}, and not as it was: {in_words(changed)}")
        return verdict(True, f"{self.database} is at {before}, as it was")

    def _parts(self, run: RunContext) -> tuple[Database, Revisions, Revision]:
        revisions = Revisions(run.environment.parameters_dir / self.folder)
        return run.databases[self.database], revisions, revisions.by_id[self.revision]

    def _pace(self, run: RunContext, database: Database) -> Pace:
        """How hard statements in batches work; their progress is the step's."""
        told = (0, 0)

        def tell(done: int, total: int) -> None:
            nonlocal told
            told = (done, total)
            run.progress(done, total, "batches")

        def waiting(reason: str) -> None:
            run.progress(*told, "batches", reason)

        pause = throttle_of(run.environment, run.options, (), waiting, [database])
        return Pace(run.options.batch_share, pause, tell)

    def _risks(self, run: RunContext) -> list[Problem]:
        """Hazards by the plan's policy, and what may be lost where it is no single transaction."""
        database, revisions, revision = self._parts(run)
        rendered, alone = revisions.render(revision, self.direction, database.dialect), by_statement(database, revision)
        back = undo_of(revisions, revision, self.direction, database.dialect)
        found = hazards(database, revision.id, rendered.statements, run.plan.lint, alone=alone, back=back)
        if found.to_approve:
            require_approved(run, found, rendered)
        moving = [writes_rows(statement) for statement in rendered.statements]
        if not alone or all(moving) or not any(moving):
            return found.problems()
        text = "moves rows and changes the schema in more than one transaction: a write between the two may be lost"
        action = "stop the writers meanwhile, or split it into expand and contract"
        return [*found.problems(), Problem(f"revision {revision.id}", text, action, blocking=False)]


def require_approved(run: RunContext, found: Hazards, rendered: RenderedRevision) -> None:
    """Hazards that a person has to approve, bound to the very SQL that will be run.

    Raises:
        GateFailed: nobody has; says which command does.
    """
    require_approval(run, run.history(), f"hazards: {found.revision}", digest_of({"sql": str(rendered)}))
