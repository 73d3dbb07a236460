"""The estate's databases and the least rights that a migration needs.

| role | may | because |
|---|---|---|
| `app` | use tables and sequences, also those made later | key-log triggers run with its rights |
| `estate_owner` | owns the monolith's objects; cannot log in | ownership is lent, not copied |
| `migrator` | member of `estate_owner` | triggers, views, LOCK, pg_dump of the monolith need ownership |
| | owner of the three target databases, CREATEDB | makes schemas there, and scratch databases to prove a restore |
| | SET on `session_replication_role` | loading must not fire the target's triggers |
| | `pg_read_all_stats`, `pg_signal_backend` | sees and, past the deadline, ends writers in flight before the switch |
| | REPLICATION | logical decoding; pg_hba.conf has no line for physical replication |

No superuser is used after the estate has started.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import psycopg
from psycopg import sql

from runbook_lib.errors import DatabaseError
from runbook_lib.sandbox import sample

SUPERUSER = "postgres"
LOGINS = ("app", "migrator")
TARGETS = {"user_service": "users_db", "order_service": "orders_db", "payment_service": "payments_db"}
SOURCE = "monolith"
PRACTICE, PRACTICE_SCALE = "practice", 0.05  # a small monolith that nobody uses, for trying revisions of its schema
OLDEST = 150_000  # GRANT SET ON PARAMETER


def write_passwords(directory: Path) -> dict[str, str]:
    """Make a new random password for every role in `directory`/<role>, mode 0600; returns them by role."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    passwords = {}
    for role in (SUPERUSER, *LOGINS):
        path = directory / role
        path.unlink(missing_ok=True)
        passwords[role] = secrets.token_urlsafe(24)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(passwords[role] + "\n")
    return passwords


def conninfo(port: int, database: str, role: str, **more: str) -> str:
    """A libpq connection string without the password."""
    return psycopg.conninfo.make_conninfo(
        host="127.0.0.1", port=port, dbname=database, user=role, connect_timeout=5, **more
    )


def connect(port: int, database: str, role: str, password: str, *, autocommit: bool = True) -> psycopg.Connection:
    """Open a connection of the estate; DatabaseError says which one could not be."""
    try:
        return psycopg.connect(conninfo(port, database, role), password=password, autocommit=autocommit)
    except psycopg.OperationalError as error:
        raise DatabaseError(f"{database} on port {port}", str(error).strip(), action="see server.log") from error


def prepare_source(port: int, passwords: dict[str, str], scale: float) -> dict[str, int]:
    """Make roles, the monolith's database and its rows on a new cluster; returns rows (count) by table."""
    with connect(port, "postgres", SUPERUSER, passwords[SUPERUSER]) as connection:
        _make_roles(connection, passwords)
        connection.execute("CREATE ROLE estate_owner NOLOGIN")
        connection.execute("GRANT estate_owner TO migrator")
        for database in (SOURCE, PRACTICE):
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER estate_owner").format(sql.Identifier(database)))
    _fill(port, PRACTICE, passwords, min(scale, PRACTICE_SCALE))
    return _fill(port, SOURCE, passwords, scale)


def _fill(port: int, database: str, passwords: dict[str, str], scale: float) -> dict[str, int]:
    with connect(port, database, SUPERUSER, passwords[SUPERUSER], autocommit=False) as connection:
        connection.execute("SET ROLE estate_owner")
        rows = sample.load(connection, scale)
        connection.execute("RESET ROLE")
        for owner in ("estate_owner", "migrator"):
            _grant_app(connection, owner)
    return rows


def prepare_targets(port: int, passwords: dict[str, str]) -> None:
    """Make roles and the three empty databases of the services on a new cluster."""
    with connect(port, "postgres", SUPERUSER, passwords[SUPERUSER]) as connection:
        _make_roles(connection, passwords)
        for database in TARGETS.values():
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER migrator").format(sql.Identifier(database)))
    for database in TARGETS.values():
        with connect(port, database, "migrator", passwords["migrator"]) as connection:
            _grant_app(connection, "migrator")


def _make_roles(connection: psycopg.Connection, passwords: dict[str, str]) -> None:
    if connection.info.server_version < OLDEST:
        found = connection.info.server_version // 10_000
        raise DatabaseError(
            "PostgreSQL", f"version {found}", expected="15 or newer", action="pip install 'runbook-lib[demo]'"
        )
    for role, rights in (("app", ""), ("migrator", "CREATEDB REPLICATION")):
        make = sql.SQL("CREATE ROLE {} LOGIN " + rights + " PASSWORD {}")
        connection.execute(make.format(sql.Identifier(role), sql.Literal(passwords[role])))
    connection.execute("GRANT SET ON PARAMETER session_replication_role TO migrator")
    connection.execute("GRANT pg_read_all_stats, pg_signal_backend TO migrator")
    connection.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    connection.execute("GRANT CONNECT ON DATABASE postgres TO migrator")


def _grant_app(connection: psycopg.Connection, owner: str) -> None:
    """Let `app` use what is there and what `owner` will make."""
    who = sql.Identifier(owner)
    connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app")
    connection.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app")
    for what in ("SELECT, INSERT, UPDATE, DELETE ON TABLES", "USAGE ON SEQUENCES", "USAGE ON SCHEMAS"):
        connection.execute(sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT " + what + " TO app").format(who))
