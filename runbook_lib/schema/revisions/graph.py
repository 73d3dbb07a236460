"""Versioned revisions on Alembic: a folder of `.py` and `.sql` files is one graph, without an ini and without env.py.

A revision is rendered to SQL before anything runs, whichever way it is written: what is shown, checked for
hazards and recorded is exactly what is run. Alembic keeps the graph, the path and the table of the version.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.schema.revisions.sql_file import load_sql

if TYPE_CHECKING:
    from alembic.script import Script, ScriptDirectory

VERSION_TABLE = "alembic_version"
BASE = "base"
MOST_CHARACTERS = 32  # of a version: Alembic's table has no room for more
_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{MOST_CHARACTERS}}}")
UP, DOWN = "up", "down"


@dataclass(frozen=True)
class Revision:
    """One step of the graph.

    Attributes:
        id: The version that the database has after it.
        down: The version it starts from; "base": none.
        title: Its first line, for people.
        reversible: It has a way down.
        transactional: It runs in one transaction where the engine allows that.
        digest: SHA-256 of its file.
    """

    id: str
    down: str
    title: str
    path: Path
    reversible: bool
    transactional: bool
    digest: str

    def after(self, direction: str) -> str:
        """The version that the database has when it went this way."""
        return self.id if direction == UP else self.down

    def before(self, direction: str) -> str:
        """The version that the database must have to go this way."""
        return self.down if direction == UP else self.id


@dataclass(frozen=True)
class RenderedRevision:
    """A revision in one direction as the statements that will be run; `stamp` is the one that sets the version."""

    statements: tuple[str, ...]
    stamp: str

    def __str__(self) -> str:
        return "\n".join(f"{statement.strip().rstrip(';')};" for statement in (*self.statements, self.stamp))


@dataclass(frozen=True)
class SchemaPath:
    """The way from one version to another: up, down, or nothing to do."""

    current: str
    wanted: str
    direction: str
    revisions: tuple[Revision, ...]


class Revisions:
    """The graph of one folder.

    Args:
        folder: Holds the revisions; its order is the graph's, not the file names'.
    Raises:
        ConfigurationError: no such folder, or none in it.
        PlanError: a file cannot be read, or the graph is broken; names the file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise ConfigurationError(f"revisions {folder}", "no such folder", action="name one with .py or .sql files")
        self._script = _scripts(folder)
        self.by_id = {script.revision: _revision(script) for script in self._in_order()}
        if not self.by_id:
            raise ConfigurationError(f"revisions {folder}", "no revision in it", expected=".py or .sql files")

    def _in_order(self) -> list[Script]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a name that is there twice, a parent that is not: only warned of
                return list(reversed(list(self._script.walk_revisions())))
        except PlanError:
            raise
        except Exception as error:  # a revision is code: it may raise anything while it is read
            raise PlanError(f"revisions {self.folder}", _words(error), state="nothing was read") from error

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """Versions that nothing follows; one, or the graph has a fork."""
        return tuple(sorted(self._script.get_heads()))

    def head(self) -> str:
        """The newest version.

        Raises:
            ConfigurationError: there are two.
        """
        if len(self.heads) > 1:
            raise ConfigurationError(
                f"revisions {self.folder}",
                f"two heads: {', '.join(self.heads)}",
                expected="one line of versions",
                state="nothing was run",
                action=f"let {self.heads[1]} revise {self.heads[0]}, or say which with --to",
            )
        return self.heads[0]

    def known(self, version: str, whose: str = "", *, whole: bool = False) -> str:
        """The version in full: `head`, `base`, or an unambiguous beginning of its name.

        Args:
            whose: What messages are about; empty: the folder.
            whole: The name has to be a whole one: a database's is never guessed.
        Raises:
            ConfigurationError: there is no such version.
        """
        if version in ("", "head") and not whole:
            return self.head()
        exact = whole or version in (BASE, *self.by_id)
        names = (BASE, *self.by_id) if exact else tuple(self.by_id)
        found = [name for name in names if name == version or (not exact and name.startswith(version))]
        if len(found) == 1:
            return found[0]
        raise ConfigurationError(
            whose or f"revisions {self.folder}",
            f"unknown version {version}" if not found else f"{version} may be {', '.join(found)}",
            expected=f"one of {', '.join((BASE, *self.by_id))}",
            state="nothing was run",
            action=f"add its revision to {self.folder}, or name another version",
        )

    def path(self, current: str, wanted: str = "head", *, database: str = "the database") -> SchemaPath:
        """The revisions between two versions, in the order in which they are carried out.

        Args:
            current: The version that the database has; "base": none.
            wanted: The version it shall have: its name, a beginning of it, `head` or `base`.
        Raises:
            ConfigurationError: a version is unknown, none leads to the other, or one on the way down has no down.
        """
        start, end = self.known(current, f"database {database}", whole=True), self.known(wanted)
        up, down = self._between(end, start), self._between(start, end)
        if up is None and down is None:
            raise ConfigurationError(
                f"revisions {self.folder}",
                f"{start} and {end} lie on two branches",
                state="nothing was run",
                action="go down to where they part, then up",
            )
        if up is not None:
            return SchemaPath(start, end, UP, tuple(reversed(up)))
        stuck = [revision.id for revision in down or () if not revision.reversible]
        if stuck:
            raise ConfigurationError(
                f"revision {stuck[0]}", "has no down", state="nothing was run", action="write one, or restore a backup"
            )
        return SchemaPath(start, end, DOWN, tuple(down or ()))

    def _between(self, upper: str, lower: str) -> list[Revision] | None:
        """From `upper` down to `lower`, or None when that does not lie below it."""
        found, here = [], upper
        while here not in (lower, BASE):
            found.append(self.by_id[here])
            here = self.by_id[here].down
        return found if here == lower else None

    def render(self, revision: Revision, direction: str, dialect: str) -> RenderedRevision:
        """The SQL of a revision in one direction, in the engine's own dialect.

        Raises:
            ConfigurationError: it cannot be written down before it runs (it reads rows, say).
        """
        from alembic.operations import Operations
        from alembic.runtime.migration import MigrationContext

        start, end = revision.before(direction), revision.after(direction)
        steps = self._script._upgrade_revs if direction == UP else self._script._downgrade_revs
        written = _Statements()
        options = {
            "as_sql": True,
            "output_buffer": written,
            "fn": lambda heads, context: steps(end, start),
            "starting_rev": None if start == BASE else start,
            "script": self._script,
            "transactional_ddl": False,  # BEGIN and COMMIT are not the revision's
        }
        dialect_opts: Any = {"paramstyle": "named"}  # a percent sign is one
        context = MigrationContext.configure(dialect_name=dialect, dialect_opts=dialect_opts, opts=options)
        try:
            with Operations.context(context):
                context.run_migrations()
        except PlanError:  # the file itself, with its line
            raise
        except Exception as error:
            raise ConfigurationError(
                f"revision {revision.id} ({direction})",
                f"cannot be written down as SQL: {_words(error)}",
                expected="operations and SQL: what is shown before is what is run",
                state="nothing was run",
                action=f"correct {revision.path.name}; rows are changed by SQL statements",
            ) from error
        return written.rendered()

    def problems(self, revision: Revision, database: Database) -> list[str]:
        """What the revision's own verification finds wrong, reading the database; empty: nothing."""
        with database.engine.connect() as connection:
            return self.verify(revision, connection)

    def verify(self, revision: Revision, connection: Any) -> list[str]:
        """The same on a connection, which may be in the middle of the revision's transaction."""
        check: Callable[[Any], Iterable[str] | None] | None = getattr(self._module(revision), "verify", None)
        try:
            return [str(problem) for problem in (check(connection) if check else None) or ()]
        except AssertionError as error:
            return [str(error) or "an assertion of its verification failed"]
        except Exception as error:  # it says no in whatever way it likes
            return [_words(error)]

    def _module(self, revision: Revision) -> Any:
        return self._script.get_revision(revision.id).module


