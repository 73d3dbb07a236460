"""A report as lines for a terminal: a grid of checks and tables, then each failure with its first rows or objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.validation.accounts import KNOWINGLY, NO_EQUIVALENT
from runbook_lib.validation.report.contents import Contents
from runbook_lib.validation.report.mismatches import CheckResult, Mismatch
from runbook_lib.validation.report.repair_script import heading, repair_scripts
from runbook_lib.verdict import Outcome

FIRST = 5  # rows or objects named of each kind; the JSON has all
_MARKS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.COULD_NOT_RUN: "?", None: ""}


def report_lines(report: Contents) -> Iterator[str]:
    """The report in lines, the verdict last."""
    yield from _grid(report)
    for result in report.results:
        yield from _failures(result)
        for table, why in result.errors.items():
            yield f"? {_words(result.check)} of {_short(report, table)} could not run: {why}"
    for service, script in repair_scripts(report).items():
        yield f"-- {heading(report, service)}"
        yield from script.splitlines()
        yield "-- end"
    if report.in_flight and not report.idle:
        yield f"in flight: {len(report.in_flight)} differences that writes under way explain"
    yield from (f"! {line}" for line in (*report.idle, *report.late))
    for counted in report.tolerances:
        about = counted.tolerance
        what = " ".join(filter(None, (about.check, about.service, about.table, about.column, about.name, about.kind)))
        found = f"{counted.matched} found" if counted.matched else "matches nothing any more"
        yield f"tolerated: {what}: {found} ({about.because})"
    known = [one for result in report.results for one in result.information]
    left = sum(one.text.endswith(KNOWINGLY) for one in known)
    alone = sum(one.text.endswith(NO_EQUIVALENT) for one in known)
    if left:
        yield f"{KNOWINGLY}: {left} (in the JSON)"
    if alone:
        yield f"{NO_EQUIVALENT} at the target: {alone} (in the JSON)"
    if expected := len(known) - left - alone:
        yield f"expected by the mapping: {expected} (in the JSON)"
    if report.taken_over:
        yield f"taken over: {report.taken_over}; rows changed in them since are not seen (--again reads them)"
    yield f"{_verdict(report)} in {report.elapsed_s:.1f} s"


def _verdict(report: Contents) -> str:
    checks, tables = (
        f"{len(report.results)} check{_s(report.results)}",
        f"{len(report.tables)} table{_s(report.tables)}",
    )
    if report.failed == ("sync",):
        word = "different" if report.outcome is Outcome.FAIL else "could not tell"
        return f"{word}: {report.sync.text}; otherwise {checks} over {tables} passed"
    if report.passed:
        return f"same: {checks} over {tables} passed"
    if report.outcome is Outcome.FAIL:
        return f"different: {', '.join(map(_words, report.failed))} of {checks} over {tables} did not pass"
    return f"could not tell: {', '.join(map(_words, report.failed))} could not run"


def _grid(report: Contents) -> Iterator[str]:
    checks = [result.check for result in report.results]
    if not report.tables:
        return
    width = max(len(_short(report, table)) for table in report.tables)
    yield " ".join([" " * width, *(f"{_words(check):^{len(check)}}" for check in checks), "  rows"]).rstrip()
    for table in report.tables:
        cells = [f"{_MARKS[result.of(table)]:^{len(result.check)}}" for result in report.results]
        rows = max((int(result.figures.get(table, {}).get("rows") or 0) for result in report.results), default=0)
        yield " ".join([f"{_short(report, table):<{width}}", *cells, f"{rows:>6,}"])


def _short(report: Contents, table: str) -> str:
    """Without the service's name where there is only one."""
    return table.removeprefix(f"{report.services[0]}.") if len(report.services) == 1 else table


def _failures(result: CheckResult) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Mismatch]] = {}
    for mismatch in result.mismatches:
        groups.setdefault((mismatch.label, str(mismatch.kind)), []).append(mismatch)
    for (_, kind), found in groups.items():
        yield f"✗ {_words(result.check)} of {found[0].table}: {len(found)} {_words(kind)}"
        yield from (f"    {line}" for line in _named(found))


def _named(found: Sequence[Mismatch]) -> Iterator[str]:
    for mismatch in found[:FIRST]:
        place = f"key {', '.join(map(str, mismatch.key))}: " if mismatch.key else ""
        said = all(value and value in mismatch.text for value in (mismatch.source_value, mismatch.target_value))
        values = not said and (mismatch.source_value or mismatch.target_value)
        shown = f": source {mismatch.source_value or '–'}, target {mismatch.target_value or '–'}" if values else ""
        yield f"{place}{mismatch.text or ', '.join(mismatch.columns) or mismatch.name}{shown}"
    if len(found) > FIRST:
        yield f"and {len(found) - FIRST:,} more"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _s(items: Sequence[object]) -> str:
    return "" if len(items) == 1 else "s"
