"""Stream a range out and write blocks in: the server's own COPY formats, passed through untouched."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg.pq import ExecStatus

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import quoting
from runbook_lib.databases.postgresql.connection import placed
from runbook_lib.databases.postgresql.ranges import condition
from runbook_lib.databases.postgresql.wal import changed_keys
from runbook_lib.errors import DatabaseError, RowRejected, TransferError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

BLOCK_BYTES = 64 * 1024  # COPY hands out a row a call: joined, writing costs half (measured)

_TYPES = """
SELECT t.oid::int8, t.typtype::text, t.typsend <> 0 AND t.typreceive <> 0, t.typelem::int8, t.typcategory::text,
       t.typbasetype::int8, coalesce(g.rngsubtype, 0)::int8, t.typname LIKE 'reg%%' AND t.oid < 16384
FROM pg_type t LEFT JOIN pg_range g ON t.oid IN (g.rngtypid, g.rngmultitypid) WHERE t.oid = %s
"""
USER_OIDS = 16384


def binary_safe(db: PostgreSQLPort, types: Sequence[str]) -> bool:
    """Whether values of these types mean the same in another database when sent in binary.

    Arrays, composites and the reg* types carry OIDs: of the server's own types they are the same everywhere, of the
    user's they are not. Enums go as labels, domains as their base type.
    """
    safe: set[str] = db.memo.setdefault("binary", set())
    if safe.issuperset(types):
        return True
    with db.raw() as driver:
        for kind in types:
            if kind in safe:
                continue
            row = driver.execute("SELECT to_regtype(%s)::oid::int8", (kind,)).fetchone()
            if not row or row[0] is None or not _safe(driver, row[0]):
                return False
            safe.add(kind)
    return True


def _safe(driver: psycopg.Connection, oid: int) -> bool:
    row = driver.execute(_TYPES, (oid,)).fetchone()
    if row is None:
        return False
    _, kind, has_binary, element, category, base, subtype, is_reg = row
    if not has_binary or is_reg or kind in ("c", "p"):
        return False
    if kind == "d":
        return _safe(driver, base)
    if subtype:
        return _safe(driver, subtype)
    if category == "A" and element:
        return element < USER_OIDS and _safe(driver, element)
    return True


def copy_out(db: PostgreSQLPort, selection: Selection, key_range: KeyRange, *, binary: bool) -> Iterator[bytes]:
    """Yield one range in COPY format, in blocks of about 64 KiB, from the snapshot of one statement.

    Closing the iterator early ends the statement and gives the connection up.

    Raises:
        DatabaseError: the server refused the statement, or was lost meanwhile.
    """
    query = reading(db, selection, key_range, binary=binary)
    try:
        with db.sessions.borrowed() as session:
            yield from _blocks(session.pgconn, query.encode())
    except psycopg.Error as error:
        raise db.explain(error, f"reading {selection.relation}") from error


def reading(db: PostgreSQLPort, selection: Selection, key_range: KeyRange, *, binary: bool) -> str:
    """The statement that sends one range."""
    where = condition(db, selection, key_range)
    columns = ", ".join(selection.columns)
    return f"COPY (SELECT {columns} FROM {selection.relation} WHERE {where}) TO STDOUT {_form(binary)}"


def _form(binary: bool) -> str:
    return "(FORMAT binary)" if binary else "(FORMAT text)"


def _blocks(pgconn: Any, query: bytes) -> Iterator[bytes]:
    started = pgconn.exec_(query)
    if started.status != ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(started)
    buffer, size = [], 0
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    while True:
        count, data = pgconn.get_copy_data(1)
        if count > 0:
            buffer.append(bytes(data))
            size += count
            if size >= BLOCK_BYTES:
                yield b"".join(buffer)
                buffer, size = [], 0
        elif count == 0:
            poll.poll()  # lets other threads run while the server works
            pgconn.consume_input()
        else:
            break
    if buffer:
        yield b"".join(buffer)
    while (result := pgconn.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


def copy_in(
    db: PostgreSQLPort,
    table: str,
    columns: Sequence[str],
    blocks: Iterator[bytes],
    *,
    binary: bool,
    progress: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> int:
    """Write blocks into a table and run the progress statements, all in one transaction; the rows written.

    Raises:
        RowRejected: the server refused a row.
        TransferError: a progress statement changed nothing: somebody else did this range.
        DatabaseError: session_replication_role may not be set, or anything else the server says.
    """

    def send(driver: psycopg.Connection, into: str) -> int:
        with driver.cursor() as cursor:
            with cursor.copy(into.encode()) as copy:
                for block in blocks:
                    copy.write(block)
            return int(cursor.rowcount)

    return write(db, table, columns, send, binary=binary, progress=progress)


def write(
    db: PostgreSQLPort,
    table: str,
    columns: Sequence[str],
    send: Callable[[psycopg.Connection, str], int],
    *,
    binary: bool,
    progress: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> int:
    """Send rows and run the progress statements in one transaction, as `copy_in` does; the rows written.

    Args:
        send: Gets the connection and the COPY statement; carries it out and returns the rows.
    """
    listed = (
        f" ({', '.join(map(quoting.ident, columns))})" if columns else ""
    )  # none: a table of none, or generated ones
    with db.raw() as driver:  # an error rolls everything back
        try:
            _as_replica(db, driver)
            rows = send(driver, f"COPY {quoting.quote(table)}{listed} FROM STDIN {_form(binary)}")
            for statement, values in progress:
                if driver.execute(placed(statement).encode(), {"rows": rows, **values}).rowcount == 0:
                    raise TransferError(table, "this range was done by somebody else", state="rolled back")
        except (pg.DataError, pg.IntegrityError) as error:
            raise _rejected(db, table, error) from error
        except psycopg.Error as error:
            raise db.explain(error, f"writing {table}") from error
    return rows


def _as_replica(db: PostgreSQLPort, driver: psycopg.Connection) -> None:
    """Triggers and foreign keys do not fire for this transaction, and no capture takes it."""
    changed_keys.mark(driver)
    try:
        driver.execute("SET LOCAL session_replication_role = replica")
    except pg.InsufficientPrivilege as error:
        login = quoting.ident(db.login.parameters.get("user", "the login"))
        raise DatabaseError(
            f"database {db.name}",
            "the login may not set session_replication_role",
            state="nothing was written",
            action=f"GRANT SET ON PARAMETER session_replication_role TO {login} (14: use a superuser)",
        ) from error


def _rejected(db: PostgreSQLPort, table: str, error: psycopg.Error) -> RowRejected:
    """Table, column, line and the value, shortened, as far as the server tells them."""
    diag = error.diag
    context = one_line((diag.context or "").partition("\n")[0], 120)
    detail = one_line(diag.message_detail or "", 120)
    column = f", column {diag.column_name}" if diag.column_name else ""
    rule = f", constraint {diag.constraint_name}" if diag.constraint_name else ""
    seen = "; ".join(part for part in (diag.message_primary or one_line(str(error)), detail, context) if part)
    return RowRejected(f"{db.name}.{table}{column}{rule}", seen, state="the range was rolled back")
