"""A report as HTML that needs nothing but itself: a grid checks × tables, then every difference. Prints in black."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from runbook_lib.validation.report.contents import Contents
from runbook_lib.validation.report.mismatches import Mismatch, shorten
from runbook_lib.validation.report.repair_script import heading, mending
from runbook_lib.verdict import Outcome

LISTED = 8  # differences shown of each check, table and kind: one table must not hide another; the JSON has all

SIGNS = {
    Outcome.PASS: ("✓", "#1a7f37", "#eaf7ee"),
    Outcome.FAIL: ("✗", "#b3261e", "#fdecea"),
    Outcome.COULD_NOT_RUN: ("?", "#8a5a00", "#fff4de"),
    None: ("", "#888", "transparent"),
}
CELL = "padding:.3em .7em;border:1px solid #ddd;text-align:left;vertical-align:top;"
HEAD = CELL + "background:#f6f7f9;font-weight:600;"
CODE = "background:#f6f8fa;padding:.6em .9em;margin:.4em 0 .9em;white-space:pre-wrap;font-size:12px;line-height:1.45;"
TABLE = "border-collapse:collapse;margin:.4em 0 .9em;font-size:13px;page-break-inside:auto;"


def render(report: Contents) -> str:
    """The report as one self-contained `<div>`."""
    _, colour, _ = SIGNS[report.outcome]
    title = {"pass": "Validation passed", "fail": "Validation failed"}.get(report.outcome, "Validation could not run")
    parts = [
        f"<div style='font-family:system-ui,sans-serif;color:#1c1c1e;max-width:1100px'>"
        f"<p style='margin:.2em 0;font-size:15px'><b style='color:{colour}'>{title}</b> · "
        f"{len(report.results)} checks, {len(report.tables)} tables, {report.elapsed_s:.2f} s · {report.started}</p>",
        _grid(report),
        _errors(report),
        *(f"<p style='margin:.2em 0'><b>!</b> {escape(line)}</p>" for line in _sync(report)),
        _differences("Differences", report.mismatches),
        *(_mending(heading(report, service), script) for service, script in mending(report).items()),
        _differences("In flight (writes under way explain these)", report.in_flight),
        _differences("Tolerated", [m for r in report.results for m in r.tolerated]),
        _tolerances(report),
        _differences("Expected by the mapping", [m for r in report.results for m in r.information]),
        _foot(report),
        "</div>",
    ]
    return "".join(parts)


def _sync(report: Contents) -> list[str]:
    said = report.sync.text
    return [*([said] if said and said not in report.late else []), *report.idle, *report.late]


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th style='{HEAD}'>{escape(name)}</th>" for name in heads)
    return f"<table style='{TABLE}'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(*cells: str) -> str:
    return "<tr style='background:#fff'>" + "".join(f"<td style='{CELL}'>{cell}</td>" for cell in cells) + "</tr>"


def _grid(report: Contents) -> str:
    rows = []
    for table in report.tables:
        cells = []
        for result in report.results:
            sign, colour, back = SIGNS[result.of(table)]
            count = sum(m.label == table for m in result.mismatches)
            flight = sum(m.label == table for m in result.in_flight)
            note = (f" {count}" if count else "") + (f" <small>({flight} in flight)</small>" if flight else "")
            cells.append(
                f"<td style='{CELL}text-align:center;color:{colour};background:{back}'><b>{sign}</b>{note}</td>"
            )
        rows.append(f"<tr><td style='{CELL}background:#fff'>{escape(table)}</td>{''.join(cells)}</tr>")
    times = "".join(f"<td style='{CELL}text-align:center;color:#666'>{r.elapsed_s:.2f} s</td>" for r in report.results)
    rows.append(f"<tr style='background:#fff'><td style='{CELL}color:#666'>time</td>{times}</tr>")
    return _table(["table", *(result.check.replace("_", " ") for result in report.results)], rows)


def _errors(report: Contents) -> str:
    rows = [_row(r.check, escape(table), escape(why)) for r in report.results for table, why in r.errors.items()]
    return f"<b>Could not run</b>{_table(['check', 'table', 'reason'], rows)}" if rows else ""


def _differences(title: str, mismatches: Sequence[Mismatch]) -> str:
    if not mismatches:
        return ""
    rows, groups = [], dict[tuple[str, str, str], list[Mismatch]]()
    for mismatch in mismatches:
        groups.setdefault((mismatch.check, mismatch.label, str(mismatch.kind)), []).append(mismatch)
    for (check, table, kind), found in groups.items():
        rows += [_difference(mismatch) for mismatch in found[:LISTED]]
        if len(found) > LISTED:
            more = f"<i>and {len(found) - LISTED:,} more; the JSON has all</i>"
            rows.append(_row(check, escape(table), kind.replace("_", " "), more, "", ""))
    heads = ["check", "table", "kind", "what", "source", "target"]
    return f"<b>{escape(title)}</b> · {len(mismatches):,}{_table(heads, rows)}"


def _difference(m: Mismatch) -> str:
    key = f"key {escape(', '.join(map(shorten, m.key)))} " if m.key else ""
    what = f"{key}{escape(m.text or ', '.join(m.columns) or m.name)}"
    return _row(m.check, escape(m.label), m.kind.replace("_", " "), what, _code(m.source_value), _code(m.target_value))


def _mending(title: str, script: str) -> str:
    return f"<b>{escape(title)}</b><pre style='{CODE}'>{escape(script)}</pre>"


def _code(value: str) -> str:
    return f"<code style='font-size:12px;word-break:break-word'>{escape(value)}</code>" if value else ""


def _tolerances(report: Contents) -> str:
    rows = [
        _row(
            escape(" · ".join(filter(None, (t.check, t.service, t.table, t.column, t.name, t.kind)))),
            escape(t.because),
            str(counted.matched) if counted.matched else "<b>0: matches nothing any more</b>",
        )
        for counted in report.tolerances
        for t in [counted.tolerance]
    ]
    return f"<b>Declared in the plan</b>{_table(['difference', 'because', 'matched'], rows)}" if rows else ""


def _foot(report: Contents) -> str:
    marks = "; ".join(f"{f.service} {f.side} {f.sha256[:12]}".strip() for f in report.fingerprints)
    schema = f" · schema fingerprints: {escape(marks)}" if marks else ""
    scope = " · only the given keys were compared" if report.only_keys else ""
    return f"<p style='color:#666;font-size:12px;margin:.2em 0'>sample seed {report.seed}{scope}{schema}</p>"
