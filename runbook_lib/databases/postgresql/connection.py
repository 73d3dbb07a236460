"""Connect with pinned session settings, and turn every driver error into one clear line without a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runbook_lib.databases.adapter_helpers import RIGHTS, secret_of
from runbook_lib.databases.postgresql.connection_pool import Session
from runbook_lib.errors import ConfigurationError, DatabaseError, LockRefused
from runbook_lib.util.text import one_line

MINIMUM_VERSION = 14

# Values are compared as text and hashed: both sides must print alike (docs/correctness.md#canonical-rows). search_path
# is the user's.
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",  # shortest exact form
    "xmloption": "content",
    "default_transaction_isolation": "read committed",  # each statement sees what is committed by then
    "row_security": "off",  # rows that a policy hides are an error, not missing in silence
    "jit": "off",  # compiling a query over the catalogs took 1.2 s, running it 0.05 s (docs/decisions/0040)
    "statement_timeout": "0",  # a bulk copy may take hours; locks and idleness are bounded instead
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "10min",
    "idle_session_timeout": "0",  # an advisory lock is a session that is idle for days
}
# A cut cable is noticed within a minute, not after two hours.
TRANSPORT = {"connect_timeout": "10", "keepalives_idle": "20", "keepalives_interval": "10", "keepalives_count": "4"}
SECRET_WORDS = ("password", "sslpassword")

_HEAD = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?:([^:/@]*)(?::([^@]*))?@)?")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


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
    """Split a URL into libpq parameters, as libpq itself does; a password in it is taken out and never shown.

    Raises:
        ConfigurationError: the URL cannot be read (it is not repeated: it may hold a password).
    """
    head = _HEAD.match(url)
    try:
        if head is None:
            raise ValueError("not a URL")
        user, given = (unquote(part or "") for part in head.groups())
        found = {"user": user, **conninfo_to_dict(f"postgresql://{_BARE_PERCENT.sub('%25', url[head.end() :])}")}
        if not re.fullmatch(r"[\d,]*", str(found.get("port", ""))):
            raise ValueError("its port is no number")
    except (psycopg.Error, ValueError) as error:
        unknown = re.search(r'invalid URI query parameter: "\w+"', str(error))
        raise ConfigurationError(
            f"database {name}",
            f"its URL cannot be read{f': {unknown[0]}' if unknown else ''}",
            expected="postgresql://user@host:port/database",
        ) from None
    parameters = {key: str(value) for key, value in found.items() if value is not None and str(value)}
    secrets = {word: parameters.pop(word) for word in SECRET_WORDS if word in parameters}
    if "sslpassword" in secrets:
        raise ConfigurationError(f"database {name}", "sslpassword in a URL", action="use an unencrypted key file, 0600")
    return Login(parameters, password or given or secrets.get("password", ""), _masked(parameters))


def _masked(parameters: Mapping[str, str]) -> str:
    """The URL without a password."""
    query = dict(parameters)
    user, host, port = query.pop("user", ""), query.get("host", ""), query.get("port", "")
    place = ""
    if host and not re.search(r"[/,]", host):  # a socket's folder, or several hosts, stand in the query
        place = f"[{query.pop('host')}]" if ":" in host else quote(query.pop("host"))
        place += f":{query.pop('port')}" if port else ""
    login = f"{quote(user, safe='')}@" if user else ""
    database = quote(query.pop("dbname", ""), safe="")
    return f"postgresql://{login}{place}/{database}{'?' if query else ''}{urlencode(query)}"


def connect(name: str, login: Login, *, dbname: str = "", settings: Mapping[str, str] | None = None) -> Session:
    """A psycopg connection, transactional, with the pinned settings.

    Args:
        settings: More of them, or others.
    Raises:
        DatabaseError: unreachable, wrong password, no such database or role, too old.
    """
    changes = {"dbname": dbname} if dbname else {}
    secret = {"password": login.password} if login.password else {}
    conninfo = login.conninfo(client_encoding="UTF8", application_name="runbook", **changes, **secret)
    try:
        connection = Session.connect(
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
    pinned = {**SETTINGS, **(settings or {})}
    pins = ", ".join(f"pg_catalog.set_config('{key}', '{value}', false)" for key, value in pinned.items())
    connection.execute(f"SELECT {pins}")
    connection.autocommit = False
    return connection


_NAMED = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")


def placed(sql: str) -> str:
    """SQL with the port's `:name` parameters as psycopg has them."""
    return _NAMED.sub(r"%(\1)s", sql.replace("%", "%%")).replace("\\:", ":")


# What libpq says (it gives no SQLSTATE while connecting) → what it means and what to do.
_REASONS = (
    (r"password authentication failed|no password supplied|SCRAM", "wrong password for {user}", "{secret}"),
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
        "secret": secret_of(name),
    }
    for pattern, observed, action in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return DatabaseError(f"database {name}", observed.format(**facts), action=action.format(**facts))
    return DatabaseError(f"database {name}", f"cannot connect to {login.address}: {line}")


BYPASS = "log in as one that row security does not apply to (ALTER ROLE … BYPASSRLS)"
_HINTS = {
    "42501": RIGHTS,
    "55P03": "see who holds the table (pg_locks), and run again",
    "57014": "see who cancelled it, or which statement_timeout did, and run again",
}


def explain(name: str, error: psycopg.Error, doing: str = "") -> DatabaseError:
    """One line about a failed statement: the server's message, its key where a rule is broken, never parameters."""
    primary = error.diag.message_primary or one_line(str(error))
    code = f" ({error.sqlstate})" if error.sqlstate else ""
    hint = one_line(error.diag.message_hint or "") or _HINTS.get(error.sqlstate or "", "")
    hint = BYPASS if "row-level security" in primary else hint
    if (error.sqlstate or "").startswith("23"):  # which key breaks the rule
        primary += f" [{one_line(error.diag.message_detail or '', 120)}]"
    kind = LockRefused if error.sqlstate == "55P03" else DatabaseError
    return kind(f"database {name}", f"{primary}{code}{f' while {doing}' if doing else ''}", action=hint)
