"""Read tables from information_schema, one query a kind of object for all of them, definitions without names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pymysql

from runbook_lib.databases import own_objects
from runbook_lib.databases.adapter_helpers import Catalog
from runbook_lib.databases.mysql import catalog_sql as sql
from runbook_lib.databases.mysql import lock_retry, made_under, own, qualified, quoting
from runbook_lib.databases.mysql.neutral_text import plain_type
from runbook_lib.databases.port import Column, Constraint, Index, Table

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

Rows = Mapping[str, Sequence[tuple[Any, ...]]]
_PERIOD = re.compile(r"^`((?:[^`]|``)+)` < `((?:[^`]|``)+)`$")
_JSON_CHECK = re.compile(r"^json_valid\(`((?:[^`]|``)+)`\)$")

_PROVEN = f"{own_objects.PREFIX}archive_proof"


def catalog(db: MySQLPort, tables: Sequence[str] | None = None) -> dict[str, Table]:
    """Describe these tables, or all of the user's (without our own).

    A table that does not exist is left out of the answer; asking the answer for it raises DatabaseError.
    """
    only = tables[0] if tables is not None and len(tables) == 1 else None
    ours = own.tables(db) if only is None or only.startswith(own_objects.PREFIX) else frozenset()
    ours -= {only} & {_PROVEN}  # rows are loaded into it as into a user's
    heads = {row[0]: row[1:] for row in db.rows(_of(sql.TABLES, only)) if row[0] not in ours}
    wanted = [name for name in (tables if tables is not None else heads) if name in heads]
    found = Catalog(db.name)
    if not wanted:
        return found
    maria = db.flavour[0] == "MariaDB"
    index_sql = sql.INDEXES.format(expression="NULL" if maria else "expression")
    columns, indexes, references, checks, triggers = (
        _grouped(db.rows(query))
        for query in (
            _of(sql.COLUMNS, only),
            _of(index_sql, only),
            _of(sql.REFERENCES, only, "k.table_name", "r.constraint_schema = database() AND r.table_name"),
            _of(sql.CHECKS[db.flavour[0]], only, "table_name" if maria else "t.table_name"),
            _of(sql.TRIGGERS, only, "event_object_table"),
        )
    )
    columns, indexes = _without_periods(columns, indexes)
    for name in wanted:
        found[name] = _table(db, name, heads[name], columns, indexes, references, checks, triggers)
    return found


def _of(query: str, table: str | None, *columns: str) -> str:
    """A query of one table alone, where one is asked for: the server opens every other one for it too."""
    if table is None:
        return query
    wanted = "".join(f" AND {column} = {quoting.text(table)}" for column in columns or ("table_name",))
    return query.replace("= database()", f"= database(){wanted}", 1)


def tables(db: MySQLPort) -> list[str]:
    """The names of all user tables."""
    ours = own.tables(db)
    return [row[0] for row in db.rows(sql.TABLES) if row[0] not in ours]


def _grouped(rows: Sequence[tuple[Any, ...]]) -> Rows:
    grouped: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for name, *rest in rows:
        grouped[name].append(tuple(rest))
    return grouped


def _without_periods(columns: Rows, indexes: Rows) -> tuple[Rows, Rows]:
    """Both without the start and end of a row version: the server writes them, and each has its own times."""
    periods = {(table, row[0]) for table, rows in columns.items() for row in rows if row[7] in ("ROW START", "ROW END")}
    if not periods:
        return columns, indexes
    return (
        {table: [row for row in rows if (table, row[0]) not in periods] for table, rows in columns.items()},
        {table: [row for row in rows if (table, row[1]) not in periods] for table, rows in indexes.items()},
    )


def _table(
    db: MySQLPort,
    name: str,
    head: tuple[Any, ...],
    columns: Rows,
    indexes: Rows,
    references: Rows,
    checks: Rows,
    fired: Rows,
) -> Table:
    rows, size, comment, partitioned, _, made = head
    documents = {
        found[1].replace("``", "`") for _, text, _ in checks.get(name, ()) if (found := _JSON_CHECK.match(text))
    }
    maria, place = db.flavour[0] == "MariaDB", db.login.database
    described = tuple(_column(row, documents, place, maria=maria) for row in columns.get(name, ()))
    built = _indexes(indexes.get(name, ()))
    return Table(
        name=name,
        schema=db.login.database,
        columns=described,
        key=_key(described, built, indexes.get(name, ())),
        indexes=tuple(built),
        constraints=(
            *_keys(built),
            *_references(references.get(name, ())),
            *_checks(checks.get(name, ()), documents),
            *_without_overlaps(db, name, built, checks.get(name, ())),
        ),
        triggers=tuple(made_under.trigger_text(*row) for row in fired.get(name, ())),
        rows_estimate=int(rows),
        size_bytes=int(size),
        comment=comment or "",
        partitioned=bool(partitioned),
        incarnation=str(made),
    )


def _column(row: tuple[Any, ...], documents: set[str], database: str, *, maria: bool) -> Column:
    name, kind, nullable, default, extra, collation, ordinal, computed, _ = row
    own = "json" if name in documents and kind == "longtext" else plain_type(kind)  # MariaDB's json is an alias
    return Column(
        name,
        own,
        bool(nullable),
        str(computed) if computed else _default(default, kind, extra, database, maria=maria),
        bool(computed) or "GENERATED" in extra.upper().replace("DEFAULT_GENERATED", ""),
        "auto_increment" if "auto_increment" in extra else "",
        "" if own == "json" else collation,
        int(ordinal),
    )


def _default(default: Any, kind: str, extra: str, database: str, *, maria: bool) -> str | None:
    """The default as SQL: MariaDB stores SQL, MySQL stores the bare value."""
    updating = re.search(r"on update \S+", extra, re.IGNORECASE)
    if default is None or (maria and default == "NULL"):
        return updating[0] if updating else None
    text = qualified.own_names(str(default), database) if maria and "`." in str(default) else str(default)
    if re.fullmatch(r"(?i)current_timestamp(\(\))?", text) and kind.startswith(("datetime", "timestamp")):
        text = "current_timestamp()"
    elif not maria and "DEFAULT_GENERATED" not in extra and not (kind.startswith("bit") and text.startswith("b'")):
        text = quoting.literal(text)
    return f"{text} {updating[0]}" if updating else text


def _indexes(rows: Sequence[tuple[Any, ...]]) -> list[Index]:
    built = []
    for name, parts in groupby(rows, key=lambda row: row[0]):
        listed = list(parts)
        columns = tuple(column if column is not None else f"({expression})" for _, column, expression, *_ in listed)
        unique, method = bool(listed[0][3]), str(listed[0][5]).lower()
        whole = method == "spatial" or not any(part for _, _, _, _, part, *_ in listed)  # a geometry's 32 bytes are all
        shown = [
            (quoting.ident(column) if column is not None else f"({expression})")
            + (f"({part})" if part and not whole else "")
            + (" DESC" if direction == "D" else "")
            for _, column, expression, _, part, _, direction in listed
        ]
        definition = f"{'UNIQUE ' if unique else ''}{method} ({quoting.listed(shown)})"
        built.append(Index(name, columns, unique, definition, constraint=unique and whole))  # a prefix: another rule
    return built


def _keys(built: Sequence[Index]) -> list[Constraint]:
    return [
        Constraint(
            index.name,
            "primary" if index.name == "PRIMARY" else "unique",
            index.columns,
            f"{'PRIMARY KEY' if index.name == 'PRIMARY' else 'UNIQUE'} ({quoting.listed(index.columns)})",
        )
        for index in built
        if index.constraint
    ]


def _references(rows: Sequence[tuple[Any, ...]]) -> list[Constraint]:
    built = []
    for name, parts in groupby(rows, key=lambda row: row[0]):
        listed = list(parts)
        columns, theirs = tuple(row[1] for row in listed), [row[3] for row in listed]
        table, on_update, on_delete = listed[0][2], listed[0][4], listed[0][5]
        text = f"FOREIGN KEY ({quoting.listed(columns)}) REFERENCES {table} ({quoting.listed(theirs)})"
        for event, rule in (("UPDATE", on_update), ("DELETE", on_delete)):
            text += f" ON {event} {rule}" if rule not in ("RESTRICT", "NO ACTION") else ""
        built.append(Constraint(name, "foreign", columns, text, referenced_table=table))
    return built


def _checks(rows: Sequence[tuple[Any, ...]], documents: set[str]) -> list[Constraint]:
    """Without the one that MariaDB gives every json column: it is part of the type."""
    found = [
        row for row in rows if not ((seen := _JSON_CHECK.match(row[1])) and seen[1].replace("``", "`") in documents)
    ]
    return [Constraint(name, "check", (), f"CHECK ({text})", bool(enforced)) for name, text, enforced in found]


def _without_overlaps(
    db: MySQLPort, table: str, built: Sequence[Index], checks: Sequence[tuple[Any, ...]]
) -> list[Constraint]:
    """Keys of MariaDB's over a period: there is a plain key of its end and start, and a check of its name.

    Only the table's own text says more; it is asked where both are there.
    """
    found = []
    for period, text, _ in checks:
        bounds = tuple(part.replace("``", "`") for part in _PERIOD.findall(text)[0]) if _PERIOD.match(text) else ()
        for index in built if bounds else ():
            if index.unique and index.columns[-2:] == bounds[::-1]:
                create = str(db.rows(f"SHOW CREATE TABLE {quoting.ident(table)}")[0][1])
                if f"{quoting.ident(period)} WITHOUT OVERLAPS)" in create:
                    columns = (*index.columns[:-2], *bounds)
                    told = f"{quoting.listed(columns[:-2])}, {period} WITHOUT OVERLAPS"
                    found.append(Constraint(f"{index.name} {period}", "exclusion", columns, told))
    return found


def _key(columns: Sequence[Column], built: Sequence[Index], rows: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """The primary key, else the narrowest unique index that is not null and over whole columns."""
    required = {column.name for column in columns if not column.nullable}
    prefixed = {row[0] for row in rows if row[4]}
    usable = []
    for index in built:
        if index.name == "PRIMARY":
            return index.columns
        if index.unique and index.name not in prefixed and required.issuperset(index.columns):
            usable.append(index.columns)
    return min(usable, key=len, default=())


def expression_types(db: MySQLPort, relation: str, expressions: Sequence[str]) -> tuple[str, ...]:
    """The server's type of each expression, from a temporary table made of no row.

    Raises:
        DatabaseError: names the first expression that the server does not understand.
    """
    return tuple(kind for kind, _ in expression_facts(db, relation, expressions))


def expression_facts(db: MySQLPort, relation: str, expressions: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Type and collation of each expression ("" where it has none)."""
    if not expressions:
        return ()
    asked = quoting.listed([f"{each} AS c{i}" for i, each in enumerate(expressions)])
    own = quoting.ident("runbook_types")
    try:
        with db.raw() as driver:
            lock_retry.run(driver, f"CREATE TEMPORARY TABLE {own} AS SELECT {asked} FROM {relation} LIMIT 0")
            try:
                with driver.cursor() as cursor:
                    cursor.execute(f"SHOW FULL COLUMNS FROM {own}")
                    return tuple((plain_type(row[1]), row[2] or "") for row in cursor.fetchall())
            finally:
                lock_retry.run(driver, f"DROP TEMPORARY TABLE {own}")
    except pymysql.MySQLError as error:
        if len(expressions) > 1:
            for expression in expressions:
                expression_facts(db, relation, [expression])
        raise db.explain(error, f"reading {expressions[0]} from {relation}") from error


def definitions(db: MySQLPort) -> dict[str, str]:
    """See Database.definitions; MySQL writes the database's name into a view's text."""
    own = f"{quoting.ident(db.login.database)}."
    return {str(name): str(text or "").replace(own, "") for name, text in db.rows(sql.DEFINITIONS)}


def schema_marks(db: MySQLPort) -> dict[str, str]:
    """See Database.schema_marks; the sums are made by the server, so that a row a table is all that travels."""
    return {
        f"{'view' if kind == 'VIEW' else 'table'} {name}": f"{columns} {indexes}"
        for name, kind, columns, indexes in db.rows(sql.MARKS)
    }


def grants(db: MySQLPort, tables: Sequence[str]) -> dict[str, frozenset[tuple[str, str]]]:
    """See Database.grants."""
    given = _grouped(db.rows(sql.GRANTS))
    return {table: frozenset((role, what) for role, what in given.get(table, ())) for table in tables}
