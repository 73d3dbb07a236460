"""Types that depend on the values which are there: a MySQL tinyint(1) that counts, an unsigned bigint that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Database, Table
from runbook_lib.schema.convert.decisions import Decision, Policies
from runbook_lib.schema.convert.types import Neutral, read_type

LAST_BIGINT = 2**63 - 1
DATES = ("date", "timestamp", "timestamptz")
INTEGERS = ("tinyint", "smallint", "integer", "bigint")


def as_measured(
    tables: Mapping[str, Table], source: Database, policies: Policies
) -> tuple[dict[str, Table], list[Decision]]:
    """The tables with the types that their values ask for, and a decision for each.

    See docs/correctness.md#unsigned-numbers-tinyint1-and-bits.
    What the plan decides itself is left alone. One pass over each table that has such a column.
    """
    if not dialect_of(source.dialect).types_by_values:
        return dict(tables), []
    found: dict[str, Table] = {}
    decisions: list[Decision] = []
    for name, table in tables.items():
        doubtful = [c for c in table.columns if _asks(read_type(c.type, "mysql")) and not _decided(table, c, policies)]
        types, zeros = _measured(table, doubtful, source), _with_zero_dates(table, source, policies)
        columns = tuple(replace(c, type=types[c.name][0]) if c.name in types else c for c in table.columns)
        columns = tuple(replace(c, nullable=True) if c.name in zeros else c for c in columns)
        found[name] = replace(table, columns=columns)
        decisions += [Decision(f"{table.name}.{column}", what, chosen) for column, (chosen, what) in types.items()]
        decisions += [Decision(f"{table.name}.{column}", "has zero dates", "takes NULL") for column in zeros]
    return found, decisions


def as_made(
    tables: Mapping[str, Table], made: Mapping[str, Table], dialect: str, policies: Policies
) -> dict[str, Table]:
    """MySQL's tables with the types for which the values had decided when the target's were made.

    Nothing is measured again: whether the values fit is the affair of whoever compares the rows.

    Args:
        made: The target's tables, by the same names.
        dialect: The target's.
    """
    return {
        name: _as_made(table, made[name], dialect, policies) if name in made else table
        for name, table in tables.items()
    }


def _as_made(table: Table, made: Table, dialect: str, policies: Policies) -> Table:
    kinds = {column.name: read_type(column.type, dialect) for column in made.columns}
    columns = []
    for column in table.columns:
        neutral, there = read_type(column.type, "mysql"), kinds.get(column.name)
        signed = there is not None and there.kind in INTEGERS and not there.unsigned
        if signed and _asks(neutral) and not _decided(table, column, policies):
            column = replace(column, type="tinyint" if neutral.kind == "boolean" else "bigint")
        if _may_lose_not_null(table, column, policies):
            column = replace(column, nullable=any(c.name == column.name and c.nullable for c in made.columns))
        columns.append(column)
    return replace(table, columns=tuple(columns))


def _may_lose_not_null(table: Table, column: Column, policies: Policies) -> bool:
    """Whether zero dates in it would become NULL, which it does not take."""
    dates = read_type(column.type, "mysql").kind in DATES
    return policies.zero_dates == "null" and dates and not column.nullable and column.name not in table.key


def _with_zero_dates(table: Table, source: Database, policies: Policies) -> list[str]:
    """The columns that hold a zero date and take no NULL: only they have to take it at the target."""
    asked = [column for column in table.columns if _may_lose_not_null(table, column, policies)]
    if not asked:
        return []
    found = ", ".join(f"MAX({source.ident(column.name)} = 0)" for column in asked)
    [seen] = source.rows(f"SELECT {found} FROM {source.quote(table.name)}")
    return [column.name for column, zero in zip(asked, seen, strict=True) if zero]


def _asks(neutral: Neutral) -> bool:
    return neutral.kind == "boolean" or (neutral.kind == "bigint" and neutral.unsigned)


def _decided(table: Table, column: Column, policies: Policies) -> bool:
    return bool({f"{table.name}.{column.name}", column.type} & policies.types.keys())


def _measured(table: Table, columns: list[Column], source: Database) -> dict[str, tuple[str, str]]:
    """Column → (MySQL's type as which it is translated, why)."""
    if not columns:
        return {}
    asked = ", ".join(f"MIN({source.ident(c.name)}), MAX({source.ident(c.name)})" for c in columns)
    [ends] = source.rows(f"SELECT {asked} FROM {source.quote(table.name)}")
    found = {}
    for column, least, greatest in zip(columns, ends[::2], ends[1::2], strict=True):
        boolean = read_type(column.type, "mysql").kind == "boolean"
        if boolean and least is not None and (least < 0 or greatest > 1):
            found[column.name] = ("tinyint", f"{column.type}: its values go from {least} to {greatest}")
        elif not boolean and (greatest is None or greatest <= LAST_BIGINT):
            shown = "there are no values" if greatest is None else f"its largest value is {greatest}"
            found[column.name] = ("bigint", f"{column.type}: {shown}")
    return found
