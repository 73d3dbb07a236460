"""Tolerated differences: declared in the plan, taken out of the failures one by one, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runbook_lib.plan.model import Tolerance
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch

# A plan may say "missing_on_target" of a column, an index or a table as well as of a row.
FAMILIES = {
    Kind.MISSING_ON_TARGET: {
        Kind.MISSING_COLUMN, Kind.MISSING_INDEX, Kind.MISSING_CONSTRAINT, Kind.MISSING_TABLE, Kind.MISSING_TRIGGER,
        Kind.MISSING_OBJECT,
    },
    Kind.MISSING_ON_SOURCE: {
        Kind.EXTRA_COLUMN, Kind.EXTRA_INDEX, Kind.EXTRA_CONSTRAINT, Kind.EXTRA_TABLE, Kind.EXTRA_TRIGGER,
        Kind.EXTRA_OBJECT,
    },
    Kind.DIFFERENT: {
        Kind.DIFFERENT_INDEX, Kind.DIFFERENT_CONSTRAINT, Kind.DIFFERENT_TRIGGER, Kind.DIFFERENT_OBJECT,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Tolerated:
    """A declared difference and how many it matched (count); none matched is a finding, not a failure."""

    tolerance: Tolerance
    matched: int

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        return {**asdict(self.tolerance), "matched": self.matched}


def tolerate(
    results: Sequence[CheckResult], tolerances: Sequence[Tolerance]
) -> tuple[tuple[CheckResult, ...], tuple[Tolerated, ...]]:
    """Move declared differences from `mismatches` to `tolerated`; the results and the counts.

    A difference in several columns is tolerated only when every one of them is declared.
    """
    counts = [0] * len(tolerances)
    sorted_out = []
    for result in results:
        undeclared: list[Mismatch] = []
        declared = list(result.tolerated)
        for mismatch in result.mismatches:
            used = _covering(mismatch, tolerances)
            for index in used:
                counts[index] += 1
            (declared if used else undeclared).append(mismatch)
        sorted_out.append(replace(result, mismatches=tuple(undeclared), tolerated=tuple(declared)))
    return tuple(sorted_out), tuple(Tolerated(t, n) for t, n in zip(tolerances, counts, strict=True))


def _covering(mismatch: Mismatch, tolerances: Sequence[Tolerance]) -> list[int]:
    """The tolerances that together declare this difference; empty when something of it is left over."""
    fitting = [i for i, tolerance in enumerate(tolerances) if _fits(tolerance, mismatch)]
    whole = [i for i in fitting if not tolerances[i].column]
    if whole:
        return whole[:1]
    declared = {tolerances[i].column for i in fitting}
    return fitting if mismatch.columns and declared.issuperset(mismatch.columns) else []


def _fits(tolerance: Tolerance, mismatch: Mismatch) -> bool:
    return (
        tolerance.check in ("", mismatch.check)
        and tolerance.service in ("", mismatch.service)
        and tolerance.table in ("", mismatch.table)
        and tolerance.name in ("", mismatch.name)
        and (not tolerance.column or tolerance.column in mismatch.columns)
        and (tolerance.kind in ("", mismatch.kind) or mismatch.kind in FAMILIES.get(_kind(tolerance.kind), ()))
    )


def _kind(text: str) -> Kind:
    return Kind(text) if text in set(Kind) else Kind.IN_FLIGHT
