"""Refuse to read what the login sees in part only; every command that reads a database asks here first."""

from __future__ import annotations

from collections.abc import Callable, Collection

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError

_NAMED = 3


def require_readable(
    database: Database, tables: Collection[str] | None = None, tell: Callable[[str], object] = lambda text: None
) -> None:
    """Every row of these tables (None: of all), and all sequences, can be read by this login.

    Args:
        tell: Told, in one line each, what the login cannot see and what a standby cannot do.
    Raises:
        DatabaseError: rows are hidden by row security, or may not be read; the tables are named.
    """
    problems = database.privileges_missing("reader")
    wanted = [p for p in problems if p.blocking and (tables is None or p.detail.get("table") in (None, *tables))]
    if wanted:
        more = f" (and {len(wanted) - _NAMED} more)" if len(wanted) > _NAMED else ""
        actions = list(dict.fromkeys(problem.action for problem in wanted[:_NAMED]))
        raise DatabaseError(
            wanted[0].subject,
            "; ".join(problem.text for problem in wanted[:_NAMED]) + more,
            expected="a login that sees every row",
            state="nothing was read",
            action="; ".join(actions),
        )
    for problem in problems:
        if not problem.blocking:
            tell(f"{problem.subject}: {problem.text}. Next: {problem.action}")
