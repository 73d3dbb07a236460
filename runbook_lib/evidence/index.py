"""`index.html`: the run as a person wants to read it. Built from the summary alone, so it fits any plan."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from runbook_lib.display.palette import MARKS
from runbook_lib.display.render import render
from runbook_lib.evidence.keys import NAMESPACE, PRINCIPAL
from runbook_lib.journal.chain import Entry
from runbook_lib.journal.kinds import Alarm, Approval, Signoff
from runbook_lib.verdict import words_of


@dataclass(frozen=True)
class Figure:
    """One figure of the strip: what it is called, its value for people, and whether it is good."""

    name: str
    value: str
    tone: str = ""


def index_html(
    summary: Mapping[str, Any],
    *,
    title: str,
    folders: Sequence[str],
    approvals: Sequence[Entry],
    alarms: Sequence[Entry],
    charts: Mapping[str, str],
    fingerprint: str,
) -> str:
    """The page.

    Args:
        summary: From `build_summary`.
        title: The migration's name; the environment's when empty.
        folders: Names of the sealed phase folders.
        approvals: Approvals and sign-offs.
        alarms: Rollback triggers that fired.
        charts: Caption to SVG text.
        fingerprint: Of the signing key.
    """
    tone, headline, detail = _banner(summary)
    found = dict.fromkeys(table for row in summary["checks_by_table"].values() for table in row)
    tables = sorted(found, key=lambda table: table.partition(".")[0])  # a service's tables stand together
    return render(
        "evidence_index",
        run_id=summary["run_id"],
        summary=summary,
        title=title or f"Migration of {summary['environment']}",
        tone=tone,
        headline=headline,
        detail=detail,
        figures=_strip(summary),
        phases=[_phase(phase, summary, folders) for phase in summary["phases"]],
        checks=summary["checks_by_table"],
        tables=tables,
        services=[(name, len(list(group))) for name, group in groupby(tables, lambda table: table.partition(".")[0])],
        approvals=[_approval(approval) for approval in approvals],
        alarms=[_alarm(alarm) for alarm in alarms],
        charts=_pictures(charts),
        fingerprint=fingerprint,
        namespace=NAMESPACE,
        principal=PRINCIPAL,
        started=clock(summary["started"]),
        duration=duration(summary["duration_s"]),
        example=folders[-1] if folders else "NN_phase",
    )


def _banner(summary: Mapping[str, Any]) -> tuple[str, str, str]:
    bad = [phase["name"].replace("_", " ") for phase in summary["phases"] if not phase["passed"]]
    lost, writes = summary["lost_writes"], summary["acknowledged_writes"]
    held = f"All {writes:,} acknowledged writes were compared with the databases: " if writes else ""
    if lost:
        return "fail", f"{lost:,} acknowledged writes are missing.", "The clients' ledger names each of them."
    if summary["outcome"] == "fail":
        return "fail", f"Not passed: {', '.join(bad)}.", "The gate of that phase names what failed."
    if summary["outcome"] == "open":
        return "unsure", "The run is not finished.", f"Open: {', '.join(bad)}."
    done = "The migration was rolled back." if summary["outcome"] == "rolled_back" else "Every phase passed its gate."
    return "pass", done, f"{held}none is missing." if held and lost == 0 else "What each gate rested on is below."


def _strip(summary: Mapping[str, Any]) -> list[Figure]:
    pause, rows = summary["write_pause_ms"], summary["rows_copied"]
    seen = "write pause" if summary["acknowledged_writes"] is None else "longest write"  # the clients' figure, if any
    figures = [
        _count("acknowledged writes", summary["acknowledged_writes"]),
        _count("lost writes", summary["lost_writes"], zero_is_good=True),
        _count("failed requests", summary["failed_requests"], zero_is_good=True),
        Figure(seen, duration(pause / 1000)) if pause is not None else None,
        _count("rows copied", int(rows) if rows is not None else None),
    ]
    if summary["checks"]:
        passed = sum(outcome == "pass" for outcome in summary["checks"].values())
        tone = "pass" if passed == len(summary["checks"]) else "fail"
        figures.append(Figure("checks passed", f"{passed} of {len(summary['checks'])}", tone))
    return [figure for figure in [*figures, Figure("duration", duration(summary["duration_s"]))] if figure]


def _count(name: str, value: int | None, *, zero_is_good: bool = False) -> Figure | None:
    if value is None:
        return None
    return Figure(name, f"{value:,}", ("fail" if value else "pass") if zero_is_good else "")


def _phase(phase: Mapping[str, Any], summary: Mapping[str, Any], folders: Sequence[str]) -> dict[str, Any]:
    """A phase with its place on the run's time line (percent)."""
    begin = datetime.fromisoformat(summary["started"])
    whole = max(float(summary["duration_s"]), 1e-9)
    left = (datetime.fromisoformat(phase["started"]) - begin).total_seconds() / whole * 100
    own = [name for name in folders if _phase_name(name) == phase["name"]]
    gate = phase["gate"]
    verdict, tone = _gate_words(phase)
    return {
        **phase,
        "title": phase["name"].replace("_", " ").capitalize(),
        "left": round(min(left, 99), 2),
        "width": round(min(max(phase["duration_s"] / whole * 100, 0.6), 100 - min(left, 99)), 2),
        "took": duration(phase["duration_s"]),
        "verdict": verdict,
        "tone": tone,
        "failing": [item for item in (gate["items"] if gate else ()) if item.get("outcome") != "pass"],
        "folder": max((name for name in own if ".attempt-" not in name), default=""),
        "earlier": sorted(name for name in own if ".attempt-" in name),
        "rows": [_step(step) for step in phase["steps"]],
    }


