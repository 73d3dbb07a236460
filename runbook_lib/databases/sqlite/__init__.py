"""SQLite 3.35 and newer: the class holds the connections, the modules beside it do the work."""

from __future__ import annotations

from runbook_lib.databases.sqlite import memory_statistics as memory_statistics  # before sqlite3

# isort: split
import decimal
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from runbook_lib.databases.adapter import Adapter
from runbook_lib.databases.port import (
    BackupInfo,
    IndexUse,
    Load,
    Problem,
    Result,
)
from runbook_lib.databases.sqlite import (
    apply,
    apply_keyless,
    capture,
    checksums,
    connection,
    copy,
    fence,
    override_reading,
    own,
    queries,
    quoting,
    schema,
    server,
    trial,
)
from runbook_lib.databases.sqlite import catalog as catalog_
from runbook_lib.databases.sqlite import ddl_hazards as hazards_
from runbook_lib.databases.sqlite import inventory as inventory_
from runbook_lib.databases.sqlite import ranges as ranges_
from runbook_lib.errors import DatabaseError

__all__ = ["SQLite", "open_database"]


def open_database(name: str, url: str, password: str | None = None, options: Mapping[str, Any] | None = None) -> SQLite:
    """Describe a database of the inventory; nothing is opened before it is needed.

    Args:
        name: Its name in the inventory.
        url: sqlite:////path/of/file.db
        password: SQLite knows none; one that is given is an error.
        options: `lock_wait_s` (seconds to wait for the write lock, default 30), `pool_size` (connections, default 5),
            `create` (make the file when it is missing, default false), `read_only` (its connections refuse to write,
            default false).
    """
    if password:
        raise DatabaseError(f"database {name}", "SQLite knows no passwords", action="take it out of the inventory")
    return SQLite(name, connection.read_path(name, url), options or {})


