"""Check: every constraint of the source has its equivalent at the target, validated; borders and omissions aside."""

from __future__ import annotations

from collections.abc import Mapping

from runbook_lib.databases.port import Constraint, Table
from runbook_lib.transfer.flow import Flow, Link
from runbook_lib.validation.context import Context, each_table, label
from runbook_lib.validation.equivalence import Described, Kinds, compare
from runbook_lib.validation.findings import CheckResult, Kind, Mismatch

NAME = "constraints"
KINDS = Kinds(Kind.MISSING_CONSTRAINT, Kind.EXTRA_CONSTRAINT, Kind.DIFFERENT_CONSTRAINT)


def constraints(link: Link, context: Context) -> CheckResult:
    """Compare the constraints of every table of a forward link by definition.

    A foreign key to a table outside the service crosses its border: it is expected to be missing, and reported as
    information. NOT NULL is the schemas' affair, save that it must be validated. A derived table promises its key.
    """
    context.catalogs(link)
    return each_table(NAME, link, context, lambda flow: _table(link, flow, context))


def _table(link: Link, flow: Flow, context: Context) -> CheckResult:
    read, written = context.catalogs(link)
    here, there = written[flow.table], read[flow.feeds[0].table]
    figures = {label(link, flow): {"constraints": len(here.constraints)}}
    found = [_not_validated(link, flow, c) for c in here.constraints if not c.validated and not _loose(c, there)]
    if flow.mapped:
        found += _key(link, flow, here)
        return CheckResult(NAME, mismatches=tuple(found), figures=figures)
    renamed = {other.feeds[0].table: other.table for other in link.flows if not other.mapped}
    left_behind = {column.name for column in there.columns} - set(flow.promised or flow.columns)
    information, promised = [], []
    for constraint in _own(there):
        if left_behind.intersection(constraint.columns):
            information.append(
                _aside(link, flow, constraint, Kind.OMITTED_COLUMN, "stands on a column that stays behind")
            )
        elif constraint.kind == "foreign" and constraint.referenced_table not in renamed:
            what = f"references {constraint.referenced_table}, outside the service"
            information.append(_aside(link, flow, constraint, Kind.CROSSES_BORDER, what))
        else:
            promised.append(_described(link, flow, constraint, renamed))
    present = [_described(link, flow, constraint, {}) for constraint in _own(here)]
    found += compare(NAME, link.service, flow.table, KINDS, promised, present)
    return CheckResult(NAME, mismatches=tuple(found), information=tuple(information), figures=figures)


def _own(table: Table) -> list[Constraint]:
    return [constraint for constraint in table.constraints if constraint.kind != "not_null"]


def _loose(constraint: Constraint, there: Table) -> bool:
    """Not validated at the source either: nothing more was promised."""
    return any(
        not c.validated
        and (c.kind, c.columns, c.definition) == (constraint.kind, constraint.columns, constraint.definition)
        for c in there.constraints
    )


def _described(link: Link, flow: Flow, constraint: Constraint, renamed: Mapping[str, str]) -> Described:
    definition, origin = constraint.definition, constraint.referenced_table
    target = renamed.get(origin, origin)
    if origin and target != origin:
        definition = definition.replace(f"REFERENCES {origin}(", f"REFERENCES {target}(")
    mend = f"ALTER TABLE {link.writer.quote(flow.table)} ADD {definition}"
    like = (constraint.kind, constraint.columns if constraint.kind != "check" else definition)
    return Described(constraint.name, like, definition, constraint.columns, mend)


def _not_validated(link: Link, flow: Flow, constraint: Constraint) -> Mismatch:
    quote = link.writer.quote
    return Mismatch(
        NAME,
        link.service,
        flow.table,
        Kind.NOT_VALIDATED,
        columns=constraint.columns,
        target_value=constraint.definition,
        name=constraint.name,
        text=f"constraint {constraint.name} is not validated: rows that break it may be there",
        mend=f"ALTER TABLE {quote(flow.table)} VALIDATE CONSTRAINT {quote(constraint.name)}",
    )


def _key(link: Link, flow: Flow, here: Table) -> list[Mismatch]:
    wanted = set(flow.key)
    unique = [index for index in here.indexes if index.unique and index.valid and not index.partial]
    if not wanted or set(here.key) == wanted or any(set(index.columns) == wanted for index in unique):
        return []
    columns = ", ".join(link.writer.quote(column) for column in flow.key)
    return [
        Mismatch(
            NAME,
            link.service,
            flow.table,
            Kind.MISSING_CONSTRAINT,
            columns=flow.key,
            source_value=f"PRIMARY KEY ({columns})",
            name="key",
            text=f"nothing makes {', '.join(flow.key)} unique",
            mend=f"ALTER TABLE {link.writer.quote(flow.table)} ADD PRIMARY KEY ({columns})",
        )
    ]


def _aside(link: Link, flow: Flow, constraint: Constraint, kind: Kind, what: str) -> Mismatch:
    return Mismatch(
        NAME,
        link.service,
        flow.table,
        kind,
        columns=constraint.columns,
        source_value=constraint.definition,
        name=constraint.name,
        text=f"{constraint.name} {what}",
    )
