"""Carry one revision out on a database, in either direction, and know afterwards exactly where the database is.

Where the engine allows it everything is one transaction: statements, the version, the revision's own verification.
Where each DDL statement commits by itself (MySQL, `transaction: no`), every statement is recorded in the database
before and after: one that writes rows together with its mark, in one transaction; one that changes the schema by its
intent and the schema's shape before it. Whether that one has happened is found out by reading the shape again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from runbook_lib.databases.adapter_helpers import without_comments
from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError, StepFailed, TransferError
from runbook_lib.schema.expand_contract.two_shapes import AT_ANY_TIME, NOTHING_MAY_BE_FOUND
from runbook_lib.schema.revisions import batched_update, version_store
from runbook_lib.schema.revisions.graph import (
    DOWN,
    UP,
    VERSION_TABLE,
    RenderedRevision,
    Revision,
    Revisions,
    current_version,
)
from runbook_lib.schema.snapshot import digest_of, in_words
from runbook_lib.util.points import passed
from runbook_lib.util.text import one_line

_ROWS = re.compile(r"\s*(?:insert|update|delete|replace|merge|with)\b", re.IGNORECASE)
_TAKES_AWAY = re.compile(r"\bDROP\s+(?:COLUMN|TABLE)\b", re.IGNORECASE)
_BARE = {"no_parameters": True}  # neither colons nor percent signs mean anything
OPPOSITE = {UP: DOWN, DOWN: UP}


@dataclass(frozen=True)
class RevisionResult:
    """What a revision did: statements run now, rows they wrote, statements found done by an attempt before."""

    statements: int = 0
    rows: int = 0
    found_done: int = 0


def writes_rows(statement: str) -> bool:
    """Whether a statement changes rows, not the schema."""
    return _ROWS.match(without_comments(statement)) is not None


def asks(statement: str) -> bool:
    """Whether a statement is a question that has to find nothing before the revision continues."""
    return statement.lstrip().lower().startswith(NOTHING_MAY_BE_FOUND)


def require_nothing(connection: Connection, statement: str) -> None:
    """Ask, and stop where something is found.

    Raises:
        DatabaseError: rows were found.
    """
    found = connection.exec_driver_sql(statement, execution_options=_BARE).fetchmany(3)
    if found:
        rows = ", ".join("/".join(map(str, row)) for row in found)
        raise DatabaseError("the revision", f"finds {rows}, where nothing may be found", action="correct these rows")


def by_statement(database: Database, revision: Revision) -> bool:
    """Whether the revision is no single transaction here."""
    return not (database.capabilities.transactional_ddl and revision.transactional)


def revise(
    database: Database,
    revisions: Revisions,
    revision: Revision,
    direction: str,
    pace: batched_update.Pace = batched_update.UNHURRIED,
) -> RevisionResult:
    """Carry a revision out, or what an interrupted attempt left of it. Idempotent.

    Args:
        pace: How hard its statements in batches may work.
    Raises:
        TransferError: a statement in batches cannot be cut, or stands in a revision that is one transaction.
        DatabaseError: a statement failed, a lock was never granted, somebody else migrates this schema.
        StepFailed: its verification found something, or the database has another version than it starts from.
    """
    rendered = revisions.render(revision, direction, database.dialect)
    with alone(database):
        version = current_version(database)
        if version == revision.after(direction):
            return RevisionResult()
        if version != revision.before(direction):
            raise StepFailed(
                f"database {database.name}",
                f"is at {version}",
                expected=revision.before(direction),
                state="nothing was run",
                action="look with `runbook schema status`",
            )
        version_store.prepare(database)
        if not version_store.begun(database, revision.id) and version_store.recorded(database, version) is None:
            version_store.record(database, version)  # what it has to be again when this is undone
        if not by_statement(database, revision):
            _refuse_batches(revision, rendered)
            return _in_one(database, revisions, revision, direction, rendered)
        done = _Statements(database, revision, direction, rendered, pace).carry_out()
    if direction == UP and (problems := revisions.problems(revision, database)):
        raise StepFailed(
            f"revision {revision.id}",
            f"its verification fails: {one_line(problems[0], 300)}",
            state=f"it is applied: the database is at {revision.id}",
            action="correct the data or the revision, then run again",
        )
    return done


@contextmanager
def alone(database: Database) -> Iterator[None]:
    """Hold the schema's lock, which ends with the process.

    Raises:
        DatabaseError: somebody else has it.
    """
    with database.advisory_lock("schema revisions") as granted:
        if not granted:
            raise DatabaseError(
                f"database {database.name}",
                "another process migrates its schema",
                state="nothing was run",
                action="wait until it has ended, then run again",
            )
        yield


def _refuse_batches(revision: Revision, rendered: RenderedRevision) -> None:
    if any(batched_update.batches_of(statement) for statement in rendered.statements):
        raise TransferError(
            f"revision {revision.id}",
            "has a statement in batches, and is one transaction",
            state="nothing was run",
            action="write `-- transaction: no` into its head",
        )


def _in_one(
    database: Database, revisions: Revisions, revision: Revision, direction: str, rendered: RenderedRevision
) -> RevisionResult:
    at, before = 0, revision.before(direction)

    def work(connection: Connection) -> RevisionResult:
        nonlocal at
        rows = 0
        for number, statement in enumerate(rendered.statements, 1):
            at = number
            if asks(statement):
                require_nothing(connection, statement)
                continue
            found = connection.exec_driver_sql(statement, execution_options=_BARE)
            rows += max(found.rowcount, 0) if writes_rows(statement) else 0
        at = 0
        _stamp(connection, rendered, database)
        problems = revisions.verify(revision, connection) if direction == UP else []
        if problems:
            raise StepFailed(
                f"revision {revision.id}",
                f"its verification fails: {one_line('; '.join(problems), 300)}",
                state=f"rolled back: the database is at {before}",
                action="correct the data or the revision, then run again",
            )
        return RevisionResult(len(rendered.statements), rows)

    try:
        return database.transaction(work)
    except DatabaseError as error:
        raise _failed(error, revision, direction, at, rendered, f"rolled back: the database is at {before}") from error


def _stamp(connection: Connection, rendered: RenderedRevision, database: Database) -> None:
    """Set the version; no row found means that somebody else has set it meanwhile."""
    if connection.exec_driver_sql(rendered.stamp, execution_options=_BARE).rowcount != 1:
        raise DatabaseError(f"database {database.name}", f"its {VERSION_TABLE} was changed meanwhile")


def _failed(
    error: DatabaseError, revision: Revision, direction: str, at: int, rendered: RenderedRevision, state: str
) -> DatabaseError:
    """The server's words, with the statement they are about and the state that is left."""
    where = f", statement {at} of {len(rendered.statements)}" if at else ""
    words = one_line(without_comments(rendered.statements[at - 1]), 80) if at else ""
    what = f" in `{words}`" if words and words not in error.observed else ""
    action = error.action or "correct the revision, then run again"
    return DatabaseError(
        f"revision {revision.id} ({direction}){where}", error.observed + what, state=state, action=action
    )


