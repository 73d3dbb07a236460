"""Stream a range out and write blocks in: MySQL renders COPY text itself, and LOAD DATA reads it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import pymysql
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from runbook_lib.databases.mysql import catalog, lock_retry, neutral_text, quoting
from runbook_lib.databases.mysql.ranges import condition
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import KeyRange, Selection, Table
from runbook_lib.errors import DatabaseError, RowRejected, TransferError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# Our triggers let a session pass that has set this; foreign keys are checked by anti-joins afterwards
# (docs/correctness.md#foreign-keys).
SILENT = "SET @runbook_sync = 1, SESSION foreign_key_checks = 0"
LOUD = "SET @runbook_sync = NULL, SESSION foreign_key_checks = 1"

KEPT_BYTES = 16 * 2**20  # of a range, until the server has judged it; beyond that on disk

# Escapes that COPY writes and LOAD DATA does not know: form feed and vertical tab.
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_UNKNOWN = {b"f": b"\f", b"v": b"\v"}


def copy_out(db: MySQLPort, selection: Selection, key_range: KeyRange, *, binary: bool) -> Iterator[bytes]:
    """Yield one range in COPY text format, in blocks of about 64 KiB, from the snapshot of one statement.

    Closing the iterator early drops the connection, which ends the statement.

    Raises:
        DatabaseError: the server refused the statement, or was lost meanwhile; `binary` was asked for.
    """
    if binary:
        raise db.capabilities.binary_copy.refusal(db.name)
    types = expression_types(db, selection)
    fields = [neutral_text.render(sql, kind, escaped=True) for sql, kind in zip(selection.columns, types, strict=True)]
    shown = quoting.listed([f"COALESCE({field}, '\\\\N')" for field in fields])
    line = f"CONCAT_WS('\\t', {shown})" if len(fields) > 1 else shown
    query = f"SELECT {line} FROM {selection.relation} WHERE {condition(db, selection, key_range)}"
    pooled = db.engine.raw_connection()
    ended = False
    try:
        driver: Any = pooled.driver_connection
        yield from driver.stream(query)
        ended = True
    except pymysql.MySQLError as error:
        raise db.explain(error, f"reading {selection.relation}") from error
    finally:
        if ended:
            pooled.rollback()
        else:
            pooled.invalidate()  # the rest of the result is still on its way
        pooled.close()


def expression_types(db: MySQLPort, selection: Selection) -> tuple[str, ...]:
    """The types of a selection's columns, looked up once a selection."""
    asked = ("types", selection.relation, selection.columns)
    if asked not in db.memo:
        db.memo[asked] = catalog.expression_types(db, selection.relation, selection.columns)
    found: tuple[str, ...] = db.memo[asked]
    return found


