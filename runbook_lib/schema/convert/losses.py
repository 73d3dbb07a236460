"""What a table loses at a target of another engine, said before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Table
from runbook_lib.schema.convert.equivalence import blind
from runbook_lib.schema.convert.types import read_type

if TYPE_CHECKING:
    from runbook_lib.schema.convert.translation_job import _Job


def collisions(job: _Job, subject: str, table: Table) -> None:
    """Names that differ only in case are one name at MySQL and SQLite (docs/correctness.md#names)."""
    if not dialect_of(job.target).folds_case:
        return
    seen: dict[str, str] = {}
    for column in table.columns:
        twin = seen.setdefault(column.name.lower(), column.name)
        if twin != column.name:
            job.decide(f"{subject}.{column.name}", f"differs from {twin} only in case", "", "rename one", lossy=True)


def left_out(job: _Job, subject: str, table: Table) -> None:
    """Triggers, partitions, collations, and when a unique rule is checked."""
    for rule in table.constraints:
        if rule.kind in ("primary", "unique") and "DEFERRABLE" in rule.definition.upper():
            what = f"{rule.definition}: checked when a transaction ends"
            job.decide(f"{subject} {rule.name}", what, "checked at once", lossy=True)
    if table.triggers:
        what = f"{len(table.triggers)} trigger{'s' if len(table.triggers) > 1 else ''} in the source's language"
        job.decide(subject, what, "left out", "rewrite them for the target", lossy=True)
    if table.partitioned:
        job.decide(subject, "partitions are the source's own", "one table", "partition it by hand")
    folded = sorted({c.collation for c in table.columns if blind(c.collation)})
    if folded:
        what = f"collation {', '.join(folded)} takes different texts for equal"
        job.decide(subject, what, "texts compare by their bytes at the target", lossy=True)


def values(job: _Job) -> None:
    """Values that the target may not have: the policy says how they are handled."""
    source = dialect_of(job.source)
    kinds = {read_type(c.type, job.source, job.user).kind for t in job.tables.values() for c in t.columns}
    if source.zero_dates and kinds & {"date", "timestamp", "timestamptz"}:
        job.decide("zero dates", "0000-00-00 is no date elsewhere", job.policies.zero_dates, "error", "null")
    if not dialect_of(job.target).keeps_nul and kinds & {"text", "varchar", "char", "json", "any"}:
        job.decide("NUL characters", "PostgreSQL's text has none", job.policies.nul, "error", "strip")
    if source.keeps_nan and kinds & {"real", "double", "numeric"}:
        job.decide("NaN", "a number that the target has not", job.policies.nan, "error", "text")
