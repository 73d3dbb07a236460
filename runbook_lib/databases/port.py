"""What the library asks of a database: one Protocol, and the plain data that goes through it.

Transfer, validation and schema know only this file; drivers are imported only in the adapters beside it.
A *relation* below is the text of an SQL FROM clause, an *expression* SQL of the engine that evaluates it;
both come from the plan. Every identifier goes through `Database.quote`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from runbook_lib.databases.bulk import Bulk
from runbook_lib.databases.model import Alike as Alike
from runbook_lib.databases.model import Applied as Applied
from runbook_lib.databases.model import BackupInfo as BackupInfo
from runbook_lib.databases.model import Buckets as Buckets
from runbook_lib.databases.model import Capabilities as Capabilities
from runbook_lib.databases.model import CatalogObject as CatalogObject
from runbook_lib.databases.model import Changes as Changes
from runbook_lib.databases.model import Column as Column
from runbook_lib.databases.model import Constraint as Constraint
from runbook_lib.databases.model import Hazard as Hazard
from runbook_lib.databases.model import Index as Index
from runbook_lib.databases.model import IndexUse as IndexUse
from runbook_lib.databases.model import Inventory as Inventory
from runbook_lib.databases.model import KeyRange as KeyRange
from runbook_lib.databases.model import Load as Load
from runbook_lib.databases.model import LoudTrigger as LoudTrigger
from runbook_lib.databases.model import Pending as Pending
from runbook_lib.databases.model import Problem as Problem
from runbook_lib.databases.model import RangeSum as RangeSum
from runbook_lib.databases.model import Recount as Recount
from runbook_lib.databases.model import Refusal as Refusal
from runbook_lib.databases.model import Rest as Rest
from runbook_lib.databases.model import Selection as Selection
from runbook_lib.databases.model import Sequence_ as Sequence_
from runbook_lib.databases.model import ServerFacts as ServerFacts
from runbook_lib.databases.model import Table as Table

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Result = TypeVar("Result")
Rows = Sequence[tuple[Any, ...]]  # values in the order of some columns
Types = Sequence[str]  # of some columns, as an engine writes them


class Database(Bulk, Protocol):
    """One database of the inventory. Methods open and close their own short transactions unless they say otherwise."""

    name: str  # its name in the inventory
    dialect: str  # postgresql | mysql | sqlite
    masked_url: str  # never holds a password
    capabilities: Capabilities

    # -- connection ---
    @property
    def engine(self) -> Engine:
        """SQLAlchemy engine with the pinned session settings (UTC, ISO dates, strict), parameters hidden in errors."""
        ...

    def facts(self) -> ServerFacts:
        """Connect once and describe the server. Raises DatabaseError in one clear line (unreachable, password, …)."""
        ...

    def privileges_missing(self, role: str) -> list[Problem]:
        """What `role` ("source" or "target" of a migration, or "reader") needs and the login does not have."""
        ...

    def pitfalls(self, tables: Sequence[str], open_s: float) -> list[Problem]:
        """What is no row of these tables and stands in a migration's way: `detail` has its `finding`, an `example`.

        Transactions count that have been open for longer than `open_s` (seconds).
        """

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one read-only statement (SQLAlchemy `:name` parameters) in its own transaction."""
        ...

    def execute(self, *statements: str) -> None:
        """Run statements in one transaction with the lock timeout, retried with jitter when a lock is not granted."""
        ...

    def transaction(self, work: Callable[[Connection], Result]) -> Result:
        """Do work on a connection in one transaction, with the lock timeout, again when a lock is not granted.

        `work` runs once an attempt. MySQL commits each DDL statement by itself.
        """
        ...

    def quote(self, identifier: str) -> str:
        """Quote one identifier, or each part of `schema.table`."""
        ...

    def ident(self, name: str) -> str:
        """Quote one identifier, whatever it holds: a column's dot belongs to its name."""
        ...

    def own_table(self, name: str) -> str:
        """Quoted name of one of the library's own tables, kept where the user's tables are not (PostgreSQL: a schema
        `runbook`, created when missing); such tables never appear in `catalog`."""
        ...

    def close(self) -> None: ...

    # -- catalog ---
    def catalog(self, tables: Sequence[str] | None = None) -> dict[str, Table]:
        """Tables (all user tables, or these) with columns, indexes, constraints, triggers, estimates."""
        ...

    def tables(self) -> list[str]:
        """The names of all user tables, as `catalog` calls them; no lock is waited for."""

    def small_tables(self, tables: Sequence[str], most_bytes: int) -> list[str]:
        """Those of these tables, and of their partitions, whose rows take no more than so much (bytes)."""

    def expression_types(self, relation: str, expressions: Sequence[str]) -> tuple[str, ...]:
        """The engine's type of each expression over the relation, found without reading rows."""

    def sequences(self, tables: Sequence[str]) -> list[Sequence_]: ...

    def loose_sequences(self) -> list[Sequence_]:
        """Sequences that feed no column: only a copy of a whole database brings them along."""

    def set_sequence(self, sequence: Sequence_, last: int) -> None:
        """Make the next value the one after `last` in the sequence's direction; never moves it backwards."""

    def grants(self, tables: Sequence[str]) -> dict[str, frozenset[tuple[str, str]]]:
        """Table → (role as SQL, privilege) that somebody other than its owner was given on it."""

    def fingerprint(self, tables: Sequence[str], known: Mapping[str, Table] | None = None) -> str:
        """SHA-256 over the description of these tables (read now, or `known`) and types: drift is another value."""

    def definitions(self) -> dict[str, str]:
        """What stands beside the tables: the user's views, routines and types (`view name`), with their texts."""

    def inventory(self) -> Inventory:
        """Everything that the database has but our own objects, counted by the whole catalog; a handful of queries."""

    def schema_marks(self) -> dict[str, str]:
        """Kind and name of each table, partition, view and sequence → a text that is another when it was changed.

        Cheap, for being asked every few seconds: no lock, a query or two for all of them.
        """

    # -- schema ---
    def dump_schema(self, tables: Sequence[str]) -> tuple[str, str]:
        """The tables' DDL at full fidelity: (before data, after data) as SQL scripts of this engine.

        Before: extensions, types, functions, tables, sequences, defaults. After: indexes, constraints, triggers;
        foreign keys to tables outside the list are left out (the caller names them from the catalog).
        """

    def dump_rest(self, tables: Sequence[str]) -> Rest:
        """What the database has beside tables and what they need, for a copy of all of these tables."""

    def stages(self, after: str) -> list[list[str]]:
        """Cut a script of `dump_schema` into stages: the scripts of one stage may run side by side."""

    def about(self, scripts: Sequence[str], tables: Sequence[str]) -> list[str]:
        """For each script of `stages` the one of these tables that it is about; empty: several, or none."""

    def split_references(self, after: str) -> tuple[str, str]:
        """Cut the second script of `dump_schema` in two: everything but the foreign keys, and the foreign keys.

        Foreign keys of tables that are being synced can be added only at a moment when parents and children agree.
        """

    def drop_tables(self, tables: Sequence[str]) -> None:
        """Drop these tables with what `dump_schema` brings along for them (types, functions), unless others use it.

        Tables that are not there are passed over.
        """

    def run_script(self, script: str, *, again: bool = False) -> None:
        """Run an SQL script in one transaction where the engine allows it.

        `again`: a kill may have let it run in part, where DDL commits by itself: what is there by its name stays.
        """

    def try_scripts(self, scripts: Sequence[str], gone: Sequence[str] = (), undo: str = "") -> list[Refusal] | str:
        """Run scripts and undo all of it: what is refused. A text: why it cannot be tried here.

        Args:
            gone: Tables that are dropped before, with the types and functions that came with them.
            undo: The script that drops what depends on them.
        """

    def hazards(self, statements: Sequence[str], *, alone: bool, back: Sequence[str] = ()) -> list[Hazard]:
        """What these statements would hold up, break or lose, as the engine or its linter says; no table is touched.

        `alone`: each statement is its own transaction. `back`: those of the other direction: only what they would lose.
        """

    def run_online(self, statement: str, *, again: bool = False) -> None:
        """Carry out one statement without holding writers up for longer than the lock timeout, or not at all.

        `again`: an attempt before was cut off after it had changed the schema: only what is left of it is done.
        """

    def index_use(self) -> IndexUse:
        """How often each index was read, and since when that is counted."""

    def loud_triggers(self, tables: Sequence[str], *, silent: bool = False) -> list[LoudTrigger]:
        """The user's triggers of these tables that would fire for what the library writes, in their order of firing.

        None where the engine can silence them for a session. `silent`: also those that silence themselves for it.
        """
        ...

    def loud_in(self, script: str) -> LoudTrigger | None:
        """The trigger of that kind that a script of `stages` makes; None: it makes something else."""
        ...

    def take_history(self, reader: Database, tables: Mapping[str, str]) -> dict[str, str]:
        """Bring the old versions of rows of versioned tables from another database of this engine; table → why not.

        `tables`: at the reader → here, where they hold today's rows and nobody has written since.
        """
        ...

    # -- capture and apply ---
    def install_capture(self, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
        """Log the keys of every change of these tables (table → key columns) under this channel.

        Returns only when transactions older than the capture have ended (trap 4). Idempotent.
        """
        ...

    def capture_installed(self, channel: str) -> frozenset[str]:
        """The tables whose capture is complete and enabled."""
        ...

    def remove_capture(self, channel: str) -> None:
        """Remove triggers and logs of the channel; refuses nothing, loses the log. Idempotent."""
        ...

    def pending(self, channel: str) -> dict[str, Pending]:
        """Lag per captured table, each poll in a new transaction."""
        ...

    def read_changes(self, channel: str, table: str, limit: int, *, as_of: float | None = None) -> Changes:
        """Up to `limit` oldest log rows of a table; nothing is consumed.

        Fewer than `limit`: these are all that was committed by `as_of` (`time.monotonic`; None: by now).
        """
        ...

    def forget_changes(self, channel: str, changes: Changes) -> None:
        """Delete exactly these log rows: called after the target has committed."""
        ...

    def keep_up(self) -> None:
        """Let the server let go of what it keeps for this database's captures; cheap, to be called now and then."""
        ...

    def read_all(self, selections: Sequence[Selection]) -> list[list[tuple[Any, ...]]]:
        """All rows of each of these small selections, in the form of `read_rows`; together, where that is cheaper."""
        ...

    def read_rows(self, selection: Selection, keys: Rows) -> list[tuple[Any, ...]]:
        """The current rows of these keys: the selection's columns (the key is among them), plain Python values."""
        ...

    def apply_rows(self, table: str, key: Sequence[str], columns: Sequence[str], keys: Rows, rows: Rows) -> Applied:
        """Make the rows with these keys be exactly `rows` (upsert those given, delete the others) in one transaction.

        `columns` includes the key. Triggers, fences and foreign keys do not fire. Deletes come first; a unique
        conflict within the batch is resolved by a second pass; one outside raises RowRejected naming the rows.
        """
        ...

    def rehearsing(self) -> AbstractContextManager[None]:
        """What this thread writes inside by `apply_rows` is tried and rolled back: whether rows would fit."""
        ...

    # -- fence ---
    def prepare_fence(self, tables: Sequence[str]) -> None:
        """Install the (lowered) fence on these tables. Idempotent."""
        ...

    def raise_fence(self, tables: Sequence[str], *, timeout_s: float) -> float:
        """Turn writers of these tables away with a clear error, all tables in one transaction.

        Returns when every writer in flight has ended: the seconds that took. Raises CutoverAborted (fence lowered)
        when locks are not granted within the timeout.
        """
        ...

    def lower_fence(self, tables: Sequence[str]) -> None:
        """Let writers in again. Idempotent."""
        ...

    def fenced(self, tables: Sequence[str]) -> frozenset[str]: ...

    def remove_fence(self) -> None: ...

    # -- validation ---
    def count(self, selection: Selection) -> int: ...

    def range_sums(
        self, selection: Selection, types: Types, ranges: Sequence[KeyRange], *, canonical: bool
    ) -> list[RangeSum]:
        """Checksum each range inside the database: sum of row hashes (never xor) with the count of rows.

        `types` are the written table's types of the columns (key included): both sides hash the same types.
        `canonical=False` uses the engine's own record hash (same engine and version on both sides), True the
        canonical encoding.
        """
        ...

    def small_sums(self, asked: Sequence[tuple[Selection, Types]], *, canonical: bool) -> list[RangeSum]:
        """`range_sums` of all of each of these small selections, in one statement where that is cheaper."""
        ...

    def bucket_sums(
        self,
        selection: Selection,
        types: Types,
        key_range: KeyRange,
        count: int,
        *,
        canonical: bool,
        within: Buckets | None = None,
    ) -> dict[int, RangeSum]:
        """Checksum one range cut into `count` buckets, in one pass; empty buckets are left out.

        Buckets are of the rows' keys; without a key the last bits of the rows' hashes. `within` leaves only the rows
        of the chosen (larger) buckets.
        """
        ...

    def row_sums(
        self, selection: Selection, types: Types, key_range: KeyRange, *, canonical: bool, within: Buckets | None = None
    ) -> dict[tuple[Any, ...], str]:
        """The hash of each row of one (small) range by key; without a key: each hash with its count of rows."""
        ...

    def rows_hashed(
        self, selection: Selection, types: Types, hashes: Sequence[str], *, canonical: bool
    ) -> dict[str, Alike]:
        """How many rows have each of these (few) hashes, and one of them; reads the whole selection once."""
        ...

    def recount_rows(
        self,
        table: str,
        columns: Sequence[str],
        selection: Selection,
        types: Types,
        changes: Mapping[str, Recount],
        *,
        canonical: bool,
    ) -> Applied:
        """Make rows without a key be there as often as told, in one transaction, as silently as `apply_rows`.

        `changes` are by the hash of `selection`; `columns` are what a row gives. Refused: the counts of now are others.
        """
        ...

    # -- housekeeping ---
    def load(self) -> Load: ...  # how busy it is now; DatabaseError when the login may not see it

    def analyze(self, tables: Sequence[str]) -> None: ...

    def backup(self, directory: Path, *, jobs: int = 2, on_progress: Callable[[int], None] | None = None) -> BackupInfo:
        """A complete logical backup in the engine's own format, with its digest."""
        ...

    def restore(self, backup: BackupInfo, database: str) -> None:
        """Restore a backup into a new scratch database of this server."""
        ...

    def scratch(
        self, backup: BackupInfo, when_filled: Callable[[Database], object] | None = None
    ) -> AbstractContextManager[Database]:
        """A backup restored into a new scratch database and opened; dropped at the end, whatever happens.

        Args:
            when_filled: Called once, with the database whose rows are all in; beside the building of its indexes and
                constraints, where the engine does that afterwards.
        """
        ...

    def advisory_lock(self, name: str) -> AbstractContextManager[bool]:
        """A session lock that dies with the connection; yields whether it was granted (never waits)."""
        ...
