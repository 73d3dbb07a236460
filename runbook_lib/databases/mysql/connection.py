"""Connect with pinned session settings, and turn every driver error into one clear line without a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from runbook_lib.databases.adapter_helpers import RIGHTS, secret_of
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.errors import ConfigurationError, DatabaseError
from runbook_lib.util.text import one_line

MINIMUM = {"MySQL": (8, 0), "MariaDB": (10, 6)}

# Strict, but zero dates and zeros in auto_increment columns that are there may be copied as they are
# (docs/correctness.md#zero-dates).
SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"
SETTINGS = (
    f"SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', lock_wait_timeout = 30, innodb_lock_wait_timeout = 30,"
    " net_write_timeout = 600, net_read_timeout = 600, group_concat_max_len = 1048576, sql_select_limit = DEFAULT,"
    " foreign_key_checks = 1, unique_checks = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)
READ_ONLY = "SET SESSION TRANSACTION READ ONLY"
# MySQL shows counters of AUTO_INCREMENT up to a day old otherwise; MariaDB knows no such setting.
FRESH = "SET SESSION information_schema_stats_expiry = 0"
OPTIONS = ("unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity", "connect_timeout")


@dataclass(frozen=True)
class Login:
    """Where and as whom to connect; the password is kept apart from everything that is ever shown.

    Args:
        options: Of the URL's query, those that PyMySQL takes (OPTIONS).
        masked_url: The address as messages show it.
    """

    host: str
    port: int
    user: str
    database: str
    options: dict[str, str]
    masked_url: str
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """host:port as messages show it."""
        return self.options.get("unix_socket") or f"{self.host}:{self.port}"


def read_login(name: str, url: str, password: str | None) -> Login:
    """Split a URL; a password in it is taken out and never shown.

    Raises:
        ConfigurationError: the URL cannot be read (it is not repeated: it may hold a password).
    """
    expected = "mysql://user@host:port/database"
    try:
        parsed: URL = make_url(url)
        query = {key: value if isinstance(value, str) else value[-1] for key, value in parsed.query.items()}
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"database {name}", "its URL cannot be read", expected=expected) from None
    secret = query.pop("password", "")
    query.pop("charset", "")  # always utf8mb4 (docs/correctness.md#nul-and-character-sets)
    if unknown := sorted(set(query) - set(OPTIONS)):
        raise ConfigurationError(f"database {name}", f"unknown option {unknown[0]}", expected=", ".join(OPTIONS))
    if not parsed.database:
        raise ConfigurationError(f"database {name}", "its URL names no database", expected=expected)
    masked = parsed.set(drivername="mysql", password=None, query=query).render_as_string(hide_password=True)
    return Login(
        parsed.host or "127.0.0.1",
        parsed.port or 3306,
        parsed.username or "",
        parsed.database,
        query,
        masked,
        password or str(parsed.password or "") or secret,
    )


def connect(name: str, login: Login, *, database: str | None = None, read_only: bool = False) -> Connection:
    """A connection, transactional, with the pinned settings.

    Raises:
        DatabaseError: unreachable, wrong password, no such database, too old.
    """
    options: dict[str, Any] = {
        key: value.lower() in ("1", "true", "yes", "on") if key.startswith("ssl_verify") else value
        for key, value in login.options.items()
        if key != "connect_timeout"
    }
    try:
        connection = Connection(
            host=login.host,
            port=login.port,
            user=login.user,
            password=login.password,
            database=login.database if database is None else database or None,
            charset="utf8mb4",
            autocommit=False,
            client_flag=CLIENT.FOUND_ROWS,  # an UPDATE counts the rows it found: progress marks rely on it
            connect_timeout=int(login.options.get("connect_timeout", 10)),
            program_name="runbook",
            **options,
        )
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise explain_connect(name, login, error) from None
    version = flavour(str(connection.server_version))
    if version[1] < MINIMUM[version[0]]:
        connection.close()
        found = f"{version[0]} {'.'.join(map(str, version[1]))} at {login.address}"
        raise DatabaseError(f"database {name}", found, expected="MySQL 8.0 or MariaDB 10.6, or newer")
    with connection.cursor() as cursor:
        for setting in (*SETTINGS, *((FRESH,) if version[0] == "MySQL" else ()), *((READ_ONLY,) if read_only else ())):
            cursor.execute(setting)
        connection.commit()
    return connection


def flavour(text: str) -> tuple[str, tuple[int, ...]]:
    """MySQL or MariaDB, and the version's numbers."""
    text = text.removeprefix("5.5.5-")  # MariaDB's for old replicas
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    version = tuple(int(part) for part in (numbers[0] if numbers else "0").split("."))
    return ("MariaDB" if "mariadb" in text.lower() else "MySQL"), version


def make_engine(name: str, login: Login, pool_size: int, *, read_only: bool = False) -> Engine:
    """An engine over `connect`; parameters never appear in its errors."""
    return create_engine(
        "mysql+pymysql://",
        creator=lambda: connect(name, login, read_only=read_only),
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=60,
    )


# Error number while connecting → what it means and what to do.
_REASONS = {
    1045: ("wrong password for {user}", "{secret}"),
    1698: ("wrong password for {user}", "{secret}"),
    1044: ("{user} may not use database {database}", "GRANT the rights on it"),
    1049: ("no database {database} at {address}", "create it, or correct its name"),
    1130: ("the server does not let {user} in from here", "create the user for this host"),
    1040: ("no free connection at {address}", "raise max_connections"),
    2026: ("TLS with {address} failed: {text}", "check the certificates"),
}


def explain_connect(name: str, login: Login, error: Exception) -> DatabaseError:
    """One line about a failed connection."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    line = one_line(str(error.args[-1]) if error.args else str(error))
    line = line.replace(login.password, "***") if login.password else line
    if "caching_sha2" in line or "cryptography" in line:
        number = 1045
    default = ("unreachable at {address}: {text}", "start the server, or correct host and port")
    observed, action = _REASONS.get(number, default)
    facts = {"user": login.user or "the login", "database": login.database, "address": login.address, "text": line}
    facts["secret"] = secret_of(name)
    return DatabaseError(f"database {name}", observed.format(**facts), action=action.format(**facts))


def explain(name: str, error: Exception, doing: str = "") -> DatabaseError:
    """One line about a failed statement: the server's message and number, never parameters."""
    number, text = code(error), str(error.args[-1]) if error.args else str(error)
    told = f"{one_line(text)}{f' ({number})' if number else ''}{f' while {doing}' if doing else ''}"
    return DatabaseError(f"database {name}", told, action=RIGHTS if number in (1044, 1142, 1143, 1227) else "")


def code(error: BaseException) -> int:
    """The server's or the driver's error number; 0: none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
