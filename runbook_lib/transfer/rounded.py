"""Digits that the target's types cut, named before the copy: SQLite keeps more than its columns declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Table
from runbook_lib.schema.convert.type_overrides import override_of
from runbook_lib.schema.convert.value_limits import limits_of
from runbook_lib.schema.convert.value_policies import Rule
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.value_scan import measure


def rounded(link: Link, read: Mapping[str, Table], types: Mapping[str, str]) -> Iterator[str]:
    """One line for each column with such values: how many rows, which, and the type that keeps the digits.

    Args:
        read: The source's tables, by their names.
        types: What was told, by TABLE.COLUMN or type: a told type is a decision to round.
    """
    reader, writer = link.reader.dialect, link.writer.dialect
    whole = dialect_of(writer).widest_number
    if not whole or not dialect_of(reader).loose_types:
        return

    def sought(flow: Flow, written: str, column: Column) -> list[Rule]:
        if override_of(types, flow.table, column.name, column.type):
            return []
        found = limits_of(link.reader.ident(column.name), column.type, written, (reader, writer))
        return [Rule(column.name, each.name, each.found) for each in found if each.kind == "digits"]

    def of(flow: Flow) -> tuple[Rule, ...]:
        columns = {column.name: column for column in read[flow.feeds[0].table].columns}
        pairs = [(columns[name], kind) for name, kind in zip(flow.columns, flow.types, strict=True) if name in columns]
        return tuple(rule for column, kind in pairs for rule in sought(flow, kind, column))

    for each in measure(replace(link, flows=tuple(replace(flow, rules=of(flow)) for flow in link.flows))):
        rows = ", ".join(f"({', '.join(map(str, key))})" for key in each.keys)
        place = f"{each.table}.{each.column}"
        yield f"{place}: {each.rows:,} {each.name}: rounded, rows {rows}; --type {place}={whole} keeps them"
