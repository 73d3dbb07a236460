"""The pitfalls of a source, found before anything moves: what the target would refuse, change or miss.

It reads; it changes nothing. One pass over each table, at a bounded cost; what was not checked is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from runbook_lib.assessment.duplicates import duplicate_findings
from runbook_lib.assessment.findings import SEVERITIES, Assessment, Finding
from runbook_lib.assessment.orphans import not_looked, orphan_findings
from runbook_lib.assessment.routes import predicted
from runbook_lib.assessment.structure import accept, structure_findings
from runbook_lib.assessment.table_pairs import Subject, subjects
from runbook_lib.assessment.value_scan import Bounds
from runbook_lib.assessment.values import value_findings
from runbook_lib.databases.port import Database, Problem
from runbook_lib.plan.model import Plan
from runbook_lib.plan.vocabulary import ACCEPTABLE

__all__ = ["Assessment", "Bounds", "Finding", "assess"]

OPEN_S = 60.0  # a transaction that has been open for so long is somebody's coffee
_GRAVE = {"prepared_transactions": "blocks", "engines": "blocks", "large_objects": "loses"}


def assess(
    plan: Plan,
    source: Database,
    targets: Mapping[str, Database],
    *,
    tables: Sequence[str] = (),
    rights: bool = True,
    bounds: Bounds = Bounds(),  # noqa: B008  frozen
    open_s: float = OPEN_S,
) -> Assessment:
    """Check the source's planned tables, and what they are to become.

    Args:
        targets: By name; of a service without one the source is checked as for its own engine.
        tables: Only these of the source's; empty: all of the plan's.
        rights: Whether the logins' privileges are checked as well.
        bounds: How much of large tables is read.
        open_s: A transaction open for longer is reported (seconds).
    """
    begun = time.monotonic()
    every, schemas = subjects(_only(plan, tables), source, targets)
    encoding = source.facts().encoding
    if encoding == "SQL_ASCII" and {target.facts().encoding for target in targets.values()} == {encoding}:
        encoding = ""  # the target keeps any bytes as well
    found, rows, partly = list[Finding](), 0, dict[str, str]()
    for subject in every:
        values, looked = value_findings(plan, subject, source, encoding, bounds)
        twins, missed = duplicate_findings(subject, source)
        found += [*values, *twins]
        rows += looked.rows if looked else 0
        said = [text for text in (looked.partly if looked else "", missed, not_looked(subject)) if text]
        partly |= {subject.label: "; ".join(said)} if said else {}
    found += orphan_findings(_only(plan, tables).services, every, source)
    found += structure_findings(every, source, schemas, way_back=plan.strategy != "move")
    found += _beside(every, source, targets, rights=rights, open_s=open_s)
    found = [_declared(plan, finding) for finding in found]
    found.sort(key=lambda finding: (not finding.open, SEVERITIES.index(finding.severity)))
    looked_at = len({subject.mapping.source for subject in every})  # a derived table is no further one of the source
    account = predicted(_only(plan, tables), source, targets, schemas)
    return Assessment(tuple(found), looked_at, rows, partly, time.monotonic() - begun, account)


def _only(plan: Plan, tables: Sequence[str]) -> Plan:
    services = plan.services
    if tables:
        services = tuple(replace(s, tables=tuple(m for m in s.tables if m.source in tables)) for s in services)
    return replace(plan, services=tuple(service for service in services if service.tables))


def _declared(plan: Plan, finding: Finding) -> Finding:
    """With what the plan says of it, if it says anything."""
    for item in plan.accepted:
        if finding.kind in ACCEPTABLE and item.finding == finding.kind and item.table in ("", finding.table):
            return replace(finding, declared=f"accept: {item.because}")
    return finding


def _beside(
    every: Sequence[Subject], source: Database, targets: Mapping[str, Database], *, rights: bool, open_s: float
) -> Iterator[Finding]:
    names = list(dict.fromkeys(each.mapping.source for each in every))
    problems = source.pitfalls(names, open_s)
    problems += [p for p in source.privileges_missing("source") if rights or "finding" in p.detail]
    for target in targets.values():
        problems += [p for p in target.privileges_missing("target") if rights and "finding" not in p.detail]
    for problem in problems:
        kind, table = str(problem.detail.get("finding", "rights")), str(problem.detail.get("table", ""))
        if kind in ("cascades", "triggers") or (table and table not in names):
            continue  # the catalog shows these, by table
        yield _finding(problem, kind, table)


def _finding(problem: Problem, kind: str, table: str) -> Finding:
    severity = ("blocks" if problem.blocking else "note") if kind == "rights" else _GRAVE.get(kind, "note")
    declare = accept(kind, table) if severity != "note" else ()
    example = str(problem.detail.get("example", ""))
    return Finding(
        kind, severity, problem.subject, problem.text, problem.count or 1, example, declare, problem.action, table=table
    )
