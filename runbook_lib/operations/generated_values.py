"""Columns that both ends generate, each with its own engine's arithmetic: their values, on a sample of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runbook_lib.databases.port import Catalogs, Table
from runbook_lib.errors import TransferError
from runbook_lib.transfer.links import Flow, Link

SAMPLE_ROWS = 200


def require_same_values(link: Link, catalogs: Catalogs, *, under_writes: bool) -> int:
    """Compare a sample of each table that computes a column at both ends; how many tables were checked.

    Within one engine the expression is the same text. Tables without a key are left to `runbook compare`.

    Args:
        catalogs: The link's tables at the reader and at the writer.
    Raises:
        TransferError: a computed value differs; names the rows. Nothing is undone.
    """
    if link.reader.dialect == link.writer.dialect:
        return 0
    computed = _computed(link, *catalogs)
    if not computed:
        return 0
    # Here: a sixth of a second, and most copies have no such column.
    from runbook_lib.validation import ValidationOptions, validate

    chosen = replace(link, flows=tuple(flow for flow in link.flows if flow.table in computed))
    report = validate(
        [chosen], ValidationOptions(checks=("data_sample",), under_writes=under_writes, sample_rows=SAMPLE_ROWS)
    )
    wrong = [m for r in report.results for m in r.mismatches if set(m.columns) & computed.get(m.table, frozenset())]
    if wrong:
        first, more = wrong[0], len({(m.table, m.key) for m in wrong}) - 1
        raise TransferError(
            f"{link.writer.name}.{first.table}, key {', '.join(map(str, first.key))}",
            f"{first.text or 'differs'}: {', '.join(first.columns)} is generated, and comes to another value there"
            + (f" (and {more} more rows of the sample)" if more else ""),
            expected="the source's value",
            state="all rows are copied",
            action=f"make it a plain column at the target: ALTER TABLE {link.writer.quote(first.table)} …, then runbook"
            " copy … --on-existing keep",
        )
    return len(computed)


def _computed(link: Link, read: Mapping[str, Table], written: Mapping[str, Table]) -> dict[str, frozenset[str]]:
    """Table → the columns that both sides generate."""
    plain: list[Flow] = [flow for flow in link.flows if not flow.mapped]
    found = {}
    for flow in plain:
        here = {column.name for column in written[flow.table].columns if column.generated}
        there = {column.name for column in read[flow.feeds[0].table].columns if column.generated}
        if (both := frozenset(here & there)) and flow.key:
            found[flow.table] = both
    return found
