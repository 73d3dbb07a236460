"""Columns of a table that go into a table of their own: how the plan names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook_lib.errors import ConfigurationError
from runbook_lib.schema.expand_contract.two_shapes import (
    Column,
)
from runbook_lib.schema.revisions.batched_update import ROWS


@dataclass(frozen=True)
class Extraction:
    """Columns of a table that go into a table of their own.

    Attributes:
        into: The new table; the first revision makes it.
        reference: The new table's column that names the row of `table`: its key, and a foreign key with cascades.
        kind: Its type, as the engine writes it: that of `key`.
        old: Columns that are there, and go with the contract; their expressions are over `new`.
        new: Columns of the new table; their expressions are over `old`. A default is there from the beginning.
        key: The key of `table`.
        rows: In a batch (count).
    Raises:
        ConfigurationError: an old column is NOT NULL and has no default.
    """

    table: str
    into: str
    reference: str
    kind: str
    old: Mapping[str, Column]
    new: Mapping[str, Column]
    key: str = "id"
    rows: int = ROWS

    def __post_init__(self) -> None:
        for name, column in self.old.items():
            if not column.nullable and not column.default:
                raise ConfigurationError(
                    f"{self.table}.{name}",
                    "is NOT NULL without a default: a client that does not know it could insert no row",
                    state="nothing was written",
                    action="give it a default in a revision before, and name it here",
                )

    @property
    def texts(self) -> tuple[str, str]:
        """What each revision does, for people."""
        old = ", ".join(self.old)
        return f"{old} of {self.table} are in {self.into} too", f"{self.table} loses {old}, which are in {self.into}"

    @property
    def facts(self) -> str:
        """What tells its triggers from another change's."""
        sides = (self.old, self.new)
        return repr([(name, column.expression) for side in sides for name, column in side.items()])
