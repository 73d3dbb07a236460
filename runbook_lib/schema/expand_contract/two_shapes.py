"""What every change in two revisions is made of: columns of a shape, and the SQL that compares and bears them.

A table's old and new shape stand side by side between expand and contract. `schema.split` has both in one table,
`schema.move` has the new one in a table of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.schema.online import not_null, null, quoted

NOTHING_MAY_BE_FOUND = "-- nothing may be found"
AT_ANY_TIME = "-- at any time"  # a statement about rows that does no harm in a revision that is half-way


@dataclass(frozen=True)
class Column:
    """A column of one shape.

    Attributes:
        kind: Its type, as the engine writes it.
        expression: SQL over the other shape's columns that gives its value.
        nullable: False: NOT NULL as long as its shape is the only one.
        default: SQL of its default, as long as its shape is the only one; empty: none.
    """

    kind: str
    expression: str
    nullable: bool = True
    default: str = ""


@dataclass(frozen=True)
class Stages:
    """The statements of both revisions, and the query for rows of which neither shape follows from the other."""

    expand: list[str]
    take_back: list[str]
    contract: list[str]
    restore: list[str]
    out_of_step: str


def dropped(table: str, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """In one statement, as they are added in one: half of a shape is nobody's."""
    names = ", ".join(f"DROP COLUMN {quoted(name, dialect)}" for name in columns)
    return [f"ALTER TABLE {quoted(table, dialect)} {names}"]


def firm(table: str, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """NOT NULL of the shape that is going to be the only one."""
    return [s for n, c in columns.items() if not c.nullable for s in not_null(dialect, table, n, c.kind)]


def defaults(table: str, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """The defaults of a shape's columns."""
    change = f"ALTER TABLE {quoted(table, dialect)} ALTER COLUMN"
    given = {name: column.default for name, column in columns.items() if column.default}
    return [f"{change} {quoted(name, dialect)} SET DEFAULT {value}" for name, value in given.items()]


def without_not_null(table: str, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """What undoes `firm`. MySQL restates the column: a default goes as well, and the statement says so."""
    gone = " DEFAULT NULL" if dialect_of(dialect).states_columns_whole else ""
    kinds = {name: f"{column.kind}{gone if column.default else ''}" for name, column in columns.items()}
    return [s for n, c in columns.items() if not c.nullable for s in null(dialect, table, n, kinds[n])]


def empty(columns: Mapping[str, Column], dialect: str, row: str = "") -> str:
    """The condition that a row has nothing in any of these columns."""
    return " AND ".join(f"{row}{quoted(name, dialect)} IS NULL" for name in columns)


def same(dialect: str, pairs: Mapping[str, str]) -> str:
    """SQL against SQL, NULL like NULL, byte by byte: 'a' and 'A' are two values in every collation."""
    return " AND ".join(dialect_of(dialect).same(one, other) for one, other in pairs.items())


def written(columns: Mapping[str, Column], dialect: str, record: str = "NEW") -> str:
    """A table of one row, the columns of a trigger's record, so that an expression finds them by their bare names."""
    names = [quoted(name, dialect) for name in columns]
    return f"(SELECT {', '.join(f'{record}.{name} AS {name}' for name in names)}) AS written"


def follows(
    columns: Mapping[str, Column], others: Mapping[str, Column], dialect: str, record: str = "NEW"
) -> list[str]:
    """For each column the SQL of its value by what a trigger's record holds of the other shape."""
    return [f"(SELECT {c.expression} FROM {written(others, dialect, record)})" for c in columns.values()]


def nothing(columns: Mapping[str, Column]) -> dict[str, str]:
    """For each column the SQL of what it holds when nothing was said: NULL, or the default where it cannot be NULL."""
    return {name: "NULL" if column.nullable else column.default for name, column in columns.items()}


def has_nothing(columns: Mapping[str, Column], dialect: str, row: str = "") -> str:
    """The condition that a row holds in these columns what it does when nothing was said."""
    return same(dialect, {f"{row}{quoted(name, dialect)}": value for name, value in nothing(columns).items()})
