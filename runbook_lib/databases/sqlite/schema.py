"""DDL as sqlite_master keeps it, and scripts in one transaction (SQLite's DDL is transactional)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.port import OtherObjects
from runbook_lib.databases.sqlite import catalog, ddl_parser, own, quoting, virtual
from runbook_lib.databases.sqlite.inventory import FILE_SETTINGS
from runbook_lib.databases.statement_names import named
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort


def dump_schema(db: SQLitePort, tables: Sequence[str]) -> tuple[str, str]:
    """The tables, and their indexes and triggers, in the words they were made with.

    Foreign keys are part of a table's text; those to tables outside the list are cut out of it. SQLite checks none
    on a connection that does not ask for it, ours included.

    Raises:
        DatabaseError: a table is missing.
    """
    found = catalog.belongings(db, tables)
    before, after, kept = [], [], {name.lower() for name in found}
    for rows in found.values():
        for kind, item, sql in rows:
            if kind == "table":
                before.append(f"{ddl_parser.without_references(sql, kept)};")
            elif kind != "trigger" or not own.is_trigger(item, sql):
                after.append(f"{sql};")
    return _script(before), _script(after)


def dump_rest(db: SQLitePort, tables: Sequence[str]) -> OtherObjects:  # noqa: ARG001  views belong to the database
    """Virtual tables with their rows, views and their triggers, in the order in which they were made; the file's own
    numbers (`user_version`). A virtual table that is too large for a script is left out."""
    rows = db.rows(
        "SELECT m.type, m.name, m.sql FROM sqlite_master AS m WHERE m.type = 'view' OR (m.type = 'trigger' AND EXISTS"
        " (SELECT 1 FROM sqlite_master AS v WHERE v.type = 'view' AND v.name = m.tbl_name)) ORDER BY m.rowid"
    )
    with db.reading("reading virtual tables") as driver:
        filled = {name: virtual.script(driver, name, sql) for name, sql in virtual.listed(driver)}
        numbers = {name: driver.execute(f"PRAGMA {name}").fetchone()[0] for name in FILE_SETTINGS}
    made = [("virtual table", name, text) for name, text in filled.items() if text]
    made += [(kind, name, f"{sql};") for kind, name, sql in rows]
    made += [("file setting", name, f"PRAGMA {name} = {value};") for name, value in numbers.items() if value]
    undo = [f"DROP TABLE IF EXISTS {quoting.ident(name)};" for kind, name, _ in made if kind == "virtual table"]
    undo += [f"DROP VIEW IF EXISTS {quoting.ident(name)};" for kind, name, _ in made if kind == "view"]
    return OtherObjects(
        tuple(f"{kind} {name}" for kind, name, _ in made), _script([text for *_, text in made]), _script(undo)
    )


def stages(after: str) -> list[list[str]]:
    """Indexes in any order, each writer waits for the other; then triggers one after the other: they fire in order."""
    found = [(statement, named(statement)) for statement in statements(after)]
    indexes = [text for text, what in found if what and what.kind.endswith("index")]
    others = [[text] for text, what in found if not (what and what.kind.endswith("index"))]
    return [indexes, *others] if indexes else others


def about(scripts: Sequence[str], tables: Sequence[str]) -> list[str]:
    """The table whose index each script makes; "" for a trigger, which waits until all tables have their rows."""
    known = {quoting.bare(table).lower(): table for table in tables}
    read = [named(script) for script in scripts]
    return [
        known.get(ddl_parser.unquoted(what.table).lower(), "") if what and what.kind.endswith("index") else ""
        for what in read
    ]


def _script(statements: Sequence[str]) -> str:
    return "\n".join(statements) + "\n" if statements else ""


def drop_tables(db: SQLitePort, tables: Sequence[str]) -> None:
    """Drop these tables with their indexes and triggers; missing ones are passed over.

    Raises:
        DatabaseError: a view reads one of them; nothing was dropped.
    """
    found = db.catalog(tables)
    views = db.rows("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    for table in found.values():
        for view, sql in views:
            if any(ddl_parser.unquoted(token.text).lower() == table.name.lower() for token in ddl_parser.tokens(sql)):
                raise DatabaseError(
                    f"table {table.name}",
                    f"the view {view} reads it",
                    state="nothing was dropped",
                    action="drop it first",
                )
    db.execute(*(f"DROP TABLE {quoting.ident(table.name)}" for table in found.values()))


def run_script(db: SQLitePort, script: str, *, again: bool = False) -> None:  # noqa: ARG001  all or nothing
    """Run a script of many statements in one transaction.

    Raises:
        DatabaseError: a statement failed (it is named); nothing is left.
    """
    with db.writing("running a script") as driver:
        for statement in statements(script):
            try:
                driver.execute(statement)
            except sqlite3.Error as error:
                what = named(statement)
                doing = what.purpose if what else f"running `{one_line(statement, 80)}`"
                raise db.explain(error, doing) from error


def statements(script: str) -> Iterator[str]:
    """The statements of a script, as SQLite itself tells their ends (a trigger's body has semicolons too)."""
    pending = ""
    start = 0
    for token in ddl_parser.tokens(script):
        if token.text == ";":
            pending = script[start : token.end]
            if sqlite3.complete_statement(pending):
                if pending.strip(" \t\r\n;"):
                    yield pending
                start = token.end
    if script[start:].strip(" \t\r\n;") and ddl_parser.tokens(script[start:]):
        yield script[start:]
