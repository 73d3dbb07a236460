"""What stands in a migration's way beside the rows: open transactions, and those that were prepared and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import Problem
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# A transaction has no database of its own: those of sessions that are in this one.
_OPEN = """
SELECT p.id, p.user, p.command, timestampdiff(SECOND, t.trx_started, now())
FROM information_schema.innodb_trx AS t JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id
WHERE p.db = database() AND p.id <> connection_id() AND timestampdiff(MICROSECOND, t.trx_started, now(6)) > {} * 1000000
ORDER BY t.trx_started
"""


def pitfalls(db: MySQLPort, tables: Sequence[str], open_s: float) -> list[Problem]:  # noqa: ARG001  none is a table's own
    """See Database.pitfalls. Prepared transactions are the server's; a login that may not ask for them is told so."""
    found, subject = [], f"database {db.name}"
    if opened := db.rows(_OPEN.format(float(open_s))):
        thread, user, command, age_s = opened[0]
        text = f"{len(opened)} transactions open for more than {open_s:g} s: capture waits for them to end"
        example = f"{thread} of {user}, {command}, {age_s} s"
        detail = {"finding": "long_transactions", "example": example}
        found.append(Problem(subject, text, f"end it: KILL {thread}", count=len(opened), detail=detail))
    prepared: list[tuple[Any, ...]] = []
    try:
        prepared = db.rows("XA RECOVER")
    except DatabaseError:  # MySQL asks for a right of its own
        text = "transactions that were prepared and forgotten cannot be looked for: capture would wait for ever"
        action = f"GRANT XA_RECOVER_ADMIN ON *.* TO {db.login.user}"
        found.append(Problem(subject, text, action, blocking=False, detail={"finding": "rights"}))
    if prepared:
        text = f"{len(prepared)} prepared transactions: capture waits for them for ever"
        detail = {"finding": "prepared_transactions", "example": _text(prepared[0][3])}
        found.append(Problem(subject, text, "XA COMMIT or XA ROLLBACK each", count=len(prepared), detail=detail))
    return found


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
