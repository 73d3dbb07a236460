"""The user's triggers that no session can silence: they fire for the rows that the library writes, too.

See docs/correctness.md#triggers-at-the-target.
A trigger whose body begins with `IF @runbook_sync IS NULL` silences itself, and is left where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runbook_lib.databases import sql_text
from runbook_lib.databases.mysql import made_under, objects, own, quoting, server
from runbook_lib.databases.mysql.made_under import Framed
from runbook_lib.databases.port import FiringTrigger

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_LOUD = f"""
SELECT event_object_table, trigger_name, definer FROM information_schema.triggers
WHERE trigger_schema = database() AND NOT {own.TRIGGER} AND (:all OR instr(action_statement, '@runbook_sync') = 0)
ORDER BY event_object_table, action_timing, event_manipulation, action_order, trigger_name
"""


def firing_triggers(db: MySQLPort, tables: Sequence[str], *, silent: bool = False) -> list[FiringTrigger]:
    """See Database.firing_triggers."""
    wanted, found = set(tables), db.rows(_LOUD, {"all": silent})
    there = [(str(table), str(name), str(definer)) for table, name, definer in found if table in wanted]
    return [_as_it_is(db, *each) for each in there]


def _as_it_is(db: MySQLPort, table: str, name: str, definer: str) -> FiringTrigger:
    """With its definer: made again, it must run with the same rights."""
    statement = objects.trigger(db, name).statement
    found = _trigger(table, statement)
    [(login,)] = db.rows("SELECT current_user()")
    if definer == login:
        return found
    user, _, host = definer.rpartition("@")
    owned = f"CREATE DEFINER={quoting.ident(user)}@{quoting.ident(host)} {statement.removeprefix('CREATE ')}"
    script = made_under.framed(Framed.of(owned, statement.session))
    lacks = not server.grants(db) & {"SUPER", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER"}
    why = f"its definer is {definer}, and {login} may not make it again as theirs (GRANT SET USER ON *.*)"
    return replace(found, script=script, blocked=why if lacks else "")


def firing_trigger_of(script: str) -> FiringTrigger | None:
    """See Database.firing_trigger_of."""
    start = len(script) - len(script.lstrip())
    found = made_under.read(script, start)
    if found is None or "@runbook_sync" in found[0]:
        return None
    made = [token.upper for token in sql_text.code(objects.without_owner(found[0]), "mysql", modes_of(found[0]))[:4]]
    return _trigger("", found[0]) if "TRIGGER" in made else None


def modes_of(statement: Framed) -> list[str]:
    """The `sql_mode` that a statement is read under."""
    return statement.session.get("sql_mode", "").split(",")


def _trigger(table: str, statement: Framed) -> FiringTrigger:
    code = sql_text.code(statement, "mysql", modes_of(statement))
    at = next(i for i, token in enumerate(code) if token.upper == "TRIGGER") + 1
    if code[at].upper == "IF":  # NOT EXISTS
        at += 3
    name, timing, event = sql_text.unquoted(code[at]), code[at + 1].upper, code[at + 2].upper
    table = table or sql_text.unquoted(code[at + 4])
    body = next(i for i in range(at, len(code)) if sql_text.words(code, i) == ("FOR", "EACH", "ROW")) + 3
    if code[body].upper in ("FOLLOWS", "PRECEDES"):
        body += 2
    text = made_under.trigger_text(
        name, timing, event, statement[code[body].start :], statement.session.get("sql_mode", "")
    )
    drop = f"DROP TRIGGER IF EXISTS {quoting.ident(name)}"
    return FiringTrigger(name, table, text, made_under.framed(statement), drop, made_under.for_client(statement))
