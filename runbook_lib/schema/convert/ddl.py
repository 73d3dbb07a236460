"""The statements that make a translated schema, in its target's words: rendered last, read by nobody but the engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from runbook_lib.databases.dialect import Dialect, dialect_of
from runbook_lib.databases.repair import Definition
from runbook_lib.schema.convert.target_schema import TargetColumn, TargetIndex, TargetSchema, TargetTable


class Scripts(NamedTuple):
    """Tables; then primary keys, indexes and comments; then foreign keys."""

    before: str
    after: str
    references: str


def scripts(schema: TargetSchema) -> Scripts:
    """The scripts that make the schema: before the rows are loaded, and afterwards."""
    dialect = dialect_of(schema.target)
    before, after, references = list[str](), list[str](), list[str]()
    for table in schema.tables.values():
        before.append(f"{create_table(table, dialect)};")
        if table.key and dialect.keys_after_load:
            after.append(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({', '.join(table.key)});")
        after += [f"{create_index(table, index)};" for index in table.indexes]
        if table.table.comment and (said := dialect.comment_on(table.name, table.table.comment)):
            after.append(said)
        if dialect.alters_constraints:
            keys = [f"ADD CONSTRAINT {each.name} {each.definition}" for each in table.references]
            references += [f"ALTER TABLE {table.name} {key};" for key in keys]
    return Scripts(*(_script(list(map(dialect.marked, part))) for part in (before, after, references)))


def _script(statements: Sequence[str]) -> str:
    return "\n".join(statements) + "\n" if statements else ""


def definition(table: TargetTable, target: str) -> Definition | None:
    """What makes one table again; None where the source is of the same engine and its words are not known."""
    if not table.columns:
        return table.dumped
    indexes = ";\n".join(create_index(table, index) for index in table.indexes)
    return Definition(partial(create_table, table, dialect_of(target)), lambda: indexes)


def create_table(table: TargetTable, dialect: Dialect, name: str = "") -> str:
    """CREATE TABLE, under another (quoted) name if one is given."""
    lines = [_line(column) for column in table.columns.values()]
    counted = any(column.counter.whole for column in table.columns.values())
    if table.key and not dialect.keys_after_load and not counted:
        lines.append(f"PRIMARY KEY ({', '.join(table.key)})")
    lines += [
        f"CONSTRAINT {c.name} CHECK ({c.condition})" if c.name else f"CHECK ({c.condition})" for c in table.checks
    ]
    if not dialect.alters_constraints:
        lines += [each.definition for each in table.references]
    options = dialect.table_options(table.table.comment)
    return f"CREATE TABLE {name or table.name} (\n  " + ",\n  ".join(lines) + f"\n){options}"


def _line(made: TargetColumn) -> str:
    """A column's whole definition."""
    if made.counter.whole:
        return f"{made.name} {made.counter.clause}"
    parts = [made.name, made.type]
    if made.column.generated:
        return " ".join([*filter(None, parts), f"GENERATED ALWAYS AS ({made.column.default}) STORED"])
    parts += ["NOT NULL" if made.required else "", made.counter.clause]
    parts += [f"DEFAULT {made.column.default}" if made.column.default else ""]
    parts += [f"CHECK ({made.check})" if made.check else ""]
    return " ".join(filter(None, parts))


def create_index(table: TargetTable, index: TargetIndex) -> str:
    """CREATE INDEX."""
    return f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {index.name} ON {table.name} {index.body}"