def copy_in(
    db: MySQLPort,
    table: str,
    columns: Sequence[str],
    blocks: Iterator[bytes],
    *,
    binary: bool,
    progress: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> int:
    """Write blocks into a table and run the progress statements, all in one transaction; the rows written.

    LOAD DATA LOCAL only warns where a row does not fit (the server cannot stop the sender): a warning is an error.

    Raises:
        RowRejected: the server refused or changed a row.
        TransferError: a progress statement changed nothing: somebody else did this range.
        DatabaseError: the table has triggers that MySQL cannot silence, LOCAL INFILE is off, or anything else.
    """
    if binary:
        raise db.capabilities.binary_copy.refusal(db.name)
    described = db.described(table)
    refuse_triggers(db, described)
    with db.engine.begin() as connected:  # an error rolls everything back
        driver: Any = connected.connection.driver_connection
        try:
            lock_retry.run(driver, SILENT)
            with tempfile.SpooledTemporaryFile(max_size=KEPT_BYTES) as kept:
                rows, warnings = driver.load(load_sql(described, columns), _keeping(unescaped(blocks), kept))
                if warnings:
                    raise _rejected(db, driver, described, columns, kept)
            for statement, values in progress:
                if connected.execute(text(statement), {"rows": rows, **values}).rowcount == 0:
                    raise TransferError(table, "this range was done by somebody else", state="rolled back")
        except (pymysql.MySQLError, DBAPIError) as error:
            raise db.explain(error, f"writing {table}") from error
        finally:
            enable_triggers(driver)
    return int(rows)


def enable_triggers(driver: Connection) -> None:
    """Undo SILENT before the connection goes back to the pool; a lost one has nothing to undo."""
    if driver.open:
        lock_retry.run(driver, LOUD)


def refuse_triggers(db: MySQLPort, table: Table) -> None:
    """MySQL cannot switch the user's triggers off for a session; they would fire on rows that are copies."""
    if not any("@runbook_sync" not in trigger for trigger in table.triggers):
        return
    now = catalog.catalog(db, [table.name])[table.name]  # `table` may be a few seconds old
    if firing := [trigger for trigger in now.triggers if "@runbook_sync" not in trigger]:
        raise DatabaseError(
            f"database {db.name}",
            f"{table.name} has {len(firing)} trigger(s) which MySQL cannot silence: {one_line(firing[0], 60)}",
            state="nothing was written",
            action="create them after the cutover, or begin their body with IF @runbook_sync IS NULL",
        )


def load_sql(table: Table, columns: Sequence[str]) -> str:
    """The LOAD DATA of these columns of a table, from COPY text."""
    fields, sets = [], []
    for i, name in enumerate(columns):
        column = table.column(name)
        parsed = neutral_text.parse(f"@v{i}", column.type)
        if column.identity and not parsed:
            parsed = f"@v{i}"  # beside a SET clause MariaDB forgets that a 0 was given, and counts instead
        fields.append(f"@v{i}" if parsed else quoting.ident(name))
        if parsed:
            sets.append(f"{quoting.ident(name)} = {parsed}")
    return (
        f"LOAD DATA LOCAL INFILE 'runbook' INTO TABLE {quoting.ident(table.name)} CHARACTER SET utf8mb4"
        f" FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({quoting.listed(fields)})"
        + (f" SET {quoting.listed(sets)}" if sets else "")
    )


def unescaped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same COPY text without the two escapes that LOAD DATA would read as letters."""
    rest = b""
    for block in blocks:
        whole = rest + block
        cut = len(whole) - ((len(whole) - len(whole.rstrip(b"\\"))) % 2)  # never between a backslash and its letter
        whole, rest = whole[:cut], whole[cut:]
        if b"\\f" in whole or b"\\v" in whole:
            whole = _ESCAPED.sub(lambda found: _UNKNOWN.get(found[1], found[0]), whole)
        yield whole
    if rest:
        yield rest


def _keeping(blocks: Iterator[bytes], kept: IO[bytes]) -> Iterator[bytes]:
    """The same blocks, kept until the server has judged them: its warnings name a row by its number only."""
    for block in blocks:
        kept.write(block)
        yield block


def _rejected(db: MySQLPort, driver: Connection, table: Table, columns: Sequence[str], kept: IO[bytes]) -> RowRejected:
    """The server's first warning, with the key and the value of the row that it means."""
    with driver.cursor() as cursor:
        cursor.execute("SHOW WARNINGS LIMIT 1")
        [(_, number, message)] = cursor.fetchall()
        cursor.execute("SHOW COUNT(*) WARNINGS")
        [(count,)] = cursor.fetchall()
    row = re.search(r"at row (\d+)", message)
    named = re.search(r"[Cc]olumn (?:`\w+`\.`[^`]+`\.)?['`]([^'`]+)['`]", message)
    given: dict[str, str] = {}
    if row:
        kept.seek(0)
        line = next(islice(kept, int(row[1]) - 1, None), b"").rstrip(b"\n")
        given = dict(zip(columns, (field.decode(errors="replace") for field in line.split(b"\t")), strict=False))
    key = ", ".join(f"{name} = {one_line(given[name], 60)}" for name in table.key if name in given)
    value = f"; the value is {one_line(given[named[1]], 80)}" if named and named[1] in given else ""
    more = f", and {count - 1} more rows" if count > 1 else ""
    return RowRejected(
        f"{db.name}.{table.name}{f', column {named[1]}' if named else ''}{f', key ({key})' if key else ''}",
        f"{one_line(message)} ({number}){value}{more}",
        state="the range was rolled back",
    )
