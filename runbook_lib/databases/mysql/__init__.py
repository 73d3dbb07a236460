"""MySQL 8 and MariaDB 10.6 and newer: the class holds the connections, the modules beside it do the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from runbook_lib.databases.adapter import Adapter
from runbook_lib.databases.mysql import (
    apply,
    apply_keyless,
    capture,
    checksums,
    connection,
    copy,
    fence,
    history,
    lock_retry,
    online_ddl,
    own,
    queries,
    schema,
    server,
    trial,
    unsilenced,
)
from runbook_lib.databases.mysql import backup as dumps
from runbook_lib.databases.mysql import catalog as catalog_
from runbook_lib.databases.mysql import ddl_hazards as hazards_
from runbook_lib.databases.mysql import inventory as inventory_
from runbook_lib.databases.mysql import migration_blockers as pitfalls_
from runbook_lib.databases.mysql import ranges as ranges_
from runbook_lib.databases.mysql import sequences as sequences_
from runbook_lib.databases.mysql import server_load as load_
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import (
    BackupInfo,
    Table,
)
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

__all__ = ["MySQL", "open_database"]

DESCRIBED_S = 5.0  # how long a table's description serves the sync before it is read again (seconds)


def open_database(name: str, url: str, password: str | None = None, options: Mapping[str, Any] | None = None) -> MySQL:
    """Describe a database of the inventory; nothing is connected before it is needed.

    Args:
        name: Its name in the inventory.
        url: mysql://user@host:port/database?ssl_ca=…
        password: Empty or None: the one in the URL, if any.
        options: `lock_timeout_s` (seconds a statement waits for a lock, default 1, whole seconds), `lock_wait_s`
            (seconds in all with retries, default 30), `pool_size` (connections, default 5), `read_only` (its sessions
            refuse to write, default false).
    """
    return MySQL(name, connection.read_login(name, url, password), options or {})


class MySQL(Adapter):
    """One MySQL or MariaDB database: `runbook_lib.databases.port.Database`."""

    dialect = "mysql"

    def __init__(self, name: str, login: connection.Login, options: Mapping[str, Any]) -> None:
        super().__init__(name, login.masked_url, options)
        self.login = login
        self.lock_timeout_s = float(options.get("lock_timeout_s", 1.0))
        self.pool_size = int(options.get("pool_size", 5))
        self.read_only = bool(options.get("read_only"))

    # -- connection ---
    @cached_property
    def engine(self) -> Engine:
        return connection.make_engine(self.name, self.login, self.pool_size, read_only=self.read_only)

    @cached_property
    def flavour(self) -> tuple[str, tuple[int, ...]]:
        """MySQL or MariaDB, and the version's numbers."""
        return connection.flavour(str(self.rows("SELECT version()")[0][0]))

    @contextmanager
    def raw(self) -> Iterator[Connection]:
        """A pooled connection in a transaction: committed at the end, rolled back on an error."""
        pooled = self.engine.raw_connection()
        try:
            driver: Any = pooled.driver_connection
            yield driver
            driver.rollback() if self.rehearsal.on else driver.commit()
        except BaseException:
            pooled.rollback() if pooled.driver_connection and driver.open else pooled.invalidate()
            raise
        finally:
            pooled.close()

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            with self.engine.connect() as connected:
                if params is None:  # neither colons nor percent signs mean anything then
                    found = connected.exec_driver_sql(sql, execution_options={"no_parameters": True})
                else:
                    found = connected.execute(text(sql), dict(params))
                return [tuple(row) for row in found]
        except DBAPIError as error:
            raise self.explain(error) from error

    def execute(self, *statements: str) -> None:
        server.execute(self, statements)

    transaction = lock_retry.on_connection

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.dispose()

    def explain(self, error: Exception, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, pymysql.MySQLError):
            return connection.explain(self.name, cause, doing)
        return DatabaseError(f"database {self.name}", one_line(str(cause)))

    def own_table(self, name: str) -> str:
        return own.table(self, name)

    def described(self, table: str) -> Table:
        """One table's description, at most a few seconds old."""
        asked = ("table", table)
        if asked not in self.memo or time.monotonic() - self.memo[asked][0] > DESCRIBED_S:
            self.memo[asked] = (time.monotonic(), catalog_.catalog(self, [table])[table])
        found: Table = self.memo[asked][1]
        return found

    facts = server.facts
    privileges_missing = server.privileges_missing
    pitfalls = pitfalls_.pitfalls

    # -- catalog ---
    catalog = catalog_.catalog
    tables = catalog_.tables
    expression_types = catalog_.expression_types
    sequences = sequences_.sequences
    standalone_sequences = sequences_.standalone_sequences
    set_sequence = sequences_.set_sequence

    grants = catalog_.grants

    definitions = catalog_.definitions
    schema_marks = catalog_.schema_marks
    inventory = inventory_.inventory

    # -- schema ---
    dump_schema = schema.dump_schema
    dump_rest = schema.dump_rest
    try_scripts = trial.try_scripts
    stages = staticmethod(schema.stages)
    about = staticmethod(schema.about)
    split_references = staticmethod(schema.split_references)
    drop_tables = schema.drop_tables
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

    def binary_safe(self, types: Sequence[str]) -> bool:  # noqa: ARG002  no binary format at all
        return False

    copy_out = copy.copy_out
    copy_in = copy.copy_in
    take_history = history.take_history
    firing_triggers = unsilenced.firing_triggers
    firing_trigger_of = staticmethod(unsilenced.firing_trigger_of)

    # -- capture and apply ---
    install_capture = capture.install_capture
    capture_installed = capture.capture_installed
    capture_gaps = capture.capture_gaps
    remove_capture = capture.remove_capture
    pending = capture.pending
    read_changes = capture.read_changes
    forget_changes = capture.forget_changes
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
    load = load_.load
    analyze = server.analyze

    def backup(
        self,
        directory: Path,
        *,
        jobs: int = 2,  # noqa: ARG002  the dump program works on one connection
        on_progress: Callable[[int], None] | None = None,
    ) -> BackupInfo:
        return dumps.backup(self, directory, on_progress=on_progress)

    restore = dumps.restore
    scratch = dumps.scratch
    advisory_lock = server.advisory_lock
