"""Rows that the target has more than once, though the source's key makes them one row.

Rows are compared by their key: of two alike at the target one would answer for both. Looked for only
where sums differ, and only where no index of the target's forbids it.
"""

from __future__ import annotations

from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.rows.compared import Compared
from runbook_lib.validation.rows.drill_down import MOST_KEYS


def twice(check: str, link: Link, flow: Flow, side: Compared, context: Context) -> CheckResult:
    """A mismatch for each key that is there more than once."""
    own = context.catalogs(link)[1][flow.table].key
    if own and set(own) <= set(flow.key):
        return CheckResult(check)
    key = ", ".join(side.writing.key)
    where = f" WHERE {side.writing.where}" if side.writing.where else ""
    found = link.writer.rows(
        f"SELECT {key}, count(*) FROM {side.writing.relation}{where} GROUP BY {key} HAVING count(*) > 1"
        f" ORDER BY {key} LIMIT {MOST_KEYS}"
    )
    return CheckResult(
        check,
        mismatches=tuple(
            Mismatch(check, link.service, flow.table, Kind.DUPLICATE_ROWS, tuple(row[:-1]), text=_text(row[-1]))
            for row in found
        ),
    )


def _text(times: int) -> str:
    return f"{times} rows of this key, which no index of the target's keeps apart"
