"""Objects keep what their CREATE was read under: `sql_mode`, character sets, the database's collation, a time zone.

A routine made under PIPES_AS_CONCAT joins texts where it would otherwise add numbers. Such a statement stands in a
script between a line that says its session and one that it cannot hold: no quote and no delimiter of it is ever read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pymysql.charset import charset_by_name

from runbook_lib.databases.mysql import lock_retry, quoting
from runbook_lib.databases.mysql.streaming import Connection

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

HEAD = "-- runbook: made under "
_HEAD = re.compile(HEAD + r"(\{[^\n]*\}), up to (\w+)\n")
SESSION = ("sql_mode", "character_set_client", "collation_connection", "time_zone")
# Words of a MariaDB's or an older server's sql_mode which MySQL 8 refuses, and which do nothing there.
GONE = (
    "NO_AUTO_CREATE_USER", "ORACLE", "DB2", "MSSQL", "MAXDB", "POSTGRESQL", "MYSQL323", "MYSQL40", "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "SIMULTANEOUS_ASSIGNMENT", "EMPTY_STRING_IS_NULL", "TIME_ROUND_FRACTIONAL",
)  # fmt: skip
DATABASE = "database_collation"  # of no session: the database's own, which parameters without a character set take


# What MariaDB and MySQL 8 both have by default, and the library sets: not worth saying.
_USUAL = {"STRICT_TRANS_TABLES", "ERROR_FOR_DIVISION_BY_ZERO", "NO_ENGINE_SUBSTITUTION"}


class Framed(str):
    """A statement with the session that it is to be run under."""

    __slots__ = ("session",)
    session: Mapping[str, str]

    @classmethod
    def of(cls, text: str, session: Mapping[str, str]) -> Framed:
        """This text under this session (settings of SESSION and DATABASE; others are left out)."""
        made = cls(text)
        made.session = {key: value for key, value in session.items() if key in (*SESSION, DATABASE) and value}
        return made


def framed(statement: Framed) -> str:
    """The statement as a piece of a script."""
    told, end = json.dumps(statement.session, sort_keys=True), hashlib.sha256(statement.encode()).hexdigest()
    return f"{HEAD}{told}, up to {end}\n{statement}\n-- {end}\n"


def for_client(statement: Framed) -> str:
    """The statement for a person's mysql client, under its `sql_mode`; the client's character set is the person's."""
    mode, ends = statement.session.get("sql_mode", ""), ";;"
    while ends in statement:
        ends += ";"
    made = f"DELIMITER {ends}\n{statement}{ends}\nDELIMITER ;"
    return f"SET @runbook_mode = @@sql_mode, sql_mode = '{mode}';\n{made}\nSET sql_mode = @runbook_mode;"


def read(script: str, position: int) -> tuple[Framed, int] | None:
    """The framed statement that begins here, and where it ends; None: there is none."""
    if (head := _HEAD.match(script, position)) is None:
        return None
    last = f"\n-- {head[2]}\n"
    end = script.index(last, head.end())
    return Framed.of(script[head.end() : end], json.loads(head[1])), end + len(last)


def trigger_text(name: str, timing: str, event: str, body: str, sql_mode: str) -> str:
    """A trigger in one line, with the `sql_mode` that it runs under where that is not the usual one."""
    modes = {mode for mode in sql_mode.split(",") if mode} - set(GONE)
    said = [*sorted(modes - _USUAL), *(f"without {mode}" for mode in sorted(_USUAL - modes))]
    return f"{quoting.ident(name)} {timing} {event} {body}" + (f" [sql_mode {', '.join(said)}]" if said else "")


def run(db: MySQLPort, driver: Connection, statement: str) -> None:
    """Run a statement, a framed one under its session; the session and the database are afterwards as before.

    A kill while the database has another collation for this moment leaves it so: as with the server's own dumps.
    """
    if not isinstance(statement, Framed):
        lock_retry.run(driver, statement)
        return
    session = dict(statement.session)
    if "sql_mode" in session and db.flavour[0] == "MySQL":
        session["sql_mode"] = ",".join(mode for mode in session["sql_mode"].split(",") if mode not in GONE)
    with _database(db, driver, session.get(DATABASE, "")), _session(driver, session):
        charset = charset_by_name(statement.session.get("character_set_client", "utf8mb4"))
        driver.query(statement.encode(charset.encoding))  # the server reads bytes as this client's


@contextmanager
def _session(driver: Connection, session: Mapping[str, str]) -> Iterator[None]:
    settings = {key: session[key] for key in SESSION if key in session}
    with driver.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'@@SESSION.{key}' for key in SESSION)}")
        before = dict(zip(SESSION, cursor.fetchone() or (), strict=True))
    try:
        if settings:
            lock_retry.run(driver, _setting(settings))
        yield
    finally:
        if driver.open:
            lock_retry.run(driver, _setting(before))


def _setting(values: Mapping[str, str]) -> str:
    return "SET " + ", ".join(f"SESSION {key} = '{value}'" for key, value in values.items())


@contextmanager
def _database(db: MySQLPort, driver: Connection, collation: str) -> Iterator[None]:
    with driver.cursor() as cursor:
        cursor.execute("SELECT @@collation_database")
        [before] = cursor.fetchone() or ("",)
    if not collation or collation == before:
        yield
        return
    change = f"ALTER DATABASE {quoting.ident(db.login.database)} COLLATE "
    try:
        lock_retry.run(driver, change + collation)
        yield
    finally:
        if driver.open:
            lock_retry.run(driver, change + before)
