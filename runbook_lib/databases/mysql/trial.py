"""What the server refuses of a schema, found before anything of it is made.

MySQL commits each DDL statement by itself, so nothing can be undone in place. Tables that stand alone are tried as
temporary ones, which have the same limits of rows, keys and types, cost little and die with their session. Foreign
keys, views, routines, triggers, sequences and events, and the tables that they name, are tried in a scratch database.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases import sql_text
from runbook_lib.databases.mysql import connection, lock_retry, made_under, quoting
from runbook_lib.databases.mysql.name_collisions import name_collisions
from runbook_lib.databases.mysql.schema import statements
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import Refusal
from runbook_lib.databases.statement_names import NamedObject, named
from runbook_lib.util.text import counted, one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_ALONE = ("table", "index", "unique index", "primary key", "constraint")
# What temporary tables do not have.
_NO_TEMPORARY = {"PARTITION", "FULLTEXT", "VERSIONING", "PERIOD", "COMPRESSED", "KEY_BLOCK_SIZE", "DIRECTORY"}
_DENIED = (1044, 1142, 1143, 1227, 1370)  # rights may be for one database, and say nothing of another
_ABSENT = (1146, 1305)  # table, routine


def try_scripts(
    db: MySQLPort,
    scripts: Sequence[str],
    gone: Sequence[str] = (),
    undo: str = "",  # noqa: ARG001  what it drops is not in a scratch database
    tell: Callable[[str], object] = lambda text: None,
) -> list[Refusal]:
    """See Database.try_scripts; `gone` tables are in nobody's way here, others' names are compared."""
    listed = [(statement, named(statement)) for script in scripts for statement in statements(script)]
    needing = [(s, what) for s, what in listed if what is None or what.kind not in _ALONE or _NO_TEMPORARY & _words(s)]
    hanging, counters = _named_by(needing), {what.name for _, what in needing if what and what.kind == "sequence"}
    apart = [each for each in listed if each in needing or _about(each) in hanging or counters & _names(each[0])]
    alone = [each for each in listed if each not in apart]
    refused = name_collisions(db, [what for _, what in listed if what], gone)
    with _scratch(db, wanted=bool(needing)) as scratch:
        if isinstance(scratch, str):
            kinds = Counter(what.kind if what else "other statement" for _, what in needing)
            said = ", ".join(counted(number, kind) for kind, number in kinds.items())
            tell(f"{db.name}: {said}: not tried beforehand: {scratch}")
            alone = [each for each in listed if each not in needing]
        elif scratch:
            found, untold = _in_scratch(db, scratch, apart)
            refused += found
            if untold:
                rights = f"GRANT the rights on {quoting.ident(scratch.login.database)}.* that it has here"
                tell(f"{db.name}: {', '.join(untold)}: not tried beforehand: the login may not. Next: {rights}")
        return refused + _in_session(db, alone, tell)


def scratch_name(database: str) -> str:
    """Begins with the database's own name, so that a grant on a pattern of names covers both."""
    return f"{database[:40]}_trial_{hashlib.sha256(database.encode()).hexdigest()[:12]}"


@contextmanager
def _scratch(db: MySQLPort, *, wanted: bool) -> Iterator[MySQLPort | str | None]:
    """A database beside this one, dropped at the end; a text: why there is none.

    What an attempt that was killed left is dropped first, whether one is wanted or not.
    """
    name = scratch_name(db.login.database)
    quoted = quoting.ident(name)
    known = db.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name = :name", {"name": name})
    if not wanted and not known:
        yield None
        return
    with db.advisory_lock("trial") as mine, closing(connection.connect(db.name, db.login)) as driver:
        if not mine:
            yield "another command is trying a schema for this database now"
            return
        facts = db.facts()
        charset = f"CHARACTER SET {facts.encoding} COLLATE {facts.collation}"
        try:
            lock_retry.run(driver, f"DROP DATABASE IF EXISTS {quoted}")
            if wanted:
                lock_retry.run(driver, f"CREATE DATABASE {quoted} {charset}")
        except pymysql.MySQLError as error:
            if error.args[0] not in _DENIED:
                raise connection.explain(db.name, error, "making a scratch database") from error
            yield f"the login may not create a database for it. Next: GRANT ALL ON {quoted}.* to it"
            return
        opened = type(db)(db.name, replace(db.login, database=name), {"pool_size": 1})
        try:
            yield opened if wanted else None
        finally:
            opened.close()
            lock_retry.run(driver, f"DROP DATABASE IF EXISTS {quoted}")


