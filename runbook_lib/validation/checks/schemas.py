"""Check: the target's columns are what the mapping promises; triggers, privileges and sequences beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from runbook_lib.databases.port import Column, Table
from runbook_lib.schema.convert.ddl import definition
from runbook_lib.schema.convert.equivalence import holds
from runbook_lib.schema.convert.expected_table import same_column
from runbook_lib.schema.convert.repair_ddl import Repair, repair_of
from runbook_lib.schema.convert.target_schema import TargetTable
from runbook_lib.schema.convert.types import Neutral, read_type, write_type
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.accounts import accounts
from runbook_lib.validation.checks.object_matching import left_behind
from runbook_lib.validation.checks.other_objects import REQUIRED, order, privileges, sequences, triggers
from runbook_lib.validation.context import Context, each_table, label
from runbook_lib.validation.positions import positions
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch

NAME = "schemas"
Say = Callable[..., Mismatch]

FACETS: tuple[tuple[Kind, str], ...] = (
    (Kind.TYPE, "type"),
    (Kind.NULLABILITY, "nullable"),
    (Kind.DEFAULT, "default"),
    (Kind.COLLATION, "collation"),
    (Kind.GENERATED, "generated"),
    (Kind.IDENTITY, "identity"),
)


def schemas(link: Link, context: Context) -> CheckResult:
    """Compare the columns of every table of a forward link with what the mapping promises.

    Tables in short form: types, nullability, defaults, collations, generated and identity columns; in another engine
    a type is right when it holds every value. Derived tables: the types of their expressions. Columns that the plan
    omits are fine. Tables of the service's own, the order of columns and privileges are information, unless the plan
    requires the latter two. Of one engine, all else that both have is compared too (`accounts`). Sequences are read
    when asked (after the cutover), and where nobody carries changes over.
    """
    context.catalogs(link)
    result = each_table(NAME, link, context, lambda flow: _table(link, flow, context))
    result = result.plus(accounts(NAME, link, context))
    result = result.plus(CheckResult(NAME, mismatches=tuple(positions(NAME, link, context))))
    return result.plus(CheckResult(NAME, information=tuple(_other_tables(link))))


def _table(link: Link, flow: Flow, context: Context) -> CheckResult:
    read, written = context.catalogs(link)
    say = partial(Mismatch, NAME, link.service, flow.table)
    promised = context.promised(link).get(flow.table)
    if flow.table not in written:
        made = _made(link, promised) if promised else ""
        return CheckResult(NAME, mismatches=(say(Kind.MISSING_TABLE, text="no such table", mend=made),))
    there, here = read[flow.feeds[0].table], written[flow.table]
    figures = {label(link, flow): {"columns": len(here.columns)}}
    if promised is None:
        found = [*_derived_columns(say, flow, here), *_derived_types(say, link, flow, here)]
        found += sequences(say, link, flow, here) if context.options.sequences else []
        return CheckResult(NAME, mismatches=tuple(found), figures=figures)
    repair = repair_of(link.writer.dialect, here, promised)
    found = [*_presence(say, flow, promised.table, here, repair), *_facets(say, link, flow, promised, here, repair)]
    found += sequences(say, link, flow, here) if context.options.sequences else []
    found += triggers(say, link, flow, context)
    aside = [*order(say, flow, promised.table, here), *privileges(say, link, flow, context)]
    found += [m for m in aside if REQUIRED[m.kind] in context.options.require]
    information = [m for m in aside if REQUIRED[m.kind] not in context.options.require]
    information += [
        say(Kind.OMITTED_COLUMN, columns=(name,), text=f"{name} stays behind, as the plan says")
        for name in (column.name for column in there.columns)
        if name in left_behind(there, flow)
    ]
    return CheckResult(NAME, mismatches=tuple(found), information=tuple(information), figures=figures)


def _made(link: Link, promised: TargetTable) -> str:
    """What makes a missing table; "" where its words are not known."""
    made = definition(promised, link.writer.dialect)
    return f"{made.create(link.writer.quote(promised.table.name))};\n{made.indexes()}".strip() if made else ""


def _presence(say: Say, flow: Flow, there: Table, here: Table, repair: Repair) -> Iterator[Mismatch]:
    promised = flow.promised or flow.columns
    present = {column.name for column in here.columns}
    for name in promised:
        if name not in present:
            column = there.column(name)
            text = f"no column {name}"
            yield say(
                Kind.MISSING_COLUMN,
                columns=(name,),
                source_value=column.type,
                text=text,
                mend=repair.add_column(column),
            )
    for column in here.columns:
        if column.name not in promised:
            text = f"column {column.name} is not at the source"
            drop = repair.drop_column(column.name)
            yield say(Kind.EXTRA_COLUMN, columns=(column.name,), target_value=column.type, text=text, mend=drop)


def _facets(say: Say, link: Link, flow: Flow, promised: TargetTable, here: Table, repair: Repair) -> Iterator[Mismatch]:
    wanted = set(flow.promised or flow.columns)
    columns = {column.name: column for column in here.columns}
    across = link.reader.dialect != link.writer.dialect
    for origin in promised.table.columns:
        if origin.name not in wanted or origin.name not in columns:
            continue
        found = columns[origin.name]
        for kind, facet in FACETS:
            a, b = _facet(origin, facet), _facet(found, facet)
            if across and same_column(facet, promised, found, link.writer.dialect):
                continue
            if a != b and not (kind is Kind.DEFAULT and origin.generated != found.generated):
                text = f"{origin.name}: {facet} is {b or 'none'}, promised {a or 'none'}"
                change = repair.change_column(origin, facet)
                yield say(kind, columns=(origin.name,), source_value=a, target_value=b, text=text, mend=change)


def _facet(column: Column, facet: str) -> str:
    value = getattr(column, facet)
    if facet == "default":  # sequences have names of their own on each side
        return re.sub(r"nextval\('[^']*'::regclass\)", "nextval(…)", value or "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or "")


def _derived_columns(say: Say, flow: Flow, here: Table) -> Iterator[Mismatch]:
    """A derived table may have columns of the service's own."""
    present = {column.name for column in here.columns}
    for name in flow.promised or flow.columns:
        if name not in present:
            yield say(Kind.MISSING_COLUMN, columns=(name,), text=f"no column {name}")


