"""Check: the target's columns are what the mapping promises; sequences too, when asked (after the cutover)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runbook_lib.databases.port import Column, Table
from runbook_lib.transfer.flow import Flow, Link
from runbook_lib.validation.context import Context, each_table, label
from runbook_lib.validation.findings import CheckResult, Kind, Mismatch

NAME = "schemas"

# Expression type → written types that hold every value of it (a derived column may be wider than its expression).
WIDER = {
    "smallint": ("integer", "bigint", "numeric"),
    "integer": ("bigint", "numeric"),
    "bigint": ("numeric",),
    "real": ("double precision",),
    "character varying": ("text",),
    "text": ("character varying",),  # without a length the two hold the same
}
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

    Tables in short form: types, nullability, defaults, collations, generated and identity columns. Derived tables: the
    types of their expressions. Columns that the plan omits are fine. Tables of the service's own are information.
    """
    context.catalogs(link)
    result = each_table(NAME, link, context, lambda flow: _table(link, flow, context))
    return result.plus(CheckResult(NAME, information=tuple(_other_tables(link))))


def _table(link: Link, flow: Flow, context: Context) -> CheckResult:
    read, written = context.catalogs(link)
    if flow.table not in written:
        return CheckResult(NAME, mismatches=(_said(link, flow, Kind.MISSING_TABLE, text="no such table"),))
    there, here = read[flow.feeds[0].table], written[flow.table]
    found = list(_presence(link, flow, there, here))
    found += _derived_types(link, flow, here) if flow.mapped else _facets(link, flow, there, here)
    if context.sequences:
        found += _sequences(link, flow)
    information = [
        _said(link, flow, Kind.OMITTED_COLUMN, column.name, text=f"{column.name} stays behind, as the plan says")
        for column in ([] if flow.mapped else there.columns)
        if column.name not in flow.promised and flow.promised
    ]
    figures = {label(link, flow): {"columns": len(here.columns)}}
    return CheckResult(NAME, mismatches=tuple(found), information=tuple(information), figures=figures)


def _presence(link: Link, flow: Flow, there: Table, here: Table) -> Iterator[Mismatch]:
    promised = flow.promised or flow.columns
    present = {column.name for column in here.columns}
    for name in promised:
        if name not in present:
            kind = "" if flow.mapped else there.column(name).type
            mend = f"ALTER TABLE {_q(link, flow)} ADD COLUMN {link.writer.quote(name)} {kind}" if kind else ""
            yield _said(link, flow, Kind.MISSING_COLUMN, name, kind, "", f"no column {name}", mend)
    if flow.mapped:  # a derived table may have columns of the service's own
        return
    for column in here.columns:
        if column.name not in promised:
            mend = f"ALTER TABLE {_q(link, flow)} DROP COLUMN {link.writer.quote(column.name)}"
            text = f"column {column.name} is not at the source"
            yield _said(link, flow, Kind.EXTRA_COLUMN, column.name, "", column.type, text, mend)


def _facets(link: Link, flow: Flow, there: Table, here: Table) -> Iterator[Mismatch]:
    promised = set(flow.promised or flow.columns)
    columns = {column.name: column for column in here.columns}
    for origin in there.columns:
        if origin.name not in promised or origin.name not in columns:
            continue
        for kind, facet in FACETS:
            a, b = _facet(origin, facet), _facet(columns[origin.name], facet)
            if a != b and not (kind is Kind.DEFAULT and origin.generated != columns[origin.name].generated):
                text = f"{origin.name}: {facet} is {b or 'none'}, promised {a or 'none'}"
                yield _said(link, flow, kind, origin.name, a, b, text, _mend(link, flow, origin, kind))


def _facet(column: Column, facet: str) -> str:
    value = getattr(column, facet)
    if facet == "default":  # sequences have names of their own on each side
        return re.sub(r"nextval\('[^']*'::regclass\)", "nextval(…)", value or "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or "")


def _mend(link: Link, flow: Flow, origin: Column, kind: Kind) -> str:
    alter = f"ALTER TABLE {_q(link, flow)} ALTER COLUMN {link.writer.quote(origin.name)}"
    if kind is Kind.TYPE:
        return f"{alter} TYPE {origin.type}"
    if kind is Kind.NULLABILITY:
        return f"{alter} {'DROP' if origin.nullable else 'SET'} NOT NULL"
    if kind is Kind.DEFAULT:
        return f"{alter} SET DEFAULT {origin.default}" if origin.default else f"{alter} DROP DEFAULT"
    return ""


def _derived_types(link: Link, flow: Flow, here: Table) -> Iterator[Mismatch]:
    expressions = tuple(_bare(sql, kind) for sql, kind in zip(flow.expressions, flow.types, strict=True))
    types = link.reader.expression_types(flow.relation, expressions)
    for name, promised in zip(flow.columns, types, strict=True):
        column = here.column(name)
        if not _holds(column.type, promised):
            mend = f"ALTER TABLE {_q(link, flow)} ALTER COLUMN {link.writer.quote(name)} TYPE {promised}"
            text = f"{name}: type is {column.type}, its expression gives {promised}"
            yield _said(link, flow, Kind.TYPE, name, promised, column.type, text, mend)


def _bare(sql: str, kind: str) -> str:
    """The plan's expression without the cast that the flow put around it."""
    tail = f" AS {kind})"
    return sql[len("CAST(") : -len(tail)] if sql.startswith("CAST(") and sql.endswith(tail) else sql


def _holds(written: str, expression: str) -> bool:
    if written == expression:
        return True
    base = expression.partition("(")[0].strip()
    return written in WIDER.get(base, ()) or (base == "character varying" and written == base)


def _sequences(link: Link, flow: Flow) -> Iterator[Mismatch]:
    for sequence in link.writer.sequences([flow.table]):
        farthest = "MAX" if sequence.increment > 0 else "MIN"
        sql = f"SELECT {farthest}({link.writer.quote(sequence.column)}) FROM {_q(link, flow)}"
        [(present,)] = link.writer.rows(sql)
        last = sequence.start - sequence.increment if sequence.last is None else sequence.last
        if present is not None and (present - last) * sequence.increment > 0:
            yield Mismatch(
                NAME,
                link.service,
                flow.table,
                Kind.SEQUENCE_BEHIND,
                columns=(sequence.column,),
                source_value=str(present),
                target_value="never called" if sequence.last is None else str(sequence.last),
                name=sequence.name,
                text=f"sequence {sequence.name} is behind {sequence.column}: {last}, the column has {present}",
                mend=f"SELECT setval('{link.writer.quote(sequence.name)}', {present})",
            )


def _other_tables(link: Link) -> Iterator[Mismatch]:
    mapped = {flow.table for flow in link.flows}
    for name in sorted(set(link.writer.catalog()) - mapped):
        text = f"table {name} of {link.writer.name} is not part of the mapping"
        yield Mismatch(NAME, link.service, name, Kind.EXTRA_TABLE, name=name, text=text)


def _said(
    link: Link,
    flow: Flow,
    kind: Kind,
    column: str = "",
    there: str = "",
    here: str = "",
    text: str = "",
    mend: str = "",
) -> Mismatch:
    columns = (column,) if column else ()
    return Mismatch(NAME, link.service, flow.table, kind, (), columns, there, here, text=text, mend=mend)


def _q(link: Link, flow: Flow) -> str:
    return link.writer.quote(flow.table)
