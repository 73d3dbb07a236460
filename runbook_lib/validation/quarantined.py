"""Differences that the quarantine explains: said by their own name, and differences all the same."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.transfer.flow import Link
from runbook_lib.transfer.quarantine import Refused, as_text
from runbook_lib.validation.findings import CheckResult, Kind, Mismatch

_ROWS = (Kind.MISSING_ON_TARGET, Kind.DIFFERENT, Kind.MISSING_ON_SOURCE)


def with_quarantine(link: Link, result: CheckResult) -> CheckResult:
    """The result, with the rows that are set aside as what they are: of kind `quarantined`, with the reason.

    They fail the check unless the plan tolerates this kind. A row count is of this kind only where just the rows that
    are set aside are missing.
    """
    if link.quarantine is None or not result.mismatches:
        return result
    held = {flow.table: link.quarantine.held(link.channel, flow.table) for flow in link.flows}
    return replace(result, mismatches=tuple(_said(found, held.get(found.table, {})) for found in result.mismatches))


def _said(found: Mismatch, held: dict[tuple[str, ...], Refused]) -> Mismatch:
    if not held:
        return found
    if found.kind is Kind.ROW_COUNT:
        explained = int(found.source_value) - int(found.target_value) == len(held)
        kind = Kind.QUARANTINED if explained else found.kind
        return replace(found, kind=kind, text=f"{found.text}; {len(held)} in quarantine")
    row = held.get(as_text(found.key))
    if row is None or found.kind not in _ROWS:
        return found
    return replace(found, kind=Kind.QUARANTINED, text=f"{found.text}, in quarantine: {row.reason}")