def _derived_types(say: Say, link: Link, flow: Flow, here: Table) -> Iterator[Mismatch]:
    expressions = tuple(_bare(sql, kind) for sql, kind in zip(flow.expressions, flow.types, strict=True))
    types = link.reader.expression_types(flow.relation, expressions)
    repair = repair_of(link.writer.dialect, here, TargetTable(here))
    for name, given in zip(flow.columns, types, strict=True):
        column = here.column(name)
        neutral = read_type(given, link.reader.dialect)
        promised = given
        if link.reader.dialect != link.writer.dialect:
            promised = write_type(neutral, link.writer.dialect, key_parts=int(name in flow.key)).type
        found = read_type(column.type, link.writer.dialect)
        wanted = read_type(promised, link.writer.dialect)
        if column.type == promised or holds(found, wanted) or holds(found, neutral) or _unsized(found, wanted):
            continue
        text = f"{name}: type is {column.type}, its expression gives {promised}"
        change = repair.change_column(replace(column, type=promised), "type")
        yield say(Kind.TYPE, columns=(name,), source_value=promised, target_value=column.type, text=text, mend=change)


def _unsized(found: Neutral, wanted: Neutral) -> bool:
    """Text without a length is the same under both its names; a real fits a double (an expression's type, no value)."""
    texts = ("text", "varchar")
    whole = found.kind in texts and wanted.kind in texts and not found.modifiers and not wanted.modifiers
    return whole or (found.kind, wanted.kind) == ("double", "real")


def _bare(sql: str, kind: str) -> str:
    """The plan's expression without the cast that the flow put around it."""
    tail = f" AS {kind})"
    return sql[len("CAST(") : -len(tail)] if sql.startswith("CAST(") and sql.endswith(tail) else sql


def _other_tables(link: Link) -> Iterator[Mismatch]:
    mapped = {flow.table for flow in link.flows}
    for name in sorted(set(link.writer.tables()) - mapped):
        text = f"table {name} of {link.writer.name} is not part of the mapping"
        yield Mismatch(NAME, link.service, name, Kind.EXTRA_TABLE, name=name, text=text)
