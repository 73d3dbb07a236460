"""What an engine's SQL looks like: all that differs between engines as text, without a connection or a driver.

`dialect_of(name)` gives the engine's own (`databases/dialects/`): nobody else compares the names of engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import cast

from runbook_lib.databases.identifiers import ident, split
from runbook_lib.databases.model import Sequence_
from runbook_lib.databases.repair import Repair

ENGINES = ("postgresql", "mysql", "sqlite")


class Dialect:
    """One engine: what it has, and how it writes what each engine writes in its own way.

    Attributes:
        name: As adapters, plans and journals call the engine.
        longest_name: Of a table, column, index or constraint, and in what it is counted.
        loud_triggers: No session can keep the users' triggers from firing for its own rows.
        trigger_functions: A trigger calls a function; elsewhere its body is the statement itself.
        states_columns_whole: A column is changed by stating its whole definition again, the default too.
        no_default: Clause of ALTER COLUMN after which a row may leave the column out.
        long_text: The type of a text of any length.
        own_schema: The schema of the library's own tables; "" where their names begin with `runbook_`.
        repair: Statements that bring one table into its expected form.
    """

    name: str
    longest_name: tuple[int, str]
    repair: type[Repair]
    loud_triggers: bool = False
    trigger_functions: bool = False
    states_columns_whole: bool = False
    no_default: str = "DROP DEFAULT"
    long_text: str = "TEXT"
    own_schema: str = ""

    def ident(self, name: str) -> str:
        """One identifier, quoted, whatever it holds (dots too)."""
        return ident(name)

    def parts(self, name: str) -> tuple[str, ...]:
        """A table's name, with its schema before it where the engine has schemas."""
        return split(name)

    def quoted(self, name: str) -> str:
        """An identifier, or each part of `schema.table`, quoted; a part that holds a dot comes in quotes."""
        return ".".join(map(self.ident, self.parts(name)))

    def own_place(self, name: str) -> tuple[str, str | None]:
        """One of the library's own tables, as a catalog is asked for it: its name, and its schema."""
        return (name, self.own_schema) if self.own_schema else (f"runbook_{name}", None)

    def create_index(self, index: str, table: str, columns: str, *, unique: bool = False, method: str = "") -> str:
        """Build an index beside the writers, where the engine can; names come quoted."""
        return f"CREATE {'UNIQUE ' if unique else ''}INDEX {index} ON {table} {columns}"

    def drop_index(self, index: str, table: str) -> str:
        """Drop an index beside the writers, where the engine can; names come quoted."""
        return f"DROP INDEX {index}"

    def add_constraint(self, table: str, name: str, definition: str) -> list[str]:
        """Add a constraint with as little locking as the engine can; names come quoted."""
        return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"]

    def set_not_null(self, table: str, column: str, kind: str, check: str) -> list[str]:
        """Forbid NULL in a column; names come quoted.

        Args:
            kind: The column's type, with what else its definition has.
            check: A name for the check that proves it on the way.
        """
        return [
            *self.add_constraint(table, check, f"CHECK ({column} IS NOT NULL)"),
            f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL",
            f"ALTER TABLE {table} DROP CONSTRAINT {check}",
        ]

    def drop_not_null(self, table: str, column: str, kind: str, check: str) -> list[str]:
        """What undoes `set_not_null`, from the middle of it too."""
        return [
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}",
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL",
        ]

    def same(self, one: str, other: str) -> str:
        """The condition that two expressions have one value: NULL like NULL, texts byte by byte."""
        return f"{one} IS NOT DISTINCT FROM ({other})"

    def emptied(self, tables: Sequence[str]) -> list[str]:
        """Statements that remove all rows of tables, given parents first; names come quoted.

        MySQL's TRUNCATE refuses what a foreign key leads to, SQLite has none.
        """
        return [f"DELETE FROM {table}" for table in reversed(tables)]

    def advance(self, sequence: Sequence_, last: int) -> str:
        """Make a sequence's next value the one after `last`; "" for a counter that is never behind its column."""
        return ""


@cache
def dialect_of(name: str) -> Dialect:
    """The dialect of an engine, as its adapter names it."""
    return cast(Dialect, import_module(f"runbook_lib.databases.dialects.{name}").DIALECT)