class SQLite(Adapter):
    """One SQLite database file: `runbook_lib.databases.port.Database`."""

    dialect = "sqlite"

    def __init__(self, name: str, path: Path, options: Mapping[str, Any]) -> None:
        super().__init__(name, f"sqlite:///{path}", options)
        self.path, self.options = path, dict(options)
        self.one = connection.One()

    # -- connection ---
    @cached_property
    def engine(self) -> Engine:
        self.makes_file = bool(self.options.get("create")) and not self.path.exists()
        engine = connection.make_engine(self.name, self.path, self.options, self.lock_wait_s)
        event.listen(engine, "connect", lambda driver, _: _register(driver))
        return engine

    @cached_property
    def journal_mode(self) -> str:
        """`wal`, or one of the modes in which a reader holds writers up."""
        return str(self.rows("PRAGMA journal_mode")[0][0])

    @contextmanager
    def raw(self) -> Iterator[sqlite3.Connection]:
        """A pooled connection in a deferred transaction: committed at the end, rolled back on an error."""
        pooled = self.engine.raw_connection()
        driver: Any = pooled.driver_connection
        try:
            driver.execute("BEGIN")
            yield driver
            driver.execute("ROLLBACK" if self.rehearsal.on else "COMMIT")
        except BaseException:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            raise
        finally:
            pooled.close()

    @contextmanager
    def reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Like `raw`, with the driver's errors in words."""
        try:
            with self.raw() as driver:
                yield driver
        except sqlite3.Error as error:
            raise self.explain(error, doing) from error

    @contextmanager
    def writing(self, doing: str, *, wait_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """A write transaction that has the lock from its first moment (seconds to wait for it: `lock_wait_s`)."""
        pooled = self.engine.raw_connection()
        driver: Any = pooled.driver_connection
        patience = self.lock_wait_s if wait_s is None else wait_s
        try:
            driver.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            driver.execute("BEGIN IMMEDIATE")
            yield driver
            driver.execute("COMMIT")
        except sqlite3.Error as error:
            raise connection.explain(self.name, error, doing, wait_s=patience) from error
        finally:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            driver.execute(f"PRAGMA busy_timeout = {int(self.lock_wait_s * 1000)}")
            pooled.close()

    @contextmanager
    def writing_session(self, doing: str) -> Iterator[Connection]:
        """The same as an SQLAlchemy connection, for statements with named parameters."""
        if self.one.session:  # its transaction is ended by `together`
            yield self.one.session
            return
        try:
            with self.engine.connect().execution_options(immediate=True) as connected, connected.begin():
                yield connected
        except (sqlite3.Error, DBAPIError) as error:
            raise connection.explain(self.name, error, doing, wait_s=self.lock_wait_s) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """See Database.together."""
        with self.writing_session("writing several tables") as self.one.session:
            try:
                yield
            finally:
                self.one.session = None

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            with self.engine.connect() as connected:
                # without parameters neither colons nor question marks mean anything
                bare = params is None
                found = connected.exec_driver_sql(sql) if bare else connected.execute(text(sql), dict(params or {}))
                return [tuple(row) for row in found]
        except DBAPIError as error:
            raise self.explain(error) from error

    def execute(self, *statements: str) -> None:
        with self.writing("") as driver:
            for statement in statements:
                driver.execute(statement)
        self.memo.clear()  # DDL changes what it holds

    def transaction(self, work: Callable[[Connection], Result]) -> Result:
        """See Database.transaction."""
        with self.writing_session("") as connected:
            done = work(connected)
        self.memo.clear()
        return done

    def own_table(self, name: str) -> str:
        if ("own", name) not in self.memo:
            with self.raw() as driver:
                own.require_free(driver, self.name, f"{quoting.OWN}{name}")
            self.memo["own", name] = True
        return quoting.ident(f"{quoting.OWN}{name}")

    def close(self) -> None:
        """End the connections; a file that was made with the first one goes again where nothing was written to it."""
        if "engine" in self.__dict__:
            self.engine.dispose()
            if self.makes_file and self.path.exists() and self.path.stat().st_size == 0:
                self.path.unlink()

    def explain(self, error: BaseException, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
        return connection.explain(self.name, error, doing)

    facts = server.facts
    privileges_missing = server.privileges_missing

    def pitfalls(self, tables: Sequence[str], open_s: float) -> list[Problem]:  # noqa: ARG002  see below
        """None: all of an SQLite database is in its tables, and a reader's transaction holds nobody up in WAL mode."""
        return []

    # -- catalog ---
    catalog = catalog_.catalog
    tables = catalog_.tables
    expression_types = catalog_.expression_types
    sequences = catalog_.sequences
    set_sequence = catalog_.set_sequence
    definitions = catalog_.definitions
    schema_marks = catalog_.schema_marks
    inventory = inventory_.inventory

    def grants(self, tables: Sequence[str]) -> dict[str, frozenset[tuple[str, str]]]:
        """None: SQLite knows no roles."""
        return {table: frozenset() for table in tables}

    # -- schema ---
    dump_schema = schema.dump_schema
    dump_rest = schema.dump_rest
    try_scripts = trial.try_scripts
    stages = staticmethod(schema.stages)
    about = staticmethod(schema.about)

    def split_references(self, after: str) -> tuple[str, str]:
        """All of it, and nothing: SQLite's foreign keys are part of CREATE TABLE, and not checked for our sessions."""
        return after, ""

    def drop_tables(self, tables: Sequence[str]) -> None:
        """See Database.drop_tables."""
        schema.drop_tables(self, tables)
        self.memo.clear()

    def run_script(self, script: str, *, again: bool = False) -> None:
        schema.run_script(self, script, again=again)
        self.memo.clear()

    hazards = hazards_.hazards

    def run_online(self, statement: str, *, again: bool = False) -> None:
        """See Database.run_online: one writer at a time, whatever is written, and all of a statement or nothing."""
        if not again:
            self.execute(statement)

    def index_use(self) -> IndexUse:
        """SQLite counts nothing."""
        return IndexUse({}, missing="SQLite does not count how often an index is read")

    # -- queries ---
    query_plan = queries.query_plan
    slowest_statements = queries.slowest_statements

    # -- copy ---
    condition = ranges_.condition_text

    def binary_safe(self, types: Sequence[str]) -> bool:  # noqa: ARG002  the port's signature
        """Always: the binary form carries stored values as they are, whatever their columns declare."""
        return True

    ranges = ranges_.ranges
    copy_out = copy.copy_out
    copy_in = copy.copy_in

    # -- capture and apply ---
    install_capture = capture.install_capture
    capture_installed = capture.capture_installed
    capture_gaps = capture.capture_gaps
    remove_capture = capture.remove_capture
    pending = capture.pending
    read_changes = capture.read_changes
    forget_changes = capture.forget_changes
    keep_up = capture.keep_up
    read_all = apply.read_all
    read_rows = apply.read_rows
    apply_rows = apply.apply_rows

    # -- fence ---
    prepare_fence = fence.prepare_fence
    raise_fence = fence.raise_fence
    lower_fence = fence.lower_fence
    fenced = fence.fenced
    remove_fence = fence.remove_fence

    # -- validation ---
    count = checksums.count
    range_sums = checksums.range_sums
    bucket_sums = checksums.bucket_sums
    row_sums = checksums.row_sums
    rows_hashed = apply_keyless.rows_hashed
    recount_rows = apply_keyless.recount_rows

    # -- housekeeping ---

    def load(self) -> Load:
        """A file has no sessions to count, and no replicas."""
        return Load()

    analyze = server.analyze

    def backup(
        self,
        directory: Path,
        *,
        jobs: int = 2,  # noqa: ARG002  the port's signature
        on_progress: Callable[[int], None] | None = None,
    ) -> BackupInfo:
        """See Database.backup; SQLite copies its pages in one pass, whatever `jobs` says."""
        return server.backup(self, directory, on_progress=on_progress)

    restore = server.restore
    scratch = server.scratch
    advisory_lock = server.advisory_lock


def _register(driver: sqlite3.Connection) -> None:
    """What our queries call, on this connection only: triggers never do, since applications' connections lack it."""
    driver.create_function("runbook_copy", 2, copy.copy_field, deterministic=True)
    driver.create_function("runbook_misfit", 2, copy.incompatible_value, deterministic=True)
    driver.create_function("runbook_read", 3, override_reading.read_as, deterministic=True)
    driver.create_collation("runbook_number", _compare_numbers)
    checksums.register(driver)


def _compare_numbers(a: str, b: str) -> int:
    """Exact decimals that are kept as text, by value; NaN last, as PostgreSQL has it."""
    left, right = (decimal.Decimal(text) for text in (a, b))
    if left.is_nan() or right.is_nan():
        return int(left.is_nan()) - int(right.is_nan())
    return (left > right) - (left < right)
