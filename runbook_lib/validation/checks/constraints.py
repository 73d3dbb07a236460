"""Check: every constraint of the source has its equivalent at the target, validated; borders and omissions aside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from runbook_lib.databases.port import Constraint, Table
from runbook_lib.schema.convert.repair_ddl import Repair, repair_of
from runbook_lib.schema.convert.target_schema import TargetTable
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.checks.object_matching import DescribedObject, Kinds, Sides, compare, left_behind, sides
from runbook_lib.validation.context import Context, each_table, label
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch

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
    here, origin = written[flow.table], read[flow.feeds[0].table]
    figures = {label(link, flow): {"constraints": len(here.constraints)}}
    promised = context.promised(link).get(flow.table)
    repair = repair_of(link.writer.dialect, here, promised or TargetTable(here))
    found = [
        _not_validated(link, flow, c, repair) for c in here.constraints if not c.validated and not _loose(c, origin)
    ]
    if promised is None:
        return CheckResult(NAME, mismatches=(*found, *_key(link, flow, here, repair)), figures=figures)
    both = sides(link, promised, here)
    renamed = context.caches.renamed.of(link.channel, lambda: _renamed(link))
    inside = set(renamed) if link.reader.dialect == link.writer.dialect else set(renamed.values())
    behind = left_behind(origin, flow)
    information, wanted = [], []
    for constraint in _own(both.there):
        if behind.intersection(constraint.columns):
            information.append(
                _aside(link, flow, constraint, Kind.OMITTED_COLUMN, "depends on a column that stays behind")
            )
        elif constraint.kind == "foreign" and constraint.referenced_table not in inside:
            what = f"references {constraint.referenced_table}, outside the service"
            information.append(_aside(link, flow, constraint, Kind.CROSSES_BORDER, what))
        else:
            wanted.append(_promised(both, constraint, renamed))
    present = [_present(both, constraint) for constraint in _own(both.here)]
    differences = compare(partial(Mismatch, NAME, link.service, flow.table), KINDS, wanted, present)
    open_ = [m for m in differences if m.kind is Kind.EXTRA_CONSTRAINT and promised.open_checks]
    found += [m for m in differences if m not in open_]
    return CheckResult(NAME, mismatches=tuple(found), information=(*information, *open_), figures=figures)


def _renamed(link: Link) -> dict[str, str]:
    """What each table of the source is called at the target."""
    return {flow.feeds[0].table: flow.table for flow in link.flows if not flow.mapped}


def _own(table: Table) -> list[Constraint]:
    return [constraint for constraint in table.constraints if constraint.kind != "not_null"]


def _loose(constraint: Constraint, there: Table) -> bool:
    """Not validated at the source either: nothing more was promised."""
    return any(
        not c.validated
        and (c.kind, c.columns, c.definition) == (constraint.kind, constraint.columns, constraint.definition)
        for c in there.constraints
    )


def _promised(both: Sides, constraint: Constraint, renamed: Mapping[str, str]) -> DescribedObject:
    origin = constraint.referenced_table
    target = renamed.get(origin, origin)

    def pointed(definition: str) -> str:
        return definition.replace(f"REFERENCES {origin}(", f"REFERENCES {target}(") if target != origin else definition

    as_it_is = both.there_as_it_is(constraint)
    wanted = replace(as_it_is, definition=pointed(as_it_is.definition))
    described = _described(both.there, replace(constraint, definition=pointed(constraint.definition)))
    return replace(described, add=both.repair.add_constraint(wanted), shown=wanted.definition)


def _present(both: Sides, constraint: Constraint) -> DescribedObject:
    drop, shown = both.repair.drop_constraint(constraint), both.here_as_it_is(constraint).definition
    return replace(_described(both.here, constraint), drop=drop, shown=shown)


def _described(table: Table, constraint: Constraint) -> DescribedObject:
    like = (constraint.kind, constraint.columns if constraint.kind != "check" else constraint.definition)
    columns = constraint.columns
    if not columns:  # not every catalog says which columns a check is about
        words = set(re.findall(r"\w+", constraint.definition))
        columns = tuple(c.name for c in table.columns if c.name in words)
    return DescribedObject(constraint.name, like, constraint.definition, columns)


def _not_validated(link: Link, flow: Flow, constraint: Constraint, repair: Repair) -> Mismatch:
    return Mismatch(
        NAME,
        link.service,
        flow.table,
        Kind.NOT_VALIDATED,
        columns=constraint.columns,
        target_value=constraint.definition,
        name=constraint.name,
        text=f"constraint {constraint.name} is not validated: rows that break it may be there",
        mend=repair.validate(constraint),
    )


def _key(link: Link, flow: Flow, here: Table, repair: Repair) -> list[Mismatch]:
    wanted = set(flow.key)
    unique = [index for index in here.indexes if index.unique and index.valid and not index.partial]
    if not wanted or set(here.key) == wanted or any(set(index.columns) == wanted for index in unique):
        return []
    columns = ", ".join(link.writer.ident(column) for column in flow.key)
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
            mend=repair.add_constraint(Constraint("", "primary", flow.key, f"PRIMARY KEY ({columns})")),
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
