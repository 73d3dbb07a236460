"""A source's tables as a target has them: worked out once for a command, and handed to all who need it.

Objects of a catalog; only expressions are text, in the target's words. `ddl.py` writes the statements, last of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook_lib.databases.dialect import Counter
from runbook_lib.databases.port import Column, Table
from runbook_lib.databases.repair import Definition
from runbook_lib.errors import PlanError
from runbook_lib.schema.convert.decisions import Decision
from runbook_lib.schema.convert.types import Neutral


@dataclass(frozen=True)
class TargetColumn:
    """One column of a target.

    Attributes:
        column: As the target's catalog has to show it; the default of a generated one is its expression.
        name: As DDL writes it: quoted, and shortened where the target's limit asks for it.
        type: As DDL writes it; empty where it says none.
        origin: The source's type.
        written: The source's type as it writes it.
        required: It says NOT NULL itself; a column of the primary key may have it from its key.
        counter: What makes it a counter.
        check: The condition that its type stands for (labels of an enum, no sign); empty: none.
        free: Its default or expression has no equivalent: any will do.
    """

    column: Column
    name: str
    type: str
    origin: Neutral
    required: bool = False
    counter: Counter = Counter()  # noqa: RUF009  frozen
    check: str = ""
    free: bool = False
    written: str = ""


@dataclass(frozen=True)
class TargetCheck:
    """A check that is made with its table; the name is quoted, or empty."""

    name: str
    condition: str


@dataclass(frozen=True)
class TargetReference:
    """A foreign key; names are quoted, its own is empty where it is made with its table."""

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    actions: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """Without its name."""
        own, there = ", ".join(self.columns), ", ".join(self.parent_columns)
        return " ".join([f"FOREIGN KEY ({own}) REFERENCES {self.parent} ({there})", *self.actions])


@dataclass(frozen=True)
class TargetIndex:
    """An index that is made after the load; names and parts are quoted, `condition` is empty for one of all rows."""

    name: str
    parts: tuple[str, ...]
    unique: bool
    condition: str = ""

    @property
    def body(self) -> str:
        """What it holds."""
        return f"({', '.join(self.parts)})" + (f" WHERE {self.condition}" if self.condition else "")


@dataclass(frozen=True)
class TargetTable:
    """One table of a target.

    Attributes:
        table: As the target's catalog has to show it; indexes and constraints have the source's names there.
        name: Quoted, with its schema where the engine has schemas.
        columns: By name; none where the source is of the same engine.
        key: The primary key's columns, quoted.
        open_checks: Some check or foreign key has no equivalent: further ones may stand there.
        open_indexes: Some index has no equivalent.
        blind: Columns whose texts the source itself compares without case (or accents, or trailing spaces).
        dumped: The source's own DDL, where the engine is the same and changes a table by creating it again.
    """

    table: Table
    name: str = ""
    columns: Mapping[str, TargetColumn] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    checks: tuple[TargetCheck, ...] = ()
    references: tuple[TargetReference, ...] = ()
    indexes: tuple[TargetIndex, ...] = ()
    open_checks: bool = False
    open_indexes: bool = False
    blind: frozenset[str] = frozenset()
    dumped: Definition | None = None


@dataclass(frozen=True)
class TargetSchema:
    """What tables become at a target of another engine, and everything that is not the same there.

    Attributes:
        source: The engine they come from.
        target: The engine they go to.
        tables: By their names at the target.
        decisions: What is not the same, in order; one without a choice blocks.
        renamed: Subject → name that the target's limit shortened.
        strays: Names in the plan's `types:` that name nothing of these tables.
    """

    source: str
    target: str
    tables: Mapping[str, TargetTable]
    decisions: tuple[Decision, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    strays: tuple[str, ...] = ()

    @property
    def catalog(self) -> dict[str, Table]:
        """As the target's catalog has to show it."""
        return {name: each.table for name, each in self.tables.items()}

    @property
    def blocking(self) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.decisions if decision.blocking)

    def require_decided(self) -> None:
        """Raises PlanError naming what the plan must still decide."""
        if self.blocking:
            first = self.blocking[0]
            more = f" (and {len(self.blocking) - 1} more)" if len(self.blocking) > 1 else ""
            raise PlanError(
                first.subject,
                f"{first.what}{more}",
                state="nothing was created",
                action=f"decide in the plan: {', '.join(first.alternatives) or 'types'}",
            )

    def require_names(self, service: str) -> None:
        """Raises PlanError naming tables and columns whose names are too long for the target."""
        long = [f"{subject} → {name}" for subject, name in self.renamed.items() if " " not in subject]
        if long:
            raise PlanError(
                f"service {service}",
                f"names too long for the target: {', '.join(long)}",
                state="nothing was created",
                action="give the table or column another name by `from:` and `columns:` in the plan",
            )
