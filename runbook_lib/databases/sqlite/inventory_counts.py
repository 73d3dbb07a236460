"""What an SQLite database has, counted by kind without the inventory's readers: what they miss is unaccounted.

Counted from sqlite_master by its types and from the words of its texts; the readers ask pragma_table_list and a parser.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator

from runbook_lib.databases.sqlite import ddl_parser, own

_ALL = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
# Of each table that has pages of its own: a virtual one has none.
_OF_TABLES = """
SELECT m.name, (SELECT max(pk) > 0 FROM pragma_table_info(m.name)),
  (SELECT count(DISTINCT id) FROM pragma_foreign_key_list(m.name)),
  (SELECT count(*) FROM pragma_index_list(m.name) WHERE origin = 'u'),
  (SELECT count(*) FROM pragma_table_xinfo(m.name) WHERE hidden IN (2, 3))
FROM sqlite_master AS m WHERE m.type = 'table' AND m.rootpage > 0
"""
_COUNTED = ("primary key", "foreign key", "unique constraint", "generated column")


def counts(driver: sqlite3.Connection, ours: Collection[str]) -> dict[str, int]:
    """Kind → how many (count).

    Args:
        ours: The library's own tables.
    """
    rows = driver.execute(_ALL).fetchall()
    virtual = tuple(f"{name}_" for kind, name, _, page, _ in rows if kind == "table" and not page)
    found = Counter[str]()
    tables = set[str]()
    for kind, name, table, page, sql in rows:
        if table in ours or own.is_trigger(name, sql or "") or (page and table.startswith(virtual)):
            continue  # the tables behind a virtual one begin with its name
        if kind == "table":
            found["table" if page else "virtual table"] += 1
            tables.add(name)
            found.update(_said(sql or "") if page else ())
        elif kind != "index" or sql:  # one without a text is a constraint's
            found[kind] += 1
    for name, *numbers in driver.execute(_OF_TABLES):
        if name in tables:
            found.update(dict(zip(_COUNTED, numbers, strict=True)))
    return dict(found)


def _said(sql: str) -> Iterator[str]:
    """Checks and counters, by their words; a name that is such a word is quoted."""
    words = [token.upper for token in ddl_parser.tokens(sql)]
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "CHECK" and after == "(":
            yield "check constraint"
        elif word == "AUTOINCREMENT":
            yield "identity"
