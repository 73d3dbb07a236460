"""What a revision in Python writes in one line, so that writers continue (the statements: `docs/schema-changes.md`).

    from runbook_lib.schema import online

    transactional = False

    def upgrade() -> None:
        online.create_index("users_email", "users", ["email"])

Each function writes its statements down where Alembic's operations write theirs; nothing is run by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runbook_lib.databases.identifiers import own_name, parts_of
from runbook_lib.errors import ConfigurationError
from runbook_lib.schema.convert.translation_job import quote
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
        how = " CONCURRENTLY" if dialect == "postgresql" else ""
        listed = ", ".join(quoted(column, dialect) for column in columns)
        kind = "UNIQUE INDEX" if unique else "INDEX"
        condition = f" WHERE {where}" if where else ""
        return [f"CREATE {kind}{how} {quoted(name, dialect)} ON {quoted(table, dialect)} ({listed}){condition}"]

    emit(make)


def drop_index(name: str, table: str) -> None:
    """Drop an index without waiting for readers while they wait."""

    def make(dialect: str) -> list[str]:
        if dialect == "mysql":
            return [f"DROP INDEX {quoted(name, dialect)} ON {quoted(table, dialect)}"]
        how = " CONCURRENTLY" if dialect == "postgresql" else ""
        return [f"DROP INDEX{how} {quoted(name, dialect)}"]

    emit(make)


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
    here, name = quoted(table, dialect), quoted(column, dialect)
    if dialect == "mysql":
        return [f"ALTER TABLE {here} MODIFY {name} {kind} NOT NULL"]
    check = _check(table, column)
    return [
        *_constraint(dialect, table, check, f"CHECK ({name} IS NOT NULL)"),
        f"ALTER TABLE {here} ALTER COLUMN {name} SET NOT NULL",
        f"ALTER TABLE {here} DROP CONSTRAINT {quoted(check, dialect)}",
    ]


def null(dialect: str, table: str, column: str, kind: str) -> list[str]:
    """The statements of `allow_null`."""
    here, name = quoted(table, dialect), quoted(column, dialect)
    if dialect == "mysql":
        return [f"ALTER TABLE {here} MODIFY {name} {kind} NULL"]
    left = quoted(_check(table, column), dialect)
    return [
        f"ALTER TABLE {here} DROP CONSTRAINT IF EXISTS {left}",
        f"ALTER TABLE {here} ALTER COLUMN {name} DROP NOT NULL",
    ]


def _check(table: str, column: str) -> str:
    name = f"{table.rpartition('.')[2]}_{column}_here"
    return name if len(name.encode()) <= 63 else own_name("here", table, column)


def _constraint(dialect: str, table: str, name: str, definition: str) -> list[str]:
    change = f"ALTER TABLE {quoted(table, dialect)}"
    add = f"{change} ADD CONSTRAINT {quoted(name, dialect)} {definition}"
    if dialect != "postgresql":
        return [add]
    return [f"{add} NOT VALID", f"{change} VALIDATE CONSTRAINT {quoted(name, dialect)}"]


def quoted(name: str, dialect: str) -> str:
    """An identifier, or each part of `schema.table`, quoted; a part that holds a dot comes in quotes."""
    return ".".join(quote(part, dialect) for part in parts_of(name, dialect))
