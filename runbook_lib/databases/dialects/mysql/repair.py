"""Repairs of MySQL and MariaDB: a column is written again as a whole; names that the catalog leaves out are put in."""

from __future__ import annotations

import re

from runbook_lib.databases.identifiers import ident
from runbook_lib.databases.model import Column, Constraint, Index, Sequence_
from runbook_lib.databases.repair import Repair

_TRIGGER = r"(`(?:[^`]|``)*`) (\w+ \w+) (.*)"  # name, time and event, body


class MySQLRepair(Repair):
    """An index is dropped at its table; each kind of constraint has a word of its own."""

    def _q(self, name: str) -> str:
        return ident(name, "`")

    def change_column(self, column: Column, facet: str) -> str:
        return self._alter(f"MODIFY COLUMN {self._line(column)}")

    def _line(self, column: Column) -> str:
        line = super()._line(column)
        plain = column.nullable and column.default is None and not (column.generated or column.identity)
        return f"{line} NULL" if plain and "timestamp" in column.type else line

    def _prefix(self, index: Index) -> str:
        method = index.definition.partition(" ")[0]
        return f"{method.upper()} " if method in ("fulltext", "spatial") else super()._prefix(index)

    def drop_index(self, index: Index) -> str:
        return f"DROP INDEX {self._q(index.name)} ON {self._table}"

    def add_constraint(self, constraint: Constraint) -> str:
        period = constraint.kind == "exclusion"  # part of a key's own text
        return "" if period else self._alter(f"ADD {self._named(constraint)}")

    def _named(self, constraint: Constraint) -> str:
        """A constraint with its name, every name in quotes: the catalog leaves both out of the definition."""
        columns, name = ", ".join(map(self._q, constraint.columns)), self._q(constraint.name)
        if constraint.kind == "primary":
            return f"PRIMARY KEY ({columns})"
        if constraint.kind == "unique":
            return f"UNIQUE KEY {name} ({columns})" if constraint.name else f"UNIQUE KEY ({columns})"
        head = f"FOREIGN KEY ({', '.join(constraint.columns)}) REFERENCES {constraint.referenced_table} ("
        definition = constraint.definition
        if constraint.kind == "foreign" and definition.startswith(head):
            theirs, _, rules = definition.removeprefix(head).partition(")")
            parents = ", ".join(map(self._q, theirs.split(", ")))
            definition = f"FOREIGN KEY ({columns}) REFERENCES {self._q(constraint.referenced_table)} ({parents}){rules}"
        return f"CONSTRAINT {name} {definition}" if constraint.name else definition

    def drop_constraint(self, constraint: Constraint) -> str:
        name = self._q(constraint.name)
        word = {"foreign": f"FOREIGN KEY {name}", "unique": f"INDEX {name}", "primary": "PRIMARY KEY"}
        return self._alter(f"DROP {word.get(constraint.kind, f'CONSTRAINT {name}')}")

    def add_trigger(self, text: str) -> str:  # the server's own statement is known by `Database.loud_triggers`
        found = re.match(_TRIGGER, re.sub(r" \[sql_mode [^\]]*\]$", "", text), re.DOTALL)
        made = f"CREATE TRIGGER {found[1]} {found[2]} ON {self._table} FOR EACH ROW {found[3]}" if found else ""
        return f"DELIMITER ;;\n{made};;\nDELIMITER ;" if ";" in made else made

    def sequence(self, sequence: Sequence_, last: int) -> str:
        return self._alter(f"AUTO_INCREMENT = {last + 1}")
