"""The expressions that fill a target table's columns, from the plan's mapping."""

from __future__ import annotations

from runbook_lib.databases.port import Database, Table
from runbook_lib.plan.model import TableMapping


def forward_expressions(mapping: TableMapping, source: Database, read: Table) -> dict[str, str]:
    """What each target column is at the source: the plan's expressions, or every column under its own name."""
    if not mapping.columns:
        return {c.name: source.ident(c.name) for c in read.columns if c.name not in mapping.omit}
    keys = {column: source.ident(origin) for column, origin in mapping.key.items()}
    return {**keys, **mapping.columns}
