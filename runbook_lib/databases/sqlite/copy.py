"""Bulk rows as COPY text: SQLite renders the line itself, Python only the types whose text SQLite prints otherwise."""

from __future__ import annotations

import marshal
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from runbook_lib.databases import canonical, copy_text
from runbook_lib.databases.canonical import canonical_type
from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.sqlite import quoting, ranges
from runbook_lib.databases.sqlite.catalog import kinds
from runbook_lib.databases.sqlite.row_blocks import FETCH_ROWS, lines
from runbook_lib.databases.sqlite.triggers import silenced
from runbook_lib.databases.sqlite.types import EXACT_DIGITS, IncompatibleValue, Kind, kind_of, parser, renderer
from runbook_lib.errors import DatabaseError, RowRejected, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

INSERT_ROWS = 5_000
SPOOL_BYTES = 64 * 2**20  # a range that is longer goes to a temporary file

_ESCAPED = "replace(replace(replace(replace({0},'\\','\\\\'),char(9),'\\t'),char(10),'\\n'),char(13),'\\r')"

_SIGNS = ("'\\'", "char(9)", "char(10)", "char(13)")


def copy_field(value: Any, type_text: str) -> str:
    """The SQL function runbook_copy: a value as a field of COPY text."""
    rendered = renderer(type_text)(value)
    return "\\N" if rendered is None else rendered.translate(copy_text._OUT)


def incompatible_value(value: Any, type_text: str) -> int:
    """The SQL function runbook_misfit: whether a value is not what its type says."""
    try:
        renderer(kind_of(type_text).type)(value)
    except (IncompatibleValue, ValueError):
        return 1
    return 0


def copy_out(db: SQLitePort, selection: Selection, key_range: KeyRange, *, binary: bool) -> Iterator[bytes]:
    """Stream one range in blocks, from the snapshot of one short transaction: COPY text, or stored values (binary).

    Unless the database is in WAL mode a reader holds writers up, so the range is read to its end first (into memory,
    beyond 64 MB into a file), however slowly the blocks are taken.

    Raises:
        RowRejected: a value does not fit its declared type: table, key, column and value are named.
        DatabaseError: SQLite refused the statement.
    """
    where, bound = ranges.condition(db, selection, key_range)
    key = "_rowid_" if key_range.kind == "blocks" else next(iter(selection.key), "")

    def blocks() -> Iterator[bytes]:
        with db.raw() as driver:
            if binary:
                listed = ", ".join(selection.columns)
                cursor = driver.execute(f"SELECT {listed} FROM {selection.relation} WHERE {where}", bound)
                yield from map(_framed, iter(lambda: cursor.fetchmany(FETCH_ROWS), []))
            else:
                yield from lines(driver, selection, _line(db, selection), where, bound, key)

    try:
        if db.journal_mode == "wal":
            yield from blocks()
            return
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
            for block in blocks():
                spool.write(block)
            spool.seek(0)
            yield from iter(lambda: spool.read(65_536), b"")
    except sqlite3.Error as error:
        found = locate(db, selection, where, bound)
        raise (found or db.explain(error, f"reading {selection.relation}")) from error


def _framed(rows: list[tuple[Any, ...]]) -> bytes:
    """Rows between two SQLite databases: stored values as they are, with the length in front."""
    body = marshal.dumps(rows)
    return len(body).to_bytes(8, "big") + body


