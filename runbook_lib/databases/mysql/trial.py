"""A schema made of temporary tables, which die with their session: what the server refuses, before anything is made.

MySQL commits each DDL statement by itself, so nothing can be undone in place, and a scratch database costs some forty
milliseconds a table. Temporary tables have the same limits of rows, keys and types, and a kill leaves none behind. They
have no foreign keys: whether their types and the parent's keys fit is looked at when they are translated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql

from runbook_lib.databases.mysql import connection
from runbook_lib.databases.mysql.schema import statements
from runbook_lib.databases.port import Refusal
from runbook_lib.databases.statement_names import named
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_DENIED = 1044  # no right to temporary tables


def try_scripts(db: MySQLPort, scripts: Sequence[str], gone: Sequence[str] = (), undo: str = "") -> list[Refusal] | str:  # noqa: ARG001  none of it is in the way
    """See Database.try_scripts; a temporary table hides one of its name, so nothing has to go."""
    refused: list[Refusal] = []
    with closing(connection.connect(db.name, db.login)) as driver, driver.cursor() as cursor:
        for statement in (statement for script in scripts for statement in statements(script)):
            what = named(statement)
            if what is None or what.kind not in ("table", "index", "unique index", "primary key", "constraint"):
                continue
            try:
                _try(cursor, statement)
            except pymysql.MySQLError as error:
                if error.args[0] == _DENIED:
                    return "the login may not create temporary tables"
                refused.append(Refusal(*what, f"{one_line(str(error.args[-1]))} ({error.args[0]})"))
    return refused


def _try(cursor: Any, statement: str) -> None:
    cursor.execute(re.sub(r"^\s*CREATE TABLE ", "CREATE TEMPORARY TABLE ", statement))