class _Statements:
    """A revision statement by statement, each recorded in the database before and after."""

    def __init__(
        self,
        database: Database,
        revision: Revision,
        direction: str,
        rendered: RenderedRevision,
        pace: batched_update.Pace = batched_update.UNHURRIED,
    ) -> None:
        self.database, self.revision, self.direction, self.rendered = database, revision, direction, rendered
        self.pace = pace
        self.marks = version_store.Marks(database, revision.id, direction)
        self.rows = self.run_now = 0

    def carry_out(self) -> RevisionResult:
        """All statements that are not done yet, then the version."""
        total = len(self.rendered.statements)
        for number in range(1, total + 1):
            try:
                self.one(number)
            except DatabaseError as error:
                before, after = self.revision.before(self.direction), self.revision.after(self.direction)
                ddl = self.database.capabilities.transactional_ddl
                why = f" ({ddl.found})" if self.revision.transactional and not ddl else ""
                state = f"{number - 1} of {total} statements are in{why}: the database is between {before} and {after}"
                state = state if number > 1 else f"nothing was changed: the database is at {before}"
                raise _failed(error, self.revision, self.direction, number, self.rendered, state) from error
        self.database.transaction(self._finish)
        return RevisionResult(self.run_now, self.rows, total - self.run_now)

    def one(self, number: int) -> None:
        """One statement, unless it has been carried out."""
        statement, state = self.rendered.statements[number - 1], self.marks.read().get(number)
        if state == version_store.DONE:
            return
        if asks(statement):
            self.database.transaction(lambda connection: require_nothing(connection, statement))
            self.marks.set(number, version_store.DONE)
        elif batched_update.batches_of(statement):
            channel = self.channel(number)
            self.rows += batched_update.carry_out(self.database, statement, channel, self.pace).rows
            self.marks.set(number, version_store.DONE)
            batched_update.forget(self.database, channel)
        elif writes_rows(statement):
            self.rows += self.database.transaction(self._with_mark(number, statement))
        elif state is not None and state != digest_of(version_store.shape(self.database)):
            self.database.run_online(statement, again=True)
            self.marks.set(
                number, version_store.DONE
            )  # an attempt that was killed has done it: the shape is another one
            return
        else:
            self.change(number, statement)
        self.run_now += 1
        passed(f"schema:done:{number}")

    def channel(self, number: int) -> str:
        """Under which name the marks of a statement's batches are kept."""
        return f"{self.revision.id} {self.direction} {number}"

    def settled(self) -> bool:
        """Whether every statement has happened, and only the version is not set."""
        marks, shape = self.marks.read(), digest_of(version_store.shape(self.database))
        numbers = range(1, len(self.rendered.statements) + 1)
        return all(marks.get(n) == version_store.DONE or marks.get(n) not in (None, shape) for n in numbers)

    def took_away(self) -> bool:
        """Whether a statement has happened that takes columns or tables away."""
        marks, shape = self.marks.read(), digest_of(version_store.shape(self.database))
        away = [n for n, s in enumerate(self.rendered.statements, 1) if _TAKES_AWAY.search(s) and not asks(s)]
        return any(marks.get(n) == version_store.DONE or marks.get(n) not in (None, shape) for n in away)

    def begun(self, number: int) -> bool:
        """Whether some of a statement's rows are in."""
        return self.marks.read().get(number) == version_store.DONE or batched_update.begun(
            self.database, self.channel(number)
        )

    def change(self, number: int, statement: str) -> None:
        """One statement that changes the schema, with its intent before and its mark behind it."""
        before = digest_of(version_store.shape(self.database))
        self.marks.set(number, before)
        passed(f"schema:intent:{number}")
        try:
            self.database.run_online(statement)
        except DatabaseError:
            if digest_of(version_store.shape(self.database)) == before:
                self.marks.forget(number)  # it did nothing: what a person changes now is not its doing
            raise
        passed(f"schema:between:{number}")
        self.marks.set(number, version_store.DONE)

    def _with_mark(self, number: int, statement: str) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            found = connection.exec_driver_sql(statement, execution_options=_BARE)
            connection.execute(*self.marks.setting(number, version_store.DONE))
            return max(found.rowcount, 0)

        return work

    def _finish(self, connection: Connection) -> None:
        _stamp(connection, self.rendered, self.database)
        for direction in (UP, DOWN):
            connection.execute(text(version_store.Marks(self.database, self.revision.id, direction).clearing))


