"""Tables from sqlite_master and the PRAGMA functions; definitions without names; sequences; types of expressions."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.port import Column, Constraint, Index, Sequence_, Table
from runbook_lib.databases.sqlite import ddl_parser, own, quoting
from runbook_lib.databases.sqlite.types import Kind, kind_of
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

# FTS and R-tree keep their data in shadow tables: those are their engine's, and come back with the virtual table.
_TABLES = """
SELECT l.name, m.sql, l.wr FROM pragma_table_list AS l JOIN sqlite_master AS m ON m.name = l.name AND m.type = 'table'
WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY l.name
"""
_OLD_TABLES = """
SELECT name, sql, upper(sql) LIKE '%WITHOUT%ROWID%' FROM sqlite_master
WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY name
"""


COUNTED = 1_000_000  # 5 ms


def catalog(db: SQLitePort, tables: Sequence[str] | None = None) -> dict[str, Table]:
    """Describe these tables, or all of the user's. One that does not exist is left out of the answer."""
    found, incarnation = adapter_helpers.Catalog(db.name), _incarnation(db)
    with db.reading("reading its catalog") as driver:
        master = _master(db, driver)
        asked = tables if tables is not None else [quoting.readable(name) for name in master.present]
        for table in asked:
            name = master.called.get(quoting.bare(table).lower())
            if name is not None:
                found[table] = replace(_table(driver, name, master), incarnation=incarnation)
    return found


@dataclass(frozen=True)
class _Master:
    """sqlite_master as it is.

    Attributes:
        present: The user's tables: their texts, and whether they are without rowids.
        called: Their names by the name in small letters.
        objects: By table, in small letters: type, name and text of what belongs to it, in the order it was made.
        ours: The library's own tables.
    """

    present: dict[str, tuple[str, bool]]
    called: dict[str, str]
    objects: dict[str, list[tuple[str, str, str | None]]]
    ours: frozenset[str]

    def of(self, table: str) -> list[tuple[str, str, str]]:
        """What belongs to a table and has a text, the table itself too."""
        return [(kind, name, sql) for kind, name, sql in self.objects.get(table.lower(), ()) if sql]


def _master(db: SQLitePort, driver: sqlite3.Connection) -> _Master:
    """Read again only when the schema has changed, by whomever: it has no index, and is asked for each table."""
    inode = db.path.stat().st_ino if db.path.exists() else 0
    version = (inode, driver.execute("PRAGMA schema_version").fetchone()[0])
    known = db.memo.get(("master",))
    if known is None or known[0] != version:
        objects: dict[str, list[tuple[str, str, str | None]]] = {}
        for table, *rest in driver.execute("SELECT tbl_name, type, name, sql FROM sqlite_master ORDER BY rowid"):
            objects.setdefault(table.lower(), []).append((rest[0], rest[1], rest[2]))
        present = _present(driver)
        called = {name.lower(): name for name in present}
        known = db.memo["master",] = (version, _Master(present, called, objects, own.tables(driver)))
    found: _Master = known[1]
    return found


def belongings(db: SQLitePort, tables: Sequence[str]) -> dict[str, list[tuple[str, str, str]]]:
    """By a table's own name: type, name and text of the table and of its indexes and triggers, as they were made.

    Raises:
        DatabaseError: a table is missing.
    """
    with db.reading("reading its catalog") as driver:
        master = _master(db, driver)
    called = {table: master.called.get(quoting.bare(table).lower()) for table in tables}
    missing = adapter_helpers.Catalog(db.name)
    return {name: master.of(name) for name in (called[table] or missing[table].name for table in tables)}


def tables(db: SQLitePort) -> list[str]:
    """The names of all user tables."""
    with db.reading("reading its catalog") as driver:
        return [quoting.readable(name) for name in _master(db, driver).present]


def _present(driver: sqlite3.Connection) -> dict[str, tuple[str, bool]]:
    """The user's tables: their texts, and whether they are without rowids."""
    ours = own.tables(driver)
    return {name: (sql, without) for name, sql, without in driver.execute(_tables_sql()) if name not in ours}