def _gate_words(phase: Mapping[str, Any]) -> tuple[str, str]:
    if phase["passed"]:
        return "gate passed", "pass"
    if phase["gate"] is None:
        return "no gate yet", "unsure"
    return ("undone", "unsure") if phase["gate"]["passed"] else ("gate not passed", "fail")


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    spent = step["duration_s"]
    outcome = str(step["outcome"])
    tone = {"pass": "pass", "fail": "fail"}.get(outcome, "unsure")
    mark = MARKS.get("undone" if step["kind"] == "undo" else outcome, "?")
    took = "" if spent is None else duration(spent)
    title = words_of(step["name"])
    return {**step, "title": title, "tone": tone, "mark": mark, "took": took}


def _phase_name(folder: str) -> str:
    """`03_data_migration.attempt-1` → `data_migration`."""
    number, _, name = folder.split(".attempt-")[0].partition("_")
    return name if number.isdigit() else folder


def _approval(entry: Entry) -> dict[str, Any]:
    signed = isinstance(entry.content, Signoff)
    given = entry.read(Signoff) if signed else entry.read(Approval)
    return {
        "what": entry.step.replace("_", " "),
        "phase": entry.phase.replace("_", " "),
        "kind": "waived by policy" if given.waived else "signed off" if signed else "approved",
        "waived": bool(given.waived),
        "actor": entry.actor,
        "at": clock(entry.at),
        "comment": given.comment,
    }


def _alarm(entry: Entry) -> dict[str, str]:
    return {"at": clock(entry.at), "phase": entry.phase.replace("_", " "), "text": entry.read(Alarm).text}


def _pictures(charts: Mapping[str, str]) -> list[tuple[str, str]]:
    """As data URIs: ids of one SVG cannot meet those of another."""
    return [(name, base64.b64encode(svg.encode()).decode()) for name, svg in charts.items()]


def clock(at: str) -> str:
    """2026-11-22 23:59:01 UTC."""
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M:%S} UTC"


def duration(spent_s: float) -> str:
    """Seconds as people say them."""
    if spent_s < 1:
        return f"{spent_s * 1000:.0f} ms"
    if spent_s < 90:
        return f"{spent_s:.1f} s"
    if spent_s < 5400:
        return f"{int(spent_s // 60)} min {int(spent_s % 60)} s"
    return f"{spent_s / 3600:.1f} h"
