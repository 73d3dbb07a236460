"""How adapters describe things: servers, tables with columns, indexes, constraints; what a change would do; and what
goes through the port: rows to read, key ranges, problems.

A *relation* is the text of an SQL FROM clause, an *expression* SQL of the engine that evaluates it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Column:
    """One column as the catalog describes it."""

    name: str
    type: str  # the engine's own text, e.g. "character varying(40)"
    nullable: bool = True
    default: str | None = None
    generated: bool = False  # computed by the engine: excluded from copying, included in comparing
    identity: str = ""  # "", "always", "by default", "serial", "auto_increment"
    collation: str = ""
    ordinal: int = 0


@dataclass(frozen=True)
class Index:
    """One index, comparable across databases: names are left out of its definition."""

    name: str
    columns: tuple[str, ...]  # expressions appear as their text
    unique: bool = False
    definition: str = ""  # normalized, without names
    valid: bool = True
    partial: bool = False
    constraint: bool = False  # backs a primary key, unique or exclusion constraint


@dataclass(frozen=True)
class Constraint:
    """One constraint, comparable across databases: names are left out of its definition."""

    name: str
    kind: str  # primary | unique | foreign | check | exclusion | not_null
    columns: tuple[str, ...]
    definition: str = ""  # normalized, without names
    validated: bool = True
    referenced_table: str = ""


@dataclass(frozen=True)
class Table:
    """One table as its catalog describes it. `key` is the primary key, or the unique index that serves as one.

    `inherited`: it has children by plain inheritance, whose rows a statement without ONLY would take for its own.
    `incarnation` is another text after the table was recreated, emptied by TRUNCATE or loaded from a backup.
    """

    name: str
    schema: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    triggers: tuple[str, ...] = ()
    rows_estimate: int = 0
    size_bytes: int = 0
    comment: str = ""
    partitioned: bool = False
    inherited: bool = field(default=False, compare=False)
    incarnation: str = field(default="", compare=False)

    @property
    def only(self) -> str:
        """What stands before its quoted name in a FROM clause, so that just its own rows are read."""
        return "ONLY " if self.inherited else ""

    def column(self, name: str) -> Column:
        return {column.name: column for column in self.columns}[name]


@dataclass(frozen=True)
class FiringTrigger:
    """A user's trigger that fires for rows that the library writes, because its engine can silence none for a session.

    `text` is as `Table.triggers` has it; `script` and `drop` are for `run_script`, `client` is for a person's client.
    `blocked`: why this login could not make it again as it is; "" where it can.
    """

    name: str
    table: str
    text: str
    script: str
    drop: str
    client: str
    blocked: str = ""


@dataclass(frozen=True)
class ServerFacts:
    """Who answers: for the pre-flight and the evidence. Sizes in bytes."""

    dialect: str
    version: tuple[int, ...]
    version_text: str
    encoding: str
    collation: str
    size_bytes: int
    max_connections: int
    read_only: bool
    data_directory_free_bytes: int | None = None


@dataclass(frozen=True)
class Sequence_:
    """A sequence that feeds a column: `last` is None when it was never called.

    `column` is empty where its values are not the sequence's: it feeds an expression.
    """

    name: str
    table: str
    column: str
    last: int | None
    increment: int = 1
    start: int = 1


@dataclass(frozen=True)
class Hazard:
    """What a statement (its number, from 1) would hold up or break: the linter's rule, why, and what to do instead."""

    rule: str
    statement: int
    text: str
    action: str = ""


@dataclass(frozen=True)
class Problem:
    """Something a check found before anything was done. `blocking` problems stop the step."""

    subject: str
    text: str
    action: str = ""
    blocking: bool = True
    count: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class IndexUse:
    """How often indexes were read since statistics were last reset.

    Attributes:
        reads: (table, index) to the count; an index without a count is not in it.
        since_s: For how long it was counted (seconds); None: nobody knows.
        missing: Why there are no counts; "" when there are.
    """

    reads: Mapping[tuple[str, str], int]
    since_s: float | None = None
    missing: str = ""


@dataclass(frozen=True)
class Refusal:
    """An object that a database refuses to make, and its reason; `table` is empty where it stands by itself."""

    kind: str
    name: str
    table: str
    why: str


@dataclass(frozen=True)
class OtherObjects:
    """Objects of a schema that no table needs (views, routines): their kinds and names, and the script that makes them.

    The script runs in one transaction where the engine allows it, after the tables are complete.
    """

    names: tuple[str, ...] = ()
    script: str = ""
    undo: str = ""  # drops them where they are there
    tables: tuple[str, str] | None = None  # the tables' own scripts, as `dump_schema` gives them, if known by the way
    texts: Mapping[str, str] = field(default_factory=dict)  # MySQL: what each of them is, by its name in `names`


