"""Rows without a key are made as many as told: a row is known by its hash, which the server computes again to find it.

MySQL gives rows no place of their own. All rows of a hash are deleted by it, those of many hashes in one statement;
some of them by it and a LIMIT, and which of them does not matter, as they are alike. As that is a scan of the table for
each hash, few copies that shall stay are rather deleted with the others and inserted again. Rows are locked before they
are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pymysql

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases import canonical as values
from runbook_lib.databases.canonical import canonical_type
from runbook_lib.databases.mysql import connection, lock_retry
from runbook_lib.databases.mysql.apply import DUPLICATE, REJECTED, Batch, as_texts, insert, rejected
from runbook_lib.databases.mysql.checksums import hash_of, parsed, parsed_rows, row_hash
from runbook_lib.databases.mysql.copy import SILENT, enable_triggers, expression_types, refuse_triggers
from runbook_lib.databases.mysql.neutral_text import render
from runbook_lib.databases.mysql.quoting import listed
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import Applied, EqualRows, KeyRange, Recount, Selection
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

HASHES_AT_ONCE = 2_000  # in a statement: its text stays far below max_allowed_packet
COPIES_AGAIN = 100  # of a row: inserting them costs less than a scan

# Hash → what the server hashes the same rows to → how many they are. It is the same hash where it hashes as we do.
Found = dict[str, Counter[str]]


def rows_hashed(
    db: MySQLPort, selection: Selection, types: Sequence[str], hashes: Sequence[str], *, canonical: bool
) -> dict[str, EqualRows]:
    """How many rows have each of these hashes, and one of them, as neutral text (None for NULL)."""
    if not hashes:
        return {}
    found: dict[str, EqualRows] = {}
    for digest, count, row in _alike(db, selection, types, hashes, canonical=canonical):
        found[digest] = EqualRows(count + (found[digest].count if digest in found else 0), row)
    return found


def _alike(
    db: MySQLPort, selection: Selection, types: Sequence[str], hashes: Sequence[str], *, canonical: bool
) -> Iterator[tuple[str, int, tuple[str | None, ...]]]:
    if parsed(types, canonical=canonical):
        wanted = set(hashes)
        rows = parsed_rows(db, selection, types, KeyRange(0), selection.columns)
        yield from ((digest, 1, row) for row, digest in rows if digest in wanted)
        return
    own = expression_types(db, selection)
    told = [f"CONCAT({render(c, t, escaped=False)})" for c, t in zip(selection.columns, own, strict=True)]
    hashing = _hash(db, selection, types)
    grouped = listed([str(number) for number in (1, *range(3, 3 + len(told)))])
    where = adapter_helpers.also(selection, _among(hashing, hashes)).where
    sql = f"SELECT {hashing}, count(*), {listed(told)} FROM {selection.relation} WHERE {where} GROUP BY {grouped}"
    try:
        with db.raw() as driver, driver.cursor() as cursor:
            cursor.execute(sql)
            read = list(cursor.fetchall())
    except pymysql.MySQLError as error:
        raise db.explain(error, f"reading rows of {selection.relation}") from error
    for (digest, count, *_), row in zip(read, as_texts([row[2:] for row in read], own), strict=True):
        yield hash_of(digest), int(count), row


def recount_rows(
    db: MySQLPort,
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
        DatabaseError: the table has triggers that cannot be silenced or no transactions, or a statement failed.
    """
    described = db.described(table)
    refuse_triggers(db, described)
    _refuse_without_transactions(db, table)
    batch = Batch(described, (), (), tuple(columns), (), ())

    def work(driver: Connection) -> Applied:
        lock_retry.run(driver, SILENT)
        try:
            hashing, found = _locked(db, driver, selection, types, list(changes), canonical=canonical)
            adapter_helpers.require_counts(table, {each: counts.total() for each, counts in found.items()}, changes)
            again = _again(changes) if not batch.others else frozenset()
            _delete(driver, selection, hashing, _gone(found, changes, again))
            more = {each: c.then if each in again else max(0, c.then - c.now) for each, c in changes.items()}
            insert(driver, batch, columns, [changes[each].row for each, times in more.items() for _ in range(times)])
            moved = [change.then - change.now for change in changes.values()]
            return Applied(sum(n for n in moved if n > 0), -sum(n for n in moved if n < 0))
        except pymysql.MySQLError as error:
            if connection.code(error) in (DUPLICATE, *REJECTED):
                raise rejected(batch, str(error.args[-1])) from error
            raise
        finally:
            enable_triggers(driver)

    return lock_retry.in_transaction(db, work, doing=f"recounting rows of {table}")


