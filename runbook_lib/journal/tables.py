"""The journal's tables, the triggers that keep it append-only, and its engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.exc import ArgumentError

from runbook_lib.databases.dialect import ENGINES, dialect_of
from runbook_lib.errors import JournalError

BUSY_S = 30.0  # how long a writer waits for another one
metadata = MetaData()


def _texts(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, nullable=False, default="") for name in names]


runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    *_texts("environment", "plan_digest", "plan_path", "inventory_digest", "actor", "host", "created_at"),
    Column("closed_at", Text),
    Column("state", Text, nullable=False),  # open | rolling_back | rolled_back | done | superseded
)
entries = Table(
    "entries",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *_texts("at", "actor", "phase", "step", "kind", "payload", "previous_hash", "hash"),
)
leases = Table(
    "leases",
    metadata,
    Column("run_id", Text, primary_key=True),
    *_texts("holder", "host"),
    Column("pid", Integer, nullable=False),
    *_texts("process", "token"),
    Column("acquired_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)
samples = Table(
    "samples",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("at", Float, nullable=False),  # seconds since the epoch
    *_texts("series", "labels"),
    Column("value", Float, nullable=False),
)
Index("samples_series", samples.c.run_id, samples.c.series, samples.c.at)
progress = Table(
    "progress",
    metadata,
    Column("run_id", Text, primary_key=True),
    *_texts("phase", "step"),
    Column("done", Float, nullable=False),
    Column("total", Float),
    *_texts("unit"),
    Column("rate", Float),
    Column("eta_s", Float),
    *_texts("reason"),
    Column("at", Float, nullable=False),
)

_EXPECTED = "sqlite:///FILE or postgresql://… (version 14 or newer)"
_SETUP_LOCK = 0x72756E62  # "runb": only one process makes the tables


def parse_url(url: str) -> URL:
    """Read the journal's URL; a message never repeats it, it may hold a password.

    Raises:
        JournalError: not a URL, or neither SQLite nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # neither the address nor SQLAlchemy's message, which repeats it: it may hold a password
        raise JournalError("journal", "its address is not a URL", expected=_EXPECTED) from None
    backend = parsed.get_backend_name()
    if backend not in ENGINES or not dialect_of(backend).keeps_journal:
        raise JournalError(
            "journal",
            f"{backend} is not supported",
            expected="sqlite:///FILE or postgresql://… (PostgreSQL 14 or newer)",
        )
    return parsed.set(drivername=dialect_of(backend).driver) if parsed.drivername == backend else parsed


def masked(url: URL) -> str:
    """The journal for people: a file's path, or the URL without its password."""
    return str(url.database) if _in_file(url) else url.render_as_string(hide_password=True)


def _in_file(url: URL) -> bool:
    return dialect_of(url.get_backend_name()).in_file


def make_engine(url: URL) -> Engine:
    """An engine whose transactions are durable when they return, and wait for each other."""
    if not _in_file(url):
        options = {"connect_timeout": 10, "options": "-c synchronous_commit=on -c lock_timeout=30s -c timezone=UTC"}
        return create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=options)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are ours: see _begin_sqlite
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except Exception as error:  # the driver's class is not ours to import
            # the change to WAL does not wait for the busy timeout
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous=FULL")  # WAL's NORMAL may lose the last entries in a power cut


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that writes after it has read fails at once when another one wrote meanwhile.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def create_tables(connection: Connection) -> None:
    """Make what is missing: tables, then the triggers that refuse UPDATE and DELETE. Idempotent."""
    lock(connection, _SETUP_LOCK)
    if inspect(connection).has_table("progress"):  # the last one: complete, and a login without CREATE may continue
        return
    metadata.create_all(connection, tables=[runs, entries, leases, samples, progress])
    for statement in dialect_of(connection.dialect.name).append_only(entries.name, "the journal is append-only"):
        connection.exec_driver_sql(statement)


def lock(connection: Connection, key: int) -> None:
    """Wait for the others who take this lock; it is held to the transaction's end."""
    if statement := dialect_of(connection.dialect.name).transaction_lock(key):
        connection.exec_driver_sql(statement)
