"""What a revision in Python writes in one line, so that writers continue (the statements: `docs/schema-changes.md`).

    from runbook_lib.schema import online

    transactional = False

    def upgrade() -> None:
        online.create_index("users_email", "users", ["email"])

Each function writes its statements down where Alembic's operations write theirs; nothing is run by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import own_name
from runbook_lib.errors import ConfigurationError
from runbook_lib.schema.revisions.batched_update import RANGE, ROWS


def emit(make: Callable[[str], Sequence[str]]) -> None:
    """Write statements down, made for the dialect that the revision is rendered for.

    Raises:
        ConfigurationError: a revision that Alembic's own command line runs: it cannot carry them out safely.
    """
    from alembic import op

    context = op.get_context()
    if not context.as_sql:
        raise ConfigurationError("the revision", "not rendered first", action="run it with `runbook schema upgrade`")
    for statement in make(context.dialect.name):
        context.impl.static_output(statement)


def create_index(name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str = "") -> None:
    """Build an index beside the writers. `where` makes it partial (PostgreSQL, SQLite)."""

    def make(dialect: str) -> list[str]:
        listed = ", ".join(quoted(column, dialect) for column in columns)
        what = f"({listed}) WHERE {where}" if where else f"({listed})"
        here = quoted(table, dialect)
        return [dialect_of(dialect).create_index(quoted(name, dialect), here, what, unique=unique)]

    emit(make)


def drop_index(name: str, table: str) -> None:
    """Drop an index without waiting for readers while they wait."""
    emit(lambda dialect: [dialect_of(dialect).drop_index(quoted(name, dialect), quoted(table, dialect))])


def add_check(name: str, table: str, condition: str) -> None:
    """Add a CHECK for new rows, then prove it for those that are there. MySQL and MariaDB would copy the table."""
    emit(lambda dialect: _constraint(dialect, table, name, f"CHECK ({condition})"))


def add_foreign_key(
    name: str, table: str, columns: Sequence[str], parent: str, parents: Sequence[str], *, on_delete: str = ""
) -> None:
    """Add a foreign key for new rows, then prove it for those that are there.

    Args:
        parents: The columns of the parent.
        on_delete: CASCADE, SET NULL, RESTRICT; empty: the engine's default.
    """

    def make(dialect: str) -> Sequence[str]:
        here, there = (", ".join(quoted(column, dialect) for column in names) for names in (columns, parents))
        key = f"FOREIGN KEY ({here}) REFERENCES {quoted(parent, dialect)} ({there})"
        return _constraint(dialect, table, name, f"{key} ON DELETE {on_delete}" if on_delete else key)

    emit(make)


def set_not_null(table: str, column: str, kind: str) -> None:
    """Forbid NULL in a column, without reading the table under a lock.

    Args:
        kind: The column's type: MySQL wants it said again, with the default and comment that are to stay.
    """
    emit(lambda dialect: not_null(dialect, table, column, kind))


def allow_null(table: str, column: str, kind: str) -> None:
    """Undo `set_not_null`, from the middle of it too."""
    emit(lambda dialect: null(dialect, table, column, kind))


def fill(table: str, assignments: str, where: str = "", *, rows: int = ROWS) -> None:
    """Change rows in batches: `fill("users", "theme = 'light'", "theme IS NULL")`.

    Args:
        rows: In a batch (count).
    """

    def make(dialect: str) -> list[str]:
        condition = f"{RANGE} AND ({where})" if where else RANGE
        return [f"-- batches of {table} by {rows}\nUPDATE {quoted(table, dialect)} SET {assignments} WHERE {condition}"]

    emit(make)


def not_null(dialect: str, table: str, column: str, kind: str) -> list[str]:
    """The statements of `set_not_null`."""
    names = quoted(table, dialect), quoted(column, dialect), kind, quoted(_check(table, column), dialect)
    return dialect_of(dialect).set_not_null(*names)


def null(dialect: str, table: str, column: str, kind: str) -> list[str]:
    """The statements of `allow_null`."""
    names = quoted(table, dialect), quoted(column, dialect), kind, quoted(_check(table, column), dialect)
    return dialect_of(dialect).drop_not_null(*names)


def _check(table: str, column: str) -> str:
    name = f"{table.rpartition('.')[2]}_{column}_here"
    return name if len(name.encode()) <= 63 else own_name("here", table, column)


def _constraint(dialect: str, table: str, name: str, definition: str) -> list[str]:
    return dialect_of(dialect).add_constraint(quoted(table, dialect), quoted(name, dialect), definition)


def quoted(name: str, dialect: str) -> str:
    """An identifier, or each part of `schema.table`, quoted; a part that holds a dot comes in quotes."""
    return dialect_of(dialect).quoted(name)
