"""Run SQL of the plan at a database of the inventory: check, apply, verify, rollback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import Problem
from runbook_lib.errors import DatabaseError, StepFailed
from runbook_lib.plan.system_tasks import Query
from runbook_lib.plan.system_values import written
from runbook_lib.run.context import RunContext
from runbook_lib.steps.acting import act, take_back, undone, unmet
from runbook_lib.util.redact import mask
from runbook_lib.util.text import counted
from runbook_lib.verdict import Outcome, StepResult, Verdict

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BARE = {"no_parameters": True}  # neither colons nor percent signs mean anything
_TRUTH = {"true": "1", "false": "0"}  # where an engine has no type for it


@dataclass(frozen=True)
class SqlStep:
    """Statements of the plan in one transaction, which is committed only if `proof` passes within it.

    An engine that commits DDL by itself keeps what came before the statement that failed: see its `check`.

    Attributes:
        title: Distinguishes the statements of a plan.
        database: Its name in the inventory.
        acts: What `apply` runs; not where `proof` passes already.
        proof: A query with expected rows (`Query`, as a mapping).
        condition: The same: nothing stands in the way.
        undo: What `rollback` runs, in one transaction; without it the step is irreversible.
    """

    title: str
    database: str
    acts: tuple[str, ...]
    proof: Mapping[str, Any]
    condition: Mapping[str, Any] = field(default_factory=dict)
    undo: tuple[str, ...] = ()
    requires: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"sql_step:{self.title}"

    @property
    def reversible(self) -> bool:
        return bool(self.undo)

    @property
    def reshapes(self) -> Sequence[str]:
        return (self.database,)

    def check(self, run: RunContext) -> list[Problem]:
        ddl = run.databases[self.database].capabilities.transactional_ddl
        text = f"{ddl.found}: what comes before a statement that fails may stay"
        notes = [] if ddl else [Problem(self.database, text, "write statements that may run twice", blocking=False)]
        return [*notes, *(unmet(run, self, lambda: self._ask(run, self.condition)) if self.condition else [])]

    def apply(self, run: RunContext) -> StepResult:
        def work(connection: Connection) -> int:
            changed = _run(connection, self.acts)
            seen = _seen(Query(**self.proof), _rows(connection, self.proof["query"]))
            if not seen.passed:
                raise StepFailed(self.name, f"before the commit: {seen.text}", state="the transaction was rolled back")
            return changed

        return act(run, self, lambda: self._told(self.acts, run.databases[self.database].transaction(work)))

    def verify(self, run: RunContext) -> Verdict:
        return self._ask(run, self.proof)

    def rollback(self, run: RunContext) -> StepResult:
        def work() -> str:
            return self._told(self.undo, run.databases[self.database].transaction(lambda c: _run(c, self.undo)))

        return take_back(run, self, work)

    def undone(self, run: RunContext) -> Verdict:
        return undone(run, self)

    def _told(self, statements: Sequence[str], changed: int) -> str:
        return f"{self.database}: {counted(len(statements), 'statement')}, {counted(changed, 'row')} changed"

    def _ask(self, run: RunContext, settings: Mapping[str, Any]) -> Verdict:
        query = Query(**settings)
        try:
            return _seen(query, run.databases[self.database].rows(query.query))
        except DatabaseError as error:
            return Verdict(Outcome.COULD_NOT_RUN, mask(str(error)))


def _run(connection: Connection, statements: Sequence[str]) -> int:
    """How many rows they changed."""
    done = [connection.exec_driver_sql(statement, execution_options=_BARE).rowcount for statement in statements]
    return sum(count for count in done if count > 0)


def _rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(query, execution_options=_BARE)]


def _seen(query: Query, rows: Sequence[Sequence[Any]]) -> Verdict:
    """What was found against what is expected; one row that differs is shown."""
    found = [tuple(None if value is None else written(value) for value in row) for row in rows]
    expected = [tuple(row) for row in query.rows]
    if len(found) == len(expected) and all(map(_same, found, expected)):
        return Verdict(Outcome.PASS, f"{counted(len(found), 'row')} as expected")
    pairs = zip(found, expected, strict=False)
    differs = next(((one, other) for one, other in pairs if not _same(one, other)), None)
    example = f": {_shown(differs[0])} where {_shown(differs[1])} is expected" if differs else ""
    return Verdict(Outcome.FAIL, f"{counted(len(found), 'row')}, expected {len(expected)}{example}")


def _same(found: tuple[str | None, ...], expected: tuple[str | None, ...]) -> bool:
    return len(found) == len(expected) and all(
        one == other or (one is not None and one == _TRUTH.get(other or ""))
        for one, other in zip(found, expected, strict=True)
    )


def _shown(row: tuple[str | None, ...]) -> str:
    return mask("(" + ", ".join("NULL" if value is None else value for value in row) + ")")[:120]
