"""Apply: read the current rows of some keys, and make the rows of these keys at the target exactly those.

Between two PostgreSQL databases a value travels in its text form, as the server itself prints it, and is cast to the
written column's type: infinity, BC dates, NaN and types Python does not know survive. A sync's reader on another
engine may give Python values; `text_form` says how they are written.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg

from runbook_lib.databases.port import Applied, Selection
from runbook_lib.databases.postgresql import connection, quoting, ranges
from runbook_lib.databases.postgresql.table_facts import as_key, facts_and_only, listed
from runbook_lib.databases.postgresql.wal import changed_keys
from runbook_lib.errors import DatabaseError, RowRejected, TransferError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

Key = tuple[Any, ...]
RETRIES = 3
CONFLICTS = (pg.UniqueViolation, pg.ExclusionViolation)

# The other columns of a unique index, when it is over plain columns.
_INDEX_COLUMNS = """
SELECT array_agg(a.attname::text ORDER BY k.n), i.indrelid::regclass::text
FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE c.relname = %s AND c.relnamespace = to_regnamespace(quote_ident(%s)) AND k.n <= i.indnkeyatts AND i.indisunique
GROUP BY i.indrelid
"""


def text_form(value: Any) -> str | None:
    """A Python value in the text that PostgreSQL casts to the column's type; text stays as it is."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return repr(value) if isinstance(value, float) else str(value)


def arrays(tuples: Sequence[Key], width: int) -> list[list[str | None]]:
    """Rows turned into one text array per column."""
    if not tuples:
        return [[] for _ in range(width)]
    return [[text_form(value) for value in column] for column in zip(*tuples, strict=True)]


def typed(prefix: str, types: Sequence[str], names_: Sequence[str] | None = None) -> str:
    """A sub-select that gives text arrays (parameters) as typed rows; element by element, so that array types work."""
    casts = listed(
        [f"CAST(u.t{i} AS {kind}) AS {(names_ or _numbered(prefix, types))[i]}" for i, kind in enumerate(types)]
    )
    arrays = listed(["%s::text[]"] * len(types))
    return f"(SELECT {casts} FROM unnest({arrays}) AS u({listed(_numbered('t', types))}))"


def _numbered(prefix: str, items: Sequence[Any]) -> list[str]:
    return [f"{prefix}{i}" for i in range(len(items))]


def read_all(db: PostgreSQLPort, selections: Sequence[Selection]) -> list[list[tuple[Any, ...]]]:
    """See Database.read_all: many statements in one round trip, each with its own columns."""
    each = [
        f"SELECT {listed(one.columns)} FROM {one.relation}{f' WHERE {one.where}' if one.where else ''}"
        for one in selections
    ]
    found = []
    try:
        with db.raw() as driver:
            cursor = driver.execute(";\n".join(each).encode())
            for _ in each:
                found.append(as_texts(cursor.pgresult) if cursor.pgresult else [])
                cursor.nextset()
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"reading {selections[0].relation} and others") from error
    return found


def read_rows(db: PostgreSQLPort, selection: Selection, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
    """The current rows of these keys in one snapshot, every value in the server's text form (None for NULL).

    Raises:
        DatabaseError: the statement failed.
    """
    if not keys:
        return []
    types = [part.type for part in ranges.key_parts(db, selection)]
    wanted = f"SELECT * FROM {typed('k', types)} AS w"
    key = f"({listed(selection.key)})"
    where = f"({escape(selection.where)}) AND " if selection.where else ""
    read = f"SELECT {escape(listed(selection.columns))} FROM {escape(selection.relation)}"
    sql = f"{read} WHERE {where}{escape(key)} IN ({wanted})"
    try:
        with db.raw() as driver:
            result = driver.execute(sql.encode(), arrays(keys, len(types))).pgresult
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"reading changed rows of {selection.relation}") from error
    if result is None:
        raise DatabaseError(f"database {db.name}", f"no rows came back from {selection.relation}")
    return as_texts(result)


