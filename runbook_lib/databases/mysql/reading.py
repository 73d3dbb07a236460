"""What the login may not see: the server shows an object only to those who have some right on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runbook_lib.databases.mysql import quoting
from runbook_lib.databases.mysql.catalog import tables as table_names
from runbook_lib.databases.port import Problem

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# What is invisible, or has no text, without a right on the whole database.
_INVISIBLE = {"TRIGGER": "triggers", "EVENT": "events", "SHOW VIEW": "the texts of views"}
_ROUTINES = ("EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE")
_ALL = frozenset({"SELECT", *_INVISIBLE, *_ROUTINES})
_UNSEEN = """
SELECT routine_name FROM information_schema.routines
WHERE routine_schema = database() AND routine_definition IS NULL ORDER BY 1
"""


def reading_missing(db: MySQLPort, granted: frozenset[str]) -> list[Problem]:
    """Tables that cannot be read (blocking, `detail` has the `table`), and objects that cannot be seen.

    Args:
        granted: Rights on the whole database; `ALL PRIVILEGES` stands for every one.
    """
    rights = granted | (_ALL if granted & {"ALL", "ALL PRIVILEGES"} else frozenset())
    login, database = db.rows("SELECT current_user()")[0][0], quoting.ident(db.login.database)
    problems = _tables(db, login, database) if "SELECT" not in rights else []
    for right, what in _INVISIBLE.items():
        if right not in rights:
            text = f"{what} are not shown to {login}: none can be copied or compared"
            problems.append(_problem(db, text, f"GRANT {right} ON {database}.* TO {login}", blocking=False))
    if not rights & set(_ROUTINES):
        text, action = f"routines are not shown to {login}", f"GRANT EXECUTE ON {database}.* TO {login}"
        problems.append(_problem(db, f"{text}: none can be copied or compared", action, blocking=False))
    if unseen := [str(name) for (name,) in db.rows(_UNSEEN)]:
        text = f"the texts of {len(unseen)} routines are not shown to {login}: {', '.join(unseen[:3])}"
        problems.append(_problem(db, text, f"GRANT SELECT ON mysql.proc TO {login}", blocking=False))
    return problems


def _tables(db: MySQLPort, login: str, database: str) -> list[Problem]:
    """Without a right on the whole database, each table needs its own; those without any right are invisible."""
    named = set[str]()
    for (line,) in db.rows("SHOW GRANTS"):
        found = re.match(r"GRANT (.+?) ON (?:TABLE )?(`(?:[^`]|``)+`)\.(`(?:[^`]|``)+`) TO ", line)
        if found and found[2] == database and {"SELECT", "ALL PRIVILEGES"} & set(found[1].split(", ")):
            named.add(found[3][1:-1].replace("``", "`"))
    action = f"GRANT SELECT ON {database}.* TO {login}"
    problems = [
        _problem(db, f"{login} may not read {table}", action, table=table)
        for table in table_names(db)
        if table not in named
    ]
    text = f"{login} has rights on single tables only: others, if there are any, are not shown to it"
    return [*problems, _problem(db, text, action, blocking=False)]


def _problem(db: MySQLPort, text: str, action: str, *, blocking: bool = True, **detail: str) -> Problem:
    return Problem(f"database {db.name}", text, action, blocking=blocking, count=1, detail=detail)
