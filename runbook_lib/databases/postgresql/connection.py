"""Connect with pinned session settings, and turn every driver error into one clear line without a password."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from runbook_lib.databases.shared import RIGHTS, one_line
from runbook_lib.errors import ConfigurationError, DatabaseError

MINIMUM_VERSION = 14

# Values are compared as text and hashed: both sides must print alike (trap 19). search_path is the user's.
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",  # shortest exact form
    "xmloption": "content",
    "default_transaction_isolation": "read committed",  # each statement sees what is committed by then
    "jit": "off",  # compiling a query over the catalogs took 1.2 s, running it 0.05 s (docs/decisions.md)
    "statement_timeout": "0",  # a bulk copy may take hours; locks and idleness are bounded instead
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "10min",
    "idle_session_timeout": "0",  # an advisory lock is a session that is idle for days
}
# A cut cable is noticed within a minute, not after two hours.
TRANSPORT = {"connect_timeout": "10", "keepalives_idle": "20", "keepalives_interval": "10", "keepalives_count": "4"}
SECRET_WORDS = ("password", "sslpassword")


@dataclass(frozen=True)
class Login:
    """Where and as whom to connect; the password is kept apart from everything that is ever shown.

    Args:
        parameters: libpq connection parameters without secrets.
        password: Empty: libpq's own sources (pgpass, service) decide.
        masked_url: The address as messages show it.
    """

    parameters: dict[str, str]
    password: str
    masked_url: str

    def __repr__(self) -> str:
        return f"Login({self.masked_url})"

    @property
    def address(self) -> str:
        """host:port as messages show it."""
        host = self.parameters.get("host") or self.parameters.get("service") or "local socket"
        return f"{host}:{self.parameters.get('port') or 5432}"

    def conninfo(self, **changes: str) -> str:
        """The libpq connection string: without a password unless it is among the changes."""
        return make_conninfo("", **{**TRANSPORT, **self.parameters, **changes})


def read_login(name: str, url: str, password: str | None) -> Login:
    """Split a URL into libpq parameters; a password in it is taken out and never shown.

    Raises:
        ConfigurationError: the URL cannot be read (it is not repeated: it may hold a password).
    """
    try:
        parsed: URL = make_url(url)
        query = {key: value if isinstance(value, str) else value[-1] for key, value in parsed.query.items()}
        parts = {"host": parsed.host, "port": parsed.port, "user": parsed.username, "dbname": parsed.database}
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            f"database {name}", "its URL cannot be read", expected="postgresql://user@host:port/database"
        ) from None
    secrets = {word: query.pop(word) for word in SECRET_WORDS if word in query}
    parameters = {**{key: str(value) for key, value in parts.items() if value}, **query}
    if "sslpassword" in secrets:
        raise ConfigurationError(f"database {name}", "sslpassword in a URL", action="use an unencrypted key file, 0600")
    masked = parsed.set(drivername="postgresql", password=None, query=query).render_as_string(hide_password=True)
    return Login(parameters, password or str(parsed.password or "") or secrets.get("password", ""), masked)


def connect(name: str, login: Login, *, dbname: str = "") -> psycopg.Connection:
    """A psycopg connection, transactional, with the pinned settings.

    Raises:
        DatabaseError: unreachable, wrong password, no such database or role, too old.
    """
    changes = {"dbname": dbname} if dbname else {}
    secret = {"password": login.password} if login.password else {}
    conninfo = login.conninfo(client_encoding="UTF8", application_name="runbook", **changes, **secret)
    try:
        connection = psycopg.connect(
            conninfo,
            autocommit=True,
            # DDL happens around us: a cached plan must not fail with "cached plan must not change result type".
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise explain_connect(name, login, str(error), dbname) from None
    major = connection.info.server_version // 10000
    if major < MINIMUM_VERSION:
        connection.close()
        raise DatabaseError(
            f"database {name}", f"PostgreSQL {major} at {login.address}", expected=f"{MINIMUM_VERSION} or newer"
        )
    pins = ", ".join(f"pg_catalog.set_config('{key}', '{value}', false)" for key, value in SETTINGS.items())
    connection.execute(f"SELECT {pins}")
    connection.autocommit = False
    return connection


def make_engine(name: str, login: Login, pool_size: int) -> Engine:
    """An engine over `connect`; parameters never appear in its errors."""
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(name, login),
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,  # 0.1 ms; a restarted server costs a reconnect, not a failed step
        pool_timeout=60,
        use_native_hstore=False,  # spares a look-up in each new connection
    )


# What libpq says (it gives no SQLSTATE while connecting) → what it means and what to do.
_REASONS = (
    (r"password authentication failed|no password supplied|SCRAM", "wrong password for {user}", "check the secret"),
    (r"role .* does not exist", "no role {user}", "create the role, or correct its name"),
    (r"database .* does not exist", "no database {dbname} at {address}", "create it, or correct its name"),
    (r"no pg_hba.conf entry|no encryption", "the server does not let {user} in from here", "extend pg_hba.conf"),
    (r"too many clients|remaining connection slots", "no free connection at {address}", "raise max_connections"),
    (r"starting up|shutting down|in recovery", "the server at {address} is starting or stopping", "try again"),
    (r"SSL|certificate", "TLS with {address} failed: {text}", "check sslmode and the certificates"),
    (
        r"refused|resolve|translate host|timeout expired|unreachable|No route|No such file|server closed",
        "unreachable at {address}: {text}",
        "start the server, or correct host and port",
    ),
)


def explain_connect(name: str, login: Login, text: str, dbname: str = "") -> DatabaseError:
    """One line about a failed connection."""
    line = one_line(text.replace(login.password, "***") if login.password else text)
    line = re.sub(
        r"^connection failed: |connection to server at [^:]* failed: |FATAL: +|\s+Is the server running.*", "", line
    )
    facts = {
        "user": login.parameters.get("user", "the login"),
        "dbname": dbname or login.parameters.get("dbname", "of that name"),
        "address": login.address,
        "text": line,
    }
    for pattern, observed, action in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return DatabaseError(f"database {name}", observed.format(**facts), action=action)
    return DatabaseError(f"database {name}", f"cannot connect to {login.address}: {line}")


def explain(name: str, error: psycopg.Error, doing: str = "") -> DatabaseError:
    """One line about a failed statement: the server's message, its key where a rule is broken, never parameters."""
    primary = error.diag.message_primary or one_line(str(error))
    code = f" ({error.sqlstate})" if error.sqlstate else ""
    hint = one_line(error.diag.message_hint or "")
    if error.sqlstate == "42501":
        hint = hint or RIGHTS
    if (error.sqlstate or "").startswith("23"):  # which key breaks the rule
        primary += f" [{one_line(error.diag.message_detail or '', 120)}]"
    return DatabaseError(f"database {name}", f"{primary}{code}{f' while {doing}' if doing else ''}", action=hint)
