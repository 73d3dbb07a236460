"""A report as HTML that needs nothing but itself: a grid checks × tables, then every difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runbook_lib.display import render as templates
from runbook_lib.validation.report.contents import Contents
from runbook_lib.validation.report.mismatches import Mismatch, shorten
from runbook_lib.validation.report.repair_script import heading, repair_scripts

LISTED = 8  # differences shown of each check, table and kind: one table must not hide another; the JSON has all
_HEADLINES = {"pass": "Validation passed", "fail": "Validation failed"}


@dataclass(frozen=True)
class Part:
    """What stands under the grid: a line to heed, a script, or a table; one without rows is not shown."""

    title: str = ""
    line: str = ""
    script: str = ""
    count: int = 0
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def render(report: Contents) -> str:
    """The report as one self-contained `<div>`."""
    headline = _HEADLINES.get(report.outcome, "Validation could not run")
    return templates.render(
        "report", report=report, headline=headline, grid=_grid(report), parts=[*_parts(report)], foot=_foot(report)
    )


def _grid(report: Contents) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each table with its cells, one a check."""
    counts = [
        (result.of, Counter(m.label for m in result.mismatches), Counter(m.label for m in result.in_flight))
        for result in report.results
    ]
    return [
        (table, [{"outcome": of(table), "differences": n[table], "in_flight": f[table]} for of, n, f in counts])
        for table in report.tables
    ]


def _parts(report: Contents) -> Iterator[Part]:
    errors = [(r.check, table, why) for r in report.results for table, why in r.errors.items()]
    yield Part("Could not run", header=["check", "table", "reason"], rows=errors)
    said = report.sync.text
    for line in [*([said] if said and said not in report.late else []), *report.idle, *report.late]:
        yield Part(line=line)
    yield _differences("Differences", report.mismatches)
    for service, script in repair_scripts(report).items():
        yield Part(heading(report, service), script=script)
    yield _differences("In flight (writes under way explain these)", report.in_flight)
    yield _differences("Tolerated", [m for r in report.results for m in r.tolerated])
    yield Part("Declared in the plan", header=["difference", "because", "matched"], rows=_tolerances(report))
    yield _differences("Expected by the mapping", [m for r in report.results for m in r.information])


def _differences(title: str, mismatches: Sequence[Mismatch]) -> Part:
    rows, groups = [], dict[tuple[str, str, str], list[Mismatch]]()
    for mismatch in mismatches:
        groups.setdefault((mismatch.check, mismatch.label, mismatch.kind.replace("_", " ")), []).append(mismatch)
    for group, found in groups.items():
        rows += [(*group, _what(m), m.source_value, m.target_value) for m in found[:LISTED]]
        if len(found) > LISTED:
            rows.append((*group, f"and {len(found) - LISTED:,} more; the JSON has all", "", ""))
    header = ["check", "table", "kind", "what", "source", "target"]
    return Part(title, count=len(mismatches), header=header, rows=rows)


def _what(m: Mismatch) -> str:
    key = f"key {', '.join(map(shorten, m.key))} " if m.key else ""
    return f"{key}{m.text or ', '.join(m.columns) or m.name}"


def _tolerances(report: Contents) -> list[tuple[str, str, str]]:
    return [
        (
            " · ".join(filter(None, (t.check, t.service, t.table, t.column, t.name, t.kind))),
            t.because,
            str(counted.matched) if counted.matched else "0: matches nothing any more",
        )
        for counted in report.tolerances
        for t in [counted.tolerance]
    ]


def _foot(report: Contents) -> str:
    marks = "; ".join(f"{f.service} {f.side} {f.sha256[:12]}".strip() for f in report.fingerprints)
    schema = f" · schema fingerprints: {marks}" if marks else ""
    scope = " · only the given keys were compared" if report.only_keys else ""
    return f"sample seed {report.seed}{scope}{schema}"
