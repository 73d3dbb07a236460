"""Server facts, missing privileges, ANALYZE and advisory locks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases.adapter_helpers import free_bytes
from runbook_lib.databases.mysql import connection, lock_retry, own, quoting
from runbook_lib.databases.mysql.reading import reading_missing
from runbook_lib.databases.port import IndexUse, Problem, ServerFacts
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

NEEDED = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES", "TRIGGER",
    "CREATE TEMPORARY TABLES", "LOCK TABLES",
)  # fmt: skip

_FACTS = """
SELECT version(), @@character_set_database, @@collation_database, @@max_connections, @@global.read_only, @@datadir,
       (SELECT coalesce(sum(data_length + index_length), 0) FROM information_schema.tables
        WHERE table_schema = database())
"""
_ODD_ENGINES = """
SELECT table_name, engine FROM information_schema.tables
WHERE table_schema = database() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND engine <> 'InnoDB' ORDER BY 1
"""
_TRIGGERED = f"""
SELECT DISTINCT event_object_table FROM information_schema.triggers
WHERE trigger_schema = database() AND NOT {own.TRIGGER}
  AND action_statement NOT LIKE '%@runbook_sync%' ORDER BY 1
"""
CASCADES = """
SELECT table_name, constraint_name, referenced_table_name, update_rule, delete_rule
FROM information_schema.referential_constraints WHERE constraint_schema = database()
  AND (update_rule NOT IN ('RESTRICT', 'NO ACTION') OR delete_rule NOT IN ('RESTRICT', 'NO ACTION')) ORDER BY 1, 2
