"""Drift: whether the schemas are still what the run approved.

The first gate that passes records the shape of every database of the plan. A step that says so (`reshapes`) renews
it with its result, in the same entry of the journal, so that no kill can come between the two. What else has changed
is drift: every gate names it, and so does a step that is about to reshape the same database. It stays until it is
put back or a person approves exactly it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runbook_lib.databases.port import Database
from runbook_lib.errors import GateFailed, RunbookError
from runbook_lib.journal import History, digest_of
from runbook_lib.journal.kinds import Result, RollbackResult, SchemaApproved, Shapes
from runbook_lib.run.approvals import command_for, require_approval
from runbook_lib.run.step import Step
from runbook_lib.schema.snapshot import Shape, differences, in_words, shape_of

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext


@dataclass(frozen=True)
class Look:
    """One database now, compared with what was approved.

    Attributes:
        known: Whether something was approved.
        words: The drift in one line; empty: none.
        renewal: What to record to approve what is there now.
        subject: Digest of what is there now: what an approval of the drift is bound to.
        error: Why it could not be checked; empty: it could.
    """

    database: str
    known: bool
    words: str = ""
    renewal: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    subject: str = ""
    error: str = ""

    @property
    def approval(self) -> str:
        """What a person approves, in words."""
        return f"schema drift in {self.database}"


def reshaped(run: RunContext, step: Step) -> tuple[str, ...]:
    """Names of the databases whose schema a step changes, as its `reshapes` says: source, targets, or their names."""
    roles = {"source": (run.plan.source,), "targets": tuple(service.database for service in run.plan.services)}
    said: Iterable[str] = getattr(step, "reshapes", ())
    return tuple(dict.fromkeys(name for each in said for name in roles.get(each, (each,))))


def look(run: RunContext, history: History, names: Sequence[str]) -> list[Look]:
    """Each of these databases now, all at the same time; about 20 ms each."""
    if not names:
        return []
    approved, databases = _approved(history), [_opened(run, name) for name in names]
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(_shape, databases))
    return [_look(name, approved.get(name), shape) for name, shape in zip(names, found, strict=True)]


def renewed(run: RunContext, names: Sequence[str]) -> Shapes:
    """What approves these databases as they are now, when it is recorded; one that does not answer is left out."""
    return {each.database: each.renewal for each in look(run, run.history(), names) if not each.error}


def _opened(run: RunContext, name: str) -> Database | str:
    try:
        return run.databases[name]
    except RunbookError as error:  # not in the inventory, or its secret cannot be read
        return str(error)


def _shape(database: Database | str) -> Shape | str:
    if isinstance(database, str):
        return database
    try:
        return shape_of(database)
    except RunbookError as error:
        return str(error)


def _look(name: str, before: Shape | None, now: Shape | str) -> Look:
    if isinstance(now, str):
        return Look(name, before is not None, error=now)
    words = in_words(differences(before, now)) if before is not None else ""
    old = before or {}
    changed = {table: list(now[table]) if table in now else None for table in {*old, *now}}
    renewal = {table: lines for table, lines in changed.items() if lines is None or lines != list(old.get(table, ()))}
    return Look(name, before is not None, words, dict(sorted(renewal.items())), digest_of({name: now}))


def _approved(history: History) -> dict[str, dict[str, tuple[str, ...]]]:
    """Database → the shape that was approved last: every renewal applied in order."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    kinds = SchemaApproved | Result | RollbackResult
    recorded = [one.content.shapes for one in history.entries if isinstance(one.content, kinds)]
    for shapes in recorded:
        for name, renewal in shapes.items():
            shape = found.setdefault(name, {})
            for table, lines in renewal.items():
                shape.pop(table, None)
                if lines is not None:
                    shape[table] = tuple(lines)
    return found


def require_no_drift(run: RunContext, history: History, databases: Sequence[str]) -> None:
    """Before a step changes these schemas: what it would build on is what was approved.

    Raises:
        GateFailed: names what changed, and how to approve it.
    """
    for each in look(run, history, databases):
        if each.words:
            try:
                require_approval(run, history, each.approval, each.subject, waivable=False)
            except GateFailed as refusal:
                raise GateFailed(
                    f"schema of {each.database}",
                    each.words,
                    expected="what the run approved",
                    state="nothing was done",
                    action=f"put it back, or: {command_for(run, each.approval)}",
                ) from refusal
