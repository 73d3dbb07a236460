"""What an engine's SQL looks like: all that differs between engines as text, without a connection or a driver.

`dialect_of(name)` gives the engine's own (`databases/dialects/`): nobody else compares the names of engines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import cast

from runbook_lib.databases.capabilities import Capabilities
from runbook_lib.databases.identifiers import ident, split
from runbook_lib.databases.model import CatalogObject, Index, Sequence_
from runbook_lib.databases.neutral_type import MappedType, Neutral
from runbook_lib.databases.repair import Repair
from runbook_lib.databases.values import Values

ENGINES = ("postgresql", "mysql", "sqlite")
_ALSO = {"postgres": "postgresql", "mariadb": "mysql"}
SPELLINGS = (*ENGINES, *_ALSO)  # as an engine may be called where a person writes it
# Of collations: all texts differ; trailing spaces do not count; case or accents do not count.
EXACT, PADDED, BLIND = "exact", "padded", "blind"


@dataclass(frozen=True)
class Counter:
    """What makes a column a counter.

    Attributes:
        clause: Of its definition; empty: it is none.
        identity: As the engine's catalog shows it (`Column.identity`).
        whole: The clause stands in place of its type, and makes it the primary key.
        missing: Why it cannot be one, although it is one at the source.
    """

    clause: str = ""
    identity: str = ""
    whole: bool = False
    missing: str = ""


class Dialect(Values):
    """One engine: what it has, and how it writes what each engine writes in its own way.

    Attributes:
        name: As adapters, plans and journals call the engine.
        driver: What SQLAlchemy calls it with its driver.
        capabilities: What it can do, with the words of a refusal.
        in_file: A database is a file, and its URL a path.
        libpq: Its client library reads URLs, and finds passwords by itself (pgpass, services).
        keeps_journal: It may keep a run's journal: `append_only` holds for everybody, commits are durable.
        clock: Seconds since the epoch by the server's clock, in SQL; "" where it has no clock of its own.
        default_port: Where its servers listen unless told otherwise; 0: it has none.
        longest_name: Of a table, column, index or constraint, and in what it is counted.
        firing_triggers: No session can keep the users' triggers from firing for its own rows.
        trigger_functions: A trigger calls a function; elsewhere its body is the statement itself.
        states_columns_whole: A column is changed by stating its whole definition again, the default too.
        no_default: Clause of ALTER COLUMN after which a row may leave the column out.
        long_text: The type of a text of any length.
        longest_row: Of a table (bytes); 0: no limit that a translation meets.
        text_collation: In which a column of text is made; "" the database's.
        today: The date of today, as a default.
        random_uuid: A random UUID, as a default.
        user_types: Its users define types (enums, domains).
        types_by_values: A type may stand for two (a boolean or a number): the values decide which is meant.
        exclusion_constraints: It has them.
        partial_indexes: It has indexes with a condition.
        prefix_indexes: An index holds the first characters of a text, and of a long one it has to.
        shows_index_expressions: Its catalog shows the expressions of an index as its columns.
        indexes_foreign_keys: Every foreign key gets an index that nobody asked for.
        on_update_defaults: A default may have an ON UPDATE behind it.
        generates_from_counters: A generated column may read a counter's column.
        table_comments: It keeps comments on tables.
        alters_constraints: ALTER TABLE adds and drops constraints; else they are named and made with their table only.
        keys_after_load: A primary key is made after the load: sorting once is cheaper than finding each row its place.
        keys_take_null: A column of the primary key may be NULL.
        shared_names: Tables, indexes and counters share their names.
        checks_references: A foreign key is checked for its types and its parent's key when it is made.
        references_indexes: A foreign key may refer to the first columns of any index.
        references_same_size: Numbers of a foreign key have to be of one size and sign.
        folds_case: Columns whose names differ only in case are one.
        tables_by_case: Tables whose names differ only in case are two.
        schemas: A database has schemas; a "schema" of MySQL's SQL is a database, with all its tables.
        backslash_escapes: A backslash escapes in every text.
        escape_strings: It has texts with escapes (E'…').
        charset_introducers: A character set may stand before a text (_utf8mb4'…').
        join_power: How strongly `||` binds (expression_tree's powers); None: it joins no texts.
        cascades_fire_triggers: A row that a foreign key changes fires the triggers of its table.
        enforces_keys: A validated foreign key holds, byte by byte, whatever a session asked for.
        widest_number: The type that keeps every digit of another engine's numbers; "" where the declared one does.
        most_digits: Of a number, and those after the point, where it limits them: for those of no declared scale, too.
        own_schema: The schema of the library's own tables; "" where their names begin with `runbook_`.
        repair: Statements that bring one table into its expected form.
        repairs_objects: Statements are known that make and change what stands beside tables (`repair_object`).
    """

    name: str
    driver: str
    capabilities: Capabilities
    in_file: bool = False
    libpq: bool = False
    keeps_journal: bool = False
    clock: str = ""
    default_port: int
    longest_name: tuple[int, str]
    repair: type[Repair]
    repairs_objects: bool = False
    longest_row: int = 0
    firing_triggers: bool = False
    trigger_functions: bool = False
    states_columns_whole: bool = False
    no_default: str = "DROP DEFAULT"
    long_text: str = "TEXT"
    own_schema: str = ""
    text_collation: str = ""
    today: str = "CURRENT_DATE"
    random_uuid: str
    # What its catalog and its statements have.
    user_types: bool = False
    types_by_values: bool = False
    exclusion_constraints: bool = False
    partial_indexes: bool = True
    prefix_indexes: bool = False
    shows_index_expressions: bool = True
    indexes_foreign_keys: bool = False
    on_update_defaults: bool = False
    generates_from_counters: bool = True
    table_comments: bool = True
    alters_constraints: bool = True
    keys_after_load: bool = False
    keys_take_null: bool = False
    shared_names: bool = True
    # What a foreign key may refer to.
    checks_references: bool = True
    references_indexes: bool = False
    references_same_size: bool = False
    # How it reads SQL.
    folds_case: bool = True
    tables_by_case: bool = True
    schemas: bool = False
    backslash_escapes: bool = False
    escape_strings: bool = False
    charset_introducers: bool = False
    join_power: int | None = None
    cascades_fire_triggers: bool = True
    enforces_keys: bool = False
    widest_number: str = ""
    most_digits: tuple[int, int] | None = None

    def ident(self, name: str) -> str:
        """One identifier, quoted, whatever it holds (dots too)."""
        return ident(name)

    def parts(self, name: str) -> tuple[str, ...]:
        """A table's name, with its schema before it where the engine has schemas."""
        return split(name)

    def quoted(self, name: str) -> str:
        """An identifier, or each part of `schema.table`, quoted; a part that holds a dot comes in quotes."""
        return ".".join(map(self.ident, self.parts(name)))

    def own_place(self, name: str) -> tuple[str, str | None]:
        """One of the library's own tables, as a catalog is asked for it: its name, and its schema."""
        return (name, self.own_schema) if self.own_schema else (f"runbook_{name}", None)

    def create_index(self, index: str, table: str, columns: str, *, unique: bool = False, method: str = "") -> str:
        """Build an index beside the writers, where the engine can; names come quoted."""
        return f"CREATE {'UNIQUE ' if unique else ''}INDEX {index} ON {table} {columns}"

    def drop_index(self, index: str, table: str) -> str:
        """Drop an index beside the writers, where the engine can; names come quoted."""
        return f"DROP INDEX {index}"

    def drop_column(self, table: str, column: str, indexes: Sequence[str]) -> list[str]:
        """Drop a column with what hangs on it; names come quoted.

        Args:
            indexes: Those that hold the column.
        """
        return [f"ALTER TABLE {table} DROP COLUMN {column} CASCADE"]

    def add_constraint(self, table: str, name: str, definition: str) -> list[str]:
        """Add a constraint with as little locking as the engine can; names come quoted."""
        return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"]

    def set_not_null(self, table: str, column: str, kind: str, check: str) -> list[str]:
        """Forbid NULL in a column; names come quoted.

        Args:
            kind: The column's type, with what else its definition has.
            check: A name for the check that proves it on the way.
        """
        return [
            *self.add_constraint(table, check, f"CHECK ({column} IS NOT NULL)"),
            f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL",
            f"ALTER TABLE {table} DROP CONSTRAINT {check}",
        ]

    def drop_not_null(self, table: str, column: str, kind: str, check: str) -> list[str]:
        """What undoes `set_not_null`, from the middle of it too."""
        return [
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}",
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL",
        ]

    def transaction_lock(self, key: int) -> str:
        """Wait for the key, and hold it to the transaction's end; "" where every writer waits for every other one."""
        return ""

    def append_only(self, table: str, refusal: str) -> list[str]:
        """Statements after which the table's rows are neither changed nor deleted; the refusal is what is said then."""
        raise NotImplementedError

    def same(self, one: str, other: str) -> str:
        """The condition that two expressions have one value: NULL like NULL, texts byte by byte."""
        return f"{one} IS NOT DISTINCT FROM ({other})"

    def emptied(self, tables: Sequence[str]) -> list[str]:
        """Statements that remove all rows of tables, given parents first; names come quoted.

        MySQL's TRUNCATE refuses what a foreign key leads to, SQLite has none.
        """
        return [f"DELETE FROM {table}" for table in reversed(tables)]

    def repair_object(self, there: CatalogObject | None, here: CatalogObject | None) -> str:
        """Make an object beside columns, indexes and constraints (`here`) what the source's (`there`) is.

        None: it is not there. "": no statement is known.
        """
        return ""

    def rename_index(self, table: str, index: Index, name: str) -> list[str]:
        """Give an index another name (quoted, as its table is): by making it again where no statement renames it."""
        body = re.sub(r"^(UNIQUE )?(\w+ )?(?=\()", "", index.definition)
        made = f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {name} ON {table} {body}"
        return [self.drop_index(self.ident(index.name), table), made]

    def rename_counter(self, sequence: str, name: str) -> str:
        """Give a sequence (quoted) another name; "" where counters have none of their own."""
        return ""

    def made_partition(self, new: CatalogObject, there: Iterable[CatalogObject]) -> str:
        """The statements, for one transaction, that make a partition of a table that is there."""
        return f"CREATE TABLE {new.name} {new.definition}"

    # -- types and expressions ---
    def read_kind(self, declared: str, name: str, kind: str, modifiers: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """A neutral kind and its modifiers, where this engine's type is another than its name says.

        Args:
            declared: The type's text in small letters.
            name: The same without modifiers.
        """
        return kind, modifiers

    def write_type(self, neutral: Neutral, key_parts: int) -> MappedType:
        """A neutral type as this engine's.

        Args:
            key_parts: In a key or unique index: how many text columns share it (0: in none).
        """
        raise NotImplementedError

    def key_type(self, kind: str) -> str:
        """The type of a column that is a table's key by itself and no counter."""
        return kind

    def collation(self, name: str) -> str:
        """How texts of a collation compare: EXACT, PADDED or BLIND."""
        raise NotImplementedError

    def string(self, value: str) -> str:
        """A text as a literal, under the settings of our sessions."""
        return "'" + value.replace("'", "''") + "'"

    def boolean(self, *, value: bool) -> str:
        """A boolean as a literal."""
        return str(int(value))

    def date(self, text: str) -> str:
        """A date as a literal."""
        return f"'{text}'"

    def text_default(self, literal: str, kind: str) -> str:
        """A text's literal as the default of a column of this neutral kind."""
        return literal

    def now(self, *, zone: bool, digits: int) -> str:
        """The moment, as a default: with its zone or as UTC's clock, with so many digits of a second."""
        raise NotImplementedError

    def bytewise(self, sql: str) -> str:
        """A text that is compared by its bytes, trailing spaces too."""
        return sql

    def large(self, sql: str) -> str:
        """An integer that does not overflow where 64 bits hold the result."""
        return sql

    def joined(self, one: str, other: str, wrapped: Callable[[str], str]) -> str:
        """Two texts in one."""
        return f"{wrapped(one)} || {wrapped(other)}"

    def first_part(self, column: str, length: int, *, binary: bool) -> str:
        """The first characters (bytes) of a quoted column, as an index has them."""
        raise NotImplementedError

    # -- texts as another engine's keys see them ---
    def overlooks(self, collation: str, *, padded: bool) -> tuple[bool, bool, bool]:
        """Whether a key overlooks case, accents, and spaces at the end.

        Args:
            padded: The column is a CHAR.
        """
        raise NotImplementedError

    def text(self, sql: str) -> str:
        """A column as a text."""
        return sql

    def without_case(self, sql: str, *, accents: bool) -> str:
        """A text without its case, and without its accents if wanted."""
        raise NotImplementedError

    def without_trailing(self, sql: str) -> str:
        """A text without the spaces at its end."""
        return f"rtrim({sql}, ' ')"

    def recollated(self, sql: str, collation: str) -> str:
        """A text under another collation of this engine; "" where keys of two collations are told apart otherwise."""
        return ""

    def same_bytes(self, one: str, other: str, *, text: bool) -> str:
        """Equal as a target compares: texts by their bytes."""
        return f"{one} = {other}"

    def alike(self, one: str, other: str) -> str:
        """Texts that are equal but for case and trailing spaces."""
        return f"lower(rtrim({one})) = lower(rtrim({other}))"

    # -- a table's DDL ---
    def table_options(self, comment: str) -> str:
        """What stands behind the columns of CREATE TABLE."""
        return ""

    def comment_on(self, table: str, comment: str) -> str:
        """The statement that comments on a table; "" where there is none of its own."""
        return ""

    def counter(self, *, alone: bool, first: bool) -> Counter:
        """What makes a column a counter, or why it cannot be one.

        Args:
            alone: It is the primary key.
            first: The primary key begins with it.
        """
        raise NotImplementedError

    def marked(self, statement: str) -> str:
        """A statement of a script as the adapter cuts the script by."""
        return statement

    def advance(self, sequence: Sequence_, last: int) -> str:
        """Make a sequence's next value the one after `last`; "" for a counter that is never behind its column."""
        return ""


def engine_named(word: str) -> str:
    """The engine that a word means, or the beginning of a URL (`mariadb+pymysql`); "" for no engine's."""
    name = word.partition("+")[0].lower()
    return name if name in ENGINES else _ALSO.get(name, "")


@cache
def dialect_of(name: str) -> Dialect:
    """The dialect of an engine, as its adapter names it."""
    return cast(Dialect, import_module(f"runbook_lib.databases.dialects.{name}").DIALECT)
