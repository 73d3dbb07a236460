"""The SQL that would repair one difference at a target, as most engines write it; "" where no statement does.

Nothing of it is carried out here: the report shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from runbook_lib.databases import sql_text
from runbook_lib.databases.identifiers import ident
from runbook_lib.databases.model import Column, Constraint, Index, Sequence_, Table


class Recreation(str):
    """Statements that create a whole table again: every difference of its own is repaired by them."""


@dataclass(frozen=True)
class Definition:
    """A table's DDL, written when it is asked for.

    Attributes:
        create: CREATE TABLE, by the (quoted) name that the table is to have.
        indexes: What makes its indexes.
    """

    create: Callable[[str], str]
    indexes: Callable[[], str]


@dataclass(frozen=True)
class Repair:
    """The differences of one table: what it is now, what it should be.

    Attributes:
        here: The table as it is.
        expected: As it should be.
        definition: Its DDL, where an engine has to create it again for want of a statement that changes it (SQLite).
    """

    here: Table
    expected: Table
    definition: Definition | None = None

    def _q(self, name: str) -> str:
        return ident(name)

    @property
    def _table(self) -> str:
        return self._q(self.here.name)

    def _alter(self, *parts: str) -> str:
        return f"ALTER TABLE {self._table} {', '.join(parts)}"

    # -- columns ---
    def add_column(self, column: Column) -> str:
        """Add a missing column; a required one without a default needs an empty table, or values first."""
        return self._alter(f"ADD COLUMN {self._line(column)}")

    def drop_column(self, name: str) -> str:
        """Drop a column too many, with its values."""
        return self._alter(f"DROP COLUMN {self._q(name)}")

    def change_column(self, column: Column, facet: str) -> str:
        """Make one facet of a column (type, nullable, default, collation, generated, identity) as expected."""
        raise NotImplementedError

    def _line(self, column: Column) -> str:
        """A column's whole definition."""
        line = f"{self._q(column.name)} {column.type}"
        if column.collation:
            line += f" COLLATE {self._collation(column.collation)}"
        if column.generated:
            return f"{line} GENERATED ALWAYS AS ({column.default}) STORED"
        line += "" if column.nullable else " NOT NULL"
        if column.identity in ("always", "by default"):
            return f"{line} GENERATED {column.identity.upper()} AS IDENTITY"
        if column.identity == "auto_increment":
            return f"{line} AUTO_INCREMENT"
        if column.default and column.default.lower().startswith("on update"):
            return f"{line} {column.default}"
        return f"{line} DEFAULT {column.default}" if column.default else line

    def _collation(self, name: str) -> str:
        return name

    # -- indexes ---
    def add_index(self, index: Index) -> str:
        """Build a missing index."""
        return f"CREATE {self._prefix(index)}INDEX {self._q(index.name)} ON {self._table} {self._body(index)}"

    def _prefix(self, index: Index) -> str:
        return "UNIQUE " if index.unique else ""

    def _body(self, index: Index) -> str:
        """The index's columns, without its method."""
        return re.sub(r"^\w+ \(", "(", index.definition.removeprefix("UNIQUE "))

    def drop_index(self, index: Index) -> str:
        """Drop an index too many."""
        return f"DROP INDEX {self._q(index.name)}"

    def build_again(self, index: Index) -> str:
        """Make an invalid index valid; only PostgreSQL has such."""
        return ""

    # -- constraints ---
    def add_constraint(self, constraint: Constraint) -> str:
        """Add a missing constraint, proven over all rows."""
        return self._alter(f"ADD {constraint.definition}")

    def drop_constraint(self, constraint: Constraint) -> str:
        """Drop a constraint too many."""
        return self._alter(f"DROP CONSTRAINT {self._q(constraint.name)}")

    def validate(self, constraint: Constraint) -> str:
        """Prove a constraint over the rows that were there before it; only PostgreSQL has such."""
        return ""

    # -- the rest ---
    def add_trigger(self, text: str) -> str:
        """Make a trigger of its text in the catalog."""
        return f"CREATE TRIGGER {text}"

    def change_trigger(self, here: str, text: str, add: str) -> str:
        """Make a trigger that is there what its text says; `add` is the statement that makes it."""
        return f"{self.drop_trigger(here)};\n{add}"

    def drop_trigger(self, text: str) -> str:
        """Drop a trigger too many."""
        return f"DROP TRIGGER {first_name(text)}"

    def sequence(self, sequence: Sequence_, last: int) -> str:
        """Make the next value the one after `last`."""
        raise NotImplementedError


def first_name(text: str) -> str:
    """The name with which a trigger's text begins."""
    found = re.match(r"\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\S+", text)
    return found[0] if found else ""


def string(text: str) -> str:
    """A text as a literal of PostgreSQL or SQLite."""
    return "'" + text.replace("'", "''") + "'"


def renamed_table(statement: str, dialect: str, name: str) -> str:
    """CREATE TABLE as SQLite keeps it (the third word is its name) for a table of another (quoted) name."""
    bare = statement.rstrip().rstrip(";")
    return f"CREATE TABLE {name}{bare[sql_text.code(bare, dialect)[2].end :]}"