def _unframed(blocks: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
    rest = b""
    for block in blocks:
        rest += block
        while len(rest) >= 8 and len(rest) >= 8 + (size := int.from_bytes(rest[:8], "big")):
            yield from marshal.loads(rest[8 : 8 + size])  # noqa: S302  written by this process a moment ago
            rest = rest[8 + size :]


def _line(db: SQLitePort, selection: Selection) -> str:
    """One line of COPY text as an SQL expression."""
    found = kinds(db, selection.relation, selection.columns)
    fields = [_field(sql, kind) for sql, kind in zip(selection.columns, found, strict=True)]
    return "||char(9)||".join(fields) + "||char(10)"


def _field(expression: str, kind: Kind) -> str:
    """A field of the line: what SQLite prints exactly as PostgreSQL does stays in SQL (4 times faster)."""
    tag = canonical_type(kind.type).tag
    slow = f"runbook_copy({expression}, {quoting.literal(kind.type)})"
    if tag == canonical.NUMBER and not kind.type.startswith("numeric"):
        return f"CASE typeof({expression}) WHEN 'integer' THEN {expression} WHEN 'null' THEN '\\N' ELSE {slow} END"
    if tag == canonical.TEXT:
        found = " OR ".join(f"instr({expression}, {sign})" for sign in _SIGNS)  # a third of the time of replacing
        fast = f"CASE WHEN {found} THEN {_ESCAPED.format(expression)} ELSE {expression} END"
        return f"CASE typeof({expression}) WHEN 'text' THEN {fast} WHEN 'null' THEN '\\N' ELSE {slow} END"
    if tag in (
        canonical.DATE,
        canonical.LOCAL,
    ):  # SQLite gives a real day and moment back unchanged; the modifier makes it count 30 February out
        same = f"{'date' if tag == canonical.DATE else 'datetime'}({expression}, '+0 days') IS {expression}"
        return f"CASE WHEN {expression} IS NULL THEN '\\N' WHEN {same} THEN {expression} ELSE {slow} END"
    modifiers = canonical_type(kind.type).modifiers
    if tag == canonical.NUMBER and len(modifiers) == 2 and modifiers[0] <= EXACT_DIGITS:
        return _decimal_field(expression, modifiers[1], slow)
    return slow


def _decimal_field(expression: str, scale: int, slow: str) -> str:
    """A decimal that has no more than its declared digits; any other is rendered in Python.

    A double that equals a whole number over a power of ten is the nearest to that decimal: printing it rounds nothing.
    """
    whole = f"{expression} || '{'.' + '0' * scale if scale else ''}'"
    exact = (
        f"abs({expression}) < 1e{EXACT_DIGITS - scale} AND {expression} <> 0"
        f" AND round({expression} * 1e{scale}) / 1e{scale} = {expression}"
    )
    return (
        f"CASE typeof({expression}) WHEN 'integer' THEN {whole} WHEN 'null' THEN '\\N' "
        f"WHEN 'real' THEN CASE WHEN {exact} THEN printf('%.{scale}f', {expression}) ELSE {slow} END ELSE {slow} END"
    )


def locate(db: SQLitePort, selection: Selection, where: str, bound: Sequence[Any]) -> RowRejected | None:
    """Find the first row of a range whose value does not fit, to name it; None when all fit."""
    found = kinds(db, selection.relation, selection.columns)
    render = [renderer(kind.type) for kind in found]
    count = len(found)
    classes = [f"typeof({sql})" for sql in selection.columns]
    listed = ", ".join((*selection.columns, *classes, *selection.key))
    with db.raw() as driver:
        driver.text_factory = bytes  # text that is no UTF-8 is a finding too
        try:
            for row in driver.execute(f"SELECT {listed} FROM {selection.relation} WHERE {where}", bound):
                for i, kind in enumerate(found):
                    try:
                        render[i](_decoded(row[i], row[count + i]))
                    except IncompatibleValue as error:
                        key = ", ".join(repr(_shown(value)) for value in row[2 * count :]) or "none"
                        return RowRejected(
                            f"{db.name}: {selection.relation}, key {key}, column {selection.columns[i]}",
                            f"{_shown(row[i])!r:.80} is {error}",
                            expected=f"a value of type {kind.type or 'any'}",
                            state="the range was not read",
                            action="correct the value, or name another type for this column in the plan",
                        )
        finally:
            driver.text_factory = str
    return None


def _decoded(value: Any, kind: bytes) -> Any:
    """The value as it comes without our text factory."""
    if kind != b"text":
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise IncompatibleValue("text that is no UTF-8") from error


def _shown(value: Any) -> Any:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def copy_in(
    db: SQLitePort,
    table: str,
    columns: Sequence[str],
    blocks: Iterator[bytes],
    *,
    binary: bool,
    progress: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> int:
    """Write blocks into a table and run the progress statements, all in one transaction; the rows written.

    Raises:
        RowRejected: a value does not fit its column, or a constraint refused the row.
        TransferError: a progress statement changed nothing: somebody else did this range.
    """
    rows = 0
    with db.writing_session(f"writing {table}") as connected:
        driver: Any = connected.connection.driver_connection
        with silenced(db, driver, [table]):
            native = natives(driver, db.name, table, columns)
            found = _unframed(blocks) if binary else map(native, copy_text.decode(blocks))
            while batch := list(islice(found, INSERT_ROWS)):
                insert(db, driver, table, columns, batch)
                rows += len(batch)
        for statement, given in progress:
            if connected.execute(text(statement), {"rows": rows, **given}).rowcount == 0:
                raise TransferError(table, "this range was done by somebody else", state="rolled back")
    return rows


def insert(
    db: SQLitePort,
    driver: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    piece: str = "range",
) -> None:
    """Insert rows as they are stored. `piece`: what an error says was rolled back with them.

    OR ABORT: a constraint declared ON CONFLICT REPLACE or IGNORE must not lose rows
    (docs/correctness.md#unique-conflicts).
    """
    listed, marks = ", ".join(map(quoting.ident, columns)), ", ".join("?" * len(columns))
    try:
        driver.executemany(f"INSERT OR ABORT INTO {quoting.quote(table)} ({listed}) VALUES ({marks})", rows)
    except sqlite3.IntegrityError as error:
        raise RowRejected(f"{db.name}.{table}", str(error), state=f"the {piece} was rolled back") from error


def natives(
    driver: sqlite3.Connection, database: str, table: str, columns: Sequence[str]
) -> Callable[[Sequence[Any]], list[Any]]:
    """The function from a row of neutral texts to what is stored; a value that does not fit is named."""
    declared = column_kinds(driver, table)
    if missing := [column for column in columns if column not in declared]:
        raise DatabaseError(f"table {table}", f"no column {', '.join(missing)}", action="correct the plan")
    parse = [parser(declared[column]) for column in columns]

    def native(row: Sequence[Any]) -> list[Any]:
        try:
            return [one(value) for one, value in zip(parse, row, strict=True)]
        except (IncompatibleValue, ValueError):
            raise _incompatible_value(database, table, columns, declared, row) from None

    return native


def _incompatible_value(
    database: str, table: str, columns: Sequence[str], declared: Mapping[str, Kind], row: Sequence[Any]
) -> RowRejected:
    if len(row) != len(columns):
        return RowRejected(f"{database}.{table}", f"{len(row)} values for {len(columns)} columns")
    for column, value in zip(columns, row, strict=True):
        try:
            parser(declared[column])(value)
        except ValueError as error:
            first = f"{columns[0]} = {row[0]!r:.40}"
            return RowRejected(
                f"{database}.{table}, row with {first}, column {column}",
                f"{value!r:.80}: {error}",
                expected=declared[column].declared or "any type",
                state="rolled back",
            )
    return RowRejected(f"{database}.{table}", "a value does not fit")


def column_kinds(driver: sqlite3.Connection, table: str) -> dict[str, Kind]:
    """Column → declared type."""
    found = driver.execute("SELECT name, type FROM pragma_table_xinfo(?)", (quoting.bare(table),)).fetchall()
    if not found:
        raise DatabaseError(f"table {table}", "does not exist", action="check the plan's table names")
    return {name: kind_of(declared or "") for name, declared in found}
