"""What an engine's SQL looks like: all that differs between engines as text, without a connection or a driver.

`dialect_of(name)` gives the engine's own (`databases/dialects/`): nobody else compares the names of engines.
"""

from __future__ import annotations

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
        repair: Statements that bring one table into its expected form.
    """

    name: str
    longest_name: tuple[int, str]
    repair: type[Repair]
    loud_triggers: bool = False

    def ident(self, name: str) -> str:
        """One identifier, quoted, whatever it holds (dots too)."""
        return ident(name)

    def parts(self, name: str) -> tuple[str, ...]:
        """A table's name, with its schema before it where the engine has schemas."""
        return split(name)

    def advance(self, sequence: Sequence_, last: int) -> str:
        """Make a sequence's next value the one after `last`; "" for a counter that is never behind its column."""
        del sequence, last
        return ""


@cache
def dialect_of(name: str) -> Dialect:
    """The dialect of an engine, as its adapter names it."""
    return cast(Dialect, import_module(f"runbook_lib.databases.dialects.{name}").DIALECT)
