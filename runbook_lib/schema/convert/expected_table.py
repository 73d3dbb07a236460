"""A table as a target of another engine has to show it, compared with what is there.

Both sides are brought into one form: definitions without names, conditions as trees. What has no equivalent at the
target is not promised; an object that somebody added there is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Constraint, Index, Table
from runbook_lib.schema.convert.equivalence import blind, canonical, holds, same_default, same_expression
from runbook_lib.schema.convert.expression_clauses import index_condition, inner
from runbook_lib.schema.convert.prefix_index import plain
from runbook_lib.schema.convert.references import referenced
from runbook_lib.schema.convert.target_schema import TargetTable
from runbook_lib.schema.convert.types import read_type


def comparable(table: Table, dialect: str) -> Table:
    """A table's indexes and constraints in one form, each once."""
    kinds = {c.name: read_type(c.type, dialect).kind for c in table.columns}
    constraints = {_one_form(c, kinds, dialect): c for c in table.constraints if c.kind in _KINDS}
    indexes = dict[tuple[tuple[str, ...], bool, str], Index]()
    for index in table.indexes:
        where = canonical(index_condition(index.definition, dialect), kinds, dialect) if index.partial else ""
        index = replace(index, columns=tuple(map(plain, index.columns)))
        indexes.setdefault((index.columns, index.unique, where), index)
    return replace(
        table,
        constraints=tuple(replace(c, definition=text) for (_, text), c in constraints.items()),
        indexes=tuple(replace(i, definition=_shown(*form)) for form, i in indexes.items()),
    )


def aligned(promised: Table, here: Table, dialect: str) -> Table:
    """What is there, with unique constraints and unique indexes called what the source calls them.

    MySQL gives every foreign key an index: one that nobody promised is left out.
    """
    wanted = {c.columns for c in promised.constraints if c.kind == "unique"}
    as_index = {i.columns for i in promised.indexes if i.unique and not i.constraint and not i.partial} - wanted
    foreign = [c.columns for c in here.constraints if c.kind == "foreign" and dialect_of(dialect).indexes_foreign_keys]
    named = {i.definition for i in promised.indexes}
    constraints = [c for c in here.constraints if c.kind != "unique" or c.columns not in as_index]
    held = {c.columns for c in constraints if c.kind == "unique"}
    indexes = list[Index]()
    for index in here.indexes:
        if index.unique and not index.partial and index.columns in wanted:
            if index.columns not in held:
                constraints.append(Constraint(index.name, "unique", index.columns, _unique(index.columns)))
            index = replace(index, constraint=True)
        elif index.columns in as_index:
            index = replace(index, constraint=False)
        if (
            index.unique
            or index.definition in named
            or not any(f[: len(index.columns)] == index.columns for f in foreign)
        ):
            indexes.append(index)
    return replace(here, constraints=tuple(constraints), indexes=tuple(indexes))


def _unique(columns: tuple[str, ...]) -> str:
    return f"UNIQUE ({', '.join(columns)})"


_ACTIONS = r"ON (?:UPDATE|DELETE) (?:CASCADE|SET NULL|SET DEFAULT)|INITIALLY DEFERRED"
_KINDS = ("primary", "unique", "foreign", "check")


def _one_form(constraint: Constraint, kinds: Mapping[str, str], dialect: str) -> tuple[str, str]:
    kind, columns = constraint.kind, ", ".join(constraint.columns)
    if kind == "check":
        return kind, f"CHECK {canonical(inner(constraint.definition, dialect), kinds, dialect)}"
    if kind != "foreign":
        return kind, f"{'PRIMARY KEY' if kind == 'primary' else 'UNIQUE'} ({columns})"
    there = ", ".join(referenced(constraint) or [])
    actions = re.findall(_ACTIONS, constraint.definition.upper())
    text = f"FOREIGN KEY ({columns}) REFERENCES {constraint.referenced_table}({there})"
    return kind, " ".join([text, *sorted(actions)])


def _shown(columns: tuple[str, ...], unique: bool, where: str) -> str:
    return f"{'UNIQUE ' if unique else ''}({', '.join(columns)}){f' WHERE {where}' if where else ''}"


def same_column(facet: str, promised: TargetTable, here: Column, dialect: str) -> bool:
    """Whether one facet of a column (type, default, …) is what was promised."""
    column = promised.table.column(here.name)
    origin = promised.columns[here.name].origin
    if facet == "type":
        found = read_type(here.type, dialect)
        return holds(found, read_type(column.type, dialect)) or holds(found, origin)
    if facet == "collation":
        return not blind(here.collation) or here.name in promised.blind
    if facet == "identity":
        return bool(column.identity) == bool(here.identity)
    if facet == "generated":
        return column.generated == here.generated or promised.columns[here.name].free
    if facet == "default":
        return _same_default(promised, column, here, dialect)
    return bool(getattr(column, facet) == getattr(here, facet))


def _same_default(promised: TargetTable, column: Column, here: Column, dialect: str) -> bool:
    """Of a generated column: its expression, where the engine tells it. A counter's default is the counter's affair."""
    if promised.columns[here.name].free or here.identity or column.identity or column.generated != here.generated:
        return True
    if column.generated:
        names = [each.name for each in promised.table.columns]
        return here.default is None or same_expression(column.default or "", here.default, names, dialect)
    return same_default(column.default, here.default, promised.columns[here.name].origin.kind, dialect)
