"""Repairs of PostgreSQL: indexes are built and dropped CONCURRENTLY, outside a transaction."""

from __future__ import annotations

import re

from runbook_lib.databases import identifiers
from runbook_lib.databases.model import Column, Constraint, Index, Sequence_
from runbook_lib.databases.repair import Repair, first_name, string

_STATES = {"": "ENABLE", "disabled": "DISABLE", "always": "ENABLE ALWAYS", "replica": "ENABLE REPLICA"}


class PostgreSQLRepair(Repair):
    """Each facet of a column has its own clause; triggers have states."""

    @property
    def _table(self) -> str:
        return self._placed(self.here.name)

    def _placed(self, name: str) -> str:
        """With its schema, unless everybody finds it."""
        here = self.here.schema
        return f"{self._q(here)}.{self._q(name)}" if here != "public" else self._q(name)

    def add_column(self, column: Column) -> str:
        fed = re.fullmatch(r"nextval\('((?:[^']|'')+)'::regclass\)", column.default or "")
        if column.identity != "serial" or fed is None:
            return super().add_column(column)
        own, kind = fed[1].replace("''", "'"), column.type if column.type in ("smallint", "integer") else "bigint"
        owned = f"ALTER SEQUENCE {own} OWNED BY {self._table}.{self._q(column.name)}"
        return f"CREATE SEQUENCE IF NOT EXISTS {own} AS {kind};\n{super().add_column(column)};\n{owned}"

    def change_column(self, column: Column, facet: str) -> str:
        return ";\n".join(self._statements(column, facet))

    def _statements(self, column: Column, facet: str) -> list[str]:
        if facet == "identity":
            return self._counter(column)
        return [self._alter(part) for part in self._clauses(column, facet)]

    def _clauses(self, column: Column, facet: str) -> list[str]:
        name = self._q(column.name)
        at = f"ALTER COLUMN {name}"
        if facet in ("type", "collation"):
            collate = f" COLLATE {self._q(column.collation or 'default')}" if facet == "collation" else ""
            return [f"{at} TYPE {column.type}{collate} USING {name}::{column.type}"]
        if facet == "nullable":
            return [f"{at} {'DROP' if column.nullable else 'SET'} NOT NULL"]
        if facet == "generated" or column.generated:
            again = [f"DROP COLUMN {name}", f"ADD COLUMN {self._line(column)}"]
            return again if column.generated else [f"{at} DROP EXPRESSION"]
        if column.identity == "serial":
            return []
        return [f"{at} SET DEFAULT {column.default}" if column.default else f"{at} DROP DEFAULT"]

    def _counter(self, column: Column) -> list[str]:
        """The column fed by its own counter, which continues behind the column's values."""
        at = f"ALTER COLUMN {self._q(column.name)}"
        there = next((c for c in self.here.columns if c.name == column.name), column)
        gone = [self._alter(f"{at} DROP IDENTITY")] if there.identity in ("always", "by default") else []
        if not column.identity:
            return gone or [self._alter(f"{at} DROP DEFAULT")]
        if column.identity == "serial":
            mine = self._placed(f"{self.here.name}_{column.name}_seq")
            made = [f"CREATE SEQUENCE {mine} OWNED BY {self._table}.{self._q(column.name)}"]
            made += [self._alter(f"{at} SET DEFAULT nextval({string(mine)})")]
            source = string(mine)
        else:
            kind = "ALWAYS" if column.identity == "always" else "BY DEFAULT"
            made = [self._alter(f"{at} DROP DEFAULT")] if there.identity == "serial" else []
            made += [self._alter(f"{at} ADD GENERATED {kind} AS IDENTITY")]
            source = f"pg_get_serial_sequence({string(self._table)}, {string(column.name)})"
        farthest = f"(SELECT max({self._q(column.name)}) FROM {self._table})"
        return [*gone, *made, f"SELECT setval({source}, coalesce({farthest}, 1), {farthest} IS NOT NULL)"]

    def _collation(self, name: str) -> str:
        return self._q(name)

    def add_index(self, index: Index) -> str:
        return f"CREATE {self._prefix(index)}INDEX CONCURRENTLY ON {self._table} {self._body(index)}"

    def _body(self, index: Index) -> str:
        body = index.definition.removeprefix("UNIQUE ")
        return f"USING {body}" if re.match(r"\w+ \(", body) else body

    def drop_index(self, index: Index) -> str:
        return f"DROP INDEX CONCURRENTLY {self._placed(index.name)}"

    def build_again(self, index: Index) -> str:
        return f"REINDEX INDEX CONCURRENTLY {self._placed(index.name)}"

    def validate(self, constraint: Constraint) -> str:
        return self._alter(f"VALIDATE CONSTRAINT {self._q(constraint.name)}")

    def add_trigger(self, text: str) -> str:
        body, state = _stated(text)
        made = f"CREATE {'CONSTRAINT ' if ' DEFERRABLE' in body else ''}TRIGGER {body}"
        return f"{made};\n{self._set(body, state)}" if state else made

    def change_trigger(self, here: str, text: str, add: str) -> str:
        body, state = _stated(text)
        return self._set(body, state) if body == _stated(here)[0] else super().change_trigger(here, text, add)

    def _set(self, body: str, state: str) -> str:
        return self._alter(f"{_STATES[state]} TRIGGER {first_name(body)}")

    def drop_trigger(self, text: str) -> str:
        return f"{super().drop_trigger(text)} ON {self._table}"

    def sequence(self, sequence: Sequence_, last: int) -> str:
        return advanced(sequence, last)


def advanced(sequence: Sequence_, last: int) -> str:
    """The statement after which the next value is the one after `last`."""
    return f"SELECT setval({string(identifiers.quote(sequence.name))}, {last})"


def _stated(text: str) -> tuple[str, str]:
    """A trigger's text without its state, and the state."""
    for state in _STATES:
        if state and text.endswith(f" [{state}]"):
            return text.removesuffix(f" [{state}]"), state
    return text, ""