@dataclass(frozen=True)
class CatalogObject:
    """One thing that a database has, as its catalog describes it.

    Attributes:
        kind: What it is, in the field's words and singular: table, partition, view, index, foreign key, check
            constraint, trigger, rule, policy, row security, function, enum, domain, comment, grant, …
        name: Its name, the same in every database that has it: with its schema, routines with their arguments.
        table: The table that it belongs to, as `catalog` calls it (a partition's is the root); empty: to none.
        definition: What it does, in the engine's words, without anything that differs between two databases which
            do the same: two objects of one kind and name are the same where the definitions are.
        statement: SQL that makes it at a database which has what it belongs to, where there is such a statement.
        needs: What it takes outside of the database: `role x`, `tablespace x`, `extension x` (that can be installed),
            `member x` (a login that is x, or a member of it).
        columns: Of an index or a constraint: its columns, by which engines find its counterpart.
        refers: Other tables, as `catalog` calls them, that it cannot be without.
    """

    kind: str
    name: str
    table: str = ""
    definition: str = ""
    statement: str = ""
    needs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    refers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """Everything that a database has.

    Attributes:
        objects: What the readers describe, each thing once; a kind without a reader with its name alone.
        counts: Kind → how many there are (count), by the engine's whole catalog and independently of the readers: what
            is counted and not described is lost somewhere between.
        outside: What there is of this outside of the database, as `needs` calls it.
        login: The role that what this login makes belongs to; empty: the engine knows no owners.
        own: Which of the library's own tables are there, as `own_table` is asked for them.
    """

    objects: tuple[CatalogObject, ...]
    counts: Mapping[str, int]
    outside: frozenset[str] = frozenset()
    login: str = ""
    own: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BackupInfo:
    """A backup that was taken, and what proves it unchanged."""

    path: Path
    size_bytes: int
    sha256: str
    elapsed_s: float
    tables: int


@dataclass(frozen=True)
class Load:
    """How busy a server is.

    Attributes:
        active: Sessions at work (count), without the one that asks.
        lag_s: How far behind: of a primary its slowest replica, of a replica itself (seconds).
        lag_bytes: The same in bytes of the log, where the engine says so.
        replicates: Of a replica: whether it does. None: this is none, or the login may not see it.
    """

    active: int = 0
    lag_s: float = 0.0
    lag_bytes: int = 0
    replicates: bool | None = None


@dataclass(frozen=True)
class Pending:
    """Lag: a count of pending keys plus the age of the oldest, never `now - last replay`."""

    keys: int
    oldest_s: float


@dataclass(frozen=True)
class Applied:
    """What one batch did at the target (counts of rows)."""

    upserted: int
    deleted: int


@dataclass(frozen=True)
class Buckets:
    """Some of a range's rows: those whose keys fall into the `chosen` of `count` buckets (a power of two).

    A key's bucket is the same on every engine: the low bits of a single integer key, otherwise of the canonical hash
    of the key (two databases that hash records alike may take their own hash). Of a table without a key the last bits
    of the row's hash are its bucket.
    """

    count: int
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)  # tens of thousands of them are compared with each other
class RangeSum:
    """Checksum of one range: order-independent sum of row hashes, with the count of rows."""

    rows: int
    digest: str


@dataclass(frozen=True)
class EqualRows:
    """Rows of one hash: how many there are (count), and one of them as `recount_rows` takes it."""

    count: int
    row: tuple[Any, ...]


@dataclass(frozen=True)
class Recount:
    """Rows of one hash at a target: how many there are now and shall be (counts), and such a row (if any is added)."""

    now: int
    then: int
    row: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Changes:
    """Keys taken from a capture log: `seqs` are forgotten once applied, `keys` are distinct.

    Key values follow the same rule as in KeyRange: int, or the engine's text form.
    """

    table: str
    seqs: tuple[int, ...]
    keys: tuple[tuple[Any, ...], ...]
    truncated: bool = False


@dataclass(frozen=True)
class Selection:
    """Rows to read: expressions over a relation, in key order.

    Attributes:
        relation: FROM clause, e.g. `"public"."users" AS s`.
        key: Expressions of the key, in order (not null, unique together); empty: no usable key.
        columns: Expressions to read, in order, already cast to the written table's types.
        where: Condition, or empty.
        never_null: Those of `columns` that hold no NULL, and that have exactly the written types. Both sides of a
            comparison are given the same: with it an engine may choose a cheaper hash that is as exact.
        as_stored: What an engine that keeps any value in any column gives as it is stored (databases/as_stored.py):
            "" nothing, a value that its column's type does not have is an error; "misfits" such values; "all" values.
            For comparing only.
    """

    relation: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    where: str = ""
    never_null: tuple[str, ...] = ()
    as_stored: str = ""


@dataclass(frozen=True)
class KeyRange:
    """Rows with after < key <= upto, in the engine's own binary order of the key; None is unbounded.

    A bound is a key tuple whose values are int, or str in the engine's text form that the adapter casts back to the
    key's type: bounds are stored as JSON and must survive that exactly. `ordinal` is the range's number in the table
    (0-based).
    A range of a table without a key is a block range (PostgreSQL ctid): `kind="blocks"`, values (block,).
    """

    ordinal: int
    after: tuple[Any, ...] | None = None
    upto: tuple[Any, ...] | None = None
    rows_estimate: int = 0
    kind: str = "key"


Catalogs = tuple[Mapping[str, Table], Mapping[str, Table]]  # of a migration's two databases, each by its tables' names
