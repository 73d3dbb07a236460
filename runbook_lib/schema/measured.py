"""Types that depend on the values which are there: a MySQL tinyint(1) that counts, an unsigned bigint that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runbook_lib.databases.port import Column, Database, Table
from runbook_lib.schema.decisions import Decision, Policies
from runbook_lib.schema.types import Neutral, read_type

LAST_BIGINT = 2**63 - 1


def as_measured(
    tables: Mapping[str, Table], source: Database, policies: Policies
) -> tuple[dict[str, Table], list[Decision]]:
    """The tables with the types that their values ask for, and a decision for each (trap 15).

    What the plan decides itself is left alone. One pass over each table that has such a column.
    """
    if source.dialect != "mysql":
        return dict(tables), []
    found: dict[str, Table] = {}
    decisions: list[Decision] = []
    for name, table in tables.items():
        doubtful = [c for c in table.columns if _asks(read_type(c.type, "mysql")) and not _decided(table, c, policies)]
        types = _measured(table, doubtful, source)
        columns = tuple(replace(c, type=types[c.name][0]) if c.name in types else c for c in table.columns)
        found[name] = replace(table, columns=columns)
        decisions += [Decision(f"{table.name}.{column}", what, chosen) for column, (chosen, what) in types.items()]
    return found, decisions


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
