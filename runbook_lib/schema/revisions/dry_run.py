"""What a migration of a schema would do, before anything runs: where the database is, the path, and the SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from runbook_lib.databases.port import Database
from runbook_lib.display.render import render
from runbook_lib.plan.model import LintRule
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import by_statement
from runbook_lib.schema.revisions.graph import (
    RenderedRevision,
    Revision,
    Revisions,
    SchemaPath,
    current_version,
    undo_of,
)
from runbook_lib.schema.revisions.lint import Hazards, hazards
from runbook_lib.schema.snapshot import in_words
from runbook_lib.util.text import counted

_MADE_BEFORE = ("syntax-error", "duplicate-values")


@dataclass(frozen=True)
class Preview:
    """A database, the graph and the path through it.

    Attributes:
        known: Every revision of the folder, the first one first.
        sql: What would be run, one for each revision of the path.
        pieces: Versions of the path that are no single transaction on this engine.
        half_way: (version, direction, statements) of a revision that was interrupted.
        hazards: What each revision of the path would do to others.
        drift: What was changed by hand since the recorded version; None: nobody can say.
    """

    database: str
    path: SchemaPath
    known: Sequence[Revision]
    sql: Sequence[RenderedRevision]
    pieces: frozenset[str]
    hazards: Sequence[Hazards]
    half_way: Sequence[tuple[str, str, int]]
    drift: Sequence[tuple[str, str, str]] | None

    @property
    def state(self) -> str:
        """Where the database is, in one line."""
        text = f"{self.database} is at {self.path.current}"
        for version, direction, count in self.half_way:
            text += f", and half-way through {version} ({direction}): begun: {counted(count, 'statement')}"
        if self.drift and not self.half_way:
            text += f"; changed by hand since: {in_words(self.drift)}"
        return text if self.drift is not None else f"{text}; no shape is recorded for it, so drift cannot be seen"

    @property
    def aim(self) -> str:
        """What is to be done, in one line."""
        path = self.path
        if not path.revisions:
            return f"nothing to do: {path.wanted} is where it is"
        return f"{path.direction} to {path.wanted}: {', '.join(revision.id for revision in path.revisions)}"

    def __str__(self) -> str:
        return "\n".join([f"-- {self.state}", f"-- {self.aim}", *self._scripts()])

    def _scripts(self) -> Iterator[str]:
        for revision, rendered, judged in zip(self.path.revisions, self.sql, self.hazards, strict=True):
            found = "".join(f"\n-- {finding}" for finding in judged.findings)
            yield f"\n-- {self._title(revision)}{found}\n{rendered}"

    def _title(self, revision: Revision) -> str:
        how = "each statement by itself" if revision.id in self.pieces else "one transaction"
        back = "" if revision.reversible else "; cannot be undone"
        return f"{revision.id} ({self.path.direction}, {how}{back}): {revision.title}"

    def _repr_html_(self) -> str:
        revisions = [
            (self._title(revision), judged.findings, rendered)
            for revision, rendered, judged in zip(self.path.revisions, self.sql, self.hazards, strict=True)
        ]
        return render("preview", state=self.state, aim=self.aim, revisions=revisions)


def _judged(found: Hazards, number: int) -> Hazards:
    """From the second revision on it is not said what is missing, or there twice: one before it may have seen to that.

    Its step looks again.
    """
    known = [finding for finding in found.findings if number == 0 or finding.hazard.rule not in _MADE_BEFORE]
    return replace(found, findings=tuple(known))


def preview(
    database: Database,
    revisions: Revisions,
    wanted: str = "head",
    policy: Mapping[str, LintRule] | None = None,
    *,
    judged: bool = True,
) -> Preview:
    """Read a database and the path to another version; nothing is changed.

    Args:
        policy: The plan's `lint:`.
        judged: False: hazards are not looked for, which needs the right to make tables on MySQL.
    Raises:
        ConfigurationError: as for `Revisions.path` and `Revisions.render`.
    """
    start = current_version(database)
    path = revisions.path(start, wanted, database=database.name)
    sql = tuple(revisions.render(revision, path.direction, database.dialect) for revision in path.revisions)
    pieces = frozenset(revision.id for revision in path.revisions if by_statement(database, revision))
    return Preview(
        database=database.name,
        path=path,
        known=tuple(revisions.by_id.values()),
        sql=sql,
        pieces=pieces,
        hazards=tuple(
            _judged(
                hazards(
                    database,
                    revision.id,
                    rendered.statements,
                    policy,
                    alone=revision.id in pieces,
                    back=undo_of(revisions, revision, path.direction, database.dialect),
                ),
                number,
            )
            for number, (revision, rendered) in enumerate(zip(path.revisions, sql, strict=True) if judged else ())
        ),
        half_way=version_store.begun(database),
        drift=version_store.drift(database, start),
    )
