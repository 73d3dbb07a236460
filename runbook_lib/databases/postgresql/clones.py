"""Statements tried on empty clones of their tables, in a transaction that is always rolled back.

Whether a change rewrites the table depends on types, defaults, domains and indexes, not on its rows. An empty clone
(`LIKE … INCLUDING ALL`) takes no lock that a reader or writer would meet, and its file number says what was written:
another one is another table. What only reads every row is told by the server's own note of it (`ATRewriteTable`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases import sql_text
from runbook_lib.databases.adapter_helpers import without_comments
from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.postgresql import online_ddl, quoting

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_ALTER = re.compile(rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{online_ddl._NAME}(?:\s*\*)?", re.IGNORECASE)
_UNIQUE = re.compile(
    rf"CREATE\s+UNIQUE\s+INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?:{online_ddl._NAME}\s+)??"
    rf"ON\s+(?:ONLY\s+)?{online_ddl._NAME}",
    re.IGNORECASE,
)
_MADE_FOR_LATER = re.compile(r"CREATE\s+(?:TYPE|DOMAIN|SEQUENCE|FUNCTION)\b", re.IGNORECASE)
# Clauses that would reach for another table, or are about what a clone is not.
_NOT_TRIED = {"REFERENCES", "ATTACH", "DETACH", "INHERIT", "PARTITION", "SCHEMA", "OWNER", "TABLESPACE"}
_HARMLESS = re.compile(r"(?:ALTER|CREATE|DROP|COMMENT|SET|GRANT|REVOKE|LOCK|ANALYZE)\b", re.IGNORECASE)

_COLUMNS = """
SELECT attname, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
_INDEXES = """
SELECT c.relname, c.relfilenode, i.indisunique, coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) AS k)
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = %s::regclass
"""
_FILE = "SELECT relfilenode FROM pg_catalog.pg_class WHERE oid = %s::regclass"


@dataclass(frozen=True)
class Index:
    """An index of a clone: its file number, its keys as SQL, the condition of a partial one."""

    file: int
    unique: bool
    condition: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """A clone before or after a statement."""

    file: int
    types: dict[str, str]
    indexes: dict[str, Index]


@dataclass(frozen=True)
class TrialResult:
    """What a statement did to the clone of its table.

    Attributes:
        table: As the statement writes it.
        scanned: Every row was read under the table's lock.
        validates: It proves a constraint, which reads every row beside writers.
        settled: False: a statement before it may change rows, so that today's say nothing.
    """

    statement: int
    table: str
    before: State
    after: State
    scanned: bool
    validates: bool
    settled: bool = True

    @property
    def written(self) -> str:
        """What is rewritten: the table, or an index by its name; empty: nothing."""
        if self.before.file != self.after.file:
            return "the whole table"
        old, new = self.before.indexes, self.after.indexes
        rewritten = [name for name in old if name in new and old[name].file != new[name].file]
        return f"the index {', '.join(rewritten)}" if rewritten else ""

    @property
    def retyped(self) -> dict[str, tuple[str, str]]:
        """Columns whose type is another one: the type before and after."""
        old, new = self.before.types, self.after.types
        return {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}

    @property
    def to_be_unique(self) -> list[Index]:
        """Unique indexes to check against the rows again: new ones, and those of retyped columns."""
        changed = {quoting.ident(name) for name in self.retyped} | set(self.retyped)
        return [
            index
            for name, index in self.after.indexes.items()
            if index.unique and (name not in self.before.indexes or changed & set(index.keys))
        ]


