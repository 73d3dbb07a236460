"""Checks × tables, read from a validation report in whatever shape it was kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runbook_lib.validation.report.mismatches import labelled


def checks_grid(report: Any) -> dict[str, dict[str, str]]:
    """{check: {table: outcome}} of a report, of its `as_dict()`, or of such a mapping itself.

    Outcomes are pass, fail, could_not_run, and tolerated (passed, with differences that the plan declares).
    """
    results = _get(report, "results")
    if results is None:
        return {str(check): dict(row) for check, row in dict(report or {}).items()}
    return {str(_get(result, "check")): _row(result) for result in results}


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _row(result: Any) -> dict[str, str]:
    tables = _get(result, "tables") or ()
    if isinstance(tables, Mapping):
        outcomes = {str(table): str(outcome) for table, outcome in tables.items()}
    else:
        outcomes = {str(table): str(result.of(table)) for table in tables}
    declared = {labelled(_get(found, "service"), _get(found, "table")) for found in _get(result, "tolerated") or ()}
    return {t: "tolerated" if t in declared and outcome == "pass" else outcome for t, outcome in outcomes.items()}
