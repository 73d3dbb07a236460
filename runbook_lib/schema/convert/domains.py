"""PostgreSQL's domains where there are none: their checks, NOT NULL and default become those of the columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runbook_lib.databases import sql_text
from runbook_lib.databases.identifiers import ident
from runbook_lib.databases.port import Column, Constraint, Table
from runbook_lib.schema.convert.types import DomainRules, UserTypes


def with_domains(tables: Mapping[str, Table], user: UserTypes) -> dict[str, Table]:
    """The tables, whose columns have the rules of their domains themselves."""
    return {name: _table(table, user) if user.rules else table for name, table in tables.items()}


def _table(table: Table, user: UserTypes) -> Table:
    ruled = [(column, user.rules[column.type]) for column in table.columns if column.type in user.rules]
    if not ruled:
        return table
    columns = {column.name: _column(column, rules) for column, rules in ruled}
    checks = [
        Constraint(f"{column.name}_{name}", "check", (column.name,), _about(text, column.name))
        for column, rules in ruled
        for name, text in rules.checks
    ]
    return replace(
        table,
        columns=tuple(columns.get(column.name, column) for column in table.columns),
        constraints=(*table.constraints, *checks),
    )


def _column(column: Column, rules: DomainRules) -> Column:
    default = column.default if column.default or column.generated or column.identity else rules.default
    return replace(column, nullable=column.nullable and not rules.required, default=default)


def _about(text: str, column: str) -> str:
    """A domain's check about a column: its word VALUE is the column."""
    found = sql_text.tokens(text, "postgresql")
    return "".join(ident(column) if token.upper == "VALUE" else token.text for token in found)