def as_texts(result: PGresult) -> list[tuple[str | None, ...]]:
    """The raw text of each field: no Python type in between."""
    width = range(result.nfields)
    fields = [[result.get_value(row, column) for column in width] for row in range(result.ntuples)]
    return [tuple(None if value is None else value.decode() for value in row) for row in fields]


def escape(sql: str) -> str:
    """SQL of the plan beside bound parameters: its percent signs are its own."""
    return sql.replace("%", "%%")


@dataclass(frozen=True)
class _Batch:
    """One call's statements: built once, run in the first pass and, after a conflict, in the second."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    facts: dict[str, tuple[str, bool, bool]]
    keys: Sequence[Key]
    rows: Sequence[tuple[Any, ...]]
    only: str = ""

    @property
    def types(self) -> list[str]:
        return [self.facts[column][0] for column in self.columns]

    @property
    def key_types(self) -> list[str]:
        return [self.facts[column][0] for column in self.key]

    @property
    def quoted(self) -> list[str]:
        return [escape(quoting.ident(column)) for column in self.columns]

    @property
    def target(self) -> str:
        return escape(quoting.quote(self.table))

    @property
    def own(self) -> str:
        """The table's own rows, without those of children by inheritance."""
        return self.only + self.target

    @property
    def updatable(self) -> list[str]:
        """Given columns that an UPDATE may set."""
        return [escape(quoting.ident(column)) for column in self.columns if not self.facts[column][1]]

    @property
    def others(self) -> list[str]:
        """Columns of the table that are not given: they keep their value."""
        return [escape(quoting.ident(c)) for c, fact in self.facts.items() if c not in self.columns and not fact[2]]

    @property
    def key_arrays(self) -> list[list[str | None]]:
        return arrays(self.keys, len(self.key))

    @property
    def row_arrays(self) -> list[list[str | None]]:
        return arrays(self.rows, len(self.columns))

    def matches(self, left: str, right: str) -> str:
        quoted = [escape(quoting.ident(column)) for column in self.key]
        return " AND ".join(f"{left}.{column} = {right}.{column}" for column in quoted)

    def source(self, columns: Sequence[str], types: Sequence[str]) -> str:
        return typed("c", types, [escape(quoting.ident(column)) for column in columns])


def apply_rows(
    db: PostgreSQLPort,
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    keys: Sequence[Key],
    rows: Sequence[tuple[Any, ...]],
) -> Applied:
    """Make the rows with these keys be exactly `rows`, in one transaction without triggers, fence or foreign keys.

    First pass: delete what is gone, upsert on the exact key. A unique conflict (values swapped between rows) rolls
    back to a second pass: delete all these keys, insert; columns that are not given keep their values all the same.

    Raises:
        RowRejected: the target refuses a row; in a unique conflict with a row outside the batch, `keys` holds that
            row's key: its own change may still wait in the log, and applying both together resolves it.
        DatabaseError: the login may not set session_replication_role, or a statement failed.
    """
    if not keys and not rows:
        return Applied(0, 0)
    with db.raw() as driver:
        facts, only = facts_and_only(driver, table)
    batch = _Batch(table, tuple(key), tuple(columns), facts, keys, rows, only)
    if unknown := [column for column in (*key, *columns) if column not in batch.facts]:
        raise TransferError(f"table {table}", f"has no column {listed(unknown)}", action="repeat the schema step")
    fixed = any(always and column not in key for column, (_, always, _) in batch.facts.items() if column in columns)
    try:
        if fixed:  # GENERATED ALWAYS AS IDENTITY outside the key: no UPDATE may set it
            return _run(db, batch, _replace)
        try:
            return _run(db, batch, _upsert)
        except CONFLICTS:
            return _run(db, batch, _replace)
    except CONFLICTS as error:
        raise _conflict(db, batch, error) from error
    except (pg.IntegrityError, pg.DataError) as error:
        raise rejected(batch.table, error, "the batch was rolled back, its changes stay in the log") from error
    except pg.InvalidColumnReference as error:
        raise TransferError(
            f"table {table}",
            f"no unique index over the key ({listed(batch.key)})",
            action="create it, or correct the plan",
        ) from error
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"applying changes to {table}") from error


