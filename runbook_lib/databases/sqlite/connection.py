"""Connect to a database file with pinned settings, and turn every driver error into one clear line."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from runbook_lib.errors import ConfigurationError, DatabaseError
from runbook_lib.util.text import one_line

MINIMUM_VERSION = (3, 35)  # RETURNING, upsert, generated columns, DROP COLUMN

# Foreign keys do not fire for us (docs/correctness.md#foreign-keys: they are proven by anti-joins); triggers are
# silenced where needed.
SETTINGS = (
    "PRAGMA foreign_keys = OFF",
    "PRAGMA recursive_triggers = OFF",
    "PRAGMA ignore_check_constraints = OFF",
    "PRAGMA trusted_schema = ON",
    "PRAGMA temp_store = MEMORY",
)
READ_ONLY = "PRAGMA query_only = ON"


class One(threading.local):
    """The session whose transaction this thread's loads share, if any."""

    session: Connection | None = None


def read_path(name: str, url: str) -> Path:
    """The database file of a URL such as sqlite:////var/lib/app.db.

    Raises:
        ConfigurationError: no URL of a file.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"database {name}", "its URL cannot be read", expected="sqlite:///file.db") from None
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(
            f"database {name}", "an SQLite database in memory is one connection's own", expected="sqlite:///file.db"
        )
    return Path(parsed.database)


def make_engine(name: str, path: Path, options: Mapping[str, Any], wait_s: float) -> Engine:
    """The pooled engine; a transaction begins as the execution option `immediate` says."""
    mode = "rwc" if options.get("create") else "rw"  # by default a mistyped path makes no empty database
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        try:
            driver = sqlite3.connect(
                address, uri=True, timeout=wait_s, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            for setting in (*SETTINGS, *((READ_ONLY,) if options.get("read_only") else ())):
                driver.execute(setting)
            driver.execute("SELECT count(*) FROM sqlite_master")  # the first look into the file
        except sqlite3.Error as error:
            raise explain_open(name, path, error) from None
        return driver

    if sqlite3.sqlite_version_info < MINIMUM_VERSION:
        needed = ".".join(map(str, MINIMUM_VERSION))
        raise DatabaseError(f"database {name}", f"SQLite {sqlite3.sqlite_version}", expected=f"{needed} or newer")
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=int(options.get("pool_size", 5)),
        max_overflow=20,
        hide_parameters=True,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def explain_open(name: str, path: Path, error: sqlite3.Error) -> DatabaseError:
    """Why a file cannot be opened."""
    if not path.exists():
        return DatabaseError(f"database {name}", f"no file {path}", action="correct the URL, or create the database")
    if path.is_dir():
        return DatabaseError(f"database {name}", f"{path} is a directory", expected="an SQLite database file")
    if "not a database" in str(error) or "encrypted" in str(error):
        return DatabaseError(f"database {name}", f"{path} is not an SQLite database", expected="an SQLite file")
    return DatabaseError(f"database {name}", f"cannot open {path}: {error}", action="check the file's permissions")


def explain(name: str, error: BaseException, doing: str = "", *, wait_s: float = 0.0) -> DatabaseError:
    """One clear line about a driver's error."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    text, during = one_line(str(cause), 300), f" while {doing}" if doing else ""
    if "locked" in text or "busy" in text:
        return DatabaseError(
            f"database {name}",
            f"another connection writes or holds it{f' for {wait_s:g} s' if wait_s else ''}{during}",
            state="rolled back",
            action="end that transaction, or try again at a quieter time",
        )
    if "Could not decode" in text:
        action = "correct the row; `runbook assess` names it, and others of its kind"
        return DatabaseError(f"database {name}", f"{text}{during}", state="nothing of it was done", action=action)
    if "readonly" in text:
        return DatabaseError(f"database {name}", f"the file or its directory is read-only{during}", state="rolled back")
    if "full" in text:
        return DatabaseError(f"database {name}", f"the disk is full{during}", state="rolled back", action="free room")
    return DatabaseError(f"database {name}", f"{text}{during}", state="rolled back" if doing else "")
