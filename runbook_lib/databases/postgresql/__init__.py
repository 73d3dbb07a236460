"""PostgreSQL 14 and newer: the class holds the connections, the modules beside it do the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from runbook_lib.databases.port import (
    Applied,
    BackupInfo,
    Capabilities,
    Changes,
    KeyRange,
    Pending,
    Problem,
    RangeSum,
    Selection,
    Sequence_,
    ServerFacts,
    Table,
)
from runbook_lib.databases.postgresql import (
    apply,
    capture,
    catalog,
    checksums,
    connection,
    copy,
    dropping,
    fence,
    housekeeping,
    names,
    ranges,
    retry,
    schema,
    sequences,
)
from runbook_lib.databases.postgresql import backup as dumps
from runbook_lib.databases.shared import one_line
from runbook_lib.errors import DatabaseError

__all__ = ["PostgreSQL", "open_database"]

CAPABILITIES = Capabilities(
    transactional_ddl=True,
    wal_capture=True,
    binary_copy=True,
    concurrent_index=True,
    deferred_validation=True,
    snapshot_sharing=True,
    floats_nan=True,
)


def open_database(
    name: str, url: str, password: str | None = None, options: Mapping[str, Any] | None = None
) -> PostgreSQL:
    """Describe a database of the inventory; nothing is connected before it is needed.

    Args:
        name: Its name in the inventory.
        url: postgresql://user@host:port/database?libpq=parameters
        password: Empty or None: pgpass or a libpq service.
        options: `lock_timeout_s` (seconds a statement waits for a lock, default 0.5), `lock_wait_s` (seconds in all
            with retries, default 30), `pool_size` (connections, default 5).
    """
    return PostgreSQL(name, connection.read_login(name, url, password), options or {})


class PostgreSQL:
    """One PostgreSQL database: `runbook_lib.databases.port.Database`."""

    dialect = "postgresql"
    capabilities = CAPABILITIES

    def __init__(self, name: str, login: connection.Login, options: Mapping[str, Any]) -> None:
        self.name, self.login, self.masked_url = name, login, login.masked_url
        self.lock_timeout_s = float(options.get("lock_timeout_s", 0.5))
        self.lock_wait_s = float(options.get("lock_wait_s", 30.0))
        self.pool_size = int(options.get("pool_size", 5))
        self.memo: dict[Any, Any] = {}  # what modules look up once (types of keys)

    def __repr__(self) -> str:
        return f"PostgreSQL({self.name}, {self.masked_url})"

    # -- connection ---
    @cached_property
    def engine(self) -> Engine:
        return connection.make_engine(self.name, self.login, self.pool_size)

    @contextmanager
    def raw(self) -> Iterator[psycopg.Connection]:
        """A pooled psycopg connection in a transaction: committed at the end, rolled back on an error."""
        pooled = self.engine.raw_connection()
        try:
            driver = pooled.driver_connection
            if not isinstance(driver, psycopg.Connection):  # the pool hands out what psycopg made
                raise DatabaseError(f"database {self.name}", "the pool has no connection")
            yield driver
            driver.commit()
        except BaseException:
            pooled.invalidate() if pooled.driver_connection and pooled.driver_connection.closed else pooled.rollback()
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
        def run(driver: psycopg.Connection) -> None:
            for statement in statements:
                driver.execute(statement)

        retry.in_transaction(self, run)

    def quote(self, identifier: str) -> str:
        return names.quote(identifier)

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.dispose()

    def explain(self, error: Exception, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.Error):
            return connection.explain(self.name, cause, doing)
        return DatabaseError(f"database {self.name}", one_line(str(cause)))

    def own_table(self, name: str) -> str:
        return f"{names.ident(housekeeping.own_schema(self))}.{names.ident(name)}"

    def facts(self) -> ServerFacts:
        return housekeeping.facts(self)

    def privileges_missing(self, role: str) -> list[Problem]:
        return housekeeping.privileges_missing(self, role)

    # -- catalog ---
    def catalog(self, tables: Sequence[str] | None = None) -> dict[str, Table]:
        return catalog.catalog(self, tables)

    def expression_types(self, relation: str, expressions: Sequence[str]) -> tuple[str, ...]:
        return catalog.expression_types(self, relation, expressions)

    def sequences(self, tables: Sequence[str]) -> list[Sequence_]:
        return sequences.sequences(self, tables)

    def set_sequence(self, sequence: Sequence_, last: int) -> None:
        sequences.set_sequence(self, sequence, last)

    def fingerprint(self, tables: Sequence[str]) -> str:
        return catalog.fingerprint(self, tables)

    # -- schema ---
    def dump_schema(self, tables: Sequence[str]) -> tuple[str, str]:
        return schema.dump_schema(self, tables)

    def split_references(self, after: str) -> tuple[str, str]:
        """See Database.split_references."""
        return schema.split_references(after)

    def drop_tables(self, tables: Sequence[str]) -> None:
        """See Database.drop_tables."""
        dropping.drop_tables(self, tables)

    def run_script(self, script: str) -> None:
        schema.run_script(self, script)

    # -- copy ---
    def ranges(self, selection: Selection, rows_per_range: int) -> list[KeyRange]:
        return ranges.ranges(self, selection, rows_per_range)

    def binary_safe(self, types: Sequence[str]) -> bool:
        return copy.binary_safe(self, types)

    def copy_out(self, selection: Selection, key_range: KeyRange, *, binary: bool) -> Iterator[bytes]:
        return copy.copy_out(self, selection, key_range, binary=binary)

    def copy_in(
        self,
        table: str,
        columns: Sequence[str],
        blocks: Iterator[bytes],
        *,
        binary: bool,
        progress: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> int:
        return copy.copy_in(self, table, columns, blocks, binary=binary, progress=progress)

    # -- capture and apply ---
    def install_capture(self, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
        capture.install_capture(self, channel, tables)

    def capture_installed(self, channel: str) -> frozenset[str]:
        return capture.capture_installed(self, channel)

    def remove_capture(self, channel: str) -> None:
        capture.remove_capture(self, channel)

    def pending(self, channel: str) -> dict[str, Pending]:
        return capture.pending(self, channel)

    def read_changes(self, channel: str, table: str, limit: int) -> Changes:
        return capture.read_changes(self, channel, table, limit)

    def forget_changes(self, channel: str, changes: Changes) -> None:
        capture.forget_changes(self, channel, changes)

    def read_rows(self, selection: Selection, keys: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return apply.read_rows(self, selection, keys)

    def apply_rows(
        self,
        table: str,
        key: Sequence[str],
        columns: Sequence[str],
        keys: Sequence[tuple[Any, ...]],
        rows: Sequence[tuple[Any, ...]],
    ) -> Applied:
        return apply.apply_rows(self, table, key, columns, keys, rows)

    # -- fence ---
    def prepare_fence(self, tables: Sequence[str]) -> None:
        fence.prepare_fence(self, tables)

    def raise_fence(self, tables: Sequence[str], *, timeout_s: float) -> float:
        return fence.raise_fence(self, tables, timeout_s=timeout_s)

    def lower_fence(self, tables: Sequence[str]) -> None:
        fence.lower_fence(self, tables)

    def fenced(self, tables: Sequence[str]) -> frozenset[str]:
        return fence.fenced(self, tables)

    def remove_fence(self) -> None:
        fence.remove_fence(self)

    # -- validation ---
    def count(self, selection: Selection) -> int:
        return checksums.count(self, selection)

    def range_sums(
        self, selection: Selection, types: Sequence[str], ranges: Sequence[KeyRange], *, canonical: bool
    ) -> list[RangeSum]:
        return checksums.range_sums(self, selection, types, ranges, canonical=canonical)

    def row_sums(
        self, selection: Selection, types: Sequence[str], key_range: KeyRange, *, canonical: bool
    ) -> dict[tuple[Any, ...], str]:
        return checksums.row_sums(self, selection, types, key_range, canonical=canonical)

    # -- housekeeping ---
    def analyze(self, tables: Sequence[str]) -> None:
        housekeeping.analyze(self, tables)

    def backup(self, directory: Path, *, jobs: int = 2, on_progress: Callable[[int], None] | None = None) -> BackupInfo:
        return dumps.backup(self, directory, jobs=jobs, on_progress=on_progress)

    def restore(self, backup: BackupInfo, database: str) -> None:
        dumps.restore(self, backup, database)

    def advisory_lock(self, name: str) -> AbstractContextManager[bool]:
        return housekeeping.advisory_lock(self, name)
