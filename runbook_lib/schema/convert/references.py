"""Foreign keys for another engine: what they refer to, what of them goes over, and whether the types fit there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Constraint, Table
from runbook_lib.schema.convert.target_schema import TargetReference
from runbook_lib.schema.convert.types import read_type

if TYPE_CHECKING:
    from runbook_lib.schema.convert.translation_job import _Job

TypeOf = Callable[[Table, Column], str]
_ITEM = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^\s,()"`]+'
_LIST = rf"\(\s*((?:{_ITEM})(?:\s*,\s*(?:{_ITEM}))*)\s*\)"
_THERE = re.compile(rf"\bREFERENCES\s+(?:{_ITEM})(?:\.(?:{_ITEM}))*\s*{_LIST}", re.IGNORECASE)
_ACTION = re.compile(r"ON (?:UPDATE|DELETE) (?:CASCADE|SET NULL|RESTRICT)", re.IGNORECASE)
_SOME_COLUMNS = re.compile(r"ON DELETE SET (?:NULL|DEFAULT)\s*\(", re.IGNORECASE)
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "numeric")
_TEXTS = ("text", "varchar", "char", "enum")


def referenced(constraint: Constraint) -> list[str] | None:
    """The parent's columns: the list behind its name, not the one of `ON DELETE SET NULL (column)`."""
    text, bare = constraint.definition, constraint.referenced_table
    if bare and (start := text.find(f"REFERENCES {bare} (")) >= 0:  # MySQL's catalog quotes no table
        found = re.match(rf"\s*{_LIST}", text[start + len(f"REFERENCES {bare}") :])
    else:
        found = _THERE.search(text)
    if not found:
        return None
    parts = re.findall(_ITEM, found[1])
    return [p[1:-1].replace(p[0] * 2, p[0]) if p[:1] in ('"', "`") else p for p in parts]


def reference(job: _Job, subject: str, table: Table, constraint: Constraint, type_of: TypeOf) -> TargetReference | None:
    """A foreign key as the target has it; None where it does not go over: that is decided and said.

    Args:
        type_of: A column's type at the target.
    """
    place = f"{subject} {constraint.name or 'foreign key (' + ', '.join(constraint.columns) + ')'}"
    parent = job.parent(constraint.referenced_table)
    there = referenced(constraint)
    if parent is None or there is None:
        what = f"refers to {constraint.referenced_table}, which is not among the tables"
        job.decide(place, what, "left out", "move that table too", lossy=True)
        return None
    if unlike := _unlike(job, table, parent, list(zip(constraint.columns, there, strict=True)), type_of):
        what = f"{unlike}: {job.target} has no foreign key between them"
        job.decide(place, what, "left out", "give one of them the other's type: --type, or types:", lossy=True)
        return None
    if not _keyed(job.target, parent, there):
        what = f"{parent.name} ({', '.join(there)}) is no key: {job.target} has no foreign key to it"
        job.decide(place, what, "left out", "make it unique at the source", lossy=True)
        return None
    if re.search(r"DEFERRABLE|MATCH FULL|SET DEFAULT", constraint.definition):
        what = f"{constraint.definition}: checked at once, simple match"
        job.decide(place, what, "a plain foreign key", lossy=True)
    named = job.object(constraint.name, subject, "fkey") if dialect_of(job.target).alters_constraints else ""
    return TargetReference(
        named,
        job.listed(subject, constraint.columns),
        job.table(parent.name),
        job.listed(parent.name, there),
        tuple(_actions(job, place, table, constraint)),
    )


def _actions(job: _Job, place: str, table: Table, constraint: Constraint) -> list[str]:
    wanted = _ACTION.findall(constraint.definition.upper())
    some = _SOME_COLUMNS.search(constraint.definition)
    required = not all(table.column(c).nullable for c in constraint.columns)
    if some:
        what = "SET NULL of some of its columns only"
        job.decide(place, what, "no action: the parent cannot be deleted", lossy=True)
    elif required and any("SET NULL" in action for action in wanted):
        job.decide(place, "SET NULL on a column that may not be null", "no action", lossy=True)
    dropped = some or required
    return [action for action in wanted if not (dropped and action == "ON DELETE SET NULL")
            and not (required and "SET NULL" in action)]  # fmt: skip


def _unlike(job: _Job, table: Table, parent: Table, pairs: list[tuple[str, str]], type_of: TypeOf) -> str:
    """The first two columns whose types do not fit at the target; SQLite lets any refer to any."""
    if not dialect_of(job.target).checks_references:
        return ""
    for own, there in pairs:
        kinds = type_of(table, table.column(own)), type_of(parent, parent.column(there))
        if not _fit(job.target, *kinds):
            return f"{own} is {kinds[0]}, {parent.name}.{there} is {kinds[1]}"
    return ""


def _keyed(target: str, parent: Table, there: list[str]) -> bool:
    """Whether the columns are a key (PostgreSQL), or the first ones of an index (MySQL); SQLite asks at each write."""
    unique = [c.columns for c in parent.constraints if c.kind in ("primary", "unique")]
    unique += [i.columns for i in parent.indexes if i.unique and not i.partial]
    dialect = dialect_of(target)
    if dialect.references_indexes:
        indexed = [*unique, *(i.columns for i in parent.indexes)]
        return any(columns[: len(there)] == tuple(there) for columns in indexed)
    return not dialect.checks_references or any(set(columns) == set(there) for columns in unique)


def _fit(target: str, own: str, there: str) -> bool:
    one, other = read_type(own, target), read_type(there, target)
    if "unknown" in (one.kind, other.kind):
        return own == there
    if dialect_of(target).references_same_size and {one.kind, other.kind} & {*_NUMBERS, "boolean"}:
        return one.kind == other.kind and one.unsigned == other.unsigned
    return one.kind == other.kind or any({one.kind, other.kind} <= set(group) for group in (_NUMBERS, _TEXTS))