@dataclass
class Trial:
    """A transaction with the clones that statements have needed so far."""

    session: psycopg.Connection
    clones: dict[str, str] = field(default_factory=dict)  # table as written → its clone; empty: there is none
    settled: bool = True
    scans: list[str] = field(default_factory=list)

    def run(self, statements: Sequence[str]) -> Iterator[TrialResult]:
        """Try them in order; those that cannot be tried are left out."""
        for number, statement in enumerate(statements, 1):
            bare = without_comments(statement).strip().rstrip(";")
            if (found := self._one(number, bare)) is not None:
                yield found
            self.settled = self.settled and _HARMLESS.match(bare) is not None

    def _one(self, number: int, bare: str) -> TrialResult | None:
        if _MADE_FOR_LATER.match(bare):
            self._executed(bare)
            return None
        unique, alter = _UNIQUE.match(bare), _ALTER.match(bare)
        words = {token.upper for token in sql_text.code(bare, "postgresql")}
        found = unique or (alter if alter and not words & _NOT_TRIED else None)
        if found is None:
            return None
        table = found[found.lastindex or 1]
        if not self._clone(table):
            return None
        clone, rest = self.clones[table], bare[found.end() :]
        if words >= {"RENAME", "TO"} and "COLUMN" not in words and len(rest.split()) == 3:
            self.clones[rest.split()[2]] = clone
            return None
        before = self._state(clone)
        self.scans.clear()
        if not self._executed(f"{'CREATE UNIQUE INDEX ON' if unique else 'ALTER TABLE'} {clone}{rest}"):
            return None  # the real one will say the same
        return TrialResult(
            number, table, before, self._state(clone), bool(self.scans), "VALIDATE" in words, self.settled
        )

    def _clone(self, table: str) -> bool:
        if table not in self.clones:
            clone = quoting.ident(own_name("runbook_try", table))
            made = self._executed(f"CREATE TEMPORARY TABLE {clone} (LIKE {table} INCLUDING ALL)")
            self.clones[table] = f"pg_temp.{clone}" if made else ""
        return bool(self.clones[table])

    def _executed(self, sql: str) -> bool:
        try:
            with self.session.transaction():
                self.session.execute(sql.encode())
        except psycopg.Error:
            return False
        return True

    def _state(self, clone: str) -> State:
        def ask(sql: str) -> list[tuple[Any, ...]]:
            return self.session.execute(sql.encode(), (clone,)).fetchall()

        [(file,)] = ask(_FILE)
        indexes = {
            name: Index(int(number), unique, where, tuple(keys)) for name, number, unique, where, keys in ask(_INDEXES)
        }
        return State(int(file), dict(ask(_COLUMNS)), indexes)


@contextmanager
def trial(db: PostgreSQLPort) -> Iterator[Trial]:
    """Begin one; whatever was done in it is gone at its end."""
    with db.raw() as session:
        going = Trial(session)

        def noted(diagnostic: psycopg.errors.Diagnostic) -> None:
            if diagnostic.source_function == "ATRewriteTable":
                going.scans.append(str(diagnostic.message_primary))

        session.add_notice_handler(noted)
        try:
            session.execute(b"SET LOCAL client_min_messages = debug1")
            yield going
        finally:
            session.remove_notice_handler(noted)
            with suppress(psycopg.Error):
                session.rollback()


def twice(session: psycopg.Connection, tried: TrialResult, index: Index) -> tuple[int, str] | None:
    """Keys that more than one row has under an index: how many, and the values of one; None: none that can be seen."""
    retyped = {quoting.ident(name): after for name, (_, after) in tried.retyped.items()}
    retyped |= {name: after for name, (_, after) in tried.retyped.items()}
    keys = [f"({key})::{retyped[key]}" if key in retyped else f"({key})" for key in index.keys]
    filled = " AND ".join(
        [f"{key} IS NOT NULL" for key in keys] + ([f"({index.condition})"] if index.condition else [])
    )
    least, most = (", ".join(f'{act}(({key})::text COLLATE "C")' for key in index.keys) for act in ("min", "max"))
    grouped = f"SELECT ARRAY[{least}] AS a, ARRAY[{most}] AS b, count(*) AS n FROM {tried.table} WHERE {filled}"
    asked = (
        f"SELECT a, b, n, count(*) OVER () FROM ({grouped} GROUP BY {', '.join(keys)} HAVING count(*) > 1) AS d LIMIT 1"
    )
    try:
        with session.transaction():
            found = session.execute(asked.encode()).fetchone()
    except psycopg.Error:  # a column that only the revision makes
        return None
    if found is None:
        return None
    least_key, most_key, rows, keys_twice = found
    shown = [", ".join(map(str, key)) for key in (least_key, most_key)]
    example = f"({shown[0]}) in {rows} rows" if shown[0] == shown[1] else f"({shown[0]}) and ({shown[1]})"
    return int(keys_twice), example
