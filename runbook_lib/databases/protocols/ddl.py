"""A database's definitions: read as scripts, tried, carried out, judged by what they hold up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from runbook_lib.databases.model import (
    FiringTrigger,
    Hazard,
    IndexUse,
    OtherObjects,
    Refusal,
)
from runbook_lib.databases.protocols.connected import Connected


class Ddl(Protocol):
    """The schema's part of the port."""

    def dump_schema(self, tables: Sequence[str]) -> tuple[str, str]:
        """The tables' DDL at full fidelity: (before data, after data) as SQL scripts of this engine.

        Before: extensions, types, functions, tables, sequences, defaults. After: indexes, constraints, triggers;
        foreign keys to tables outside the list are left out (the caller names them from the catalog).
        """

    def dump_rest(self, tables: Sequence[str]) -> OtherObjects:
        """What the database has beside tables and what they need, for a copy of all of these tables."""

    def stages(self, after: str) -> list[list[str]]:
        """Cut a script of `dump_schema` into stages: the scripts of one stage may run side by side."""

    def about(self, scripts: Sequence[str], tables: Sequence[str]) -> list[str]:
        """For each script of `stages` the one of these tables that it is about; empty: several, or none."""

    def split_references(self, after: str) -> tuple[str, str]:
        """Cut the second script of `dump_schema` in two: everything but the foreign keys, and the foreign keys.

        Foreign keys of tables that are being synced can be added only at a moment when parents and children agree.
        """

    def drop_tables(self, tables: Sequence[str]) -> None:
        """Drop these tables with what `dump_schema` brings along for them (types, functions), unless others use it.

        Tables that are not there are passed over.
        """

    def run_script(self, script: str, *, again: bool = False) -> None:
        """Run an SQL script in one transaction where the engine allows it.

        `again`: a kill may have let it run in part, where DDL commits by itself: what is there by its name stays.
        """

    def try_scripts(
        self,
        scripts: Sequence[str],
        gone: Sequence[str] = (),
        undo: str = "",
        tell: Callable[[str], object] = lambda text: None,
    ) -> list[Refusal]:
        """Run scripts and undo all of it: what is refused.

        Args:
            gone: Tables that are dropped before, with the types and functions that came with them.
            undo: The script that drops what depends on them.
            tell: Told what cannot be tried here, and why.
        """

    def hazards(self, statements: Sequence[str], *, alone: bool, back: Sequence[str] = ()) -> list[Hazard]:
        """What these statements would hold up, break or lose, as the engine or its linter says; no table is touched.

        `alone`: each statement is its own transaction. `back`: those of the other direction: only what they would lose.
        """

    def run_online(self, statement: str, *, again: bool = False) -> None:
        """Carry out one statement without holding writers up for longer than the lock timeout, or not at all.

        `again`: an attempt before was cut off after it had changed the schema: only what is left of it is done.
        """

    def index_use(self) -> IndexUse:
        """How often each index was read, and since when that is counted."""

    def firing_triggers(self, tables: Sequence[str], *, silent: bool = False) -> list[FiringTrigger]:
        """The user's triggers of these tables that would fire for what the library writes, in their order of firing.

        None where the engine can silence them for a session. `silent`: also those that silence themselves for it.
        """
        ...

    def firing_trigger_of(self, script: str) -> FiringTrigger | None:
        """The trigger of that kind that a script of `stages` makes; None: it makes something else."""
        ...

    def take_history(self, reader: Connected, tables: Mapping[str, str]) -> dict[str, str]:
        """Bring the old versions of rows of versioned tables from another database of this engine; table → why not.

        `tables`: at the reader → here, where they hold today's rows and nobody has written since.
        """
        ...