def undo_of(revisions: Revisions, revision: Revision, direction: str, dialect: str) -> tuple[str, ...]:
    """The statements that would take a revision back which is to go up; none where it has no down, or goes down."""
    if direction == DOWN or not revision.reversible:
        return ()
    try:
        return revisions.render(revision, DOWN, dialect).statements
    except ConfigurationError:  # it is reported when somebody wants to go that way
        return ()


def current_version(database: Database) -> str:
    """The version that the database says it has; "base" when it says nothing.

    Raises:
        ConfigurationError: it says two.
    """
    from alembic.runtime.migration import MigrationContext

    with database.engine.connect() as connection:
        found = sorted(MigrationContext.configure(connection).get_current_heads())
    if len(found) > 1:
        raise ConfigurationError(
            f"database {database.name}",
            f"has two versions: {', '.join(found)}",
            expected="one",
            state="nothing was run",
            action=f"delete the older one from {VERSION_TABLE}, or merge the branches with Alembic",
        )
    return found[0] if found else BASE


def _scripts(folder: Path) -> ScriptDirectory:
    """Alembic's own directory of scripts, with the `.sql` files among them."""
    from alembic.script import Script, ScriptDirectory

    class Scripts(ScriptDirectory):
        def _load_revisions(self) -> Iterator[Script]:
            yield from super()._load_revisions()
            for path in sorted(folder.glob("*.sql")):
                module = load_sql(path)
                yield Script(module, module.revision, path)

    return Scripts(folder, version_locations=[folder])


def _revision(script: Script) -> Revision:
    path, module = Path(script.path), script.module
    below = script.down_revision
    if isinstance(below, list | tuple):
        text = f"{script.revision} merges {', '.join(map(str, below))}"
        raise PlanError(str(path), text, expected="one line of versions", action="let one revise the other")
    if not _NAME.fullmatch(script.revision) or script.revision in (BASE, "head"):
        expected = f"at most {MOST_CHARACTERS} letters, digits, `_`, `-` and `.`"
        raise PlanError(str(path), f"version `{script.revision}` is no name", expected=expected)
    return Revision(
        id=script.revision,
        down=str(below) if below else BASE,
        title=(script.doc or path.stem).rstrip("."),
        path=path,
        reversible=callable(getattr(module, "downgrade", None)),
        transactional=bool(getattr(module, "transactional", True)),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


class _Statements:
    """Stands where Alembic would write a script: each write is one statement."""

    def __init__(self) -> None:
        self._written: list[str] = []

    def write(self, text: str) -> None:
        statement = text.strip().removesuffix(";").rstrip()
        if statement and not statement.startswith("-- Running ") and f"CREATE TABLE {VERSION_TABLE}" not in statement:
            self._written.append(statement)

    def flush(self) -> None:
        pass

    def rendered(self) -> RenderedRevision:
        """Alembic sets the version last."""
        return RenderedRevision(tuple(self._written[:-1]), self._written[-1].partition(" RETURNING ")[0])


def _words(error: BaseException) -> str:
    from runbook_lib.util.text import one_line

    text = one_line(str(error))
    return text if type(error).__name__ in ("CommandError", "UserWarning") else f"{type(error).__name__}: {text}"