def _run(db: PostgreSQLPort, batch: _Batch, work: Callable[[psycopg.Connection[Any], _Batch], Applied]) -> Applied:
    for _ in range(RETRIES):
        with contextlib.suppress(pg.DeadlockDetected, pg.SerializationFailure):  # with writers of the target
            return _once(db, batch, work)
    return _once(db, batch, work)


def _once(db: PostgreSQLPort, batch: _Batch, work: Callable[[psycopg.Connection[Any], _Batch], Applied]) -> Applied:
    with db.raw() as driver:
        silence(db, driver)
        return work(driver, batch)


def silence(db: PostgreSQLPort, driver: psycopg.Connection[Any]) -> None:
    """Triggers, fence and foreign keys of the target do not fire in this transaction; no capture takes it."""
    changed_keys.mark(driver)
    try:
        driver.execute("SET LOCAL session_replication_role = replica")
    except pg.InsufficientPrivilege as error:
        raise DatabaseError(
            f"database {db.name}",
            "the login may not set session_replication_role, so triggers of the target would fire",
            state="nothing was applied",
            action="GRANT SET ON PARAMETER session_replication_role TO it (PostgreSQL 15), or use a superuser",
        ) from error


def _upsert(driver: psycopg.Connection[Any], batch: _Batch) -> Applied:
    gone = (
        f"DELETE FROM {batch.own} AS t USING {batch.source(batch.key, batch.key_types)} AS k "
        f"WHERE {batch.matches('t', 'k')}"
    )
    parameters = batch.key_arrays
    if batch.rows:
        given = batch.source(batch.key, batch.key_types)
        gone += f" AND NOT EXISTS (SELECT FROM {given} AS r WHERE {batch.matches('r', 'k')})"
        parameters = [*parameters, *_key_columns(batch)]
    deleted = driver.execute(gone.encode(), parameters).rowcount if batch.keys else 0
    if not batch.rows:
        return Applied(0, deleted)
    sets = listed([f"{column} = EXCLUDED.{column}" for column in batch.updatable])
    act = f"DO UPDATE SET {sets}" if sets else "DO NOTHING"
    key = listed([escape(quoting.ident(column)) for column in batch.key])
    sql = f"{_insert(batch)} SELECT {listed(batch.quoted)} FROM {_rows(batch)} AS r ON CONFLICT ({key}) {act}"
    driver.execute(sql.encode(), batch.row_arrays)
    return Applied(len(batch.rows), deleted)


def _replace(driver: psycopg.Connection[Any], batch: _Batch) -> Applied:
    """Delete all keys of the batch, then insert; what is not given is kept aside meanwhile."""
    driver.execute("DROP TABLE IF EXISTS pg_temp.runbook_aside")
    aside = f"CREATE TEMPORARY TABLE runbook_aside ON COMMIT DROP AS SELECT * FROM {batch.target} WITH NO DATA"
    driver.execute(aside.replace("%%", "%").encode())
    key = batch.source(batch.key, batch.key_types)
    every = [*batch.keys, *zip(*_key_columns(batch), strict=True)] if batch.rows else batch.keys
    removed = driver.execute(
        (
            f"WITH removed AS (DELETE FROM {batch.own} AS t USING (SELECT DISTINCT * FROM {key} AS q) AS k "
            f"WHERE {batch.matches('t', 'k')} RETURNING t.*) INSERT INTO pg_temp.runbook_aside SELECT * FROM removed"
        ).encode(),
        arrays(every, len(batch.key)),
    ).rowcount
    kept = 0
    if batch.rows:
        kept = _insert_again(driver, batch)
    return Applied(len(batch.rows), max(0, removed - kept))


