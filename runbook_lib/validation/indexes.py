"""Check: every index of the source has its equivalent at the target, valid; those of constraints belong to these."""

from __future__ import annotations

from runbook_lib.databases.port import Index, Table
from runbook_lib.transfer.flow import Flow, Link
from runbook_lib.validation.context import Context, each_table, label
from runbook_lib.validation.equivalence import Described, Kinds, compare
from runbook_lib.validation.findings import CheckResult, Kind, Mismatch

NAME = "indexes"
KINDS = Kinds(Kind.MISSING_INDEX, Kind.EXTRA_INDEX, Kind.DIFFERENT_INDEX)


def indexes(link: Link, context: Context) -> CheckResult:
    """Compare the indexes of a forward link's tables by definition; a derived table promises nothing but its key."""
    context.catalogs(link)
    return each_table(NAME, link, context, lambda flow: _table(link, flow, context))


def _table(link: Link, flow: Flow, context: Context) -> CheckResult:
    read, written = context.catalogs(link)
    here = written[flow.table]
    found = [_invalid(link, flow, index) for index in here.indexes if not index.valid]
    figures = {label(link, flow): {"indexes": len(here.indexes)}}
    if flow.mapped:
        return CheckResult(NAME, mismatches=tuple(found), figures=figures)
    there = read[flow.feeds[0].table]
    left_behind = {column.name for column in there.columns} - set(flow.promised or flow.columns)
    promised = [i for i in _own(there) if i.valid and not _needs(i, left_behind)]
    described = [_described(link, flow, index) for index in promised]
    present = [_described(link, flow, index) for index in _own(here)]
    found += compare(NAME, link.service, flow.table, KINDS, described, present)
    information = [_behind(link, flow, index) for index in _own(there) if _needs(index, left_behind)]
    return CheckResult(NAME, mismatches=tuple(found), information=tuple(information), figures=figures)


def _own(table: Table) -> list[Index]:
    return [index for index in table.indexes if not index.constraint]


def _needs(index: Index, left_behind: set[str]) -> bool:
    """Whether an index stands on a column that stays behind, in an expression or a condition too."""
    return bool(left_behind.intersection(index.columns)) or any(
        name in _words(index.definition) for name in left_behind
    )


def _words(definition: str) -> set[str]:
    cleaned = "".join(c if c.isalnum() or c in "_$" else " " for c in definition)
    return set(cleaned.split())


def _described(link: Link, flow: Flow, index: Index) -> Described:
    unique = "UNIQUE " if index.unique else ""
    body = index.definition.removeprefix("UNIQUE ")
    mend = f"CREATE {unique}INDEX CONCURRENTLY ON {link.writer.quote(flow.table)} USING {body}"
    return Described(index.name, index.columns, index.definition, index.columns, mend)


def _invalid(link: Link, flow: Flow, index: Index) -> Mismatch:
    return Mismatch(
        NAME,
        link.service,
        flow.table,
        Kind.INVALID_INDEX,
        columns=index.columns,
        target_value=index.definition,
        name=index.name,
        text=f"index {index.name} is not valid: no query uses it",
        mend=f"REINDEX INDEX CONCURRENTLY {link.writer.quote(index.name)}",
    )


def _behind(link: Link, flow: Flow, index: Index) -> Mismatch:
    text = f"index {index.name} stands on a column that stays behind"
    return Mismatch(
        NAME, link.service, flow.table, Kind.OMITTED_COLUMN, columns=index.columns, name=index.name, text=text
    )
