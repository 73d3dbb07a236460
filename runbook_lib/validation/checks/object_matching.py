"""What a target promises, and indexes and constraints compared by what they do, not by what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from runbook_lib.databases import sql_text
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Constraint, Index, Table
from runbook_lib.databases.repair import Definition, renamed_table
from runbook_lib.schema.convert.decisions import Policies, user_types, without_columns
from runbook_lib.schema.convert.expected_table import aligned, comparable
from runbook_lib.schema.convert.probed_types import as_made
from runbook_lib.schema.convert.repair_ddl import Repair, repair_of
from runbook_lib.schema.convert.target_schema import TargetTable
from runbook_lib.schema.convert.translate import translate
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.report.mismatches import Kind, Mismatch

Object = TypeVar("Object", Index, Constraint)


@dataclass(frozen=True)
class DescribedObject:
    """An index or a constraint: `like` groups those that stand for each other (kind and columns).

    `definition` is what is compared, `shown` what a person reads; empty: the same.
    """

    name: str
    like: tuple[object, ...]
    definition: str
    columns: tuple[str, ...]
    add: str = ""
    drop: str = ""
    shown: str = ""

    @property
    def told(self) -> str:
        """The definition as a person reads it."""
        return self.shown or self.definition


@dataclass(frozen=True)
class Kinds:
    """What the three ways to differ are called for this sort of object."""

    missing: Kind
    extra: Kind
    different: Kind


def promises(
    link: Link, read: Mapping[str, Table], written: Mapping[str, Table], types: Mapping[str, Any]
) -> dict[str, TargetTable]:
    """What each table in short form promises at the writer: its like in the same engine, its translation in another.

    Args:
        read: The tables at the reader.
        written: Those at the writer: where the values decide between two types, the one that was made is promised.
        types: The plan's `types:`.
    """
    plain = {flow.table: flow for flow in link.flows if not flow.mapped}
    if link.reader.dialect == link.writer.dialect:
        moved = {flow.feeds[0].table for flow in link.flows}
        return {name: _same(link, flow, read[flow.feeds[0].table], moved) for name, flow in plain.items()}
    renamed = {flow.feeds[0].table: name for name, flow in plain.items()}
    tables = {name: _there(read[flow.feeds[0].table], flow, renamed) for name, flow in plain.items()}
    policies = Policies.from_plan(types)
    if dialect_of(link.reader.dialect).types_by_values:
        tables = as_made(tables, written, link.writer.dialect, policies)
    schema = translate(tables, link.reader.dialect, link.writer.dialect, policies, user_types(link.reader))
    return dict(schema.tables)


def left_behind(table: Table, flow: Flow) -> set[str]:
    """Columns of the source that the plan omits."""
    return {column.name for column in table.columns} - set(flow.promised or flow.columns)


def _same(link: Link, flow: Flow, there: Table, moved: Set[str]) -> TargetTable:
    """SQLite repairs by recreating a table: the source's own DDL, where the plan omits nothing of it."""
    if dialect_of(link.reader.dialect).alters_constraints or left_behind(there, flow):
        return TargetTable(there)
    origin = flow.feeds[0].table
    parents = {c.referenced_table for c in there.constraints if c.kind == "foreign"} - {origin}
    together = [origin, *sorted(parents & moved)]

    def create(name: str) -> str:
        first = next(sql_text.statements(link.reader.dump_schema(together)[0], link.reader.dialect))
        return renamed_table(sql_text.joined(first), link.reader.dialect, name)

    return TargetTable(there, dumped=Definition(create, lambda: link.reader.dump_schema([origin])[1]))


def _there(table: Table, flow: Flow, renamed: Mapping[str, str]) -> Table:
    kept = without_columns(table, sorted(left_behind(table, flow)), flow.table)
    pointed = (
        replace(c, referenced_table=renamed.get(c.referenced_table, c.referenced_table)) for c in kept.constraints
    )
    return replace(kept, constraints=tuple(pointed))


@dataclass(frozen=True)
class Sides:
    """One table: what is promised (`there`), what is (`here`), both comparable by definition, and what repairs it."""

    there: Table
    here: Table
    promised: TargetTable
    repair: Repair

    def there_as_it_is(self, item: Object) -> Object:
        """The promised object with its definition in the target's words."""
        return _twin(item, [*self.promised.table.indexes, *self.promised.table.constraints])

    def here_as_it_is(self, item: Object) -> Object:
        """The object as the target's catalog has it."""
        return _twin(item, [*self.repair.here.indexes, *self.repair.here.constraints])


def _twin(item: Object, among: Sequence[Any]) -> Object:
    kind = getattr(item, "kind", "index")
    found = [
        o for o in among if o.name == item.name and o.columns == item.columns and getattr(o, "kind", "index") == kind
    ]
    return found[0] if found else item


def sides(link: Link, promised: TargetTable, here: Table) -> Sides:
    """Both sides of a table, made comparable where the engines are not the same."""
    repair = repair_of(link.writer.dialect, here, promised)
    if link.reader.dialect == link.writer.dialect:
        return Sides(promised.table, here, promised, repair)
    there = comparable(promised.table, link.writer.dialect)
    return Sides(there, aligned(there, comparable(here, link.writer.dialect), link.writer.dialect), promised, repair)


def compare(
    say: Callable[..., Mismatch], kinds: Kinds, there: Sequence[DescribedObject], here: Sequence[DescribedObject]
) -> list[Mismatch]:
    """What is promised and not there, there and not promised, or there over the same columns with another rule.

    Args:
        say: Makes a mismatch of this check and table out of its kind and further fields.
    """
    promised = {(d.like, d.definition): d for d in there}
    present = {(d.like, d.definition): d for d in here}
    missing = [d for key, d in promised.items() if key not in present]
    extra = [d for key, d in present.items() if key not in promised]
    found = []
    for origin in missing:
        twin = next((d for d in extra if d.like == origin.like), None)
        facts = {"columns": origin.columns, "source_value": origin.told, "name": origin.name}
        if twin is None:
            text = f"there is no {origin.name or origin.told}, nor its like"
            found.append(say(kinds.missing, text=text, mend=origin.add, **facts))
        else:
            extra.remove(twin)
            text = f"{twin.name or 'what is there'} is not what {origin.name or origin.told} is"
            mend = _both(twin.drop, origin.add)
            found.append(say(kinds.different, text=text, target_value=twin.told, mend=mend, **facts))
    for twin in extra:
        text = f"{twin.name or twin.told} is not at the source"
        facts = {"columns": twin.columns, "target_value": twin.told, "name": twin.name}
        found.append(say(kinds.extra, text=text, mend=twin.drop, **facts))
    return found


def _both(drop: str, add: str) -> str:
    """Two statements in one text; a table that is created again is so once."""
    return add if drop == add else ";\n".join(filter(None, (drop, add)))
