"""Everything that an SQLite database has: sqlite_master by its types, tables by theirs, what a table's text says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import own_objects
from runbook_lib.databases.port import CatalogObject, Inventory
from runbook_lib.databases.sqlite import ddl_parser, inventory_counts, own, quoting

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

# The engine's own: statistics, counters, and the indexes behind constraints (which are counted as constraints).
_INTERNAL = (
    "sqlite_sequence",
    "sqlite_stat1",
    "sqlite_stat2",
    "sqlite_stat3",
    "sqlite_stat4",
    "sqlite_master",
    "sqlite_schema",
)
_LISTED = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
# Before 3.37 nothing tells a shadow table from a table; `catalog` takes both for tables then.
_OLD = "SELECT name, CASE WHEN sql LIKE 'CREATE VIRTUAL%' THEN 'virtual' ELSE type END, 0, 0 FROM sqlite_master"
_OF_TABLES = "SELECT m.name, {} FROM sqlite_master AS m, {} AS p WHERE m.type = 'table'"
_KEYS = _OF_TABLES.format("p.name", "pragma_table_info(m.name)") + " AND p.pk > 0 ORDER BY m.name, p.pk"
_INDEXES = _OF_TABLES.format('p.name, p."unique", p.origin', "pragma_index_list(m.name)")
_PARTS = "SELECT m.name, p.name FROM sqlite_master AS m, pragma_index_info(m.name) AS p WHERE m.type = 'index'"
_REFERENCES = (
    _OF_TABLES.format('p.id, p."from", p."table", p."to", p.on_update, p.on_delete', "pragma_foreign_key_list(m.name)")
    + " ORDER BY m.name, p.id, p.seq"
)
_GENERATED = _OF_TABLES.format("p.name, p.hidden", "pragma_table_xinfo(m.name)") + " AND p.hidden IN (2, 3)"
FILE_SETTINGS = ("user_version", "application_id")  # an application's own numbers, in the file's header


def inventory(db: SQLitePort) -> Inventory:
    """See Database.inventory; SQLite knows no owners."""
    with db.reading("reading everything that it has") as driver:
        ours = own.tables(driver)
        listed = driver.execute(_LISTED if sqlite3.sqlite_version_info >= (3, 37) else _OLD).fetchall()
        types = {name: kind for name, kind, *_ in listed if name not in ours and name not in _INTERNAL}
        texts = driver.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid").fetchall()
        theirs = [row for row in texts if row[2] in types and not own.is_trigger(row[1], row[3] or "")]
        options = {name: f"strict {strict}, without rowid {wr}" for name, _, wr, strict in listed}
        objects = [*_made(types, theirs, options), *_of_tables(driver, types, theirs), *_settings(driver)]
        return Inventory(tuple(objects), inventory_counts.counts(driver, ours), own=own_objects.bare(ours))


def _made(
    types: Mapping[str, str], theirs: list[tuple[Any, ...]], options: Mapping[str, str]
) -> Iterator[CatalogObject]:
    """What has a text of its own: tables of all types, indexes, views, triggers."""
    for kind, name, table, sql in theirs:
        of = quoting.readable(table) if types[table] == "table" else ""
        text = " ".join(token.text for token in ddl_parser.tokens(sql or ""))
        if kind == "table" and types[name] == "table":
            yield CatalogObject("table", quoting.readable(name), of, options[name])
        elif kind == "table" and types[name] == "virtual":
            yield CatalogObject("virtual table", quoting.readable(name), "", text, f"{sql};")
        elif kind == "table" and types[name] != "shadow":  # a shadow is part of its virtual table
            yield CatalogObject(types[name], quoting.readable(name))
        elif kind in ("view", "trigger"):
            yield CatalogObject(kind, quoting.readable(name), of, text, f"{sql};")
        elif kind not in ("table", "index"):
            yield CatalogObject(kind, quoting.readable(name))


def _of_tables(
    driver: sqlite3.Connection, types: Mapping[str, str], theirs: list[tuple[Any, ...]]
) -> Iterator[CatalogObject]:
    """Keys, indexes, references and checks."""
    plain = {name for name, kind in types.items() if kind == "table"}
    texts = {name: sql or "" for kind, name, _, sql in theirs if kind in ("table", "index")}
    for table, keys in _grouped(driver.execute(_KEYS).fetchall(), plain).items():
        yield _part("primary key", "", table, tuple(column for (column,) in keys))
    parts = _grouped(driver.execute(_PARTS).fetchall())
    for table, name, _, origin in driver.execute(_INDEXES).fetchall():
        columns = tuple(column for (column,) in parts.get(name, ()))
        if table not in plain or origin == "pk":
            continue
        if origin == "u":
            yield _part("unique constraint", "", table, columns)
        else:
            text = " ".join(token.text for token in ddl_parser.tokens(texts.get(name, "")))
            whole = columns if all(columns) and " WHERE " not in text.upper() else ()
            yield CatalogObject(
                "index", f"{name} on {quoting.readable(table)}", quoting.readable(table), text, columns=whole
            )
    for table, rows in _grouped(driver.execute(_REFERENCES).fetchall(), plain).items():
        for number in dict.fromkeys(row[0] for row in rows):
            own_rows = [row[1:] for row in rows if row[0] == number]
            yield _part("foreign key", "", table, tuple(row[0] for row in own_rows), str(own_rows))
    for table, name, hidden in driver.execute(_GENERATED).fetchall():
        if table in plain:
            yield _of_column("generated column", table, name, "STORED" if hidden == 3 else "VIRTUAL")
    for table in plain & set(texts):
        parsed = ddl_parser.parse_table(texts[table])
        for number, check in enumerate(parsed.checks, 1):
            yield _part("check constraint", check.name or f"check {number}", table, (check.column,), check.expression)
        for place, said in ddl_parser.options(parsed):
            yield _of_column("column options", table, place, said)
        if parsed.autoincrement:
            yield CatalogObject("identity", quoting.readable(table), quoting.readable(table))


def _of_column(kind: str, table: str, column: str, definition: str) -> CatalogObject:
    shown = quoting.readable(table)
    return CatalogObject(kind, f"{shown}.{column}", shown, definition)


def _part(kind: str, name: str, table: str, columns: tuple[str, ...], definition: str = "") -> CatalogObject:
    """A constraint, which has seldom a name: its columns tell it from others."""
    shown = quoting.readable(table)
    return CatalogObject(kind, f"{name or ', '.join(columns)} on {shown}", shown, definition, columns=columns)


def _settings(driver: sqlite3.Connection) -> Iterator[CatalogObject]:
    for name in FILE_SETTINGS:
        if value := driver.execute(f"PRAGMA {name}").fetchone()[0]:
            yield CatalogObject("file setting", name, "", str(value), f"PRAGMA {name} = {value}")
    encoding = driver.execute("PRAGMA encoding").fetchone()[0]
    yield CatalogObject("database setting", "encoding", "", encoding, f"PRAGMA encoding = '{encoding}'")


def _grouped(rows: list[tuple[Any, ...]], wanted: set[str] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for name, *rest in rows:
        if wanted is None or name in wanted:
            grouped.setdefault(name, []).append(tuple(rest))
    return grouped