def triggers_of(db: SQLitePort, driver: sqlite3.Connection, tables: Sequence[str]) -> list[tuple[str, str]]:
    """The names and texts of the user's triggers of these tables, in the order they were made."""
    master = _master(db, driver)
    rows = [row for table in tables for row in master.of(quoting.bare(table))]
    return [(name, sql) for kind, name, sql in rows if kind == "trigger" and not own.is_trigger(name, sql)]


def has_own(db: SQLitePort, driver: sqlite3.Connection, name: str) -> bool:
    """Whether our own table of this name (with prefix) is there."""
    return name in _master(db, driver).ours


def _incarnation(db: SQLitePort) -> str:
    """Another text after any write: nothing cheaper tells a table from one that was recreated."""
    log = db.path.with_name(f"{db.path.name}-wal")
    states = [path.stat() for path in (db.path, log) if path.exists()]
    return " ".join(f"{state.st_ino}/{state.st_size}/{state.st_mtime_ns}" for state in states if state.st_size)


def _tables_sql() -> str:
    return _TABLES if sqlite3.sqlite_version_info >= (3, 37) else _OLD_TABLES


def _table(driver: sqlite3.Connection, name: str, master: _Master) -> Table:
    sql, without_rowid = master.present[name]
    parsed = ddl_parser.parse_table(sql or "")
    info = driver.execute('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', (name,))
    rows = [row for row in info.fetchall() if row[5] != 1]
    primary = [row[0] for row in sorted((row for row in rows if row[4]), key=lambda row: row[4])]
    alias = _rowid_alias(rows, primary, without_rowid)
    columns = tuple(_column(row, number, parsed, alias, without_rowid) for number, row in enumerate(rows, 1))
    indexes = tuple(_indexes(driver, name, {item: text for kind, item, text in master.of(name) if kind == "index"}))
    constraints = (*_keys(indexes, primary), *_checks(parsed), *_references(driver, name))
    triggers = [(item, text) for kind, item, text in master.of(name) if kind == "trigger"]
    return Table(
        name=name,
        schema="main",
        columns=columns,
        key=_key(columns, primary, indexes, alias),
        indexes=indexes,
        constraints=constraints,
        triggers=tuple(_trigger(text) for called, text in triggers if not own.is_trigger(called, text)),
        rows_estimate=_estimate(driver, name, without_rowid),
    )


def _estimate(driver: sqlite3.Connection, table: str, without_rowid: bool) -> int:
    """Rows: counted up to a million, beyond that guessed from the rowids, which costs nothing."""
    name = quoting.ident(table)
    counted = driver.execute(f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {COUNTED})").fetchone()[0]
    if counted < COUNTED or without_rowid:
        return int(counted)
    least, greatest = driver.execute(
        f"SELECT (SELECT min(_rowid_) FROM {name}), (SELECT max(_rowid_) FROM {name})"
    ).fetchone()
    return int(greatest - least + 1)


def _rowid_alias(rows: Sequence[tuple[Any, ...]], primary: Sequence[str], without_rowid: bool) -> str:
    """The column that is the rowid itself: exactly INTEGER PRIMARY KEY."""
    types = {row[0]: str(row[1]).upper() for row in rows}
    return primary[0] if len(primary) == 1 and types[primary[0]] == "INTEGER" and not without_rowid else ""


def _column(row: tuple[Any, ...], number: int, parsed: ddl_parser.Parsed, alias: str, without_rowid: bool) -> Column:
    name, declared, required, default, position, hidden = row
    identity = ("auto_increment" if parsed.autoincrement else "by default") if name == alias else ""
    generated = hidden in (2, 3)
    return Column(
        name=name,
        type=kind_of(declared or "").type,
        nullable=not (required or name == alias or (position and without_rowid)),
        default=parsed.generated.get(name) if generated else default,
        generated=generated,
        identity=identity,
        collation=parsed.collations.get(name, ""),
        ordinal=number,
    )