Statement = tuple[str, NamedObject | None]


def _named_by(needing: Sequence[Statement]) -> set[str]:
    """What these statements name, and the tables that they are about."""
    return {name for each in needing for name in (*_names(each[0]), _about(each)) if name}


def _about(each: Statement) -> str:
    what = each[1]
    return (what.table or what.name) if what else ""


def _names(statement: str) -> set[str]:
    """All that may be a name."""
    found = sql_text.tokens(statement, "mysql")
    return {sql_text.unquoted(token) for token in found if token.kind in (sql_text.NAME, sql_text.WORD)}


def _words(statement: str) -> set[str]:
    return {token.upper for token in sql_text.tokens(statement, "mysql") if token.kind == sql_text.WORD}


def _in_scratch(db: MySQLPort, scratch: MySQLPort, listed: Sequence[Statement]) -> tuple[list[Refusal], list[str]]:
    """What is refused there, and what could not be tried for want of rights."""
    refused, untold = [], []
    with scratch.raw() as driver:
        for statement, what in listed:
            try:
                made_under.run(scratch, driver, statement)
            except pymysql.MySQLError as error:
                if error.args[0] in _DENIED:
                    untold.append(f"{what.kind} {what.name}" if what else one_line(statement, 60))
                elif not (error.args[0] in _ABSENT and _is_here(db, str(error.args[-1]), scratch.login.database)):
                    why = re.sub(rf"`?{re.escape(scratch.login.database)}`?\.", "", _why(driver, error))
                    refused.append(_refusal(statement, what, why))
    return refused, untold


def _is_here(db: MySQLPort, text: str, scratch: str) -> bool:
    """Whether what the scratch database does not have is at the target."""
    missing = re.search(rf"{re.escape(scratch)}\.(.*?)'? does", text)
    return bool(missing and db.rows(_HERE, {"name": missing[1]}))


_HERE = """
SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = :name
UNION ALL SELECT 1 FROM information_schema.routines WHERE routine_schema = database() AND routine_name = :name
"""


def _in_session(db: MySQLPort, listed: Sequence[Statement], tell: Callable[[str], object]) -> list[Refusal]:
    """What is refused of tables as temporary ones: each hides one of its name."""
    refused: list[Refusal] = []
    with closing(connection.connect(db.name, db.login)) as driver:
        for statement, what in listed:
            try:
                driver.query(re.sub(r"^\s*CREATE TABLE ", "CREATE TEMPORARY TABLE ", statement))
            except pymysql.MySQLError as error:
                if error.args[0] in _DENIED:
                    tell(
                        f"{db.name}: {counted(len(listed), 'statement')} for tables: not tried beforehand: the login"
                        " may not create temporary tables. Next: GRANT CREATE TEMPORARY TABLES on it"
                    )
                    return []
                refused.append(_refusal(statement, what, _why(driver, error)))
    return refused


def _refusal(statement: str, what: NamedObject | None, why: str) -> Refusal:
    return Refusal(*(what or ("statement", one_line(statement, 60), "")), why)


def _why(driver: Connection, error: pymysql.MySQLError) -> str:
    """The server's words and number; of a foreign key, whose error says little, its warning as well."""
    said = f"{one_line(str(error.args[-1]))} ({error.args[0]})"
    if "errno: 150" not in said:
        return said
    with driver.cursor() as cursor:
        cursor.execute("SHOW WARNINGS")
        more = [one_line(str(text)) for _, number, text in cursor.fetchall() if number == 150]
    return f"{more[0]} (150)" if more else said
