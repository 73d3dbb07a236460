"""PostgreSQL 14 and newer: the class holds the connections, the modules beside it do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.adapter import Adapter
from runbook_lib.databases.postgresql import (
    apply,
    apply_keyless,
    capture,
    checksums,
    connection,
    connection_pool,
    copy,
    copy_server_to_server,
    drop_schema,
    dump_script,
    fence,
    lock_retry,
    marks,
    online_ddl,
    queries,
    quoting,
    schema,
    server,
    small,
    trial,
)
from runbook_lib.databases.postgresql import backup as dumps
from runbook_lib.databases.postgresql import catalog as catalog_
from runbook_lib.databases.postgresql import ddl_hazards as hazards_
from runbook_lib.databases.postgresql import inventory as inventory_
from runbook_lib.databases.postgresql import migration_blockers as pitfalls_
from runbook_lib.databases.postgresql import ranges as ranges_
from runbook_lib.databases.postgresql import sequences as sequences_
from runbook_lib.databases.postgresql import server_load as load_
from runbook_lib.databases.postgresql.wal import slot_reader
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["PostgreSQL", "open_database"]


def open_database(
    name: str, url: str, password: str | None = None, options: Mapping[str, Any] | None = None
) -> PostgreSQL:
    """Describe a database of the inventory; nothing is connected before it is needed.

    Args:
        name: Its name in the inventory.
        url: postgresql://user@host:port/database?libpq=parameters
        password: Empty or None: pgpass or a libpq service.
        options: `lock_timeout_s` (seconds a statement waits for a lock, default 0.5), `lock_wait_s` (seconds in all
            with retries, default 30), `pool_size` (connections, default 5), `capture` (`triggers`, the default, or
            `wal`: changes are read from the server's log), `wal_limit_mb` (what the server may keep of its log for a
            capture, default 10240; 0: no limit), `wal_over_limit` (`warn`, the default; `give_up` drops the slot),
            `read_only` (its sessions refuse to write, default false).
    Raises:
        ConfigurationError: an option has a value that it cannot have.
    """
    return PostgreSQL(name, connection.read_login(name, url, password), options or {})


class PostgreSQL(Adapter):
    """One PostgreSQL database: `runbook_lib.databases.port.Database`."""

    dialect = "postgresql"

    def __init__(self, name: str, login: connection.Login, options: Mapping[str, Any]) -> None:
        super().__init__(name, login.masked_url, options)
        self.login = login
        self.lock_timeout_s = float(options.get("lock_timeout_s", 0.5))
        self.pool_size = int(options.get("pool_size", 5))
        self.capture = adapter_helpers.chosen(name, options, "capture", ("triggers", "wal"))
        self.wal_limit_mb = int(options.get("wal_limit_mb", 10_240))
        self.wal_over_limit = adapter_helpers.chosen(name, options, "wal_over_limit", ("warn", "give_up"))
        self.one = connection_pool.One()
        # More of a session's settings than the pinned ones.
        self.settings = {"default_transaction_read_only": "on"} if options.get("read_only") else {}
        self.sessions = connection_pool.Sessions(name, self._log_in, self.pool_size)

    # -- connection ---
    def _log_in(self) -> connection_pool.Session:
        return connection.connect(self.name, self.login, settings=self.settings)

    @cached_property
    def engine(self) -> Engine:
        return connection_pool.engine(self.sessions)

    @contextmanager
    def raw(self) -> Iterator[psycopg.Connection]:
        """A kept psycopg connection in a transaction: committed at the end, rolled back on an error."""
        if self.one.session:  # its transaction is ended by `together`
            yield self.one.session
            return
        session = self.sessions.take()
        try:
            yield session
            session.rollback() if self.rehearsal.on else session.commit()
        finally:
            self.sessions.give(session)

    together = small.together

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        if params is None:  # neither colons nor percent signs mean anything then
            return self._asked([sql], None)[0]
        return self.rows_of_each([sql], params)[0]

    def rows_of_each(self, statements: Sequence[str], params: Mapping[str, Any]) -> list[list[tuple[Any, ...]]]:
        """What each of these finds with the same parameters, in one transaction."""
        return self._asked([connection.placed(sql) for sql in statements], params)

    def _asked(self, statements: Sequence[str], params: Mapping[str, Any] | None) -> list[list[tuple[Any, ...]]]:
        session = self.sessions.take()
        try:
            session.autocommit = len(statements) == 1  # a transaction by itself: BEGIN and ROLLBACK are round trips
            return [session.execute(sql.encode(), params).fetchall() for sql in statements]
        except psycopg.Error as error:
            raise self.explain(error) from error
        finally:
            self.sessions.give(session)

    def execute(self, *statements: str) -> None:
        def run(driver: psycopg.Connection) -> None:
            for statement in statements:
                driver.execute(statement)

        lock_retry.in_transaction(self, run)

    transaction = lock_retry.on_connection

    def close(self) -> None:
        self.sessions.close()

    def explain(self, error: Exception, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
        cause = getattr(error, "orig", error)  # SQLAlchemy's errors hold the driver's
        if isinstance(cause, psycopg.Error):
            return connection.explain(self.name, cause, doing)
        return DatabaseError(f"database {self.name}", one_line(str(cause)))

    def own_table(self, name: str) -> str:
        return f"{quoting.ident(server.own_schema(self))}.{quoting.ident(name)}"

    facts = server.facts
    privileges_missing = server.privileges_missing
    pitfalls = pitfalls_.pitfalls

    # -- catalog ---
    catalog = catalog_.catalog
    tables = catalog_.tables
    small_tables = catalog_.small_tables
    expression_types = catalog_.expression_types
    sequences = sequences_.sequences
    standalone_sequences = sequences_.standalone_sequences
    set_sequence = sequences_.set_sequence
    grants = catalog_.grants
    fingerprint = catalog_.fingerprint
    definitions = catalog_.definitions
    schema_marks = marks.schema_marks
    inventory = inventory_.inventory

    # -- schema ---
    dump_schema = schema.dump_schema

    dump_rest = schema.dump_rest
    try_scripts = trial.try_scripts
    stages = staticmethod(dump_script.stages)
    about = staticmethod(dump_script.about)
    split_references = staticmethod(dump_script.split_references)
    drop_tables = drop_schema.drop_tables
    run_script = schema.run_script

    hazards = hazards_.hazards
    run_online = online_ddl.run_online
    index_use = server.index_use

    # -- queries ---
    query_plan = queries.query_plan
    slowest_statements = queries.slowest_statements

    # -- copy ---
    condition = ranges_.condition
    ranges = ranges_.ranges
    only_ranges = small.only_ranges
    binary_safe = copy.binary_safe
    copy_out = copy.copy_out
    copy_in = copy.copy_in
    copy_across = copy_server_to_server.copy_across

    # -- capture and apply ---
    install_capture = capture.install_capture
    capture_installed = capture.capture_installed
    capture_gaps = capture.capture_gaps
    remove_capture = capture.remove_capture
    pending = capture.pending
    read_changes = capture.read_changes
    forget_changes = capture.forget_changes
    keep_up = slot_reader.keep_up
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
    small_sums = checksums.small_sums
    bucket_sums = checksums.bucket_sums
    row_sums = checksums.row_sums
    rows_hashed = apply_keyless.rows_hashed
    recount_rows = apply_keyless.recount_rows

    # -- housekeeping ---
    load = load_.load
    analyze = server.analyze
    backup = dumps.backup
    restore = dumps.restore
    scratch = dumps.scratch
    advisory_lock = server.advisory_lock
