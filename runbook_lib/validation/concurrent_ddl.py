"""Tables whose columns or key were changed while they were compared: what was found of their rows proves nothing.

The catalogs are read once, at the start. A column that has become wider since was read as it had been: the digits that
only the new one holds were in no sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runbook_lib.databases.port import Table
from runbook_lib.errors import RunbookError
from runbook_lib.transfer.links import Link
from runbook_lib.validation.context import Context, label
from runbook_lib.validation.report.mismatches import CheckResult

_SIDES = {True: ("source", "target"), False: ("target", "source")}
TEXT = "its columns or its key were changed at the {side} meanwhile. Next: compare again"


def with_altered(results: Sequence[CheckResult], links: Sequence[Link], context: Context) -> list[CheckResult]:
    """The results, with an error for each table that is another one now, in every check that covers it."""
    why = {table: text for link in links for table, text in _altered(link, context).items()}
    return [
        replace(result, errors={**{t: why[t] for t in result.tables if t in why}, **result.errors})
        for result in results
    ]


def _altered(link: Link, context: Context) -> dict[str, str]:
    try:
        then = context.catalogs(link)
    except RunbookError:
        return {}  # the checks have said so
    if (now := context.catalogs_now(link)) is None:
        return {}  # they read all that they needed before
    found = {}
    for flow in link.flows:
        for side, name, before, after in zip(
            _SIDES[link.forward], (flow.feeds[0].table, flow.table), then, now, strict=True
        ):
            if name in before and name in after and _shape(before[name]) != _shape(after[name]):
                found[label(link, flow)] = TEXT.format(side=side)
    return found


def _shape(table: Table) -> object:
    return table.key, [replace(column, ordinal=0) for column in table.columns]
