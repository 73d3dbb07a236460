"""What stands in a migration's way beside the rows: open and prepared transactions, large objects, unlogged tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.port import Problem
from runbook_lib.databases.postgresql.catalog import find

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_OPEN = """
SELECT pid, usename, state, extract(epoch FROM clock_timestamp() - xact_start)::bigint FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND xact_start < clock_timestamp() - CAST(:open_s AS float8) * interval '1 second'
ORDER BY xact_start
"""
_PREPARED = "SELECT count(*), min(gid) FROM pg_prepared_xacts WHERE database = current_database()"
_LARGE = "SELECT count(*), min(oid)::text FROM pg_largeobject_metadata"
_UNLOGGED = "SELECT oid FROM pg_class WHERE relpersistence = 'u' AND oid = ANY (:oids)"
_COUNTED = (
    (
        _PREPARED,
        "prepared_transactions",
        "prepared transactions: capture waits for them for ever",
        "COMMIT PREPARED or ROLLBACK PREPARED each",
    ),
    (
        _LARGE,
        "large_objects",
        "large objects stay behind: their numbers in columns would name nothing",
        "move their bytes into a bytea column, or copy them by pg_dump --large-objects",
    ),
)


def pitfalls(db: PostgreSQLPort, tables: Sequence[str], open_s: float) -> list[Problem]:
    """See Database.pitfalls."""
    found = []
    if opened := db.rows(_OPEN, {"open_s": open_s}):
        pid, user, state, age_s = opened[0]
        text = f"{len(opened)} transactions open for more than {open_s:g} s: capture waits for them to end"
        action, example = f"end it: SELECT pg_terminate_backend({pid})", f"pid {pid} of {user}, {state}, {age_s} s"
        found.append(_problem(db, "long_transactions", text, len(opened), example, action))
    for sql, finding, text, action in _COUNTED:
        count, first = db.rows(sql)[0]
        if count:
            found.append(_problem(db, finding, f"{count:,} {text}", count, str(first), action))
    oids = find(db, tables)
    unlogged = {oid for (oid,) in db.rows(_UNLOGGED, {"oids": list(oids.values())})} if oids else set()
    for table in (name for name, oid in oids.items() if oid in unlogged):
        text, detail = "is unlogged: a crash of the server empties it", {"finding": "unlogged", "table": table}
        found.append(Problem(table, text, f"ALTER TABLE {db.quote(table)} SET LOGGED", False, 1, detail))
    return found


def _problem(db: PostgreSQLPort, finding: str, text: str, count: int, example: str, action: str) -> Problem:
    detail = {"finding": finding, "example": example}
    return Problem(f"database {db.name}", text, action, count=count, detail=detail)
