"""Which tables in a user's database are the library's own: those whose name is registered here *and* whose columns are.

A name alone says nothing: a user's `runbook_entries` or `runbook_ranges` is theirs, is moved like any other table, and
keeps the library from making its own of that name. What earlier versions made is recognized in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import own_name
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.port import Database

PREFIX = "runbook_"  # MySQL and SQLite have no schemas inside a database: our tables and triggers start with this
SCHEMA = "runbook"  # PostgreSQL: they are all in it
PROOF = "runbook_proof"  # first column of a scratch table whose others are a user's

# Name without prefix → the columns that each engine's table of that name has, or had.
REGISTERED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "later": (("service", "kind", "stage", "ordinal", "script"),),
    "ranges": (("channel", "table_name", "ordinal", "bounds", "rows_estimate", "rows_done"),),
    "batches": (("channel", "ordinal", "bounds", "done"),),
    "schema_shapes": (("version", "shape", "recorded_at"),),
    "schema_marks": (("version", "direction", "number", "state"),),
    "captures": (
        ("channel", "table_name", "log", "key_columns", "key_types", "generation", "installed_at"),  # MySQL
        ("channel", "table_name", "own_name", "log", "key_columns", "triggers"),  # SQLite
        ("channel", "table_name", "relation", "log", "function", "key_columns", "key_types", "installed_at"),
        ("channel", "table_name", "relation", "log", "function", "key_columns", "key_types", "installed_at", "members"),
    ),
    "fences": (("relation", "raised", "since"), ("table_name", "since"), ("relation", "since")),
    "session": (("sync",),),  # SQLite
    "held": (("channel", "table_name", "reason", "refused"),),
    "losses": (("channel", "table_name", "why", "at"), ("id", "channel", "table_name", "why", "at")),
    "slots": (("channel", "spooled", "lost"),),  # PostgreSQL
}
LOG = "log_"  # of a channel and a table: named by `own_name`
LOGGED = (("seq", "at", "truncated"), ("seq", "at"))  # and k0, k1, … after them
TRIED = "try"  # an empty clone of a user's table, on which a statement is tried


def is_own(name: str, columns: Sequence[str]) -> bool:
    """Whether a table of this name (without prefix or schema) and these columns is the library's own."""
    listed = tuple(columns)
    if listed in REGISTERED.get(name, ()):
        return True
    if name == "archive_proof":
        return listed[:1] == (PROOF,)
    keys = tuple(column for column in listed if column[:1] == "k" and column[1:].isdigit())
    return name.startswith(LOG) and keys != () and any(listed == (*head, *keys) for head in LOGGED)


def own_tables(columns: Mapping[str, Sequence[str]], others: Iterable[str] = ()) -> frozenset[str]:
    """Of these tables (name with prefix → columns) the library's own; `others`: the user's, for clones of them."""
    found = {name for name, listed in columns.items() if is_own(name.removeprefix(PREFIX), listed)}
    tried = [name for name in columns if name.startswith(f"{PREFIX}{TRIED}_")]
    if tried:
        clones = {own_name(f"{PREFIX}{TRIED}", spelled) for name in others for spelled in (name, f"`{name}`")}
        found |= clones & set(tried)
    return frozenset(found)


def bare(tables: Iterable[str]) -> frozenset[str]:
    """Our own tables by what `own_table` is asked for: without their prefix."""
    return frozenset(name.removeprefix(PREFIX) for name in tables)


def needed(path: Sequence[str], dialect: str) -> bool:
    """Whether a table of this name (its parts) would be where the library has, or will have, one of its own."""
    if dialect == "postgresql":
        return len(path) > 1 and path[0] == SCHEMA
    name = path[-1].removeprefix(PREFIX)
    return name != path[-1] and (name in REGISTERED or name == "archive_proof")


def is_there(database: Database, name: str) -> bool:
    """Whether one of our own tables is there. Nothing is made: `own_table` would make the schema."""
    from sqlalchemy import inspect  # here: most comparisons need none of it

    table, schema = dialect_of(database.dialect).own_place(name)
    return inspect(database.engine).has_table(table, schema=schema)


def make(database: Database, name: str, columns: str) -> str:
    """Make one of our own tables of texts where it is missing; its quoted name.

    What it holds are users' names and scripts: `Case` is not `case`, and no text is too foreign, whatever the database
    has by default. One that an earlier version made is converted.
    """
    table = database.own_table(name)
    mysql = database.dialect == "mysql"
    database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}){' ENGINE = InnoDB ' + _EXACT if mysql else ''}")
    if mysql and database.rows(_OTHERWISE, {"name": PREFIX + name}):
        database.execute(f"ALTER TABLE {table} CONVERT TO {_EXACT}")
    return table


_EXACT = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_OTHERWISE = """
SELECT 1 FROM information_schema.tables
WHERE table_schema = database() AND table_name = :name AND table_collation <> 'utf8mb4_bin'
"""


def taken(database: str, name: str) -> DatabaseError:
    """The refusal to make an own object where a user's is."""
    return DatabaseError(
        f"{database}.{name}",
        "is not the library's, which needs that name for a table of its own",
        expected=f"no object called {name}",
        state="nothing was made",
        action="rename it, or use another database",
    )


def taken_schema(database: str) -> DatabaseError:
    """The same where a user's schema is."""
    return DatabaseError(
        f"{database}: schema {SCHEMA}",
        "is not the library's, which keeps its tables in a schema of that name: a user's objects are in it",
        expected=f"no schema called {SCHEMA}",
        state="nothing was made",
        action=f"ALTER SCHEMA {SCHEMA} RENAME TO … for the time of the migration, or use another database",
    )