def take_back(database: Database, revisions: Revisions, revision: Revision, direction: str) -> RevisionResult:
    """Undo a revision that went in this direction, the half of it that an attempt left too.

    Raises:
        StepFailed: it is half-way, and cannot be undone without losing rows or to the very shape it had before.
    """
    back, before = OPPOSITE[direction], revision.before(direction)
    if current_version(database) != before:
        return revise(database, revisions, revision, back)
    if not by_statement(database, revision) or not version_store.begun(database, revision.id):
        return RevisionResult()  # its transaction was rolled back, or nothing was begun
    with alone(database):
        return _half_way(database, revisions, revision, direction)


def _half_way(database: Database, revisions: Revisions, revision: Revision, direction: str) -> RevisionResult:
    """Undo what is in of a revision without transaction.

    Its down is written for the whole of it. Statements about rows are left out when none of its own has run, and
    all are run when all have; in between nothing is, unless it has none: what was filled goes with its column then.
    What says `-- at any time` does no harm in between: it is run, and has to succeed.
    A statement about the schema may fail, for what it takes away may never have been made: that the shape is what it
    was before is the proof.
    """
    forth = _Statements(database, revision, direction, revisions.render(revision, direction, database.dialect))
    moving = [n for n, statement in enumerate(forth.rendered.statements, 1) if writes_rows(statement)]
    moved = [number for number in moving if forth.marks.read().get(number) == version_store.DONE]
    begun = [number for number in moving if forth.begun(number)]
    back = _Statements(
        database,
        revision,
        OPPOSITE[direction],
        revisions.render(revision, OPPOSITE[direction], database.dialect),
    )
    whole, refills = forth.settled(), any(writes_rows(statement) for statement in back.rendered.statements)
    if not whole and refills and not moved and forth.took_away():
        raise _stuck(database, revision, direction, "some of what it takes away is gone, and the rest is not")
    if not whole and begun and moved != moving and refills:
        raise _stuck(database, revision, direction, f"{len(moved)} of {len(moving)} of its moves of rows are in")
    for number, statement in enumerate(back.rendered.statements, 1):
        if writes_rows(statement) and not moved and not whole and AT_ANY_TIME not in statement:
            continue
        try:
            back.one(number)
        except DatabaseError as error:
            if writes_rows(statement) or AT_ANY_TIME in statement:
                raise _stuck(database, revision, direction, error.observed) from error
    found = version_store.drift(database, revision.before(direction))
    if found:
        raise _stuck(database, revision, direction, f"it differs from what it was: {in_words(found)}")
    for number in moving:
        batched_update.forget(database, forth.channel(number))
    forth.marks.clear()
    back.marks.clear()
    return RevisionResult(back.run_now, back.rows)


def _stuck(database: Database, revision: Revision, direction: str, why: str) -> StepFailed:
    return StepFailed(
        f"revision {revision.id} ({direction})",
        f"cannot be undone half-way: {why}",
        state=f"the database is between {revision.before(direction)} and {revision.after(direction)}",
        action=f"put right what made it fail and run again (it resumes where it stopped), or restore the backup"
        f" of {database.name}",
    )
