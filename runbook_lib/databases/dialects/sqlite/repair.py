"""Repairs of SQLite: ALTER TABLE knows columns only; everything else creates the table again under another name."""

from __future__ import annotations

from runbook_lib.databases.model import Column, Constraint, Sequence_
from runbook_lib.databases.repair import Recreation, Repair, string


class SQLiteRepair(Repair):
    """A generated column, a column's facets and a constraint come with a new table."""

    def add_column(self, column: Column) -> str:
        return self._recreated() if column.generated or column.identity else super().add_column(column)

    def change_column(self, column: Column, facet: str) -> str:
        return self._recreated()

    def add_constraint(self, constraint: Constraint) -> str:
        columns = ", ".join(map(self._q, constraint.columns))
        name = self._q(f"{self.here.name}_{'_'.join(constraint.columns)}_key")
        unique = f"CREATE UNIQUE INDEX {name} ON {self._table} ({columns})"
        return self._recreated() or (unique if constraint.kind in ("primary", "unique") else "")

    def drop_constraint(self, constraint: Constraint) -> str:
        return self._recreated()

    def sequence(self, sequence: Sequence_, last: int) -> str:
        return f"UPDATE sqlite_sequence SET seq = {last} WHERE name = {string(self.here.name)}"

    def _recreated(self) -> Recreation:
        """The table as expected, with the rows that are there; "" when its DDL is not known."""
        if self.definition is None:
            return Recreation()
        new = self._q(f"runbook_new_{self.here.name}")
        there = {c.name for c in self.here.columns}
        columns = ", ".join(self._q(c.name) for c in self.expected.columns if c.name in there and not c.generated)
        parts = [
            self.definition.create(new),
            f"INSERT INTO {new} ({columns}) SELECT {columns} FROM {self._table}",
            f"DROP TABLE {self._table}",
            f"ALTER TABLE {new} RENAME TO {self._table}",
            self.definition.indexes().strip(),
        ]
        return Recreation(";\n".join(part.rstrip(";") for part in parts if part))
