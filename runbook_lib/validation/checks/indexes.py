"""Check: every index of the source has its equivalent at the target, valid; those of constraints belong to these."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from runbook_lib.databases.port import Index, Table
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.checks.object_matching import DescribedObject, Kinds, Sides, compare, left_behind, sides
from runbook_lib.validation.context import Context, each_table, label
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch

NAME = "indexes"
KINDS = Kinds(Kind.MISSING_INDEX, Kind.EXTRA_INDEX, Kind.DIFFERENT_INDEX)


def indexes(link: Link, context: Context) -> CheckResult:
    """Compare the indexes of a forward link's tables by definition; a derived table promises nothing but its key.

    In another engine: columns, uniqueness and condition; what has no equivalent there (expressions, access methods) is
    not promised.
    """
    context.catalogs(link)
    return each_table(NAME, link, context, lambda flow: _table(link, flow, context))


def _table(link: Link, flow: Flow, context: Context) -> CheckResult:
    read, written = context.catalogs(link)
    here = written[flow.table]
    say = partial(Mismatch, NAME, link.service, flow.table)
    figures = {label(link, flow): {"indexes": len(here.indexes)}}
    promised = context.promised(link).get(flow.table)
    if promised is None:
        invalid = [_invalid(link, flow, index) for index in here.indexes if not index.valid]
        return CheckResult(NAME, mismatches=tuple(invalid), figures=figures)
    both = sides(link, promised, here)
    found = [_invalid(link, flow, index, both.repair.build_again(index)) for index in here.indexes if not index.valid]
    behind = left_behind(read[flow.feeds[0].table], flow)
    wanted = [i for i in _own(both.there) if i.valid and not _needs(i, behind)]
    described = [_described(both, index, there=True) for index in wanted]
    present = [_described(both, index, there=False) for index in _own(both.here)]
    differences = compare(say, KINDS, described, present)
    open_ = [m for m in differences if m.kind is Kind.EXTRA_INDEX and promised.open_indexes]
    found += [m for m in differences if m not in open_]
    information = [_behind(link, flow, i) for i in _own(read[flow.feeds[0].table]) if _needs(i, behind)]
    return CheckResult(NAME, mismatches=tuple(found), information=(*information, *open_), figures=figures)


def _own(table: Table) -> list[Index]:
    return [index for index in table.indexes if not index.constraint]


def _needs(index: Index, left_behind: set[str]) -> bool:
    """Whether an index depends on a column that stays behind, in an expression or a condition too."""
    return bool(left_behind.intersection(index.columns)) or any(
        name in _words(index.definition) for name in left_behind
    )


def _words(definition: str) -> set[str]:
    cleaned = "".join(c if c.isalnum() or c in "_$" else " " for c in definition)
    return set(cleaned.split())


def _described(both: Sides, index: Index, *, there: bool) -> DescribedObject:
    add = both.repair.add_index(both.there_as_it_is(index)) if there else ""
    drop = "" if there else both.repair.drop_index(index)
    return DescribedObject(index.name, index.columns, index.definition, index.columns, add, drop)


def _invalid(link: Link, flow: Flow, index: Index, mend: str = "") -> Mismatch:
    found = Mismatch(NAME, link.service, flow.table, Kind.INVALID_INDEX, columns=index.columns, name=index.name)
    text = f"index {index.name} is not valid: no query uses it"
    again = mend or f"REINDEX INDEX CONCURRENTLY {link.writer.ident(index.name)}"
    return replace(found, target_value=index.definition, text=text, mend=again)


def _behind(link: Link, flow: Flow, index: Index) -> Mismatch:
    text = f"index {index.name} depends on a column that stays behind"
    return Mismatch(
        NAME, link.service, flow.table, Kind.OMITTED_COLUMN, columns=index.columns, name=index.name, text=text
    )