def _insert_again(driver: psycopg.Connection[Any], batch: _Batch) -> int:
    """Rows that were there with what they had beside the given columns, new rows with defaults; the former's count."""
    source, others = _rows(batch), batch.others
    known = f"EXISTS (SELECT FROM pg_temp.runbook_aside AS a WHERE {batch.matches('a', 'r')})"
    fresh = f"{_insert(batch)} SELECT {listed(batch.quoted)} FROM {source} AS r WHERE NOT {known}"
    given = [f"r.{column}" for column in batch.quoted] + [f"a.{column}" for column in others]
    again = (
        f"{_insert(batch, others)} SELECT {listed(given)} FROM {source} AS r "
        f"JOIN pg_temp.runbook_aside AS a ON {batch.matches('a', 'r')}"
    )
    kept = driver.execute(again.encode(), batch.row_arrays).rowcount
    driver.execute(fresh.encode(), batch.row_arrays)
    return kept


def _insert(batch: _Batch, more: Sequence[str] = ()) -> str:
    return f"INSERT INTO {batch.target} ({listed([*batch.quoted, *more])}) OVERRIDING SYSTEM VALUE"


def _rows(batch: _Batch) -> str:
    return batch.source(batch.columns, batch.types)


def _key_columns(batch: _Batch) -> list[list[str | None]]:
    arrays = batch.row_arrays
    return [arrays[batch.columns.index(column)] for column in batch.key]


def _conflict(db: PostgreSQLPort, batch: _Batch, error: psycopg.Error) -> RowRejected:
    """Name the rows that conflict: those at the target, by key, and the value they share."""
    there = _conflicting(db, batch, error)
    shown = ", ".join(one_line(str(key), 60) for key in there[:5])
    rejected = RowRejected(
        f"{batch.table}: {error.diag.constraint_name}",
        one_line(error.diag.message_detail or str(error), 160)
        + (f"; the row is there under the key ({listed(batch.key)}) {shown}" if there else ""),
        state="the batch was rolled back, its changes stay in the log",
        action="apply the other row's change first, or remove the row that should not be there",
    )
    rejected.keys = tuple(there)
    return rejected


def _conflicting(db: PostgreSQLPort, batch: _Batch, error: psycopg.Error) -> list[Key]:
    """Keys of rows at the target, outside the batch, that have the unique value of one of the batch's rows."""
    with db.raw() as driver:
        place = (error.diag.constraint_name, error.diag.schema_name)
        found = driver.execute(_INDEX_COLUMNS, place).fetchone() if all(place) else None
        if found is None or None in found[0] or not set(found[0]) <= set(batch.columns):
            return []  # an expression or exclusion constraint: the server's detail must do
        same = " AND ".join(f"t.{c} = r.{c}" for c in (escape(quoting.ident(column)) for column in found[0]))
        key = listed([as_key(f"t.{escape(quoting.ident(c))}", batch.facts[c][0]) for c in batch.key])
        sql = (
            f"SELECT DISTINCT {key} FROM {batch.own} AS t JOIN {_rows(batch)} AS r ON {same} WHERE NOT EXISTS "
            f"(SELECT FROM {batch.source(batch.key, batch.key_types)} AS k WHERE {batch.matches('k', 't')})"
        )
        return driver.execute(sql.encode(), [*batch.row_arrays, *batch.key_arrays]).fetchall()


def rejected(table: str, error: psycopg.Error, state: str) -> RowRejected:
    """The error for a row that the server refuses, with its message."""
    diag = error.diag
    place = diag.constraint_name or diag.column_name
    return RowRejected(
        f"{table}{f': {place}' if place else ''}",
        one_line(f"{diag.message_primary or error}; {diag.message_detail or ''}".rstrip("; "), 240),
        state=state,
        action="correct the row at the source, or the target's constraint",
    )
