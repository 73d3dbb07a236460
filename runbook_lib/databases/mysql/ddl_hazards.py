"""What the server itself says of statements before they run: they are tried on empty clones of their tables.

Whether a change can be made in place depends on the table's definition, not on its rows, and the answer differs from
version to version: nobody knows it better than the server. A clone (`CREATE TABLE … LIKE`) locks nothing of its model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases.adapter_helpers import hazards_of_words, without_comments
from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.model import Hazard
from runbook_lib.databases.mysql import connection, lock_retry, online_ddl, quoting, restated
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_IN_PLACE = "split it (expand and contract), or write ALGORITHM=COPY and say in the plan's `lint:` why it may"
_WORDS = {
    "ban-drop-column": (
        r"ALTER\s+TABLE\b.*\bDROP\s+(?:COLUMN\s+)?(?!(?:INDEX|KEY|PRIMARY|FOREIGN|CONSTRAINT|CHECK|PARTITION|SYSTEM|DEFAULT)\b)",
        "dropping a column may break existing clients",
        "",
    ),
    "table-copy": (
        r"ALTER\s+TABLE\b.*\b(?:(?:REORGANIZE|COALESCE|REBUILD|CONVERT)\s+PARTITION|REMOVE\s+PARTITIONING|PARTITION\s+BY)\b",
        "rewrites whole partitions while writers wait",
        "choose a quiet time",
    ),
    "ban-drop-table": (r"DROP\s+TABLE\b", "dropping a table may break existing clients", ""),
    "renaming-column": (
        r"ALTER\s+TABLE\b.*\b(?:RENAME\s+COLUMN\b|CHANGE\s+(?:COLUMN\s+)?(?:IF\s+EXISTS\s+)?(`?\w+`?)\s+(?!\1\s))",
        "renaming a column may break existing clients",
        "add the new one, and drop the old one later (expand and contract)",
    ),
    "renaming-table": (
        r"RENAME\s+TABLE\b|ALTER\s+TABLE\s+\S+\s+RENAME\s+(?!COLUMN\b|INDEX\b|KEY\b)",
        "renaming a table may break existing clients",
        "",
    ),
    "lock-table": (r"LOCK\s+TABLES?\b", "holds its lock until it is given back", "keep that time short"),
}
_HARMLESS = re.compile(r"(?:ALTER|CREATE|DROP|RENAME|SET|GRANT|REVOKE|LOCK|UNLOCK|ANALYZE)\b", re.IGNORECASE)
_SYNTAX, _NO_TABLE = 1064, 1146


def hazards(
    db: MySQLPort,
    statements: Sequence[str],
    *,
    alone: bool,  # noqa: ARG001  DDL always is
    back: Sequence[str] = (),
) -> list[Hazard]:
    """What may hold others up or break them, statement by statement; nothing of the schema is touched."""
    clones: dict[str, str] = {}
    found: list[Hazard] = []
    settled = True  # no statement so far changes rows, so that today's say something
    try:
        for number, statement in enumerate(statements, 1):
            found += _tried(db, number, statement, clones, settled=settled)
            settled = settled and _HARMLESS.match(without_comments(statement)) is not None
        for number, statement in enumerate(back, 1):
            lost = [one for one in _tried(db, number, statement, clones, settled=False) if one.rule == "narrowing-type"]
            found += [replace(one, rule="narrowing-undo", text=f"on rollback {one.text}") for one in lost]
    finally:
        if clones:
            db.execute(f"DROP TABLE IF EXISTS {quoting.listed([*clones.values()])}")
    found += hazards_of_words(statements, _WORDS, "mysql")
    return sorted({*found}, key=lambda hazard: (hazard.statement, hazard.rule))


def _tried(db: MySQLPort, number: int, statement: str, clones: dict[str, str], *, settled: bool) -> list[Hazard]:
    """One statement on the clone of its table, so that those after it find what it made."""
    bare = without_comments(statement).rstrip().rstrip(";")
    change, index = online_ddl.ALTER.match(bare), online_ddl.INDEX.match(bare)
    kind, group = (change, 1) if change else (index, 2)
    if not kind or online_ddl.alone(bare) or online_ddl.FOREIGN.search(bare):
        return []  # a key is added in place, unchecked; trying it would lock its parent
    table = kind[group]
    if table not in clones:
        clone = quoting.ident(own_name("runbook_try", table))
        if not _cloned(db, table, clone):
            return []  # made by a statement before: nobody else uses it yet
        clones[table] = clone
    here = bare[: kind.start(group)] + clones[table] + bare[kind.end(group) :]
    before = restated.state(db, clones[table])
    found = _changed(db, number, here)
    after = restated.state(db, clones[table])
    return [*found, *restated.hazards(db, number, table, bare, before, after, settled=settled)]


def _changed(db: MySQLPort, number: int, bare: str) -> list[Hazard]:
    """The lightest way in which the server carries a change out, and what that means."""
    refusal: pymysql.MySQLError | None = None
    for way in online_ddl.worded(bare):
        error = _run(db, way)
        if error is None:
            return [_copies(number, "as it says itself")] if online_ddl.says_copy(bare) else []
        if connection.code(error) == _SYNTAX:
            return [Hazard("syntax-error", number, one_line(str(error.args[-1])), "correct the statement")]
        if not online_ddl.refused(error):
            return []  # the real one will say the same: it is no matter of locks
        refusal = error
    _run(db, bare)  # those after it find what it makes
    return [_copies(number, str(refusal.args[-1]))] if refusal else []


def _copies(number: int, why: str) -> Hazard:
    return Hazard("table-copy", number, f"copies or locks the whole table: {why}", _IN_PLACE)


def _cloned(db: MySQLPort, table: str, clone: str) -> bool:
    """Make the empty clone; False: there is no such table.

    Raises:
        DatabaseError: the login may not create tables, so that the server cannot be asked.
    """
    error = _run(db, f"DROP TABLE IF EXISTS {clone}") or _run(db, f"CREATE TABLE {clone} LIKE {table}")
    if error and connection.code(error) != _NO_TABLE:
        told = db.explain(error, f"looking for hazards on an empty clone of {table}")
        action = "grant CREATE, ALTER, INDEX and DROP to this login, or log in as the owner"
        raise DatabaseError(
            told.subject, told.observed, state="nothing was run", action=action if told.action else ""
        ) from error
    return error is None


def _run(db: MySQLPort, statement: str) -> pymysql.MySQLError | None:
    """Run it; the server's refusal, if any."""
    with db.raw() as driver:
        try:
            lock_retry.run(driver, statement)
        except pymysql.MySQLError as error:
            return error
    return None