"""


def facts(db: MySQLPort) -> ServerFacts:
    """Connect once and describe the server; free bytes only where its data directory is on this machine."""
    text, encoding, collation, clients, read_only, directory, size = db.rows(_FACTS)[0]
    return ServerFacts(
        db.dialect,
        connection.flavour(text)[1],
        f"{db.flavour[0]} {text}",
        encoding,
        collation,
        int(size),
        int(clients),
        str(read_only) not in ("0", "OFF"),
        free_bytes(directory, db.login.host),
    )


def privileges_missing(db: MySQLPort, role: str) -> list[Problem]:
    """What the login lacks to be the `source` or `target` of a migration, or a `reader`; each with what helps."""
    granted = grants(db)
    if role == "reader":
        return reading_missing(db, granted)
    login = db.rows("SELECT current_user()")[0][0]
    database = quoting.ident(db.login.database)
    problems = []
    if missing := [right for right in NEEDED if right not in granted]:
        action = f"GRANT {', '.join(missing)} ON {database}.* TO {login}"
        problems.append(_problem(db, f"{login} lacks {', '.join(missing)}", action, len(missing)))
    if "PROCESS" not in granted:
        problems.append(_problem(db, f"{login} may not see transactions of others", f"GRANT PROCESS ON *.* TO {login}"))
    log_bin, trusted, infile = db.rows("SELECT @@log_bin, @@log_bin_trust_function_creators, @@local_infile")[0]
    if log_bin and not trusted and "SUPER" not in granted:
        text = "with the binary log on, the login may not create triggers"
        problems.append(_problem(db, text, "SET GLOBAL log_bin_trust_function_creators = ON"))
    if not infile:
        problems.append(_problem(db, "LOAD DATA LOCAL INFILE is off", "SET GLOBAL local_infile = ON"))
    unseen = [problem for problem in reading_missing(db, granted) if not problem.blocking]
    return problems + unseen + _unfit(db, role)


def _unfit(db: MySQLPort, role: str) -> list[Problem]:
    """Tables that a migration with live sync cannot carry faithfully."""
    problems = [
        _problem(
            db,
            f"{table} is kept by {engine}, which has no transactions",
            f"ALTER TABLE {table} ENGINE = InnoDB",
            finding="engines",
            table=table,
        )
        for table, engine in db.rows(_ODD_ENGINES)
    ]
    problems += [
        _problem(
            db,
            f"the triggers of {table} cannot be silenced: the sync's writes would fire them",
            "begin their body with IF @runbook_sync IS NULL, or create them after the migration",
            finding="triggers",
            table=table,
        )
        for (table,) in (db.rows(_TRIGGERED) if role == "target" else ())  # a source's wait while the sync writes there
    ]
    return problems + [
        _problem(
            db,
            f"foreign key {name} of {table} changes rows when {parent} changes, and MySQL fires no trigger for that",
            f"declare it RESTRICT for the migration, or leave {table} out",
            blocking=False,  # the capture refuses it for tables that are really captured
            finding="cascades",
            table=table,
        )
        for table, name, parent, _, _ in db.rows(CASCADES)
    ]


def grants(db: MySQLPort) -> frozenset[str]:
    """Rights of the login on this database, and its global ones."""
    found: set[str] = set()
    for (line,) in db.rows("SHOW GRANTS"):
        match = re.match(r"GRANT (.+?) ON (?:TABLE )?(\S+|`[^`]+`\.\*) TO ", line)
        if match and _covers(match[2], db.login.database):
            rights = {right.strip() for right in match[1].split(",")}
            if rights & {"ALL PRIVILEGES", "ALL"}:
                rights |= set(NEEDED) | ({"PROCESS", "SUPER"} if match[2] == "*.*" else set())
            found |= rights
    return frozenset(found)


def _covers(scope: str, database: str) -> bool:
    if scope == "*.*":
        return True
    pattern = scope.removesuffix(".*").strip("`").replace("``", "`")
    parts = [{"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in re.findall(r"\\.|.", pattern)]
    return scope.endswith(".*") and re.fullmatch("".join(parts), database) is not None


def _problem(db: MySQLPort, text: str, action: str, count: int = 0, *, blocking: bool = True, **detail: str) -> Problem:
    """`detail`: what an assessment calls it, and the table, where it is no matter of rights."""
    return Problem(f"database {db.name}", text, action, blocking=blocking, count=count, detail=detail)


def analyze(db: MySQLPort, tables: Sequence[str]) -> None:
    """Gather statistics, one table after the other; not written to the binary log.

    Raises:
        DatabaseError: a table is not there, or the server refused.
    """
    for table in tables:
        for _, _, kind, text in db.rows(f"ANALYZE NO_WRITE_TO_BINLOG TABLE {quoting.ident(table)}"):
            if str(kind).lower() == "error":
                raise DatabaseError(f"database {db.name}", f"ANALYZE {table}: {text}")


@contextmanager
def advisory_lock(db: MySQLPort, name: str) -> Iterator[bool]:
    """A session lock on a connection of its own; never waits; gone with the connection.

    MySQL's locks are the server's, with at most 64 characters: the name is a digest of database and name.
    """
    digest = hashlib.sha256(f"{db.login.database}\0{name}".encode()).hexdigest()[:40]
    driver = connection.connect(db.name, db.login)
    try:
        with driver.cursor() as cursor:
            cursor.execute(f"SELECT get_lock('runbook:{digest}', 0)")
            granted = cursor.fetchone() == (1,)
            driver.commit()  # no transaction stays open: the lock is the session's
        yield granted
    except pymysql.MySQLError as error:
        raise connection.explain(db.name, error, "taking an advisory lock") from error
    finally:
        if driver.open:
            with suppress(pymysql.MySQLError):  # the server notices a closed connection later than who asks next
                driver.query(f"SELECT release_lock('runbook:{digest}')")
            driver.close()


def execute(db: MySQLPort, statements: Sequence[str]) -> None:
    """Run statements with the lock timeout, again when a lock is refused."""
    lock_retry.in_transaction(db, lambda driver: lock_retry.run(driver, *statements))


_COUNTED = """
SELECT object_name, index_name, count_read FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE object_schema = database() AND index_name IS NOT NULL
"""
# MariaDB's userstat lists only indexes that were read; every other one was read no time.
_USERSTAT = """
SELECT s.table_name, s.index_name, coalesce(max(u.rows_read), 0) FROM information_schema.statistics AS s
LEFT JOIN information_schema.index_statistics AS u
  ON u.table_schema = s.table_schema AND u.table_name = s.table_name AND u.index_name = s.index_name
WHERE s.table_schema = database() GROUP BY s.table_name, s.index_name
"""


def index_use(db: MySQLPort) -> IndexUse:
    """Reads of each index since the server's start, where it counts them."""
    settings = {str(name): str(value) for name, value in db.rows("SHOW GLOBAL VARIABLES")}
    since_s = float(db.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])
    missing = "the server counts no reads (performance_schema is off)"
    for name, sql in (("performance_schema", _COUNTED), ("userstat", _USERSTAT)):
        if settings.get(name) != "ON":
            continue
        try:
            return IndexUse({(str(t), str(i)): int(n) for t, i, n in db.rows(sql)}, since_s)
        except DatabaseError as error:
            missing = f"{error.observed}; grant SELECT on performance_schema.* to the login"
    return IndexUse({}, missing=missing)
