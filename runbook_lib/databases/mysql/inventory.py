"""Everything that a MySQL or MariaDB database has, from information_schema; our own objects are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import own_objects
from runbook_lib.databases.mysql import history, inventory_counts, objects, own, qualified, sequences
from runbook_lib.databases.mysql import inventory_sql as sql
from runbook_lib.databases.port import CatalogObject, Inventory
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

HISTORY = "feature row history"  # a server that takes old versions of rows as they are given
_UNSEEN = {"MariaDB": "IF(ignored = 'YES', 'ignored', '')", "MySQL": "IF(is_visible = 'NO', 'invisible', '')"}


def inventory(db: MySQLPort) -> Inventory:
    """See Database.inventory."""
    ours, fired = own.tables(db), own.triggers(db)
    not_theirs = {
        (kind, f"{word}{name}") for name in fired for kind, word in (("trigger", ""), ("definer", "trigger "))
    }
    found = [each for each in _objects(db) if each.table not in ours and (each.kind, each.name) not in not_theirs]
    counts = Counter[str]()
    counts.update(inventory_counts.unheard_of(db))
    for kind, name, count in (*db.rows(sql.COUNTS), *db.rows(sql.CHECK_COUNT[db.flavour[0]])):
        if name not in ours and not (kind == "trigger" and name in fired):
            counts[kind] += int(count)
    outside = _accounts(db) | ({HISTORY} if history.insertable(db) else set())
    login = str(db.rows("SELECT current_user()")[0][0])
    return Inventory(tuple(found), counts, outside, login, own_objects.bare(ours))


def _objects(db: MySQLPort) -> Iterator[CatalogObject]:
    flavour = db.flavour[0]
    maria = flavour == "MariaDB"
    # A MariaDB before 10.6 knows no ignored index; all that are supported do.
    keys = sql.KEYS.format(expression="NULL" if maria else "expression", unseen=_UNSEEN[flavour])
    views = objects.views(db)
    versions = {table: each.text for table, each in history.histories(db).items()}
    hidden = _grouped(db.rows(sql.HIDDEN))
    parameters = _grouped([((kind, name), text) for kind, name, text in db.rows(sql.PARAMETERS)])
    queries = (
        sql.COLUMN_OPTIONS, sql.TABLES, sql.VERSIONED, sql.VIEWS, sql.PARTITIONS, keys, sql.FOREIGN_KEYS,
        sql.CHECKS[flavour], sql.COUNTERS, sql.ROUTINES, sql.TRIGGERS, sql.EVENTS, sql.COMMENTS, sql.GRANTS,
        sql.DATABASE,
    )  # fmt: skip
    for query in (*queries, *(() if maria else (sql.HISTOGRAMS,))):
        for kind, name, table, text, columns, statement, role in db.rows(query):
            more = hidden.get(name, ()) if kind == "table" else parameters.get((kind, name), ())
            more = [views.get(name, "")] if kind == "view" else more
            text = versions.get(name, text) if kind == "row history" else text
            definition = _bare(db, " | ".join([str(text or ""), *map(str, more)]))
            yield CatalogObject(
                kind,
                name,
                table,
                definition,
                statement or "",
                _needs(kind, role, name in versions),
                _columns(kind, columns),
            )
            if kind == "event" and columns:
                yield CatalogObject("event schedule", name, "", "enabled", statement)
            if role and kind != "grant":
                yield CatalogObject("definer", f"{kind} {name}", table, str(role))
    fed = sequences.fed(db)
    for name, options in sequences.options(db).items():
        table, *column = fed.get(name, ("",))
        yield CatalogObject("sequence", name, table, options, sequences.create(db, name), columns=tuple(column))


def _grouped(rows: Sequence[tuple[Any, ...]]) -> dict[Any, list[Any]]:
    grouped: dict[Any, list[Any]] = {}
    for name, *rest in rows:
        grouped.setdefault(name, []).append(" ".join(map(str, rest)))
    return grouped


def _bare(db: MySQLPort, text: str) -> str:
    """A definition without the database's own name, which the server writes into views and partitions."""
    return qualified.own_names(text, db.login.database) if f"`{db.login.database}`." in text else text


def _needs(kind: str, role: str, timed: bool) -> tuple[str, ...]:
    """A grant needs its account; history by times (not by transactions) a server that takes it."""
    if kind == "row history":
        return (HISTORY,) if timed else ("history by transactions",)
    return (f"role {role}",) if kind == "grant" else ()


def _columns(kind: str, columns: str | bytes | None) -> tuple[str, ...]:
    text = columns.decode() if isinstance(columns, bytes) else columns
    return tuple(text.split("\0")) if text and kind != "event" else ()


def _accounts(db: MySQLPort) -> frozenset[str]:
    """The server's accounts as grants need them; none where the login may not see them."""
    try:
        return frozenset(f"role {name}" for (name,) in db.rows(sql.ACCOUNTS))
    except DatabaseError:
        return frozenset()