def _indexes(driver: sqlite3.Connection, table: str, texts: Mapping[str, str]) -> Iterator[Index]:
    listed = driver.execute('SELECT name, "unique", origin, partial FROM pragma_index_list(?)', (table,)).fetchall()
    for name, unique, origin, partial in sorted(listed):
        parts = driver.execute(
            'SELECT cid, name, "desc", coll FROM pragma_index_xinfo(?) WHERE "key" ORDER BY seqno', (name,)
        ).fetchall()
        text = texts.get(name, "")
        expressions = _index_parts(text) if text else []
        columns = tuple(
            column if cid >= 0 else (expressions[i] if i < len(expressions) else "?")
            for i, (cid, column, _, _) in enumerate(parts)
        )
        shown = [
            f"{quoting.ident(column) if cid >= 0 else column}{_collated(coll)}{' DESC' if descending else ''}"
            for column, (cid, _, descending, coll) in zip(columns, parts, strict=True)
        ]
        where = _index_where(text)
        definition = f"{'UNIQUE ' if unique else ''}({', '.join(shown)}){f' WHERE {where}' if where else ''}"
        yield Index(name, columns, bool(unique), definition, True, bool(partial), origin in ("u", "pk"))


def _collated(collation: str | None) -> str:
    return "" if (collation or "BINARY").upper() == "BINARY" else f" COLLATE {collation}"


def _index_parts(sql: str) -> list[str]:
    """The texts between the parentheses of a CREATE INDEX, without order and collation."""
    items = ddl_parser._items(ddl_parser.tokens(sql))
    texts = [sql[item[0].start : item[-1].end] for item in items]
    return [re.sub(r"(?i)(\s+COLLATE\s+\S+)?(\s+(ASC|DESC))?$", "", text) for text in texts]


def _index_where(sql: str) -> str:
    depth = 0
    for token in ddl_parser.tokens(sql):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.upper == "WHERE":
            return sql[token.end :].strip()
    return ""


def _keys(indexes: Sequence[Index], primary: Sequence[str]) -> Iterator[Constraint]:
    if primary:
        yield Constraint("", "primary", tuple(primary), f"PRIMARY KEY ({_quoted(primary)})")
    for index in indexes:
        if index.constraint and tuple(index.columns) != tuple(primary):
            yield Constraint(index.name, "unique", index.columns, f"UNIQUE ({_quoted(index.columns)})")


def _checks(parsed: ddl_parser.Parsed) -> Iterator[Constraint]:
    for check in parsed.checks:
        columns = (check.column,) if check.column else ()
        yield Constraint(check.name, "check", columns, f"CHECK ({check.expression})")


def _references(driver: sqlite3.Connection, table: str) -> Iterator[Constraint]:
    found = driver.execute(
        'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq',
        (table,),
    ).fetchall()
    for number in dict.fromkeys(row[0] for row in found):
        rows = [row for row in found if row[0] == number]
        parent, on_update, on_delete = rows[0][1], rows[0][4], rows[0][5]
        columns = tuple(row[2] for row in rows)
        there = [row[3] for row in rows]
        if there[0] is None:  # REFERENCES t: the parent's primary key
            keys = driver.execute("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", (parent,)).fetchall()
            there = [key for (key,) in keys]
        text = f"FOREIGN KEY ({_quoted(columns)}) REFERENCES {quoting.ident(parent)}({_quoted(there)})"
        for event, act in (("UPDATE", on_update), ("DELETE", on_delete)):
            text += f" ON {event} {act}" if act != "NO ACTION" else ""
        yield Constraint("", "foreign", columns, text, referenced_table=quoting.readable(parent))


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(quoting.ident(column) for column in columns)


def _trigger(sql: str) -> str:
    return re.sub(r"(?i)^CREATE\s+TRIGGER\s+(IF\s+NOT\s+EXISTS\s+)?", "", sql)


def _key(columns: Sequence[Column], primary: Sequence[str], indexes: Sequence[Index], alias: str) -> tuple[str, ...]:
    """The primary key where it is not null (SQLite allows NULLs), else the narrowest such unique index."""
    required = {column.name for column in columns if not column.nullable}
    if primary and (alias or required.issuperset(primary)):
        return tuple(primary)
    usable = [i.columns for i in indexes if i.unique and not i.partial and required.issuperset(i.columns)]
    return min(usable, key=len, default=())


def kinds(db: SQLitePort, relation: str, expressions: Sequence[str]) -> tuple[Kind, ...]:
    """The declared type of each expression: a column's own, a CAST's, or none (then a value's own class counts)."""
    asked = ("kinds", relation, tuple(expressions))
    if asked not in db.memo and expressions:
        db.memo[asked] = _declared(db, relation, expressions)
    found: tuple[Kind, ...] = db.memo.get(asked, ())
    return found


