"""Rows without a key are made as many as told: a row is known by its hash, and found again by its place (ctid).

A place is good only within the transaction that found it. The table takes no other writer meanwhile, so nothing moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.port import Applied, EqualRows, KeyRange, Recount, Selection
from runbook_lib.databases.postgresql import connection, lock_retry, quoting
from runbook_lib.databases.postgresql.apply import arrays, as_texts, escape, rejected, silence, typed
from runbook_lib.databases.postgresql.checksums import hashed, shown_hash
from runbook_lib.databases.postgresql.table_facts import column_facts, listed

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

Driver = psycopg.Connection[Any]


def rows_hashed(
    db: PostgreSQLPort, selection: Selection, types: Sequence[str], hashes: Sequence[str], *, canonical: bool
) -> dict[str, EqualRows]:
    """How many rows have each of these hashes, and one of them, in the server's text form (None for NULL)."""
    if not hashes:
        return {}
    told = [f"{sql} AS v{i}" for i, sql in enumerate(selection.columns)]
    rows, shown = hashed(db, selection, types, KeyRange(0), told, canonical=canonical), shown_hash(canonical=canonical)
    given = listed([f"v{i}" for i in range(len(told))])
    sql = (
        f"SELECT DISTINCT ON (h) {shown}, count(*) OVER (PARTITION BY h), {given} FROM {rows} "
        f"WHERE {_among(hashes, canonical=canonical)}"
    )
    try:
        with db.raw() as driver:
            result = driver.execute(sql.encode()).pgresult
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"reading rows of {selection.relation}") from error
    found = as_texts(result) if result else []
    return {str(digest): EqualRows(int(count or 0), tuple(row)) for digest, count, *row in found}


def recount_rows(
    db: PostgreSQLPort,
    table: str,
    columns: Sequence[str],
    selection: Selection,
    types: Sequence[str],
    changes: Mapping[str, Recount],
    *,
    canonical: bool,
) -> Applied:
    """See Database.recount_rows.

    Raises:
        Refused: the rows are not there as often as was said.
        RowRejected: the target refuses a row.
        DatabaseError: a lock was not granted, or a statement failed.
    """
    rows = hashed(db, selection, types, KeyRange(0), ("tableoid AS part", "ctid AS place"), canonical=canonical)
    shown = shown_hash(canonical=canonical)

    def work(driver: Driver) -> Applied:
        silence(db, driver)
        driver.execute(f"LOCK TABLE {quoting.quote(table)} IN SHARE ROW EXCLUSIVE MODE".encode())
        counts = f"SELECT {shown}, count(*) FROM {rows} WHERE {_among(list(changes), canonical=canonical)} GROUP BY 1"
        adapter_helpers.require_counts(table, dict(driver.execute(counts.encode()).fetchall()), changes)
        deleted = _delete(driver, table, f"SELECT part, place, {shown} AS h FROM {rows}", changes)
        try:
            return Applied(_insert(driver, table, columns, changes), deleted)
        except (pg.IntegrityError, pg.DataError) as error:
            raise rejected(table, error, "the batch was rolled back") from error

    return lock_retry.in_transaction(db, work, doing=f"recounting rows of {table}")


def _among(hashes: Sequence[str], *, canonical: bool) -> str:
    wanted = listed([f"'{each}'" for each in hashes])
    return f"{shown_hash(canonical=canonical)} IN ({wanted})"


def _delete(driver: Driver, table: str, rows: str, changes: Mapping[str, Recount]) -> int:
    fewer = {each: change.now - change.then for each, change in changes.items() if change.then < change.now}
    if not fewer:
        return 0
    numbered = f"SELECT part, place, h, row_number() OVER (PARTITION BY h) AS n FROM ({escape(rows)}) AS r"
    chosen = f"SELECT part, place FROM ({numbered}) AS r JOIN unnest(%s::text[], %s::bigint[]) AS w(h, most) USING (h)"
    sql = (
        f"DELETE FROM {escape(quoting.quote(table))} AS t USING ({chosen} WHERE n <= most) AS gone "
        f"WHERE t.tableoid = gone.part AND t.ctid = gone.place"
    )
    return driver.execute(sql.encode(), [list(fewer), list(fewer.values())]).rowcount


def _insert(driver: Driver, table: str, columns: Sequence[str], changes: Mapping[str, Recount]) -> int:
    more = [(change.then - change.now, change.row) for change in changes.values() if change.then > change.now]
    if not more:
        return 0
    facts = column_facts(driver, table)
    quoted = [escape(quoting.ident(column)) for column in columns]
    given = typed("c", [*(facts[c][0] for c in columns), "bigint"], [*quoted, "runbook_times"])
    sql = (
        f"INSERT INTO {escape(quoting.quote(table))} ({listed(quoted)}) OVERRIDING SYSTEM VALUE "
        f"SELECT {listed([f'r.{column}' for column in quoted])} FROM {given} AS r, generate_series(1, r.runbook_times)"
    )
    return driver.execute(sql.encode(), arrays([(*row, times) for times, row in more], len(columns) + 1)).rowcount
