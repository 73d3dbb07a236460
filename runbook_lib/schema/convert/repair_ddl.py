"""The SQL that would mend one difference at a target, in its engine's words; "" where no statement does.

Nothing of it is carried out here: the report shows it. PostgreSQL builds and drops indexes CONCURRENTLY, outside a
transaction. SQLite's ALTER TABLE knows columns only: everything else makes the table anew under another name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runbook_lib.databases import identifiers
from runbook_lib.databases.port import Column, Constraint, Index, Sequence_, Table
from runbook_lib.schema.convert.expected_table import Promised
from runbook_lib.schema.convert.translation_job import quote


@dataclass(frozen=True)
class Mend:
    """The differences of one table: what it is now, what it should be.

    Attributes:
        dialect: The target's engine.
        here: The table as it is.
        promised: As it should be.
    """

    dialect: str
    here: Table
    promised: Promised

    def _q(self, name: str) -> str:
        return quote(name, self.dialect)

    @property
    def _table(self) -> str:
        return self._placed(self.here.name)

    def _placed(self, name: str) -> str:
        """With its schema, unless everybody finds it."""
        here = self.here.schema
        return (
            f"{self._q(here)}.{self._q(name)}" if self.dialect == "postgresql" and here != "public" else self._q(name)
        )

    def _alter(self, *parts: str) -> str:
        return f"ALTER TABLE {self._table} {', '.join(parts)}"

    # -- columns ---
    def add_column(self, column: Column) -> str:
        """Add a missing column; a required one without a default needs an empty table, or values first."""
        if self.dialect == "sqlite" and (column.generated or column.identity):
            return self.anew()
        return self._alter(f"ADD COLUMN {self._line(column)}")

    def drop_column(self, name: str) -> str:
        """Drop a column too many, with its values."""
        return self._alter(f"DROP COLUMN {self._q(name)}")

    def change_column(self, column: Column, facet: str) -> str:
        """Make one facet of a column (type, nullable, default, collation, generated, identity) as promised."""
        if self.dialect == "sqlite":
            return self.anew()
        if self.dialect == "mysql":
            return self._alter(f"MODIFY COLUMN {self._line(column)}")
        return ";\n".join(
            self._alter(part) if part[:6] in _ALTERED else part for part in self._postgresql(column, facet)
        )

    def _postgresql(self, column: Column, facet: str) -> list[str]:
        name = self._q(column.name)
        at = f"ALTER COLUMN {name}"
        if facet in ("type", "collation"):
            collate = f" COLLATE {self._q(column.collation or 'default')}" if facet == "collation" else ""
            return [f"{at} TYPE {column.type}{collate} USING {name}::{column.type}"]
        if facet == "nullable":
            return [f"{at} {'DROP' if column.nullable else 'SET'} NOT NULL"]
        if facet == "generated" or (facet == "default" and column.generated):
            again = [f"DROP COLUMN {name}", f"ADD COLUMN {self._line(column)}"]
            return again if column.generated else [f"{at} DROP EXPRESSION"]
        if facet == "default":
            serial = column.identity == "serial"
            return [] if serial else [f"{at} SET DEFAULT {column.default}" if column.default else f"{at} DROP DEFAULT"]
        return self._counter(column, at)

    def _counter(self, column: Column, at: str) -> list[str]:
        there = next((c for c in self.here.columns if c.name == column.name), column)
        gone = [f"{at} DROP IDENTITY"] if there.identity in ("always", "by default") else []
        if not column.identity:
            return gone or [f"{at} DROP DEFAULT"]
        if column.identity == "serial":
            name = f"{self.here.name}_{column.name}_seq"
            mine = self._placed(name)
            made = [f"CREATE SEQUENCE {mine} OWNED BY {self._table}.{self._q(column.name)}"]
            made += [f"{at} SET DEFAULT nextval({_string(mine)})"]
            source = _string(mine)
        else:
            kind = "ALWAYS" if column.identity == "always" else "BY DEFAULT"
            made = [f"{at} DROP DEFAULT"] if there.identity == "serial" else []
            made += [f"{at} ADD GENERATED {kind} AS IDENTITY"]
            source = f"pg_get_serial_sequence({_string(self._table)}, {_string(column.name)})"
        farthest = f"(SELECT max({self._q(column.name)}) FROM {self._table})"
        return [*gone, *made, f"SELECT setval({source}, coalesce({farthest}, 1), {farthest} IS NOT NULL)"]

    def _line(self, column: Column) -> str:
        """A column's whole definition."""
        line = f"{self._q(column.name)} {column.type}"
        if column.collation:
            name = self._q(column.collation) if self.dialect == "postgresql" else column.collation
            line += f" COLLATE {name}"
        if column.generated:
            return f"{line} GENERATED ALWAYS AS ({column.default}) STORED"
        line += "" if column.nullable else " NOT NULL"
        if column.identity in ("always", "by default"):
            return f"{line} GENERATED {column.identity.upper()} AS IDENTITY"
        if column.identity == "auto_increment":
            return f"{line} AUTO_INCREMENT"
        if self.dialect == "mysql" and column.nullable and column.default is None and "timestamp" in column.type:
            return f"{line} NULL"
        if column.default and column.default.lower().startswith("on update"):
            return f"{line} {column.default}"
        return f"{line} DEFAULT {column.default}" if column.default else line

    # -- indexes ---
    def add_index(self, index: Index) -> str:
        """Build a missing index."""
        unique = "UNIQUE " if index.unique else ""
        if self.dialect == "postgresql":
            return f"CREATE {unique}INDEX CONCURRENTLY ON {self._table} {self._body(index)}"
        method = index.definition.partition(" ")[0]
        if self.dialect == "mysql" and method in ("fulltext", "spatial"):
            unique = f"{method.upper()} "
        return f"CREATE {unique}INDEX {self._q(index.name)} ON {self._table} {self._body(index)}"

    def _body(self, index: Index) -> str:
        body = index.definition.removeprefix("UNIQUE ")
        if self.dialect == "postgresql":
            return f"USING {body}" if re.match(r"\w+ \(", body) else body
        return re.sub(r"^\w+ \(", "(", body)

    def drop_index(self, index: Index) -> str:
        """Drop an index too many."""
        if self.dialect == "mysql":
            return f"DROP INDEX {self._q(index.name)} ON {self._table}"
        if self.dialect == "sqlite":
            return f"DROP INDEX {self._q(index.name)}"
        return f"DROP INDEX CONCURRENTLY {self._placed(index.name)}"

    def build_again(self, index: Index) -> str:
        """Make an invalid index valid."""
        return f"REINDEX INDEX CONCURRENTLY {self._placed(index.name)}"

    # -- constraints ---
    def add_constraint(self, constraint: Constraint) -> str:
        """Add a missing constraint, proven over all rows."""
        if self.dialect == "sqlite":
            columns = ", ".join(map(self._q, constraint.columns))
            name = self._q(f"{self.here.name}_{'_'.join(constraint.columns)}_key")
            unique = f"CREATE UNIQUE INDEX {name} ON {self._table} ({columns})"
            return self.anew() or (unique if constraint.kind in ("primary", "unique") else "")
        if self.dialect == "mysql":
            period = constraint.kind == "exclusion"  # part of a key's own text
            return "" if period else self._alter(f"ADD {self._named(constraint)}")
        return self._alter(f"ADD {constraint.definition}")

    def _named(self, constraint: Constraint) -> str:
        """MySQL's constraint with its name, every name in quotes: its catalog leaves both out of the definition."""
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
        """Drop a constraint too many."""
        name = self._q(constraint.name)
        if self.dialect == "sqlite":
            return self.anew()
        if self.dialect == "mysql":
            word = {"foreign": f"FOREIGN KEY {name}", "unique": f"INDEX {name}", "primary": "PRIMARY KEY"}
            return self._alter(f"DROP {word.get(constraint.kind, f'CONSTRAINT {name}')}")
        return self._alter(f"DROP CONSTRAINT {name}")

    def validate(self, constraint: Constraint) -> str:
        """Prove a constraint over the rows that were there before it."""
        return self._alter(f"VALIDATE CONSTRAINT {self._q(constraint.name)}")

    # -- the rest ---
    def add_trigger(self, text: str) -> str:
        """Make a trigger of its text in the catalog; MySQL's own statement is known by `Database.loud_triggers`."""
        if self.dialect == "mysql":
            body, timing_event = re.sub(r" \[sql_mode [^\]]*\]$", "", text), r"(`(?:[^`]|``)*`) (\w+ \w+) (.*)"
            found = re.match(timing_event, body, re.DOTALL)
            made = f"CREATE TRIGGER {found[1]} {found[2]} ON {self._table} FOR EACH ROW {found[3]}" if found else ""
            return f"DELIMITER ;;\n{made};;\nDELIMITER ;" if ";" in made else made
        body, state = _stated(text) if self.dialect == "postgresql" else (text, "")
        if self.dialect == "sqlite":
            return f"CREATE TRIGGER {text}"
        made = f"CREATE {'CONSTRAINT ' if ' DEFERRABLE' in body else ''}TRIGGER {body}"
        return f"{made};\n{self._alter(f'{_STATES[state]} TRIGGER {_first(body)}')}" if state else made

    def change_trigger(self, here: str, text: str, add: str) -> str:
        """Make a trigger that is there what its text says: PostgreSQL changes its state in place."""
        body, state = _stated(text)
        if self.dialect == "postgresql" and body == _stated(here)[0]:
            return self._alter(f"{_STATES[state]} TRIGGER {_first(body)}")
        return f"{self.drop_trigger(here)};\n{add}"

    def drop_trigger(self, text: str) -> str:
        """Drop a trigger too many."""
        return f"DROP TRIGGER {_first(text)}" + (f" ON {self._table}" if self.dialect == "postgresql" else "")

    def sequence(self, sequence: Sequence_, last: int) -> str:
        """Make the next value the one after `last`."""
        if self.dialect == "mysql":
            return self._alter(f"AUTO_INCREMENT = {last + 1}")
        if self.dialect == "sqlite":
            return f"UPDATE sqlite_sequence SET seq = {last} WHERE name = {_string(self.here.name)}"
        return f"SELECT setval({_string(sequence_name(sequence))}, {last})"

    def anew(self) -> str:
        """SQLite: the table made anew as promised, with the rows that are there; "" when its DDL is not known."""
        if not self.promised.create:
            return ""
        new = self._q(f"runbook_new_{self.here.name}")
        create = re.sub(_HEAD, lambda _: f"CREATE TABLE {new}", self.promised.create.strip(), count=1)
        there = {c.name for c in self.here.columns}
        names = [c.name for c in self.promised.table.columns if c.name in there and not c.generated]
        columns = ", ".join(map(self._q, names))
        parts = [
            create,
            f"INSERT INTO {new} ({columns}) SELECT {columns} FROM {self._table}",
            f"DROP TABLE {self._table}",
        ]
        parts += [f"ALTER TABLE {new} RENAME TO {self._table}", self.promised.after.strip()]
        return ";\n".join(part.rstrip(";") for part in parts if part)


_STATES = {"": "ENABLE", "disabled": "DISABLE", "always": "ENABLE ALWAYS", "replica": "ENABLE REPLICA"}


def _stated(text: str) -> tuple[str, str]:
    """A trigger's text without its state, and the state."""
    for state in _STATES:
        if state and text.endswith(f" [{state}]"):
            return text.removesuffix(f" [{state}]"), state
    return text, ""


_ALTERED = ("ALTER ", "DROP C", "ADD CO")
_HEAD = r"(?i)^CREATE TABLE\s+(?:IF NOT EXISTS\s+)?(?:\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|'[^']*'|[^\s(]+)"


def _first(text: str) -> str:
    found = re.match(r"\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\S+", text)
    return found[0] if found else ""


def sequence_name(sequence: Sequence_) -> str:
    """A sequence's name as PostgreSQL reads it from a string: quoted unless it is quoted already."""
    return identifiers.quote(sequence.name)


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