def _declared(db: SQLitePort, relation: str, expressions: Sequence[str]) -> tuple[Kind, ...]:
    """SQLite tells a view's columns the declared types of what they show, without reading a row."""
    listed = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(expressions))
    try:
        with db.reading("reading its catalog") as driver:
            driver.execute(f"CREATE TEMP VIEW runbook_kinds AS SELECT {listed} FROM {relation}")
            try:
                rows = driver.execute("SELECT type FROM pragma_table_xinfo('runbook_kinds')").fetchall()
            finally:
                driver.execute("DROP VIEW temp.runbook_kinds")
    except sqlite3.Error as error:
        if len(expressions) > 1:
            for expression in expressions:
                _declared(db, relation, [expression])
        raise db.explain(error, f"reading {expressions[0]} from {relation}") from error
    return tuple(kind_of(_cast_type(sql) or shown or "") for sql, (shown,) in zip(expressions, rows, strict=True))


def _cast_type(expression: str) -> str:
    found = re.fullmatch(r"(?is)\s*CAST\s*\((.*)\s+AS\s+([\w ]+(?:\([\d ,]+\))?)\s*\)\s*", expression)
    told = None if found else re.fullmatch(r"(?s)\s*runbook_read\(.*, '([^']*)', '\w*'\)\s*", expression)
    return found[2] if found else told[1] if told else ""


def is_column(expression: str) -> bool:
    """Whether its type is a column's own, not one that was declared for an expression."""
    return not _cast_type(expression)


def expression_types(db: SQLitePort, relation: str, expressions: Sequence[str]) -> tuple[str, ...]:
    """The type of each expression over the relation.

    Raises:
        DatabaseError: an expression is wrong, or SQLite has no type for it (then the plan must say one by CAST).
    """
    found = kinds(db, relation, expressions)
    for expression, kind in zip(expressions, found, strict=True):
        if kind.type == "any":
            raise DatabaseError(
                f"database {db.name}",
                f"SQLite has no declared type for {expression}",
                action=f"write CAST({expression} AS type) in the plan",
            )
    return tuple(kind.type for kind in found)


def sequences(db: SQLitePort, tables: Sequence[str]) -> list[Sequence_]:
    """AUTOINCREMENT counters. A plain INTEGER PRIMARY KEY has none: its next value is the greatest plus one."""
    counted = [
        (name, table.name, column.name)
        for name, table in catalog(db, tables).items()
        for column in table.columns
        if column.identity == "auto_increment"
    ]
    last = dict(db.rows("SELECT name, seq FROM sqlite_sequence")) if counted else {}
    return [
        Sequence_(called, name, column, int(last[called]) if called in last else None)
        for name, called, column in counted
    ]


def set_sequence(db: SQLitePort, sequence: Sequence_, last: int) -> None:
    """Make the next value the one after `last`; never backwards."""
    [table] = catalog(db, [sequence.table]).values()
    if not any(column.identity == "auto_increment" for column in table.columns):
        raise DatabaseError(f"sequence {sequence.name}", "the table has no AUTOINCREMENT", state="nothing was set")
    name = quoting.literal(table.name)
    db.execute(
        f"INSERT INTO sqlite_sequence (name, seq) SELECT {name}, {int(last)} "
        f"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {name})",
        f"UPDATE sqlite_sequence SET seq = max(seq, {int(last)}) WHERE name = {name}",
    )


def definitions(db: SQLitePort) -> dict[str, str]:
    """See Database.definitions; triggers of tables are the tables' own."""
    views = "SELECT name FROM sqlite_master WHERE type = 'view'"
    sql = f"SELECT type || ' ' || name, sql FROM sqlite_master WHERE type = 'view' OR tbl_name IN ({views})"
    return {str(name): str(text) for name, text in db.rows(sql)}


def schema_marks(db: SQLitePort) -> dict[str, str]:
    """See Database.schema_marks."""
    marks: dict[str, str] = {}
    rows = db.rows("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'trigger' ORDER BY type, name")
    for kind, name, table, text in rows:
        if not str(table).startswith((quoting.OWN, "sqlite_")):
            owner = f"view {name}" if kind == "view" else f"table {quoting.readable(table)}"
            marks[owner] = f"{marks.get(owner, '')}{text};"
    return marks