def _locked(
    db: MySQLPort,
    driver: Connection,
    selection: Selection,
    types: Sequence[str],
    hashes: Sequence[str],
    *,
    canonical: bool,
) -> tuple[str, Found]:
    """SQL of the hash that the server computes, and the rows of these hashes, which nobody else changes from now on.

    JSON is hashed here. The server tells its rows apart by the hash of their text, which no lock is needed to read
    once the table's rows are locked.
    """
    found: Found = {}
    if not parsed(types, canonical=canonical):
        hashing = _hash(db, selection, types)
        for some in adapter_helpers.in_pieces(hashes, HASHES_AT_ONCE):
            where = adapter_helpers.also(selection, _among(hashing, some)).where
            sql = f"SELECT {hashing}, count(*) FROM {selection.relation} WHERE {where} GROUP BY 1 FOR UPDATE"
            for digest, count in _rows(driver, sql):
                found[hash_of(digest)] = Counter({hash_of(digest): int(count)})
        return hashing, found
    hashing = _hash(db, selection, ["longtext" if canonical_type(t).tag == values.JSON else t for t in types])
    _rows(driver, f"SELECT count(*) FROM {selection.relation} FOR UPDATE")
    wanted = set(hashes)
    for (text_hash,), digest in parsed_rows(db, selection, types, KeyRange(0), (hashing,)):
        if digest in wanted:
            found.setdefault(digest, Counter())[str(text_hash)] += 1
    return hashing, found


def _again(changes: Mapping[str, Recount]) -> frozenset[str]:
    """Hashes whose rows are all deleted, and those that shall stay inserted again."""
    return frozenset(each for each, c in changes.items() if c.row and 0 < c.then < c.now and c.then <= COPIES_AGAIN)


def _gone(found: Found, changes: Mapping[str, Recount], again: frozenset[str]) -> Iterator[tuple[str, int, bool]]:
    """What the server hashes rows to that are too many; how many of them; whether these are all."""
    for each, change in changes.items():
        left = change.now if each in again else change.now - change.then
        for text_hash, count in found.get(each, Counter()).items():
            if left > 0:
                yield text_hash, min(left, count), left >= count
            left -= count


def _delete(driver: Connection, selection: Selection, hashing: str, gone: Iterator[tuple[str, int, bool]]) -> None:
    each = list(gone)
    some = [(text_hash, f" LIMIT {count}") for text_hash, count, whole in each if not whole]
    whole_ones = [text_hash for text_hash, _, whole in each if whole]
    statements = [(_among(hashing, hashes), "") for hashes in adapter_helpers.in_pieces(whole_ones, HASHES_AT_ONCE)]
    statements += [(_among(hashing, [text_hash]), limit) for text_hash, limit in some]
    for where, limit in statements:
        lock_retry.run(
            driver, f"DELETE FROM {selection.relation} WHERE {adapter_helpers.also(selection, where).where}{limit}"
        )


def _refuse_without_transactions(db: MySQLPort, table: str) -> None:
    sql = "SELECT engine FROM information_schema.tables WHERE table_schema = database() AND table_name = :name"
    [(engine,)] = db.rows(sql, {"name": table})
    if engine != "InnoDB":
        raise DatabaseError(
            f"table {table}",
            f"its engine {engine} has no transactions, so a batch could be left half done",
            state="nothing was written to it",
            action=f"ALTER TABLE {table} ENGINE = InnoDB, or copy the table again",
        )


def _hash(db: MySQLPort, selection: Selection, types: Sequence[str]) -> str:
    return f"LEFT({row_hash(db, selection, types)}, 16)"


def _among(hashing: str, hashes: Sequence[str]) -> str:
    return f"{hashing} IN ({listed([repr(each) for each in hashes])})"


def _rows(driver: Connection, sql: str) -> list[tuple[Any, ...]]:
    with driver.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
