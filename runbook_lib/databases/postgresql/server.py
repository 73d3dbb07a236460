"""Server facts, missing privileges, our own schema, ANALYZE and advisory locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.adapter_helpers import free_bytes
from runbook_lib.databases.port import IndexUse, Problem, ServerFacts
from runbook_lib.databases.postgresql import connection, own, quoting
from runbook_lib.databases.postgresql.reading import reading_missing, standby
from runbook_lib.databases.postgresql.wal import replication_slot

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

OWN_SCHEMA = "runbook"
_NAMED = 10  # tables that cannot be read, each by itself

_FACTS = """
SELECT current_setting('server_version_num')::int, 'PostgreSQL ' || current_setting('server_version'),
       current_setting('server_encoding'), d.datcollate,
       pg_database_size(d.oid), current_setting('max_connections')::int,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on',
       CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END
FROM pg_database d WHERE d.datname = current_database()
"""

# Tables of the user, and whether the login owns them (as a member of the owner).
_TABLES = f"""
SELECT n.nspname, c.relname, r.rolname, pg_has_role(c.relowner, 'USAGE') AS owns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema'
  AND n.oid IS DISTINCT FROM {own.OURS} AND n.nspname NOT LIKE 'pg\\_%'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""

_RIGHTS = """
SELECT current_user, r.rolsuper, r.rolcreatedb, has_database_privilege(current_database(), 'CREATE'),
       coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), true)
FROM pg_roles r WHERE r.rolname = current_user
"""


def facts(db: PostgreSQLPort) -> ServerFacts:
    """Connect once and describe the server; free bytes only where its data directory is on this machine."""
    number, text, encoding, collation, size, clients, read_only, directory = db.rows(_FACTS)[0]
    version = (number // 10000, number % 10000)
    return ServerFacts(
        db.dialect,
        version,
        text,
        encoding,
        collation,
        size,
        clients,
        read_only,
        free_bytes(directory, db.login.parameters.get("host", "")),
    )


def privileges_missing(db: PostgreSQLPort, role: str) -> list[Problem]:
    """What the login lacks to be `source` or `target` of a migration, or `reader`; each with the GRANT that helps.

    A reader needs to see every row, and no more.
    Both sides need: ownership of the tables (triggers and the fence are ALTER TABLE), CREATE in the database (schema
    `runbook`), and to set session_replication_role (rows are applied without firing triggers, in reverse replication
    too).
    """
    if role == "reader":
        return reading_missing(db) + standby(db, role)
    found = replication_slot.problems(db) if db.capture == "wal" else []
    return found + standby(db, role) + _rights_missing(db, role)


def _rights_missing(db: PostgreSQLPort, role: str) -> list[Problem]:
    login, superuser, createdb, create, public = db.rows(_RIGHTS)[0]
    if superuser:
        return []
    found = db.rows(_TABLES)
    tables = [(quoting.readable(schema, table), owner, owns) for schema, table, owner, owns in found]
    name = quoting.ident(login)
    problems = [_foreign(db, name, tables)] if any(not owns for _, _, owns in tables) else []
    barred = reading_missing(db)
    problems += barred[:_NAMED]
    if more := len(barred) - _NAMED if len(barred) > _NAMED else 0:
        problems.append(_problem(db, f"{more} more tables cannot be read", f"GRANT pg_read_all_data TO {name}", more))
    database = quoting.ident(db.rows("SELECT current_database()")[0][0])
    if not create:
        problems.append(
            _problem(db, f"{login} may not create schemas", f"GRANT CREATE ON DATABASE {database} TO {name}")
        )
    if role == "target" and not public:
        problems.append(
            _problem(db, f"{login} may not create in schema public", f"GRANT CREATE ON SCHEMA public TO {name}")
        )
    if not may_replicate(db):
        problems.append(
            _problem(
                db,
                f"{login} may not set session_replication_role",
                f"GRANT SET ON PARAMETER session_replication_role TO {name} (14: a superuser is needed)",
            )
        )
    if not createdb:
        text = f"{login} may not create databases: a backup cannot be restored to prove it"
        problems.append(_problem(db, text, f"ALTER ROLE {name} CREATEDB", blocking=False))
    return problems


def _foreign(db: PostgreSQLPort, login: str, tables: Sequence[tuple[str, str, bool]]) -> Problem:
    others = [table for table, _, owns in tables if not owns]
    owners = sorted({owner for _, owner, owns in tables if not owns})
    grants = "; ".join(f"GRANT {quoting.ident(owner)} TO {login}" for owner in owners)
    return _problem(db, f"the login is not a member of the owner of {_listed(others)}", grants, len(others))


def _problem(db: PostgreSQLPort, text: str, action: str, count: int = 0, *, blocking: bool = True) -> Problem:
    return Problem(f"database {db.name}", text, action, blocking=blocking, count=count)


def _listed(tables: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(tables) - limit} more" if len(tables) > limit else ""
    return ", ".join(tables[:limit]) + more


def may_replicate(db: PostgreSQLPort) -> bool:
    """Whether the login may set session_replication_role: tried, since 14 has no function to ask."""
    try:
        with db.raw() as driver:
            driver.execute("SET LOCAL session_replication_role = replica")
            driver.rollback()
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def own_schema(db: PostgreSQLPort) -> str:
    """The schema of the library's own tables, made when missing."""
    if "own schema" not in db.memo:
        if own.must_make(db.name, db.rows(own.STATE)[0]):
            db.execute(*own.CREATE)
        db.memo["own schema"] = True
    return OWN_SCHEMA


def analyze(db: PostgreSQLPort, tables: Sequence[str]) -> None:
    """Gather statistics, and mark pages as visible to all, table by table.

    After a load the second spares the first readers a visit to the heap: the proof of a foreign key over 2 M rows took
    0.5 s instead of 1.9 s, for 0.3 s of VACUUM.
    """
    driver = connection.connect(db.name, db.login)
    try:
        driver.autocommit = True
        if tables:
            driver.execute(f"VACUUM (ANALYZE) {', '.join(map(quoting.quote, tables))}".encode())
    except psycopg.Error as error:
        raise connection.explain(db.name, error, "gathering statistics") from error
    finally:
        driver.close()


@contextmanager
def advisory_lock(db: PostgreSQLPort, name: str) -> Iterator[bool]:
    """A session lock on a connection of its own; never waits; gone with the connection."""
    driver = connection.connect(db.name, db.login)
    try:
        driver.autocommit = True
        found: tuple[Any, ...] | None = driver.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"runbook:{name}",)
        ).fetchone()
        yield bool(found and found[0])
    finally:
        driver.close()


_INDEX_USE = """
SELECT s.schemaname, s.relname, s.indexrelname, s.idx_scan, pg_catalog.pg_table_is_visible(s.relid)
FROM pg_catalog.pg_stat_user_indexes AS s
"""
# Without a reset the counts are older than the server's start: that much is certain.
_SINCE = """
SELECT extract(epoch FROM clock_timestamp() - coalesce(stats_reset, pg_catalog.pg_postmaster_start_time()))::float8
FROM pg_catalog.pg_stat_database WHERE datname = current_database()
"""


def index_use(db: PostgreSQLPort) -> IndexUse:
    """Scans of each index, and for how long they were counted at least."""
    reads = {
        (quoting.readable(*((table,) if visible else (schema, table))), str(index)): int(scans)
        for schema, table, index, scans, visible in db.rows(_INDEX_USE)
    }
    return IndexUse(reads, float(db.rows(_SINCE)[0][0]))
